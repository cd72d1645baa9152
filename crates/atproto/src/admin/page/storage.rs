//! `/admin/storage`: what takes the node's disk.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use ues_repo::repo::Usage;

use super::desk::{Desk, Frame, Visit};
use super::words::account_name;
use crate::context::Context;
use crate::web::{bytes, grouped};
use crate::xrpc::XrpcError;

/// Accounts that are shown.
const LARGEST: usize = 20;
/// Accounts that are read at one time.
const PAGE: usize = 1000;

struct KindLine {
    name: &'static str,
    what: &'static str,
    bytes: String,
}

struct HolderLine {
    did: String,
    account: String,
    records: String,
    record_bytes: String,
    blobs: String,
    blob_bytes: String,
}

#[derive(Template)]
#[template(path = "admin/storage.html")]
struct StoragePage {
    frame: Frame,
    disk: String,
    accounts: String,
    records: String,
    record_bytes: String,
    blobs: String,
    blob_bytes: String,
    kinds: Vec<KindLine>,
    largest: Vec<HolderLine>,
}

/// `GET /admin/storage`: reads how much each account has.
pub async fn show(State(desk): State<Desk>, request: Request<Body>) -> Response {
    let visit = match desk.enter(&request) {
        Ok(visit) => visit,
        Err(refused) => return *refused,
    };
    let made = storage(&desk, &visit).await;
    desk.page(&visit, made)
}

/// What all accounts have, and those that have most.
#[derive(Default)]
struct Holders {
    accounts: u64,
    all: Usage,
    /// Bytes, DID, usage: the smallest on top.
    largest: BinaryHeap<Reverse<(u64, String, [u64; 4])>>,
}

impl Holders {
    fn of(ctx: &Context) -> Result<Self, XrpcError> {
        let mut holders = Self::default();
        let mut after = None;
        loop {
            let page = ctx.repos.list(after, PAGE).map_err(XrpcError::internal)?;
            let Some((_, last)) = page.last() else {
                return Ok(holders);
            };
            after = Some(last.owner);
            for (did, _) in &page {
                // One that was deleted meanwhile has nothing.
                if let Ok(usage) = ctx.repos.usage(did) {
                    holders.add(did.to_string(), usage);
                }
            }
        }
    }

    fn add(&mut self, did: String, usage: Usage) {
        let numbers = [
            usage.records,
            usage.record_bytes,
            usage.blobs,
            usage.blob_bytes,
        ];
        self.accounts += 1;
        self.all.records += usage.records;
        self.all.record_bytes += usage.record_bytes;
        self.all.blobs += usage.blobs;
        self.all.blob_bytes += usage.blob_bytes;
        let bytes = usage.record_bytes.saturating_add(usage.blob_bytes);
        self.largest.push(Reverse((bytes, did, numbers)));
        if self.largest.len() > LARGEST {
            self.largest.pop();
        }
    }
}

async fn storage(desk: &Desk, visit: &Visit) -> Result<StoragePage, XrpcError> {
    let ctx = desk.ctx.clone();
    let read = move || {
        let stats = ctx.store.stats().map_err(XrpcError::internal)?;
        let holders = Holders::of(&ctx)?;
        Ok::<_, XrpcError>((ctx, stats, holders))
    };
    let read = tokio::task::spawn_blocking(read).await;
    let (ctx, stats, holders) = read.map_err(XrpcError::internal)??;
    let kind = |(name, size): &(&'static str, u64)| KindLine {
        name,
        what: what(name),
        bytes: bytes(*size),
    };
    let holder = |Reverse((_, did, numbers)): Reverse<(u64, String, [u64; 4])>| {
        let account = ues_repo::syntax::Did::parse(&did);
        let [records, record_bytes, blobs, blob_bytes] = numbers;
        HolderLine {
            account: account.map_or_else(|_| did.clone(), |did| account_name(&ctx, &did)),
            did,
            records: grouped(records),
            record_bytes: bytes(record_bytes),
            blobs: grouped(blobs),
            blob_bytes: bytes(blob_bytes),
        }
    };
    Ok(StoragePage {
        frame: desk.frame(visit, "storage"),
        disk: bytes(stats.disk_bytes),
        accounts: grouped(holders.accounts),
        records: grouped(holders.all.records),
        record_bytes: bytes(holders.all.record_bytes),
        blobs: grouped(holders.all.blobs),
        blob_bytes: bytes(holders.all.blob_bytes),
        kinds: stats.keyspace_bytes.iter().map(kind).collect(),
        // Sorted the smallest first under `Reverse`, so the largest come first.
        largest: holders
            .largest
            .into_sorted_vec()
            .into_iter()
            .map(holder)
            .collect(),
    })
}

/// What the store keeps under a name.
fn what(name: &str) -> &'static str {
    match name {
        "blocks" => "commits, tree nodes, records",
        "refs" => "who keeps which block",
        "retired" => "blocks that go at the next look",
        "log" => "the event log",
        "meta" => "the store's own numbers",
        "expiry" => "what ends by itself",
        "objects" => "blobs, on the node's disk",
        "nursery" => "blocks that may not live long",
        _ => "",
    }
}
