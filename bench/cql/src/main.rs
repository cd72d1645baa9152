//! Measures the CQL state store and the bare driver on the same rows of one database, in one run.
//!
//! ```text
//! tests/peers/install.sh cassandra && tests/peers/cassandra/run /tmp/cassandra 9042 7000 &
//! cargo run --release -p bench-cql -- [--host 127.0.0.1:9042] [--pins 50000]
//! ```
//!
//! Every figure is things in a second, and more is better. The bare driver writes and reads what the store does, knowing
//! beforehand what comes: it reads nothing before a write, waits for nothing in between, tries nothing again and
//! decodes no pin. The database is an Apache Cassandra, which stands in for ScyllaDB.

mod bare;

use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Parser;
use futures::TryStreamExt;
use ues_data::{Cid, raw_cid};
use ues_pins::store::{CqlSettings, CqlStore, OwnerQuery, RequestChange, StateStore, TokenRange};
use ues_pins::{Clock, Owner, Pin, PinOptions, PinRequest};

use bare::Bare;

/// What is measured.
#[derive(Debug, Parser)]
struct Options {
    /// The database
    #[arg(long, default_value = "127.0.0.1:9042")]
    host: String,
    /// Pins
    #[arg(long, default_value_t = 50_000)]
    pins: usize,
    /// Calls that are under way at a time
    #[arg(long, default_value_t = 64)]
    calls: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let seconds = std::time::UNIX_EPOCH.elapsed()?.as_secs();
    let settings = |name: &str| CqlSettings {
        hosts: vec![options.host.clone()],
        keyspace: format!("bench_{name}_{seconds}"),
        ..CqlSettings::default()
    };
    let store = CqlStore::connect(settings("ours"), Clock::default()).await?;
    // The same tables for the driver alone.
    drop(CqlStore::connect(settings("bare"), Clock::default()).await?);
    let bare = Bare::connect(&options.host, &settings("bare").keyspace).await?;
    println!("{:<40} {:>10} {:>10} {:>7}", "", "store", "driver", "part");
    for repetition in 0..2 {
        let owner: Owner = format!("owner{repetition}").parse()?;
        // The first round warms the server up.
        run(&options, &store, &bare, &owner, repetition > 0).await?;
    }
    Ok(())
}

async fn run(
    options: &Options,
    store: &CqlStore,
    bare: &Bare,
    owner: &Owner,
    shown: bool,
) -> Result<()> {
    let row = |what: &str, ours: f64, theirs: f64| {
        if shown {
            let part = ours / theirs;
            println!("{what:<40} {ours:>10.0} {theirs:>10.0} {part:>7.2}");
        }
    };
    let requests = |prefix: &str| -> Vec<PinRequest> {
        let count = options.pins;
        let cids = (0..count).map(|n| raw_cid(format!("{prefix} {owner} {n}").as_bytes()));
        cids.map(|cid| request(owner, cid)).collect()
    };
    let (single, many) = (requests("single"), requests("many"));
    let calls = options.calls;

    let ours = rate(&single, calls, async |request| {
        let change = RequestChange::Put(Box::new(request.clone()));
        store.change_requests(vec![change], Vec::new()).await?;
        Ok(())
    });
    let ours = ours.await?;
    let theirs = rate(&single, calls, async |request| bare.put(request).await).await?;
    row("requests, one in each call", ours, theirs);

    let groups: Vec<_> = many.chunks(500).collect();
    let ours = rate(&groups, 1, async |group| {
        let changes = group
            .iter()
            .map(|r| RequestChange::Put(Box::new(r.clone())));
        store.change_requests(changes.collect(), Vec::new()).await?;
        Ok(())
    });
    let ours = ours.await? * 500.0;
    let theirs = rate(&many, 256, async |request| bare.put(request).await).await?;
    row("requests, 500 in each call", ours, theirs);

    let ours = rate(&groups, 1, async |group| {
        let cids: Vec<Cid> = group.iter().map(|r| *r.cid()).collect();
        let records = store.records(&cids).await?;
        ensure!(records.iter().all(|record| record.wanted.is_some()));
        Ok(())
    });
    let ours = ours.await? * 500.0;
    let theirs = rate(&many, 256, async |request| bare.read(request).await).await?;
    row("records of given CIDs", ours, theirs);

    let begun = Instant::now();
    let records = store.scan(TokenRange::ALL, None);
    let scanned = records
        .try_fold(0u32, async |count, _| Ok(count + 1))
        .await?;
    let ours = f64::from(scanned) / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let rows = bare.scan().await?;
    let theirs = f64::from(rows) / begun.elapsed().as_secs_f64();
    row("records of a scan", ours, theirs);

    let begun = Instant::now();
    let query = OwnerQuery {
        limit: options.pins,
        ..OwnerQuery::default()
    };
    let listed = store.owner_requests(owner, query).await?.requests.len();
    let ours = listed as f64 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let rows = bare.list(owner, &many).await?;
    let theirs = f64::from(rows) / begun.elapsed().as_secs_f64();
    row("requests of a listing", ours, theirs);
    Ok(())
}

fn request(owner: &Owner, cid: Cid) -> PinRequest {
    let now_ms = Clock::default().now_ms();
    let options = PinOptions {
        name: "a pin of the benchmark".to_owned(),
        ..PinOptions::default()
    };
    PinRequest {
        owner: owner.clone(),
        pin: Pin::new(cid, options, now_ms / 1000),
        tags: vec!["blue".to_owned()],
        created_ms: now_ms,
    }
}

/// Runs an operation for every item, so many at a time; returns items in a second.
async fn rate<T>(
    items: &[T],
    at_once: usize,
    operation: impl AsyncFn(&T) -> Result<()>,
) -> Result<f64> {
    let begun = Instant::now();
    futures::stream::iter(items.iter().map(Ok))
        .try_for_each_concurrent(at_once, |item| operation(item))
        .await?;
    Ok(items.len() as f64 / begun.elapsed().as_secs_f64())
}
