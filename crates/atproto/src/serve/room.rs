//! Room for connections: how many there may be in all, how many from one client, and which go when there is none left.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::limits::{may_be_proxy, network};

/// The connections of all listeners.
pub(super) struct Room {
    max: usize,
    per_client: usize,
    trusted: Vec<IpAddr>,
    opened: Instant,
    guests: Mutex<Guests>,
    left: Notify,
}

#[derive(Default)]
struct Guests {
    next: u64,
    all: HashMap<u64, Arc<Guest>>,
    /// Connections of each client that is counted.
    connections: HashMap<IpAddr, usize>,
    /// Requests at one time of each client that comes through a proxy.
    requests: HashMap<IpAddr, usize>,
}

/// A connection.
struct Guest {
    /// Whose; none of those who may come for others.
    client: Option<IpAddr>,
    /// Requests that have come whole and are being answered, and what is no HTTP any more.
    busy: AtomicUsize,
    /// Since when it has had none, in milliseconds since the room opened.
    since: AtomicU64,
    /// Whether a request has begun.
    has_asked: AtomicBool,
    /// Told when it has to go.
    go: Notify,
}

/// What becomes of a connection that wants in.
pub(super) enum Entry {
    /// It is in.
    Seat(Seat),
    /// Its client has as many as it may, all of them with work.
    TooMany,
    /// All have work: whoever waits gets room when one leaves.
    Full,
}

impl Room {
    /// For `max` connections, of which one client has `per_client`. Proxies, which are those nearby and `trusted`, may
    /// have as many as there are.
    pub fn new(max: usize, per_client: usize, trusted: Vec<IpAddr>) -> Arc<Self> {
        Arc::new(Self {
            max: max.max(1),
            per_client: per_client.max(1),
            trusted,
            opened: Instant::now(),
            guests: Mutex::default(),
            left: Notify::new(),
        })
    }

    /// Lets a connection in. For a client that has as many as it may, and when the room is full, the one goes that has
    /// been longest without a whole request.
    pub fn enter(self: &Arc<Self>, peer: IpAddr) -> Entry {
        let peer = peer.to_canonical();
        let counted = !may_be_proxy(peer, &self.trusted);
        let client = counted.then(|| network(peer));
        let mut guests = self.guests.lock();
        if let Some(client) = client
            && guests.connections.get(&client).copied().unwrap_or_default() >= self.per_client
            && !guests.shed(|guest| guest.client == Some(client))
        {
            return Entry::TooMany;
        }
        if guests.all.len() >= self.max && !guests.shed(|_| true) {
            return Entry::Full;
        }
        let guest = Arc::new(Guest {
            client,
            busy: AtomicUsize::new(0),
            since: AtomicU64::new(self.now()),
            has_asked: AtomicBool::new(false),
            go: Notify::new(),
        });
        let id = guests.next;
        guests.next += 1;
        guests.all.insert(id, Arc::clone(&guest));
        if let Some(client) = client {
            *guests.connections.entry(client).or_default() += 1;
        }
        Entry::Seat(Seat {
            room: Arc::clone(self),
            id,
            guest,
        })
    }

    /// The same, when there is room: waits until then.
    pub async fn enter_when_possible(self: &Arc<Self>, peer: IpAddr) -> Option<Seat> {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            // From here on nobody leaves unnoticed.
            left.as_mut().enable();
            match self.enter(peer) {
                Entry::Seat(seat) => return Some(seat),
                Entry::TooMany => return None,
                Entry::Full => left.await,
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Guests {
    /// Sends away whoever of those that `may_go` has waited longest; false when all of them have work.
    fn shed(&mut self, may_go: impl Fn(&Guest) -> bool) -> bool {
        let idle = self
            .all
            .iter()
            .filter(|(_, guest)| guest.busy.load(Ordering::Acquire) == 0 && may_go(guest));
        let longest = idle.min_by_key(|(id, guest)| (guest.since.load(Ordering::Acquire), **id));
        let Some(id) = longest.map(|(id, _)| *id) else {
            return false;
        };
        if let Some(guest) = self.remove(id) {
            guest.go.notify_one();
        }
        true
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Guest>> {
        let guest = self.all.remove(&id)?;
        if let Some(client) = guest.client {
            leave(&mut self.connections, client);
        }
        Some(guest)
    }
}

fn leave(counts: &mut HashMap<IpAddr, usize>, client: IpAddr) {
    if let Some(count) = counts.get_mut(&client) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&client);
        }
    }
}

/// A connection's place in the room, until it is dropped.
pub(super) struct Seat {
    room: Arc<Room>,
    id: u64,
    guest: Arc<Guest>,
}

impl Seat {
    /// Completes when the connection has to go.
    pub async fn told_to_go(&self) {
        self.guest.go.notified().await;
    }

    /// Whether a request has begun.
    pub fn has_asked(&self) -> bool {
        self.guest.has_asked.load(Ordering::Acquire)
    }

    /// A request of the client `from`; `None` when that client, who comes through a proxy, has as many at one time as
    /// others may have connections.
    pub fn exchange(self: &Arc<Self>, from: IpAddr) -> Option<Arc<Exchange>> {
        self.guest.has_asked.store(true, Ordering::Release);
        let room = &self.room;
        let forwarded = self.guest.client.is_none() && !may_be_proxy(from, &room.trusted);
        let forwarded = forwarded.then(|| network(from));
        if let Some(client) = forwarded {
            let mut guests = room.guests.lock();
            let count = guests.requests.entry(client).or_default();
            if *count >= room.per_client {
                return None;
            }
            *count += 1;
        }
        Some(Arc::new(Exchange {
            seat: Arc::clone(self),
            is_whole: AtomicBool::new(false),
            forwarded,
        }))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.guests.lock().remove(self.id);
        self.room.left.notify_waiters();
    }
}

/// A request and its answer, until it is dropped; or what the connection has become by it.
pub(crate) struct Exchange {
    seat: Arc<Seat>,
    is_whole: AtomicBool,
    forwarded: Option<IpAddr>,
}

impl Exchange {
    /// Says that all of the request has come.
    pub fn complete(&self) {
        if !self.is_whole.swap(true, Ordering::AcqRel) {
            self.seat.guest.busy.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let (guest, room) = (&self.seat.guest, &self.seat.room);
        if self.is_whole.load(Ordering::Acquire) {
            guest.since.store(room.now(), Ordering::Release);
            guest.busy.fetch_sub(1, Ordering::AcqRel);
        }
        if let Some(client) = self.forwarded {
            leave(&mut room.guests.lock().requests, client);
        }
        // Who found all at work may now find one that is not.
        room.left.notify_waiters();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn seat(room: &Arc<Room>, peer: &str) -> Arc<Seat> {
        match room.enter(ip(peer)) {
            Entry::Seat(seat) => Arc::new(seat),
            Entry::TooMany => panic!("{peer} has too many"),
            Entry::Full => panic!("the room is full"),
        }
    }

    async fn is_gone(seat: &Seat) -> bool {
        let told = seat.told_to_go();
        tokio::time::timeout(std::time::Duration::from_millis(20), told)
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn one_client_displaces_itself_and_nobody_else() {
        let room = Room::new(100, 2, Vec::new());
        let other = seat(&room, "192.0.2.9");
        let first = seat(&room, "2001:db8::1");
        let second = seat(&room, "2001:db8::2");
        let third = seat(&room, "2001:db8::ffff:3");
        assert!(is_gone(&first).await);
        assert!(!is_gone(&second).await && !is_gone(&third).await && !is_gone(&other).await);
        // Another network is another client.
        seat(&room, "2001:db8:0:1::1");
        let work: Vec<_> = [&second, &third]
            .iter()
            .map(|seat| {
                let exchange = seat.exchange(ip("2001:db8::2")).unwrap();
                exchange.complete();
                exchange
            })
            .collect();
        assert!(matches!(room.enter(ip("2001:db8::5")), Entry::TooMany));
        drop(work);
        seat(&room, "2001:db8::5");
    }

    #[tokio::test]
    async fn who_has_waited_longest_makes_room() {
        let room = Room::new(3, 3, Vec::new());
        let working = seat(&room, "192.0.2.1");
        let exchange = working.exchange(ip("192.0.2.1")).unwrap();
        exchange.complete();
        let silent = seat(&room, "192.0.2.2");
        let trickling = seat(&room, "192.0.2.3");
        let _half = trickling.exchange(ip("192.0.2.3")).unwrap();
        let fourth = seat(&room, "192.0.2.4");
        assert!(is_gone(&silent).await);
        let fifth = seat(&room, "192.0.2.5");
        assert!(is_gone(&trickling).await);
        assert!(!is_gone(&working).await);
        for seat in [&fourth, &fifth] {
            let exchange = seat.exchange(ip("192.0.2.4")).unwrap();
            exchange.complete();
            std::mem::forget(exchange);
        }
        assert!(matches!(room.enter(ip("192.0.2.6")), Entry::Full));
        let waiting = tokio::spawn({
            let room = Arc::clone(&room);
            async move { room.enter_when_possible(ip("192.0.2.6")).await.is_some() }
        });
        tokio::task::yield_now().await;
        drop(exchange);
        assert!(waiting.await.unwrap());
        assert!(is_gone(&working).await);
    }

    #[tokio::test]
    async fn behind_a_proxy_requests_count() {
        let room = Room::new(100, 2, vec![ip("203.0.113.1")]);
        for proxy in ["127.0.0.1", "::ffff:10.0.0.7", "203.0.113.1"] {
            let all: Vec<_> = (0..10).map(|_| seat(&room, proxy)).collect();
            let [client, other] = [ip("192.0.2.1"), ip("192.0.2.2")];
            let one = all[0].exchange(client).unwrap();
            let _two = all[1].exchange(client).unwrap();
            assert!(all[2].exchange(client).is_none());
            assert!(all[2].exchange(other).is_some());
            // The proxy's own requests are not bounded.
            let own: Vec<_> = (0..5)
                .map(|_| all[3].exchange(ip(proxy).to_canonical()))
                .collect();
            assert!(own.iter().all(Option::is_some));
            drop(one);
            assert!(all[2].exchange(client).is_some());
        }
    }
}
