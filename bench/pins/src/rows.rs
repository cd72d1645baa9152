//! The rows of the table.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::Value;
use ues_data::{Cid, raw_cid};

use crate::client::Connection;
use crate::{Options, programs, row};

const JSON: &str = "application/json";

fn contents(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{prefix} {i}")).collect()
}

fn cids(contents: &[String]) -> Vec<Cid> {
    contents
        .iter()
        .map(|content| raw_cid(content.as_bytes()))
        .collect()
}

/// Runs an operation for every item, shared among clients; returns items in a second.
async fn spread<T, F>(
    clients: usize,
    port: u16,
    key: Option<&str>,
    items: Arc<Vec<T>>,
    operation: F,
) -> Result<f64>
where
    T: Send + Sync + 'static,
    F: AsyncFn(&mut Connection, &T) -> Result<()> + Clone,
{
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    let client = async || {
        let mut connection = Connection::open(port, key).await?;
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            operation(&mut connection, item).await?;
        }
        anyhow::Ok(())
    };
    futures::future::try_join_all((0..clients).map(|_| client())).await?;
    Ok(items.len() as f64 / begun.elapsed().as_secs_f64())
}

/// Stores blocks in a Kubo, not pinned.
async fn put_blocks(port: u16, contents: &[String]) -> Result<()> {
    let items = Arc::new(contents.to_vec());
    let put = async |connection: &mut Connection, content: &String| {
        let body = format!(
            "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n{content}\r\n--x--\r\n"
        );
        let path = "/api/v0/block/put?cid-codec=raw&mhtype=sha2-256";
        connection
            .send(
                Method::POST,
                path,
                "multipart/form-data; boundary=x",
                body.into(),
            )
            .await?;
        Ok(())
    };
    spread(16, port, None, items, put).await?;
    Ok(())
}

/// Waits until the cluster interface counts so many pinned.
async fn settled(port: u16, count: usize) -> Result<()> {
    let mut connection = Connection::open(port, None).await?;
    let deadline = Instant::now() + Duration::from_secs(600);
    loop {
        let pinned = connection
            .lines(Method::GET, "/pins?filter=pinned", JSON, Bytes::new())
            .await?;
        if pinned >= count {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{pinned} of {count} are pinned");
        let part = pinned as f64 / count as f64;
        tokio::time::sleep(Duration::from_millis(if part > 0.95 { 50 } else { 500 })).await;
    }
}

/// How fast a list is read; the best of three.
async fn listed(port: u16, path: &str, count: usize) -> Result<f64> {
    let mut best: f64 = 0.0;
    for _ in 0..3 {
        let mut connection = Connection::open(port, None).await?;
        let begun = Instant::now();
        let lines = connection
            .lines(Method::GET, path, JSON, Bytes::new())
            .await?;
        ensure!(lines >= count, "{path}: {lines} of {count}");
        best = best.max(lines as f64 / begun.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Both services with a Kubo each.
pub async fn with_kubo(options: &Options) -> Result<()> {
    let contents = contents("kubo", options.pins);
    let cids = cids(&contents);
    let alone = {
        let (_kubo, port) = programs::kubo().await?;
        put_blocks(port, &contents).await?;
        let groups: Vec<String> = cids
            .chunks(50)
            .map(|group| group.iter().map(|cid| format!("&arg={cid}")).collect())
            .collect();
        let count = groups.len();
        let pin = async |connection: &mut Connection, group: &String| {
            connection
                .send(
                    Method::POST,
                    &format!("/api/v0/pin/add?progress=false{group}"),
                    JSON,
                    Bytes::new(),
                )
                .await?;
            Ok(())
        };
        let rate = spread(10, port, None, Arc::new(groups), pin).await?;
        rate * cids.len() as f64 / count as f64
    };
    let theirs = {
        let (_kubo, kubo) = programs::kubo().await?;
        put_blocks(kubo, &contents).await?;
        let (program, port) = programs::cluster(kubo).await?;
        let pin = async |connection: &mut Connection, cid: &Cid| {
            connection
                .send(Method::POST, &format!("/pins/{cid}"), JSON, Bytes::new())
                .await?;
            Ok(())
        };
        let begun = Instant::now();
        let accept = spread(options.clients, port, None, Arc::new(cids.clone()), pin).await?;
        settled(port, cids.len()).await?;
        let settle = cids.len() as f64 / begun.elapsed().as_secs_f64();
        let lists = (
            listed(port, "/allocations", cids.len()).await?,
            listed(port, "/pins", cids.len()).await?,
        );
        (accept, settle, lists, program.peak()?)
    };
    let (_kubo, kubo) = programs::kubo().await?;
    put_blocks(kubo, &contents).await?;
    let (program, port, cluster, key) = programs::ours(Some(kubo)).await?;
    let begun = Instant::now();
    let accept = spread(
        options.clients,
        port,
        Some(&key),
        Arc::new(cids.clone()),
        post,
    )
    .await?;
    settled(cluster, cids.len()).await?;
    let settle = cids.len() as f64 / begun.elapsed().as_secs_f64();
    let clients = options.clients;
    row(
        &format!("accept, one a request, {clients} clients, Kubo busy"),
        accept,
        Some(theirs.0),
    );
    row("settle with Kubo", settle, Some(theirs.1));
    row("  Kubo's own pin/add, 50 a call, 10 calls", alone, None);
    row(
        "list all (/allocations)",
        listed(cluster, "/allocations", cids.len()).await?,
        Some(theirs.2.0),
    );
    row(
        "list with status (/pins)",
        listed(cluster, "/pins", cids.len()).await?,
        Some(theirs.2.1),
    );
    row(
        "peak memory, MB",
        program.peak()? as f64 / 1e6,
        Some(theirs.3 as f64 / 1e6),
    );
    Ok(())
}

async fn post(connection: &mut Connection, cid: &Cid) -> Result<()> {
    let body = format!("{{\"cid\":\"{cid}\"}}");
    connection
        .send(Method::POST, "/pins", JSON, body.into())
        .await?;
    Ok(())
}

/// Our service with content of its own.
pub async fn embedded(options: &Options) -> Result<()> {
    {
        let (_program, port, _, key) = programs::ours(None).await?;
        let items = Arc::new(cids(&contents("absent", options.many / 4)));
        let rate = spread(options.clients, port, Some(&key), items, post).await?;
        row(
            &format!(
                "accept, one a request, {} clients, embedded",
                options.clients
            ),
            rate,
            None,
        );
    }
    {
        let (program, port, cluster, key) = programs::ours(None).await?;
        let before = program.disk()?;
        let rate = bulk(port, &key, &cids(&contents("bulk", options.many))).await?;
        row("accept, lines in bulk, embedded", rate, None);
        row(
            "list all, embedded",
            listed(cluster, "/allocations", options.many).await?,
            None,
        );
        let each = (program.disk()? - before) as f64 / options.many as f64;
        row("  disk for each pin that waits, bytes", each, None);
        row("  peak memory, MB", program.peak()? as f64 / 1e6, None);
    }
    let (program, port, cluster, key) = programs::ours(None).await?;
    let contents = contents("content", options.many / 2);
    upload(port, &key, &contents).await?;
    let begun = Instant::now();
    bulk(port, &key, &cids(&contents)).await?;
    settled(cluster, contents.len() + 1).await?;
    row(
        "settle, embedded content",
        contents.len() as f64 / begun.elapsed().as_secs_f64(),
        None,
    );
    row(
        "list with status, embedded",
        listed(cluster, "/pins", contents.len()).await?,
        None,
    );
    let each = program.disk()? as f64 / contents.len() as f64;
    row("  disk for each pin with its block, bytes", each, None);
    row("  peak memory, MB", program.peak()? as f64 / 1e6, None);
    Ok(())
}

async fn bulk(port: u16, key: &str, cids: &[Cid]) -> Result<f64> {
    let body: String = cids
        .iter()
        .map(|cid| format!("{{\"cid\":\"{cid}\"}}\n"))
        .collect();
    let mut connection = Connection::open(port, Some(key)).await?;
    let begun = Instant::now();
    let lines = connection
        .lines(
            Method::POST,
            "/pins/bulk",
            "application/x-ndjson",
            body.into(),
        )
        .await?;
    ensure!(
        lines == cids.len(),
        "{lines} answers to {} lines",
        cids.len()
    );
    Ok(lines as f64 / begun.elapsed().as_secs_f64())
}

/// Brings blocks as one archive, whose root alone is pinned.
async fn upload(port: u16, key: &str, contents: &[String]) -> Result<()> {
    let root = raw_cid(b"root");
    let mut archive = ues_data::car::CarWriter::new(Vec::new(), &[root])?;
    archive.block(&root, b"root")?;
    for content in contents {
        archive.block(&raw_cid(content.as_bytes()), content.as_bytes())?;
    }
    let body = archive.finish()?;
    let mut connection = Connection::open(port, Some(key)).await?;
    let answer = connection
        .send(
            Method::POST,
            "/pins/car",
            "application/vnd.ipld.car",
            body.into(),
        )
        .await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    ensure!(answer["results"].is_array(), "{answer}");
    Ok(())
}
