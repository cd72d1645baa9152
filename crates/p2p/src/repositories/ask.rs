//! Asks a peer for a repository.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use libp2p::{PeerId, Stream};
use tokio::time::timeout;
use ues_data::{Cid, dag_cbor_cid};
use ues_repo::syntax::Did;

use super::PROTOCOL;
use super::message::{Answer, Ask, MAX_ANSWER, MAX_ASKED, Malformed};
use crate::error::OpenStreamError;
use crate::framing;
use crate::network::Network;

/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(60);

/// Why a peer gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// It cannot be asked.
    #[error(transparent)]
    Open(#[from] OpenStreamError),
    /// The connection broke.
    #[error("the connection failed: {0}")]
    Stream(#[from] std::io::Error),
    /// It did not answer.
    #[error("the peer did not answer in time")]
    Timeout,
    /// What it answered makes no sense.
    #[error("the peer's answer is refused: {0}")]
    Malformed(#[from] Malformed),
    /// It gave what nobody asked for.
    #[error("the peer answered something else than it was asked")]
    Unasked,
}

/// Blocks that a peer gave.
#[derive(Debug, Default)]
pub struct Blocks {
    /// Each under its own hash, all of them asked for.
    pub blocks: Vec<(Cid, Bytes)>,
    /// What is not part of the repository there.
    pub missing: Vec<Cid>,
}

/// A stream to a peer, for questions one after the other.
pub struct Asking {
    stream: Stream,
    repo: Did,
}

impl Asking {
    /// Opens it. A peer that is not connected is dialed first, if its addresses are known.
    ///
    /// # Errors
    /// [`AskError::Open`].
    pub async fn open(network: &Network, peer: PeerId, repo: &Did) -> Result<Self, AskError> {
        Ok(Self {
            stream: network.open_stream(peer, PROTOCOL).await?,
            repo: repo.clone(),
        })
    }

    /// The newest commit there; none if the peer does not have the repository, or not for us.
    ///
    /// # Errors
    /// [`AskError`]; the stream is of no use then.
    pub async fn commit(&mut self) -> Result<Option<Bytes>, AskError> {
        match self.ask(Vec::new()).await? {
            Answer::Commit(commit) => Ok(Some(commit)),
            Answer::Absent => Ok(None),
            Answer::Blocks { .. } => Err(AskError::Unasked),
        }
    }

    /// Blocks of the repository, at most 2,048, perhaps not all at once; none if the peer does not have the repository.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn blocks(&mut self, cids: &[Cid]) -> Result<Option<Blocks>, AskError> {
        let asked = &cids[..cids.len().min(MAX_ASKED)];
        let (answered, places) = match self.ask(asked.to_vec()).await? {
            Answer::Blocks { blocks, missing } => (blocks, missing),
            Answer::Absent => return Ok(None),
            Answer::Commit(_) => return Err(AskError::Unasked),
        };
        let mut wanted: HashSet<&Cid> = asked.iter().collect();
        let mut blocks = Vec::with_capacity(answered.len());
        for bytes in answered {
            let cid = dag_cbor_cid(&bytes);
            if !wanted.remove(&cid) {
                return Err(AskError::Unasked);
            }
            blocks.push((cid, bytes));
        }
        let place = |place: u32| asked.get(place as usize).copied();
        let missing: Option<Vec<Cid>> = places.into_iter().map(place).collect();
        let missing = missing.ok_or(AskError::Unasked)?;
        if blocks.is_empty() && missing.is_empty() {
            return Err(AskError::Unasked);
        }
        Ok(Some(Blocks { blocks, missing }))
    }

    async fn ask(&mut self, blocks: Vec<Cid>) -> Result<Answer, AskError> {
        let repo = self.repo.clone();
        let ask = Ask { repo, blocks }.encode();
        let talk = async {
            framing::write(&mut self.stream, &ask).await?;
            framing::read(&mut self.stream, MAX_ANSWER).await
        };
        let answer = timeout(WITHIN, talk)
            .await
            .map_err(|_| AskError::Timeout)??;
        let answer =
            answer.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::UnexpectedEof))?;
        Ok(Answer::decode(answer)?)
    }
}
