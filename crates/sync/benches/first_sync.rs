//! Two devices with real stores, over TCP on the loopback interface, without encryption: how long a first sync takes, what
//! it costs to find out that nothing is to be done, and how soon one device has what the other writes.
//!
//! `cargo bench -p ues-sync --bench first_sync -- [OPERATIONS]`, a million if left away. As references it also sends the
//! same bytes over the same interface, and checks the same signatures, and nothing else.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking, and prints"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use ues_data::Ipld;
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::write::{Record, RecordPath, Write, WriteKind};
use ues_repo::repo::{KeySource, KeySourceError, Repositories};
use ues_repo::syntax::Did;
use ues_storage::{Store, StoreOptions};
use ues_sync::log::Replica;
use ues_sync::protocol::{Action, Copy, Session, Taken};
use ues_sync::store::Replicas;

/// Records of one commit.
const COMMIT: usize = 200;
/// Writes whose way to the other device is timed.
const TIMED: usize = 300;

struct OneKey(Arc<SigningKey>);

impl KeySource for OneKey {
    fn signing_key(&self, _: &Did) -> Result<Option<Arc<SigningKey>>, KeySourceError> {
        Ok(Some(Arc::clone(&self.0)))
    }
}

struct Node {
    _dir: tempfile::TempDir,
    repos: Repositories,
    replicas: Replicas,
}

fn did() -> Did {
    Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap()
}

fn write(n: usize) -> Write {
    let text = format!("The quick brown fox jumps over the lazy dog, number {n}");
    let map = [("$type", "app.bsky.feed.post".to_owned()), ("text", text)];
    let map: BTreeMap<String, Ipld> = map
        .into_iter()
        .map(|(key, value)| (key.to_owned(), Ipld::String(value)))
        .collect();
    let bytes = ues_data::dag_cbor::encode(&Ipld::Map(map)).unwrap();
    Write {
        path: RecordPath::parse(&format!("app.bsky.feed.post/{n:013}")).unwrap(),
        kind: WriteKind::Put,
        record: Some(Record::new(bytes.into(), Vec::new())),
        swap: None,
    }
}

impl Node {
    async fn new(key: &Arc<SigningKey>, device: SigningKey) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let keys = Arc::new(OneKey(Arc::clone(key)));
        let repos = Repositories::open(store, Arc::clone(&keys) as Arc<dyn KeySource>).unwrap();
        let batch = repos.store().batch();
        repos.create(&did(), key, batch, Vec::new()).await.unwrap();
        let replicas = Replicas::open(repos.clone(), keys, device).unwrap();
        Self {
            _dir: dir,
            repos,
            replicas,
        }
    }
}

/// What went over the wire.
#[derive(Default)]
struct Wire {
    frames: AtomicU64,
    bytes: AtomicU64,
}

async fn send(out: &mut OwnedWriteHalf, frame: &[u8], wire: &Wire) {
    wire.frames.fetch_add(1, Ordering::Relaxed);
    wire.bytes
        .fetch_add(frame.len() as u64 + 4, Ordering::Relaxed);
    out.write_u32(frame.len() as u32).await.unwrap();
    out.write_all(frame).await.unwrap();
}

fn frames(mut input: OwnedReadHalf) -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok(length) = input.read_u32().await {
            let mut frame = vec![0; length as usize];
            if input.read_exact(&mut frame).await.is_err()
                || sender.send(frame.into()).await.is_err()
            {
                return;
            }
        }
    });
    receiver
}

/// One side of a session; `synced` hears whenever both are equal. Ends with the connection.
async fn side(
    replicas: Replicas,
    mut session: Session,
    stream: TcpStream,
    wire: Arc<Wire>,
    synced: mpsc::UnboundedSender<Instant>,
) {
    stream.set_nodelay(true).unwrap();
    let (input, mut out) = stream.into_split();
    let mut frames = frames(input);
    let mut changes = replicas.watch(&did()).unwrap();
    loop {
        while let Some(action) = session
            .step(&replicas.copy(&did()), did().as_str())
            .unwrap()
        {
            match action {
                Action::Send(frame) => send(&mut out, &frame, &wire).await,
                Action::Admit(batch) => {
                    let taken: Taken = replicas.admit(&did(), batch).await.unwrap();
                    assert!(taken.results.iter().all(Result::is_ok));
                    session.taken(&replicas.copy(&did()), &taken);
                }
                Action::Synced => drop(synced.send(Instant::now())),
                other => panic!("{other:?}"),
            }
        }
        tokio::select! {
            frame = frames.recv() => match frame {
                Some(frame) => session.receive(&replicas.copy(&did()), frame).unwrap(),
                None => return,
            },
            changed = changes.changed() => changed.unwrap(),
        }
    }
}

/// A session between two devices that goes on until it is dropped.
struct Open {
    tasks: [tokio::task::JoinHandle<()>; 2],
    synced: mpsc::UnboundedReceiver<Instant>,
    wire: Arc<Wire>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

async fn pipe() -> [TcpStream; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
    [one.unwrap(), other.unwrap().0]
}

/// Opens a session; `synced` is about the second device.
async fn open(one: &Node, other: &Node) -> Open {
    let [a, b] = pipe().await;
    let wire = Arc::new(Wire::default());
    let (sender, synced) = mpsc::unbounded_channel();
    let (ignored, _) = mpsc::unbounded_channel();
    let first = side(
        one.replicas.clone(),
        Session::open(),
        a,
        Arc::clone(&wire),
        ignored,
    );
    let second = side(
        other.replicas.clone(),
        Session::accept(),
        b,
        Arc::clone(&wire),
        sender,
    );
    Open {
        tasks: [tokio::spawn(first), tokio::spawn(second)],
        synced,
        wire,
    }
}

/// The same bytes over the same interface.
async fn only_bytes(bytes: u64) -> Duration {
    let [mut a, mut b] = pipe().await;
    let began = Instant::now();
    let sending = tokio::spawn(async move {
        let piece = vec![7; 1 << 20];
        let mut left = bytes;
        while left > 0 {
            let part = left.min(piece.len() as u64) as usize;
            a.write_all(&piece[..part]).await.unwrap();
            left -= part as u64;
        }
    });
    let mut piece = vec![0; 1 << 20];
    while b.read(&mut piece).await.unwrap() > 0 {}
    sending.await.unwrap();
    began.elapsed()
}

/// The same signatures on one core, and nothing else.
fn only_signatures(node: &Node) -> (usize, Duration) {
    let copy = node.replicas.copy(&did());
    let replica = copy.replica().unwrap();
    let me = replica.me().unwrap();
    let key = replica.roster().get(me).unwrap().key.clone();
    let last = replica.clock().get(me);
    let sample: Vec<_> = (1..=last.min(50_000))
        .filter_map(|seq| replica.operation(copy.rows(), me, seq).unwrap())
        .collect();
    let began = Instant::now();
    assert!(sample.iter().all(|operation| operation.verify(&key)));
    (sample.len(), began.elapsed())
}

fn middle(mut all: Vec<Duration>) -> (Duration, Duration) {
    all.sort_unstable();
    (all[all.len() / 2], all[all.len() * 99 / 100])
}

async fn run(operations: usize) {
    let did = did();
    let root = Arc::new(SigningKey::generate(KeyKind::K256).unwrap());
    let device = || SigningKey::generate(KeyKind::Ed25519).unwrap();
    let one = Node::new(&root, device()).await;
    let key = device();
    let other = Node::new(&Arc::new(key.clone()), key.clone()).await;
    let granted = one.replicas.grant(&did, key.verifying_key(), "other");
    granted.await.unwrap();
    let archive = one.replicas.snapshot(&did).await.unwrap();
    let restored = other.replicas.restore(&did, root.verifying_key(), archive);
    restored.await.unwrap();

    let began = Instant::now();
    for commit in (0..operations).step_by(COMMIT) {
        let writes = (commit..operations.min(commit + COMMIT))
            .map(write)
            .collect();
        one.repos.apply_writes(&did, writes, None).await.unwrap();
    }
    let rate = |n: usize, time: Duration| n as f64 / time.as_secs_f64();
    println!(
        "written: {:.0} operations/s",
        rate(operations, began.elapsed())
    );

    let began = Instant::now();
    let mut session = open(&one, &other).await;
    let until = session.synced.recv().await.unwrap();
    let took = until - began;
    let bytes = session.wire.bytes.load(Ordering::Relaxed);
    let total = |node: &Node| {
        node.replicas
            .copy(&did)
            .replica()
            .map(Replica::clock)
            .unwrap()
    };
    assert_eq!(total(&one), total(&other));
    println!(
        "first sync: {operations} operations in {:.1} s, {:.0} operations/s, {bytes} bytes",
        took.as_secs_f64(),
        rate(operations, took)
    );
    let network = only_bytes(bytes).await;
    let (checked, time) = only_signatures(&one);
    let signatures = time.mul_f64(operations as f64 / checked as f64);
    println!(
        "only the bytes: {:.2} s; only the signatures: {:.1} s on one core, {:.0} a second",
        network.as_secs_f64(),
        signatures.as_secs_f64(),
        rate(checked, time)
    );

    let mut visible = Vec::with_capacity(TIMED);
    let mut durable = Vec::with_capacity(TIMED);
    let mut arrives = other.replicas.watch(&did).unwrap();
    for n in 0..TIMED {
        let began = Instant::now();
        let written = one
            .repos
            .apply_writes(&did, vec![write(operations + n)], None);
        written.await.unwrap();
        durable.push(began.elapsed());
        let wanted = total(&one);
        let there = arrives.wait_for(|state| state.replica.clock() == wanted);
        drop(there.await.unwrap());
        visible.push(began.elapsed());
    }
    let ((p50, p99), (durable, _)) = (middle(visible), middle(durable));
    println!(
        "a change is on the other device after {p50:?} (p50), {p99:?} (p99); durable on its own after {durable:?} (p50)"
    );
    drop(session);

    let mut nothing = Vec::with_capacity(TIMED);
    let (mut frames, mut bytes) = (0, 0);
    for _ in 0..TIMED {
        let began = Instant::now();
        let mut session = open(&one, &other).await;
        session.synced.recv().await.unwrap();
        nothing.push(began.elapsed());
        // The answer may still be on its way.
        while session.wire.frames.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        frames = session.wire.frames.load(Ordering::Relaxed);
        bytes = session.wire.bytes.load(Ordering::Relaxed);
    }
    let (p50, p99) = middle(nothing);
    println!("nothing to do: {frames} frames, {bytes} bytes, {p50:?} (p50), {p99:?} (p99)");
}

fn main() {
    // Cargo passes options of its own.
    let operations = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run(operations.unwrap_or(1_000_000)));
}
