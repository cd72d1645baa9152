//! Snapshots for new devices: what the root signs, packed up, and a log that begins with it.

use std::collections::BTreeMap;

use bytes::Bytes;
use ues_repo::crypto::VerifyingKey;
use ues_repo::repo::RepoError;
use ues_repo::repo::write::WriteError;
use ues_repo::syntax::Did;

use crate::log::{Replica, ReplicaError};
use crate::protocol::SnapshotArchive;

use super::replicas::{Replicas, ReplicasError, now_ms};

impl Replicas {
    /// Signs what the repository is now and packs it up for a new device.
    ///
    /// # Errors
    /// [`ReplicasError::NoRootKey`] where the repository's key is not.
    pub async fn snapshot(&self, did: &Did) -> Result<Bytes, ReplicasError> {
        let root = self.root_key(did)?;
        let mut made = None;
        self.change(did, |replica, rows, change| {
            let damaged = |e: RepoError| ReplicaError::Damaged {
                repo: did.clone(),
                what: e.to_string(),
            };
            // With nothing in flight: what is exported is what is signed.
            let export = self.0.repos.export(did, None).map_err(damaged)?;
            let head = self.0.repos.head(did).map_err(damaged)?;
            let head = head.ok_or_else(|| damaged(RepoError::NotFound(did.clone())))?;
            let snapshot = replica.sign_snapshot(rows, head.data, now_ms(), &root, change)?;
            made = Some((snapshot, export));
            Ok(())
        })
        .await?;
        let Some((snapshot, export)) = made else {
            return Err(ReplicasError::NotShared(did.clone()));
        };
        let mut blocks = BTreeMap::new();
        for (_, cid) in snapshot.values() {
            if let Some(bytes) = self.0.repos.store().block(cid.hash())? {
                blocks.insert(cid, bytes);
            }
        }
        let mut car = Vec::new();
        for piece in export {
            car.extend_from_slice(&piece?);
        }
        let archive = SnapshotArchive {
            snapshot,
            blocks,
            car: car.into(),
        };
        Ok(archive.write())
    }

    /// Begins a log with a snapshot, in a repository that was made empty for it. `root` is the repository's key.
    ///
    /// # Errors
    /// [`ReplicasError::Refused`] when the snapshot is not what the root signed; the repository may have other records
    /// then, and no log.
    pub async fn restore(
        &self,
        did: &Did,
        root: &VerifyingKey,
        archive: Bytes,
    ) -> Result<(), ReplicasError> {
        let archive = SnapshotArchive::read(archive)?;
        let car = std::io::Cursor::new(archive.car.clone());
        self.0.repos.import(did, car).await?;
        self.begin_with(did, |head| {
            if head.data != archive.snapshot.records {
                return Err(WriteError::BadArchive(
                    "its records are not those that the snapshot names".to_owned(),
                ));
            }
            let restored = Replica::restore(
                did.clone(),
                root,
                self.0.device.verifying_key(),
                &archive.snapshot,
                &archive.blocks,
                &self.rows(head.owner),
            );
            restored
                .map_err(|e| WriteError::Storage(e.to_string()))?
                .map(Some)
                .map_err(|refused| WriteError::BadArchive(refused.to_string()))
        })
        .await
    }
}
