//! Blobs from devices that lie, break off, or do not know the repository.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod common;

use std::sync::Arc;

use common::{connect, on_tcp, soon};
use futures::{AsyncReadExt, AsyncWriteExt};
use parking_lot::Mutex;
use ues_data::{Ipld, dag_cbor, raw_cid};
use ues_p2p::blobs::PROTOCOL;
use ues_p2p::blobs::message::{Answer, Ask};
use ues_p2p::{BlobMode, BlobOptions, BlobService, Network, Stream};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::write::{Record, RecordPath};
use ues_repo::repo::{KeySource, KeySourceError, Repositories, blobs_in};
use ues_repo::syntax::Did;
use ues_storage::engine::MemoryEngine;
use ues_storage::{Store, StoreOptions};
use ues_sync::store::Replicas;

struct OneKey(Arc<SigningKey>);

impl KeySource for OneKey {
    fn signing_key(&self, _: &Did) -> Result<Option<Arc<SigningKey>>, KeySourceError> {
        Ok(Some(Arc::clone(&self.0)))
    }
}

/// A device that holds a repository with a record that names a blob which it has not.
struct Device {
    store: Store,
    replicas: Replicas,
    network: Network,
    did: Did,
}

impl Device {
    async fn new(content: &[u8]) -> Self {
        let quiet = StoreOptions {
            housekeeping: None,
            ..StoreOptions::default()
        };
        let store = Store::with_engine(Arc::new(MemoryEngine::new()), quiet).unwrap();
        let root = Arc::new(SigningKey::generate(KeyKind::K256).unwrap());
        let keys = Arc::new(OneKey(Arc::clone(&root)));
        let repos = Repositories::open(store.clone(), keys.clone()).unwrap();
        let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
        repos
            .create(&did, &root, store.batch(), Vec::new())
            .await
            .unwrap();
        let key = SigningKey::generate(KeyKind::Ed25519).unwrap();
        let network = Network::start(on_tcp(), key.to_bytes()).await.unwrap();
        let replicas = Replicas::open(repos.clone(), keys, key).unwrap();
        let record = note(content);
        let path = RecordPath::parse("com.example.note/one").unwrap();
        let put = |_: &_, _: &mut _| Ok(vec![(path, Some(record))]);
        repos.merge(&did, put).await.unwrap();
        Self {
            store,
            replicas,
            network,
            did,
        }
    }

    /// Lets a device write; its host.
    async fn other(&self, name: &str) -> Network {
        let key = SigningKey::generate(KeyKind::Ed25519).unwrap();
        let granted = self.replicas.grant(&self.did, key.verifying_key(), name);
        granted.await.unwrap();
        Network::start(on_tcp(), key.to_bytes()).await.unwrap()
    }

    fn fetch(&self, mode: BlobMode) -> BlobService {
        let options = BlobOptions {
            mode,
            max_bytes: 10 << 20,
        };
        BlobService::start(self.network.clone(), self.replicas.clone(), options).unwrap()
    }

    /// Blocks that are left once all that is not needed is gone.
    fn blocks(&self) -> u64 {
        while !self.store.collect(u64::MAX).unwrap().finished {}
        let report = self.store.check(&mut |_| ()).unwrap();
        assert!(report.is_sound(), "{:?}", report.damage);
        report.blocks
    }
}

/// A record that refers to a blob with this content.
fn note(content: &[u8]) -> Record {
    let map = |pairs: Vec<(&str, Ipld)>| {
        Ipld::Map(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
    };
    let text = |text: &str| Ipld::String(text.to_owned());
    let blob = map(vec![
        ("$type", text("blob")),
        ("ref", Ipld::Link(raw_cid(content))),
        ("mimeType", text("text/plain")),
        ("size", Ipld::Integer(content.len() as i128)),
    ]);
    let record = map(vec![("$type", text("com.example.note")), ("file", blob)]);
    let bytes = dag_cbor::encode(&record).unwrap().into();
    let blobs = blobs_in(&bytes);
    Record::new(bytes, blobs)
}

async fn read_ask(stream: &mut Stream) -> Ask {
    let mut length = [0];
    stream.read_exact(&mut length).await.unwrap();
    let mut bytes = vec![0; length[0].into()];
    stream.read_exact(&mut bytes).await.unwrap();
    Ask::decode(bytes.into()).unwrap()
}

async fn write_answer(stream: &mut Stream, answer: &Answer) {
    let bytes = answer.encode();
    stream.write_all(&[bytes.len() as u8]).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
}

/// Answers one question a stream with so many bytes of the content; returns where the questions began.
fn gives(network: &Network, content: Vec<u8>, bytes: usize) -> Arc<Mutex<Vec<u64>>> {
    let mut incoming = network.accept_streams(PROTOCOL).unwrap();
    let asked = Arc::<Mutex<Vec<u64>>>::default();
    let told = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Some((_, mut stream)) = incoming.next().await {
            let ask = read_ask(&mut stream).await;
            told.lock().push(ask.offset);
            let (size, mime) = (content.len() as u64, "text/plain".to_owned());
            write_answer(&mut stream, &Answer::Here { size, mime }).await;
            let from = ask.offset as usize;
            let to = content.len().min(from + bytes);
            let _ = stream.write_all(&content[from..to]).await;
            let _ = stream.close().await;
        }
    });
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_are_not_kept_and_a_lost_connection_is_taken_up_again() {
    let content: Vec<u8> = (0..3_000_000u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    let device = Device::new(&content).await;
    let cid = raw_cid(&content);
    let before = device.blocks();

    let liar = device.other("liar").await;
    let mut wrong = content.clone();
    wrong[2_999_999] ^= 1;
    let asked = gives(&liar, wrong, usize::MAX >> 1);
    let demand = device.fetch(BlobMode::Demand);
    connect(&device.network, &liar).await;
    let refused = soon("the refusal", demand.bring(&device.did, &cid)).await;
    assert!(refused.unwrap_err().to_string().contains("not the blob"));
    assert_eq!(
        device.replicas.repos().blob(&device.did, &cid).unwrap(),
        None
    );
    let status = demand.status(&device.did).unwrap();
    assert_eq!((status.missing, status.fetched), (1, 0));
    // It is not asked for the same again.
    assert!(
        !soon("nobody else", demand.bring(&device.did, &cid))
            .await
            .unwrap()
    );
    assert_eq!(*asked.lock(), [0]);
    soon("all is freed", async {
        // The grant of the liar and its operations took no blocks of records.
        while device.blocks() > before {
            tokio::task::yield_now().await;
        }
    })
    .await;

    let honest = device.other("honest").await;
    let asked = gives(&honest, content.clone(), 1_000_000);
    connect(&device.network, &honest).await;
    for _ in 0..2 {
        assert!(
            soon("a part", demand.bring(&device.did, &cid))
                .await
                .is_err()
        );
    }
    assert!(
        soon("the rest", demand.bring(&device.did, &cid))
            .await
            .unwrap()
    );
    assert_eq!(*asked.lock(), [0, 1_000_000, 2_000_000]);
    let meta = device
        .replicas
        .repos()
        .blob(&device.did, &cid)
        .unwrap()
        .unwrap();
    assert_eq!((meta.size, meta.mime.as_str()), (3_000_000, "text/plain"));
    let repos = device.replicas.repos();
    let owner = repos.head(&device.did).unwrap().unwrap().owner;
    let mut reader = repos.open_blob(owner, &meta, 0).unwrap().unwrap();
    let mut stored = Vec::new();
    while let Some(piece) = reader.next_chunk().unwrap() {
        stored.extend_from_slice(&piece);
    }
    assert_eq!(stored, content);
    assert_eq!(demand.status(&device.did).unwrap().missing, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_devices_that_share_the_repository_are_answered() {
    let content = b"a blob".to_vec();
    let device = Device::new(&content).await;
    let _serving = device.fetch(BlobMode::None);
    let ask = Ask {
        repo: device.did.clone(),
        cid: raw_cid(&content),
        offset: 0,
    };
    let friend = device.other("friend").await;
    let stranger = common::start(on_tcp()).await;
    for (host, expected) in [(friend, Answer::Absent), (stranger, Answer::Refused)] {
        connect(&host, &device.network).await;
        let peer = device.network.peer_id();
        let mut stream = host.open_stream(peer, PROTOCOL).await.unwrap();
        let bytes = ask.encode();
        stream.write_all(&[bytes.len() as u8]).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        let mut length = [0];
        soon("an answer", stream.read_exact(&mut length))
            .await
            .unwrap();
        let mut answer = vec![0; length[0].into()];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(Answer::decode(answer.into()).unwrap(), expected);
    }
}
