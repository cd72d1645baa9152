//! Messages on a stream: each after its length as an unsigned varint.

use std::io::{Error, ErrorKind};

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Writes a message and flushes.
pub(crate) async fn write<W: AsyncWrite + Unpin>(
    out: &mut W,
    message: &[u8],
) -> std::io::Result<()> {
    let mut length = message.len();
    let mut head = Vec::with_capacity(5);
    while length >= 0x80 {
        head.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    head.push(length as u8);
    out.write_all(&head).await?;
    out.write_all(message).await?;
    out.flush().await
}

/// Reads a message of at most `max` bytes; `None` at the end of the stream.
pub(crate) async fn read<R: AsyncRead + Unpin>(
    input: &mut R,
    max: usize,
) -> std::io::Result<Option<Bytes>> {
    let mut length = 0usize;
    for shift in (0..35).step_by(7) {
        let mut byte = [0];
        if input.read(&mut byte).await? == 0 {
            return match shift {
                0 => Ok(None),
                _ => Err(ErrorKind::UnexpectedEof.into()),
            };
        }
        let [byte] = byte;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            if length > max {
                let text = format!("a message of at most {max} bytes expected, found {length}");
                return Err(Error::new(ErrorKind::InvalidData, text));
            }
            let mut message = vec![0; length];
            input.read_exact(&mut message).await?;
            return Ok(Some(message.into()));
        }
    }
    Err(Error::new(
        ErrorKind::InvalidData,
        "a length of more than five bytes",
    ))
}

/// The messages that come in, read by a task of their own: waiting for one can be given up without losing a piece of it.
pub(crate) struct Incoming {
    messages: mpsc::Receiver<std::io::Result<Bytes>>,
    reading: JoinHandle<()>,
}

impl Incoming {
    /// Reads messages of at most `max` bytes, no more than `waiting` ahead.
    pub fn start<R>(mut input: R, max: usize, waiting: usize) -> Self
    where
        R: AsyncRead + Unpin + Send + 'static,
    {
        let (sender, messages) = mpsc::channel(waiting);
        let reading = tokio::spawn(async move {
            while let Some(message) = read(&mut input, max).await.transpose() {
                let failed = message.is_err();
                if sender.send(message).await.is_err() || failed {
                    return;
                }
            }
        });
        Self { messages, reading }
    }

    /// The next message; `None` at the end of the stream.
    pub async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        self.messages.recv().await.transpose()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use futures::executor::block_on;
    use futures::io::Cursor;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let message = vec![7; length];
            let mut out = Vec::new();
            block_on(write(&mut out, &message)).unwrap();
            let mut input = Cursor::new(out);
            let read_back = block_on(read(&mut input, 70_000)).unwrap();
            assert_eq!(read_back.as_deref(), Some(&message[..]));
            assert_eq!(block_on(read(&mut input, 70_000)).unwrap(), None);
        }
    }

    #[test]
    fn what_is_too_long_or_cut_off_is_refused() {
        let mut out = Vec::new();
        block_on(write(&mut out, &[1; 300])).unwrap();
        assert!(block_on(read(&mut Cursor::new(&out), 299)).is_err());
        assert!(block_on(read(&mut Cursor::new(&out[..200]), 300)).is_err());
        assert!(block_on(read(&mut Cursor::new(&out[..1]), 300)).is_err());
        assert!(block_on(read(&mut Cursor::new([0xff; 9]), 300)).is_err());
    }
}
