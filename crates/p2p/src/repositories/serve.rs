//! Answers the peers that ask for repositories.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{AsyncWriteExt, io};
use libp2p::{PeerId, Stream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use ues_data::Cid;
use ues_repo::syntax::Did;

use super::PROTOCOL;
use super::message::{Answer, Ask, ENOUGH, MAX_ASK};
use crate::error::OpenStreamError;
use crate::framing;
use crate::network::Network;
use crate::sync::AbortOnDrop;

/// How long a stream stays open without a question.
const IDLE: Duration = Duration::from_secs(60);
/// How long the other may take to read an answer.
const SEND_WITHIN: Duration = Duration::from_secs(60);
/// Streams of others that may be open; more wait to be accepted.
const STREAMS: usize = 128;
/// Answers that are made or sent at a time, each of a few megabytes.
const ANSWERING: usize = 8;

/// The repositories that peers may ask for, and who may.
#[async_trait]
pub trait RepositorySource: Send + Sync + 'static {
    /// The newest commit; none if the repository is not here or the peer may not read it.
    async fn commit(&self, peer: PeerId, repo: &Did) -> Option<Bytes>;

    /// The bytes of blocks, in the order in which they are asked for, none where a block is not part of the repository
    /// now. It may end early once it has `enough` bytes. None at all as with [`commit`](Self::commit).
    async fn blocks(
        &self,
        peer: PeerId,
        repo: &Did,
        cids: &[Cid],
        enough: usize,
    ) -> Option<Vec<Option<Bytes>>>;
}

/// The service; it ends when this is dropped.
pub struct RepositoryServer {
    _accepting: AbortOnDrop,
}

impl RepositoryServer {
    /// Starts it.
    ///
    /// # Errors
    /// When somebody accepts the protocol already.
    pub fn start(
        network: &Network,
        source: Arc<dyn RepositorySource>,
    ) -> Result<Self, OpenStreamError> {
        let mut incoming = network.accept_streams(PROTOCOL)?;
        let accepting = tokio::spawn(async move {
            let streams = Arc::new(Semaphore::new(STREAMS));
            let room = Arc::new(Semaphore::new(ANSWERING));
            while let Some((peer, stream)) = incoming.next().await {
                let Ok(permit) = Arc::clone(&streams).acquire_owned().await else {
                    return;
                };
                let (source, room) = (Arc::clone(&source), Arc::clone(&room));
                tokio::spawn(async move {
                    if let Err(error) = answer(&*source, &room, peer, stream).await {
                        tracing::debug!(%peer, %error, "a stream of repositories ended");
                    }
                    drop(permit);
                });
            }
        });
        Ok(Self {
            _accepting: AbortOnDrop(accepting),
        })
    }
}

/// Answers all questions of a stream.
async fn answer(
    source: &dyn RepositorySource,
    room: &Semaphore,
    peer: PeerId,
    mut stream: Stream,
) -> io::Result<()> {
    loop {
        let asked = timeout(IDLE, framing::read(&mut stream, MAX_ASK)).await;
        let Ok(Some(asked)) = asked.unwrap_or(Ok(None)) else {
            return stream.close().await;
        };
        let ask = Ask::decode(asked).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        let _room = room.acquire().await.map_err(io::Error::other)?;
        let answer = match ask.blocks.is_empty() {
            true => source.commit(peer, &ask.repo).await.map(Answer::Commit),
            false => source
                .blocks(peer, &ask.repo, &ask.blocks, ENOUGH)
                .await
                .map(found),
        };
        let answer = answer.unwrap_or(Answer::Absent).encode();
        timeout(SEND_WITHIN, framing::write(&mut stream, &answer)).await??;
    }
}

fn found(all: Vec<Option<Bytes>>) -> Answer {
    let (mut blocks, mut missing) = (Vec::new(), Vec::new());
    for (place, block) in (0..).zip(all) {
        match block {
            Some(block) => blocks.push(block),
            None => missing.push(place),
        }
    }
    Answer::Blocks { blocks, missing }
}
