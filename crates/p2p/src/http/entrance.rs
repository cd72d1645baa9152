//! The web server's side: who may come in, and how many.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::arrivals::{Arrival, Arrivals};
use crate::config::Limits;

/// Upgraded connections that wait for the host to take them.
const WAITING: usize = 64;

/// No place is left for a connection; another is free when one ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Full {
    /// For nobody.
    #[error("too many connections come in by HTTP")]
    All,
    /// For nobody at this address.
    #[error("too many connections come in by HTTP from this address")]
    Address,
}

/// Where a web server hands connections over. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Entrance {
    arrivals: mpsc::Sender<Arrival>,
    places: Arc<Places>,
}

impl Entrance {
    /// An entrance, and where the connections come out.
    pub(crate) fn new(limits: &Limits) -> (Self, Arrivals) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let places = Places {
            all: limits.http_connections,
            per_address: limits.http_connections_per_address,
            taken: Mutex::default(),
        };
        let entrance = Self {
            arrivals: sender,
            places: Arc::new(places),
        };
        (entrance, Arrivals::new(receiver))
    }

    /// A place for a connection from somewhere, to be had before its request is answered. It is free again once the
    /// connection has ended, or the place is dropped.
    ///
    /// # Errors
    /// [`Limits::http_connections`] are there, or [`Limits::http_connections_per_address`] from this address. Addresses of the
    /// machine and of private networks, which may be a proxy's, count for the former only.
    pub fn place(&self, from: SocketAddr) -> Result<Place, Full> {
        let taken = Taken::new(&self.places, from.ip())?;
        Ok(Place {
            arrivals: self.arrivals.clone(),
            from,
            taken,
        })
    }
}

/// The right of one connection to come in.
#[derive(Debug)]
pub struct Place {
    arrivals: mpsc::Sender<Arrival>,
    from: SocketAddr,
    taken: Taken,
}

impl Place {
    /// Lets an upgraded connection in. It is closed if the host has stopped, or more come than it takes up.
    pub fn enter(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let arrival = Arrival {
            stream: Box::new(stream),
            from: self.from,
            taken: self.taken,
        };
        if self.arrivals.try_send(arrival).is_err() {
            tracing::debug!(from = %self.from, "a connection by HTTP was not taken up");
        }
    }
}

#[derive(Debug)]
struct Places {
    all: usize,
    per_address: usize,
    taken: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One place, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    places: Arc<Places>,
    address: Option<IpAddr>,
}

impl Taken {
    fn new(places: &Arc<Places>, from: IpAddr) -> Result<Self, Full> {
        let address = one_subscriber(from);
        let mut counts = places.taken.lock();
        if counts.all >= places.all {
            return Err(Full::All);
        }
        if let Some(address) = address {
            let here = counts.by_address.entry(address).or_default();
            if *here >= places.per_address {
                return Err(Full::Address);
            }
            *here += 1;
        }
        counts.all += 1;
        Ok(Self {
            places: Arc::clone(places),
            address,
        })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut counts = self.places.taken.lock();
        counts.all = counts.all.saturating_sub(1);
        if let Some(address) = self.address
            && let Some(here) = counts.by_address.get_mut(&address)
        {
            *here = here.saturating_sub(1);
            if *here == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

/// What counts as one address: an IPv6 subscriber has a whole /64. None for those that may stand for many.
fn one_subscriber(from: IpAddr) -> Option<IpAddr> {
    match from.to_canonical() {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_private() || ip.is_link_local() => None,
        IpAddr::V6(ip)
            if ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() =>
        {
            None
        }
        IpAddr::V4(ip) => Some(ip.into()),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Some(IpAddr::from([a, b, c, d, 0, 0, 0, 0]))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn entrance(all: usize, per_address: usize) -> Entrance {
        let limits = Limits {
            http_connections: all,
            http_connections_per_address: per_address,
            ..Limits::default()
        };
        Entrance::new(&limits).0
    }

    #[test]
    fn places_are_bounded_for_all_and_for_each_address() {
        let entrance = entrance(4, 2);
        let from = |text: &str| entrance.place(text.parse().unwrap());
        let one = from("192.0.2.1:1").unwrap();
        let _two = from("192.0.2.1:2").unwrap();
        assert_eq!(from("192.0.2.1:3").unwrap_err(), Full::Address);
        drop(one);
        let _one = from("192.0.2.1:4").unwrap();
        let _three = from("[2001:db8::1]:1").unwrap();
        let four = from("[2001:db8::2]:1").unwrap();
        assert_eq!(from("198.51.100.1:1").unwrap_err(), Full::All);
        drop(four);
        from("198.51.100.1:1").unwrap();
    }

    #[test]
    fn a_subscriber_has_a_whole_network_and_a_proxy_stands_for_many() {
        let entrance = entrance(9, 1);
        let from = |text: &str| entrance.place(text.parse().unwrap());
        let kept = [
            from("[2001:db8::1]:1").unwrap(),
            from("127.0.0.1:1").unwrap(),
            from("127.0.0.1:2").unwrap(),
            from("10.0.0.1:1").unwrap(),
            from("10.0.0.1:2").unwrap(),
        ];
        assert_eq!(from("[2001:db8::2]:1").unwrap_err(), Full::Address);
        assert!(from("[2001:db8:0:1::1]:1").is_ok());
        drop(kept);
        let counts = entrance.places.taken.lock();
        assert_eq!((counts.all, counts.by_address.len()), (0, 0));
    }
}
