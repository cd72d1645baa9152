//! How many accounts and records the node holds: a projection of the event log.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use ues_repo::repo::Repositories;
use ues_repo::repo::event::{CommitCounts, LogEvent, commit_counts};
use ues_repo::repo::layout::Status;
use ues_repo::syntax::{Did, Tid};
use ues_storage::{Event, Keyspace, Projection, ProjectionError, StorageError, Store};

/// How often the counts are stored. After a restart, what came since is counted again.
const STORE_EVERY: Duration = Duration::from_secs(5);
/// Accounts whose counts wait in memory to be stored.
const MAX_WAITING: usize = 10_000;
/// Key of the totals; it is no DID.
const TOTALS: &str = "totals";

/// The counts, for whoever wants to know.
#[derive(Clone, Debug, Default)]
pub struct Census(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    accounts: AtomicU64,
    records: AtomicU64,
}

impl Census {
    /// Accounts that are not deleted.
    pub fn accounts(&self) -> u64 {
        self.0.accounts.load(Ordering::Relaxed)
    }

    /// Records of all repositories.
    pub fn records(&self) -> u64 {
        self.0.records.load(Ordering::Relaxed)
    }

    fn show(&self, totals: &Totals) {
        self.0.accounts.store(totals.accounts, Ordering::Relaxed);
        self.0.records.store(totals.records, Ordering::Relaxed);
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Totals {
    cursor: u64,
    accounts: u64,
    records: u64,
}

/// What is known of one repository.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Known {
    records: u64,
    /// The state that was counted; commits up to it are in the count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rev: Option<Tid>,
    #[serde(default)]
    gone: bool,
}

/// Keeps a [`Census`] up to date.
pub struct CensusTaker {
    store: Store,
    repos: Repositories,
    rows: Keyspace,
    census: Census,
    totals: Totals,
    waiting: HashMap<Did, Known>,
    stored: Instant,
}

impl CensusTaker {
    /// Opens the counts of a store.
    pub fn open(store: Store, repos: Repositories, census: Census) -> Result<Self, StorageError> {
        let rows = store.keyspace("census")?;
        let totals = stored_totals(&rows)?;
        census.show(&totals);
        Ok(Self {
            store,
            repos,
            rows,
            census,
            totals,
            waiting: HashMap::new(),
            stored: Instant::now(),
        })
    }

    fn known(&mut self, did: &Did) -> Result<Option<Known>, StorageError> {
        if let Some(known) = self.waiting.get(did) {
            return Ok(Some(known.clone()));
        }
        Ok(self
            .rows
            .get(did.as_str())?
            .and_then(|row| serde_json::from_slice(&row).ok()))
    }

    fn remember(&mut self, did: &Did, before: Option<&Known>, known: Known) {
        let lives = |k: &Known| if k.gone { 0 } else { 1 };
        let records = |k: &Known| if k.gone { 0 } else { k.records };
        self.totals.accounts += lives(&known);
        self.totals.records += records(&known);
        if let Some(before) = before {
            self.totals.accounts = self.totals.accounts.saturating_sub(lives(before));
            self.totals.records = self.totals.records.saturating_sub(records(before));
        }
        self.waiting.insert(did.clone(), known);
    }

    fn commit(&mut self, commit: &CommitCounts) -> Result<(), StorageError> {
        let before = self.known(&commit.repo)?;
        let mut known = before.clone().unwrap_or_default();
        if known.rev.as_ref().is_some_and(|rev| commit.rev <= *rev) {
            return Ok(());
        }
        known.records = (known.records + commit.created).saturating_sub(commit.deleted);
        known.gone = false;
        known.rev = Some(commit.rev);
        self.remember(&commit.repo, before.as_ref(), known);
        Ok(())
    }

    /// Counts a repository anew whose state was replaced as a whole.
    fn recount(
        &mut self,
        did: &Did,
        rev: &Tid,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let before = self.known(did)?;
        if before
            .as_ref()
            .is_some_and(|k| k.rev.as_ref().is_some_and(|known| rev <= known))
        {
            return Ok(());
        }
        let mut known = before.clone().unwrap_or_default();
        // A write in between would be counted twice: then look again.
        loop {
            let Some(head) = self
                .repos
                .head(did)?
                .filter(|h| h.status != Status::Deleted)
            else {
                return Ok(());
            };
            known.records = self.repos.count_records(did)?;
            known.rev = Some(head.rev);
            if self.repos.head(did)?.is_some_and(|now| now.rev == head.rev) {
                break;
            }
        }
        known.gone = false;
        self.remember(did, before.as_ref(), known);
        Ok(())
    }

    /// Counts all repositories anew: the log does not tell any more what happened.
    fn recount_all(&mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut gone = Vec::new();
        for row in self.rows.prefix("did:") {
            let did = Did::parse(std::str::from_utf8(&row?.0)?)?;
            let head = self.repos.head(&did)?;
            if head.is_none_or(|h| h.status == Status::Deleted) {
                gone.push(did);
            }
        }
        for did in gone {
            self.depart(&did)?;
        }
        let mut after = None;
        loop {
            let page = self.repos.list(after, 500)?;
            let Some((_, last)) = page.last() else {
                return Ok(());
            };
            after = Some(last.owner);
            for (did, head) in &page {
                self.recount(did, &head.rev)?;
            }
        }
    }

    fn depart(&mut self, did: &Did) -> Result<(), StorageError> {
        if let Some(before) = self.known(did)? {
            let known = Known {
                gone: true,
                records: 0,
                ..before.clone()
            };
            self.remember(did, Some(&before), known);
        }
        Ok(())
    }

    fn take(&mut self, event: &Event) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if let Some(commit) = commit_counts(&event.payload)? {
            self.commit(&commit)?;
            self.totals.cursor = event.seq;
            return Ok(());
        }
        match LogEvent::decode(&event.payload)? {
            LogEvent::Commit(_) => {}
            LogEvent::Sync { did, rev, .. } => self.recount(&did, &rev)?,
            LogEvent::Account {
                did,
                status: Status::Deleted,
                ..
            } => self.depart(&did)?,
            LogEvent::Account { .. } | LogEvent::Identity { .. } => {}
        }
        self.totals.cursor = event.seq;
        Ok(())
    }

    fn save(&mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut batch = self.store.batch();
        for (did, known) in &self.waiting {
            batch.put(&self.rows, did.as_str(), serde_json::to_vec(known)?);
        }
        batch.put(&self.rows, TOTALS, serde_json::to_vec(&self.totals)?);
        self.store.commit_blocking(batch)?;
        self.waiting.clear();
        self.stored = Instant::now();
        Ok(())
    }
}

impl Projection for CensusTaker {
    fn name(&self) -> &str {
        "census"
    }

    fn cursor(&mut self) -> Result<u64, ProjectionError> {
        self.waiting.clear();
        self.totals = stored_totals(&self.rows).map_err(ProjectionError::state)?;
        self.census.show(&self.totals);
        Ok(self.totals.cursor)
    }

    fn apply(&mut self, events: &[Event]) -> Result<(), ProjectionError> {
        let next = self.totals.cursor.saturating_add(1);
        if events.first().is_some_and(|event| event.seq > next) {
            self.recount_all().map_err(ProjectionError::state)?;
        }
        for event in events {
            self.take(event).map_err(ProjectionError::state)?;
        }
        self.census.show(&self.totals);
        if self.waiting.len() >= MAX_WAITING || self.stored.elapsed() >= STORE_EVERY {
            self.save().map_err(ProjectionError::state)?;
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), ProjectionError> {
        let mut batch = self.store.batch();
        for row in self.rows.prefix("") {
            let (key, _) = row.map_err(ProjectionError::state)?;
            batch.delete(&self.rows, key);
        }
        self.store
            .commit_blocking(batch)
            .map_err(ProjectionError::state)?;
        self.waiting.clear();
        self.totals = Totals::default();
        self.census.show(&self.totals);
        Ok(())
    }
}

fn stored_totals(rows: &Keyspace) -> Result<Totals, StorageError> {
    let row = rows.get(TOTALS)?;
    Ok(row
        .and_then(|row| serde_json::from_slice(&row).ok())
        .unwrap_or_default())
}
