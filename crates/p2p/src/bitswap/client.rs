//! Which blocks we want, whom we asked, and what to do next. Does no IO.
//!
//! Of the peers of a session, one is asked for the block and some others whether they have it; who has it is asked next
//! if the first fails. A block is asked of one peer at a time, so that it comes twice only when a late answer crosses a
//! new question.

mod peers;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use libp2p::PeerId;
use ues_data::Cid;

use super::message::{Presence, Want as WireWant, WantKind};
use peers::Peers;

/// Which caller wants a block.
pub type SessionId = u64;

/// How much the asking side has under way.
#[derive(Debug, Clone, Copy)]
pub struct ClientLimits {
    /// Blocks that peers are asked about at a time; more wait.
    pub active: usize,
    /// Blocks asked of one peer at a time.
    pub per_peer: usize,
    /// Blocks wanted in all, those that wait included; more are refused.
    pub wanted: usize,
    /// Peers asked about one block at a time.
    pub fan_out: usize,
    /// How long a peer may send nothing that we wait for before the next is asked.
    pub silence: Duration,
    /// How long a peer may take for one block, whatever else it sends.
    pub longest: Duration,
    /// Blocks that nobody wanted; who sends more of them is asked no longer.
    pub unwanted: u32,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            active: 256,
            per_peer: 64,
            wanted: 65_536,
            fan_out: 8,
            silence: Duration::from_secs(5),
            longest: Duration::from_secs(60),
            unwanted: 64,
        }
    }
}

/// Why a block was not had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// None of the peers has it, or none could be reached, or none answered in time.
    #[error("none of the peers gave block {0}")]
    NotFound(Cid),
    /// Too much is wanted already.
    #[error("too many blocks are wanted already")]
    Busy,
    /// The name uses a hash function that we do not compute, so no answer could be checked.
    #[error("blocks named by multihash code 0x{0:x} cannot be checked")]
    Hash(u64),
    /// Bitswap has stopped.
    #[error("the network has been shut down")]
    Stopped,
}

/// The end of a want, and the sessions that shared it.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    /// The block.
    pub cid: Cid,
    /// Who wanted it.
    pub sessions: Vec<SessionId>,
    /// Its bytes.
    pub result: Result<Bytes, FetchError>,
}

/// What came of a block that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It was wanted.
    Wanted,
    /// It was wanted a moment ago.
    Late,
    /// It was never wanted, or that is long ago.
    Unwanted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unasked,
    /// Asked whether it has the block.
    Asked,
    Has,
    /// Says that it has it not.
    Lacks,
    /// Failed to give it, or cannot be reached.
    Failed,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    peer: PeerId,
    at: Instant,
}

#[derive(Debug)]
struct Want {
    sessions: Vec<SessionId>,
    active: bool,
    candidates: Vec<(PeerId, Standing)>,
    asked: Option<Asked>,
}

impl Standing {
    /// Whether it may still give the block.
    fn may_give(self) -> bool {
        !matches!(self, Self::Lacks | Self::Failed)
    }
}

impl Want {
    fn standing(&mut self, peer: &PeerId) -> Option<&mut Standing> {
        let found = self.candidates.iter_mut().find(|(p, _)| p == peer);
        found.map(|(_, standing)| standing)
    }

    fn add_candidate(&mut self, peer: PeerId) {
        if self.standing(&peer).is_none() {
            self.candidates.push((peer, Standing::Unasked));
        }
    }
}

/// The state of the asking side.
#[derive(Debug)]
pub struct Client {
    limits: ClientLimits,
    wants: HashMap<Cid, Want>,
    waiting: VecDeque<Cid>,
    active: usize,
    peers: Peers,
    recent: Recent,
    outgoing: BTreeMap<PeerId, Vec<WireWant>>,
    done: Vec<Done>,
}

impl Client {
    /// Wants nothing yet.
    #[must_use]
    pub fn new(limits: ClientLimits) -> Self {
        Self {
            limits,
            wants: HashMap::new(),
            waiting: VecDeque::new(),
            active: 0,
            peers: Peers::default(),
            recent: Recent::default(),
            outgoing: BTreeMap::new(),
            done: Vec::new(),
        }
    }

    /// A session wants a block from one of these peers.
    pub fn want(&mut self, session: SessionId, cid: Cid, peers: &[PeerId], now: Instant) {
        let full = self.wants.len() >= self.limits.wanted;
        let want = match self.wants.get_mut(&cid) {
            Some(want) => want,
            None if full => {
                self.done.push(Done {
                    cid,
                    sessions: vec![session],
                    result: Err(FetchError::Busy),
                });
                return;
            }
            None => {
                self.waiting.push_back(cid);
                self.wants.entry(cid).or_insert(Want {
                    sessions: Vec::new(),
                    active: false,
                    candidates: Vec::new(),
                    asked: None,
                })
            }
        };
        if !want.sessions.contains(&session) {
            want.sessions.push(session);
        }
        for peer in peers {
            want.add_candidate(*peer);
        }
        if want.active {
            self.advance(cid, now);
        }
        self.fill(now);
    }

    /// A session may ask one more peer for what it wants already.
    pub fn add_peer(&mut self, session: SessionId, peer: PeerId, now: Instant) {
        let mut changed = Vec::new();
        for (cid, want) in &mut self.wants {
            if want.sessions.contains(&session) {
                want.add_candidate(peer);
                changed.push(*cid);
            }
        }
        for cid in changed {
            if self.wants.get(&cid).is_some_and(|want| want.active) {
                self.advance(cid, now);
            }
        }
        self.fill(now);
    }

    /// A session no longer wants a block.
    pub fn cancel(&mut self, session: SessionId, cid: Cid, now: Instant) {
        if let Some(want) = self.wants.get_mut(&cid) {
            want.sessions.retain(|s| *s != session);
            if want.sessions.is_empty() {
                self.end(cid, None);
                self.fill(now);
            }
        }
    }

    /// A block came whose name was computed from its bytes.
    pub fn block(&mut self, from: PeerId, cid: Cid, data: Bytes, now: Instant) -> Arrival {
        if let Some(want) = self.end(cid, Some(from)) {
            self.peers.progressed(from, now);
            self.done.push(Done {
                cid,
                sessions: want.sessions,
                result: Ok(data),
            });
            self.fill(now);
            return Arrival::Wanted;
        }
        if self.recent.contains(&cid) {
            return Arrival::Late;
        }
        if self.peers.unwanted(from) > self.limits.unwanted {
            tracing::debug!(peer = %from, "too many blocks that nobody wanted, it is asked no more");
            self.out_of_all(&from, now);
        }
        Arrival::Unwanted
    }

    /// A peer says whether it has a block.
    pub fn presence(&mut self, from: PeerId, presence: &Presence, now: Instant) {
        let Some(want) = self.wants.get_mut(&presence.cid) else {
            return;
        };
        match want.standing(&from) {
            None | Some(Standing::Unasked | Standing::Failed) => {}
            Some(standing) if presence.have => {
                // one that had it not may have got it in the meantime
                *standing = Standing::Has;
                if want.active {
                    self.advance(presence.cid, now);
                }
            }
            Some(_) => self.out(presence.cid, &from, Standing::Lacks, now),
        }
    }

    /// A peer cannot be reached any more.
    pub fn gone(&mut self, peer: &PeerId, now: Instant) {
        self.out_of_all(peer, now);
        self.peers.remove(peer);
        self.outgoing.remove(peer);
    }

    /// Gives up on those who take too long.
    pub fn tick(&mut self, now: Instant) {
        let late: Vec<_> = self
            .wants
            .iter()
            .filter_map(|(cid, want)| {
                let asked = want.asked?;
                (self.patience_ends(asked) <= now).then_some((*cid, asked.peer))
            })
            .collect();
        for (cid, peer) in late {
            self.say(peer, WireWant::cancel(cid));
            self.out(cid, &peer, Standing::Failed, now);
        }
    }

    /// When [`Client::tick`] is due, if ever.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        let asked = self.wants.values().filter_map(|want| want.asked);
        asked.map(|asked| self.patience_ends(asked)).min()
    }

    /// What is to be sent, by peer. Sending it makes the peer reachable or [`Client::gone`].
    pub fn take_outgoing(&mut self) -> BTreeMap<PeerId, Vec<WireWant>> {
        std::mem::take(&mut self.outgoing)
    }

    /// The wants that ended.
    pub fn take_done(&mut self) -> Vec<Done> {
        std::mem::take(&mut self.done)
    }

    /// Blocks wanted now.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.wants.len()
    }

    fn patience_ends(&self, asked: Asked) -> Instant {
        let heard = self
            .peers
            .progress(&asked.peer)
            .map_or(asked.at, |at| at.max(asked.at));
        (heard + self.limits.silence).min(asked.at + self.limits.longest)
    }

    fn say(&mut self, peer: PeerId, want: WireWant) {
        self.outgoing.entry(peer).or_default().push(want);
    }

    /// Makes wants active while there is room, and asks peers who have room again.
    fn fill(&mut self, now: Instant) {
        loop {
            while self.active < self.limits.active
                && let Some(cid) = self.waiting.pop_front()
            {
                if let Some(want) = self.wants.get_mut(&cid)
                    && !want.active
                {
                    want.active = true;
                    self.active += 1;
                    self.advance(cid, now);
                }
            }
            let stalled = self.peers.take_stalled(self.limits.per_peer);
            if stalled.is_empty() {
                return;
            }
            for cid in stalled {
                self.advance(cid, now);
            }
        }
    }

    /// Asks a peer for the block if none is asked, and others whether they have it.
    fn advance(&mut self, cid: Cid, now: Instant) {
        let Some(want) = self.wants.get_mut(&cid) else {
            return;
        };
        let peers = &mut self.peers;
        for (peer, standing) in &mut want.candidates {
            if peers.is_bad(peer, self.limits.unwanted) {
                *standing = Standing::Failed;
            }
        }
        let eligible = || want.candidates.iter().filter(|(_, s)| s.may_give());
        if want.asked.is_none() {
            let best = eligible()
                .filter(|(peer, _)| peers.asked(peer) < self.limits.per_peer)
                .min_by_key(|(peer, standing)| (*standing != Standing::Has, peers.asked(peer)));
            match best {
                Some((peer, _)) => {
                    let peer = *peer;
                    want.asked = Some(Asked { peer, at: now });
                    peers.ask(peer, now);
                    if let Some(standing @ Standing::Unasked) = want.standing(&peer) {
                        *standing = Standing::Asked;
                    }
                    let wire = WireWant::new(cid, WantKind::Block, 1);
                    self.outgoing.entry(peer).or_default().push(wire);
                }
                None if eligible().next().is_none() => return self.fail(cid),
                None => {
                    for (peer, _) in eligible() {
                        peers.stall(*peer, cid);
                    }
                }
            }
        }
        let asked = |(_, s): &&(PeerId, Standing)| matches!(s, Standing::Asked | Standing::Has);
        let known = want.candidates.iter().filter(asked).count();
        let more = self.limits.fan_out.saturating_sub(known);
        let unasked = want
            .candidates
            .iter_mut()
            .filter(|(_, s)| *s == Standing::Unasked);
        for (peer, standing) in unasked.take(more) {
            *standing = Standing::Asked;
            let wire = WireWant::new(cid, WantKind::Have, 1);
            self.outgoing.entry(*peer).or_default().push(wire);
        }
    }

    /// The peer does not give this block.
    fn out(&mut self, cid: Cid, peer: &PeerId, why: Standing, now: Instant) {
        let Some(want) = self.wants.get_mut(&cid) else {
            return;
        };
        if let Some(standing) = want.standing(peer) {
            *standing = why;
        }
        if want.asked.is_some_and(|asked| asked.peer == *peer) {
            want.asked = None;
            self.peers.answered(peer);
        }
        if want.active {
            self.advance(cid, now);
            self.fill(now);
        }
    }

    fn out_of_all(&mut self, peer: &PeerId, now: Instant) {
        let concerned: Vec<Cid> = self
            .wants
            .iter()
            .filter(|(_, want)| {
                want.candidates
                    .iter()
                    .any(|(p, s)| p == peer && s.may_give())
            })
            .map(|(cid, _)| *cid)
            .collect();
        for cid in concerned {
            self.out(cid, peer, Standing::Failed, now);
        }
    }

    /// Whoever calls this fills the room it leaves.
    fn fail(&mut self, cid: Cid) {
        if let Some(want) = self.end(cid, None) {
            self.done.push(Done {
                cid,
                sessions: want.sessions,
                result: Err(FetchError::NotFound(cid)),
            });
        }
    }

    /// Ends a want and takes it back from all who were asked, but not from who fulfilled it.
    fn end(&mut self, cid: Cid, by: Option<PeerId>) -> Option<Want> {
        let want = self.wants.remove(&cid)?;
        if want.active {
            self.active -= 1;
        }
        if let Some(asked) = want.asked {
            self.peers.answered(&asked.peer);
        }
        for (peer, standing) in &want.candidates {
            if matches!(standing, Standing::Asked | Standing::Has) && by != Some(*peer) {
                self.say(*peer, WireWant::cancel(cid));
            }
        }
        self.recent.insert(cid);
        Some(want)
    }
}

/// The names of the last wants that ended, to know a late block from an unwanted one.
#[derive(Debug, Default)]
struct Recent {
    order: VecDeque<Cid>,
    names: HashMap<Cid, u32>,
}

impl Recent {
    const KEPT: usize = 4096;

    fn contains(&self, cid: &Cid) -> bool {
        self.names.contains_key(cid)
    }

    fn insert(&mut self, cid: Cid) {
        self.order.push_back(cid);
        *self.names.entry(cid).or_default() += 1;
        if self.order.len() > Self::KEPT
            && let Some(oldest) = self.order.pop_front()
            && let Some(count) = self.names.get_mut(&oldest)
        {
            *count -= 1;
            if *count == 0 {
                self.names.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
