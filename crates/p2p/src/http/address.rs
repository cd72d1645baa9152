//! Addresses of hosts that are reached by HTTP.

use std::net::IpAddr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Where a web server takes connections.
pub const PATH: &str = "/p2p";

/// The address of a host whose web server is `host`, a name or an IP address, with TLS or without.
#[must_use]
pub fn address(host: &str, port: u16, tls: bool) -> Multiaddr {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let first = match bare.parse() {
        Ok(IpAddr::V4(ip)) => Protocol::Ip4(ip),
        Ok(IpAddr::V6(ip)) => Protocol::Ip6(ip),
        Err(_) => Protocol::Dns(host.into()),
    };
    let mut address = Multiaddr::from(first).with(Protocol::Tcp(port));
    if tls {
        address.push(Protocol::Tls);
    }
    address
        .with(Protocol::Ws("/".into()))
        .with(Protocol::HttpPath(PATH.trim_start_matches('/').into()))
}

/// Whether it leads through a web server. Then its first part may be that of a proxy.
pub(crate) fn is_over_http(address: &Multiaddr) -> bool {
    address
        .iter()
        .any(|part| matches!(part, Protocol::HttpPath(_)))
}

/// The same with the path where the WebSocket transport looks for it; none if the address has no path.
pub(super) fn with_path_inside(address: &Multiaddr) -> Option<Multiaddr> {
    let mut parts = address.iter().peekable();
    let mut out = Multiaddr::empty();
    let mut found = false;
    while let Some(part) = parts.next() {
        match (&part, parts.peek()) {
            (Protocol::Ws(root), Some(Protocol::HttpPath(path))) if root == "/" => {
                out.push(Protocol::Ws(format!("/{path}").into()));
                found = true;
                parts.next();
            }
            _ => out.push(part),
        }
    }
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn names_and_numbers_have_addresses_that_others_read() {
        for (host, port, tls, expected) in [
            (
                "example.org",
                443,
                true,
                "/dns/example.org/tcp/443/tls/ws/http-path/p2p",
            ),
            (
                "192.0.2.1",
                80,
                false,
                "/ip4/192.0.2.1/tcp/80/ws/http-path/p2p",
            ),
            ("[::1]", 2583, false, "/ip6/::1/tcp/2583/ws/http-path/p2p"),
        ] {
            let address = address(host, port, tls);
            assert_eq!(address.to_string(), expected);
            assert_eq!(expected.parse::<Multiaddr>().unwrap(), address);
            assert!(is_over_http(&address));
        }
        assert!(!is_over_http(&"/ip4/192.0.2.1/tcp/1/ws".parse().unwrap()));
    }

    #[test]
    fn the_path_goes_where_it_is_looked_for() {
        let peer = libp2p::PeerId::random();
        let address: Multiaddr = format!("/dns/a.test/tcp/1/tls/ws/http-path/a%2Fb/p2p/{peer}")
            .parse()
            .unwrap();
        let inside = with_path_inside(&address).unwrap();
        assert_eq!(
            inside.to_string(),
            format!("/dns/a.test/tcp/1/tls/x-parity-ws/%2Fa%2Fb/p2p/{peer}")
        );
        for plain in ["/dns/a.test/tcp/1/tls/ws", "/dns/a.test/tcp/1"] {
            assert_eq!(with_path_inside(&plain.parse().unwrap()), None);
        }
    }
}
