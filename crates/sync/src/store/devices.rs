//! The devices of a repository: who they are, who may write.

use std::sync::Arc;

use ues_repo::crypto::VerifyingKey;
use ues_repo::syntax::Did;

use crate::clock::{ROOT, WriterId};

use super::replicas::{Replicas, ReplicasError, now_ms};

/// One who may write to a repository, or might once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub writer: WriterId,
    /// Its key, as a `did:key`.
    pub key: String,
    /// What people call it.
    pub name: String,
    /// How many operations of it are here.
    pub operations: u64,
    /// Time of the last one, in milliseconds since 1970; 0 without any.
    pub last_ms: u64,
    /// Whether its right to write was taken back.
    pub revoked: bool,
    /// The number that it signed twice: from there on nothing of it counts.
    pub fork: Option<u64>,
    /// Whether it is this device.
    pub here: bool,
    /// Whether it is the repository's own key.
    pub root: bool,
}

impl Replicas {
    /// The writers of a repository.
    pub fn devices(&self, did: &Did) -> Result<Vec<Device>, ReplicasError> {
        let shared = self.needed(did)?;
        let replica = Arc::clone(&shared.state.borrow().replica);
        let me = replica.me();
        let device = |(writer, w): (WriterId, &crate::log::Writer)| Device {
            writer,
            key: w.did_key.to_string(),
            name: w.name.to_string(),
            operations: w.seq(),
            last_ms: w.tip.as_ref().map_or(0, |tip| tip.time.ms()),
            revoked: w.revoked.is_some(),
            fork: w.fork,
            here: me == Some(writer),
            root: writer == ROOT,
        };
        Ok(replica.roster().iter().map(device).collect())
    }

    /// Whether a key may take part: that of a device which may write.
    pub fn may_sync(&self, did: &Did, did_key: &str) -> bool {
        self.shared(did).is_some_and(|shared| {
            shared
                .state
                .borrow()
                .replica
                .roster()
                .find(did_key)
                .is_some()
        })
    }

    /// Whether this device has the repository's own key.
    pub fn has_root_key(&self, did: &Did) -> bool {
        self.root_key(did).is_ok()
    }

    /// Lets a device write. The log begins with the first.
    ///
    /// # Errors
    /// [`ReplicasError::NoRootKey`] where the repository's key is not.
    pub async fn grant(
        &self,
        did: &Did,
        key: &VerifyingKey,
        name: &str,
    ) -> Result<WriterId, ReplicasError> {
        self.begin(did).await?;
        let root = self.root_key(did)?;
        let mut number = ROOT;
        self.change(did, |replica, rows, change| {
            number = replica.grant(rows, key, name, now_ms(), &root, change)?;
            Ok(())
        })
        .await?;
        Ok(number)
    }

    /// Takes a device's right to write back.
    ///
    /// # Errors
    /// [`ReplicasError::NoRootKey`] where the repository's key is not.
    pub async fn revoke(&self, did: &Did, writer: WriterId) -> Result<(), ReplicasError> {
        let root = self.root_key(did)?;
        self.change(did, |replica, rows, change| {
            replica.revoke_writer(rows, writer, now_ms(), &root, change)
        })
        .await
    }
}
