#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use proptest::prelude::*;
use ues_data::raw_cid;

use super::*;

fn data(n: u32) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

fn cid(n: u32) -> Cid {
    raw_cid(&data(n))
}

fn peers<const N: usize>() -> [PeerId; N] {
    std::array::from_fn(|_| PeerId::random())
}

fn small() -> ClientLimits {
    ClientLimits {
        active: 4,
        per_peer: 2,
        wanted: 100,
        fan_out: 2,
        silence: Duration::from_secs(5),
        longest: Duration::from_secs(20),
        unwanted: 3,
    }
}

/// Who was asked for blocks, who whether it has them, who was told to forget.
fn sent(client: &mut Client) -> Vec<(PeerId, char, Cid)> {
    let mut all = Vec::new();
    for (peer, wants) in client.take_outgoing() {
        for want in wants {
            let what = match (want.cancel, want.kind) {
                (true, _) => 'c',
                (false, WantKind::Block) => 'b',
                (false, WantKind::Have) => 'h',
            };
            all.push((peer, what, want.cid));
        }
    }
    all
}

fn only(sent: &[(PeerId, char, Cid)], what: char) -> Vec<(PeerId, Cid)> {
    let some = sent.iter().filter(|s| s.1 == what);
    some.map(|s| (s.0, s.2)).collect()
}

fn dont_have(cid: Cid) -> Presence {
    Presence { cid, have: false }
}

#[test]
fn one_is_asked_for_the_block_and_others_whether_they_have_it() {
    let mut client = Client::new(small());
    let [a, b, c] = peers();
    let now = Instant::now();
    client.want(1, cid(1), &[a, b, c], now);
    let first = sent(&mut client);
    assert_eq!(only(&first, 'b'), [(a, cid(1))]);
    assert_eq!(only(&first, 'h'), [(b, cid(1))], "no more than the fan-out");
    // b says no, so c is asked
    client.presence(b, &dont_have(cid(1)), now);
    assert_eq!(sent(&mut client), [(c, 'h', cid(1))]);
    // c has it, a has not: c is asked for the block
    client.presence(
        c,
        &Presence {
            cid: cid(1),
            have: true,
        },
        now,
    );
    assert_eq!(sent(&mut client), []);
    client.presence(a, &dont_have(cid(1)), now);
    assert_eq!(sent(&mut client), [(c, 'b', cid(1))]);
    assert_eq!(client.block(c, cid(1), data(1), now), Arrival::Wanted);
    assert_eq!(sent(&mut client), [], "who gave it needs no cancel");
    let done = client.take_done();
    assert_eq!(done[0].result, Ok(data(1)));
    assert_eq!(done[0].sessions, [1]);
    assert_eq!(client.block(a, cid(1), data(1), now), Arrival::Late);
    assert_eq!(client.block(a, cid(9), data(9), now), Arrival::Unwanted);
}

#[test]
fn nobody_has_it() {
    let mut client = Client::new(small());
    let [a, b] = peers();
    let now = Instant::now();
    client.want(1, cid(1), &[a, b], now);
    client.presence(a, &dont_have(cid(1)), now);
    client.gone(&b, now);
    let not_found = Err(FetchError::NotFound(cid(1)));
    assert_eq!(client.take_done()[0].result, not_found);
    client.want(1, cid(1), &[], now);
    assert_eq!(client.take_done()[0].result, not_found);
    assert_eq!(client.wanted(), 0);
}

#[test]
fn without_peers_any_number_of_wants_ends() {
    let mut client = Client::new(ClientLimits {
        wanted: 100_000,
        ..small()
    });
    let [a] = peers();
    let now = Instant::now();
    for n in 0..50_000 {
        client.want(1, cid(n), &[a], now);
    }
    client.gone(&a, now);
    // those that waited ask the peer once more, who is gone still
    while client.wanted() > 0 {
        assert!(!sent(&mut client).is_empty());
        client.gone(&a, now);
    }
    assert_eq!(client.take_done().len(), 50_000);
}

#[test]
fn a_silent_peer_is_passed_over_and_a_busy_one_is_not() {
    let mut client = Client::new(small());
    let [a, b] = peers();
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    client.want(1, cid(1), &[a], start);
    client.want(1, cid(2), &[a], start);
    sent(&mut client);
    client.add_peer(1, b, start);
    sent(&mut client);
    assert_eq!(client.next_tick(), Some(at(5)));
    // a gives one of two: the other gets more time
    client.block(a, cid(2), data(2), at(4));
    sent(&mut client);
    client.tick(at(8));
    assert_eq!(sent(&mut client), []);
    client.tick(at(9));
    let mut expected = vec![(a, 'c', cid(1)), (b, 'b', cid(1))];
    expected.sort();
    assert_eq!(sent(&mut client), expected);
    // and b too is silent, so nobody is left
    client.tick(at(14));
    assert!(client.take_done().iter().any(|done| done.result.is_err()));
}

#[test]
fn who_feeds_us_other_blocks_cannot_withhold_one_for_ever() {
    let mut client = Client::new(small());
    let [a] = peers();
    let start = Instant::now();
    client.want(1, cid(0), &[a], start);
    for n in 1..=20 {
        let now = start + Duration::from_secs(n.into());
        client.want(1, cid(n), &[a], now);
        client.block(a, cid(n), data(n), now);
        client.tick(now);
    }
    let failed = client.take_done().into_iter().find(|d| d.result.is_err());
    assert_eq!(failed.unwrap().cid, cid(0));
}

#[test]
fn work_is_bounded_and_shared() {
    let mut client = Client::new(small());
    let [a, b] = peers();
    let now = Instant::now();
    for n in 0..10 {
        client.want(1, cid(n), &[a, b], now);
    }
    let mut asked = only(&sent(&mut client), 'b');
    assert_eq!(asked.len(), 4, "two of each");
    assert_eq!(asked.iter().filter(|(peer, _)| *peer == a).count(), 2);
    let mut had = 0;
    while let Some((peer, cid)) = asked.pop() {
        let n = (0..10).find(|n| raw_cid(&data(*n)) == cid).unwrap();
        assert_eq!(client.block(peer, cid, data(n), now), Arrival::Wanted);
        had += 1;
        asked.extend(only(&sent(&mut client), 'b'));
        assert!(asked.len() <= 4);
    }
    assert_eq!(had, 10);
    for n in 0..200 {
        client.want(2, cid(n), &[a], now);
    }
    let refused = client.take_done();
    let busy = refused.iter().filter(|d| d.result == Err(FetchError::Busy));
    assert_eq!(busy.count(), 100);
}

#[test]
fn two_sessions_share_one_question() {
    let mut client = Client::new(small());
    let [a, b] = peers();
    let now = Instant::now();
    client.want(1, cid(1), &[a], now);
    client.want(2, cid(1), &[b], now);
    assert_eq!(only(&sent(&mut client), 'b'), [(a, cid(1))]);
    client.cancel(1, cid(1), now);
    assert_eq!(sent(&mut client), [], "the other still wants it");
    client.cancel(2, cid(1), now);
    assert_eq!(only(&sent(&mut client), 'c').len(), 2);
    assert_eq!(client.wanted(), 0);
}

#[test]
fn who_sends_rubbish_is_asked_no_more() {
    let mut client = Client::new(small());
    let [liar, honest] = peers();
    let now = Instant::now();
    client.want(1, cid(1), &[liar, honest], now);
    assert_eq!(only(&sent(&mut client), 'b'), [(liar, cid(1))]);
    for n in 100..104 {
        assert_eq!(client.block(liar, cid(n), data(n), now), Arrival::Unwanted);
    }
    assert_eq!(only(&sent(&mut client), 'b'), [(honest, cid(1))]);
    client.want(1, cid(2), &[liar, honest], now);
    let next = sent(&mut client);
    assert_eq!(only(&next, 'b'), [(honest, cid(2))]);
    assert_eq!(only(&next, 'h'), []);
}

#[derive(Debug, Clone)]
enum Step {
    Want(u64, u32, Vec<usize>),
    Cancel(u64, u32),
    Block(usize, u32),
    Presence(usize, u32, bool),
    Gone(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (peer, block) = (0..4_usize, 0..12_u32);
    prop_oneof![
        4 => (0..3_u64, block.clone(), prop::collection::vec(peer.clone(), 0..4))
            .prop_map(|(session, n, peers)| Step::Want(session, n, peers)),
        1 => (0..3_u64, block.clone()).prop_map(|(session, n)| Step::Cancel(session, n)),
        3 => (peer.clone(), block.clone()).prop_map(|(peer, n)| Step::Block(peer, n)),
        3 => (peer.clone(), block, any::<bool>())
            .prop_map(|(peer, n, have)| Step::Presence(peer, n, have)),
        1 => peer.prop_map(Step::Gone),
        2 => (0..8_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever peers do: a block is asked of one peer at a time, no peer is asked for more than its share, and
    /// everything ends once time passes.
    #[test]
    fn keeps_its_bounds(steps in prop::collection::vec(step(), 0..80)) {
        let all = peers::<4>();
        let limits = ClientLimits { unwanted: 1000, ..small() };
        let mut client = Client::new(limits);
        let mut now = Instant::now();
        let mut asked: HashMap<Cid, PeerId> = HashMap::new();
        let (mut wanted, mut ended) = (0_usize, 0_usize);
        for step in steps.into_iter().chain((0..200).map(|_| Step::Wait(21))) {
            match step {
                Step::Want(session, n, who) => {
                    let who: Vec<_> = who.into_iter().map(|i| all[i]).collect();
                    wanted += usize::from(!client.wants.contains_key(&cid(n)));
                    client.want(session, cid(n), &who, now);
                }
                Step::Cancel(session, n) => {
                    let before = client.wanted();
                    client.cancel(session, cid(n), now);
                    ended += before - client.wanted() - client.done.len();
                }
                Step::Block(peer, n) => {
                    client.block(all[peer], cid(n), data(n), now);
                }
                Step::Presence(peer, n, have) => {
                    client.presence(all[peer], &Presence { cid: cid(n), have }, now);
                }
                Step::Gone(peer) => client.gone(&all[peer], now),
                Step::Wait(seconds) => {
                    now += Duration::from_secs(seconds);
                    client.tick(now);
                }
            }
            ended += client.take_done().len();
            client.take_outgoing();
            asked.clear();
            asked.extend(client.wants.iter().filter_map(|(cid, want)| Some((*cid, want.asked?.peer))));
            for peer in &all {
                let count = asked.values().filter(|p| *p == peer).count();
                prop_assert!(count <= limits.per_peer);
                prop_assert_eq!(count, client.peers.asked(peer));
            }
            let active = client.wants.values().filter(|want| want.active).count();
            prop_assert_eq!(active, client.active);
            prop_assert!(active <= limits.active);
        }
        prop_assert_eq!(client.wanted(), 0);
        prop_assert_eq!(ended, wanted);
    }
}
