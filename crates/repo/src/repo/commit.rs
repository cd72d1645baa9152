//! Commit objects, version 3: the signed root of a repository.
//!
//! A commit names the account, the root of the record tree and a revision that rises with each
//! commit. `prev` is written as null, as the AT Protocol repository specification (v3) asks.

use bytes::Bytes;
use ues_data::Cid;
use ues_data::dag_cbor::Writer;

use crate::crypto::{SigningKey, VerifyingKey};
use crate::syntax::{Did, Tid};

/// The repository format version that is written and accepted.
pub const COMMIT_VERSION: u64 = 3;

/// Most bytes that an encoded commit may have; a real one has about 250.
pub const MAX_COMMIT_BYTES: usize = 4096;

/// A signed commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The account whose repository this is.
    pub did: Did,
    /// Root of the record tree.
    pub data: Cid,
    /// Revision: rises with each commit of the repository.
    pub rev: Tid,
    /// Commit before this one; always `None` in commits made here, kept where others set it.
    pub prev: Option<Cid>,
    /// Signature over the DAG-CBOR of the commit without `sig`.
    pub sig: Vec<u8>,
}

/// Why bytes are not a commit, or a commit is not to be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The bytes are not canonical DAG-CBOR of a commit.
    #[error("not a commit: {0}")]
    Malformed(String),
    /// A version other than 3 (or 2, which reads the same).
    #[error("commit has version {0}, expected 3")]
    Version(u64),
    /// The signature does not belong to the key.
    #[error("the signature of commit {rev} of {did} does not verify with the account's key")]
    BadSignature {
        /// Account of the commit.
        did: Did,
        /// Its revision.
        rev: Tid,
    },
}

impl Commit {
    /// Makes and signs the commit of `data` at `rev`.
    pub fn sign(did: &Did, data: Cid, rev: &Tid, key: &SigningKey) -> Self {
        let mut commit = Self {
            did: did.clone(),
            data,
            rev: *rev,
            prev: None,
            sig: Vec::new(),
        };
        commit.sig = key.sign(&commit.unsigned_bytes()).to_vec();
        commit
    }

    /// The bytes that the signature covers.
    pub fn unsigned_bytes(&self) -> Vec<u8> {
        self.write(false)
    }

    /// The commit block: its CID and its bytes.
    pub fn encode(&self) -> (Cid, Bytes) {
        let bytes = self.write(true);
        (ues_data::dag_cbor_cid(&bytes), bytes.into())
    }

    fn write(&self, with_sig: bool) -> Vec<u8> {
        let mut w = Writer::with_capacity(256);
        w.map(if with_sig { 6 } else { 5 });
        w.text("did");
        w.text(self.did.as_str());
        w.text("rev");
        w.text(self.rev.as_str());
        if with_sig {
            w.text("sig");
            w.bytes(&self.sig);
        }
        w.text("data");
        w.link(&self.data);
        w.text("prev");
        match &self.prev {
            Some(cid) => w.link(cid),
            None => w.null(),
        }
        w.text("version");
        w.uint(COMMIT_VERSION);
        w.into_bytes()
    }

    /// Reads a commit block.
    ///
    /// # Errors
    /// [`CommitError::Malformed`] for anything that is not exactly a commit's fields in canonical
    /// DAG-CBOR, [`CommitError::Version`] for another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, CommitError> {
        let bad = |what: &str| CommitError::Malformed(what.to_owned());
        if bytes.len() > MAX_COMMIT_BYTES {
            return Err(bad("larger than 4096 bytes"));
        }
        let ipld =
            ues_data::dag_cbor::decode(bytes).map_err(|e| CommitError::Malformed(e.to_string()))?;
        let ues_data::Ipld::Map(mut map) = ipld else {
            return Err(bad("not a map"));
        };
        let version = match map.remove("version") {
            Some(ues_data::Ipld::Integer(v)) => u64::try_from(v).unwrap_or(u64::MAX),
            _ => return Err(bad("no version")),
        };
        if version != COMMIT_VERSION && version != 2 {
            return Err(CommitError::Version(version));
        }
        let Some(ues_data::Ipld::String(did)) = map.remove("did") else {
            return Err(bad("no did"));
        };
        let Some(ues_data::Ipld::String(rev)) = map.remove("rev") else {
            return Err(bad("no rev"));
        };
        let Some(ues_data::Ipld::Link(data)) = map.remove("data") else {
            return Err(bad("no link to data"));
        };
        let prev = match map.remove("prev") {
            Some(ues_data::Ipld::Link(cid)) => Some(cid),
            Some(ues_data::Ipld::Null) | None => None,
            Some(_) => return Err(bad("prev is neither a link nor null")),
        };
        let Some(ues_data::Ipld::Bytes(sig)) = map.remove("sig") else {
            return Err(bad("no signature"));
        };
        if let Some(key) = map.keys().next() {
            return Err(CommitError::Malformed(format!("unknown field {key:?}")));
        }
        Ok(Self {
            did: Did::parse(&did).map_err(|e| CommitError::Malformed(e.to_string()))?,
            rev: Tid::parse(&rev).map_err(|e| CommitError::Malformed(e.to_string()))?,
            data,
            prev,
            sig,
        })
    }

    /// Checks the signature against the account's key.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), CommitError> {
        key.verify(&self.unsigned_bytes(), &self.sig)
            .map_err(|_| CommitError::BadSignature {
                did: self.did.clone(),
                rev: self.rev,
            })
    }
}
