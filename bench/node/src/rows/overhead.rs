//! What the server puts around the work: checking a session, passing a call on, hashing a password.

use anyhow::Result;

use crate::Options;
use crate::client::{Connection, create_account};
use crate::measure::{Measured, closed_loop};
use crate::report::Report;
use crate::servers::{Server, Side};

const SESSION: &str = "getSession beyond _health, one client: p50";
const PASSED: &str = "call passed on, beyond the service's own time: p50";
const CREATE: &str = "createAccount, one after another: p50";

/// Measures the rows.
pub async fn run(server: &Server, options: &Options, report: &mut Report) -> Result<()> {
    if options.wants(SESSION) {
        let account = create_account(server.port, "who-asks").await?;
        let mut anyone = Connection::open(server.port).await?;
        let mut owner = Connection::open_as(server.port, &account).await?;
        let without = gets(&mut anyone, "/xrpc/_health", options.seconds).await?;
        let with = "/xrpc/com.atproto.server.getSession";
        let with = gets(&mut owner, with, options.seconds).await?;
        let more = with.percentile(0.5) - without.percentile(0.5);
        report.add(server.side, SESSION, more, "ms");
    }
    // The official server is not told of a service.
    if options.wants(PASSED) && server.side == Side::Ours {
        let path = "/xrpc/app.bsky.graph.getMutes";
        let account = create_account(server.port, "who-calls").await?;
        let mut direct = Connection::open(server.service).await?;
        let mut through = Connection::open_as(server.port, &account).await?;
        let direct = gets(&mut direct, path, options.seconds).await?;
        let through = gets(&mut through, path, options.seconds).await?;
        let more = through.percentile(0.5) - direct.percentile(0.5);
        report.add(server.side, PASSED, more, "ms");
        let more = through.percentile(0.99) - direct.percentile(0.99);
        report.add(server.side, &PASSED.replace("p50", "p99"), more, "ms");
    }
    if options.wants(CREATE) {
        let port = server.port;
        let measured = closed_loop(vec![()], options.seconds, |(), turn| async move {
            create_account(port, &format!("created{turn}")).await?;
            Ok(())
        });
        let measured = measured.await?;
        report.add(server.side, CREATE, measured.percentile(0.5), "ms");
        // A sign-in is a hash of the same cost, a few reads and one row.
        let body = r#"{"identifier":"created0.test","password":"correct horse battery"}"#;
        let connection = vec![Connection::open(port).await?];
        let sign_in = "com.atproto.server.createSession";
        let measured = closed_loop(
            connection,
            options.seconds,
            |mut connection, _| async move {
                connection.post(sign_in, body).await?;
                Ok(connection)
            },
        );
        let row = "createSession, one after another: p50";
        let measured = measured.await?;
        report.add(server.side, row, measured.percentile(0.5), "ms");
    }
    Ok(())
}

/// One query again and again on one connection.
async fn gets(connection: &mut Connection, path: &str, seconds: f64) -> Result<Measured> {
    closed_loop(vec![connection], seconds, |connection, _| async move {
        connection.get(path).await?;
        Ok(connection)
    })
    .await
}
