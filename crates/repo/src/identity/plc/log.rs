//! The rules of the operation log: order, signatures, recovery.

use serde::{Deserialize, Serialize};
use ues_data::{Cid, parse_cid};

use super::{DocumentData, Operation, PlcError};
use crate::syntax::{Datetime, Did};

/// How long a mightier key may undo what a lesser one did.
pub const RECOVERY_WINDOW_MS: i64 = 72 * 60 * 60 * 1000;

/// Longest log that is looked at; the public directory's rate limits keep logs far below.
const MAX_LOG: usize = 10_000;

/// An operation in the audit log, with the directory's own notes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// Whose log it is.
    pub did: Did,
    /// The operation.
    pub operation: Operation,
    /// The operation's CID.
    pub cid: String,
    /// Whether a mightier key has undone it.
    pub nullified: bool,
    /// When the directory took it.
    pub created_at: Datetime,
}

/// What accepting an operation means for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The operation's CID.
    pub cid: Cid,
    /// How many operations of the history remain; the later ones become nullified.
    pub kept: usize,
}

/// A log that follows all rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidLog {
    /// The data that holds now; none after a tombstone.
    pub data: Option<DocumentData>,
    /// The CID of the last operation that is not nullified.
    pub head: Cid,
    /// How many operations are not nullified.
    pub length: usize,
}

impl LogEntry {
    /// When the directory took it, in milliseconds since 1970.
    pub fn created_ms(&self) -> i64 {
        self.created_at.unix_millis()
    }

    fn parsed_cid(&self) -> Option<Cid> {
        parse_cid(&self.cid).ok()
    }
}

/// Judges whether an operation may follow a history (without its nullified operations, oldest first).
///
/// # Errors
/// The first rule that is broken, in the order in which the public directory looks.
pub fn check_next(
    did: &Did,
    history: &[&LogEntry],
    proposed: &Operation,
    now_ms: i64,
) -> Result<Accepted, PlcError> {
    let cid = proposed.cid()?;
    let Some(newest) = history.last() else {
        check_genesis(did, proposed)?;
        return Ok(Accepted { cid, kept: 0 });
    };
    let prev = proposed.prev_cid().ok_or(PlcError::Misordered)?;
    let at = history
        .iter()
        .position(|entry| entry.parsed_cid() == Some(prev))
        .ok_or(PlcError::Misordered)?;
    let base = &history.get(at).ok_or(PlcError::Misordered)?.operation;
    if base.is_tombstone() {
        return Err(PlcError::Misordered);
    }
    let keys = base.rotation_keys();
    let kept = at + 1;
    let Some(disputed) = history.get(kept) else {
        proposed.signer(&keys)?;
        return Ok(Accepted { cid, kept });
    };
    // a fork: only keys before the one that signed the disputed operation may do that, and only for a time
    let signer = disputed.operation.signer(&keys)?;
    proposed.signer(keys.get(..signer).unwrap_or_default())?;
    if now_ms <= newest.created_ms() {
        return Err(PlcError::Misordered);
    }
    let lapsed_ms = now_ms.saturating_sub(disputed.created_ms());
    if lapsed_ms > RECOVERY_WINDOW_MS {
        return Err(PlcError::LateRecovery { lapsed_ms });
    }
    Ok(Accepted { cid, kept })
}

fn check_genesis(did: &Did, operation: &Operation) -> Result<(), PlcError> {
    if operation.is_tombstone() {
        return Err(PlcError::Misordered);
    }
    operation.signer(&operation.rotation_keys())?;
    let expected = operation.did()?;
    if expected != *did {
        return Err(PlcError::GenesisHash {
            expected: expected.to_string(),
        });
    }
    if operation.prev().is_some() {
        return Err(PlcError::Improper {
            reason: "expected null prev on create".to_owned(),
        });
    }
    Ok(())
}

/// Replays an audit log from its first operation and checks everything that it says.
///
/// # Errors
/// The first entry that breaks a rule: signature, order, time, CID, or a wrong mark of nullification.
pub fn validate_log(did: &Did, log: &[LogEntry]) -> Result<ValidLog, PlcError> {
    if log.len() > MAX_LOG {
        return Err(PlcError::LogTooLong {
            limit: MAX_LOG,
            found: log.len(),
        });
    }
    let mut history: Vec<&LogEntry> = Vec::with_capacity(log.len());
    let mut head = None;
    let mut newest_ms = i64::MIN;
    for entry in log {
        if entry.did != *did {
            return Err(PlcError::WrongDid {
                expected: did.to_string(),
                found: entry.did.to_string(),
            });
        }
        let created_ms = entry.created_ms();
        if created_ms < newest_ms {
            return Err(PlcError::Misordered);
        }
        newest_ms = created_ms;
        let accepted = check_next(did, &history, &entry.operation, created_ms)?;
        if entry.parsed_cid() != Some(accepted.cid) {
            return Err(PlcError::WrongCid {
                expected: accepted.cid.to_string(),
                found: entry.cid.clone(),
            });
        }
        for undone in history.drain(accepted.kept..) {
            check_mark(undone, true)?;
        }
        history.push(entry);
        head = Some(accepted.cid);
    }
    for &entry in &history {
        check_mark(entry, false)?;
    }
    let (Some(last), Some(head)) = (history.last(), head) else {
        return Err(PlcError::EmptyLog);
    };
    Ok(ValidLog {
        data: last.operation.data(did),
        head,
        length: history.len(),
    })
}

fn check_mark(entry: &LogEntry, expected: bool) -> Result<(), PlcError> {
    if entry.nullified == expected {
        return Ok(());
    }
    Err(PlcError::WrongNullified {
        cid: entry.cid.clone(),
        expected,
        found: entry.nullified,
    })
}
