//! Answers the devices that ask for blobs.

use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncWriteExt, io};
use libp2p::{PeerId, Stream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use ues_data::Cid;
use ues_repo::blob_store::BlobReader;
use ues_repo::repo::Repositories;
use ues_repo::repo::blobs::BlobMeta;
use ues_repo::syntax::Did;

use super::message::{Answer, Ask, MAX_MESSAGE, MAX_MIME};
use crate::framing;

/// How long a stream stays open without a question.
const IDLE: Duration = Duration::from_secs(60);
/// How long the other may take to read a piece.
const SEND_WITHIN: Duration = Duration::from_secs(60);

/// Blobs that are sent at a time; others wait.
const SENDING: usize = 16;

/// Who may have which blobs.
pub trait BlobReaders: Send + Sync + 'static {
    /// Where a blob is read that a peer asks for, if the peer may read it. Blocks on the disk.
    fn open(&self, peer: &PeerId, repo: &Did, cid: &Cid) -> Option<Repositories>;
}

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Server {
    readers: Arc<dyn BlobReaders>,
    room: Arc<Semaphore>,
}

impl Server {
    pub fn new(readers: Arc<dyn BlobReaders>) -> Self {
        Self {
            readers,
            room: Arc::new(Semaphore::new(SENDING)),
        }
    }

    /// Answers all questions of a stream.
    pub async fn answer(&self, peer: PeerId, mut stream: Stream) -> io::Result<()> {
        loop {
            let asked = timeout(IDLE, framing::read(&mut stream, MAX_MESSAGE)).await;
            let Ok(Some(asked)) = asked.unwrap_or(Ok(None)) else {
                return stream.close().await;
            };
            let ask =
                Ask::decode(asked).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            let (readers, asked) = (Arc::clone(&self.readers), ask.clone());
            let repos =
                tokio::task::spawn_blocking(move || readers.open(&peer, &asked.repo, &asked.cid));
            // Whoever may not read does not learn which repositories are here.
            let Some(repos) = repos.await? else {
                send(&mut stream, &Answer::Refused).await?;
                return stream.close().await;
            };
            let _room = self.room.acquire().await.map_err(io::Error::other)?;
            let found = tokio::task::spawn_blocking(move || open(&repos, &ask)).await?;
            match found.map_err(io::Error::other)? {
                None => send(&mut stream, &Answer::Absent).await?,
                Some((meta, reader)) => {
                    send(&mut stream, &here(&meta)).await?;
                    send_content(&mut stream, reader).await?;
                }
            }
        }
    }
}

type Found = Option<(BlobMeta, Box<dyn BlobReader>)>;

fn open(repos: &Repositories, ask: &Ask) -> Result<Found, ues_repo::repo::RepoError> {
    // What was only uploaded here is nobody else's.
    if !repos.is_blob_in_use(&ask.repo, &ask.cid)? {
        return Ok(None);
    }
    let Some(meta) = repos.blob(&ask.repo, &ask.cid)? else {
        return Ok(None);
    };
    let Some(head) = repos.head(&ask.repo)? else {
        return Ok(None);
    };
    let reader = repos.open_blob(head.owner, &meta, ask.offset)?;
    Ok(reader.map(|reader| (meta, reader)))
}

fn here(meta: &BlobMeta) -> Answer {
    let plain = meta.mime.len() <= MAX_MIME && meta.mime.bytes().all(|b| (0x20..0x7f).contains(&b));
    Answer::Here {
        size: meta.size,
        mime: if plain {
            meta.mime.clone()
        } else {
            "application/octet-stream".to_owned()
        },
    }
}

async fn send(stream: &mut Stream, answer: &Answer) -> io::Result<()> {
    timeout(SEND_WITHIN, framing::write(stream, &answer.encode())).await?
}

async fn send_content(stream: &mut Stream, mut reader: Box<dyn BlobReader>) -> io::Result<()> {
    loop {
        let read = tokio::task::spawn_blocking(move || (reader.next_chunk(), reader)).await?;
        let (chunk, rest) = read;
        reader = rest;
        match chunk.map_err(io::Error::other)? {
            Some(chunk) => timeout(SEND_WITHIN, stream.write_all(&chunk)).await??,
            None => return timeout(SEND_WITHIN, stream.flush()).await?,
        }
    }
}
