//! Invite codes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use ues_repo::syntax::Did;
use ues_storage::{Batch, Keyspace, StorageError, Store};

use super::rows::{Damaged, json_row, to_json};

/// Who has codes that the operator made for nobody in particular.
pub const ADMIN: &str = "admin";

/// An invite code, as it is stored (JSON under the code).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// The code.
    pub code: String,
    /// How many accounts may be made with it.
    pub available: i64,
    /// Whether the operator has stopped it.
    pub disabled: bool,
    /// Who has it: a DID, or [`ADMIN`].
    pub for_account: String,
    /// Who made it: a DID, or [`ADMIN`].
    pub created_by: String,
    /// When it was made, RFC 3339.
    pub created_at: String,
}

/// One use of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteUse {
    /// Who was invited.
    pub used_by: String,
    /// When, RFC 3339.
    pub used_at: String,
}

/// Why invite codes cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A row is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// In which order codes are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteOrder {
    /// The newest first.
    Recent,
    /// Those used most first.
    Usage,
}

/// All invite codes.
pub struct Invites {
    /// Code -> [`Invite`].
    rows: Keyspace,
    /// Who has it, zero byte, code -> nothing.
    by_account: Keyspace,
    /// Code, zero byte, DID -> when.
    uses: Keyspace,
    /// Uses that are not durable yet, by code.
    pending: Mutex<HashMap<String, i64>>,
}

/// A place in an order: what it is ordered by, and the code.
pub type Place = (String, String);

impl Invites {
    /// Opens the codes of a store.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: &Store) -> Result<Self, StorageError> {
        Ok(Self {
            rows: store.keyspace("invite_codes")?,
            by_account: store.keyspace("invite_codes_by_account")?,
            uses: store.keyspace("invite_code_uses")?,
            pending: Mutex::default(),
        })
    }

    /// Puts a code into a batch.
    pub fn put(&self, batch: &mut Batch, invite: &Invite) {
        batch.put(&self.rows, &invite.code, to_json(invite));
        batch.put(
            &self.by_account,
            pair(&invite.for_account, &invite.code),
            [],
        );
    }

    /// A code.
    ///
    /// # Errors
    /// [`InviteError`].
    pub fn get(&self, code: &str) -> Result<Option<Invite>, InviteError> {
        match self.rows.get(code)? {
            Some(row) => Ok(Some(json_row(code.as_bytes(), &row)?)),
            None => Ok(None),
        }
    }

    /// The codes that an account, or [`ADMIN`], has.
    ///
    /// # Errors
    /// [`InviteError`].
    pub fn of_account(&self, account: &str) -> Result<Vec<Invite>, InviteError> {
        let prefix = pair(account, "");
        let mut all = Vec::new();
        for row in self.by_account.prefix(&prefix) {
            let (key, _) = row?;
            let code = key.get(prefix.len()..).unwrap_or_default();
            if let Some(invite) = self.get(&String::from_utf8_lossy(code))? {
                all.push(invite);
            }
        }
        Ok(all)
    }

    /// The uses of a code, the newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn uses(&self, code: &str) -> Result<Vec<InviteUse>, StorageError> {
        let prefix = pair(code, "");
        let mut uses = Vec::new();
        for row in self.uses.prefix(&prefix) {
            let (key, at) = row?;
            let by = key.get(prefix.len()..).unwrap_or_default();
            uses.push(InviteUse {
                used_by: String::from_utf8_lossy(by).into_owned(),
                used_at: String::from_utf8_lossy(&at).into_owned(),
            });
        }
        uses.sort_by(|a, b| b.used_at.cmp(&a.used_at));
        Ok(uses)
    }

    /// Takes one use of a code for the time of making an account; `None` if there is none left.
    ///
    /// # Errors
    /// [`InviteError`].
    pub fn reserve(self: &Arc<Self>, code: &str) -> Result<Option<InviteClaim>, InviteError> {
        let mut pending = self.pending.lock();
        let Some(invite) = self.get(code)?.filter(|invite| !invite.disabled) else {
            return Ok(None);
        };
        let used = i64::try_from(self.uses(code)?.len()).unwrap_or(i64::MAX);
        let waiting = pending.get(code).copied().unwrap_or_default();
        if used.saturating_add(waiting) >= invite.available {
            return Ok(None);
        }
        *pending.entry(code.to_owned()).or_default() += 1;
        Ok(Some(InviteClaim {
            invites: Arc::clone(self),
            invite,
        }))
    }

    /// Codes after a place in an order, at most `limit`, each with its place and uses. Reads all.
    ///
    /// # Errors
    /// [`InviteError`].
    pub fn list(
        &self,
        order: InviteOrder,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<(Place, Invite, Vec<InviteUse>)>, InviteError> {
        let mut page: Vec<(Place, Invite, Vec<InviteUse>)> = Vec::new();
        for row in self.rows.prefix("") {
            let (key, value) = row?;
            let invite: Invite = json_row(&key, &value)?;
            let uses = self.uses(&invite.code)?;
            let place = match order {
                InviteOrder::Recent => invite.created_at.clone(),
                InviteOrder::Usage => format!("{:020}", uses.len()),
            };
            let place = (place, invite.code.clone());
            if after.is_some_and(|after| place >= *after) {
                continue;
            }
            let at = page.partition_point(|(other, ..)| *other > place);
            if at < limit {
                page.insert(at, (place, invite, uses));
                page.truncate(limit);
            }
        }
        Ok(page)
    }
}

/// One use of a code that is taken until this is dropped.
pub struct InviteClaim {
    invites: Arc<Invites>,
    /// The code.
    pub invite: Invite,
}

impl InviteClaim {
    /// Enters the use; goes into `batch`.
    pub fn enter(&self, batch: &mut Batch, did: &Did, now: &str) {
        let key = pair(&self.invite.code, did.as_str());
        batch.put(&self.invites.uses, key, now);
    }
}

impl Drop for InviteClaim {
    fn drop(&mut self) {
        let mut pending = self.invites.pending.lock();
        if let Some(count) = pending.get_mut(&self.invite.code) {
            *count -= 1;
            if *count <= 0 {
                pending.remove(&self.invite.code);
            }
        }
    }
}

fn pair(first: &str, second: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(first.len() + 1 + second.len());
    key.extend_from_slice(first.as_bytes());
    key.push(0);
    key.extend_from_slice(second.as_bytes());
    key
}
