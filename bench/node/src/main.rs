//! Runs our node and the official PDS through the same work, one after the other on this machine, and prints
//! what each did, the ratio, memory and disk.

mod client;
mod firehose;
mod growth;
mod measure;
mod report;
mod rows;
mod servers;
mod service;

use anyhow::Result;
use clap::Parser;

use report::Report;
use servers::{Server, Side};

/// Measures our node against the official PDS on the same work.
///
/// Needs `cargo build --release -p ues` and tests/peers/install.sh first.
#[derive(Parser)]
struct Options {
    /// Measure only this side.
    #[arg(long)]
    only: Option<Side>,
    /// Measure only rows whose name contains this text (may be given more than once).
    #[arg(long)]
    row: Vec<String>,
    /// Seconds for each row that runs by time.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Records of the large repository.
    #[arg(long, default_value_t = 20_000)]
    records: usize,
    /// Subscribers of the event stream in the row with a steady rate of commits; 0 leaves it out.
    #[arg(long, default_value_t = 0)]
    subscribers: usize,
    /// That rate, in commits a second.
    #[arg(long, default_value_t = 500)]
    commits: u32,
    /// Instead: costs of our node at these sizes of one repository, for example 10000,100000,1000000.
    #[arg(long, value_delimiter = ',')]
    growth: Vec<usize>,
    /// Print figures as JSON.
    #[arg(long)]
    json: bool,
}

impl Options {
    fn wants(&self, row: &str) -> bool {
        self.row.is_empty() || self.row.iter().any(|part| row.contains(part.as_str()))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = Options::parse();
    let mut report = Report::default();
    if options.growth.is_empty() {
        for side in [Side::Theirs, Side::Ours] {
            if options.only.is_none_or(|only| only == side) {
                let server = Server::start(side).await?;
                rows::run(&server, &options, &mut report).await?;
            }
        }
    } else {
        growth::run(&options, &mut report).await?;
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", report.table());
    }
    Ok(())
}
