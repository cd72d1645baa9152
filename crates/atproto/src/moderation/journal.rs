//! Rows with rising numbers.

use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;
use ues_storage::{Batch, Keyspace, StorageError, Store};

use crate::accounts::{Damaged, json_row, to_json};

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A row is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// Entries of one kind, by number (u64, big endian) as JSON.
pub struct Journal<T> {
    rows: Keyspace,
    next: AtomicU64,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Opens a journal of a store.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: &Store, name: &'static str) -> Result<Self, StorageError> {
        let rows = store.keyspace(name)?;
        let last = rows.prefix([]).next_back().transpose()?;
        let last = last.and_then(|(key, _)| number(&key)).unwrap_or_default();
        Ok(Self {
            rows,
            next: AtomicU64::new(last + 1),
            of: PhantomData,
        })
    }

    /// Adds an entry, which goes into `batch`; gives its number.
    pub fn add(&self, batch: &mut Batch, make: impl FnOnce(u64) -> T) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        batch.put(&self.rows, number.to_be_bytes(), to_json(&make(number)));
        number
    }

    /// Puts an entry in the place of the one that has the number; goes into `batch`.
    pub fn replace(&self, batch: &mut Batch, number: u64, entry: &T) {
        batch.put(&self.rows, number.to_be_bytes(), to_json(entry));
    }

    /// An entry.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn get(&self, number: u64) -> Result<Option<T>, JournalError> {
        let key = number.to_be_bytes();
        match self.rows.get(key)? {
            Some(row) => Ok(Some(json_row(&key, &row)?)),
            None => Ok(None),
        }
    }

    /// The entries before a number, the newest first, at most `limit`.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn page(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, T)>, JournalError> {
        self.page_of(before, limit, |_| true)
    }

    /// The same of those entries that `fits`; reads all others on the way.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn page_of(
        &self,
        before: Option<u64>,
        limit: usize,
        fits: impl Fn(&T) -> bool,
    ) -> Result<Vec<(u64, T)>, JournalError> {
        let end = match before {
            Some(number) => Bound::Excluded(number.to_be_bytes()),
            None => Bound::Unbounded,
        };
        let mut page = Vec::new();
        let rows = self.rows.range::<[u8; 8]>((Bound::Unbounded, end));
        for row in rows.rev() {
            if page.len() >= limit {
                break;
            }
            let (key, value) = row?;
            let entry = json_row(&key, &value)?;
            if fits(&entry) {
                page.push((number(&key).unwrap_or_default(), entry));
            }
        }
        Ok(page)
    }
}

fn number(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}
