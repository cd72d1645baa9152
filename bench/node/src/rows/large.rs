//! One large repository: filled in batches, read by many clients, exported and imported.

use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use futures::future::try_join_all;

use crate::Options;
use crate::client::{Account, Connection, create_account, create_accounts};
use crate::measure::{Measured, closed_loop};
use crate::report::Report;
use crate::servers::Server;

const READERS: usize = 32;
const CAR: &str = "application/vnd.ipld.car";
/// Repetitions of an export or import are bounded by count as well as by time.
const REPEATS: usize = 20;

/// Measures the rows.
pub async fn run(server: &Server, options: &Options, report: &mut Report) -> Result<()> {
    let n = options.records;
    let rows = [
        "applyWrites of 200".to_owned(),
        format!("getRecord, {READERS} clients, {n} records"),
        format!("getRepo, {n} records, after a write"),
        format!("getRepo, {n} records, again"),
        format!("importRepo, {n} records"),
    ];
    if !rows.iter().any(|row| options.wants(row)) {
        return Ok(());
    }
    let [apply, get, changed, again, import] = rows;
    let account = create_account(server.port, "large").await?;
    let span = fill(server.port, &account, 0, n).await?;
    if options.wants(&apply) {
        report.add(
            server.side,
            &apply,
            n as f64 / span.as_secs_f64(),
            "records/s",
        );
    }
    if options.wants(&get) {
        let measured = get_records(server.port, &account, n, options.seconds).await?;
        report.add(server.side, &get, measured.rate(), "records/s");
        report.add(
            server.side,
            &format!("{get}: p99"),
            measured.percentile(0.99),
            "ms",
        );
    }
    let mut car = Bytes::new();
    for (row, writes) in [(&changed, true), (&again, false)] {
        let span;
        (car, span) = get_repo(server.port, &account, writes, options.seconds).await?;
        if options.wants(row) {
            let rate = n as f64 / span.as_secs_f64();
            report.add(server.side, row, rate, "records/s");
        }
    }
    if options.wants(&import) {
        let span = import_repo(server.port, &car, options.seconds).await?;
        report.add(
            server.side,
            &import,
            n as f64 / span.as_secs_f64(),
            "records/s",
        );
        let alone = Server::start(server.side).await?;
        import_repo(alone.port, &car, 0.0).await?;
        let (_, peak) = alone.memory()?;
        let row = format!("{import}, into a new node: memory at its highest");
        report.add(server.side, &row, peak as f64 / 1e6, "MB");
    }
    Ok(())
}

/// The nth record key: TIDs a millisecond apart, as a busy account has them.
pub fn record_key(n: usize) -> String {
    const DIGITS: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";
    let tid = 0x0635_0000_0000_0000_u64 + n as u64 * 1_024_000;
    (0..13)
        .rev()
        .map(|i| char::from(DIGITS[(tid >> (5 * i)) as usize & 31]))
        .collect()
}

/// Creates the records `from..to` in batches of 200 and says how long that took.
pub async fn fill(port: u16, account: &Account, from: usize, to: usize) -> Result<Duration> {
    let mut connection = Connection::open_as(port, account).await?;
    let mut span = Duration::ZERO;
    for first in (from..to).step_by(200) {
        let writes: Vec<String> = (first..to.min(first + 200))
            .map(|n| {
                let rkey = record_key(n);
                format!(
                    r#"{{"$type":"com.atproto.repo.applyWrites#create","collection":"app.bsky.feed.post","rkey":"{rkey}","value":{{"$type":"app.bsky.feed.post","text":"record number {n} of a large repository, with a text of the usual length for a post","createdAt":"2026-01-01T00:00:00.000Z","langs":["en"]}}}}"#
                )
            })
            .collect();
        let body = format!(
            r#"{{"repo":"{}","writes":[{}]}}"#,
            account.did,
            writes.join(",")
        );
        let begun = Instant::now();
        connection
            .post("com.atproto.repo.applyWrites", body)
            .await?;
        span += begun.elapsed();
    }
    Ok(span)
}

/// Many clients read records in a scattered order.
pub async fn get_records(port: u16, account: &Account, n: usize, seconds: f64) -> Result<Measured> {
    let workers = try_join_all((0..READERS).map(|i| async move {
        anyhow::Ok((Connection::open(port).await?, account.did.clone(), i))
    }))
    .await?;
    closed_loop(workers, seconds, |(mut connection, did, worker), turn| async move {
        // A multiplicative hash scatters the reads over the whole repository.
        let at = (turn * READERS as u64 + worker as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let rkey = record_key(at as usize % n);
        let path = format!("/xrpc/com.atproto.repo.getRecord?repo={did}&collection=app.bsky.feed.post&rkey={rkey}");
        connection.get(&path).await?;
        Ok((connection, did, worker))
    })
    .await
}

/// Exports again and again, after a write each time or not; returns the archive and the fastest time.
async fn get_repo(
    port: u16,
    account: &Account,
    writes: bool,
    seconds: f64,
) -> Result<(Bytes, Duration)> {
    let mut connection = Connection::open_as(port, account).await?;
    let path = format!("/xrpc/com.atproto.sync.getRepo?did={}", account.did);
    let begun = Instant::now();
    let mut best = Duration::MAX;
    let mut car = Bytes::new();
    for turn in 0..REPEATS {
        if turn > 2 && begun.elapsed().as_secs_f64() > seconds {
            break;
        }
        if writes {
            let post = r#"{"$type":"app.bsky.feed.post","text":"new","createdAt":"2026-01-01T00:00:00.000Z"}"#;
            let did = &account.did;
            let body =
                format!(r#"{{"repo":"{did}","collection":"app.bsky.feed.post","record":{post}}}"#);
            connection
                .post("com.atproto.repo.createRecord", body)
                .await?;
        }
        let one = Instant::now();
        car = connection.get(&path).await?;
        best = best.min(one.elapsed());
    }
    Ok((car, best))
}

/// Imports the archive into fresh accounts; returns the fastest time.
async fn import_repo(port: u16, car: &Bytes, seconds: f64) -> Result<Duration> {
    let begun = Instant::now();
    let mut best = Duration::MAX;
    for turn in 0..REPEATS {
        if turn > 0 && begun.elapsed().as_secs_f64() > seconds {
            break;
        }
        let account = create_accounts(port, &format!("import{turn}x"), 1).await?;
        let mut connection = Connection::open_as(port, &account[0]).await?;
        let one = Instant::now();
        connection
            .post_as("com.atproto.repo.importRepo", CAR, car.clone())
            .await?;
        best = best.min(one.elapsed());
    }
    Ok(best)
}
