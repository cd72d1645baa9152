//! Where the rows of owners and keys lie.

use async_trait::async_trait;
use ues_storage::{Keyspace, Store};

use crate::AccessError;

/// Name of the keyspace in a store of `ues-storage`.
const KEYSPACE: &str = "access";

/// Keeps small rows under names such as `k/ID`. A write is durable when its call returns, and may be repeated.
#[async_trait]
pub trait AccessRows: Send + Sync + 'static {
    /// The row of a name.
    ///
    /// # Errors
    /// When the rows cannot be read.
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, AccessError>;

    /// Writes rows, the first ones first.
    ///
    /// # Errors
    /// When they cannot be written; some may have been.
    async fn put(&self, rows: Vec<(String, Vec<u8>)>) -> Result<(), AccessError>;

    /// All rows whose names begin so, in the order of their names. A beginning ends with a slash.
    ///
    /// # Errors
    /// When the rows cannot be read.
    async fn list(&self, beginning: &str) -> Result<Vec<(String, Vec<u8>)>, AccessError>;
}

/// Rows in the node's own store.
#[derive(Debug)]
pub struct EmbeddedRows {
    store: Store,
    rows: Keyspace,
}

impl EmbeddedRows {
    /// Opens them, making their keyspace at first use.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub fn open(store: &Store) -> Result<Self, AccessError> {
        Ok(Self {
            store: store.clone(),
            rows: store.keyspace(KEYSPACE)?,
        })
    }
}

#[async_trait]
impl AccessRows for EmbeddedRows {
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, AccessError> {
        Ok(self.rows.get(name)?.map(|row| row.to_vec()))
    }

    async fn put(&self, rows: Vec<(String, Vec<u8>)>) -> Result<(), AccessError> {
        let mut batch = self.store.batch();
        for (name, row) in rows {
            batch.put(&self.rows, name, row);
        }
        self.store.commit(batch).await?;
        Ok(())
    }

    async fn list(&self, beginning: &str) -> Result<Vec<(String, Vec<u8>)>, AccessError> {
        let rows = self.rows.prefix(beginning);
        rows.map(|row| {
            let (name, row) = row?;
            let name = String::from_utf8(name.to_vec())
                .map_err(|e| AccessError::Damaged(format!("a name that is no text: {e}")))?;
            Ok((name, row.to_vec()))
        })
        .collect()
    }
}
