//! Takes the content of one blob from one device.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::{AsyncReadExt, io};
use libp2p::{PeerId, Stream};
use tokio::time::timeout;
use ues_data::Cid;
use ues_repo::repo::blobs::BlobMeta;
use ues_repo::repo::{BlobIntake, BlobIntakeError, Repositories};
use ues_repo::syntax::Did;

use super::message::{Answer, Ask, MAX_MESSAGE, Malformed};
use crate::error::OpenStreamError;
use crate::framing;

/// How long the other may take to answer, or to send anything more.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much is gathered before it goes to a thread that may block.
const PIECE: usize = 256 << 10;

/// Why a device did not give a blob.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// It cannot be reached, or does not speak the protocol.
    #[error(transparent)]
    Open(#[from] OpenStreamError),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Stream(#[from] io::Error),
    /// It sends nothing.
    #[error("the other device does not answer")]
    Silent,
    /// It sends what is no answer.
    #[error("no answer by the protocol: {0}")]
    Malformed(#[from] Malformed),
    /// It does not share the repository with this device.
    #[error("the other device does not share the repository")]
    Refused,
    /// The blob is larger than this node takes.
    #[error("the blob has {size} bytes, and limits.blob_bytes allows {max}")]
    TooLarge {
        /// Its size.
        size: u64,
        /// What is allowed.
        max: u64,
    },
    /// Two devices differ about the size.
    #[error("two devices say that the blob has {0} and {1} bytes")]
    OtherSize(u64, u64),
    /// What came has another hash. Nothing of it was kept.
    #[error("what came is not the blob")]
    Wrong {
        /// Whether all of it came from this device.
        alone: bool,
    },
    /// The store failed, or the repository is gone.
    #[error("the content cannot be stored: {0}")]
    Store(String),
}

fn store(error: impl std::fmt::Display) -> FetchError {
    FetchError::Store(error.to_string())
}

/// What came of a blob before a connection was lost.
pub(super) struct Partial {
    intake: BlobIntake,
    /// Number of the repository.
    owner: u64,
    /// Bytes of the whole.
    size: u64,
    /// Who gave it, if it was one device.
    from: Option<PeerId>,
}

impl Partial {
    /// Gives it up. Freeing what it stored blocks.
    pub fn discard(self) {
        drop(tokio::task::spawn_blocking(move || drop(self.intake)));
    }
}

/// What is fetched, and where it goes.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub repos: &'a Repositories,
    pub did: &'a Did,
    pub cid: &'a Cid,
    /// The largest that is taken.
    pub max: u64,
}

/// Asks for a blob, and enters it once all of it is here; its size, or `None` if the device has it not. What came before
/// is in `partial`, and what came when the connection is lost.
pub(super) async fn fetch(
    wanted: Wanted<'_>,
    peer: PeerId,
    stream: &mut Stream,
    partial: &mut Option<Partial>,
) -> Result<Option<u64>, FetchError> {
    let Wanted {
        repos, did, cid, ..
    } = wanted;
    let ask = Ask {
        repo: did.clone(),
        cid: *cid,
        offset: partial.as_ref().map_or(0, |partial| partial.intake.size()),
    };
    let (size, mime) = match question(stream, &ask).await? {
        Answer::Here { size, mime } => (size, mime),
        Answer::Absent => return Ok(None),
        Answer::Refused => return Err(FetchError::Refused),
    };
    if size > wanted.max {
        let max = wanted.max;
        return Err(FetchError::TooLarge { size, max });
    }
    if let Some(other) = partial.take_if(|partial| partial.size != size) {
        let error = FetchError::OtherSize(other.size, size);
        other.discard();
        return Err(error);
    }
    let owner = owner(repos, did)?;
    let mut taking = match partial.take() {
        Some(before) => Partial {
            from: before.from.filter(|from| *from == peer),
            ..before
        },
        None => Partial {
            intake: repos.blob_intake(owner),
            owner,
            size,
            from: Some(peer),
        },
    };
    let mut buffer = vec![0; PIECE];
    while taking.intake.size() < size {
        let left = usize::try_from(size - taking.intake.size()).unwrap_or(PIECE);
        let (read, failed) = read_piece(stream, &mut buffer[..left.min(PIECE)]).await;
        let piece = buffer[..read].to_vec();
        let pushed = tokio::task::spawn_blocking(move || {
            let pushed = taking.intake.push(&piece);
            (pushed, taking)
        });
        let (pushed, taken) = pushed.await.map_err(store)?;
        taking = taken;
        pushed.map_err(store)?;
        if let Some(failed) = failed {
            *partial = Some(taking);
            return Err(failed);
        }
    }
    if self::owner(repos, did)? != taking.owner {
        taking.discard();
        return Err(store("the repository is another one now"));
    }
    let (alone, owner, expected) = (taking.from.is_some(), taking.owner, *cid);
    let finished = tokio::task::spawn_blocking(move || taking.intake.finish_as(&expected));
    let stored = match finished.await.map_err(store)? {
        Ok(stored) => stored,
        Err(BlobIntakeError::Mismatch { .. }) => return Err(FetchError::Wrong { alone }),
        Err(e) => return Err(store(e)),
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let meta = BlobMeta::of(&stored, mime, now.as_millis() as u64);
    repos.enter_blob(did, owner, &meta).await.map_err(store)?;
    Ok(Some(size))
}

fn owner(repos: &Repositories, did: &Did) -> Result<u64, FetchError> {
    let head = repos.head(did).map_err(store)?;
    let head = head.ok_or_else(|| store(format!("no repository of {did} here")))?;
    Ok(head.owner)
}

async fn question(stream: &mut Stream, ask: &Ask) -> Result<Answer, FetchError> {
    let asked = timeout(PATIENCE, framing::write(stream, &ask.encode())).await;
    asked.map_err(|_| FetchError::Silent)??;
    let answer = timeout(PATIENCE, framing::read(stream, MAX_MESSAGE)).await;
    let answer = answer.map_err(|_| FetchError::Silent)??;
    let answer = answer.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    Ok(Answer::decode(answer)?)
}

/// Reads until the buffer is full; how much came, and why it is not all.
async fn read_piece(stream: &mut Stream, buffer: &mut [u8]) -> (usize, Option<FetchError>) {
    let mut at = 0;
    while at < buffer.len() {
        let failed = match timeout(PATIENCE, stream.read(&mut buffer[at..])).await {
            Ok(Ok(0)) => io::Error::from(io::ErrorKind::UnexpectedEof).into(),
            Ok(Ok(read)) => {
                at += read;
                continue;
            }
            Ok(Err(e)) => e.into(),
            Err(_) => FetchError::Silent,
        };
        return (at, Some(failed));
    }
    (at, None)
}
