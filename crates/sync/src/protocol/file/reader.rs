//! From the bytes of a file to its frames.

use bytes::{Buf, Bytes, BytesMut};

use super::{FileError, MAGIC};
use crate::protocol::frame::MAX_FRAME_BYTES;

/// Cuts a file, which comes in pieces of any length, into frames. It holds no more than a frame and a piece.
#[derive(Debug, Default)]
pub struct FileReader {
    buffer: BytesMut,
    begun: bool,
}

impl FileReader {
    /// Takes the next piece of the file. [`next`](Self::next) is to be called until it has nothing more.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// When the file is none, or a frame is larger than any.
    #[allow(clippy::should_implement_trait, reason = "it goes on after `None`")]
    pub fn next(&mut self) -> Result<Option<Bytes>, FileError> {
        if !self.begun {
            let known = self.buffer.len().min(MAGIC.len());
            if self.buffer[..known] != MAGIC[..known] {
                return Err(FileError::NotOne);
            }
            if known < MAGIC.len() {
                return Ok(None);
            }
            self.buffer.advance(MAGIC.len());
            self.begun = true;
        }
        let Some((length, head)) = length(&self.buffer)? else {
            return Ok(None);
        };
        if self.buffer.len() < head + length {
            return Ok(None);
        }
        self.buffer.advance(head);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Whether the file ended behind a whole frame.
    pub fn is_at_end(&self) -> bool {
        self.begun && self.buffer.is_empty()
    }
}

/// The length of the next frame, and how many bytes tell it.
fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>, FileError> {
    let mut length = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return match length <= MAX_FRAME_BYTES {
                true => Ok(Some((length, at + 1))),
                false => Err(FileError::Malformed("a frame is larger than any")),
            };
        }
    }
    match bytes.len() < 4 {
        true => Ok(None),
        false => Err(FileError::Malformed("a frame is larger than any")),
    }
}

/// A frame after its length.
pub(super) fn with_length(frame: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(frame.len() + 4);
    let mut length = frame.len();
    while length >= 0x80 {
        out.extend_from_slice(&[(length & 0x7f) as u8 | 0x80]);
        length >>= 7;
    }
    out.extend_from_slice(&[length as u8]);
    out.extend_from_slice(frame);
    out.freeze()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_whatever_the_pieces(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..9),
            piece in 1usize..90,
            cut in 0usize..5,
        ) {
            let mut file = BytesMut::from(MAGIC);
            for frame in &frames {
                file.extend_from_slice(&with_length(frame));
            }
            let whole = file.len();
            file.truncate(whole.saturating_sub(cut).max(MAGIC.len()));
            let mut reader = FileReader::default();
            let mut found = Vec::new();
            for piece in file.chunks(piece) {
                reader.push(piece);
                while let Some(frame) = reader.next().unwrap() {
                    found.push(frame.to_vec());
                }
            }
            prop_assert_eq!(&found[..], &frames[..found.len()]);
            if file.len() == whole {
                prop_assert_eq!(found.len(), frames.len());
                prop_assert!(reader.is_at_end());
            }
        }
    }

    #[test]
    fn what_is_none_or_too_large_is_refused() {
        let read = |bytes: &[u8]| {
            let mut reader = FileReader::default();
            reader.push(bytes);
            reader.next()
        };
        assert!(read(b"ues").unwrap().is_none());
        assert!(matches!(read(b"ues sync file 2\n"), Err(FileError::NotOne)));
        assert!(matches!(read(b"x"), Err(FileError::NotOne)));
        let large = |length: &[u8]| read(&[MAGIC, length].concat()).is_err();
        assert!(large(&[0x81, 0x80, 0x80, 0x02]));
        assert!(large(&[0xff, 0xff, 0xff, 0xff]));
        assert!(!large(&[0x80, 0x80, 0x80, 0x02]));
    }
}
