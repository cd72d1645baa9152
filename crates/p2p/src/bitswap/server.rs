//! Who waits for which of our blocks, and who is served next. Does no IO.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use libp2p::PeerId;
use ues_data::Cid;

use super::message::Want;

/// Wants that are answered with one message.
const BATCH: usize = 64;

/// Where a want stands in its peer's order: by priority, then by arrival.
type Place = (Reverse<i32>, u64);

#[derive(Debug)]
enum Slot {
    /// To be answered.
    Queued(Place),
    /// Being answered; whether the block came while it was looked for.
    InWork { came: bool },
    /// We do not have the block, but may get it.
    Parked(Want),
}

#[derive(Debug, Default)]
struct Ledger {
    slots: HashMap<Cid, Slot>,
    queue: BTreeMap<Place, Want>,
    in_work: bool,
    sent: u64,
    received: u64,
}

impl Ledger {
    /// Whether this peer owes us less than the other, for what it gave.
    fn is_before(&self, other: &Self) -> bool {
        let debt =
            |this: &Self, that: &Self| u128::from(this.sent) * (u128::from(that.received) + 1);
        (debt(self, other), self.sent) < (debt(other, self), other.sent)
    }
}

/// Bytes of blocks that went to and came from a peer since it was first heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Balance {
    /// To the peer.
    pub sent: u64,
    /// From the peer.
    pub received: u64,
}

/// A message that is to be made: the peer and the wants to answer, in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Work {
    /// Whom to answer.
    pub peer: PeerId,
    /// What to answer.
    pub wants: Vec<Want>,
}

/// The state of the serving side.
#[derive(Debug)]
pub struct Server {
    wants_per_peer: usize,
    peers: HashMap<PeerId, Ledger>,
    parked: HashMap<Cid, HashSet<PeerId>>,
    /// The peers with a message being made.
    working: HashSet<PeerId>,
    arrivals: u64,
}

impl Server {
    /// A server that remembers so many wants of each peer.
    #[must_use]
    pub fn new(wants_per_peer: usize) -> Self {
        Self {
            wants_per_peer,
            peers: HashMap::new(),
            parked: HashMap::new(),
            working: HashSet::new(),
            arrivals: 0,
        }
    }

    /// A peer says what it wants. Returns the wants for which there is no room.
    pub fn wantlist(&mut self, peer: PeerId, wants: Vec<Want>, full: bool) -> Vec<Want> {
        if full {
            self.forget_wants(&peer);
        }
        let mut refused = Vec::new();
        for want in wants {
            if want.cancel {
                self.remove(&peer, &want.cid);
                continue;
            }
            let ledger = self.peers.entry(peer).or_default();
            let known = ledger.slots.contains_key(&want.cid);
            if !known && ledger.slots.len() >= self.wants_per_peer {
                refused.push(want);
                continue;
            }
            self.remove(&peer, &want.cid);
            self.enqueue(peer, want);
        }
        refused
    }

    fn enqueue(&mut self, peer: PeerId, want: Want) {
        self.arrivals += 1;
        let place = (Reverse(want.priority), self.arrivals);
        let ledger = self.peers.entry(peer).or_default();
        ledger.slots.insert(want.cid, Slot::Queued(place));
        ledger.queue.insert(place, want);
    }

    fn remove(&mut self, peer: &PeerId, cid: &Cid) {
        let Some(ledger) = self.peers.get_mut(peer) else {
            return;
        };
        match ledger.slots.remove(cid) {
            Some(Slot::Queued(place)) => {
                ledger.queue.remove(&place);
            }
            Some(Slot::Parked(_)) => self.unpark(peer, cid),
            Some(Slot::InWork { .. }) | None => {}
        }
    }

    fn unpark(&mut self, peer: &PeerId, cid: &Cid) {
        if let Some(peers) = self.parked.get_mut(cid) {
            peers.remove(peer);
            if peers.is_empty() {
                self.parked.remove(cid);
            }
        }
    }

    fn forget_wants(&mut self, peer: &PeerId) {
        let Some(ledger) = self.peers.get_mut(peer) else {
            return;
        };
        ledger.queue.clear();
        for (cid, slot) in std::mem::take(&mut ledger.slots) {
            if matches!(slot, Slot::Parked(_)) {
                self.unpark(peer, &cid);
            }
        }
    }

    /// The next message to make: for the peer that owes the least, of those for whom none is being made.
    pub fn next_work(&mut self) -> Option<Work> {
        let ready = self
            .peers
            .iter()
            .filter(|(_, ledger)| !ledger.in_work && !ledger.queue.is_empty());
        let (peer, _) = ready.reduce(
            |best, next| {
                if next.1.is_before(best.1) { next } else { best }
            },
        )?;
        let peer = *peer;
        let ledger = self.peers.get_mut(&peer)?;
        ledger.in_work = true;
        self.working.insert(peer);
        let mut wants = Vec::new();
        while wants.len() < BATCH
            && let Some((_, want)) = ledger.queue.pop_first()
        {
            ledger.slots.insert(want.cid, Slot::InWork { came: false });
            wants.push(want);
        }
        Some(Work { peer, wants })
    }

    /// A message went out with so many bytes of blocks. Of its wants, `missing` are for blocks that we do not have, and
    /// for `left` there was no room in it. What the peer took back in the meantime is forgotten.
    pub fn work_done(&mut self, peer: PeerId, work: Vec<Want>, sent: u64, outcome: Outcome) {
        self.working.remove(&peer);
        let Some(ledger) = self.peers.get_mut(&peer) else {
            return;
        };
        ledger.in_work = false;
        ledger.sent += sent;
        let mut again = Vec::new();
        for want in outcome.left {
            if let Some(Slot::InWork { .. }) = ledger.slots.get(&want.cid) {
                again.push(want);
            }
        }
        for want in outcome.missing {
            match ledger.slots.get(&want.cid) {
                Some(Slot::InWork { came: true }) => again.push(want),
                Some(Slot::InWork { came: false }) => {
                    self.parked.entry(want.cid).or_default().insert(peer);
                    ledger.slots.insert(want.cid, Slot::Parked(want));
                }
                _ => {}
            }
        }
        for want in work {
            if let Some(Slot::InWork { .. }) = ledger.slots.get(&want.cid) {
                ledger.slots.remove(&want.cid);
            }
        }
        for want in again {
            self.enqueue(peer, want);
        }
    }

    /// We have a block that we did not have before: who waits for it is served.
    pub fn block_added(&mut self, cid: &Cid) {
        for peer in &self.working {
            let slot = self.peers.get_mut(peer).and_then(|l| l.slots.get_mut(cid));
            if let Some(Slot::InWork { came }) = slot {
                *came = true;
            }
        }
        for peer in self.parked.remove(cid).unwrap_or_default() {
            let slot = self
                .peers
                .get_mut(&peer)
                .and_then(|ledger| ledger.slots.remove(cid));
            if let Some(Slot::Parked(want)) = slot {
                self.enqueue(peer, want);
            }
        }
    }

    /// A peer gave us so many bytes of blocks that we wanted.
    pub fn received(&mut self, peer: PeerId, bytes: u64) {
        self.peers.entry(peer).or_default().received += bytes;
    }

    /// A peer is gone, and with it all it wanted and all that is remembered of it.
    pub fn gone(&mut self, peer: &PeerId) {
        self.forget_wants(peer);
        self.peers.remove(peer);
    }

    /// Whether the peer is remembered.
    #[must_use]
    pub fn knows(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// Who is remembered.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerId> {
        self.peers.keys().copied().collect()
    }

    /// What went to and came from a peer.
    #[must_use]
    pub fn balance(&self, peer: &PeerId) -> Balance {
        let ledger = self.peers.get(peer);
        ledger.map_or_else(Balance::default, |ledger| Balance {
            sent: ledger.sent,
            received: ledger.received,
        })
    }

    /// Wants that are remembered of a peer.
    #[must_use]
    pub fn wants(&self, peer: &PeerId) -> usize {
        self.peers.get(peer).map_or(0, |ledger| ledger.slots.len())
    }
}

/// What became of the wants of one message, but for those that were answered.
#[derive(Debug, Default)]
pub struct Outcome {
    /// We do not have these.
    pub missing: Vec<Want>,
    /// These are for the next message.
    pub left: Vec<Want>,
}

#[cfg(test)]
mod tests {
    use ues_data::raw_cid;

    use super::*;
    use crate::bitswap::message::WantKind;

    fn want(n: u32, priority: i32) -> Want {
        Want::new(raw_cid(&n.to_be_bytes()), WantKind::Block, priority)
    }

    fn answered(server: &mut Server, work: Work, sent: u64) {
        server.work_done(work.peer, work.wants, sent, Outcome::default());
    }

    #[test]
    fn wants_are_answered_by_priority_and_then_in_order() {
        let mut server = Server::new(10);
        let peer = PeerId::random();
        let wants = vec![want(1, 0), want(2, 5), want(3, 0), want(4, 5)];
        assert_eq!(server.wantlist(peer, wants, false), []);
        server.wantlist(peer, vec![Want::cancel(want(3, 0).cid)], false);
        let work = server.next_work().unwrap();
        assert_eq!(work.wants, [want(2, 5), want(4, 5), want(1, 0)]);
        assert_eq!(server.next_work(), None, "one message at a time");
        answered(&mut server, work, 10);
        assert_eq!(server.wants(&peer), 0);
        assert_eq!(server.balance(&peer).sent, 10);
    }

    #[test]
    fn there_is_room_for_so_many_wants_of_a_peer() {
        let mut server = Server::new(3);
        let peer = PeerId::random();
        let wants: Vec<_> = (0..5).map(|n| want(n, 0)).collect();
        assert_eq!(server.wantlist(peer, wants.clone(), false), wants[3..]);
        // what is known may change, and a full list takes the place of the old one
        assert_eq!(server.wantlist(peer, vec![want(0, 9)], false), []);
        assert_eq!(server.wantlist(peer, wants[3..].to_vec(), true), []);
        assert_eq!(server.next_work().unwrap().wants, wants[3..]);
    }

    #[test]
    fn who_gave_more_is_served_first() {
        let mut server = Server::new(10);
        let (taker, giver) = (PeerId::random(), PeerId::random());
        server.received(giver, 1000);
        for round in 0..4 {
            for peer in [taker, giver] {
                server.wantlist(peer, vec![want(round, 0)], false);
            }
        }
        let mut order = Vec::new();
        for _ in 0..6 {
            let work = server.next_work().unwrap();
            order.push(work.peer);
            let left = work.wants[1..].to_vec();
            let outcome = Outcome {
                left,
                ..Outcome::default()
            };
            server.work_done(work.peer, work.wants, 100, outcome);
        }
        // Each has a first turn free of debt; then the giver has all it wants before the taker has more.
        assert_eq!(order[..2].iter().filter(|p| **p == giver).count(), 1);
        assert_eq!(order[2..], [giver, giver, giver, taker]);
    }

    #[test]
    fn a_missing_block_is_sent_when_it_comes() {
        let mut server = Server::new(10);
        let peer = PeerId::random();
        server.wantlist(peer, vec![want(1, 0), want(2, 0)], false);
        let work = server.next_work().unwrap();
        let outcome = Outcome {
            missing: work.wants.clone(),
            ..Outcome::default()
        };
        server.work_done(peer, work.wants, 0, outcome);
        assert_eq!(server.next_work(), None);
        server.block_added(&want(3, 0).cid);
        assert_eq!(server.next_work(), None);
        server.block_added(&want(1, 0).cid);
        assert_eq!(server.next_work().unwrap().wants, [want(1, 0)]);
        server.gone(&peer);
        server.block_added(&want(2, 0).cid);
        assert_eq!(server.next_work(), None);
        assert!(server.parked.is_empty() && server.peers.is_empty());
    }

    #[test]
    fn a_block_that_comes_while_it_is_looked_for_is_not_missed() {
        let mut server = Server::new(10);
        let peer = PeerId::random();
        server.wantlist(peer, vec![want(1, 0), want(2, 0)], false);
        let work = server.next_work().unwrap();
        server.block_added(&want(2, 0).cid);
        let outcome = Outcome {
            missing: work.wants.clone(),
            ..Outcome::default()
        };
        server.work_done(peer, work.wants, 0, outcome);
        assert_eq!(server.next_work().unwrap().wants, [want(2, 0)]);
    }

    #[test]
    fn what_is_taken_back_while_it_is_read_is_not_asked_again() {
        let mut server = Server::new(10);
        let peer = PeerId::random();
        server.wantlist(peer, vec![want(1, 0), want(2, 0)], false);
        let work = server.next_work().unwrap();
        server.wantlist(peer, vec![Want::cancel(want(1, 0).cid)], false);
        let outcome = Outcome {
            left: work.wants.clone(),
            ..Outcome::default()
        };
        server.work_done(peer, work.wants, 0, outcome);
        assert_eq!(server.next_work().unwrap().wants, [want(2, 0)]);
    }
}
