//! Whether a commit that somebody offers is the next state of a copy.

use bytes::Bytes;
use ues_data::Cid;

use crate::crypto::VerifyingKey;
use crate::syntax::{Did, Tid};

use super::super::commit::{Commit, CommitError};
use super::super::layout::Head;

/// How far ahead of the clock here a revision may lie, in microseconds.
const MAX_AHEAD: u64 = 10 * 60 * 1_000_000;

/// A commit that was offered and is good.
#[derive(Clone, Debug)]
pub struct Offered {
    /// What it says.
    pub commit: Commit,
    /// Its CID.
    pub cid: Cid,
    /// Its block.
    pub bytes: Bytes,
}

/// What a good commit is for the copy here.
#[derive(Clone, Debug)]
pub enum Judged {
    /// What is here already.
    Same,
    /// Older than what is here.
    Older(Tid),
    /// The next state.
    Newer(Box<Offered>),
}

/// Why a commit is not to be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is no commit, or not signed by the account's key.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The repository of another account.
    #[error("a commit of {expected} expected, found one of {found}")]
    Foreign {
        /// Who was asked for.
        expected: Did,
        /// Whose it is.
        found: Did,
    },
    /// Two signed commits of one revision: the account's server, or whoever has its key, tells two stories.
    #[error(
        "revision {rev} is {here} here, and another commit, {found}, is signed with the same revision"
    )]
    Fork {
        /// The revision.
        rev: Tid,
        /// The commit here.
        here: Box<Cid>,
        /// The other one.
        found: Box<Cid>,
    },
    /// A revision from the future would shut out all that come before its time.
    #[error("revision {0} lies in the future")]
    Early(Tid),
    /// Older than what was had before, from a source that must have the newest.
    #[error("revision {found} is older than {here}, which was here before")]
    Rollback {
        /// What is here.
        here: Tid,
        /// What came.
        found: Tid,
    },
}

/// Judges the block of a commit: whose it is, whether the account's key signed it, and how it stands to what is here.
///
/// `now_micros` is the time in microseconds since 1970.
///
/// # Errors
/// [`Refused`].
pub fn judge(
    did: &Did,
    key: &VerifyingKey,
    here: Option<&Head>,
    block: &Bytes,
    now_micros: u64,
) -> Result<Judged, Refused> {
    let commit = Commit::decode(block)?;
    if commit.did != *did {
        return Err(Refused::Foreign {
            expected: did.clone(),
            found: commit.did,
        });
    }
    commit.verify(key)?;
    let cid = ues_data::dag_cbor_cid(block);
    if commit.rev.micros() > now_micros.saturating_add(MAX_AHEAD) {
        return Err(Refused::Early(commit.rev));
    }
    if let Some(here) = here {
        if here.commit == cid {
            return Ok(Judged::Same);
        }
        if commit.rev == here.rev {
            return Err(Refused::Fork {
                rev: commit.rev,
                here: Box::new(here.commit),
                found: Box::new(cid),
            });
        }
        if commit.rev < here.rev {
            return Ok(Judged::Older(commit.rev));
        }
    }
    Ok(Judged::Newer(Box::new(Offered {
        commit,
        cid,
        bytes: block.clone(),
    })))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::crypto::{KeyKind, SigningKey};
    use crate::repo::layout::Status;

    const NOW: u64 = 1_700_000_000_000_000;

    fn did(name: &str) -> Did {
        Did::parse(&format!("did:web:{name}.example")).unwrap()
    }

    fn block(of: &Did, micros: u64, key: &SigningKey, data: &[u8]) -> Bytes {
        let data = ues_data::dag_cbor_cid(data);
        Commit::sign(of, data, &Tid::new(micros, 0), key).encode().1
    }

    #[test]
    fn only_the_next_commit_of_the_account_is_taken() {
        let (alice, key) = (did("alice"), SigningKey::generate(KeyKind::P256).unwrap());
        let public = key.verifying_key().clone();
        let judged = |here: Option<&Head>, block: &Bytes| judge(&alice, &public, here, block, NOW);
        let first = block(&alice, NOW, &key, b"a");
        let Judged::Newer(offered) = judged(None, &first).unwrap() else {
            panic!("the first one is new");
        };
        let here = Head {
            owner: 1,
            content: 1,
            commit: offered.cid,
            data: offered.commit.data,
            rev: offered.commit.rev,
            status: Status::Active,
        };
        let here = Some(&here);
        assert!(matches!(judged(here, &first), Ok(Judged::Same)));
        let next = block(&alice, NOW + 1, &key, b"b");
        assert!(matches!(judged(here, &next), Ok(Judged::Newer(_))));
        let before = block(&alice, NOW - 1, &key, b"b");
        assert!(matches!(judged(here, &before), Ok(Judged::Older(_))));
        let fork = block(&alice, NOW, &key, b"b");
        assert!(matches!(judged(here, &fork), Err(Refused::Fork { .. })));
        let early = block(&alice, NOW + MAX_AHEAD + 1, &key, b"b");
        assert!(matches!(judged(here, &early), Err(Refused::Early(_))));
        let foreign = block(&did("mallory"), NOW + 1, &key, b"b");
        assert!(matches!(
            judged(here, &foreign),
            Err(Refused::Foreign { .. })
        ));
        let other = SigningKey::generate(KeyKind::P256).unwrap();
        let forged = block(&alice, NOW + 1, &other, b"b");
        let refused = judged(here, &forged);
        assert!(matches!(
            refused,
            Err(Refused::Commit(CommitError::BadSignature { .. }))
        ));
        assert!(judged(here, &Bytes::from_static(b"\xa0")).is_err());
    }
}
