//! Tokens that are sent by mail: who brings one back reads the account's mail.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use ues_repo::syntax::Did;
use ues_storage::{Batch, CommitError, Keyspace, StorageError, Store};

use super::rows::{Damaged, json_row, row_key, to_json};
use super::seal::{Seal, SealError, random_text};

/// How long a token is good, in milliseconds.
const LIFETIME_MS: u64 = 15 * 60 * 1000;
/// How long it is still known, to be called expired.
const KNOWN_MS: u64 = 24 * 3600 * 1000;
/// Longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 64;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To show that an address is one's own.
    ConfirmEmail,
    /// To change a confirmed address.
    UpdateEmail,
    /// To set a new password.
    ResetPassword,
    /// To delete the account.
    DeleteAccount,
    /// To have an operation of the DID signed.
    PlcOperation,
    /// To sign in.
    SignIn,
}

impl Purpose {
    const ALL: [Self; 6] = [
        Self::ConfirmEmail,
        Self::UpdateEmail,
        Self::ResetPassword,
        Self::DeleteAccount,
        Self::PlcOperation,
        Self::SignIn,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::ConfirmEmail => "confirm_email",
            Self::UpdateEmail => "update_email",
            Self::ResetPassword => "reset_password",
            Self::DeleteAccount => "delete_account",
            Self::PlcOperation => "plc_operation",
            Self::SignIn => "sign_in",
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Row {
    hash: String,
    requested_ms: u64,
}

/// Why a token is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailTokenError {
    /// There is no such token, or not for this.
    #[error("Token is invalid")]
    Invalid,
    /// Its time has passed.
    #[error("Token is expired")]
    Expired,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A row is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// The store did not take the write.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// No token can be made.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// The tokens of all accounts: at most one for each account and purpose, as keyed hashes.
pub struct MailTokens {
    /// DID, zero byte, purpose -> [`Row`].
    rows: Keyspace,
    /// Hash of a token for a new password -> DID.
    owners: Keyspace,
}

impl MailTokens {
    /// Opens the tokens of a store.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: &Store) -> Result<Self, StorageError> {
        Ok(Self {
            rows: store.keyspace("account_mail_tokens")?,
            owners: store.keyspace("account_mail_token_owners")?,
        })
    }

    /// Makes a token, which replaces an earlier one of the same purpose; its row goes into `batch`.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn make(
        &self,
        batch: &mut Batch,
        seal: &Seal,
        did: &Did,
        purpose: Purpose,
        now_ms: u64,
    ) -> Result<String, SealError> {
        let token = random_text(2, 5)?.to_ascii_uppercase();
        let hash = hash(seal, purpose, &token);
        let until = now_ms.saturating_add(KNOWN_MS);
        if purpose == Purpose::ResetPassword {
            batch.put_with_ttl(&self.owners, &hash, did.as_str(), until);
        }
        let row = Row {
            hash,
            requested_ms: now_ms,
        };
        let key = row_key(did, purpose.name());
        batch.put_with_ttl(&self.rows, key, to_json(&row), until);
        Ok(token)
    }

    /// Does for nobody what making a token for a new password takes, so that the time tells nothing.
    ///
    /// # Errors
    /// [`MailTokenError`].
    pub async fn make_for_nobody(
        &self,
        store: &Store,
        seal: &Seal,
        now_ms: u64,
    ) -> Result<(), MailTokenError> {
        let token = random_text(2, 5)?;
        let hash = hash(seal, Purpose::ResetPassword, &token);
        let mut batch = store.batch();
        batch.put_with_ttl(&self.rows, [0], hash, now_ms.saturating_add(1));
        store.commit(batch).await?;
        Ok(())
    }

    /// Checks a token and removes it in `batch`: it is good once.
    ///
    /// # Errors
    /// [`MailTokenError`].
    pub fn take(
        &self,
        batch: &mut Batch,
        seal: &Seal,
        did: &Did,
        purpose: Purpose,
        token: &str,
        now_ms: u64,
    ) -> Result<(), MailTokenError> {
        let key = row_key(did, purpose.name());
        let Some(value) = self.rows.get(&key)? else {
            return Err(MailTokenError::Invalid);
        };
        let row: Row = json_row(&key, &value)?;
        let given = hash(seal, purpose, &given(token)?);
        if !bool::from(given.as_bytes().ct_eq(row.hash.as_bytes())) {
            return Err(MailTokenError::Invalid);
        }
        if now_ms.saturating_sub(row.requested_ms) >= LIFETIME_MS {
            return Err(MailTokenError::Expired);
        }
        batch.delete(&self.rows, key);
        batch.delete(&self.owners, given);
        Ok(())
    }

    /// Whose token for a new password this is.
    ///
    /// # Errors
    /// [`MailTokenError`].
    pub fn owner(&self, seal: &Seal, token: &str) -> Result<Did, MailTokenError> {
        let hash = hash(seal, Purpose::ResetPassword, &given(token)?);
        let owner = self.owners.get(hash)?.ok_or(MailTokenError::Invalid)?;
        std::str::from_utf8(&owner)
            .ok()
            .and_then(|did| Did::parse(did).ok())
            .ok_or(MailTokenError::Invalid)
    }

    /// Removes all tokens of an account; goes into `batch`.
    pub fn remove_all(&self, batch: &mut Batch, did: &Did) {
        for purpose in Purpose::ALL {
            batch.delete(&self.rows, row_key(did, purpose.name()));
        }
    }

    /// Removes the token of a purpose; goes into `batch`.
    pub fn remove(&self, batch: &mut Batch, did: &Did, purpose: Purpose) {
        batch.delete(&self.rows, row_key(did, purpose.name()));
    }
}

/// What was given, in capitals as tokens are made.
fn given(token: &str) -> Result<String, MailTokenError> {
    match token.len() {
        1..=MAX_TOKEN => Ok(token.to_ascii_uppercase()),
        _ => Err(MailTokenError::Invalid),
    }
}

fn hash(seal: &Seal, purpose: Purpose, token: &str) -> String {
    seal.hash(&["mail token", purpose.name(), token])
}
