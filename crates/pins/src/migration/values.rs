//! Cuts a stream of bytes into JSON objects: one behind the other, as IPFS-Cluster exports its state since 0.11, or
//! all in one list, as it did before.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// The longest object, in bytes.
const MAX_VALUE: usize = 1 << 20;

/// How far a stream was read: enough to go on there, and to know whether it is the same stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Bytes from the beginning.
    pub offset: u64,
    /// BLAKE3 hash of these bytes, in hex.
    pub hash: String,
    /// Whether the objects are in a list.
    pub list: bool,
}

/// Why a stream is not what it should be. Offsets are in bytes from its beginning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Something else stands where an object should.
    #[error("at byte {offset}: {expected} expected, found {found:?}")]
    Syntax {
        /// Where.
        offset: u64,
        /// What could stand there.
        expected: &'static str,
        /// What stands there.
        found: char,
    },
    /// It ends in the middle.
    #[error("it ends at byte {0}, in the middle")]
    Cut(u64),
    /// An object is longer than any pin.
    #[error("at byte {0}: an object of at most {MAX_VALUE} bytes expected, found a longer one")]
    TooLong(u64),
    /// It does not begin with the bytes that were read before.
    #[error("its first {0} bytes are not those that were read before")]
    Another(u64),
}

/// What may come between objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Anything: nothing has come yet.
    First,
    /// An object.
    Object,
    /// The first object of a list, or its end.
    ItemOrEnd,
    /// An object of a list.
    Item,
    /// A comma, or the end of a list.
    CommaOrEnd,
    /// Nothing.
    End,
}

/// Cuts a stream. Bytes go in by [`push`](Self::push), objects come out of [`next_object`](Self::next_object).
pub struct Values {
    buffer: BytesMut,
    /// Bytes of the buffer that were looked at.
    seen: usize,
    /// Where the buffer begins in the stream.
    offset: u64,
    hasher: blake3::Hasher,
    next: Next,
    /// Where in the buffer the object begins, and how many brackets are open.
    object: Option<(usize, u32)>,
    in_text: bool,
    list: bool,
    /// What has to be skipped first.
    skip: Option<Position>,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            buffer: BytesMut::new(),
            seen: 0,
            offset: 0,
            hasher: blake3::Hasher::new(),
            next: Next::First,
            object: None,
            in_text: false,
            list: false,
            skip: None,
        }
    }
}

impl Values {
    /// Goes on behind a position of the same stream. The stream is given from its beginning all the same: what was
    /// read before is compared and skipped.
    pub fn resume(position: Position) -> Self {
        Self {
            next: match (position.offset, position.list) {
                (0, _) => Next::First,
                (_, true) => Next::CommaOrEnd,
                (_, false) => Next::Object,
            },
            list: position.list,
            skip: (position.offset > 0).then_some(position),
            ..Self::default()
        }
    }

    /// Where the object that came last ends, in bytes from the beginning.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Behind the object that came last.
    pub fn position(&self) -> Position {
        Position {
            offset: self.offset,
            hash: self.hasher.finalize().to_hex().to_string(),
            list: self.list,
        }
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// [`ValueError::Another`].
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), ValueError> {
        if let Some(position) = &self.skip {
            let left = position.offset - self.offset;
            let skipped = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let (head, rest) = bytes.split_at(skipped);
            self.hasher.update(head);
            self.offset += head.len() as u64;
            bytes = rest;
            if self.offset == position.offset {
                let position = self.skip.take();
                if position.is_some_and(|before| before.hash != self.position().hash) {
                    return Err(ValueError::Another(self.offset));
                }
            }
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The next object, as it stands; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`ValueError`]; nothing comes after it.
    pub fn next_object(&mut self) -> Result<Option<Bytes>, ValueError> {
        while let Some(byte) = self.buffer.get(self.seen).copied() {
            // What an escape stands for has to be there as well.
            if self.in_text && byte == b'\\' && self.seen + 1 == self.buffer.len() {
                break;
            }
            match self.object {
                Some((start, depth)) => {
                    if let Some(object) = self.inside(byte, start, depth) {
                        return Ok(Some(object));
                    }
                }
                None => self.between(byte)?,
            }
        }
        match self.object {
            Some((start, _)) if self.seen - start > MAX_VALUE => {
                Err(ValueError::TooLong(self.offset + start as u64))
            }
            _ => Ok(None),
        }
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// [`ValueError::Cut`] when something is missing.
    pub fn finish(&self) -> Result<(), ValueError> {
        if let Some(position) = &self.skip {
            return Err(ValueError::Another(position.offset));
        }
        let whole = matches!(self.next, Next::First | Next::Object | Next::End);
        if self.object.is_none() && whole {
            return Ok(());
        }
        Err(ValueError::Cut(self.offset + self.buffer.len() as u64))
    }

    /// Looks at a byte of an object, and at those behind it that say nothing. Returns the object at its end.
    fn inside(&mut self, byte: u8, start: usize, depth: u32) -> Option<Bytes> {
        let rest = self.buffer.get(self.seen..).unwrap_or_default();
        if self.in_text {
            match memchr::memchr2(b'"', b'\\', rest) {
                None => self.seen += rest.len(),
                Some(at) if rest.get(at) == Some(&b'"') => {
                    self.in_text = false;
                    self.seen += at + 1;
                }
                Some(at) if at + 1 < rest.len() => self.seen += at + 2,
                Some(at) => self.seen += at,
            }
            return None;
        }
        self.seen += 1;
        let depth = match byte {
            b'"' => {
                self.in_text = true;
                return None;
            }
            b'{' | b'[' => depth + 1,
            b'}' | b']' => depth - 1,
            _ => return None,
        };
        if depth > 0 {
            self.object = Some((start, depth));
            return None;
        }
        self.object = None;
        self.next = if self.list {
            Next::CommaOrEnd
        } else {
            Next::Object
        };
        let mut piece = self.buffer.split_to(self.seen);
        self.hasher.update(&piece);
        self.offset += piece.len() as u64;
        self.seen = 0;
        Some(piece.split_off(start).freeze())
    }

    /// Looks at a byte between objects.
    fn between(&mut self, byte: u8) -> Result<(), ValueError> {
        self.next = match (byte, self.next) {
            (b' ' | b'\t' | b'\r' | b'\n', next) => next,
            (b'{', Next::First | Next::Object | Next::ItemOrEnd | Next::Item) => {
                self.object = Some((self.seen, 1));
                self.next
            }
            (b'[', Next::First) => {
                self.list = true;
                Next::ItemOrEnd
            }
            (b',', Next::CommaOrEnd) => Next::Item,
            (b']', Next::CommaOrEnd | Next::ItemOrEnd) => Next::End,
            (found, next) => {
                return Err(ValueError::Syntax {
                    offset: self.offset + self.seen as u64,
                    expected: match next {
                        Next::First => "{ or [",
                        Next::Object | Next::Item => "{",
                        Next::ItemOrEnd => "{ or ]",
                        Next::CommaOrEnd => ", or ]",
                        Next::End => "the end",
                    },
                    found: char::from(found),
                });
            }
        };
        self.seen += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// What comes out of pieces, and where it ends.
    fn read(
        mut values: Values,
        pieces: &[&[u8]],
    ) -> Result<(Vec<(String, Position)>, Position), ValueError> {
        let mut found = Vec::new();
        for piece in pieces {
            values.push(piece)?;
            while let Some(value) = values.next_object()? {
                let text = String::from_utf8(value.to_vec()).unwrap();
                found.push((text, values.position()));
            }
        }
        values.finish()?;
        let end = values.position();
        Ok((found, end))
    }

    fn texts(text: &str) -> Result<Vec<String>, ValueError> {
        let read = read(Values::default(), &[text.as_bytes()])?;
        Ok(read.0.into_iter().map(|(text, _)| text).collect())
    }

    #[test]
    fn objects_come_in_lines_or_in_a_list() {
        let two = [r#"{"a":"}\"{"}"#.to_owned(), r#"{"b":[{}]}"#.to_owned()];
        assert_eq!(texts(&two.join("\n")).unwrap(), two);
        assert_eq!(texts(&two.concat()).unwrap(), two);
        assert_eq!(
            texts(&format!(" [\n  {} ]\n", two.join(" ,\n"))).unwrap(),
            two
        );
        for empty in ["", " \n", "[]", "[ ]\n"] {
            assert_eq!(texts(empty), Ok(Vec::new()), "{empty:?}");
        }
    }

    #[test]
    fn other_things_are_refused() {
        for (text, offset) in [
            ("null", 0),
            ("{} x", 3),
            ("{},{}", 2),
            ("[{} {}]", 4),
            ("[,{}]", 1),
            ("[{},]", 4),
            ("[{}] {}", 5),
            ("{}[{}]", 2),
        ] {
            match texts(text) {
                Err(ValueError::Syntax { offset: at, .. }) => assert_eq!(at, offset, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        let long = format!("{{\"a\":\"{}", "x".repeat(MAX_VALUE));
        assert_eq!(texts(&long), Err(ValueError::TooLong(0)));
    }

    /// Objects of all kinds, in lines or as an indented list.
    fn streams() -> impl Strategy<Value = (Vec<Value>, String)> {
        let texts = prop_oneof![r#"[a-z{}\[\]",\\\\]{0,9}"#, "\\PC{0,6}"];
        let object =
            (texts.clone(), texts).prop_map(|(a, b)| serde_json::json!({a: [b, {"x": 1}]}));
        (proptest::collection::vec(object, 0..6), any::<bool>()).prop_map(|(values, list)| {
            let text = if list {
                serde_json::to_string_pretty(&values).unwrap()
            } else {
                values.iter().map(|value| format!("{value}\n")).collect()
            };
            (values, text)
        })
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter((values, text) in streams(), size in 1usize..20) {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let (found, _) = read(Values::default(), &pieces).unwrap();
            let parsed: Vec<Value> =
                found.iter().map(|(text, _)| serde_json::from_str(text).unwrap()).collect();
            prop_assert_eq!(parsed, values);
        }

        #[test]
        fn it_goes_on_where_it_was((values, text) in streams(), size in 1usize..20) {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let (found, end) = read(Values::default(), &pieces).unwrap();
            for (done, (_, position)) in found.iter().enumerate() {
                let (rest, again) = read(Values::resume(position.clone()), &pieces).unwrap();
                prop_assert_eq!(&rest[..], &found[done + 1..]);
                prop_assert_eq!(&again, &end);
                // Another beginning, and one that is too short.
                let mut other = text.clone().into_bytes();
                other[usize::try_from(position.offset).unwrap() - 1] ^= 1;
                let another = ValueError::Another(position.offset);
                prop_assert_eq!(read(Values::resume(position.clone()), &[&other]), Err(another.clone()));
                let short = &other[..usize::try_from(position.offset).unwrap() - 1];
                prop_assert_eq!(read(Values::resume(position.clone()), &[short]), Err(another));
            }
            prop_assert_eq!(found.len(), values.len());
        }

        #[test]
        fn a_cut_is_noticed((values, text) in streams(), at: prop::sample::Index) {
            prop_assume!(!text.is_empty());
            let cut = at.index(text.len());
            let cut = (0..=cut).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let head = &text[..cut];
            let read = read(Values::default(), &[head.as_bytes()]);
            // Only between two lines can a part not be told from the whole.
            let whole = head.trim().is_empty()
                || (!text.starts_with('[') && head.trim_end().ends_with('}') && read.is_ok());
            prop_assert_eq!(read.is_ok(), whole);
            if let Ok((found, _)) = read {
                prop_assert!(found.len() <= values.len());
                for (text, _) in found {
                    prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
                }
            }
        }
    }
}
