//! `ues repo tree`.

use std::io::Write;

use serde_json::{Value, json};
use ues_data::{Cid, Ipld, dag_cbor};
use ues_repo::repo::verify::Archive;

use super::source::Source;
use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{FAINT, STRONG, printable};

/// Arguments of `ues repo tree`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ues repo tree alice.test                 the two upper layers
  ues repo tree alice.car --depth 100      all of it")]
pub struct Args {
    /// A CAR file, an address, or an account of the node
    #[arg(value_name = "REPOSITORY")]
    source: String,
    /// How many layers of nodes
    #[arg(long, default_value_t = 2, value_name = "N")]
    depth: usize,
}

/// Runs it.
///
/// # Errors
/// When the repository cannot be read or its tree is damaged.
pub async fn run(context: &Context, args: Args) -> Outcome {
    let archive = Source::parse(&args.source)?.load(context).await?;
    let damaged = |what: String| Failure::unsound(format!("{} is damaged: {what}", args.source));
    let verified = archive
        .verify(None, |_, _, _| {}, |_, _| {})
        .map_err(|e| damaged(e.to_string()))?;
    let root = node(&archive, &verified.data, args.depth).map_err(damaged)?;
    let value = json!({
        "did": verified.did.as_str(), "rev": verified.rev.as_str(), "commit": verified.commit.to_string(),
        "records": verified.records, "nodes": verified.nodes, "tree": root,
    });
    context.output.result(&value, |out| {
        writeln!(
            out,
            "{STRONG}{}{STRONG:#} revision {}",
            verified.did,
            verified.rev.as_str()
        )?;
        writeln!(out, "{FAINT}commit {}{FAINT:#}", verified.commit)?;
        draw(out, &root, "")?;
        writeln!(
            out,
            "{FAINT}{} records in {} nodes{FAINT:#}",
            verified.records, verified.nodes
        )
    });
    Ok(())
}

/// A node as JSON: `{cid, items: [{node} | {key, cid}]}`. Below the wanted depth a node has its CID only. The
/// whole tree was verified before, so its depth is bounded.
fn node(archive: &Archive, cid: &Cid, depth: usize) -> Result<Value, String> {
    if depth == 0 {
        return Ok(json!({ "cid": cid.to_string() }));
    }
    let bytes = archive
        .blocks
        .get(cid)
        .ok_or_else(|| format!("block {cid} is missing"))?;
    let Ok(Ipld::Map(map)) = dag_cbor::decode(bytes) else {
        return Err(format!("block {cid} is not a tree node"));
    };
    let mut items = Vec::new();
    if let Some(Ipld::Link(left)) = map.get("l") {
        items.push(json!({ "node": node(archive, left, depth - 1)? }));
    }
    let mut key = Vec::new();
    let Some(Ipld::List(entries)) = map.get("e") else {
        return Err(format!("block {cid} is not a tree node"));
    };
    for entry in entries {
        let Ipld::Map(entry) = entry else { continue };
        if let (Some(Ipld::Integer(shared)), Some(Ipld::Bytes(rest))) =
            (entry.get("p"), entry.get("k"))
        {
            key.truncate(usize::try_from(*shared).unwrap_or(0));
            key.extend_from_slice(rest);
        }
        let record = match entry.get("v") {
            Some(Ipld::Link(cid)) => cid.to_string(),
            _ => String::new(),
        };
        items.push(json!({ "key": String::from_utf8_lossy(&key), "cid": record }));
        if let Some(Ipld::Link(right)) = entry.get("t") {
            items.push(json!({ "node": node(archive, right, depth - 1)? }));
        }
    }
    Ok(json!({ "cid": cid.to_string(), "items": items }))
}

fn draw(out: &mut dyn Write, node: &Value, indent: &str) -> std::io::Result<()> {
    let more = if node["items"].is_null() { " …" } else { "" };
    writeln!(
        out,
        "{FAINT}{}{more}{FAINT:#}",
        node["cid"].as_str().unwrap_or_default()
    )?;
    let items = node["items"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    for (i, item) in items.iter().enumerate() {
        let last = i + 1 == items.len();
        write!(out, "{indent}{}", if last { "└─ " } else { "├─ " })?;
        match item["key"].as_str() {
            Some(key) => writeln!(out, "{}", printable(key))?,
            None => {
                let deeper = format!("{indent}{}", if last { "   " } else { "│  " });
                draw(out, &item["node"], &deeper)?;
            }
        }
    }
    Ok(())
}
