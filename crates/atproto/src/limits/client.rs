//! Which address a request comes from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use http::Extensions;
use http::HeaderMap;

/// The client's address. `x-forwarded-for` is believed only from a proxy on a local network or in
/// `trusted`, and only as far as the chain of such proxies goes.
pub fn client_ip(extensions: &Extensions, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    let peer = extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |info| info.0.ip());
    let mut address = peer.to_canonical();
    let chain = headers.get_all("x-forwarded-for");
    let hops = chain
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','));
    // The last hop is the one nearest to us.
    let hops: Vec<&str> = hops.collect();
    for hop in hops.iter().rev().take(16) {
        if !may_be_proxy(address, trusted) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(next) => address = next.to_canonical(),
            Err(_) => break,
        }
    }
    address
}

/// What counts as one client: an IPv6 subscriber has a whole /64.
pub fn limit_key(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// Whether requests from an address may be those of others, whom it names.
pub fn may_be_proxy(address: IpAddr, trusted: &[IpAddr]) -> bool {
    is_local(address) || trusted.contains(&address)
}

/// The addresses that count as one client: of IPv6, the first of its /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(peer: &str, forwarded: &str) -> String {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        client_ip(&extensions, &headers, &[]).to_string()
    }

    #[test]
    fn a_proxy_nearby_is_believed_and_a_stranger_is_not() {
        assert_eq!(ip("127.0.0.1", "1.2.3.4"), "1.2.3.4");
        assert_eq!(ip("8.8.8.8", "1.2.3.4"), "8.8.8.8");
        assert_eq!(ip("127.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.1"), "1.2.3.4");
        assert_eq!(ip("127.0.0.1", "nonsense"), "127.0.0.1");
    }
}
