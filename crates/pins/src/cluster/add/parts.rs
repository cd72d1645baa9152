//! Files, folders and links out of the parts of a body, named as Kubo's clients name them.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::multipart::{Event, Head, Multipart};
use crate::intake::{IntakeError, Part};

/// The longest target of a link, in bytes: what file systems allow.
const MAX_LINK: usize = 4096;

/// What the client sends, in order.
pub(super) fn parts(body: Multipart) -> BoxStream<'static, Result<Part, IntakeError>> {
    let state = Some(Reader { body, begun: None });
    stream::unfold(state, |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(None) => None,
            Ok(Some(part)) => Some((Ok(part), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

/// The content of the first file, and its name.
pub(super) async fn first_file(
    mut body: Multipart,
) -> Result<(String, BoxStream<'static, Result<Bytes, IntakeError>>), IntakeError> {
    let not_a_file = || IntakeError::Invalid("expected CAR file is not of type file".to_owned());
    let head = match body.next().await? {
        Some(Event::Head(head)) if Kind::of(&head) == Kind::File => head,
        _ => return Err(not_a_file()),
    };
    let content = stream::unfold(Some(body), |body| async move {
        let mut body = body?;
        match body.next().await {
            Ok(Some(Event::Data(data))) => Some((Ok(data), Some(body))),
            // What else is sent does not belong to it.
            Ok(_) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok((path(&head), content.boxed()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Folder,
    Link,
    File,
}

impl Kind {
    fn of(head: &Head) -> Self {
        match head.content_type.as_str() {
            "application/x-directory" | "multipart/form-data" => Self::Folder,
            "application/symlink" => Self::Link,
            _ => Self::File,
        }
    }
}

struct Reader {
    body: Multipart,
    /// The head of a part that was read while looking for the end of the one before.
    begun: Option<Head>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Part>, IntakeError> {
        let event = match self.begun.take() {
            Some(head) => Some(Event::Head(head)),
            None => self.body.next().await?,
        };
        let head = match event {
            None => return Ok(None),
            Some(Event::Data(data)) => return Ok(Some(Part::Data(data))),
            Some(Event::Head(head)) => head,
        };
        let path = path(&head);
        Ok(Some(match Kind::of(&head) {
            Kind::File => Part::File { path },
            Kind::Folder => {
                self.content(0).await?;
                Part::Folder { path }
            }
            Kind::Link => {
                let target = self.content(MAX_LINK).await?;
                let target = String::from_utf8(target.to_vec()).map_err(|_| {
                    IntakeError::Invalid(format!("the target of the link {path} is not UTF-8"))
                })?;
                Part::Link { path, target }
            }
        }))
    }

    /// The rest of a part that is not a file. Of a folder, whatever it has is dropped.
    async fn content(&mut self, most: usize) -> Result<BytesMut, IntakeError> {
        let mut content = BytesMut::new();
        loop {
            match self.body.next().await? {
                Some(Event::Data(data)) if most > 0 => content.extend_from_slice(&data),
                Some(Event::Data(_)) => {}
                Some(Event::Head(head)) => {
                    self.begun = Some(head);
                    return Ok(content);
                }
                None => return Ok(content),
            }
            if content.len() > most {
                let why = format!("the target of a link has more than {most} bytes");
                return Err(IntakeError::Invalid(why));
            }
        }
    }
}

/// The path of a part: escaped as in a query, if it can be read so.
fn path(head: &Head) -> String {
    clean(&unescape(&head.file_name).unwrap_or_else(|| head.file_name.clone()))
}

/// Undoes Go's `url.QueryEscape`.
fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let value = digit(rest.next())? * 16 + digit(rest.next())?;
                out.push(u8::try_from(value).ok()?);
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

/// A relative path that leads nowhere else.
fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for (sent, meant) in [
            ("a%2Fb+c", "a/b c"),
            ("/etc/passwd", "etc/passwd"),
            ("../../x/./y/../z//", "x/z"),
            ("100%", "100%"),
            ("%ff", "%ff"),
            ("", ""),
        ] {
            let head = Head {
                file_name: sent.to_owned(),
                ..Head::default()
            };
            assert_eq!(path(&head), meant, "{sent}");
        }
    }
}
