//! When recent writes move from memory into tables.
//!
//! fjall would see to it itself: a write that fills a memtable asks fjall's worker threads to rotate it. They take such
//! requests from a bounded queue, and rotating puts another one into the same queue. A load that fills the queue while
//! they compact makes all of them wait for room that only they could make; from then on nothing leaves memory or
//! journal any more. So its own limits are set out of reach (keyspaces of the first programs keep the ones they were
//! made with, and get lower ones here), and whoever writes rotates here: the queue then holds no more than flushes, whose
//! number fjall bounds, and hints to compact, which it drops when there is no room.
//!
//! fjall lets each keyspace have four full memtables in line before writers wait. All keyspaces together would then hold
//! many times what one has; so writers wait here when all that stands in line is more than a few memtables.
//!
//! A memtable that has become a table stays in memory as part of an older version of its tree. fjall drops such versions
//! of all trees when any memtable is rotated after a later write. So the last ones of a load would stay for as long as
//! nobody writes much; when all is quiet one more is rotated for their sake.

use std::time::{Duration, Instant};

use fjall::{AbstractTree, Keyspace};

/// What fjall writes to a memtable before it would ask for a rotation itself: never, by our own limits.
pub(super) const OUT_OF_REACH: u64 = 256 << 20;

/// Large memtables that may stand in line to become tables, or so many bytes of smaller ones.
const IN_LINE: u64 = 2;
/// Between two looks at the line, and for how long it is looked at. fjall's own bounds hold beyond that.
const WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Journal bytes between two looks for memtables that keep old journals alive.
const LOOK_EVERY: u64 = 8 << 20;

/// Less than this in all memtables is not worth tables of its own.
const TIDY_UP_FROM: usize = 2 << 20;
/// The same for one keyspace.
const TIDY_UP_EACH_FROM: usize = 64 << 10;

/// The memtable of one keyspace.
struct Memtable {
    /// Bytes in memory from which on it is rotated.
    limit: u64,
    /// Bytes written to it since it was rotated last; 0 when it is empty.
    bytes: usize,
    /// Bytes that all keyspaces had written when this one got its first.
    since: u64,
    /// Whether the batch that is being applied writes to it.
    touched: bool,
}

/// As little as this between two looks for idleness is what a node at rest writes: leases, heartbeats, cursors.
const QUIET: u64 = 16 << 10;

/// Whether memtables that have become tables are still in memory.
enum Lingering {
    No,
    /// One was rotated.
    Rotated,
    /// All that were rotated are tables since so many bytes were written.
    Flushed(u64),
}

/// What was written to which memtable, by number of the keyspace.
pub(super) struct Memtables {
    all: Vec<Memtable>,
    /// Bytes that a memtable may lag behind the others: the journal is as long.
    journal_bytes: u64,
    written: u64,
    next_look: u64,
    /// Bytes that had been written at the last look for idleness.
    looked_at: u64,
    lingering: Lingering,
}

impl Memtables {
    pub(super) fn new(journal_bytes: u64) -> Self {
        Self {
            all: Vec::new(),
            journal_bytes,
            written: 0,
            next_look: LOOK_EVERY,
            looked_at: 0,
            lingering: Lingering::No,
        }
    }

    /// Adds the memtable of the next keyspace; what the journal brought back into it counts as just written.
    pub(super) fn add(&mut self, keyspace: &Keyspace, limit: u64) {
        let bytes = keyspace.tree.active_memtable().size();
        self.all.push(Memtable {
            limit,
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            since: self.written,
            touched: false,
        });
    }

    /// Counts a row that is about to be written.
    pub(super) fn count(&mut self, number: usize, bytes: usize) {
        let written = self.written;
        self.written = written.saturating_add(bytes as u64);
        if let Some(memtable) = self.all.get_mut(number) {
            if memtable.bytes == 0 {
                memtable.since = written;
            }
            memtable.bytes = memtable.bytes.saturating_add(bytes);
            memtable.touched = true;
        }
    }

    /// Rotates what is full, after a batch was applied, and now and then what keeps old journals alive. Says whether there
    /// was anything.
    pub(super) fn rotate_full(&mut self, keyspaces: &[Keyspace]) -> fjall::Result<bool> {
        let mut any = false;
        let look = self.written >= self.next_look;
        if look {
            self.next_look = self.written.saturating_add(LOOK_EVERY);
        }
        for (memtable, keyspace) in self.all.iter_mut().zip(keyspaces) {
            let touched = std::mem::take(&mut memtable.touched);
            let full = touched && keyspace.tree.active_memtable().size() >= memtable.limit;
            let lagging = look
                && memtable.bytes > 0
                && self.written.saturating_sub(memtable.since) >= self.journal_bytes;
            if full || lagging {
                memtable.bytes = 0;
                self.lingering = Lingering::Rotated;
                keyspace.rotate_memtable()?;
                any = true;
            }
        }
        Ok(any)
    }

    /// Waits until what stands in line to become tables is not too much.
    pub(super) fn wait_for_tables(&self, keyspaces: &[Keyspace]) {
        let largest = self.all.iter().map(|memtable| memtable.limit).max();
        let most = largest.unwrap_or_default().saturating_mul(IN_LINE);
        let begun = Instant::now();
        while self.in_line(keyspaces) > most && begun.elapsed() < LONGEST_WAIT {
            std::thread::sleep(WAIT);
        }
    }

    /// Bytes at most of what is full and not yet a table.
    fn in_line(&self, keyspaces: &[Keyspace]) -> u64 {
        let all = self.all.iter().zip(keyspaces);
        let sizes = all.map(|(memtable, keyspace)| {
            memtable
                .limit
                .saturating_mul(keyspace.tree.sealed_memtable_count() as u64)
        });
        sizes.fold(0, u64::saturating_add)
    }

    /// Rotates everything that is worth it, if next to nothing was written since the last call.
    pub(super) fn rotate_idle(&mut self, keyspaces: &[Keyspace]) -> fjall::Result<()> {
        let busy = self.written.saturating_sub(self.looked_at) > QUIET;
        self.looked_at = self.written;
        let total: usize = self.all.iter().map(|memtable| memtable.bytes).sum();
        if busy {
            return Ok(());
        }
        if total < TIDY_UP_FROM {
            return self.drop_lingering(keyspaces);
        }
        for (memtable, keyspace) in self.all.iter_mut().zip(keyspaces) {
            if memtable.bytes >= TIDY_UP_EACH_FROM {
                memtable.bytes = 0;
                self.lingering = Lingering::Rotated;
                keyspace.rotate_memtable()?;
            }
        }
        Ok(())
    }

    /// Rotates the smallest memtable, once all that were rotated before are tables and something was written since.
    fn drop_lingering(&mut self, keyspaces: &[Keyspace]) -> fjall::Result<()> {
        let flushing = |keyspace: &Keyspace| keyspace.tree.sealed_memtable_count() > 0;
        match self.lingering {
            Lingering::Rotated if !keyspaces.iter().any(flushing) => {
                self.lingering = Lingering::Flushed(self.written);
            }
            Lingering::Flushed(written) if written < self.written => {
                let filled = self.all.iter_mut().zip(keyspaces);
                let filled = filled.filter(|(memtable, _)| memtable.bytes > 0);
                if let Some((memtable, keyspace)) = filled.min_by_key(|(m, _)| m.bytes) {
                    memtable.bytes = 0;
                    self.lingering = Lingering::No;
                    keyspace.rotate_memtable()?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn writers_wait_for_what_stands_in_line() {
        const LIMIT: u64 = 1 << 20;
        let dir = tempfile::tempdir().unwrap();
        let db = fjall::Database::builder(dir.path()).open().unwrap();
        let keyspaces: Vec<_> = (0..8)
            .map(|n| {
                let options = fjall::KeyspaceCreateOptions::default;
                db.keyspace(&n.to_string(), options).unwrap()
            })
            .collect();
        let mut memtables = Memtables::new(1 << 30);
        for keyspace in &keyspaces {
            memtables.add(keyspace, LIMIT);
        }
        let fill = |memtables: &mut Memtables| {
            for n in 0..LIMIT / 512 {
                for (number, keyspace) in keyspaces.iter().enumerate() {
                    memtables.count(number, 1032);
                    keyspace.insert(n.to_be_bytes(), [0; 1024]).unwrap();
                }
            }
        };
        fill(&mut memtables);
        assert_eq!(memtables.in_line(&keyspaces), 0);
        assert!(memtables.rotate_full(&keyspaces).unwrap());
        memtables.wait_for_tables(&keyspaces);
        assert!(memtables.in_line(&keyspaces) <= IN_LINE * LIMIT);
        assert!(!memtables.rotate_full(&keyspaces).unwrap());
    }

    #[test]
    fn what_became_a_table_leaves_memory_when_all_is_quiet() {
        let dir = tempfile::tempdir().unwrap();
        let db = fjall::Database::builder(dir.path()).open().unwrap();
        let open = |name| {
            db.keyspace(name, fjall::KeyspaceCreateOptions::default)
                .unwrap()
        };
        let keyspaces = [open("much"), open("little")];
        let mut memtables = Memtables::new(1 << 30);
        for keyspace in &keyspaces {
            memtables.add(keyspace, 1 << 30);
        }
        for n in 0..4096u32 {
            memtables.count(0, 1028);
            keyspaces[0].insert(n.to_be_bytes(), [0; 1024]).unwrap();
        }
        memtables.count(1, 2);
        keyspaces[1].insert("k", "v").unwrap();
        let held = || {
            let sizes = keyspaces.iter();
            let sizes = sizes.map(|keyspace| keyspace.tree.version_memtable_size_sum());
            sizes.sum::<u64>()
        };
        assert!(held() > 4 << 20);
        let begun = Instant::now();
        while held() > 64 << 10 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{}", held());
            memtables.rotate_idle(&keyspaces).unwrap();
            // As a node at rest does.
            memtables.count(1, 2);
            keyspaces[1].insert("k", "v").unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
