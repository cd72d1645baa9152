//! Measures our pin service and IPFS-Cluster 1.1.6 on the same work, with a Kubo each, in one run.
//!
//! ```text
//! cargo build --release -p ues -p bench-pins && tests/peers/install.sh kubo ipfs-cluster
//! ./target/release/bench-pins [--pins 20000] [--many 200000]
//! ./target/release/bench-pins --growth 10000000
//! ```
//!
//! Every figure is things in a second, and more is better. IPFS-Cluster does not sync its accepted pins to the disk;
//! we do, before we answer.

mod client;
mod growth;
mod programs;
mod rows;

use anyhow::Result;
use clap::Parser;

// As the node itself has it, so that memory is comparable.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What is measured.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// Pins for the rows with a Kubo
    #[arg(long, default_value_t = 20_000)]
    pub pins: usize,
    /// Pins for the rows without one
    #[arg(long, default_value_t = 200_000)]
    pub many: usize,
    /// Clients that work at the same time
    #[arg(long, default_value_t = 16)]
    pub clients: usize,
    /// Instead of everything else: the embedded state store with so many pins
    #[arg(long, value_name = "PINS")]
    pub growth: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(pins) = options.growth {
        return growth::run(pins).await;
    }
    println!("{:<46} {:>12} {:>12} {:>9}", "", "ours", "cluster", "ratio");
    rows::with_kubo(&options).await?;
    rows::embedded(&options).await
}

/// Prints one row.
pub fn row(what: &str, ours: f64, theirs: Option<f64>) {
    match theirs {
        Some(theirs) => println!(
            "{what:<46} {ours:>12.0} {theirs:>12.0} {:>8.1}x",
            ours / theirs
        ),
        None => println!("{what:<46} {ours:>12.0} {:>12} {:>9}", "", ""),
    }
}
