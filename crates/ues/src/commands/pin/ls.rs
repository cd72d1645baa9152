//! `ues pin ls`.

use serde_json::Value;

use super::show::coloured;
use crate::commands::Context;
use crate::failure::Outcome;
use crate::output::{FAINT, printable};

/// Pins that are asked for at a time.
const PAGE: usize = 500;

/// Arguments of `ues pin ls`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only those so far: queued, pinning, pinned, failed; may be repeated
    #[arg(long, value_name = "STATUS", value_parser = ["queued", "pinning", "pinned", "failed"])]
    status: Vec<String>,
    /// Only those whose name contains this
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Only those with this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// At most so many [default: all]
    #[arg(long, short = 'n', value_name = "COUNT")]
    limit: Option<usize>,
}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, args: Args) -> Outcome {
    let client = context.client().await?;
    let status = if args.status.is_empty() {
        "queued,pinning,pinned,failed".to_owned()
    } else {
        args.status.join(",")
    };
    let (mut left, mut cursor) = (args.limit.unwrap_or(usize::MAX), String::new());
    let mut shown = 0u64;
    loop {
        let limit = left.min(PAGE).to_string();
        let mut params = vec![("status", status.as_str()), ("limit", &limit)];
        if let Some(name) = &args.name {
            params.extend([("name", name.as_str()), ("match", "ipartial")]);
        }
        if let Some(tag) = &args.tag {
            params.push(("tag", tag));
        }
        if !cursor.is_empty() {
            params.push(("cursor", &cursor));
        }
        let page = client.pins_get("/pins", &params).await?;
        let results = page["results"].as_array().cloned().unwrap_or_default();
        for pin in &results {
            line(context, pin);
        }
        shown += results.len() as u64;
        left -= results.len().min(left);
        let more = page["count"].as_u64().unwrap_or(0) > results.len() as u64;
        match results.last().and_then(|pin| pin["requestid"].as_str()) {
            Some(last) if more && left > 0 => last.clone_into(&mut cursor),
            _ => break,
        }
    }
    if shown == 0 {
        context.output.remark(format!("{FAINT}no pins{FAINT:#}"));
    }
    Ok(())
}

fn line(context: &Context, pin: &Value) {
    let status = pin["status"].as_str().unwrap_or_default();
    let cid = pin["pin"]["cid"].as_str().unwrap_or_default();
    let name = pin["pin"]["name"].as_str().unwrap_or_default();
    let padding = " ".repeat(8usize.saturating_sub(status.len()));
    let text = format!("{}{padding}{cid} {}", coloured(status), printable(name));
    context.output.line(pin, text.trim_end());
}
