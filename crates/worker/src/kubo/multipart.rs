//! `multipart/form-data` as Kubo's clients send it: a part for each file and folder, of any length.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};

/// The head of a part.
pub(super) struct PartHead {
    path: String,
    content_type: &'static str,
}

impl PartHead {
    pub(super) fn file(path: &str) -> Self {
        Self::new(path, "application/octet-stream")
    }

    pub(super) fn folder(path: &str) -> Self {
        Self::new(path, "application/x-directory")
    }

    /// A symbolic link; its target is the content.
    pub(super) fn link(path: &str) -> Self {
        Self::new(path, "application/symlink")
    }

    fn new(path: &str, content_type: &'static str) -> Self {
        Self {
            // As Go's `url.QueryEscape`.
            path: form_urlencoded::byte_serialize(path.as_bytes()).collect(),
            content_type,
        }
    }
}

/// A piece of a form: the head of a part, or content of the part that began last.
pub(super) enum Form {
    Head(PartHead),
    Data(Bytes),
}

impl From<PartHead> for Form {
    fn from(head: PartHead) -> Self {
        Self::Head(head)
    }
}

impl From<Bytes> for Form {
    fn from(data: Bytes) -> Self {
        Self::Data(data)
    }
}

/// A form that is ready to be sent.
pub(super) struct Encoded {
    /// The content type, with the boundary.
    pub content_type: String,
    /// The body.
    pub body: BoxStream<'static, Result<Bytes, std::io::Error>>,
}

impl Form {
    /// Writes a form. Its boundary is drawn by chance, so that no content can hold it on purpose.
    pub(super) fn encode(
        pieces: impl Stream<Item = Result<Self, std::io::Error>> + Send + 'static,
    ) -> Encoded {
        let mut random = [0; 20];
        let drawn = getrandom::fill(&mut random).map_err(std::io::Error::other);
        let boundary = HEXLOWER.encode(&random);
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        let pieces = pieces.map(move |piece| piece.map(|piece| piece.write(&boundary)));
        let failed = stream::iter(drawn.err().map(Err));
        let end = stream::once(async { Ok(end) });
        Encoded {
            content_type,
            body: failed.chain(pieces).chain(end).boxed(),
        }
    }

    fn write(self, boundary: &str) -> Bytes {
        match self {
            Self::Data(data) => data,
            Self::Head(PartHead { path, content_type }) => format!(
                "\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{path}\"\r\n\
                 Content-Type: {content_type}\r\n\r\n"
            )
            .into(),
        }
    }
}
