//! How the costs of our node grow with the size of one repository.

use anyhow::Result;

use crate::Options;
use crate::client::create_account;
use crate::report::Report;
use crate::rows::large::{fill, get_records};
use crate::rows::writes::create_records;
use crate::servers::{Server, Side, Stop};

/// Fills one repository to each size and measures there.
pub async fn run(options: &Options, report: &mut Report) -> Result<()> {
    let mut server = Server::start(Side::Ours).await?;
    let account = create_account(server.port, "growth").await?;
    let mut filled = 0;
    for &size in &options.growth {
        fill(server.port, &account, filled, size.saturating_sub(2000)).await?;
        let span = fill(server.port, &account, size.saturating_sub(2000), size).await?;
        filled = size;
        let mut add = |name: &str, value: f64, unit| {
            report.add(
                Side::Ours,
                &format!("{name} at {size} records"),
                value,
                unit,
            );
        };
        add(
            "applyWrites of 200",
            2000.0 / span.as_secs_f64(),
            "records/s",
        );
        let one =
            create_records(server.port, std::slice::from_ref(&account), options.seconds).await?;
        add("createRecord, 1 writer: p50", one.percentile(0.5), "ms");
        let writers = vec![account.clone(); 16];
        let many = create_records(server.port, &writers, options.seconds).await?;
        add("createRecord, 16 writers", many.rate(), "records/s");
        let reads = get_records(server.port, &account, size, options.seconds).await?;
        add("getRecord, 32 clients", reads.rate(), "records/s");
        add(
            "restart",
            server.restart(Stop::Asked).await?.as_secs_f64() * 1e3,
            "ms",
        );
        match server.restart(Stop::KilledAndCold).await {
            Ok(time) => add("restart, killed and cold", time.as_secs_f64() * 1e3, "ms"),
            Err(cause) => {
                eprintln!("no cold restart: {cause:#}");
                server.restart(Stop::Asked).await?;
            }
        }
        let cold =
            create_records(server.port, std::slice::from_ref(&account), options.seconds).await?;
        add(
            "createRecord, 1 writer after restart: p50",
            cold.percentile(0.5),
            "ms",
        );
        let (now, peak) = server.memory()?;
        add("memory", now as f64 / 1e6, "MB");
        add("memory at its highest", peak as f64 / 1e6, "MB");
        add("disk", server.disk()? as f64 / 1e6, "MB");
    }
    Ok(())
}
