//! Which addresses are worth telling and remembering.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Ways through relays that have a place among addresses that are told, however many others there are.
const KEPT_FOR_RELAYS: usize = 2;

/// Whether it leads through a relay.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// Whether it leads no further than this machine.
pub(crate) fn is_loopback(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) => {
            name == "localhost"
        }
        _ => false,
    }
}

/// Whether it means something only together with the name of an interface.
fn is_link_local(address: &Multiaddr) -> bool {
    matches!(address.iter().next(), Some(Protocol::Ip6(ip)) if ip.is_unicast_link_local())
}

/// At most `limit` of the addresses of this host for somebody who may be anywhere: those known to be reached from outside, those
/// of the local network, those through relays, and its loopback only if there is room left.
pub(crate) fn to_tell(
    external: &[Multiaddr],
    listening: &[Multiaddr],
    limit: usize,
) -> Vec<Multiaddr> {
    let mut direct = Vec::new();
    let mut relayed = Vec::new();
    let mut loopback = Vec::new();
    for address in external.iter().chain(listening) {
        let list = if is_relayed(address) {
            &mut relayed
        } else if is_loopback(address) {
            &mut loopback
        } else if is_link_local(address) {
            continue;
        } else {
            &mut direct
        };
        if !list.contains(address) {
            list.push(address.clone());
        }
    }
    direct.truncate(limit.saturating_sub(relayed.len().min(KEPT_FOR_RELAYS)));
    direct.extend(relayed);
    direct.extend(loopback);
    direct.truncate(limit);
    direct
}

/// At most `limit` of the addresses that a peer tells of itself, those through relays last, which is where the most recent
/// are. Its loopback is not ours, unless it is on this machine (`nearby`).
pub(crate) fn to_remember(told: &[Multiaddr], nearby: bool, limit: usize) -> Vec<Multiaddr> {
    let useful = |address: &&Multiaddr| {
        !address.is_empty() && !is_link_local(address) && (nearby || !is_loopback(address))
    };
    let (relayed, mut kept): (Vec<_>, Vec<_>) =
        told.iter().filter(useful).cloned().partition(is_relayed);
    kept.truncate(limit.saturating_sub(relayed.len().min(KEPT_FOR_RELAYS)));
    kept.extend(relayed);
    kept.truncate(limit);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(list: &[&str]) -> Vec<Multiaddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    const RELAY: &str =
        "/ip4/45.0.0.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit";

    #[test]
    fn a_relay_is_told_of_though_there_are_many_others() {
        let listening = all(&[
            "/ip4/127.0.0.1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip4/192.168.1.2/tcp/1",
            "/ip4/172.17.0.1/tcp/1",
            "/ip4/172.18.0.1/tcp/1",
            RELAY,
        ]);
        let external = all(&["/ip4/45.0.0.9/tcp/1", RELAY]);
        let told = to_tell(&external, &listening, 3);
        let expected = ["/ip4/45.0.0.9/tcp/1", "/ip4/192.168.1.2/tcp/1", RELAY];
        assert_eq!(told, all(&expected));
        assert_eq!(to_tell(&external, &listening, 9).len(), 6);
        let alone = all(&["/ip4/127.0.0.1/tcp/1"]);
        assert_eq!(to_tell(&[], &alone, 6), alone);
    }

    #[test]
    fn the_loopback_of_others_is_not_remembered() {
        let told = all(&[RELAY, "/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.2/tcp/1"]);
        let far = all(&["/ip4/192.168.1.2/tcp/1", RELAY]);
        assert_eq!(to_remember(&told, false, 8), far);
        assert_eq!(to_remember(&told, true, 8).len(), 3);
        let named = all(&["/dns/localhost/tcp/1/ws", "/dns/example.org/tcp/1"]);
        assert_eq!(to_remember(&named, false, 8), named[1..]);
        assert_eq!(to_remember(&told, false, 1), all(&[RELAY]));
    }
}
