//! Where a repository lies in the store: keyspaces, keys and values.
//!
//! `docs/format.md` describes the same byte by byte; the two change together.

use ues_data::Cid;
use ues_storage::{BlockRef, Keyspace, StorageError, Store};

use crate::syntax::{Did, Tid};

/// Version byte of a [`Head`] value whose content lies under the repository's own number.
const HEAD_VERSION: u8 = 1;
/// Version byte of one with another number for the content.
const HEAD_OF_IMPORT: u8 = 2;

/// The keyspaces that repositories use.
#[derive(Clone)]
pub struct Keyspaces {
    /// DID -> [`Head`].
    pub heads: Keyspace,
    /// Repository number (u64 BE) -> DID.
    pub owners: Keyspace,
    /// Content number, path -> CID digest (32 bytes), revision (u64 BE).
    pub records: Keyspace,
    /// Repository number, blob multihash -> blob metadata.
    pub blobs: Keyspace,
    /// Content number, blob multihash, path -> nothing.
    pub blob_refs: Keyspace,
    /// Repository number, slot, object: contents to be freed.
    pub blob_trash: Keyspace,
    /// Blob multihash, repository number: who has a blob.
    pub blob_owners: Keyspace,
    /// Content number, blob multihash: what records refer to and is not here.
    pub blobs_missing: Keyspace,
    /// Repository number -> how much it holds.
    pub usage: Keyspace,
    /// Content number, collection, subject, record key: who refers to what.
    pub subjects: Keyspace,
    /// Content number: content that no head names, or none yet.
    pub loose: Keyspace,
}

impl Keyspaces {
    /// Opens (makes) the keyspaces in a store.
    pub fn open(store: &Store) -> Result<Self, StorageError> {
        Ok(Self {
            heads: store.keyspace("repo_heads")?,
            owners: store.keyspace("repo_owners")?,
            records: store.keyspace("repo_records")?,
            blobs: store.keyspace("repo_blobs")?,
            blob_refs: store.keyspace("repo_blob_refs")?,
            blob_trash: store.keyspace("repo_blob_trash")?,
            blob_owners: store.keyspace("repo_blob_owners")?,
            blobs_missing: store.keyspace("repo_blobs_missing")?,
            usage: store.keyspace("repo_usage")?,
            subjects: store.keyspace("repo_subjects")?,
            loose: store.keyspace("repo_loose")?,
        })
    }
}

/// Hosting status of an account, as `com.atproto.sync.getRepoStatus` and `#account` name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Served and writable.
    Active,
    /// Switched off by its owner.
    Deactivated,
    /// Taken down by the operator.
    Takendown,
    /// Suspended by the operator for a time.
    Suspended,
    /// Deleted; its blocks are released.
    Deleted,
}

impl Status {
    /// The protocol's name; `None` for an active account.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Active => None,
            Self::Deactivated => Some("deactivated"),
            Self::Takendown => Some("takendown"),
            Self::Suspended => Some("suspended"),
            Self::Deleted => Some("deleted"),
        }
    }

    /// The status of a protocol name.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Deactivated,
            Self::Takendown,
            Self::Suspended,
            Self::Deleted,
        ]
        .into_iter()
        .find(|s| s.name() == Some(name))
    }

    /// Whether the repository is served.
    pub fn is_active(self) -> bool {
        self == Self::Active
    }

    fn code(self) -> u8 {
        match self {
            Self::Active => 0,
            Self::Deactivated => 1,
            Self::Takendown => 2,
            Self::Suspended => 3,
            Self::Deleted => 4,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Active,
            1 => Self::Deactivated,
            2 => Self::Takendown,
            3 => Self::Suspended,
            4 => Self::Deleted,
            _ => return None,
        })
    }
}

/// The newest state of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the repository in this store; never given twice. Its blobs lie under it.
    pub owner: u64,
    /// Number of its content: commit, tree, records, and what those refer to. The repository's own until an import
    /// brings another content under another number.
    pub content: u64,
    /// The newest commit.
    pub commit: Cid,
    /// Root of its record tree.
    pub data: Cid,
    /// Its revision.
    pub rev: Tid,
    /// Hosting status.
    pub status: Status,
}

impl Head {
    /// The stored bytes: version, status, owner, revision, the two digests, and the number of the content where it is
    /// not the owner's.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 + 8 + 8 + 64 + 8);
        out.push(match self.content == self.owner {
            true => HEAD_VERSION,
            false => HEAD_OF_IMPORT,
        });
        out.push(self.status.code());
        out.extend_from_slice(&self.owner.to_be_bytes());
        out.extend_from_slice(&self.rev.number().to_be_bytes());
        out.extend_from_slice(self.commit.hash().digest());
        out.extend_from_slice(self.data.hash().digest());
        if self.content != self.owner {
            out.extend_from_slice(&self.content.to_be_bytes());
        }
        out
    }

    /// Reads the stored bytes; `None` if they are not a head.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[version, status], rest) = bytes.split_first_chunk::<2>()?;
        let (owner, rest) = rest.split_first_chunk::<8>()?;
        let (rev, rest) = rest.split_first_chunk::<8>()?;
        let (commit, rest) = rest.split_at_checked(32)?;
        let (data, rest) = rest.split_at_checked(32)?;
        let content = match (version, rest) {
            (HEAD_VERSION, []) => owner,
            (HEAD_OF_IMPORT, content) => content.try_into().ok()?,
            _ => return None,
        };
        Some(Self {
            owner: u64::from_be_bytes(*owner),
            content: u64::from_be_bytes(*content),
            rev: Tid::from_number(u64::from_be_bytes(*rev)),
            commit: cid_from_digest(commit)?,
            data: cid_from_digest(data)?,
            status: Status::from_code(status)?,
        })
    }

    /// The numbers under which its rows lie.
    pub fn numbers(&self) -> Numbers {
        Numbers {
            owner: self.owner,
            content: self.content,
        }
    }
}

/// The two numbers of a repository: of its blobs, and of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// As in [`Head`].
    pub owner: u64,
    /// As in [`Head`].
    pub content: u64,
}

impl Numbers {
    /// Those of a repository that was never imported.
    pub fn same(owner: u64) -> Self {
        Self {
            owner,
            content: owner,
        }
    }
}

/// A DAG-CBOR, SHA-256 CID from its digest: the only kind that a repository's tree, commits and
/// records have.
pub fn cid_from_digest(digest: &[u8]) -> Option<Cid> {
    let digest: [u8; 32] = digest.try_into().ok()?;
    Some(Cid::new_v1(
        ues_data::content_id::DAG_CBOR,
        ues_storage::Multihash::wrap(ues_data::content_id::SHA2_256, &digest).ok()?,
    ))
}

/// Key of a record row.
pub fn record_key(content: u64, path: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(8 + path.len());
    key.extend_from_slice(&content.to_be_bytes());
    key.extend_from_slice(path.as_bytes());
    key
}

/// Value of a record row.
pub fn record_value(cid: &Cid, rev: &Tid) -> Vec<u8> {
    let mut value = Vec::with_capacity(40);
    value.extend_from_slice(cid.hash().digest());
    value.extend_from_slice(&rev.number().to_be_bytes());
    value
}

/// Reads a record row's value.
pub fn read_record_value(value: &[u8]) -> Option<(Cid, Tid)> {
    let (digest, rev) = value.split_at_checked(32)?;
    Some((
        cid_from_digest(digest)?,
        Tid::from_number(u64::from_be_bytes(rev.try_into().ok()?)),
    ))
}

/// Reference by which a repository keeps a tree node or its commit.
pub fn node_ref(content: u64) -> BlockRef {
    BlockRef {
        owner: content,
        slot: 0,
    }
}

/// Reference by which a repository keeps the record at a path: the same content at two paths is
/// kept until both are gone.
pub fn record_ref(content: u64, path: &str) -> BlockRef {
    let hash = blake3::hash(path.as_bytes());
    let mut slot = [0; 8];
    slot.copy_from_slice(&hash.as_bytes()[..8]);
    // Slot 0 is the tree's.
    BlockRef {
        owner: content,
        slot: u64::from_be_bytes(slot) | 1,
    }
}

/// Whether a repository's reference is one to what it is made of: its commit, its tree, a record. Logs of operations
/// hold what was, under even slots.
pub fn is_of_state(held: BlockRef) -> bool {
    held.slot == 0 || held.slot & 1 == 1
}

/// Key of a DID in the heads.
pub fn head_key(did: &Did) -> &[u8] {
    did.as_str().as_bytes()
}
