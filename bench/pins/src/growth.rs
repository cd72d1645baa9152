//! The embedded state store with very many pins: disk, memory, opening it, accepting more, and one walk of the planner
//! over all of them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use ues_data::raw_cid;
use ues_pins::planner::{Policy, plan};
use ues_pins::store::{EmbeddedStore, PlacementChange, RequestChange, StateStore, TokenRange};
use ues_pins::{
    Fleet, Owner, PeerId, Pin, PinOptions, PinRequest, Placement, PlacementState, Worker,
};
use ues_storage::{Store, StoreOptions};

use crate::programs::disk;

/// Pins of one batch while the store is filled.
const BATCH: u64 = 2_000;
/// Batches that are under way at one time while the store is filled.
const LANES: usize = 4;
/// Writers that each wait for their one pin.
const WRITERS: usize = 64;
/// How long the rate of accepting is measured.
const SPAN: Duration = Duration::from_secs(5);
/// The fleet.
const WORKERS: u8 = 100;

const NOW_MS: u64 = 1_800_000_000_000;

/// Fills a store, and prints each figure with its target.
pub async fn run(pins: u64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (store, state) = open(folder.path())?;
    let empty = accept(&state, 1 << 40).await?;
    line("accept, 64 writers, empty store: pins/s", empty, "");
    let begun = Instant::now();
    fill(&state, pins).await?;
    let rate = pins as f64 / begun.elapsed().as_secs_f64();
    line("fill, request and placement: pins/s", rate, "");
    line("  memory: MB", memory("VmRSS:")? / 1e6, "");
    line("until tables are in order: seconds", settle().await?, "");
    let full = accept(&state, 1 << 41).await?;
    line("accept, 64 writers, full store: pins/s", full, "");
    line(
        "  of the empty store's: %",
        full / empty * 100.0,
        "80 or more",
    );
    drop(state);
    close(store).await;

    let bytes = disk(folder.path())? as f64;
    line("  memory when closed: MB", memory("VmRSS:")? / 1e6, "");
    let begun = Instant::now();
    let (store, state) = open(folder.path())?;
    let known = state.records(&[cid(pins / 2)]).await?;
    ensure!(known.iter().all(|r| r.wanted.is_some()), "a pin is lost");
    line(
        "open and read one: seconds",
        begun.elapsed().as_secs_f64(),
        "2 or less",
    );
    line("  memory when opened: MB", memory("VmRSS:")? / 1e6, "");
    let walked = sweep(&state, pins).await?;
    line("disk for each pin: bytes", bytes / walked, "300 or less");
    line("memory, peak: MB", memory("VmHWM:")? / 1e6, "500 or less");
    line("memory now: MB", memory("VmRSS:")? / 1e6, "");
    drop(state);
    close(store).await;
    Ok(())
}

fn open(folder: &Path) -> Result<(Store, Arc<EmbeddedStore>)> {
    let store = Store::open(folder, StoreOptions::default())?;
    let state = EmbeddedStore::open(store.clone())?;
    Ok((store, Arc::new(state)))
}

async fn close(store: Store) {
    let _ = tokio::task::spawn_blocking(move || store.close()).await;
}

fn line(what: &str, value: f64, target: &str) {
    println!("{what:<46} {value:>14.2}   {target}");
}

fn cid(number: u64) -> ues_data::Cid {
    raw_cid(&number.to_be_bytes())
}

fn worker_id(number: u8) -> PeerId {
    PeerId::from_ed25519(&[number; 32])
}

fn request(number: u64) -> RequestChange {
    let options = PinOptions {
        name: format!("content {number}"),
        ..PinOptions::default()
    };
    let created_ms = NOW_MS + number;
    RequestChange::Put(Box::new(PinRequest {
        owner: Owner::default_owner(),
        pin: Pin::new(cid(number), options, created_ms / 1000),
        tags: Vec::new(),
        created_ms,
    }))
}

fn placement(number: u64) -> PlacementChange {
    let peer = u8::try_from(number % u64::from(WORKERS)).unwrap_or_default();
    PlacementChange {
        cid: cid(number),
        peer: worker_id(peer),
        placement: Some(Placement {
            state: PlacementState::Pinned,
            bytes: 1000 + number % 100_000,
            content: 7,
            heard: NOW_MS,
            ..Placement::assigned(true, NOW_MS, NOW_MS + 86_400_000)
        }),
    }
}

async fn fill(state: &Arc<EmbeddedStore>, pins: u64) -> Result<()> {
    let batches = futures::stream::iter((0..pins).step_by(usize::try_from(BATCH)?));
    let write = |from: u64| {
        let state = Arc::clone(state);
        async move {
            let numbers = from..(from + BATCH).min(pins);
            let requests = numbers.clone().map(request).collect();
            state.change_requests(requests, Vec::new()).await?;
            state
                .change_placements(numbers.map(placement).collect())
                .await?;
            anyhow::Ok(())
        }
    };
    let mut done = batches
        .map(|from| tokio::spawn(write(from)))
        .buffer_unordered(LANES);
    while let Some(result) = done.next().await {
        result??;
    }
    Ok(())
}

/// Waits until the engine has nothing left to do in the background; returns the seconds.
async fn settle() -> Result<f64> {
    let begun = Instant::now();
    let mut before = cpu_seconds()?;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = cpu_seconds()?;
        if now - before < 0.05 {
            return Ok(begun.elapsed().as_secs_f64());
        }
        before = now;
    }
}

/// Pins in a second, each acknowledged by itself.
async fn accept(state: &Arc<EmbeddedStore>, first: u64) -> Result<f64> {
    let next = Arc::new(AtomicU64::new(first));
    let begun = Instant::now();
    let writers = (0..WRITERS).map(|_| {
        let (state, next) = (Arc::clone(state), Arc::clone(&next));
        tokio::spawn(async move {
            while begun.elapsed() < SPAN {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let change = request(number);
                state.change_requests(vec![change], Vec::new()).await?;
            }
            anyhow::Ok(())
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await??;
    }
    Ok((next.load(Ordering::Relaxed) - first) as f64 / begun.elapsed().as_secs_f64())
}

/// Plans every record, as the reconciler's walk does; returns how many there are.
async fn sweep(state: &EmbeddedStore, pins: u64) -> Result<f64> {
    let workers = (0..WORKERS).map(|number| Worker {
        id: worker_id(number),
        name: format!("worker {number}"),
        seen_ms: NOW_MS,
        free: 1 << 40,
        used: 0,
        pins: None,
        tags: [("region".to_owned(), format!("r{}", number % 5))].into(),
        concurrency: 8,
        draining: false,
        failing: None,
        content: 7,
        exclusive: true,
        ipfs_id: String::new(),
        ipfs_addresses: Vec::new(),
        agent: String::new(),
    });
    let fleet = Fleet::new(workers.collect());
    let policy = Policy::default();
    let (begun, cpu) = (Instant::now(), cpu_seconds()?);
    let mut records = state.scan(TokenRange::ALL, None);
    let (mut walked, mut to_do) = (0u64, 0u64);
    while let Some(record) = records.next().await {
        let record = record?;
        walked += 1;
        to_do += u64::from(!plan(&record, &fleet, &policy, NOW_MS).changes.is_empty());
    }
    ensure!(walked >= pins, "{walked} of {pins} records were walked");
    let scale = 1e7 / walked as f64;
    line("walk of the planner: pins", walked as f64, "");
    line("  of which something is to be done", to_do as f64, "");
    line(
        "  seconds for 10 million",
        begun.elapsed().as_secs_f64() * scale,
        "60 or less",
    );
    line(
        "  processor seconds for 10 million",
        (cpu_seconds()? - cpu) * scale,
        "60 or less",
    );
    Ok(walked as f64)
}

/// A line of `/proc/self/status`, in bytes.
fn memory(name: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.split_whitespace().next());
    Ok(kib.context("memory")?.parse::<f64>()? * 1024.0)
}

/// Processor time of this process so far.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after = stat.rsplit_once(") ").context("stat")?.1;
    let ticks: Vec<f64> = after
        .split(' ')
        .skip(11)
        .take(2)
        .flat_map(str::parse)
        .collect();
    // Linux counts in hundredths of a second, whatever the kernel's own ticks are.
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
