//! Verifying a repository from its archive alone: nothing but the account's key is trusted.

use std::collections::HashMap;
use std::io::Read;

use bytes::Bytes;
use ues_data::car::{CarError, CarFile, CarLimits, CarReader};
use ues_data::mst::{self, Change, MstError, Preorder, PreorderItem};
use ues_data::{BlockSource, Cid};

use crate::crypto::VerifyingKey;
use crate::syntax::{Did, Tid};

use super::commit::{Commit, CommitError};
use super::event::CommitEvent;
use super::write::{InvalidPath, MAX_RECORD_BYTES, RecordPath};

/// Why an archive is not a whole, valid repository.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The archive itself cannot be read, or a block is not what its CID says.
    #[error("the archive cannot be read: {0}")]
    Car(#[from] CarError),
    /// A repository archive has exactly one root.
    #[error("expected one root in the archive, found {0}")]
    Roots(usize),
    /// A block that is needed is not in the archive.
    #[error("block {0} is missing from the archive")]
    MissingBlock(Cid),
    /// The commit is malformed or its signature wrong.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The record tree is malformed or incomplete.
    #[error("the record tree is refused: {0}")]
    Tree(#[from] MstError),
    /// A key of the tree is not a record path.
    #[error(transparent)]
    Path(#[from] InvalidPath),
    /// A record that is not canonical DAG-CBOR in the AT Protocol's data model.
    #[error("the record at {path} is refused: {reason}")]
    Record {
        /// Where.
        path: String,
        /// Why.
        reason: String,
    },
}

/// A repository archive in memory, its hashes checked.
pub struct Archive {
    /// The root that the header names.
    pub root: Cid,
    /// Blocks by CID.
    pub blocks: HashMap<Cid, Bytes>,
}

/// What a verified archive holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Account.
    pub did: Did,
    /// Revision.
    pub rev: Tid,
    /// The commit.
    pub commit: Cid,
    /// Root of the record tree.
    pub data: Cid,
    /// Number of records.
    pub records: u64,
    /// Number of tree nodes.
    pub nodes: u64,
    /// Whether the signature was checked against a key.
    pub signature_checked: bool,
}

impl Archive {
    /// Reads an archive, checking each block's hash.
    pub fn read(input: impl Read, limits: CarLimits) -> Result<Self, VerifyError> {
        let reader = CarReader::new(input, limits)?;
        let root = match reader.roots() {
            [root] => *root,
            other => return Err(VerifyError::Roots(other.len())),
        };
        let mut blocks = HashMap::new();
        for block in reader {
            let (cid, bytes) = block?;
            blocks.insert(cid, bytes);
        }
        Ok(Self { root, blocks })
    }

    /// The commit at the root.
    pub fn commit(&self) -> Result<Commit, VerifyError> {
        let bytes = self
            .blocks
            .get(&self.root)
            .ok_or(VerifyError::MissingBlock(self.root))?;
        Ok(Commit::decode(bytes)?)
    }

    /// Checks commit, tree and records, giving each record to `each` in key order.
    ///
    /// With `key` the signature is checked too; without, only the form of the commit.
    pub fn verify(
        &self,
        key: Option<&VerifyingKey>,
        mut each: impl FnMut(&RecordPath, &Cid, &Bytes),
        mut node: impl FnMut(&Cid, &Bytes),
    ) -> Result<Verified, VerifyError> {
        verify(&self.blocks, self.root, key, |part| {
            match part {
                Part::Node(cid, bytes) => node(cid, bytes),
                Part::Record(path, cid, bytes) => each(path, cid, bytes),
            }
            Ok(())
        })
    }
}

/// What a tree is made of, as [`verify`] comes by it.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// A node.
    Node(&'a Cid, &'a Bytes),
    /// A record, checked.
    Record(&'a RecordPath, &'a Cid, &'a Bytes),
}

/// The one root of an archive.
///
/// # Errors
/// [`VerifyError::Roots`].
pub fn root_of(archive: &CarFile) -> Result<Cid, VerifyError> {
    match archive.roots() {
        [root] => Ok(*root),
        other => Err(VerifyError::Roots(other.len())),
    }
}

/// Checks a repository from its blocks, whose hashes were checked already: the commit `root`, with `key` its signature
/// too, the tree, and the records. `each` gets nodes in preorder and records in the order of their paths; memory is
/// bounded by the depth of the tree.
///
/// # Errors
/// For the first thing that is wrong, and what `each` fails with.
pub fn verify<E: From<VerifyError>>(
    blocks: impl BlockSource + Copy,
    root: Cid,
    key: Option<&VerifyingKey>,
    mut each: impl FnMut(Part<'_>) -> Result<(), E>,
) -> Result<Verified, E> {
    let block = |cid: &Cid| {
        let found = blocks.block(cid).map_err(MstError::from)?;
        found.ok_or(VerifyError::MissingBlock(*cid))
    };
    let commit = Commit::decode(&block(&root)?).map_err(VerifyError::from)?;
    if let Some(key) = key {
        commit.verify(key).map_err(VerifyError::from)?;
    }
    let (mut records, mut nodes) = (0, 0);
    for item in Preorder::new(blocks, commit.data) {
        match item.map_err(VerifyError::from)? {
            PreorderItem::Node { cid, bytes } => {
                nodes += 1;
                each(Part::Node(&cid, &bytes))?;
            }
            PreorderItem::Value { key, cid } => {
                records += 1;
                let path = RecordPath::parse(&String::from_utf8_lossy(&key));
                let path = path.map_err(VerifyError::from)?;
                let bytes = block(&cid)?;
                check_record(&path, &cid, &bytes)?;
                each(Part::Record(&path, &cid, &bytes))?;
            }
        }
    }
    Ok(Verified {
        did: commit.did,
        rev: commit.rev,
        commit: root,
        data: commit.data,
        records,
        nodes,
        signature_checked: key.is_some(),
    })
}

/// Undoes the operations of a commit event on the tree that its blocks hold, and gives the root that
/// comes of it: an honest event gives its `prevData` (Sync 1.1).
pub fn invert(archive: &Archive, event: &CommitEvent) -> Result<Cid, VerifyError> {
    let commit = archive.commit()?;
    let ops: Vec<Change> = event
        .ops
        .iter()
        .map(|op| Change {
            key: op.path.as_bytes().to_vec(),
            before: op.prev,
            after: op.cid,
        })
        .collect();
    Ok(mst::invert(&commit.data, &archive.blocks, &ops)?)
}

/// What stands at a path by a proof: commit, tree nodes, and the record if there is one.
///
/// # Errors
/// A proof that does not show the path's presence or absence under a commit of `key` is refused.
pub fn proven(
    archive: &Archive,
    key: &VerifyingKey,
    path: &RecordPath,
) -> Result<Option<Bytes>, VerifyError> {
    let commit = archive.commit()?;
    commit.verify(key)?;
    match mst::verify_proof(&commit.data, path.as_str(), &archive.blocks)? {
        None => Ok(None),
        Some(cid) => archive
            .blocks
            .get(&cid)
            .cloned()
            .map(Some)
            .ok_or(VerifyError::MissingBlock(cid)),
    }
}

/// A record in a repository is a map in the AT Protocol's data model, of bounded size.
pub(super) fn check_record(path: &RecordPath, cid: &Cid, bytes: &Bytes) -> Result<(), VerifyError> {
    let refuse = |reason: String| VerifyError::Record {
        path: path.as_str().to_owned(),
        reason,
    };
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(refuse(format!(
            "{} bytes, at most {MAX_RECORD_BYTES}",
            bytes.len()
        )));
    }
    if !ues_data::content_id::is_atproto(cid) {
        return Err(refuse(format!("{cid} is not a DAG-CBOR SHA-256 CID")));
    }
    let mut reader = ues_data::dag_cbor::Reader::new(bytes);
    if !matches!(reader.peek(), Ok(ues_data::dag_cbor::Kind::Map)) {
        return Err(refuse("not a map".into()));
    }
    reader.skip().map_err(|e| refuse(e.to_string()))?;
    reader.finish().map_err(|e| refuse(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_archives_are_refused() {
        assert!(matches!(
            Archive::read(&b"\x3a\xa2"[..], CarLimits::default()),
            Err(VerifyError::Car(_))
        ));
    }
}
