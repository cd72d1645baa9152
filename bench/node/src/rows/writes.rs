//! createRecord by many writers, in repositories of their own and in one.

use anyhow::Result;
use futures::future::try_join_all;

use crate::Options;
use crate::client::{Account, Connection, create_accounts};
use crate::measure::{Measured, closed_loop};
use crate::report::Report;
use crate::servers::Server;

const WRITERS: [usize; 3] = [1, 16, 64];

/// Measures the rows.
pub async fn run(server: &Server, options: &Options, report: &mut Report) -> Result<()> {
    for n in WRITERS {
        let row = format!(
            "createRecord, {n} {}, a repository each",
            if n == 1 { "writer" } else { "writers" }
        );
        if options.wants(&row) {
            let accounts = create_accounts(server.port, &format!("each{n}x"), n).await?;
            let measured = create_records(server.port, &accounts, options.seconds).await?;
            add(report, server, &row, &measured);
        }
    }
    for n in WRITERS.into_iter().skip(1) {
        let row = format!("createRecord, {n} writers, one repository");
        if options.wants(&row) {
            let account = create_accounts(server.port, &format!("one{n}x"), 1).await?;
            let accounts: Vec<_> = account.iter().cycle().take(n).cloned().collect();
            let measured = create_records(server.port, &accounts, options.seconds).await?;
            add(report, server, &row, &measured);
        }
    }
    Ok(())
}

fn add(report: &mut Report, server: &Server, row: &str, measured: &Measured) {
    report.add(server.side, row, measured.rate(), "records/s");
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

/// One writer per account, each with its connection, creating posts as fast as the server answers.
pub async fn create_records(port: u16, accounts: &[Account], seconds: f64) -> Result<Measured> {
    let workers = try_join_all(accounts.iter().map(|account| async move {
        anyhow::Ok((
            Connection::open_as(port, account).await?,
            account.did.clone(),
        ))
    }))
    .await?;
    closed_loop(workers, seconds, |(mut connection, did), turn| async move {
        let body = format!(
            r#"{{"repo":"{did}","collection":"app.bsky.feed.post","record":{{"$type":"app.bsky.feed.post","text":"post number {turn} of a writer who has something to say and says it in a line of usual length","createdAt":"2026-01-01T00:00:00.000Z","langs":["en"]}}}}"#
        );
        connection.post("com.atproto.repo.createRecord", body).await?;
        Ok((connection, did))
    })
    .await
}
