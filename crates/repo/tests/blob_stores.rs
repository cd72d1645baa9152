//! What every place for the content of blobs does alike: the disk and a bucket. And what a bucket that is down costs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use ues_data::raw_cid;
use ues_repo::blob_store::{
    BlobStore, BlobStoreError, BlobStores, Content, Place, S3Blobs, S3Options,
};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::blobs::BlobMeta;
use ues_repo::repo::{BlobIntakeError, KeySource, KeySourceError, Repositories};
use ues_repo::syntax::Did;
use ues_storage::engine::MemoryEngine;
use ues_storage::{BlockRef, Store, StoreOptions};
use zeroize::Zeroizing;

fn store() -> Store {
    Store::with_engine(Arc::new(MemoryEngine::new()), StoreOptions::default()).unwrap()
}

fn bucket(store: &Store, client: &Arc<InMemory>) -> S3Blobs {
    S3Blobs::with_client(store, Arc::clone(client) as _, "blobs", "some/node").unwrap()
}

/// A bucket that nobody answers for.
fn dead_bucket(store: &Store) -> S3Blobs {
    let options = S3Options {
        bucket: "blobs".into(),
        region: "us-east-1".into(),
        // Port 1 is nobody's.
        endpoint: "http://127.0.0.1:1".into(),
        access_key: "id".into(),
        secret_key: Arc::new(Zeroizing::new("secret".into())),
        path_style: true,
        prefix: String::new(),
    };
    S3Blobs::open(store, &options).unwrap()
}

fn bytes(length: usize) -> Vec<u8> {
    let mut state = length as u64;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as u8
    };
    std::iter::repeat_with(&mut next).take(length).collect()
}

fn write(store: &dyn BlobStore, holder: BlockRef, content: &[u8], step: usize) -> Place {
    let mut writer = store.writer(holder);
    content
        .chunks(step)
        .for_each(|piece| writer.push(piece).unwrap());
    writer.finish().unwrap()
}

fn read(store: &dyn BlobStore, content: &Content, offset: u64) -> Option<Vec<u8>> {
    let mut reader = store.open(content, offset).unwrap()?;
    let mut out = Vec::new();
    while let Some(piece) = reader.next_chunk().unwrap() {
        assert!(!piece.is_empty());
        out.extend_from_slice(&piece);
    }
    Some(out)
}

/// What every place promises.
fn conforms(store: &dyn BlobStore) {
    const PART: usize = 5 << 20;
    let lengths = [0, 1, 70_000, PART - 1, PART, PART + 1, 2 * PART, 11_000_003];
    for (slot, length) in (1..).zip(lengths) {
        let (holder, content) = (BlockRef { owner: 7, slot }, bytes(length));
        let place = write(store, holder, &content, 65_521);
        let size = length as u64;
        let stored = Content {
            place,
            holder,
            size,
        };
        for offset in [0, 1, size / 2, size.saturating_sub(1), size] {
            let expected = content
                .get(usize::try_from(offset).unwrap()..)
                .unwrap_or_default();
            let found = read(store, &stored, offset);
            assert!(
                found.as_deref() == Some(expected),
                "{length} bytes from {offset}"
            );
        }
        // The same content of another holder is that one's own.
        let other = BlockRef { owner: 8, slot };
        let twin = Content {
            place: write(store, other, &content, 1 << 20),
            holder: other,
            size,
        };
        store.delete(place, holder).unwrap();
        assert!(read(store, &twin, 0).as_deref() == Some(&content[..]));
        store.delete(twin.place, other).unwrap();
        if size > 0 {
            assert_eq!(
                read(store, &stored, 0),
                None,
                "{length} bytes after they were deleted"
            );
        }
        store.delete(place, holder).unwrap();
    }
    // What is not finished is given up, and disturbs nobody.
    let mut writer = store.writer(BlockRef { owner: 7, slot: 98 });
    writer.push(&bytes(2 * PART + 1)).unwrap();
    drop(writer);
    let holder = BlockRef { owner: 7, slot: 99 };
    let place = write(store, holder, b"later", 5);
    let stored = Content {
        place,
        holder,
        size: 5,
    };
    assert_eq!(read(store, &stored, 0).as_deref(), Some(&b"later"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_conforms() {
    let store = store();
    let test = move || conforms(&BlobStores::new(&store, None));
    tokio::task::spawn_blocking(test).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_conforms() {
    let store = store();
    let client = Arc::new(InMemory::new());
    let stores = BlobStores::new(&store, Some(bucket(&store, &client)));
    tokio::task::spawn_blocking(move || conforms(&stores))
        .await
        .unwrap();
}

struct OneKey(Arc<SigningKey>);

impl KeySource for OneKey {
    fn signing_key(&self, _: &Did) -> Result<Option<Arc<SigningKey>>, KeySourceError> {
        Ok(Some(Arc::clone(&self.0)))
    }
}

struct Node {
    store: Store,
    key: Arc<SigningKey>,
    repos: Repositories,
    did: Did,
}

impl Node {
    async fn new(store: &Store, bucket: Option<S3Blobs>) -> Self {
        let key = Arc::new(SigningKey::generate(KeyKind::K256).unwrap());
        let node = Self::over(store, &key, bucket);
        let created = node
            .repos
            .create(&node.did, &key, store.batch(), Vec::new());
        created.await.unwrap();
        node
    }

    /// The node of a store, as a start opens it.
    fn over(store: &Store, key: &Arc<SigningKey>, bucket: Option<S3Blobs>) -> Self {
        let content = BlobStores::new(store, bucket);
        let keys = Arc::new(OneKey(Arc::clone(key)));
        Self {
            store: store.clone(),
            key: Arc::clone(key),
            repos: Repositories::open_with(store.clone(), keys, content).unwrap(),
            did: Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap(),
        }
    }

    fn owner(&self) -> u64 {
        self.repos.head(&self.did).unwrap().unwrap().owner
    }

    async fn upload(&self, content: &[u8]) -> BlobMeta {
        let mut intake = self.repos.blob_intake(self.owner());
        let (owned, expected) = (content.to_vec(), raw_cid(content));
        let stored = tokio::task::spawn_blocking(move || {
            intake.push(&owned).unwrap();
            intake.finish_as(&expected).unwrap()
        });
        let meta = BlobMeta::of(&stored.await.unwrap(), "text/plain".to_owned(), 1);
        let entered = self.repos.enter_blob(&self.did, self.owner(), &meta);
        entered.await.unwrap();
        meta
    }

    async fn read(&self, meta: &BlobMeta) -> Result<Option<Vec<u8>>, BlobStoreError> {
        let (repos, owner, meta) = (self.repos.clone(), self.owner(), meta.clone());
        let read = tokio::task::spawn_blocking(move || {
            let Some(mut reader) = repos.open_blob(owner, &meta, 0)? else {
                return Ok(None);
            };
            let mut out = Vec::new();
            while let Some(piece) = reader.next_chunk()? {
                out.extend_from_slice(&piece);
            }
            Ok(Some(out))
        });
        read.await.unwrap()
    }

    async fn empty_trash(&self) -> Result<usize, BlobStoreError> {
        let repos = self.repos.clone();
        let emptied = tokio::task::spawn_blocking(move || repos.empty_blob_trash());
        emptied.await.unwrap()
    }

    fn problems(&self) -> Vec<String> {
        self.repos.check(&self.did, &mut |_| ()).unwrap().problems
    }
}

/// The objects of the only repository.
async fn listed(client: &InMemory) -> Vec<ObjectMeta> {
    let folder = "some/node/0000000000000001".into();
    let listed = client.list_with_delimiter(Some(&folder));
    listed.await.unwrap().objects
}

async fn objects(client: &InMemory) -> usize {
    listed(client).await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_in_a_bucket_come_and_go() {
    let (store, client) = (store(), Arc::new(InMemory::new()));
    let node = Node::new(&store, Some(bucket(&store, &client))).await;
    let content = bytes(12_000_000);
    let meta = node.upload(&content).await;
    assert_eq!(meta.place, Place::Bucket);
    assert_eq!(
        node.repos.blob(&node.did, &meta.cid).unwrap(),
        Some(meta.clone())
    );
    assert!(node.read(&meta).await.unwrap() == Some(content.clone()));
    assert_eq!(objects(&client).await, 1);
    // A second upload takes the place of the first.
    let again = node.upload(&content).await;
    assert_eq!(objects(&client).await, 2);
    assert_eq!(node.empty_trash().await.unwrap(), 1);
    assert!(node.read(&again).await.unwrap() == Some(content));
    assert_eq!(objects(&client).await, 1);
    assert_eq!(node.repos.check(&node.did, &mut |_| ()).unwrap().blobs, 1);
    assert_eq!(
        node.repos.sweep_blobs(&node.did, u64::MAX).await.unwrap(),
        1
    );
    assert_eq!(node.empty_trash().await.unwrap(), 1);
    assert_eq!(objects(&client).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_in_the_bucket_is_removed() {
    let (store, client) = (store(), Arc::new(InMemory::new()));
    let node = Node::new(&store, Some(bucket(&store, &client))).await;
    let kept = node.upload(b"kept").await;
    let owner = node.owner();
    let (mut whole, mut half) = (node.repos.blob_intake(owner), node.repos.blob_intake(owner));
    let mut wrong = node.repos.blob_intake(owner);
    let left = tokio::task::spawn_blocking(move || {
        whole.push(b"never entered").unwrap();
        let whole = whole.finish().unwrap();
        wrong.push(b"other bytes").unwrap();
        let refused = wrong.finish_as(&raw_cid(b"these bytes")).unwrap_err();
        assert!(matches!(refused, BlobIntakeError::Mismatch { .. }));
        half.push(&bytes(11 << 20)).unwrap();
        // What a process that is killed does not do.
        std::mem::forget(half);
        whole
    });
    assert_eq!(left.await.unwrap().place, Place::Bucket);
    assert_eq!(objects(&client).await, 2);
    assert_eq!(
        node.empty_trash().await.unwrap(),
        0,
        "uploads that are under way stay"
    );
    let next = Node::over(&node.store, &node.key, Some(bucket(&store, &client)));
    assert_eq!(next.empty_trash().await.unwrap(), 2);
    assert_eq!(objects(&client).await, 1);
    assert_eq!(
        next.read(&kept).await.unwrap().as_deref(),
        Some(&b"kept"[..])
    );
    assert_eq!(next.empty_trash().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_on_the_disk_stay_there() {
    let (store, client) = (store(), Arc::new(InMemory::new()));
    let before = Node::new(&store, None).await;
    let old = before.upload(b"from before").await;
    let node = Node::over(&store, &before.key, Some(bucket(&store, &client)));
    let new = node.upload(b"from after").await;
    assert!(matches!(
        (old.place, new.place),
        (Place::Disk(_), Place::Bucket)
    ));
    assert_eq!(
        node.read(&old).await.unwrap().as_deref(),
        Some(&b"from before"[..])
    );
    assert_eq!(node.problems(), [""; 0]);
    // And without the bucket it is said where the content is.
    let without = Node::over(&store, &before.key, None);
    assert!(matches!(
        without.read(&new).await,
        Err(BlobStoreError::NoBucket)
    ));
    assert_eq!(without.problems().len(), 1);
    assert_eq!(
        without.read(&old).await.unwrap().as_deref(),
        Some(&b"from before"[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_down_loses_nothing() {
    let (store, client) = (store(), Arc::new(InMemory::new()));
    let up = Node::new(&store, Some(bucket(&store, &client))).await;
    let meta = up.upload(b"patience").await;
    let down = Node::over(&store, &up.key, Some(dead_bucket(&store)));
    let refused = down.read(&meta).await;
    assert!(
        matches!(refused, Err(BlobStoreError::Unavailable { .. })),
        "{refused:?}"
    );
    let mut intake = down.repos.blob_intake(down.owner());
    let failed = tokio::task::spawn_blocking(move || {
        intake.push(b"more").unwrap();
        intake.finish().unwrap_err()
    });
    let failed = failed.await.unwrap();
    let is_down = matches!(
        &failed,
        BlobIntakeError::Store(BlobStoreError::Unavailable { .. })
    );
    assert!(is_down, "{failed}");
    down.repos.sweep_blobs(&down.did, u64::MAX).await.unwrap();
    assert!(down.empty_trash().await.is_err());
    assert_eq!(objects(&client).await, 1);
    let again = Node::over(&store, &up.key, Some(bucket(&store, &client)));
    assert_eq!(
        again.empty_trash().await.unwrap(),
        2,
        "the deleted blob, and the upload that failed"
    );
    assert_eq!(objects(&client).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_reads_what_is_in_the_bucket() {
    let (store, client) = (store(), Arc::new(InMemory::new()));
    let node = Node::new(&store, Some(bucket(&store, &client))).await;
    node.upload(b"as it was").await;
    let object = listed(&client).await.remove(0).location;
    assert_eq!(node.problems(), [""; 0]);
    client.put(&object, "as it is!".into()).await.unwrap();
    assert!(node.problems()[0].contains("not what its CID says"));
    client.put(&object, "short".into()).await.unwrap();
    assert!(node.problems()[0].contains("cannot be read"));
    client.delete(&object).await.unwrap();
    assert!(node.problems()[0].contains("missing"));
}
