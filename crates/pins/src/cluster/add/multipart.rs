//! Reads `multipart/form-data` ([RFC 7578](https://www.rfc-editor.org/rfc/rfc7578)) piece by piece: no part, and no
//! sender however fast, makes it hold more than a piece and the head of a part.

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use memchr::memmem::{self, Finder};

use crate::intake::IntakeError;

/// The longest head of a part, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// The longest boundary that the standard allows, in bytes.
const MAX_BOUNDARY: usize = 70;

/// What is read next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A part begins.
    Head(Head),
    /// Content of the part that began last.
    Data(Bytes),
}

/// The head of a part.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// `filename` of the `Content-Disposition`, as it came; empty without one.
    pub file_name: String,
    /// The content type in lower case, without its parameters; empty without one.
    pub content_type: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first boundary, or in a part.
    Content { inside: bool },
    /// Right behind a boundary.
    Boundary,
    /// In the head of a part.
    Head,
    /// Behind the last boundary.
    End,
}

/// A body that is read.
pub(super) struct Multipart {
    body: BoxStream<'static, Result<Bytes, IntakeError>>,
    buffer: BytesMut,
    delimiter: Finder<'static>,
    state: State,
    /// Bytes before the content of a part that do not belong to it.
    skip: usize,
}

/// The boundary that a `Content-Type` names; `None` if it is not `multipart/form-data` with a proper one.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (kind, params) = content_type.split_once(';')?;
    let sound = kind.trim().eq_ignore_ascii_case("multipart/form-data");
    let boundary = sound.then(|| param(params, "boundary")).flatten()?;
    let fits = (1..=MAX_BOUNDARY).contains(&boundary.len());
    (fits && boundary.bytes().all(|b| (0x20..0x7f).contains(&b))).then_some(boundary)
}

impl Multipart {
    pub(super) fn new(
        body: BoxStream<'static, Result<Bytes, IntakeError>>,
        boundary: &str,
    ) -> Self {
        let delimiter = format!("\r\n--{boundary}");
        Self {
            body,
            // So that the first boundary, before which there need not be a line, is found like all others.
            buffer: BytesMut::from(&b"\r\n"[..]),
            delimiter: Finder::new(delimiter.as_bytes()).into_owned(),
            state: State::Content { inside: false },
            skip: 0,
        }
    }

    /// What comes next; `None` behind the last part.
    ///
    /// # Errors
    /// [`IntakeError::Invalid`] for what is no such body, and the error of the body.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, IntakeError> {
        loop {
            match self.state {
                State::End => return Ok(None),
                State::Content { inside } => {
                    let mut data = self.content().await?;
                    let skipped = self.skip.min(data.len());
                    self.skip -= skipped;
                    data.advance(skipped);
                    if inside && !data.is_empty() {
                        return Ok(Some(Event::Data(data)));
                    }
                }
                State::Boundary => {
                    let rest = self.line().await?;
                    self.state = match rest.trim_ascii() {
                        b"" => State::Head,
                        _ if rest.starts_with(b"--") => State::End,
                        _ => return Err(invalid("a boundary that stands in the content")),
                    };
                }
                State::Head => return self.head().await.map(|head| Some(Event::Head(head))),
            }
        }
    }

    /// Content up to the next boundary, or as much of it as is there.
    async fn content(&mut self) -> Result<Bytes, IntakeError> {
        let delimiter = self.delimiter.needle().len();
        loop {
            if let Some(at) = self.delimiter.find(&self.buffer) {
                let data = self.buffer.split_to(at).freeze();
                drop(self.buffer.split_to(delimiter));
                self.state = State::Boundary;
                return Ok(data);
            }
            // The last bytes may be the beginning of a boundary.
            let sure = self.buffer.len().saturating_sub(delimiter - 1);
            if sure > 0 {
                return Ok(self.buffer.split_to(sure).freeze());
            }
            self.fill().await?;
        }
    }

    /// What stands behind a boundary on its line. Behind the last one there need not be a line end.
    async fn line(&mut self) -> Result<Bytes, IntakeError> {
        loop {
            if self.buffer.starts_with(b"--") {
                return Ok(self.buffer.split_to(2).freeze());
            }
            if let Some(end) = memmem::find(&self.buffer, b"\r\n") {
                // The line end stays: in a head without any field it is half of the empty line.
                return Ok(self.buffer.split_to(end).freeze());
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(invalid("a line that does not end"));
            }
            self.fill().await?;
        }
    }

    async fn head(&mut self) -> Result<Head, IntakeError> {
        loop {
            if let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") {
                let head = self.buffer.split_to(end);
                drop(self.buffer.split_to(2));
                // The end of the empty line stays: of an empty part it may be the beginning of the boundary.
                self.skip = 2;
                self.state = State::Content { inside: true };
                return Ok(Head::read(&String::from_utf8_lossy(&head)));
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(invalid(&format!(
                    "the head of a part has more than {MAX_HEAD} bytes"
                )));
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), IntakeError> {
        match self.body.next().await {
            Some(piece) => self.buffer.extend_from_slice(&piece?),
            None => return Err(invalid("unexpected EOF")),
        }
        Ok(())
    }
}

fn invalid(why: &str) -> IntakeError {
    IntakeError::Invalid(format!("multipart: {why}"))
}

impl Head {
    fn read(text: &str) -> Self {
        let mut head = Self::default();
        for line in text.split("\r\n") {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            if name.eq_ignore_ascii_case("content-disposition") {
                let params = value.split_once(';').map_or("", |(_, params)| params);
                head.file_name = param(params, "filename").unwrap_or_default();
            } else if name.eq_ignore_ascii_case("content-type") {
                let kind = value.split(';').next().unwrap_or_default();
                head.content_type = kind.trim().to_ascii_lowercase();
            }
        }
        head
    }
}

/// A parameter of a header: `name=token` or `name="text"`, in which a backslash stands before a quote or a backslash.
fn param(params: &str, wanted: &str) -> Option<String> {
    let mut rest = params;
    loop {
        let (name, value) = rest.split_once('=')?;
        let name = name.trim_matches(|c: char| c == ';' || c.is_whitespace());
        let (value, after) = match value.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (value, after) = value.split_once(';').unwrap_or((value, ""));
                (value.trim().to_owned(), after)
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

/// A quoted text and what follows it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, quoted.get(at + 1..).unwrap_or_default())),
            '\\' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => value.push(escaped),
                None => value.push('\\'),
            },
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::stream;
    use proptest::prelude::*;

    use super::*;

    /// Reads a body that comes in pieces of a size; contents are put together again.
    fn read(body: &[u8], piece: usize) -> Result<Vec<(Head, Vec<u8>)>, IntakeError> {
        let pieces: Vec<_> = body
            .chunks(piece.max(1))
            .map(Bytes::copy_from_slice)
            .collect();
        let pieces = stream::iter(pieces).map(Ok).boxed();
        let mut multipart = Multipart::new(pieces, "xYz");
        let mut found: Vec<(Head, Vec<u8>)> = Vec::new();
        block_on(async {
            while let Some(event) = multipart.next().await? {
                match event {
                    Event::Head(head) => found.push((head, Vec::new())),
                    Event::Data(data) => found.last_mut().unwrap().1.extend_from_slice(&data),
                }
            }
            Ok(found)
        })
    }

    fn write(parts: &[Vec<u8>]) -> Vec<u8> {
        let mut body = Vec::new();
        for (number, content) in parts.iter().enumerate() {
            let head = format!(
                "--xYz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{number}\"\r\n\
                 Content-Type: Text/Plain; charset=x\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--xYz--\r\n");
        body
    }

    proptest! {
        #[test]
        fn parts_are_read_however_they_are_cut(
            parts in prop::collection::vec(prop::collection::vec(prop::sample::select(b"\r\n-xYza".to_vec()), 0..40), 0..5),
            piece in 1_usize..64,
        ) {
            let clean = parts.iter().all(|part| memmem::find(part, b"--xYz").is_none());
            prop_assume!(clean);
            let found = read(&write(&parts), piece).unwrap();
            prop_assert_eq!(found.len(), parts.len());
            for (number, ((head, content), part)) in found.iter().zip(&parts).enumerate() {
                prop_assert_eq!(&head.file_name, &number.to_string());
                prop_assert_eq!(&head.content_type, "text/plain");
                prop_assert_eq!(content, part);
            }
        }

        #[test]
        fn no_body_does_harm(body in prop::collection::vec(prop::sample::select(b"\r\n--xYz:;=\"\\a".to_vec()), 0..200)) {
            let _ = read(&body, 7);
        }
    }

    #[test]
    fn a_cut_body_is_an_error() {
        let body = write(&[b"content".to_vec()]);
        for end in 0..body.len() - 4 {
            assert!(read(&body[..end], 5).is_err(), "{end}");
        }
        assert!(read(b"--xYz\r\n", 1).is_err());
    }

    #[test]
    fn a_head_without_an_end_is_an_error() {
        let body = [b"--xYz\r\n".to_vec(), vec![b'a'; MAX_HEAD + 10]].concat();
        assert!(read(&body, 1000).is_err());
    }

    #[test]
    fn odd_parts_are_read() {
        // No fields at all, an empty part without a line of its own, text before and behind everything.
        let body = b"hello\r\n--xYz\r\n\r\nA\r\n--xYz \r\nContent-Type: a/b\r\n\r\n--xYz--more";
        let found = read(body, 3).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].1, b"A");
        assert_eq!(found[1].0.content_type, "a/b");
    }

    #[test]
    fn boundaries_are_read_from_the_content_type() {
        let read = |text| boundary(text);
        assert_eq!(
            read("multipart/form-data; boundary=abc").as_deref(),
            Some("abc")
        );
        assert_eq!(
            read("Multipart/Form-Data;charset=x; Boundary=\"a b\"").as_deref(),
            Some("a b")
        );
        assert_eq!(read("multipart/mixed; boundary=abc"), None);
        assert_eq!(read("multipart/form-data"), None);
        assert_eq!(read("multipart/form-data; boundary="), None);
        assert_eq!(
            param(" name=\"a\\\"b\"; filename=\"x;y\"", "filename").as_deref(),
            Some("x;y")
        );
    }
}
