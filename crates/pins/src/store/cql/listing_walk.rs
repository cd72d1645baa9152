//! A walk through the listing of an owner, minute by minute, newest first.

use std::collections::VecDeque;

use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use ues_data::Cid;
use ues_data::content_id::cid_from_bytes;

use super::listing::{MINUTE_MS, Owned};
use super::retry::What;
use super::session::{at_once, damaged, rows_of};
use super::{CqlStore, long, short};
use crate::Owner;
use crate::store::{OwnerQuery, StateError};

/// Minutes that are read at a time, at most.
const MAX_AHEAD: usize = 16;
/// Rows of a minute that are read at a time, at most.
const MAX_ROWS: usize = 1000;
/// Minutes of the directory that are read at a time.
const DIRECTORY: i32 = 64;

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
pub(super) struct Walk<'a> {
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
    pub looks: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(store: &'a CqlStore, owner: &'a Owner, query: OwnerQuery) -> Self {
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

    pub(super) fn is_ended(&self) -> bool {
        self.minutes.is_empty() && self.directory.is_none()
    }

    /// Where another call goes on.
    pub(super) fn cursor(&self) -> Option<(u64, Cid)> {
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
    pub(super) async fn next(&mut self, limit: usize) -> Result<Vec<Owned>, StateError> {
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
