//! Hosts that exchange blocks on the loopback interface.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use common::{connect, on_tcp, soon, start};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{AsyncReadExt, AsyncWriteExt};
use parking_lot::RwLock;
use ues_data::content_id::identity_cid;
use ues_data::{Cid, HashAlgorithm, raw_cid};
use ues_p2p::bitswap::message::{Message, Want, WantKind};
use ues_p2p::bitswap::{ClientLimits, PROTOCOL, PROTOCOL_1_1};
use ues_p2p::{Bitswap, BitswapLimits, BlockSource, FetchError, Network, PeerId};

#[derive(Default)]
struct Blocks {
    blocks: RwLock<HashMap<Cid, Bytes>>,
    forbidden: RwLock<Vec<Cid>>,
}

impl Blocks {
    fn put(&self, data: Bytes) -> Cid {
        let cid = raw_cid(&data);
        self.blocks.write().insert(cid, data);
        cid
    }
}

#[async_trait]
impl BlockSource for Blocks {
    async fn get(&self, cid: &Cid) -> Option<Bytes> {
        self.blocks.read().get(cid).cloned()
    }

    async fn may_read(&self, _: PeerId, cid: &Cid) -> bool {
        !self.forbidden.read().contains(cid)
    }
}

struct Node {
    network: Network,
    bitswap: Bitswap,
    blocks: Arc<Blocks>,
}

async fn node_with(limits: BitswapLimits) -> Node {
    let network = start(on_tcp()).await;
    let blocks = Arc::new(Blocks::default());
    let bitswap = Bitswap::start(&network, blocks.clone(), limits).unwrap();
    Node {
        network,
        bitswap,
        blocks,
    }
}

async fn node() -> Node {
    node_with(BitswapLimits::default()).await
}

/// Waits less for the silent than a real node.
fn hasty() -> BitswapLimits {
    BitswapLimits {
        client: ClientLimits {
            silence: Duration::from_millis(300),
            longest: Duration::from_secs(2),
            ..ClientLimits::default()
        },
        ..BitswapLimits::default()
    }
}

fn block(n: u32) -> Bytes {
    let mut data = vec![7; 10_000 + (n as usize % 100) * 100];
    data[..4].copy_from_slice(&n.to_be_bytes());
    data.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_blocks_come_from_two_peers() {
    let (one, two, us) = (node().await, node().await, node().await);
    let mut cids = Vec::new();
    let mut bytes = 0;
    for n in 0..1000 {
        bytes += block(n).len() as u64;
        cids.push(one.blocks.put(block(n)));
        two.blocks.put(block(n));
    }
    for peer in [&one, &two] {
        connect(&us.network, &peer.network).await;
    }
    let session = us
        .bitswap
        .session(&[one.network.peer_id(), two.network.peer_id()]);
    let fetches: FuturesUnordered<_> = cids
        .iter()
        .map(|cid| async { (*cid, session.get(cid).await) })
        .collect();
    let had: Vec<_> = soon("all blocks", fetches.collect()).await;
    assert_eq!(had.len(), 1000);
    for (cid, data) in had {
        assert_eq!(raw_cid(&data.unwrap()), cid);
    }
    let stats = us.bitswap.stats().await.unwrap();
    assert_eq!(stats.blocks_received, 1000);
    assert_eq!(stats.bytes_received, bytes);
    assert_eq!((stats.late, stats.unwanted, stats.wanted), (0, 0, 0));
    let mut served = 0;
    for peer in [&one, &two] {
        // the last answer may be counted a moment after it was read
        let sent = soon("the count", async {
            let from_us = us.bitswap.balance(peer.network.peer_id()).await.unwrap();
            loop {
                let balance = peer.bitswap.balance(us.network.peer_id()).await.unwrap();
                if balance.sent == from_us.received {
                    break peer.bitswap.stats().await.unwrap().blocks_sent;
                }
            }
        })
        .await;
        assert!(sent >= 200, "one of two sent {sent} of 1000 blocks");
        served += sent;
    }
    assert_eq!(served, 1000, "no block is sent twice");
}

#[tokio::test]
async fn what_nobody_has_or_may_have_is_not_found() {
    let (one, us) = (node().await, node().await);
    let secret = one.blocks.put(block(1));
    one.blocks.forbidden.write().push(secret);
    connect(&us.network, &one.network).await;
    let provider = [one.network.peer_id()];
    for cid in [secret, raw_cid(b"nowhere")] {
        let found = soon("the answer", us.bitswap.fetch(&cid, &provider)).await;
        assert_eq!(found, Err(FetchError::NotFound(cid)));
    }
    let found = soon("the answer", us.bitswap.fetch(&secret, &[PeerId::random()])).await;
    assert_eq!(found, Err(FetchError::NotFound(secret)));
    let found = us.bitswap.fetch(&secret, &[]).await;
    assert_eq!(found, Err(FetchError::NotFound(secret)));
    let inline = identity_cid(0x55, b"in the name").unwrap();
    let found = us.bitswap.fetch(&inline, &[]).await;
    assert_eq!(found.unwrap(), "in the name");
    let sha1 = Cid::new_v1(0x55, ues_data::Multihash::wrap(0x11, &[0; 20]).unwrap());
    let found = us.bitswap.fetch(&sha1, &provider).await;
    assert_eq!(found, Err(FetchError::Hash(0x11)));
}

#[tokio::test]
async fn every_hash_function_and_the_largest_block() {
    let (one, us) = (node().await, node().await);
    connect(&us.network, &one.network).await;
    let data = Bytes::from(vec![3; 2 << 20]);
    for algorithm in [HashAlgorithm::Sha2_256, HashAlgorithm::Blake3] {
        let cid = ues_data::cid_of(0x55, algorithm, &data);
        one.blocks.blocks.write().insert(cid, data.clone());
        let provider = [one.network.peer_id()];
        let had = soon("the block", us.bitswap.fetch(&cid, &provider)).await;
        assert_eq!(had.unwrap(), data);
    }
    let cid = one.blocks.put(vec![3; (2 << 20) + 1].into());
    let found = soon(
        "the answer",
        us.bitswap.fetch(&cid, &[one.network.peer_id()]),
    )
    .await;
    assert_eq!(found, Err(FetchError::NotFound(cid)));
}

#[tokio::test]
async fn a_block_that_comes_later_is_sent_to_who_waits() {
    let one = node().await;
    let them = start(on_tcp()).await;
    connect(&them, &one.network).await;
    let cid = raw_cid(&block(5));
    let message = Message {
        wants: vec![Want::new(cid, WantKind::Block, 0)],
        ..Message::default()
    };
    let mut told = false;
    by_hand(&them, one.network.peer_id(), message.encode(), |answer| {
        if answer.blocks.is_empty() {
            assert!(!answer.presences[0].have);
            told = true;
            one.blocks.put(block(5));
            let bitswap = one.bitswap.clone();
            tokio::spawn(async move { bitswap.blocks_added(vec![cid]).await });
            return false;
        }
        assert_eq!(answer.blocks, [(cid, block(5))]);
        true
    })
    .await;
    assert!(told);
}

/// A peer that reads all it is told and says nothing.
fn mute(network: &Network) -> (Network, tokio::task::JoinHandle<()>) {
    let mut streams = network.accept_streams(PROTOCOL).unwrap();
    let task = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Some((_, stream)) = streams.next().await {
            open.push(tokio::spawn(async move {
                futures::io::copy(stream, &mut futures::io::sink()).await
            }));
        }
    });
    (network.clone(), task)
}

/// A peer that answers every want with another block.
fn liar(network: &Network) -> tokio::task::JoinHandle<()> {
    let mut streams = network.accept_streams(PROTOCOL).unwrap();
    let network = network.clone();
    tokio::spawn(async move {
        let mut lies = 0_u32;
        while let Some((peer, mut stream)) = streams.next().await {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                let mut out = network.open_stream(peer, PROTOCOL).await.unwrap();
                for _ in 0..(read / 30).max(1) {
                    lies += 1;
                    let data = Bytes::from(format!("lie {lies}"));
                    let lie = Message {
                        blocks: vec![(raw_cid(b"the truth"), data)],
                        ..Message::default()
                    };
                    let _ = out.write_all(&lie.encode()).await;
                }
                let _ = out.close().await;
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_costs_time_but_gives_nothing() {
    let (one, us) = (node().await, node_with(hasty()).await);
    let false_friend = start(on_tcp()).await;
    let lying = liar(&false_friend);
    connect(&us.network, &false_friend).await;
    connect(&us.network, &one.network).await;
    let cids: Vec<Cid> = (0..200).map(|n| one.blocks.put(block(n))).collect();
    let session = us
        .bitswap
        .session(&[false_friend.peer_id(), one.network.peer_id()]);
    let fetches: FuturesUnordered<_> = cids
        .iter()
        .map(|cid| async { (*cid, session.get(cid).await.unwrap()) })
        .collect();
    let had: Vec<_> = soon("all blocks", fetches.collect()).await;
    assert_eq!(had.len(), 200);
    for (cid, data) in had {
        assert_eq!(raw_cid(&data), cid);
    }
    let stats = us.bitswap.stats().await.unwrap();
    assert!(stats.unwanted > 0, "{stats:?}");
    assert_eq!(stats.blocks_received, 200);
    lying.abort();
}

#[tokio::test]
async fn a_silent_peer_is_passed_over() {
    let (one, us) = (node().await, node_with(hasty()).await);
    let cid = one.blocks.put(block(1));
    let (silent, reading) = mute(&start(on_tcp()).await);
    connect(&us.network, &silent).await;
    connect(&us.network, &one.network).await;
    let session = us.bitswap.session(&[silent.peer_id()]);
    let get = session.get(&cid);
    let more = session.add_peer(one.network.peer_id());
    let (had, ()) = soon("the block", futures::future::join(get, more)).await;
    assert_eq!(had.unwrap(), block(1));
    let (other, alone) = (raw_cid(b"no"), [silent.peer_id()]);
    let found = soon("the end", us.bitswap.fetch(&other, &alone)).await;
    assert_eq!(found, Err(FetchError::NotFound(other)));
    reading.abort();
}

#[tokio::test]
async fn a_want_that_nobody_waits_for_is_taken_back() {
    let us = node().await;
    let (silent, reading) = mute(&start(on_tcp()).await);
    connect(&us.network, &silent).await;
    let session = us.bitswap.session(&[silent.peer_id()]);
    let cid = raw_cid(b"x");
    let get = session.get(&cid);
    let given_up = tokio::time::timeout(Duration::from_millis(50), get).await;
    assert!(given_up.is_err());
    soon("the cancel", async {
        while us.bitswap.stats().await.unwrap().wanted > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    reading.abort();
}

/// Speaks Bitswap by hand: sends one message, reads messages until `enough`.
async fn by_hand(
    from: &Network,
    to: PeerId,
    message: Vec<u8>,
    mut enough: impl FnMut(Message) -> bool,
) {
    let mut answers = from.accept_streams(PROTOCOL).unwrap();
    let mut stream = from.open_stream(to, PROTOCOL).await.unwrap();
    stream.write_all(&message).await.unwrap();
    stream.flush().await.unwrap();
    let (_, mut answers) = soon("an answer", answers.next()).await.unwrap();
    loop {
        let mut length = Vec::new();
        loop {
            let mut byte = [0];
            soon("an answer", answers.read_exact(&mut byte))
                .await
                .unwrap();
            length.push(byte[0]);
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let (length, _) = ues_data::varint::read(&length).unwrap();
        let mut bytes = vec![0; length as usize];
        answers.read_exact(&mut bytes).await.unwrap();
        if enough(Message::decode(bytes.into()).unwrap()) {
            return;
        }
    }
}

#[tokio::test]
async fn wants_beyond_the_limit_are_answered_with_no() {
    let limits = BitswapLimits {
        wants_per_peer: 10,
        ..BitswapLimits::default()
    };
    let one = node_with(limits).await;
    let cids: Vec<Cid> = (0..30).map(|n| one.blocks.put(block(n))).collect();
    let them = start(on_tcp()).await;
    connect(&them, &one.network).await;
    let wants = cids.iter().map(|cid| Want::new(*cid, WantKind::Have, 0));
    let message = Message {
        wants: wants.collect(),
        ..Message::default()
    };
    let mut answers = HashMap::new();
    // the answers come on two streams, of which this reads the one with the refusals or the one with the rest
    by_hand(&them, one.network.peer_id(), message.encode(), |message| {
        answers.extend(message.presences.into_iter().map(|p| (p.cid, p.have)));
        true
    })
    .await;
    let yes = answers.values().filter(|have| **have).count();
    assert!(
        yes == 10 || answers.len() - yes == 20,
        "{yes} of {}",
        answers.len()
    );
    let stats = one.bitswap.stats().await.unwrap();
    assert_eq!(stats.refused_wants, 20);
}

#[tokio::test]
async fn an_old_peer_gets_its_blocks() {
    let one = node().await;
    let cid = one.blocks.put(block(1));
    let them = start(on_tcp()).await;
    connect(&them, &one.network).await;
    let mut answers = them.accept_streams(PROTOCOL_1_1).unwrap();
    let mut stream = them
        .open_stream(one.network.peer_id(), PROTOCOL_1_1)
        .await
        .unwrap();
    let message = Message {
        wants: vec![
            Want::new(raw_cid(b"nowhere"), WantKind::Block, 2),
            Want::new(cid, WantKind::Block, 1),
        ],
        ..Message::default()
    };
    stream.write_all(&message.encode()).await.unwrap();
    stream.flush().await.unwrap();
    let (_, mut answer) = soon("an answer", answers.next()).await.unwrap();
    let mut bytes = vec![0; 20];
    soon("the answer", answer.read_exact(&mut bytes))
        .await
        .unwrap();
    let expected = Message {
        blocks: vec![(cid, block(1))],
        ..Message::default()
    };
    assert_eq!(bytes, expected.encode()[..20]);
}

#[tokio::test]
async fn rubbish_ends_its_stream_and_nothing_else() {
    let (one, us) = (node().await, node().await);
    connect(&us.network, &one.network).await;
    let cid = one.blocks.put(block(1));
    let peer = one.network.peer_id();
    for rubbish in [
        &[3, 0xff, 0xff, 0xff][..],
        &[0xff; 10],
        &[0xff, 0xff, 0xff, 0x7f],
    ] {
        let mut stream = us.network.open_stream(peer, PROTOCOL).await.unwrap();
        stream.write_all(rubbish).await.unwrap();
        stream.flush().await.unwrap();
        let mut byte = [0];
        let read = soon("the end", stream.read(&mut byte)).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    let had = soon("the block", us.bitswap.fetch(&cid, &[peer])).await;
    assert_eq!(had.unwrap(), block(1));
    assert_eq!(one.bitswap.stats().await.unwrap().bad_messages, 3);
}
