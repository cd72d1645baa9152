//! The keystore's file.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::KeystoreError;
use super::seal::{self, NONCE, PassphraseCost, SALT, SealKey};
use crate::crypto::{KeyKind, SigningKey};

const FORMAT: &str = "ues-keystore";
const VERSION: u64 = 1;
/// Longest keystore that is read, in bytes; about 300,000 keys.
const MAX_FILE: u64 = 64 << 20;

/// What unlocks a keystore.
pub enum Unlock {
    /// A file with 64 hexadecimal digits; made, readable by its owner only, if it is not there.
    KeyFile(PathBuf),
    /// A passphrase; its memory is cleared when it goes.
    Passphrase(Zeroizing<String>),
}

impl fmt::Debug for Unlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyFile(path) => f.debug_tuple("KeyFile").field(path).finish(),
            Self::Passphrase(_) => f.write_str("Passphrase(…)"),
        }
    }
}

/// Secret keys by name, in one encrypted file.
///
/// Every change replaces the file whole: a new one is written beside it, synced, and renamed over it.
/// Only one process may use a keystore at a time; the folder's lock is the store's business.
pub struct Keystore {
    path: PathBuf,
    lock: Lock,
    key: SealKey,
    keys: BTreeMap<String, SigningKey>,
}

/// How the key of the file is had, as it stands in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Lock {
    KeyFile,
    Passphrase {
        /// Base64 of 16 bytes.
        salt: String,
        #[serde(flatten)]
        cost: PassphraseCost,
    },
}

impl Lock {
    fn name(&self) -> &'static str {
        match self {
            Self::KeyFile => "key file",
            Self::Passphrase { .. } => "passphrase",
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    format: String,
    version: u64,
    lock: Lock,
    /// Base64 of 12 bytes.
    nonce: String,
    /// Base64 of the ciphertext and its tag.
    sealed: String,
}

#[derive(Deserialize)]
struct Versioned {
    format: String,
    version: u64,
}

/// A key as it stands inside of the ciphertext.
#[derive(Serialize, Deserialize)]
struct Entry {
    kind: Kind,
    secret: Zeroizing<String>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Kind {
    #[serde(rename = "k256")]
    K256,
    #[serde(rename = "p256")]
    P256,
    #[serde(rename = "ed25519")]
    Ed25519,
}

impl Keystore {
    /// Opens a keystore, or makes an empty one if there is none.
    ///
    /// # Errors
    /// When the file is no keystore, is of a newer format, or is not unlocked by `unlock`.
    pub fn open(path: &Path, unlock: &Unlock) -> Result<Self, KeystoreError> {
        Self::open_with_cost(path, unlock, PassphraseCost::DEFAULT)
    }

    /// As [`Keystore::open`]; a new keystore gets the given passphrase cost.
    pub fn open_with_cost(
        path: &Path,
        unlock: &Unlock,
        cost: PassphraseCost,
    ) -> Result<Self, KeystoreError> {
        match read_bounded(path) {
            Ok(text) => Self::read(path, &text, unlock),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Self::create(path, unlock, cost),
            Err(source) => Err(io_error("cannot read", path)(source)),
        }
    }

    /// The key of a name.
    pub fn get(&self, name: &str) -> Option<&SigningKey> {
        self.keys.get(name)
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds or replaces a key; it is on the disk when this returns.
    pub fn insert(&mut self, name: &str, key: SigningKey) -> Result<(), KeystoreError> {
        self.insert_many([(name.to_owned(), key)])
    }

    /// Adds or replaces several keys with one write of the file.
    pub fn insert_many(
        &mut self,
        keys: impl IntoIterator<Item = (String, SigningKey)>,
    ) -> Result<(), KeystoreError> {
        let mut next = self.keys.clone();
        for (name, key) in keys {
            let length = name.chars().count();
            if !(1..=256).contains(&length) || name.chars().any(char::is_control) {
                return Err(KeystoreError::Name(name));
            }
            next.insert(name, key);
        }
        self.replace(next)
    }

    /// Removes a key and says whether it was there.
    pub fn remove(&mut self, name: &str) -> Result<bool, KeystoreError> {
        if !self.keys.contains_key(name) {
            return Ok(false);
        }
        let mut next = self.keys.clone();
        next.remove(name);
        self.replace(next)?;
        Ok(true)
    }

    /// Locks the keystore with something else from now on.
    pub fn relock(&mut self, unlock: &Unlock, cost: PassphraseCost) -> Result<(), KeystoreError> {
        let (lock, key) = new_lock(unlock, cost)?;
        write(&self.path, &lock, &key, &self.keys)?;
        self.lock = lock;
        self.key = key;
        Ok(())
    }

    fn create(path: &Path, unlock: &Unlock, cost: PassphraseCost) -> Result<Self, KeystoreError> {
        let (lock, key) = new_lock(unlock, cost)?;
        let keys = BTreeMap::new();
        write(path, &lock, &key, &keys)?;
        Ok(Self {
            path: path.to_owned(),
            lock,
            key,
            keys,
        })
    }

    fn read(path: &Path, text: &[u8], unlock: &Unlock) -> Result<Self, KeystoreError> {
        let not = |why: &dyn fmt::Display| KeystoreError::NotAKeystore {
            path: path.to_owned(),
            why: why.to_string(),
        };
        let versioned: Versioned = serde_json::from_slice(text).map_err(|e| not(&e))?;
        if versioned.format != FORMAT {
            return Err(not(&format_args!(
                "format {FORMAT:?} expected, found {:?}",
                versioned.format
            )));
        }
        if versioned.version > VERSION {
            return Err(KeystoreError::Newer {
                found: versioned.version,
                supported: VERSION,
            });
        }
        if versioned.version < VERSION {
            return Err(not(&format_args!(
                "version {VERSION} expected, found {}",
                versioned.version
            )));
        }
        let envelope: Envelope = serde_json::from_slice(text).map_err(|e| not(&e))?;
        let nonce: [u8; NONCE] = bytes(&envelope.nonce).ok_or_else(|| not(&"nonce"))?;
        let sealed = BASE64
            .decode(envelope.sealed.as_bytes())
            .map_err(|e| not(&e))?;
        let key = existing_key(path, &envelope.lock, unlock)?;
        let outside = outside(&envelope.lock);
        let content = seal::unseal(&key, &nonce, &outside, &sealed).ok_or(
            KeystoreError::WrongOrTampered {
                lock: envelope.lock.name(),
            },
        )?;
        let entries: BTreeMap<String, Entry> =
            serde_json::from_slice(&content).map_err(|e| not(&e))?;
        let mut keys = BTreeMap::new();
        for (name, entry) in entries {
            let secret = Zeroizing::new(
                HEXLOWER
                    .decode(entry.secret.as_bytes())
                    .map_err(|e| not(&e))?,
            );
            let secret: Zeroizing<[u8; 32]> = Zeroizing::new(
                secret
                    .as_slice()
                    .try_into()
                    .map_err(|_| not(&"a secret of 32 bytes expected"))?,
            );
            let kind = match entry.kind {
                Kind::K256 => KeyKind::K256,
                Kind::P256 => KeyKind::P256,
                Kind::Ed25519 => KeyKind::Ed25519,
            };
            keys.insert(name, SigningKey::from_bytes(kind, &secret)?);
        }
        Ok(Self {
            path: path.to_owned(),
            lock: envelope.lock,
            key,
            keys,
        })
    }

    fn replace(&mut self, next: BTreeMap<String, SigningKey>) -> Result<(), KeystoreError> {
        write(&self.path, &self.lock, &self.key, &next)?;
        self.keys = next;
        Ok(())
    }
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keystore")
            .field("path", &self.path)
            .field("lock", &self.lock.name())
            .field("keys", &self.keys.len())
            .finish()
    }
}

/// What the ciphertext authenticates besides itself.
fn outside(lock: &Lock) -> Vec<u8> {
    let mut outside = format!("{FORMAT} {VERSION} {}", lock.name()).into_bytes();
    if let Lock::Passphrase { salt, cost } = lock {
        outside.extend_from_slice(
            format!(" {salt} {} {} {}", cost.memory_kib, cost.passes, cost.lanes).as_bytes(),
        );
    }
    outside
}

fn new_lock(unlock: &Unlock, cost: PassphraseCost) -> Result<(Lock, SealKey), KeystoreError> {
    match unlock {
        Unlock::KeyFile(path) => Ok((Lock::KeyFile, read_or_make_key_file(path)?)),
        Unlock::Passphrase(passphrase) => {
            let salt = seal::random::<SALT>()?;
            let key = seal::stretch(passphrase.as_bytes(), &salt, cost)?;
            let salt = BASE64.encode(&salt);
            Ok((Lock::Passphrase { salt, cost }, key))
        }
    }
}

/// The key of a keystore that exists.
fn existing_key(path: &Path, lock: &Lock, unlock: &Unlock) -> Result<SealKey, KeystoreError> {
    match (lock, unlock) {
        (Lock::KeyFile, Unlock::KeyFile(path)) => read_key_file(path),
        (Lock::Passphrase { salt, cost }, Unlock::Passphrase(passphrase)) => {
            let salt = bytes(salt).ok_or_else(|| KeystoreError::NotAKeystore {
                path: path.to_owned(),
                why: "a salt of 16 bytes expected".to_owned(),
            })?;
            seal::stretch(passphrase.as_bytes(), &salt, *cost)
        }
        (lock, _) => Err(KeystoreError::OtherLock {
            expected: lock.name(),
        }),
    }
}

fn bytes<const N: usize>(base64: &str) -> Option<[u8; N]> {
    BASE64.decode(base64.as_bytes()).ok()?.try_into().ok()
}

fn write(
    path: &Path,
    lock: &Lock,
    key: &SealKey,
    keys: &BTreeMap<String, SigningKey>,
) -> Result<(), KeystoreError> {
    let unwritable = |why: String| KeystoreError::NotAKeystore {
        path: path.to_owned(),
        why,
    };
    let entries: BTreeMap<&str, Entry> = keys
        .iter()
        .map(|(name, key)| (name.as_str(), entry(key)))
        .collect();
    let content =
        Zeroizing::new(serde_json::to_vec(&entries).map_err(|e| unwritable(e.to_string()))?);
    let nonce = seal::random::<NONCE>()?;
    let sealed = seal::seal(key, &nonce, &outside(lock), &content)
        .ok_or_else(|| unwritable("too large to encrypt".to_owned()))?;
    let envelope = Envelope {
        format: FORMAT.to_owned(),
        version: VERSION,
        lock: lock.clone(),
        nonce: BASE64.encode(&nonce),
        sealed: BASE64.encode(&sealed),
    };
    let text = serde_json::to_vec_pretty(&envelope).map_err(|e| unwritable(e.to_string()))?;
    replace_file(path, &text).map_err(io_error("cannot write", path))
}

fn entry(key: &SigningKey) -> Entry {
    Entry {
        kind: match key.kind() {
            KeyKind::K256 => Kind::K256,
            KeyKind::P256 => Kind::P256,
            KeyKind::Ed25519 => Kind::Ed25519,
        },
        secret: Zeroizing::new(HEXLOWER.encode(key.to_bytes().as_slice())),
    }
}

fn read_or_make_key_file(path: &Path) -> Result<SealKey, KeystoreError> {
    if path.exists() {
        return read_key_file(path);
    }
    let key = Zeroizing::new(seal::random::<32>()?);
    let text = Zeroizing::new(HEXLOWER.encode(key.as_slice()));
    replace_file(path, text.as_bytes()).map_err(io_error("cannot write", path))?;
    Ok(key)
}

fn read_key_file(path: &Path) -> Result<SealKey, KeystoreError> {
    let text = Zeroizing::new(read_bounded(path).map_err(io_error("cannot read", path))?);
    let key = HEXLOWER
        .decode(text.trim_ascii())
        .ok()
        .map(Zeroizing::new)
        .and_then(|key| <[u8; 32]>::try_from(key.as_slice()).ok());
    key.map(Zeroizing::new)
        .ok_or_else(|| KeystoreError::KeyFile {
            path: path.to_owned(),
        })
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > MAX_FILE {
        return Err(io::Error::other("the file is larger than 64 MiB"));
    }
    fs::read(path)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeystoreError {
    let path = path.to_owned();
    move |source| KeystoreError::Io {
        action,
        path,
        source,
    }
}

/// Puts a file in place at once: whoever opens it sees the old content or the new, also after a crash.
fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = create_private(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

/// Makes a file that only its owner may read, from its first moment on.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}
