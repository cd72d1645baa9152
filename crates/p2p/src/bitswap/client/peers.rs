//! What the asking side knows of each peer.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use libp2p::PeerId;
use ues_data::Cid;

#[derive(Debug, Default)]
struct Peer {
    /// Blocks it is asked for now.
    asked: usize,
    /// When it last gave a block that was wanted.
    progress: Option<Instant>,
    /// Blocks it sent that nobody wanted.
    unwanted: u32,
    /// Blocks to be asked of it, or of others, once there is room.
    stalled: HashSet<Cid>,
}

/// The peers that were asked or sent something.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: HashMap<PeerId, Peer>,
}

impl Peers {
    pub(super) fn asked(&self, peer: &PeerId) -> usize {
        self.peers.get(peer).map_or(0, |p| p.asked)
    }

    pub(super) fn ask(&mut self, peer: PeerId, now: Instant) {
        let entry = self.peers.entry(peer).or_default();
        if entry.asked == 0 {
            entry.progress = Some(now);
        }
        entry.asked += 1;
    }

    pub(super) fn answered(&mut self, peer: &PeerId) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.asked = entry.asked.saturating_sub(1);
        }
    }

    pub(super) fn progressed(&mut self, peer: PeerId, now: Instant) {
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.progress = Some(now);
        }
    }

    pub(super) fn progress(&self, peer: &PeerId) -> Option<Instant> {
        self.peers.get(peer).and_then(|p| p.progress)
    }

    /// Counts a block that nobody wanted, and tells how many there were.
    pub(super) fn unwanted(&mut self, peer: PeerId) -> u32 {
        let entry = self.peers.entry(peer).or_default();
        entry.unwanted = entry.unwanted.saturating_add(1);
        entry.unwanted
    }

    pub(super) fn is_bad(&self, peer: &PeerId, limit: u32) -> bool {
        self.peers.get(peer).is_some_and(|p| p.unwanted > limit)
    }

    pub(super) fn stall(&mut self, peer: PeerId, cid: Cid) {
        self.peers.entry(peer).or_default().stalled.insert(cid);
    }

    /// Blocks that can be asked for now that a peer has room.
    pub(super) fn take_stalled(&mut self, limit: usize) -> Vec<Cid> {
        let mut ready = Vec::new();
        for peer in self.peers.values_mut() {
            let room = limit.saturating_sub(peer.asked);
            let some: Vec<Cid> = peer.stalled.iter().take(room).copied().collect();
            for cid in &some {
                peer.stalled.remove(cid);
            }
            ready.extend(some);
        }
        ready
    }

    pub(super) fn remove(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
    }
}
