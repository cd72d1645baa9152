#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use proptest::prelude::*;

use super::super::testing;
use super::*;

/// The key of `testing::key(1)` as libp2p writes it.
fn peer_id(key: &VerifyingKey) -> PeerId {
    let bytes = [PEER_ID_PREFIX.as_slice(), &key.to_bytes()].concat();
    PeerId::from_bytes(&bytes).unwrap()
}

fn link(addresses: &[&str]) -> Result<JoinLink, LinkError> {
    let addresses: Vec<String> = addresses.iter().map(|a| (*a).to_owned()).collect();
    JoinLink::new(testing::code(), testing::key(1), &addresses)
}

fn read(text: &str) -> LinkError {
    text.parse::<JoinLink>().unwrap_err()
}

#[test]
fn is_written_and_read() {
    let peer = testing::key(1);
    let relayed = format!(
        "/ip4/1.2.3.4/udp/4001/quic-v1/p2p/{}/p2p-circuit/p2p/{}",
        peer_id(&testing::key(2)),
        peer_id(&peer)
    );
    let link = link(&["/ip4/192.168.1.7/udp/4001/quic-v1", &relayed]).unwrap();
    let text = link.reveal();
    let start = format!(
        "ues:join?code=01AZ9-KVT0X&peer={}&addr=/ip4/192.168.1.7/udp/4001/quic-v1&addr=/ip4/",
        peer.did_key()
    );
    assert!(text.starts_with(&start), "{}", text.as_str());
    let back: JoinLink = text.parse().unwrap();
    assert_eq!(back.reveal(), text);
    assert_eq!(back.peer(), &peer);
    assert_eq!(back.addresses()[1], relayed);
    assert!(!format!("{back:?}").contains("01AZ9"));

    let Ticket::Link(ticket) = text.replace("ues:", "UES:").parse().unwrap() else {
        panic!("a link");
    };
    assert_eq!(ticket.reveal(), text);
    let ticket: Ticket = "01az9kvtox".parse().unwrap();
    assert!(matches!(&ticket, Ticket::Code(code) if code.reveal() == testing::code().reveal()));
    assert_eq!(ticket.peer(), None);
}

#[test]
fn all_may_be_escaped() {
    let peer = testing::key(1).did_key().replace(':', "%3A");
    let text = format!("ues:join?addr=%2Fip4%2f1.2.3.4%2Ftcp%2F1&peer={peer}&code=01AZ9%2DKVT0X");
    let link: JoinLink = text.parse().unwrap();
    assert_eq!(link.addresses(), ["/ip4/1.2.3.4/tcp/1"]);
}

#[test]
fn refuses_what_is_no_link() {
    let peer = testing::key(1).did_key();
    let good = format!("ues:join?code=01AZ9-KVT0X&peer={peer}");
    assert!(good.parse::<JoinLink>().is_ok(), "addresses may be missing");
    for wrong in [
        "",
        "ues",
        "ues:",
        "ues:joinery?code=1",
        "uesjoin?",
        "https://x/?code=1",
    ] {
        assert_eq!(read(wrong), LinkError::Scheme, "{wrong}");
    }
    let missing = |name| LinkError::Missing { name };
    let twice = |name| LinkError::Twice { name };
    assert_eq!(read("ues:join?code=01AZ9-KVT0X"), missing("peer"));
    assert_eq!(read(&format!("ues:join?peer={peer}")), missing("code"));
    assert_eq!(read(&format!("{good}&peer={peer}")), twice("peer"));
    assert_eq!(read(&format!("{good}&code=01AZ9-KVT0X")), twice("code"));
    for part in ["&", "&x=1", "&addr", "&Code=1", "&co%64e=1"] {
        assert_eq!(read(&format!("{good}{part}")), LinkError::Part, "{part}");
    }
    for part in ["%", "%2", "%zz", "%+1", "%ff"] {
        assert_eq!(
            read(&format!("{good}&addr={part}")),
            LinkError::Escape,
            "{part}"
        );
    }
    for found in [' ', '+', '=', '#', 'ü', '\n'] {
        assert_eq!(
            read(&format!("{good}&addr={found}x")),
            LinkError::Character { found }
        );
    }
    assert!(matches!(read("ues:join?code=1"), LinkError::Code(_)));
    let k256 = "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme";
    for peer in ["", "x", "did:web:x", k256] {
        let text = format!("ues:join?code=01AZ9-KVT0X&peer={peer}");
        assert_eq!(read(&text), LinkError::Peer, "{peer}");
    }
}

#[test]
fn addresses_are_checked_and_counted() {
    let number = 2;
    for wrong in ["", "x", "/ip4/300.1.1.1", "/nothing/1", "/ip4/1.2.3.4/tcp"] {
        let error = link(&["/ip4/1.2.3.4/tcp/1", wrong]).unwrap_err();
        assert!(
            matches!(error, LinkError::Address { number: 2, .. }),
            "{wrong}: {error}"
        );
    }
    let other = format!("/ip4/1.2.3.4/tcp/1/p2p/{}", peer_id(&testing::key(2)));
    assert_eq!(
        link(&["/ip4/1.2.3.4/tcp/1", &other]).unwrap_err(),
        LinkError::OtherPeer { number }
    );
    assert!(link(&["/ip4/1.2.3.4/tcp/1"; 16]).is_ok());
    assert_eq!(
        link(&["/ip4/1.2.3.4/tcp/1"; 17]).unwrap_err(),
        LinkError::Addresses
    );
    let good = link(&["/ip4/1.2.3.4/tcp/1"; 16]).unwrap().reveal();
    let text = format!("{}&addr=/ip4/1.2.3.4/tcp/1", good.as_str());
    assert_eq!(read(&text), LinkError::Addresses);
}

#[test]
fn is_bounded_in_length() {
    let long = format!("/dns4/{}/tcp/1", "a".repeat(2000));
    assert!(matches!(
        link(&[&long]).unwrap_err(),
        LinkError::Length { .. }
    ));
    assert_eq!(
        read(&format!("ues:join?{}", "a".repeat(5000))),
        LinkError::Length { found: 5009 }
    );
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let _ = text.parse::<Ticket>();
        if let Ok(link) = format!("ues:join?{text}").parse::<JoinLink>() {
            prop_assert_eq!(link.reveal().parse::<JoinLink>().unwrap().reveal(), link.reveal());
        }
    }

    #[test]
    fn round_trip(
        random in any::<[u8; Code::RANDOM]>(),
        hosts in proptest::collection::vec(("[a-z0-9ü%&=+ ]{1,20}", any::<u16>()), 0..=16),
    ) {
        let addresses: Vec<String> = hosts.iter().map(|(host, port)| format!("/dns/{host}/tcp/{port}")).collect();
        let link = JoinLink::new(Code::from_random(&random), testing::key(1), &addresses);
        let link = link.unwrap();
        let back: JoinLink = link.reveal().parse().unwrap();
        prop_assert_eq!(back.reveal(), link.reveal());
        prop_assert_eq!(back.addresses(), addresses.as_slice());
    }
}
