//! The CQL state store on a real Apache Cassandra, which stands in for ScyllaDB.
//! `cargo test -p ues-pins --test cql -- --ignored`; tests/peers/install.sh fetches the database.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod access;
mod clocks;
#[path = "../stores/conformance.rs"]
mod conformance;
mod crash;
mod faults;
#[path = "../stores/model.rs"]
mod model;
mod server;
mod tables;

use std::sync::Arc;

use server::{Server, at, connect};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn conforms() {
    let server = Server::shared();
    let open = || {
        let connected = connect(server.settings(), at(0));
        let here = tokio::runtime::Handle::current();
        Arc::new(tokio::task::block_in_place(|| here.block_on(connected)))
    };
    conformance::run(open).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn a_restart_of_the_program_loses_nothing() {
    let settings = Server::shared().settings();
    let before = conformance::fill(&connect(settings.clone(), at(0)).await).await;
    let after = conformance::everything(&connect(settings, at(0)).await).await;
    assert_eq!(before, after);
}
