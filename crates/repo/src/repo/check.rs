//! Checking what is stored of a repository: commit, tree, records, and the rows beside them.

use sha2::{Digest, Sha256};
use ues_data::mst::{Preorder, PreorderItem};

use crate::blob_store::{BlobStoreError, Place};
use crate::syntax::Did;

use super::blobs::{BlobMeta, cid_of_hash};
use super::commit::Commit;
use super::layout::read_record_value;
use super::read::RepoView;
use super::subjects;
use super::usage;
use super::{RepoError, Repositories};

/// Problems that one report lists; more are counted only.
const MAX_LISTED: usize = 100;

/// What a check of one repository found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepoCheck {
    /// Records whose block is there and is what its CID says.
    pub records: u64,
    /// Tree nodes that are.
    pub nodes: u64,
    /// Blobs whose content is there; what is in a bucket is held against its CID too.
    pub blobs: u64,
    /// What is wrong, at most 100 sentences.
    pub problems: Vec<String>,
    /// How much is wrong.
    pub problem_count: u64,
}

impl RepoCheck {
    fn problem(&mut self, text: String) {
        self.problem_count += 1;
        if self.problems.len() < MAX_LISTED {
            self.problems.push(text);
        }
    }
}

impl Repositories {
    /// Checks a repository as it is stored now, every byte against its hash.
    ///
    /// `progress` hears the number of records checked, every 1,000. Damage is reported, not an
    /// error; an error means that the check itself could not go on.
    pub fn check(&self, did: &Did, progress: &mut dyn FnMut(u64)) -> Result<RepoCheck, RepoError> {
        let view = self.view(did)?;
        let mut report = RepoCheck::default();
        match view.block(&view.head.commit)? {
            None => report.problem(format!("the commit {} is missing", view.head.commit)),
            Some(bytes) => match Commit::decode(&bytes) {
                Err(e) => report.problem(e.to_string()),
                Ok(commit) => {
                    if ues_data::verify(&view.head.commit, &bytes).is_err() {
                        report.problem("the commit is not what its CID says".into());
                    }
                    if commit.data != view.head.data || commit.rev != view.head.rev {
                        report.problem("the commit and the head disagree".into());
                    }
                }
            },
        }
        let mut rows = view
            .snapshot
            .prefix(&self.around().ks.records, view.head.content.to_be_bytes());
        let mut row = rows.next().transpose()?;
        let mut subjects = subjects::Check::new(self.around(), &view)?;
        for item in Preorder::new(view.clone(), view.head.data) {
            match item {
                Err(e) => {
                    report.problem(format!("the tree cannot be read on: {e}"));
                    return Ok(report);
                }
                Ok(PreorderItem::Node { cid, bytes }) => {
                    report.nodes += 1;
                    if ues_data::verify(&cid, &bytes).is_err() {
                        report.problem(format!("tree node {cid} is not what its CID says"));
                    }
                }
                Ok(PreorderItem::Value { key, cid }) => {
                    let path = String::from_utf8_lossy(&key).into_owned();
                    match view.block(&cid)? {
                        None => report.problem(format!("the record {path} ({cid}) is missing")),
                        Some(bytes) if ues_data::verify(&cid, &bytes).is_err() => {
                            report.problem(format!("the record {path} is not what its CID says"));
                        }
                        Some(bytes) => {
                            report.records += 1;
                            if !subjects.record(&path, &bytes)? {
                                report.problem(format!("the subject of {path} has no row"));
                            }
                        }
                    }
                    while let Some((k, _)) = &row
                        && k.get(8..).unwrap_or_default() < &key[..]
                    {
                        report.problem(format!("a row without a record: {:?}", k.get(8..)));
                        row = rows.next().transpose()?;
                    }
                    match &row {
                        Some((k, v)) if k.get(8..).unwrap_or_default() == &key[..] => {
                            if read_record_value(v).is_none_or(|(c, _)| c != cid) {
                                report.problem(format!("the row of {path} names another record"));
                            }
                            row = rows.next().transpose()?;
                        }
                        _ => report.problem(format!("the record {path} has no row")),
                    }
                    if report.records % 1000 == 0 {
                        progress(report.records);
                    }
                }
            }
        }
        if row.is_some() {
            report.problem("rows without a record after the last one".into());
        }
        self.check_blobs(&view, &mut report)?;
        let counted = usage::count(self.around(), did, &view)?;
        let noted = self.noted_usage(&view)?;
        if let Some(noted) = noted.filter(|noted| *noted != counted) {
            report.problem(format!("it is noted to hold {noted}, and holds {counted}"));
        }
        if let Some(surplus) = subjects.surplus()? {
            report.problem(format!("{surplus} rows of subjects have no record"));
        }
        Ok(report)
    }

    /// What is on the disk consists of blocks, which are hashed when the store is checked.
    fn check_blobs(&self, view: &RepoView, report: &mut RepoCheck) -> Result<(), RepoError> {
        let owner = view.head.owner;
        let rows = view
            .snapshot
            .prefix(&self.around().ks.blobs, owner.to_be_bytes());
        for row in rows {
            let (key, value) = row?;
            let cid = key.get(8..).and_then(cid_of_hash);
            let Some(meta) = cid.and_then(|cid| BlobMeta::decode(cid, &value)) else {
                report.problem("a row of a blob cannot be read".into());
                continue;
            };
            match self.is_whole(owner, &meta) {
                Ok(true) => report.blobs += 1,
                Ok(false) => {
                    report.problem(format!("the blob {} is not what its CID says", meta.cid))
                }
                // Deleted since the state that is looked at.
                Err(None) if self.around().ks.blobs.get(&key)? != Some(value) => {}
                Err(None) => report.problem(format!("the content of blob {} is missing", meta.cid)),
                Err(Some(error)) => {
                    report.problem(format!("the blob {} cannot be read: {error}", meta.cid));
                    // A service that is down need not be asked for each blob.
                    if !matches!(error, BlobStoreError::Damaged(_)) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the content of a blob is right; `None`: it is not there.
    fn is_whole(&self, owner: u64, meta: &BlobMeta) -> Result<bool, Option<BlobStoreError>> {
        let mut reader = self.open_blob(owner, meta, 0)?.ok_or(None)?;
        if meta.place != Place::Bucket {
            return Ok(true);
        }
        let mut hash = Sha256::new();
        while let Some(piece) = reader.next_chunk()? {
            hash.update(&piece);
        }
        let digest: [u8; 32] = hash.finalize().into();
        Ok(meta.cid.hash().digest() == digest)
    }
}
