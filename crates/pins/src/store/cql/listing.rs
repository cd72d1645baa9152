//! The listing of an owner: rows in partitions of a minute, which lead to requests.
//!
//! A row is a hint. It is written before its request and deleted after it, so a reader believes the request alone, and
//! drops rows that lead nowhere; it deletes them when they are older than any write that may be under way.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::Mutex;
use ues_data::Cid;

use super::listing_walk::Walk;
use super::retry::What;
use super::session::{at_once, together};
use super::{CqlStore, long};
use crate::Owner;
use crate::request::PinRequest;
use crate::store::{OwnerPage, OwnerQuery, StateError};

/// Milliseconds of a partition.
pub(super) const MINUTE_MS: u64 = 60_000;
/// Minutes that are remembered to be in the directory.
const REMEMBERED: usize = 10_000;
/// How long they are remembered, in milliseconds: less than [`STALE_US`].
const REMEMBER_MS: u64 = 3_600_000;
/// How old a row that leads nowhere is when it is deleted, in microseconds: a day.
const STALE_US: i64 = 86_400 * 1_000_000;
/// Rows, minutes among them, that are looked at for one answer.
const MAX_LOOKS: usize = 10_000;
/// Requests that are read at a time.
const REQUESTS_AHEAD: usize = 64;

/// One row of the listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owned {
    pub owner: String,
    pub tag: String,
    pub created_ms: u64,
    pub cid: Cid,
    /// Its timestamp.
    pub at: i64,
}

/// Minutes that this process has written into the directory.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<HashMap<(String, String, u64), u64>>);

impl Remembered {
    fn knows(&self, minute: &(String, String, u64), now_ms: u64) -> bool {
        let known = self.0.lock();
        known
            .get(minute)
            .is_some_and(|then| now_ms.saturating_sub(*then) < REMEMBER_MS)
    }

    fn remember(&self, minute: (String, String, u64), now_ms: u64) {
        let mut known = self.0.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(minute, now_ms);
    }
}

/// The rows that led to a version that was replaced at its timestamp, without those of the new version.
pub(super) fn replaced(old: &PinRequest, at: i64, new: Option<&PinRequest>) -> Vec<Owned> {
    let kept = |tag: &str| {
        new.is_some_and(|new| {
            new.created_ms == old.created_ms
                && (tag.is_empty() || new.tags.iter().any(|t| t == tag))
        })
    };
    let mut rows = rows(old, at);
    rows.retain(|row| !kept(&row.tag));
    rows
}

/// The rows that lead to a request.
fn rows(request: &PinRequest, at: i64) -> Vec<Owned> {
    let tags: BTreeSet<&str> = request.tags.iter().map(String::as_str).collect();
    let tags = tags.into_iter().filter(|tag| !tag.is_empty());
    std::iter::once("")
        .chain(tags)
        .map(|tag| Owned {
            owner: request.owner.as_str().to_owned(),
            tag: tag.to_owned(),
            created_ms: request.created_ms,
            cid: *request.cid(),
            at,
        })
        .collect()
}

impl CqlStore {
    /// Writes the rows that lead to requests, each at its timestamp.
    pub(super) async fn list(&self, puts: &[(&PinRequest, i64)]) -> Result<(), StateError> {
        let mut minutes: BTreeMap<_, Vec<Owned>> = BTreeMap::new();
        for (request, at) in puts {
            for row in rows(request, *at) {
                let minute = row.created_ms / MINUTE_MS;
                let key = (row.owner.clone(), row.tag.clone(), minute);
                minutes.entry(key).or_default().push(row);
            }
        }
        let writes = minutes
            .into_iter()
            .map(|(minute, rows)| self.list_minute(minute, rows));
        together(writes.collect()).await?;
        Ok(())
    }

    async fn list_minute(
        &self,
        minute: (String, String, u64),
        rows: Vec<Owned>,
    ) -> Result<(), StateError> {
        let now_ms = self.stamps.clock().now_ms();
        let number = long(minute.2);
        if !self.remembered.knows(&minute, now_ms) {
            let at = self.stamps.next();
            let values = (&minute.0, &minute.1, number, at, at);
            let statement = &self.db.statements.put_minute;
            self.db
                .execute(What::new("put_minute"), statement, values)
                .await?;
        }
        let bytes = 80 + minute.0.len() + minute.1.len();
        let values = rows.into_iter().map(|row| {
            let created = long(row.created_ms);
            let cid = row.cid.to_bytes();
            (row.owner, row.tag, number, created, cid, row.at, row.at)
        });
        let statement = &self.db.statements.put_owned;
        self.db
            .batches(What::new("put_owned"), statement, values.collect(), bytes)
            .await?;
        self.remembered.remember(minute, now_ms);
        Ok(())
    }

    pub(super) async fn delete_owned(&self, row: &Owned) -> Result<(), StateError> {
        let values = (
            row.at,
            &row.owner,
            &row.tag,
            long(row.created_ms / MINUTE_MS),
            long(row.created_ms),
            row.cid.to_bytes(),
        );
        let what = What::of("delete_owned", &row.cid);
        let statement = &self.db.statements.delete_owned;
        self.db.execute(what, statement, values).await?;
        Ok(())
    }

    /// A page of an owner's requests.
    pub(super) async fn read_owned(
        &self,
        owner: &Owner,
        query: OwnerQuery,
    ) -> Result<OwnerPage, StateError> {
        let mut page = OwnerPage::default();
        let limit = query.limit;
        if limit == 0 || query.before_ms == Some(0) {
            return Ok(page);
        }
        let mut walk = Walk::new(self, owner, query);
        while !walk.is_ended() {
            let hints = walk.next(limit - page.requests.len()).await?;
            let found = hints.iter().map(|hint| self.lead(owner, hint));
            let found = at_once(found.collect(), REQUESTS_AHEAD).await?;
            page.requests.extend(found.into_iter().flatten());
            if page.requests.len() >= limit || walk.looks >= MAX_LOOKS {
                page.cursor = walk.cursor();
                break;
            }
        }
        Ok(page)
    }

    /// The request that a row leads to.
    async fn lead(&self, owner: &Owner, row: &Owned) -> Result<Option<PinRequest>, StateError> {
        let version = self.version(owner, &row.cid).await?;
        let named = |request: &PinRequest| {
            request.created_ms == row.created_ms
                && (row.tag.is_empty() || request.tags.contains(&row.tag))
        };
        if let Some(request) = version.request.filter(named) {
            return Ok(Some(request));
        }
        if self.is_stale(row.at)
            && let Err(error) = self.delete_owned(row).await
        {
            tracing::debug!(%error, "a row of a listing that leads nowhere stays");
        }
        Ok(None)
    }

    /// Whether a row is older than any write that may be under way.
    pub(super) fn is_stale(&self, at: i64) -> bool {
        at.saturating_add(STALE_US) < self.stamps.now_us()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Pin, PinOptions};

    fn request(created_ms: u64, tags: &[&str]) -> PinRequest {
        PinRequest {
            owner: "alice".parse().unwrap(),
            pin: Pin::new(ues_data::raw_cid(b"x"), PinOptions::default(), 0),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            created_ms,
        }
    }

    fn tags(rows: &[Owned]) -> Vec<&str> {
        rows.iter().map(|row| row.tag.as_str()).collect()
    }

    #[test]
    fn rows_of_a_replaced_version_go_unless_the_new_one_has_them() {
        let old = request(1, &["a", "b", "a", ""]);
        assert_eq!(tags(&rows(&old, 2)), ["", "a", "b"]);
        assert_eq!(tags(&replaced(&old, 2, None)), ["", "a", "b"]);
        assert_eq!(tags(&replaced(&old, 2, Some(&request(1, &["b"])))), ["a"]);
        let later = request(3, &["a", "b"]);
        assert_eq!(tags(&replaced(&old, 2, Some(&later))), ["", "a", "b"]);
    }

    #[test]
    fn minutes_are_remembered_for_a_while_and_not_all() {
        let minute = |n: u64| ("o".to_owned(), String::new(), n);
        let remembered = Remembered::default();
        remembered.remember(minute(1), 0);
        assert!(remembered.knows(&minute(1), REMEMBER_MS - 1));
        assert!(!remembered.knows(&minute(1), REMEMBER_MS));
        for n in 0..=REMEMBERED as u64 {
            remembered.remember(minute(n), 0);
        }
        assert!(remembered.0.lock().len() <= REMEMBERED);
    }
}
