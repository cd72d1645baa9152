//! Peers that are dialed again when they are lost.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;

/// Addresses that are remembered of one peer; the oldest goes first.
pub const MAX_ADDRESSES: usize = 16;

/// A peer that the host wants to be connected with, and where it was found. The caller keeps these between runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPeer {
    /// Who it is.
    #[serde(with = "crate::text")]
    pub peer: PeerId,
    /// Where it may be, the most recent last.
    #[serde(with = "crate::text::list")]
    pub addresses: Vec<Multiaddr>,
}

#[derive(Debug)]
struct Entry {
    addresses: Vec<Multiaddr>,
    failures: u32,
    status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Connected,
    Dialing,
    Waiting(Instant),
}

/// The known peers and when to dial which. Does no IO: the caller tells what happened and asks what is due.
#[derive(Debug, Default)]
pub struct KnownPeers {
    backoff: Backoff,
    peers: HashMap<PeerId, Entry>,
}

impl KnownPeers {
    /// Nobody yet.
    #[must_use]
    pub fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            peers: HashMap::new(),
        }
    }

    /// Adds a peer, or addresses to a peer; it is due at once unless `connected`.
    pub fn insert(&mut self, known: KnownPeer, connected: bool, now: Instant) {
        let entry = self.peers.entry(known.peer).or_insert(Entry {
            addresses: Vec::new(),
            failures: 0,
            status: Status::Waiting(now),
        });
        if connected {
            entry.status = Status::Connected;
        } else if let Status::Waiting(until) = &mut entry.status {
            *until = now;
        }
        for address in known.addresses {
            learn(&mut entry.addresses, address);
        }
    }

    /// Forgets a peer; false if it was not known.
    pub fn remove(&mut self, peer: &PeerId) -> bool {
        self.peers.remove(peer).is_some()
    }

    /// Whether the peer is known.
    #[must_use]
    pub fn contains(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// Whether a connection with the peer stands.
    #[must_use]
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        let entry = self.peers.get(peer);
        entry.is_some_and(|entry| entry.status == Status::Connected)
    }

    /// A known peer answered under an address.
    pub fn learn(&mut self, peer: &PeerId, address: Multiaddr) {
        if let Some(entry) = self.peers.get_mut(peer) {
            learn(&mut entry.addresses, address);
        }
    }

    /// A connection with the peer stands.
    pub fn connected(&mut self, peer: &PeerId) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.status = Status::Connected;
            entry.failures = 0;
        }
    }

    /// The last connection with the peer is gone.
    pub fn lost(&mut self, peer: &PeerId, now: Instant, random: u64) {
        self.failed_from(peer, Status::Connected, now, random);
    }

    /// A dial did not reach the peer.
    pub fn dial_failed(&mut self, peer: &PeerId, now: Instant, random: u64) {
        self.failed_from(peer, Status::Dialing, now, random);
    }

    fn failed_from(&mut self, peer: &PeerId, from: Status, now: Instant, random: u64) {
        if let Some(entry) = self.peers.get_mut(peer)
            && entry.status == from
        {
            entry.failures = entry.failures.saturating_add(1);
            entry.status = Status::Waiting(now + self.backoff.delay(entry.failures, random));
        }
    }

    /// There is reason to believe that the peer can be reached: if it waits, it is due at once.
    pub fn retry(&mut self, peer: &PeerId, now: Instant) {
        if let Some(entry) = self.peers.get_mut(peer)
            && let Status::Waiting(until) = &mut entry.status
        {
            *until = now;
        }
    }

    /// As [`KnownPeers::retry`], for all of them.
    pub fn retry_all(&mut self, now: Instant) {
        for entry in self.peers.values_mut() {
            if let Status::Waiting(until) = &mut entry.status {
                *until = now.min(*until);
            }
        }
    }

    /// Whom to dial now, and where. They count as being dialed until one of the other calls says more.
    pub fn due(&mut self, now: Instant) -> Vec<KnownPeer> {
        let mut due = Vec::new();
        for (peer, entry) in &mut self.peers {
            if matches!(entry.status, Status::Waiting(until) if until <= now) {
                entry.status = Status::Dialing;
                due.push(KnownPeer {
                    peer: *peer,
                    addresses: entry.addresses.clone(),
                });
            }
        }
        due
    }

    /// How long until somebody is due; none if nobody waits.
    #[must_use]
    pub fn next_due(&self, now: Instant) -> Option<Duration> {
        let waiting = self.peers.values().filter_map(|entry| match entry.status {
            Status::Waiting(until) => Some(until.saturating_duration_since(now)),
            Status::Connected | Status::Dialing => None,
        });
        waiting.min()
    }

    /// All of them, ordered by peer, for the caller to keep.
    #[must_use]
    pub fn list(&self) -> Vec<KnownPeer> {
        let mut list: Vec<_> = self
            .peers
            .iter()
            .map(|(peer, entry)| KnownPeer {
                peer: *peer,
                addresses: entry.addresses.clone(),
            })
            .collect();
        list.sort_by_key(|known| known.peer);
        list
    }
}

fn learn(addresses: &mut Vec<Multiaddr>, address: Multiaddr) {
    addresses.retain(|known| *known != address);
    if addresses.len() >= MAX_ADDRESSES {
        addresses.remove(0);
    }
    addresses.push(address);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(port: u16) -> KnownPeer {
        KnownPeer {
            peer: PeerId::random(),
            addresses: vec![address(port)],
        }
    }

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn a_lost_peer_is_dialed_later_and_later_until_it_is_back() {
        let mut peers = KnownPeers::new(Backoff {
            first: Duration::from_secs(2),
            longest: Duration::from_secs(60),
        });
        let start = Instant::now();
        let one = known(1);
        peers.insert(one.clone(), false, start);
        assert_eq!(peers.due(start), vec![one.clone()]);
        assert_eq!(peers.due(start), vec![], "it is being dialed");
        peers.connected(&one.peer);
        assert_eq!(peers.next_due(start), None);
        peers.lost(&one.peer, start, 0);
        let mut now = start;
        for wait in [1, 2, 4] {
            let wait = Duration::from_secs(wait);
            assert_eq!(peers.next_due(now), Some(wait));
            assert_eq!(peers.due(now + wait - Duration::from_millis(1)), vec![]);
            now += wait;
            assert_eq!(peers.due(now).len(), 1);
            peers.dial_failed(&one.peer, now, 0);
        }
        peers.connected(&one.peer);
        peers.lost(&one.peer, now, 0);
        assert_eq!(peers.next_due(now), Some(Duration::from_secs(1)));
        peers.retry(&one.peer, now);
        assert_eq!(peers.due(now).len(), 1);
        peers.dial_failed(&one.peer, now, 0);
        peers.retry_all(now);
        assert_eq!(peers.due(now).len(), 1);
        peers.retry_all(now);
        assert_eq!(peers.due(now), vec![], "it is being dialed");
    }

    #[test]
    fn a_failed_second_dial_does_not_end_a_connection() {
        let mut peers = KnownPeers::default();
        let now = Instant::now();
        let one = known(1);
        peers.insert(one.clone(), false, now);
        peers.due(now);
        peers.connected(&one.peer);
        peers.dial_failed(&one.peer, now, 0);
        assert_eq!(peers.next_due(now), None);
    }

    #[test]
    fn addresses_are_bounded_and_the_newest_stay() {
        let mut peers = KnownPeers::default();
        let one = known(1);
        peers.insert(one.clone(), false, Instant::now());
        for port in 2..40 {
            peers.learn(&one.peer, address(port));
        }
        peers.learn(&one.peer, address(39));
        let addresses = &peers.list()[0].addresses;
        assert_eq!(addresses.len(), MAX_ADDRESSES);
        assert_eq!(addresses.last(), Some(&address(39)));
        assert_eq!(addresses.first(), Some(&address(24)));
    }

    #[test]
    fn is_kept_as_text() {
        let one = known(7);
        let text = serde_json::to_string(&one).unwrap();
        assert!(text.contains("/ip4/127.0.0.1/tcp/7"), "{text}");
        assert_eq!(serde_json::from_str::<KnownPeer>(&text).unwrap(), one);
    }
}
