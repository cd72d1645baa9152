//! Listing the blobs that records refer to, and those of them that are not here.

use ues_data::Cid;

use crate::syntax::{Did, Tid};

use super::blob_index;
use super::blobs::{HASH_BYTES, by_blob, cid_of_hash};
use super::read::damaged;
use super::{RepoError, Repositories};

impl Repositories {
    /// Blobs that records refer to, in the order of their hashes, after a CID; with `since` only
    /// those referred to after that revision.
    pub fn list_blobs(
        &self,
        did: &Did,
        since: Option<&Tid>,
        after: Option<&Cid>,
        limit: usize,
    ) -> Result<Vec<Cid>, RepoError> {
        let view = self.view(did)?;
        let prefix = by_blob(view.head.content, &[]);
        let mut out: Vec<Cid> = Vec::new();
        let start = match after {
            Some(cid) => by_blob(view.head.content, &cid.hash().to_bytes()),
            None => prefix.clone(),
        };
        for row in view
            .snapshot
            .range::<Vec<u8>>(&self.around().ks.blob_refs, start..)
        {
            let (key, rev) = row?;
            if !key.starts_with(&prefix) || out.len() >= limit {
                break;
            }
            let hash = key
                .get(prefix.len()..prefix.len() + HASH_BYTES)
                .and_then(cid_of_hash);
            let cid = hash.ok_or_else(|| damaged(did, "a blob reference"))?;
            if out.last() == Some(&cid) || after == Some(&cid) {
                continue;
            }
            let rev = rev
                .as_ref()
                .try_into()
                .map(u64::from_be_bytes)
                .unwrap_or_default();
            if since.is_none_or(|since| rev > since.number()) {
                out.push(cid);
            }
        }
        Ok(out)
    }

    /// Blobs that records refer to and that are not here, in the order of their hashes, after a CID, each with one path
    /// that does.
    pub fn missing_blobs(
        &self,
        did: &Did,
        after: Option<&Cid>,
        limit: usize,
    ) -> Result<Vec<(Cid, String)>, RepoError> {
        let view = self.view(did)?;
        let mut out = Vec::new();
        for cid in blob_index::missing(self.around(), &view, after) {
            if out.len() >= limit {
                break;
            }
            let cid = cid?;
            let prefix = by_blob(view.head.content, &cid.hash().to_bytes());
            let refs = &self.around().ks.blob_refs;
            let mut refs = view.snapshot.prefix(refs, &prefix);
            let path = refs
                .next()
                .transpose()?
                .and_then(|(key, _)| key.get(prefix.len()..).map(<[u8]>::to_vec))
                .and_then(|path| String::from_utf8(path).ok());
            if let Some(path) = path {
                out.push((cid, path));
            }
        }
        Ok(out)
    }

    /// How many blobs records refer to that are not here.
    pub fn count_missing_blobs(&self, did: &Did) -> Result<u64, RepoError> {
        let view = self.view(did)?;
        let mut count = 0;
        for cid in blob_index::missing(self.around(), &view, None) {
            cid?;
            count += 1;
        }
        Ok(count)
    }
}
