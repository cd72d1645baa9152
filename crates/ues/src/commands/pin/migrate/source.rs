//! Where the pins of an IPFS-Cluster are read from.

mod gunzip;
mod rest;

use std::path::PathBuf;

use axum::body::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use reqwest::Url;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use crate::failure::{Failure, Outcome};

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

/// What a source consists of. A stream that ends without an error is whole.
pub(super) type Pieces = BoxStream<'static, Outcome<Bytes>>;

/// A list of pins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// The REST API of a cluster.
    Rest(Url),
}

impl Source {
    /// What an argument names.
    pub(super) fn parse(text: &str) -> Outcome<Self> {
        if text == "-" {
            return Ok(Self::Stdin);
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            let url = text.parse();
            return url
                .map(Self::Rest)
                .map_err(|why| Failure::usage(format!("{text:?} is no URL: {why}")));
        }
        let path = std::path::absolute(text);
        path.map(Self::File)
            .map_err(Failure::while_doing(format!("find {text}")))
    }

    /// Its name, without user and password.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "standard input".to_owned(),
            Self::Rest(url) => {
                let path = url.path().trim_end_matches('/');
                format!("{}{path}", url.origin().ascii_serialization())
            }
        }
    }

    /// Begins to read it from its start; what is compressed by gzip is unpacked.
    pub(super) async fn open(&self, user: Option<&str>) -> Outcome<Pieces> {
        let pieces = match self {
            Self::File(path) => {
                let reading = Failure::while_doing(format!("read {}", path.display()));
                let file = tokio::fs::File::open(path).await.map_err(reading)?;
                pieces(file, self.name())
            }
            Self::Stdin => pieces(tokio::io::stdin(), self.name()),
            Self::Rest(url) => rest::allocations(url, user).await?,
        };
        Ok(gunzip::unpacked(pieces))
    }
}

fn pieces(input: impl AsyncRead + Send + 'static, name: String) -> Pieces {
    ReaderStream::with_capacity(input, PIECE)
        .map_err(move |why| Failure::failed(format!("cannot read {name}: {why}")))
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_argument_names() {
        assert_eq!(Source::parse("-").unwrap(), Source::Stdin);
        let rest = Source::parse("https://me:secret@x.example:9094/sub/").unwrap();
        assert_eq!(rest.name(), "https://x.example:9094/sub");
        assert!(Source::parse("http://").is_err());
        let file = Source::parse("a.json").unwrap();
        assert!(file.name().ends_with("/a.json"), "{file:?}");
    }
}
