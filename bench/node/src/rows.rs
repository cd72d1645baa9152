//! The rows of the comparison.

mod fanout;
pub mod large;
mod overhead;
mod stream;
pub mod writes;

use anyhow::Result;

use crate::Options;
use crate::report::Report;
use crate::servers::Server;

/// Time in which a server may give back what its last work took.
const REST: std::time::Duration = std::time::Duration::from_secs(5);

/// Measures every wanted row on one server.
pub async fn run(server: &Server, options: &Options, report: &mut Report) -> Result<()> {
    let (start, _) = server.memory()?;
    report.add(server.side, "memory at start", start as f64 / 1e6, "MB");
    writes::run(server, options, report).await?;
    large::run(server, options, report).await?;
    stream::run(server, options, report).await?;
    overhead::run(server, options, report).await?;
    fanout::run(server, options, report).await?;
    let (now, peak) = server.memory()?;
    report.add(server.side, "memory after all", now as f64 / 1e6, "MB");
    tokio::time::sleep(REST).await;
    let (rested, _) = server.memory()?;
    report.add(
        server.side,
        "memory after all, 5 s later",
        rested as f64 / 1e6,
        "MB",
    );
    report.add(
        server.side,
        "memory at its highest",
        peak as f64 / 1e6,
        "MB",
    );
    report.add(
        server.side,
        "disk after all",
        server.disk()? as f64 / 1e6,
        "MB",
    );
    Ok(())
}
