//! The rows of the comparison.

pub mod large;
mod stream;
pub mod writes;

use anyhow::Result;

use crate::Options;
use crate::report::Report;
use crate::servers::Server;

/// Measures every wanted row on one server.
pub async fn run(server: &Server, options: &Options, report: &mut Report) -> Result<()> {
    let (start, _) = server.memory()?;
    report.add(server.side, "memory at start", start as f64 / 1e6, "MB");
    writes::run(server, options, report).await?;
    large::run(server, options, report).await?;
    stream::run(server, options, report).await?;
    let (now, peak) = server.memory()?;
    report.add(server.side, "memory after all", now as f64 / 1e6, "MB");
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
