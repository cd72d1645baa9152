//! The interface of IPFS-Cluster over a state store in memory and a worker that does as if: to try its clients.
//!
//! `cargo run -p ues-pins --example cluster -- [ADDRESS] [PINS]`, and then
//! `ipfs-cluster-ctl --host /ip4/127.0.0.1/tcp/9094 …`. With a number of pins it makes them in a store in a temporary
//! folder, for measurements of the lists.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use ues_bus::{EmbeddedBus, EmbeddedOptions};
use ues_pins::auth::Caller;
use ues_pins::service::Options;
use ues_pins::store::RequestChange;
use ues_pins::store::{EmbeddedStore, MemoryStore, PlacementChange, StateStore, TokenRange};
use ues_pins::{
    Clock, Owner, PeerId, Pin, PinOptions, PinRequest, Pins, Placement, PlacementState, Worker,
    cluster,
};
use ues_storage::engine::MemoryEngine;
use ues_storage::{Store, StoreOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:9094".to_owned());
    let count: u64 = args.next().map_or(Ok(0), |text| text.parse())?;
    let folder = std::env::temp_dir().join(format!("ues-cluster-{}", std::process::id()));
    let store: Arc<dyn StateStore> = if count > 0 {
        Arc::new(EmbeddedStore::open(Store::open(
            &folder,
            StoreOptions::default(),
        )?)?)
    } else {
        Arc::new(MemoryStore::default())
    };
    let engine = Arc::new(MemoryEngine::new());
    let bus = EmbeddedBus::open(
        Store::with_engine(engine, StoreOptions::default())?,
        EmbeddedOptions::default(),
    )?;
    let options = Options {
        plans: count == 0,
        ..Options::new("example".to_owned())
    };
    let id = PeerId::from_ed25519(&[7; 32]);
    store.put_worker(worker(&id)).await?;
    let owner: Owner = "example".parse()?;
    make(&*store, &owner, &id, count).await?;
    let pins = Pins::start(Arc::clone(&store), bus, options);
    if count == 0 {
        tokio::spawn(work(store, id));
    }
    let caller = Caller::operator(owner);
    let routes = cluster::routes(
        pins,
        Arc::new(move |_| Box::pin(std::future::ready(Ok(caller.clone())))),
        None,
        cluster::Options::default(),
    );
    let listener = tokio::net::TcpListener::bind(&address).await?;
    eprintln!("http://{address}");
    axum::serve(listener, routes)
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    if count > 0 {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

fn worker(id: &PeerId) -> Worker {
    Worker {
        id: id.clone(),
        name: "pretender".to_owned(),
        seen_ms: Clock::default().now_ms(),
        free: 1 << 40,
        used: 0,
        pins: None,
        tags: BTreeMap::from([("region".to_owned(), "here".to_owned())]),
        concurrency: 10,
        draining: false,
        failing: None,
        content: 1,
        exclusive: true,
        ipfs_id: PeerId::from_ed25519(&[8; 32]).to_string(),
        ipfs_addresses: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()],
        agent: "example".to_owned(),
    }
}

/// Says of everything that it is done, and lives.
async fn work(store: Arc<dyn StateStore>, id: PeerId) {
    use futures::StreamExt;
    loop {
        let _ = store.put_worker(worker(&id)).await;
        let records: Vec<_> = store.scan(TokenRange::ALL, None).collect().await;
        let mut changes = Vec::new();
        for record in records.into_iter().flatten() {
            for (peer, placement) in record.placements {
                let state = if placement.desired {
                    PlacementState::Pinned
                } else {
                    PlacementState::Unpinned
                };
                if placement.state != state {
                    let placement = Some(Placement {
                        state,
                        content: 1,
                        ..placement
                    });
                    let cid = record.cid;
                    changes.push(PlacementChange {
                        cid,
                        peer,
                        placement,
                    });
                }
            }
        }
        let _ = store.change_placements(changes).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Makes pins that are there.
async fn make(
    store: &dyn StateStore,
    owner: &Owner,
    id: &PeerId,
    count: u64,
) -> Result<(), Box<dyn Error>> {
    let now_ms = Clock::default().now_ms();
    for from in (0..count).step_by(5000) {
        let mut requests = Vec::new();
        let mut placements = Vec::new();
        for number in from..count.min(from + 5000) {
            let cid = ues_data::content_id::raw_cid(&number.to_be_bytes());
            let options = PinOptions {
                name: format!("pin number {number}"),
                ..PinOptions::default()
            };
            let created_ms = now_ms - number;
            requests.push(RequestChange::Put(Box::new(PinRequest {
                owner: owner.clone(),
                pin: Pin::new(cid, options, created_ms / 1000),
                tags: Vec::new(),
                created_ms,
            })));
            let placement = Placement {
                state: PlacementState::Pinned,
                ..Placement::assigned(true, created_ms, created_ms + 60_000)
            };
            placements.push(PlacementChange {
                cid,
                peer: id.clone(),
                placement: Some(placement),
            });
        }
        store.change_requests(requests, Vec::new()).await?;
        store.change_placements(placements).await?;
    }
    Ok(())
}
