//! What is known of one queue in memory: how far it was read, which deliveries are open, what comes again when.
//!
//! Only messages that were delivered and not settled are here, about 100 bytes each; those that were never delivered
//! lie in the store and are read when their turn comes.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use super::rows::Marks;

/// A message that was read from the store and is not settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    /// Deliveries so far.
    pub made: u32,
    /// Bytes of its row.
    pub bytes: u64,
    /// When it was published, in milliseconds since the Unix epoch.
    pub published_at_ms: u64,
    /// Whether it has a row of attempts.
    pub recorded: bool,
    /// The present delivery; `None` while it waits to come again.
    pub token: Option<u64>,
    /// When it comes again, on the ledger's own time; the ledger sets it.
    pub due: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    pub marks: Marks,
    /// What the cursor was when the bus was opened: a message before it may have been delivered by the process that
    /// ran then, so that one more attempt counts.
    delivered_before: u64,
    open: BTreeMap<u64, Open>,
    /// When open deliveries end, and when waiting messages come again: due time and sequence number.
    flights: BTreeSet<(u64, u64)>,
    pauses: BTreeSet<(u64, u64)>,
    tokens: u64,
    now: u64,
    wall: u64,
    /// Ids of messages whose rows may not be visible in the store yet, with their sequence numbers.
    ids: HashSet<Arc<str>>,
    ids_by_seq: VecDeque<(u64, Arc<str>)>,
    /// The queue was removed.
    pub removed: bool,
}

impl Ledger {
    /// From what the store knows. Everything that is stored waits.
    pub(super) fn new(stored: Marks) -> Self {
        Self {
            marks: Marks {
                cursor: stored.head,
                ..stored
            },
            delivered_before: stored.cursor,
            open: BTreeMap::new(),
            flights: BTreeSet::new(),
            pauses: BTreeSet::new(),
            tokens: 0,
            now: 0,
            wall: 0,
            ids: HashSet::new(),
            ids_by_seq: VecDeque::new(),
            removed: false,
        }
    }

    /// The marks to be stored. What is read anew after a start was delivered before all the same.
    pub(super) fn marks(&self) -> Marks {
        let first_open = self.open.first_key_value().map(|(seq, _)| *seq);
        Marks {
            cursor: self.marks.cursor.max(self.delivered_before),
            head: first_open.map_or(self.marks.cursor, |seq| seq.min(self.marks.cursor)),
            ..self.marks
        }
    }

    /// Whether an earlier process may have delivered this message.
    pub(super) fn may_have_been_delivered(&self, seq: u64) -> bool {
        seq < self.delivered_before
    }

    /// Moves the ledger's time on by what the wall clock did; a wall clock that is set back holds nothing up.
    pub(super) fn tick(&mut self, wall_ms: u64) {
        if self.wall != 0 {
            self.now = self.now.saturating_add(wall_ms.saturating_sub(self.wall));
        }
        self.wall = wall_ms;
    }

    /// Deliveries without a verdict.
    pub(super) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// A message that is open.
    pub(super) fn get(&self, seq: u64) -> Option<&Open> {
        self.open.get(&seq)
    }

    /// A message that is open in just this delivery.
    pub(super) fn delivery(&self, seq: u64, token: u64) -> Option<Open> {
        self.get(seq).filter(|o| o.token == Some(token)).copied()
    }

    /// Takes the next delivery whose time for a verdict is over.
    pub(super) fn pop_expired(&mut self) -> Option<(u64, Open)> {
        let seq = due(&self.flights, self.now)?;
        self.remove(seq).map(|open| (seq, open))
    }

    /// Takes the next message that comes again now.
    pub(super) fn pop_ready(&mut self) -> Option<(u64, Open)> {
        let seq = due(&self.pauses, self.now)?;
        self.remove(seq).map(|open| (seq, open))
    }

    /// Milliseconds until something happens by itself: a delivery ends or, unless all are in use, a pause does.
    pub(super) fn next_event(&self, max_in_flight: usize) -> Option<u64> {
        let flight = self.flights.first();
        let pause = self
            .pauses
            .first()
            .filter(|_| self.in_flight() < max_in_flight);
        let (due, _) = flight.into_iter().chain(pause).min()?;
        Some(due.saturating_sub(self.now))
    }

    /// Forgets an open message.
    pub(super) fn remove(&mut self, seq: u64) -> Option<Open> {
        let open = self.open.remove(&seq)?;
        self.flights.remove(&(open.due, seq));
        self.pauses.remove(&(open.due, seq));
        Some(open)
    }

    /// Notes a delivery and names it.
    pub(super) fn deliver(&mut self, seq: u64, open: Open, ack_wait_ms: u64) -> u64 {
        self.tokens += 1;
        let token = Some(self.tokens);
        self.insert(seq, Open { token, ..open }, ack_wait_ms);
        self.tokens
    }

    /// Notes a message that comes again after some time.
    pub(super) fn wait(&mut self, seq: u64, open: Open, pause_ms: u64) {
        let token = None;
        self.insert(seq, Open { token, ..open }, pause_ms);
    }

    /// Lets the time of an open message begin anew.
    pub(super) fn extend(&mut self, seq: u64, wait_ms: u64) {
        if let Some(open) = self.remove(seq) {
            self.insert(seq, open, wait_ms);
        }
    }

    fn insert(&mut self, seq: u64, open: Open, wait_ms: u64) {
        let due = self.now.saturating_add(wait_ms);
        match open.token {
            Some(_) => self.flights.insert((due, seq)),
            None => self.pauses.insert((due, seq)),
        };
        self.open.insert(seq, Open { due, ..open });
    }

    /// A message left the queue for good.
    pub(super) fn settled(&mut self, bytes: u64) {
        self.marks.count = self.marks.count.saturating_sub(1);
        self.marks.bytes = self.marks.bytes.saturating_sub(bytes);
    }

    /// The oldest message that was delivered and waits to come again.
    pub(super) fn oldest_waiting(&self) -> Option<&Open> {
        self.open.values().find(|open| open.token.is_none())
    }

    /// Remembers an id until [`ids_visible`](Self::ids_visible) says that the store does.
    pub(super) fn remember_id(&mut self, seq: u64, id: &str) {
        let id: Arc<str> = id.into();
        self.ids.insert(Arc::clone(&id));
        self.ids_by_seq.push_back((seq, id));
    }

    /// Whether this id was published and its row may not be visible yet.
    pub(super) fn has_id(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// All messages before this sequence number are visible in the store.
    pub(super) fn ids_visible(&mut self, before: u64) {
        while let Some((_, id)) = self.ids_by_seq.pop_front_if(|(seq, _)| *seq < before) {
            self.ids.remove(&id);
        }
    }
}

/// The sequence number of the first entry whose time has come.
fn due(entries: &BTreeSet<(u64, u64)>, now: u64) -> Option<u64> {
    let (due, seq) = entries.first()?;
    (*due <= now).then_some(*seq)
}

impl Open {
    /// A message that was just read.
    pub(super) fn new(made: u32, bytes: u64, published_at_ms: u64, recorded: bool) -> Self {
        Self {
            made,
            bytes,
            published_at_ms,
            recorded,
            token: None,
            due: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_holds_nothing_up() {
        let mut ledger = Ledger::new(Marks::NEW);
        ledger.tick(1_000_000);
        ledger.deliver(1, Open::new(1, 10, 0, false), 100);
        ledger.tick(400_000);
        assert_eq!(ledger.next_event(1), Some(100));
        ledger.tick(400_099);
        assert!(ledger.pop_expired().is_none());
        ledger.tick(400_100);
        assert_eq!(ledger.in_flight(), 1);
        assert_eq!(ledger.pop_expired().map(|(seq, _)| seq), Some(1));
        assert_eq!(ledger.in_flight(), 0);
    }

    #[test]
    fn the_head_is_the_oldest_message() {
        let mut ledger = Ledger::new(Marks::NEW);
        ledger.marks.cursor = 4;
        assert_eq!(ledger.marks().head, 4);
        ledger.deliver(2, Open::new(1, 10, 0, false), 100);
        ledger.wait(3, Open::new(1, 10, 0, false), 100);
        assert_eq!(ledger.marks().head, 2);
        ledger.remove(2);
        assert_eq!(ledger.marks().head, 3);
        let again = Ledger::new(ledger.marks());
        assert!(again.may_have_been_delivered(3) && !again.may_have_been_delivered(4));
        assert_eq!((again.marks.cursor, again.marks().cursor), (3, 4));
    }

    #[test]
    fn ids_are_forgotten_once_the_store_shows_them() {
        let mut ledger = Ledger::new(Marks::NEW);
        ledger.remember_id(1, "a");
        ledger.remember_id(2, "b");
        ledger.ids_visible(2);
        assert!(!ledger.has_id("a") && ledger.has_id("b"));
    }
}
