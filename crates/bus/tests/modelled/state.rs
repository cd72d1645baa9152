//! What may be known of each message from outside. After a crash several things may be the case.

use std::collections::HashMap;

use ues_bus::DEDUPLICATION;

use super::Op;

/// Where a message may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Where {
    queue: bool,
    dead: bool,
    gone: bool,
}

const QUEUE: Where = Where {
    queue: true,
    dead: false,
    gone: false,
};
const DEAD: Where = Where {
    dead: true,
    queue: false,
    ..QUEUE
};
const GONE: Where = Where {
    gone: true,
    queue: false,
    ..QUEUE
};

impl Where {
    fn or(self, other: Self) -> Self {
        Self {
            queue: self.queue || other.queue,
            dead: self.dead || other.dead,
            gone: self.gone || other.gone,
        }
    }
}

#[derive(Clone, Debug)]
struct Entry {
    place: Where,
    /// Where it also may be when the latest writes get lost.
    unless_synced: Option<Where>,
    /// The fewest and the most deliveries that it can have had.
    made: (u32, u32),
    /// It does not come before the first, and can come from the second on.
    due: (u64, u64),
    /// Its present delivery and when that ends.
    open: Option<(u64, u64)>,
    /// The latest delivery of all when it was put back into the queue: since then its place in line is a new one, and
    /// earlier deliveries mean nothing any more.
    replayed: Option<u64>,
}

/// All messages, by number.
#[derive(Default)]
pub struct Model {
    entries: Vec<Entry>,
    /// Until when an id is surely, and until when it may be, remembered.
    ids: HashMap<u8, (u64, u64)>,
    last_first: Option<usize>,
}

impl Model {
    pub const ACK_WAIT_MS: u64 = 500;
    pub const MAX_ATTEMPTS: u32 = 3;
    pub const MAX_IN_FLIGHT: usize = 4;

    pub fn messages(&self) -> usize {
        self.entries.len()
    }

    pub fn published(&mut self, id: Option<u8>, now: u64, ok: bool) {
        let until = now + u64::try_from(DEDUPLICATION.as_millis()).unwrap();
        let mut place = QUEUE;
        if let Some(id) = id {
            let (surely, maybe) = self.ids.get(&id).copied().unwrap_or((0, 0));
            if now < surely {
                place = GONE;
            } else {
                if now < maybe {
                    place = QUEUE.or(GONE);
                }
                let from = match (ok, now < maybe) {
                    (true, false) => until,
                    (true, true) => maybe.min(until),
                    (false, _) => surely,
                };
                self.ids.insert(id, (from, until));
            }
        }
        self.entries.push(Entry {
            place: if ok { place } else { place.or(GONE) },
            unless_synced: None,
            made: (0, 0),
            due: (0, 0),
            open: None,
            replayed: None,
        });
    }

    /// Something was made durable, and with it all that was handed in before.
    pub fn synced(&mut self) {
        for entry in &mut self.entries {
            entry.unless_synced = None;
        }
    }

    /// Whoever takes finds which deliveries are over.
    pub fn before_take(&mut self, now: u64) {
        for entry in &mut self.entries {
            if entry.open.is_some_and(|(_, ends)| ends <= now) {
                entry.open = None;
                entry.due = (0, 0);
            }
        }
    }

    pub fn taken(&mut self, n: usize, name: u64, attempt: u32, now: u64) {
        let entry = &mut self.entries[n];
        assert!(entry.place.queue, "{n} comes after its end: {entry:?}");
        assert!(
            entry.open.is_none(),
            "{n} comes while it is open: {entry:?}"
        );
        assert!(
            entry.due.0 <= now,
            "{n} comes too early at {now}: {entry:?}"
        );
        let (least, most) = entry.made;
        assert!(
            (least + 1..=most + 1).contains(&attempt),
            "{n}, {attempt}: {entry:?}"
        );
        assert!(attempt <= Self::MAX_ATTEMPTS);
        entry.place = QUEUE;
        entry.made = (attempt, attempt);
        entry.open = Some((name, now + Self::ACK_WAIT_MS));
        if attempt == 1 && entry.replayed.is_none() {
            assert!(self.last_first < Some(n), "{n} is out of order");
            self.last_first = Some(n);
        }
        self.synced();
    }

    pub fn after_take(&mut self, count: usize, max: usize, now: u64) {
        let open = self.entries.iter().filter(|e| e.open.is_some()).count();
        assert!(open <= Self::MAX_IN_FLIGHT, "{open} are open");
        for (n, entry) in self.entries.iter_mut().enumerate() {
            let may_come = entry.open.is_none() && entry.due.0 <= now;
            let can_come = entry.open.is_none() && entry.due.1 <= now;
            if may_come && entry.place.queue && entry.made.1 >= Self::MAX_ATTEMPTS {
                // Its turn may have come to be buried.
                entry.place.dead = true;
            }
            let surely = can_come && entry.place == QUEUE;
            assert!(
                !surely || count > 0 || open >= Self::MAX_IN_FLIGHT || max == 0,
                "{n} should have come at {now}: {entry:?}"
            );
        }
    }

    /// It is not known what became of the call; the process will end.
    pub fn take_failed(&mut self) {
        for entry in &mut self.entries {
            if entry.place.queue && entry.open.is_none() {
                entry.place.dead |= entry.made.1 >= Self::MAX_ATTEMPTS;
                entry.made.1 = (entry.made.1 + 1).min(Self::MAX_ATTEMPTS);
            }
        }
    }

    pub fn answered(&mut self, n: usize, name: u64, op: Op, now: u64, ok: bool) {
        let entry = &mut self.entries[n];
        let present = entry.open.filter(|(open, _)| *open == name).is_some();
        match op {
            Op::Ack(_) if entry.place.queue && entry.replayed.is_none_or(|last| last < name) => {
                // It may be delivered at the same time under another name; done is done, unless it was buried before.
                let before = entry.place;
                let queue = before.queue && !ok;
                entry.place = Where { queue, ..before }.or(GONE);
                entry.unless_synced = Some(before);
                entry.open = None;
            }
            Op::GiveUp(_) if present => self.bury(n, ok),
            Op::Retry(..) if present && entry.made.0 >= Self::MAX_ATTEMPTS => self.bury(n, ok),
            Op::Retry(_, pause) if present => {
                entry.open = None;
                entry.due = (now + pause, now + pause);
            }
            Op::Progress(_) if present => entry.open = Some((name, now + Self::ACK_WAIT_MS)),
            _ => (),
        }
    }

    fn bury(&mut self, n: usize, ok: bool) {
        let entry = &mut self.entries[n];
        entry.open = None;
        entry.place = if ok { DEAD } else { QUEUE.or(DEAD) };
        if ok {
            self.synced();
        }
    }

    pub fn revived(&mut self, n: usize, taken: u64, replay: bool, ok: bool) {
        let entry = &mut self.entries[n];
        let to = if replay { QUEUE } else { GONE };
        entry.place = if ok { to } else { to.or(DEAD) };
        if replay {
            entry.made = (0, if ok { 0 } else { entry.made.1 });
            entry.replayed = Some(taken);
            entry.due = (0, 0);
        }
        if ok {
            self.synced();
        }
    }

    pub fn dead_letters(&mut self, dead: &[usize]) {
        for (n, entry) in self.entries.iter_mut().enumerate() {
            if dead.contains(&n) {
                assert!(entry.place.dead, "{n} is dead: {entry:?}");
                assert!(entry.open.is_none());
                // A crash may undo what was not synced, but then it stands in the list no more.
                entry.place = DEAD;
            } else {
                assert!(entry.place != DEAD, "{n} is not dead: {entry:?}");
                entry.place.dead = false;
            }
        }
    }

    /// The process ended and everything had been written.
    pub fn restart(&mut self, now: u64) {
        for entry in &mut self.entries {
            entry.unless_synced = None;
            if entry.open.take().is_some() {
                entry.due = (now, now);
            }
        }
    }

    /// The process ended, and what nobody had waited for may be lost.
    pub fn crash(&mut self) {
        for entry in &mut self.entries {
            if let Some(before) = entry.unless_synced.take() {
                entry.place = entry.place.or(before);
            }
            // A pause that was not written is none.
            entry.due.0 = 0;
            if entry.open.take().is_some() {
                entry.due.1 = 0;
            }
        }
    }

    /// At the end nothing is left in the queue.
    pub fn all_came(&self) {
        for (n, entry) in self.entries.iter().enumerate() {
            assert!(entry.place != QUEUE, "{n} is lost: {entry:?}");
        }
    }
}
