//! `ues pin status` and `ues pin watch`.

use axum::body::Body;
use http::Method;
use serde_json::Value;

use super::path_part;
use crate::client::query_string;
use crate::commands::Context;
use crate::failure::Outcome;
use crate::output::{BAD, FAINT, GOOD, STRONG, Table};

/// `ues pin status`
///
/// # Errors
/// What the node answers.
pub async fn status(context: &Context, id: &str) -> Outcome {
    let client = context.client().await?;
    let pin = client
        .pins_get(&format!("/pins/{}", path_part(id)?), &[])
        .await?;
    let cid = pin["pin"]["cid"].as_str().unwrap_or_default().to_owned();
    let params = [("cid", cid.as_str())];
    let record = client.admin_get("pins/record", &params).await?;
    let mut value = pin.clone();
    value["placements"] = record["placements"].clone();
    let mut table = Table::new(&["worker", "state", "since", "why"]);
    for placement in record["placements"].as_array().into_iter().flatten() {
        let text = |name: &str| placement[name].as_str().unwrap_or_default().to_owned();
        table.row([text("name"), text("state"), text("since"), text("error")]);
    }
    context.output.result(&value, |out| {
        let text = |name: &str| pin[name].as_str().unwrap_or_default();
        writeln!(out, "{STRONG}{cid}{STRONG:#}")?;
        writeln!(out, "  status   {}", coloured(text("status")))?;
        for (label, name) in [
            ("copies", "copies"),
            ("size", "dag_size"),
            ("until", "pinned_until"),
            ("why", "status_details"),
        ] {
            if let Some(detail) = pin["info"][name].as_str() {
                writeln!(out, "  {label:<8} {}", crate::output::printable(detail))?;
            }
        }
        if let Some(name) = pin["pin"]["name"].as_str() {
            writeln!(out, "  name     {}", crate::output::printable(name))?;
        }
        writeln!(out, "  since    {}", text("created"))?;
        writeln!(out, "  request  {}", text("requestid"))?;
        table.write(out, "no worker has it yet")
    });
    Ok(())
}

/// `ues pin watch`
///
/// # Errors
/// What the node answers.
pub async fn watch(context: &Context, cids: &[String]) -> Outcome {
    let client = context.client().await?;
    let list = cids.join(",");
    let params: &[(&str, &str)] = if cids.is_empty() {
        &[]
    } else {
        &[("cid", &list)]
    };
    let path = format!("/pins/watch{}", query_string(params));
    let mut lines = client.pins_lines(Method::GET, &path, Body::empty()).await?;
    while let Some(event) = lines.next().await? {
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        if let Some(missed) = event["missed"].as_u64() {
            context.output.line(
                &event,
                format!("{FAINT}{missed} changes were too fast to show{FAINT:#}"),
            );
            continue;
        }
        let line = format!(
            "{FAINT}{}{FAINT:#} {} {} {FAINT}{}{FAINT:#} {}",
            text("at"),
            coloured(text("state")),
            text("cid"),
            text("worker"),
            text("error")
        );
        context.output.line(&event, line);
    }
    Ok(())
}

/// A status in the colour of the news that it is.
pub fn coloured(status: &str) -> String {
    match status {
        "pinned" => format!("{GOOD}{status}{GOOD:#}"),
        "failed" => format!("{BAD}{status}{BAD:#}"),
        _ => status.to_owned(),
    }
}

/// What an answer says of why a pin failed.
pub fn reason(pin: &Value) -> &str {
    pin["info"]["status_details"]
        .as_str()
        .unwrap_or("no reason is known")
}
