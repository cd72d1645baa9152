//! The event stream with many subscribers and a steady rate of commits.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::future::try_join_all;

use super::stream::{read_mark, write_mark};
use crate::Options;
use crate::client::{Connection, create_accounts};
use crate::firehose::{Drain, Firehose};
use crate::measure::Measured;
use crate::report::Report;
use crate::servers::Server;

/// Repositories that are written to, each by one connection.
const WRITERS: usize = 32;
/// Subscribers whose frames are looked at. The others' are read and thrown away: looking at all of them would keep this
/// process busier than the server.
const WATCHED: usize = 20;

/// Seconds before what is measured.
const WARM_UP: f64 = 1.0;

/// Measures the rows.
pub async fn run(server: &Server, options: &Options, report: &mut Report) -> Result<()> {
    let (subscribers, rate) = (options.subscribers, options.commits);
    let row = format!("{subscribers} subscribers, {rate} commits/s");
    if subscribers == 0 || !options.wants(&row) {
        return Ok(());
    }
    let (measured, span) = fan_out(server.port, subscribers, rate, options.seconds).await?;
    let side = server.side;
    report.add(side, &format!("{row}: p50"), measured.percentile(0.5), "ms");
    report.add(
        side,
        &format!("{row}: p99"),
        measured.percentile(0.99),
        "ms",
    );
    let written = f64::from(rate) * options.seconds / span.as_secs_f64();
    report.add(side, &format!("{row}: commits made"), written, "commits/s");
    Ok(())
}

/// Writes at a rate, whatever the server takes for each, and measures from when a write is due to its arrival at
/// some subscribers. The reader of the frames is this process: its processor time is in what it measures.
async fn fan_out(
    port: u16,
    subscribers: usize,
    rate: u32,
    seconds: f64,
) -> Result<(Measured, Duration)> {
    let accounts = create_accounts(port, &format!("fan{subscribers}x"), WRITERS).await?;
    let watched = subscribers.min(WATCHED);
    let drained = try_join_all((watched..subscribers).map(|_| Drain::open(port))).await?;
    let draining = try_join_all(drained.into_iter().map(Drain::run));
    let readers = try_join_all((0..watched).map(|_| Firehose::open(port, None))).await?;
    let warm_up = (f64::from(rate) * WARM_UP) as usize;
    let writes = warm_up + (f64::from(rate) * seconds) as usize;
    let pause = Duration::from_secs(1) / rate.max(1);
    let begun = Instant::now();
    let due = move |n: usize| begun + pause * u32::try_from(n).unwrap_or(u32::MAX);
    let ended = Rc::new(RefCell::new(begun));
    let reading = try_join_all(readers.into_iter().map(|mut firehose| async move {
        let (mut seen, mut latencies) = (0, Vec::with_capacity(writes - warm_up));
        while seen < writes {
            let frame = firehose.next().await?;
            if let Some(n) = read_mark(&frame).filter(|n| *n < writes) {
                seen += 1;
                if n >= warm_up {
                    latencies.push(due(n).elapsed());
                }
            }
        }
        anyhow::Ok(latencies)
    }));
    let writing = try_join_all(accounts.iter().enumerate().map(|(first, account)| {
        let ended = Rc::clone(&ended);
        async move {
            let mut connection = Connection::open_as(port, account).await?;
            for n in (first..writes).step_by(WRITERS) {
                tokio::time::sleep_until(due(n).into()).await;
                write_mark(&mut connection, &account.did, n).await?;
                *ended.borrow_mut() = Instant::now();
            }
            anyhow::Ok(())
        }
    }));
    let both = async { futures::try_join!(reading, writing) };
    let (latencies, _) = tokio::select! {
        done = both => done?,
        ended = draining, if watched < subscribers => bail!("a subscriber lost its stream: {ended:?}"),
    };
    let span = (*ended.borrow() - begun).saturating_sub(Duration::from_secs_f64(WARM_UP));
    Ok((Measured::new(latencies.concat(), span), span))
}
