//! The listing of an owner: rows in partitions of a minute, which lead to requests.
//!
//! A row is a hint. It is written before its request and deleted after it, so a reader believes the request alone, and
//! drops rows that lead nowhere; it deletes them when they are older than any write that may be under way.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use parking_lot::Mutex;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use ues_data::Cid;
use ues_data::content_id::cid_from_bytes;

use super::retry::What;
use super::session::{at_once, damaged, rows_of, together};
use super::{CqlStore, long, short};
use crate::Owner;
use crate::request::PinRequest;
use crate::store::{OwnerPage, OwnerQuery, StateError};

/// Milliseconds of a partition.
const MINUTE_MS: u64 = 60_000;
/// Minutes that are remembered to be in the directory.
const REMEMBERED: usize = 10_000;
/// How long they are remembered, in milliseconds: less than [`STALE_US`].
const REMEMBER_MS: u64 = 3_600_000;
/// How old a row that leads nowhere is when it is deleted, in microseconds: a day.
const STALE_US: i64 = 86_400 * 1_000_000;
/// Rows, minutes among them, that are looked at for one answer.
const MAX_LOOKS: usize = 10_000;
/// Minutes that are read at a time, at most.
const MAX_AHEAD: usize = 16;
/// Rows of a minute that are read at a time, at most.
const MAX_ROWS: usize = 1000;
/// Minutes of the directory that are read at a time.
const DIRECTORY: i32 = 64;
/// Requests that are read at a time.
const REQUESTS_AHEAD: usize = 64;

/// One row of the listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owned {
    owner: String,
    tag: String,
    created_ms: u64,
    cid: Cid,
    /// Its timestamp.
    at: i64,
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
    fn is_stale(&self, at: i64) -> bool {
        at.saturating_add(STALE_US) < self.stamps.now_us()
    }
}

/// Where a walk goes on: at all rows of this time or older, except those up to a CID at the time itself.
#[derive(Clone, Copy, Debug)]
struct Position {
    newest: u64,
    behind: Option<Cid>,
}

/// A minute of the directory, with the timestamp of its row.
#[derive(Clone, Copy, Debug)]
struct Minute {
    number: u64,
    at: i64,
}

/// A walk through the rows of a listing, newest first.
struct Walk<'a> {
    store: &'a CqlStore,
    owner: &'a str,
    tag: String,
    oldest: u64,
    position: Position,
    /// Minutes that are not yet read to their end.
    minutes: VecDeque<Minute>,
    /// From which minute on the directory is to be read; `None` at its end.
    directory: Option<u64>,
    /// Minutes that are read at a time.
    ahead: usize,
    /// Rows and minutes that were read.
    looks: usize,
}

impl<'a> Walk<'a> {
    fn new(store: &'a CqlStore, owner: &'a Owner, query: OwnerQuery) -> Self {
        let (newest, behind) = match (query.cursor, query.before_ms) {
            (Some((time, cid)), _) => (time, Some(cid)),
            (None, Some(before)) => (before.saturating_sub(1), None),
            (None, None) => (u64::MAX, None),
        };
        let newest = newest.min(i64::MAX.cast_unsigned());
        Self {
            store,
            owner: owner.as_str(),
            tag: query.tag.unwrap_or_default(),
            oldest: query.after_ms.map_or(0, |after| after.saturating_add(1)),
            position: Position { newest, behind },
            minutes: VecDeque::new(),
            directory: Some(newest / MINUTE_MS),
            ahead: 1,
            looks: 0,
        }
    }

    fn is_ended(&self) -> bool {
        self.minutes.is_empty() && self.directory.is_none()
    }

    /// Where another call goes on.
    fn cursor(&self) -> Option<(u64, Cid)> {
        if self.is_ended() {
            return None;
        }
        match self.position.behind {
            Some(cid) => Some((self.position.newest, cid)),
            // Behind everything of the millisecond after it.
            None => Some((self.position.newest.saturating_add(1), last_cid()?)),
        }
    }

    /// The next rows, at most so many. There may be none although it goes on: minutes can be empty.
    async fn next(&mut self, limit: usize) -> Result<Vec<Owned>, StateError> {
        self.read_directory().await?;
        let limit = limit.clamp(1, MAX_ROWS);
        let read: Vec<Minute> = self.minutes.iter().take(self.ahead).copied().collect();
        let rows = read.iter().map(|m| self.minute(m.number, limit));
        let rows = at_once(rows.collect(), MAX_AHEAD).await?;
        let mut found = Vec::new();
        for (minute, rows) in read.into_iter().zip(rows) {
            let full = rows.len() >= limit;
            self.looks += 1 + rows.len();
            if rows.is_empty() {
                self.forget(minute).await;
            }
            let room = limit - found.len();
            let cut = rows.len() > room;
            found.extend(rows.into_iter().take(room));
            if full || cut {
                break;
            }
            self.pass(minute);
        }
        if let Some(last) = found.last()
            && last.created_ms <= self.position.newest
        {
            self.position = Position {
                newest: last.created_ms,
                behind: Some(last.cid),
            };
        }
        let enough = found.len() >= limit;
        self.ahead = if enough {
            1
        } else {
            (self.ahead * 2).min(MAX_AHEAD)
        };
        Ok(found)
    }

    /// Goes on behind a minute.
    fn pass(&mut self, minute: Minute) {
        self.minutes.pop_front();
        match (minute.number * MINUTE_MS).checked_sub(1) {
            Some(newest) => {
                let behind = None;
                self.position = Position { newest, behind };
            }
            None => {
                self.minutes.clear();
                self.directory = None;
            }
        }
    }

    async fn read_directory(&mut self) -> Result<(), StateError> {
        let Some(from) = self.directory else {
            return Ok(());
        };
        if self.minutes.len() >= self.ahead {
            return Ok(());
        }
        let values = (
            self.owner,
            &self.tag,
            long(from),
            long(self.oldest / MINUTE_MS),
            DIRECTORY,
        );
        let statement = &self.store.db.statements.minutes;
        let read = self
            .store
            .db
            .execute(What::new("owner_minutes"), statement, values)
            .await?;
        let read = rows_of(read)?;
        let mut last = None;
        for row in read.rows::<(i64, Option<i64>)>().map_err(damaged)? {
            let (number, at) = row.map_err(damaged)?;
            let number = number.max(0).cast_unsigned();
            let at = at.unwrap_or(i64::MAX);
            self.minutes.push_back(Minute { number, at });
            last = Some(number);
        }
        let more = i32::try_from(read.rows_num()).is_ok_and(|found| found >= DIRECTORY);
        self.directory = last.filter(|_| more).and_then(|last| last.checked_sub(1));
        Ok(())
    }

    /// The rows of a minute from the position on.
    async fn minute(&self, minute: u64, limit: usize) -> Result<Vec<Owned>, StateError> {
        let begin = minute * MINUTE_MS;
        let mut rows = Vec::new();
        let mut newest = self.position.newest.min(begin + (MINUTE_MS - 1));
        if let Some(cid) = self
            .position
            .behind
            .filter(|_| newest == self.position.newest)
        {
            let values = (
                self.owner,
                &self.tag,
                long(minute),
                long(newest),
                cid.to_bytes(),
                short(limit),
            );
            let statement = &self.store.db.statements.owned_beside;
            rows = self.read(statement, values).await?;
            match newest.checked_sub(1) {
                Some(before) => newest = before,
                None => return Ok(rows),
            }
        }
        let oldest = self.oldest.max(begin);
        if rows.len() < limit && newest >= oldest {
            let values = (
                self.owner,
                &self.tag,
                long(minute),
                long(newest),
                long(oldest),
                short(limit - rows.len()),
            );
            let statement = &self.store.db.statements.owned;
            rows.extend(self.read(statement, values).await?);
        }
        Ok(rows)
    }

    async fn read(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Vec<Owned>, StateError> {
        let what = What::new("owner_pins");
        let read = rows_of(self.store.db.execute(what, statement, values).await?)?;
        let mut rows = Vec::with_capacity(read.rows_num());
        for row in read.rows::<(i64, &[u8], Option<i64>)>().map_err(damaged)? {
            let (created_ms, cid, at) = row.map_err(damaged)?;
            rows.push(Owned {
                owner: self.owner.to_owned(),
                tag: self.tag.clone(),
                created_ms: created_ms.max(0).cast_unsigned(),
                cid: cid_from_bytes(cid).map_err(damaged)?,
                at: at.unwrap_or(i64::MAX),
            });
        }
        Ok(rows)
    }

    /// Deletes an empty minute from the directory when nothing can come into it that the directory would have to name.
    async fn forget(&self, minute: Minute) {
        let begin = minute.number * MINUTE_MS;
        let whole = self.oldest <= begin && self.position.newest >= begin + (MINUTE_MS - 1);
        if !whole || !self.store.is_stale(minute.at) {
            return;
        }
        let values = (minute.at, self.owner, &self.tag, long(minute.number));
        let statement = &self.store.db.statements.delete_minute;
        let what = What::new("delete_minute");
        if let Err(error) = self.store.db.execute(what, statement, values).await {
            tracing::debug!(%error, "an empty minute of a listing stays");
        }
    }
}

/// A CID that no other is behind: version 0, which begins with a greater byte than version 1, with the last hash.
fn last_cid() -> Option<Cid> {
    let hash = ues_data::Multihash::wrap(0x12, &[0xff; 32]).ok()?;
    Cid::new_v0(hash).ok()
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

    #[test]
    fn no_cid_is_behind_the_last_one() {
        let last = last_cid().unwrap().to_bytes();
        for content in 0..100u8 {
            let v1 = ues_data::raw_cid(&[content]);
            let v0 = ues_data::cid_of(0x70, ues_data::HashAlgorithm::Sha2_256, &[content]);
            let v0 = Cid::new_v0(*v0.hash()).unwrap();
            assert!(v1.to_bytes() < last && v0.to_bytes() < last);
        }
    }
}
