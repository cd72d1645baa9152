//! The queue of ends: hours of sixteen shards, read in order of time and never deleted from; rows go by their TTL.
//!
//! A shard's position is the second before which everything is settled. It is stored, and stays some minutes behind the
//! time, so that a row from a clock that is behind is found as well. What was given out and is not settled is kept in memory
//! alone: after a restart it is read again from the position on. Giving out an end twice does no harm, since the request
//! itself says whether it has ended.

use std::collections::BTreeMap;

use tokio::sync::MutexGuard;
use ues_data::content_id::cid_from_bytes;

use super::ends_window::{Key, SHARDS, Shard};
use super::retry::What;
use super::session::{damaged, rows_of, together};
use super::{CqlStore, long, short, was_applied};
use crate::request::PinRequest;
use crate::store::{End, StateError};

/// How long after its end a row stays, in seconds: so long the queue may stand still.
const KEEP_S: u64 = 30 * 86_400;
/// What is due sooner is entered as due in so many seconds, so that it is not entered behind the position.
const SOONEST_S: u64 = 10;
/// So many seconds before it is due an entry has to be there.
const IN_TIME_S: u64 = 5;
/// How often an entry is written anew because it came too late.
const TRIES: u32 = 10;
/// The latest moment that a row may expire at in any version of the database, in seconds since the Unix epoch; less a day.
const LAST_EXPIRY_S: u64 = i32::MAX as u64 - 86_400;
/// The longest TTL that the database takes, in seconds: twenty years.
const LONGEST_TTL_S: u64 = 20 * 365 * 86_400;
/// The year 10,000 or so; what ends later does not end.
const NEVER_S: u64 = 1 << 38;
/// Hours of a shard that are read in one call.
const HOURS: usize = 200;
/// Where a new queue begins: so many seconds before the time, since another's clock may be behind.
const START_S: u64 = 86_400;
/// When nobody asked for so many seconds, another may have: everything is read anew.
const IDLE_S: u64 = 30;

/// What is known of the queue.
#[derive(Debug, Default)]
pub(super) struct Window {
    shards: Vec<Shard>,
    asked_s: u64,
}

impl CqlStore {
    /// Enters the end of a request into the queue, in time.
    pub(super) async fn put_end(&self, request: &PinRequest, at: i64) -> Result<(), StateError> {
        let Some(end) = request.pin.options.expire_at.filter(|end| *end < NEVER_S) else {
            return Ok(());
        };
        let cid = request.cid().to_bytes();
        let owner = request.owner.as_str();
        let what = What::of("put_end", request.cid());
        for _ in 0..TRIES {
            let due = end.max(self.now_s() + SOONEST_S);
            let values = (
                long(due / 3600),
                shard_of(&cid, owner),
                long(due),
                &cid,
                owner,
                at,
                at,
                ttl(due, self.now_s()),
            );
            let statement = &self.db.statements.put_end;
            self.db.execute(what, statement, values).await?;
            if self.now_s() + IN_TIME_S <= due {
                return Ok(());
            }
        }
        Err(StateError::Unavailable(format!(
            "an end could not be entered in time, after {TRIES} times"
        )))
    }

    fn now_s(&self) -> u64 {
        self.stamps.clock().now_ms() / 1000
    }

    /// Makes the positions of a new queue.
    pub(super) async fn begin_queue(&self) -> Result<(), StateError> {
        let known = self.positions().await?;
        let start = self.now_s().saturating_sub(START_S);
        for shard in (0..SHARDS).filter(|shard| !known.contains_key(shard)) {
            let statement = &self.db.statements.first_position;
            // Repeated, it changes nothing.
            let done = self
                .db
                .execute(What::new("first_position"), statement, (shard, long(start)))
                .await?;
            was_applied(done)?;
        }
        Ok(())
    }

    async fn positions(&self) -> Result<BTreeMap<i32, u64>, StateError> {
        let mut positions = BTreeMap::new();
        let statement = &self.db.statements.positions;
        let take = |(shard, due, at): (i32, Option<i64>, Option<i64>)| {
            positions.insert(shard, due.unwrap_or(0).max(0).cast_unsigned());
            self.stamps.seen(at);
            Ok(())
        };
        self.db
            .each(What::new("ttl_positions"), statement, (), take)
            .await?;
        Ok(positions)
    }

    /// What is known of the queue, read anew when another may have worked on it.
    async fn window(&self, now_s: u64) -> Result<MutexGuard<'_, Window>, StateError> {
        let mut window = self.window.lock().await;
        let clock_s = self.now_s();
        if window.shards.is_empty() || clock_s.saturating_sub(window.asked_s) > IDLE_S {
            let positions = self.positions().await?;
            let position = |shard| positions.get(&shard).copied().unwrap_or(0);
            window.shards = (0..SHARDS)
                .map(|shard| Shard::new(position(shard), now_s))
                .collect();
        }
        window.asked_s = clock_s;
        Ok(window)
    }

    /// The oldest ends that are due.
    pub(super) async fn due_ends(&self, now_s: u64, limit: usize) -> Result<Vec<End>, StateError> {
        let mut window = self.window(now_s).await?;
        for shard in &mut window.shards {
            shard.begin(now_s);
        }
        let read = (0..).zip(&mut window.shards);
        let read = read.map(|(number, shard)| self.read_on(number, shard, now_s, limit));
        let known: Vec<u64> = together(read.collect()).await?;
        // What is older may still be unread in another shard.
        let known = known.into_iter().min().unwrap_or(0);
        let open = window
            .shards
            .iter()
            .flat_map(|shard| shard.open().take(limit));
        let mut open: Vec<&Key> = open.filter(|key| key.0 <= now_s.min(known)).collect();
        open.sort_unstable();
        open.truncate(limit);
        let ends = open.into_iter().map(end).collect();
        self.store_positions(window, now_s).await;
        ends
    }

    /// Reads a shard until there are `limit` open entries, or all that are due; returns up to which second it is known.
    async fn read_on(
        &self,
        number: i32,
        shard: &mut Shard,
        now_s: u64,
        limit: usize,
    ) -> Result<u64, StateError> {
        for _ in 0..HOURS {
            let open = shard.open().take(limit).count();
            if open >= limit {
                // The first of them are known, whatever comes later.
                return Ok(u64::MAX);
            }
            if shard.is_read(now_s) {
                return Ok(u64::MAX);
            }
            let rows = limit.clamp(100, 5000);
            let found = self.read_hour(number, shard, now_s, rows).await?;
            if found >= rows {
                continue;
            }
            if shard.hour >= now_s / 3600 {
                return Ok(u64::MAX);
            }
            shard.next_hour();
        }
        Ok((shard.hour * 3600).saturating_sub(1))
    }

    async fn read_hour(
        &self,
        number: i32,
        shard: &mut Shard,
        now_s: u64,
        limit: usize,
    ) -> Result<usize, StateError> {
        let (due, cid, owner) = &shard.behind;
        let values = (
            long(shard.hour),
            number,
            long(*due),
            cid,
            owner,
            long(now_s),
            short(limit),
        );
        let statement = &self.db.statements.ends;
        let what = What::new("pin_ttl_queue");
        let read = rows_of(self.db.execute(what, statement, values).await?)?;
        for row in read
            .rows::<(i64, Vec<u8>, String, Option<i64>)>()
            .map_err(damaged)?
        {
            let (due, cid, owner, stamp) = row.map_err(damaged)?;
            let key = (due.max(0).cast_unsigned(), cid, owner);
            shard.read(key, stamp.unwrap_or_default());
        }
        Ok(read.rows_num())
    }

    /// Settles entries.
    pub(super) async fn settled(&self, ends: Vec<End>) -> Result<(), StateError> {
        let mut window = self.window.lock().await;
        for end in ends {
            let cid = end.cid.to_bytes();
            let owner = end.owner.as_str().to_owned();
            let number = usize::try_from(shard_of(&cid, &owner)).unwrap_or(0);
            if let Some(shard) = window.shards.get_mut(number) {
                shard.settle(&(end.at_s, cid, owner));
            }
        }
        let now_s = self.now_s();
        self.store_positions(window, now_s).await;
        Ok(())
    }

    /// Stores positions that have moved. One that is not stored is passed again after a restart.
    async fn store_positions(&self, mut window: MutexGuard<'_, Window>, now_s: u64) {
        let mut moved = Vec::new();
        for (number, shard) in (0..).zip(&mut window.shards) {
            if let Some(position) = shard.advance(now_s) {
                moved.push(self.store_position(number, shard, position));
            }
        }
        if let Err(error) = together(moved).await {
            tracing::debug!(%error, "a position of the queue of ends is stored later");
        }
    }

    async fn store_position(
        &self,
        number: i32,
        shard: &mut Shard,
        position: u64,
    ) -> Result<(), StateError> {
        let values = (number, long(position), self.stamps.next());
        let statement = &self.db.statements.put_position;
        let what = What::new("put_position");
        self.db.execute(what, statement, values).await?;
        shard.stored(position);
        Ok(())
    }
}

/// The shard of an entry.
fn shard_of(cid: &[u8], owner: &str) -> i32 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(cid);
    hasher.update(owner.as_bytes());
    let hash = hasher.finalize();
    i32::from(hash.as_bytes()[0]) % SHARDS
}

/// For how long a row is kept, in seconds; 0, for ever, where the database could not keep it long enough.
fn ttl(due: u64, now_s: u64) -> i32 {
    let ttl = due.saturating_sub(now_s).saturating_add(KEEP_S);
    if ttl > LONGEST_TTL_S || now_s.saturating_add(ttl) > LAST_EXPIRY_S {
        return 0;
    }
    i32::try_from(ttl).unwrap_or(0)
}

fn end(key: &Key) -> Result<End, StateError> {
    let (at_s, cid, owner) = key;
    Ok(End {
        at_s: *at_s,
        owner: owner.parse().map_err(damaged)?,
        cid: cid_from_bytes(cid).map_err(damaged)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_kept_for_a_month_after_their_end() {
        let now_s = 1_800_000_000;
        assert_eq!(ttl(now_s + 60, now_s), 60 + 30 * 86_400);
        assert_eq!(ttl(now_s - 60, now_s), 30 * 86_400);
        assert_eq!(ttl(2_200_000_000, now_s), 0, "beyond 2038");
        assert_eq!(ttl(NEVER_S, now_s), 0);
    }

    #[test]
    fn all_shards_are_used() {
        let used: std::collections::BTreeSet<i32> =
            (0..=255u8).map(|n| shard_of(&[n], "alice")).collect();
        assert_eq!(used.len(), 16);
    }
}
