//! Where a repository is read from: a CAR file, an address, or an account of the node.

use std::io::{BufReader, Cursor, Read};
use std::path::PathBuf;

use ues_data::car::CarLimits;
use ues_repo::identity::resolver::http_client_builder;
use ues_repo::repo::verify::Archive;

use crate::client::Client;
use crate::commands::Context;
use crate::commands::acting::account_name;
use crate::commands::blob::did_of;
use crate::failure::{Failure, Outcome};

/// Largest archive that is read from the network.
const MAX_DOWNLOAD_BYTES: usize = 4 << 30;

/// Where a repository is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A CAR file.
    File(PathBuf),
    /// A data folder with all its repositories.
    Folder(PathBuf),
    /// An address that answers with a CAR.
    Url(String),
    /// An account of the node, by handle or DID.
    Account(String),
}

impl Source {
    /// Finds out what a text names.
    ///
    /// # Errors
    /// A usage failure when it is none of them.
    pub fn parse(text: &str) -> Outcome<Self> {
        if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(Self::Url(text.to_owned()));
        }
        let path = PathBuf::from(text);
        if path.is_dir() {
            return Ok(Self::Folder(path));
        }
        let like_a_path = text.contains(std::path::MAIN_SEPARATOR) || text.ends_with(".car");
        if path.is_file() || text == "-" || (like_a_path && !text.starts_with("did:")) {
            return Ok(Self::File(path));
        }
        match account_name(text) {
            Ok(name) => Ok(Self::Account(name.to_owned())),
            Err(_) => Err(Failure::usage(format!(
                "{text:?} is neither a file, nor an address, nor an account"
            ))),
        }
    }

    /// Reads the repository, every block checked against its hash.
    ///
    /// # Errors
    /// [`crate::failure::Exit::Unsound`] when the archive is damaged.
    pub async fn load(&self, context: &Context) -> Outcome<Archive> {
        match self {
            Self::File(path) if path.as_os_str() == "-" => read(std::io::stdin(), "standard input"),
            Self::File(path) => {
                let file = std::fs::File::open(path)
                    .map_err(Failure::while_doing(format!("read {}", path.display())))?;
                read(
                    BufReader::with_capacity(1 << 20, file),
                    &path.display().to_string(),
                )
            }
            Self::Url(url) => read(Cursor::new(fetch(context, url).await?), url),
            Self::Account(name) => load_account(context, context.client().await?, name).await,
            Self::Folder(path) => Err(Failure::usage(format!(
                "{} is a folder with any number of repositories",
                path.display()
            ))
            .hint("name one account, or a CAR file")),
        }
    }
}

/// Reads an account's repository from a node.
///
/// # Errors
/// As [`Source::load`].
pub async fn load_account(context: &Context, client: &Client, name: &str) -> Outcome<Archive> {
    let did = did_of(client, name).await?;
    let mut download = client
        .download("com.atproto.sync.getRepo", &[("did", &did)], None)
        .await?;
    let progress = context
        .output
        .progress("read", download.length.unwrap_or(0));
    let mut car = Vec::new();
    while let Some(piece) = download.next().await? {
        progress.advance(piece.len() as u64);
        car.extend_from_slice(&piece);
    }
    drop(progress);
    read(Cursor::new(car), name)
}

fn read(input: impl Read, name: &str) -> Outcome<Archive> {
    Archive::read(input, CarLimits::default())
        .map_err(|e| Failure::unsound(format!("{name} is damaged: {e}")))
}

async fn fetch(context: &Context, url: &str) -> Outcome<Vec<u8>> {
    let unreachable = |e: reqwest::Error| {
        Failure::unavailable(format!("cannot read {url}: {e}"))
            .hint("give the whole address, https://HOST/xrpc/com.atproto.sync.getRepo?did=DID")
    };
    let mut response = http_client_builder()
        .build()
        .map_err(unreachable)?
        .get(url)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(unreachable)?;
    let progress = context
        .output
        .progress("read", response.content_length().unwrap_or(0));
    let mut car = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(unreachable)? {
        if car.len() + piece.len() > MAX_DOWNLOAD_BYTES {
            return Err(Failure::failed(format!("{url} sends more than 4 GB")));
        }
        progress.advance(piece.len() as u64);
        car.extend_from_slice(&piece);
    }
    Ok(car)
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn what_a_text_names() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().to_str().unwrap();
        assert_eq!(
            Source::parse(folder).unwrap(),
            Source::Folder(dir.path().into())
        );
        assert_eq!(
            Source::parse("gone.car").unwrap(),
            Source::File("gone.car".into())
        );
        assert_eq!(
            Source::parse("https://x/y").unwrap(),
            Source::Url("https://x/y".into())
        );
        assert_eq!(
            Source::parse("alice.test").unwrap(),
            Source::Account("alice.test".into())
        );
        assert_eq!(
            Source::parse("did:web:a.test").unwrap(),
            Source::Account("did:web:a.test".into())
        );
        assert!(Source::parse("what is this").is_err());
    }
}
