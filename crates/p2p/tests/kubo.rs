//! Blocks exchanged with a real Kubo on the loopback interface: `cargo test -p ues-p2p --test kubo -- --ignored`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod common;

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use common::{on_tcp, soon, start, state_where};
use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use ues_data::content_id::DAG_PB;
use ues_data::{Cid, dag_pb, raw_cid, unixfs};
use ues_p2p::bitswap::Session;
use ues_p2p::{Bitswap, BitswapLimits, BlockSource, Multiaddr, Network, NetworkConfig, PeerId};

const FILE_BYTES: usize = 100 << 20;

/// A Kubo that knows nobody; killed when dropped.
struct Kubo {
    home: TempDir,
    child: Option<Child>,
}

impl Kubo {
    fn start() -> Self {
        let mut kubo = Self {
            home: TempDir::new().unwrap(),
            child: None,
        };
        kubo.ipfs(&["init", "--empty-repo"]);
        let path = kubo.repo().join("config");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["Bootstrap"] = json!([]);
        config["Discovery"]["MDNS"]["Enabled"] = json!(false);
        config["AutoConf"]["Enabled"] = json!(false);
        config["DNS"]["Resolvers"] = json!({});
        config["Routing"] = json!({ "Type": "none", "DelegatedRouters": [] });
        config["Ipns"]["DelegatedPublishers"] = json!([]);
        config["Addresses"]["API"] = json!("/ip4/127.0.0.1/tcp/0");
        config["Addresses"]["Gateway"] = json!("");
        config["Addresses"]["Swarm"] = json!([
            "/ip4/127.0.0.1/tcp/0",
            "/ip4/127.0.0.1/tcp/0/ws",
            "/ip4/127.0.0.1/udp/0/quic-v1"
        ]);
        fs::write(&path, config.to_string()).unwrap();
        let log = File::create(kubo.home.path().join("log")).unwrap();
        let mut command = kubo.command(&["daemon", "--migrate=false"]);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        kubo.child = Some(command.stdin(Stdio::null()).spawn().unwrap());
        let begun = Instant::now();
        while !kubo.log().contains("Daemon is ready") {
            assert!(begun.elapsed() < common::PATIENCE, "{}", kubo.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        kubo
    }

    fn addresses(&self) -> Vec<Multiaddr> {
        let id: Value = serde_json::from_str(&self.ipfs(&["id"])).unwrap();
        let addresses = id["Addresses"].as_array().unwrap().iter();
        addresses
            .map(|a| a.as_str().unwrap().parse().unwrap())
            .collect()
    }

    fn peer(&self) -> PeerId {
        self.ipfs(&["id", "-f", "<id>"]).parse().unwrap()
    }

    /// Adds a file as Kubo does by default.
    fn add(&self, bytes: &[u8]) -> Cid {
        let path = self.home.path().join("file");
        fs::write(&path, bytes).unwrap();
        let cid = self.ipfs(&["add", "-Q", path.to_str().unwrap()]);
        Cid::try_from(cid.as_str()).unwrap()
    }

    fn ipfs(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.bytes(arguments))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// What a command prints; it must succeed within the patience of a test.
    fn bytes(&self, arguments: &[&str]) -> Vec<u8> {
        let done = self.command(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "ipfs {arguments:?}: {errors}");
        done.stdout
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(["--timeout", "120s"]).args(arguments);
        command.env("IPFS_PATH", self.repo());
        command.env("IPFS_TELEMETRY", "off");
        command.current_dir(self.home.path());
        command
    }

    fn repo(&self) -> PathBuf {
        self.home.path().join("repo")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }
}

impl Drop for Kubo {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// `UES_KUBO`, or where tests/peers/install.sh puts it.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("UES_KUBO") {
        return path.into();
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let binary = workspace.join(".peers/kubo/ipfs");
    assert!(binary.exists(), "no Kubo: tests/peers/install.sh kubo");
    binary.canonicalize().unwrap()
}

struct Blocks(HashMap<Cid, Bytes>);

#[async_trait]
impl BlockSource for Blocks {
    async fn get(&self, cid: &Cid) -> Option<Bytes> {
        self.0.get(cid).cloned()
    }

    async fn may_read(&self, _: PeerId, _: &Cid) -> bool {
        true
    }
}

async fn with_blocks(blocks: HashMap<Cid, Bytes>) -> (Network, Bitswap) {
    let network = start(on_tcp()).await;
    let limits = BitswapLimits::default();
    let bitswap = Bitswap::start(&network, Arc::new(Blocks(blocks)), limits).unwrap();
    (network, bitswap)
}

fn random_bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// Every block under a root.
async fn fetch_all(session: &Session, root: Cid) -> HashMap<Cid, Bytes> {
    let mut blocks = HashMap::new();
    let get = |cid: Cid| async move { (cid, session.get(&cid).await.unwrap()) };
    let mut fetches = FuturesUnordered::from_iter([get(root)]);
    while let Some((cid, data)) = fetches.next().await {
        if cid.codec() == DAG_PB {
            for link in dag_pb::decode(&data).unwrap().links {
                fetches.push(get(link.cid));
            }
        }
        blocks.insert(cid, data);
    }
    blocks
}

fn read_file(blocks: &HashMap<Cid, Bytes>, root: Cid) -> Vec<u8> {
    let mut reader = unixfs::FileReader::new(blocks, root);
    let mut file = Vec::new();
    while let Some(chunk) = reader.next_chunk().unwrap() {
        file.extend_from_slice(&chunk);
    }
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kubo; ./test runs them"]
async fn we_meet_kubo_over_every_transport() {
    let kubo = Kubo::start();
    let mut tried = Vec::new();
    for address in kubo.addresses() {
        let text = address.to_string();
        if !text.starts_with("/ip4/127.0.0.1/") {
            continue;
        }
        let network = start(NetworkConfig::default()).await;
        assert_eq!(network.connect(address).await.unwrap(), kubo.peer());
        let state = state_where(&network, "identify and ping", |state| {
            let peer = state.peers.first();
            peer.is_some_and(|p| p.round_trip().is_some() && !p.agent.is_empty())
        })
        .await;
        let peer = &state.peers[0];
        assert!(peer.agent.starts_with("kubo/"), "{}", peer.agent);
        let bitswap = "/ipfs/bitswap/1.2.0".to_owned();
        assert!(peer.protocols.contains(&bitswap), "{:?}", peer.protocols);
        println!(
            "{text}: {}, ping {:?}",
            peer.agent,
            peer.round_trip().unwrap()
        );
        network.shutdown().await;
        tried.push(text);
    }
    for transport in ["/tcp/", "/ws/", "/quic-v1/"] {
        assert!(tried.iter().any(|t| t.contains(transport)), "{tried:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kubo; ./test runs them"]
async fn a_large_file_comes_from_kubo_and_goes_back_to_another() {
    let kubo = Kubo::start();
    let file = random_bytes(FILE_BYTES);
    let root = kubo.add(&file);
    let (network, bitswap) = with_blocks(HashMap::new()).await;
    let address = tcp_address(&kubo);
    network.connect(address).await.unwrap();
    let session = bitswap.session(&[kubo.peer()]);
    let begun = Instant::now();
    let fetch = tokio::time::timeout(3 * common::PATIENCE, fetch_all(&session, root));
    let blocks = fetch.await.expect("the file comes in time");
    let took = begun.elapsed();
    println!(
        "{} blocks from Kubo in {took:.2?}, {:.1} MB/s, {:?}",
        blocks.len(),
        FILE_BYTES as f64 / 1e6 / took.as_secs_f64(),
        bitswap.stats().await.unwrap()
    );
    assert!(read_file(&blocks, root) == file, "the file is the same");
    let stats = bitswap.stats().await.unwrap();
    assert_eq!(stats.blocks_received, blocks.len() as u64);
    assert_eq!(stats.unwanted, 0);

    let other = Kubo::start();
    let (server, serving) = with_blocks(blocks).await;
    server.connect(tcp_address(&other)).await.unwrap();
    let begun = Instant::now();
    let cat = {
        let root = root.to_string();
        let other = &other;
        tokio::task::block_in_place(move || other.bytes(&["cat", &root]))
    };
    let took = begun.elapsed();
    println!(
        "Kubo read the file from us in {took:.2?}, {:.1} MB/s, {:?}",
        FILE_BYTES as f64 / 1e6 / took.as_secs_f64(),
        serving.stats().await.unwrap()
    );
    assert!(cat == file, "the file is the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kubo; ./test runs them"]
async fn small_blocks_and_missing_ones() {
    let kubo = Kubo::start();
    let ours: HashMap<Cid, Bytes> = (0..50)
        .map(|n| Bytes::from(format!("block {n}")))
        .map(|data| (raw_cid(&data), data))
        .collect();
    let (network, bitswap) = with_blocks(ours.clone()).await;
    network.connect(tcp_address(&kubo)).await.unwrap();
    for (cid, data) in &ours {
        let got = tokio::task::block_in_place(|| kubo.bytes(&["block", "get", &cid.to_string()]));
        assert_eq!(got, *data);
    }
    let missing = raw_cid(b"nowhere");
    let found = soon("the answer", bitswap.fetch(&missing, &[kubo.peer()])).await;
    assert!(found.is_err());
    let root = kubo.add(b"small");
    let had = soon("the block", bitswap.fetch(&root, &[kubo.peer()])).await;
    assert!(had.is_ok());
}

fn tcp_address(kubo: &Kubo) -> Multiaddr {
    let addresses = kubo.addresses();
    let plain = |a: &&Multiaddr| {
        let text = a.to_string();
        text.starts_with("/ip4/127.0.0.1/tcp/") && !text.contains("/ws")
    };
    addresses.iter().find(plain).unwrap().clone()
}
