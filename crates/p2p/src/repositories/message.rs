//! The messages, read and checked.

use bytes::Bytes;
use prost::Message;
use ues_data::content_id::{DAG_CBOR, SHA2_256};
use ues_data::{Cid, Multihash};
use ues_repo::syntax::Did;

#[allow(clippy::all, clippy::pedantic, missing_docs, reason = "generated")]
mod wire {
    include!(concat!(env!("OUT_DIR"), "/ues.repositories.v1.rs"));
}

/// Most blocks of one question.
pub const MAX_ASKED: usize = 2048;
/// The longest question in bytes.
pub const MAX_ASK: usize = 128 << 10;
/// An answer takes no further block once it has so many bytes of them.
pub const ENOUGH: usize = 2 << 20;
/// The longest answer in bytes: what is enough, the largest block, and room.
pub const MAX_ANSWER: usize = ENOUGH + (2 << 20) + (128 << 10);

/// Asks for the newest commit, or for blocks if any are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The repository.
    pub repo: Did,
    /// DAG-CBOR, SHA-256.
    pub blocks: Vec<Cid>,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The newest commit.
    Commit(Bytes),
    /// Blocks that were asked for, and the places of those that are not in the repository.
    Blocks {
        /// Their bytes, not checked.
        blocks: Vec<Bytes>,
        /// Places in the question.
        missing: Vec<u32>,
    },
    /// The repository is not here, or not for the one who asks.
    Absent,
}

/// A message that is none.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

fn malformed(what: impl std::fmt::Display) -> Malformed {
    Malformed(what.to_string())
}

impl Ask {
    /// The message's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let digest = |cid: &Cid| Bytes::copy_from_slice(cid.hash().digest());
        let message = wire::Ask {
            repo: self.repo.to_string(),
            blocks: self.blocks.iter().map(digest).collect(),
        };
        message.encode_to_vec()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let message = wire::Ask::decode(bytes).map_err(malformed)?;
        if message.blocks.len() > MAX_ASKED {
            let found = message.blocks.len();
            return Err(malformed(format!(
                "at most {MAX_ASKED} blocks expected, found {found}"
            )));
        }
        let cid = |digest: &Bytes| {
            if digest.len() != 32 {
                let found = digest.len();
                return Err(malformed(format!(
                    "a digest of 32 bytes expected, found {found}"
                )));
            }
            let hash = Multihash::wrap(SHA2_256, digest).map_err(malformed)?;
            Ok(Cid::new_v1(DAG_CBOR, hash))
        };
        Ok(Self {
            repo: Did::parse(&message.repo).map_err(malformed)?,
            blocks: message.blocks.iter().map(cid).collect::<Result<_, _>>()?,
        })
    }
}

impl Answer {
    /// The message's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut message = wire::Answer {
            status: wire::Status::Here.into(),
            ..wire::Answer::default()
        };
        match self {
            Self::Commit(commit) => message.commit.clone_from(commit),
            Self::Blocks { blocks, missing } => {
                message.blocks.clone_from(blocks);
                message.missing.clone_from(missing);
            }
            Self::Absent => message.status = wire::Status::Absent.into(),
        }
        message.encode_to_vec()
    }

    /// Reads the answer to a question.
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let message = wire::Answer::decode(bytes).map_err(malformed)?;
        match wire::Status::try_from(message.status) {
            Ok(wire::Status::Here) if !message.commit.is_empty() => {
                Ok(Self::Commit(message.commit))
            }
            Ok(wire::Status::Here) => Ok(Self::Blocks {
                blocks: message.blocks,
                missing: message.missing,
            }),
            Ok(wire::Status::Absent) => Ok(Self::Absent),
            _ => Err(malformed(format!(
                "status 1 or 2 expected, found {}",
                message.status
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::*;
    use ues_data::dag_cbor_cid;

    use super::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 1..64).prop_map(Bytes::from)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            name in "[a-z2-7]{24}", blocks in proptest::collection::vec(bytes(), 0..8), commit in bytes(),
            missing in proptest::collection::vec(any::<u32>(), 0..8),
        ) {
            let repo = Did::parse(&format!("did:plc:{name}")).unwrap();
            let ask = Ask { repo, blocks: blocks.iter().map(|b| dag_cbor_cid(b)).collect() };
            prop_assert_eq!(Ask::decode(ask.encode().into()).unwrap(), ask);
            for answer in [Answer::Commit(commit), Answer::Blocks { blocks, missing }, Answer::Absent] {
                prop_assert_eq!(Answer::decode(answer.encode().into()).unwrap(), answer);
            }
        }

        #[test]
        fn nothing_that_comes_breaks_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Ask::decode(bytes.clone().into());
            let _ = Answer::decode(bytes.into());
        }
    }

    #[test]
    fn too_much_is_refused() {
        let repo = Did::parse("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa").unwrap();
        let blocks = vec![dag_cbor_cid(b"x"); MAX_ASKED + 1];
        let ask = Ask { repo, blocks };
        assert!(ask.encode().len() < MAX_ASK);
        assert!(Ask::decode(ask.encode().into()).is_err());
        assert!(Answer::decode(Bytes::new()).is_err());
    }
}
