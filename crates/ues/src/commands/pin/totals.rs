//! `ues pin totals`.

use crate::commands::Context;
use crate::failure::Outcome;
use crate::output::{STRONG, human_bytes};

/// Shows what the last walk over all pins counted.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context) -> Outcome {
    let client = context.client().await?;
    let totals = client.admin_get("pins/totals", &[]).await?;
    context.output.result(&totals, |out| {
        let number = |value: &serde_json::Value| value.as_u64().unwrap_or_default();
        let copies = &totals["copies"];
        let drift = totals["drift"].as_f64().unwrap_or_default() * 100.0;
        writeln!(
            out,
            "{STRONG}{}{STRONG:#} pins by {} requests",
            number(&totals["pins"]),
            number(&totals["requests"])
        )?;
        for (name, what) in [
            ("desired", "that should be there"),
            ("pinned", "that are there"),
            ("underway", "under way"),
            ("failed", "failed"),
            ("surplus", "to be taken away"),
        ] {
            writeln!(out, "  {:>12} copies {what}", number(&copies[name]))?;
        }
        writeln!(
            out,
            "  {:>12} of content",
            human_bytes(number(&totals["bytes"]))
        )?;
        writeln!(out, "  {drift:>11.2} % drift")?;
        match totals["countedAt"].as_str() {
            Some(at) if !at.starts_with("1970") => writeln!(out, "  counted {at}"),
            _ => writeln!(out, "  not counted yet"),
        }
    });
    Ok(())
}
