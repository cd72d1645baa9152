//! Recovery codes: what an owner keeps on paper for the day their authenticator is lost. Each is good once.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use ues_repo::syntax::Did;
use ues_storage::{Batch, Keyspace, StorageError, Store};

use super::rows::{Damaged, json_row, to_json};
use super::seal::{Seal, SealError, random_text};

/// Codes of one account.
const RECOVERY_CODES: usize = 10;
/// Groups and letters of a code: 50 random bits, and tries are counted.
const GROUPS: usize = 2;
const LETTERS: usize = 5;
/// Longest text that is looked at, in bytes.
const MAX_GIVEN: usize = 64;

/// Why recovery codes cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A row is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// No code can be made.
    #[error(transparent)]
    Seal(#[from] SealError),
}

#[derive(Serialize, Deserialize)]
struct Row {
    /// Keyed hashes of the codes that are left. They are random, so that a fast hash is enough.
    left: Vec<String>,
}

/// The recovery codes of all accounts.
pub struct RecoveryCodes {
    /// DID -> [`Row`].
    rows: Keyspace,
}

impl RecoveryCodes {
    /// Opens the recovery codes of a store.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: &Store) -> Result<Self, StorageError> {
        Ok(Self {
            rows: store.keyspace("account_recovery")?,
        })
    }

    /// Makes ten codes, which replace all earlier ones; the row goes into `batch`. The
    /// texts, such as `abcde-fg234`, are told only now.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn make(
        &self,
        batch: &mut Batch,
        seal: &Seal,
        did: &Did,
    ) -> Result<Vec<String>, SealError> {
        let codes: Vec<String> = (0..RECOVERY_CODES)
            .map(|_| random_text(GROUPS, LETTERS))
            .collect::<Result<_, _>>()?;
        let row = Row {
            left: codes
                .iter()
                .map(|code| hash(seal, did, &plain(code)))
                .collect(),
        };
        batch.put(&self.rows, did.as_str(), to_json(&row));
        Ok(codes)
    }

    fn row(&self, did: &Did) -> Result<Option<Row>, RecoveryError> {
        match self.rows.get(did.as_str())? {
            Some(value) => Ok(Some(json_row(did.as_str().as_bytes(), &value)?)),
            None => Ok(None),
        }
    }

    /// How many codes are left.
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub fn left(&self, did: &Did) -> Result<usize, RecoveryError> {
        Ok(self.row(did)?.map_or(0, |row| row.left.len()))
    }

    /// Checks a code and uses it up in `batch`; tells how many are left then, or `None` if it is not one.
    /// Capitals, spaces and dashes do not matter.
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub fn take(
        &self,
        batch: &mut Batch,
        seal: &Seal,
        did: &Did,
        given: &str,
    ) -> Result<Option<usize>, RecoveryError> {
        if given.len() > MAX_GIVEN {
            return Ok(None);
        }
        let Some(mut row) = self.row(did)? else {
            return Ok(None);
        };
        let given = hash(seal, did, &plain(given));
        let before = row.left.len();
        row.left
            .retain(|hash| !bool::from(hash.as_bytes().ct_eq(given.as_bytes())));
        if row.left.len() == before {
            return Ok(None);
        }
        batch.put(&self.rows, did.as_str(), to_json(&row));
        Ok(Some(row.left.len()))
    }

    /// Removes an account's codes; goes into `batch`.
    pub fn remove(&self, batch: &mut Batch, did: &Did) {
        batch.delete(&self.rows, did.as_str());
    }
}

/// A code as people may type it, without what they may leave out.
fn plain(text: &str) -> String {
    let kept = text.chars().filter(|c| !c.is_whitespace() && *c != '-');
    kept.map(|c| c.to_ascii_lowercase()).collect()
}

fn hash(seal: &Seal, did: &Did, plain: &str) -> String {
    seal.hash(&["recovery code", did.as_str(), plain])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_good_once_and_for_its_account() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), ues_storage::StoreOptions::default()).unwrap();
        let recovery = RecoveryCodes::open(&store).unwrap();
        let seal = Seal::new(&[7; 32]);
        let did = Did::parse("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa").unwrap();
        let other = Did::parse("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb").unwrap();
        let make = || {
            let mut batch = store.batch();
            let codes = recovery.make(&mut batch, &seal, &did).unwrap();
            recovery.make(&mut batch, &seal, &other).unwrap();
            store.commit_blocking(batch).unwrap();
            codes
        };
        let take = |whose: &Did, code: &str| {
            let mut batch = store.batch();
            let left = recovery.take(&mut batch, &seal, whose, code).unwrap();
            store.commit_blocking(batch).unwrap();
            left
        };
        let codes = make();
        assert_eq!(codes.len(), RECOVERY_CODES);
        assert_eq!(take(&other, &codes[0]), None);
        assert_eq!(take(&did, &codes[0]), Some(RECOVERY_CODES - 1));
        assert_eq!(take(&did, &codes[0]), None);
        let typed = codes[1].to_uppercase().replace('-', " ");
        assert_eq!(take(&did, &typed), Some(RECOVERY_CODES - 2));
        assert_eq!(take(&did, ""), None);
        assert_eq!(take(&did, &"a".repeat(MAX_GIVEN + 1)), None);
        let stored = store.keyspace("account_recovery").unwrap();
        let row = stored.get(did.as_str()).unwrap().unwrap();
        assert!(!String::from_utf8_lossy(&row).contains(&plain(&codes[2])));
        make();
        assert_eq!(take(&did, &codes[2]), None, "new codes replace the old");
        assert_eq!(recovery.left(&did).unwrap(), RECOVERY_CODES);
        store.close();
    }
}
