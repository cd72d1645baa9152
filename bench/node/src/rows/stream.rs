//! The event stream: from a write to its subscribers, and the log read from the start.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::try_join_all;
use memchr::memmem;

use crate::Options;
use crate::client::{Connection, create_account};
use crate::firehose::Firehose;
use crate::measure::Measured;
use crate::report::Report;
use crate::servers::Server;

const SUBSCRIBERS: usize = 100;
const WRITES: usize = 200;

/// Measures the rows.
pub async fn run(server: &Server, options: &Options, report: &mut Report) -> Result<()> {
    let row = format!("write to firehose, {SUBSCRIBERS} subscribers");
    if options.wants(&row) {
        let measured = latency(server.port).await?;
        report.add(
            server.side,
            &format!("{row}: p50"),
            measured.percentile(0.5),
            "ms",
        );
        report.add(
            server.side,
            &format!("{row}: p99"),
            measured.percentile(0.99),
            "ms",
        );
    }
    let row = "firehose backfill";
    if options.wants(row) {
        let (events, span) = backfill(server.port).await?;
        report.add(
            server.side,
            row,
            events as f64 / span.as_secs_f64(),
            "events/s",
        );
    }
    Ok(())
}

/// A record key that a frame can be searched for.
fn mark(n: usize) -> String {
    format!("mark-{n:08}-mark")
}

pub async fn write_mark(connection: &mut Connection, did: &str, n: usize) -> Result<()> {
    let rkey = mark(n);
    let body = format!(
        r#"{{"repo":"{did}","collection":"com.example.mark","rkey":"{rkey}","record":{{"$type":"com.example.mark","n":{n}}}}}"#
    );
    connection.post("com.atproto.repo.putRecord", body).await?;
    Ok(())
}

/// The number in a frame's mark, if it has one.
pub fn read_mark(frame: &[u8]) -> Option<usize> {
    let at = memmem::find(frame, b"mark-")?;
    let digits = frame.get(at + 5..at + 13)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Time from sending a write to its arrival at each of many subscribers, one write after another.
async fn latency(port: u16) -> Result<Measured> {
    let account = create_account(port, "latency").await?;
    let mut connection = Connection::open_as(port, &account).await?;
    let sent: Rc<RefCell<Vec<Option<Instant>>>> = Rc::new(RefCell::new(vec![None; WRITES + 1]));
    let mut subscribers =
        try_join_all((0..SUBSCRIBERS).map(|_| Firehose::open(port, None))).await?;

    // Warm up until every subscriber has seen one and the same write.
    write_mark(&mut connection, &account.did, WRITES).await?;
    try_join_all(subscribers.iter_mut().map(|firehose| async move {
        while read_mark(&firehose.next().await?) != Some(WRITES) {}
        anyhow::Ok(())
    }))
    .await?;

    let begun = Instant::now();
    let readers = try_join_all(subscribers.into_iter().map(|mut firehose| {
        let sent = sent.clone();
        async move {
            let mut latencies = Vec::with_capacity(WRITES);
            while latencies.len() < WRITES {
                let frame = firehose.next().await?;
                let now = Instant::now();
                let start = read_mark(&frame).and_then(|n| sent.borrow().get(n).copied().flatten());
                if let Some(start) = start {
                    latencies.push(now - start);
                }
            }
            anyhow::Ok(latencies)
        }
    }));
    let writer = async {
        for n in 0..WRITES {
            if let Some(slot) = sent.borrow_mut().get_mut(n) {
                *slot = Some(Instant::now());
            }
            write_mark(&mut connection, &account.did, n).await?;
        }
        anyhow::Ok(())
    };
    let (latencies, ()) = futures::try_join!(readers, writer)?;
    Ok(Measured::new(latencies.concat(), begun.elapsed()))
}

/// Reads the whole log up to a last write.
async fn backfill(port: u16) -> Result<(u64, Duration)> {
    const LAST: usize = 99_999_999;
    let account = create_account(port, "backfill").await?;
    let mut connection = Connection::open_as(port, &account).await?;
    write_mark(&mut connection, &account.did, LAST).await?;
    let begun = Instant::now();
    let mut firehose = Firehose::open(port, Some(0)).await?;
    let mut events = 0;
    loop {
        let frame = firehose.next().await?;
        events += 1;
        if read_mark(&frame) == Some(LAST) {
            return Ok((events, begun.elapsed()));
        }
    }
}
