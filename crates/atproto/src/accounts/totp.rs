//! Codes of an authenticator as a second factor: TOTP (RFC 6238) with SHA-1, six digits, 30 seconds,
//! which every authenticator knows.

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use ues_repo::syntax::Did;
use ues_storage::{Batch, Keyspace, StorageError, Store};
use zeroize::Zeroizing;

use super::rows::{Damaged, json_row, to_json};
use super::seal::{Seal, SealError};

/// Length of a step, in seconds.
const STEP_S: u64 = 30;
/// Steps by which the two clocks may differ.
const DRIFT: u64 = 1;
const DIGITS: usize = 6;
const MODULUS: u32 = 1_000_000;
/// Bytes of a secret, as RFC 4226 recommends for SHA-1.
const SECRET_BYTES: usize = 20;

/// Why a second factor cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TotpError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A row is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// The secret cannot be made or sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The row was sealed by another node's key.
    #[error("the stored second factor of {0} cannot be opened")]
    Sealed(Did),
}

#[derive(Serialize, Deserialize)]
struct Row {
    secret: Vec<u8>,
    /// Whether the owner has shown that their authenticator has it.
    confirmed: bool,
    /// The newest step whose code was used: no code is good twice.
    used: u64,
}

/// What came of a wish for a new secret.
pub enum Made {
    /// The secret, in base 32.
    Secret(Zeroizing<String>),
    /// There is one that sign-ins ask for; it has to be removed first.
    IsOn,
}

/// The second factors of all accounts.
pub struct Totps {
    /// DID -> [`Row`], the secret sealed.
    rows: Keyspace,
}

impl Totps {
    /// Opens the second factors of a store.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: &Store) -> Result<Self, StorageError> {
        Ok(Self {
            rows: store.keyspace("account_totp")?,
        })
    }

    /// Makes a secret for an authenticator, in base 32; its row goes into `batch`. It is asked for
    /// once it is [confirmed](Self::take). One that is asked for already is never replaced.
    ///
    /// # Errors
    /// [`TotpError`].
    pub fn make(&self, batch: &mut Batch, seal: &Seal, did: &Did) -> Result<Made, TotpError> {
        if self.is_on(did)? {
            return Ok(Made::IsOn);
        }
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        getrandom::fill(&mut *secret).map_err(|e| SealError::Random(e.to_string()))?;
        let row = Row {
            secret: seal.seal(&name(did), &*secret)?,
            confirmed: false,
            used: 0,
        };
        batch.put(&self.rows, did.as_str(), to_json(&row));
        Ok(Made::Secret(in_base_32(&*secret)))
    }

    /// The secret that waits for its first code, in base 32.
    ///
    /// # Errors
    /// [`TotpError`].
    pub fn waiting(&self, seal: &Seal, did: &Did) -> Result<Option<Zeroizing<String>>, TotpError> {
        let Some(row) = self.row(did)?.filter(|row| !row.confirmed) else {
            return Ok(None);
        };
        let secret = seal.open(&name(did), &row.secret);
        let secret = secret.ok_or_else(|| TotpError::Sealed(did.clone()))?;
        Ok(Some(in_base_32(&secret)))
    }

    fn row(&self, did: &Did) -> Result<Option<Row>, TotpError> {
        match self.rows.get(did.as_str())? {
            Some(value) => Ok(Some(json_row(did.as_str().as_bytes(), &value)?)),
            None => Ok(None),
        }
    }

    /// Whether an account's sign-ins ask for a code.
    ///
    /// # Errors
    /// [`TotpError`].
    pub fn is_on(&self, did: &Did) -> Result<bool, TotpError> {
        Ok(self.row(did)?.is_some_and(|row| row.confirmed))
    }

    /// Checks a code and uses it up in `batch`; the first one also confirms the secret.
    ///
    /// # Errors
    /// [`TotpError`].
    pub fn take(
        &self,
        batch: &mut Batch,
        seal: &Seal,
        did: &Did,
        code: &str,
        now_ms: u64,
    ) -> Result<bool, TotpError> {
        let Some(row) = self.row(did)? else {
            return Ok(false);
        };
        let secret = seal.open(&name(did), &row.secret);
        let secret = secret.ok_or_else(|| TotpError::Sealed(did.clone()))?;
        let now = now_ms / 1000 / STEP_S;
        let mut found = None;
        for step in now.saturating_sub(DRIFT)..=now + DRIFT {
            let right = code_of(&secret, step);
            let same = bool::from(right.as_bytes().ct_eq(code.trim().as_bytes()));
            if same && step > row.used {
                found = Some(step);
            }
        }
        let Some(step) = found else {
            return Ok(false);
        };
        let row = Row {
            confirmed: true,
            used: step,
            ..row
        };
        batch.put(&self.rows, did.as_str(), to_json(&row));
        Ok(true)
    }

    /// Removes an account's second factor; goes into `batch`.
    pub fn remove(&self, batch: &mut Batch, did: &Did) {
        batch.delete(&self.rows, did.as_str());
    }
}

fn name(did: &Did) -> String {
    format!("totp {did}")
}

fn in_base_32(secret: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(BASE32_NOPAD.encode(secret))
}

/// The code of a step (RFC 4226, 5.3).
fn code_of(secret: &[u8], step: u64) -> String {
    let Ok(mut mac) = <Hmac<Sha1> as KeyInit>::new_from_slice(secret) else {
        // HMAC takes keys of any length.
        return String::new();
    };
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let at = usize::from(hash.last().copied().unwrap_or_default() & 0xf);
    let word = hash.get(at..at + 4).and_then(|word| word.try_into().ok());
    let word = word.map_or(0, u32::from_be_bytes) & 0x7fff_ffff;
    format!("{:0DIGITS$}", word % MODULUS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, the last six digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = b"12345678901234567890";
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code_of(secret, seconds / STEP_S), code);
        }
    }

    #[test]
    fn a_code_is_good_once_and_for_a_short_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), ues_storage::StoreOptions::default()).unwrap();
        let totps = Totps::open(&store).unwrap();
        let seal = Seal::new(&[7; 32]);
        let did = Did::parse("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa").unwrap();
        let mut batch = store.batch();
        let Made::Secret(secret) = totps.make(&mut batch, &seal, &did).unwrap() else {
            panic!("nothing is on");
        };
        store.commit_blocking(batch).unwrap();
        assert_eq!(totps.waiting(&seal, &did).unwrap(), Some(secret.clone()));
        let secret = BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
        assert!(!totps.is_on(&did).unwrap());
        let now = 1_800_000_000_000;
        let code = code_of(&secret, now / 1000 / STEP_S);
        let take = |code: &str, at: u64| {
            let mut batch = store.batch();
            let good = totps.take(&mut batch, &seal, &did, code, at).unwrap();
            store.commit_blocking(batch).unwrap();
            good
        };
        assert!(!take(&code, now + 120_000));
        assert!(take(&code, now + 20_000));
        assert!(totps.is_on(&did).unwrap());
        assert!(totps.waiting(&seal, &did).unwrap().is_none());
        let again = totps.make(&mut store.batch(), &seal, &did).unwrap();
        assert!(matches!(again, Made::IsOn));
        assert!(!take(&code, now + 20_000));
        let next = code_of(&secret, now / 1000 / STEP_S + 2);
        assert!(take(&next, now + 60_000));
        store.close();
    }
}
