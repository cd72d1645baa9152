//! `ues peer`: the network between nodes.

use clap::Subcommand;
use serde_json::{Value, json};

use super::Context;
use crate::failure::Outcome;
use crate::output::Table;

/// Peers: other nodes that this one is connected with.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists connected peers
    #[command(visible_alias = "list")]
    Ls,
    /// Connects with a peer, and again whenever it is lost
    Add {
        /// Where it is, such as /ip4/192.168.1.5/tcp/4100/p2p/12D3Koo…
        #[arg(value_name = "ADDRESS")]
        address: String,
    },
    /// Shows where other nodes reach this one
    Addresses,
}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, command: Command) -> Outcome {
    let client = context.client().await?;
    match command {
        Command::Ls => {
            let answer = client.admin_get("network", &[]).await?;
            let mut table = Table::new(&["peer", "program", "way", "round trip"]);
            for peer in answer["state"]["peers"].as_array().into_iter().flatten() {
                table.row(row(peer));
            }
            context
                .output
                .result(&answer, |out| table.write(out, "no peer is connected"));
        }
        Command::Add { address } => {
            let answer = client
                .admin_post("peer/add", &json!({ "address": address }))
                .await?;
            let peer = answer["peer"].as_str().unwrap_or_default().to_owned();
            context
                .output
                .line(&answer, format!("connected with {peer}"));
        }
        Command::Addresses => {
            let answer = client.admin_get("network", &[]).await?;
            let state = &answer["state"];
            let peer = state["peer"].as_str().unwrap_or_default();
            let mut all: Vec<String> = Vec::new();
            let known = [&state["listening"], &state["external"]].map(Value::as_array);
            for address in known.into_iter().flatten().flatten() {
                let address = format!("{}/p2p/{peer}", address.as_str().unwrap_or_default());
                if !all.contains(&address) {
                    all.push(address);
                }
            }
            context.output.result(&json!(all), |out| {
                for address in &all {
                    writeln!(out, "{address}")?;
                }
                Ok(())
            });
        }
    }
    Ok(())
}

fn row(peer: &Value) -> [String; 4] {
    let text = |name: &str| peer[name].as_str().unwrap_or_default().to_owned();
    // The connection that streams take.
    let connections = peer["connections"].as_array();
    let first = connections.and_then(|all| all.iter().min_by_key(|c| c["relayed"] == true));
    let way = match first.map(|c| c["relayed"] == true) {
        Some(true) => "through a relay",
        Some(false) => "direct",
        None => "",
    };
    let trip = first.and_then(|c| c["roundTripMicros"].as_f64());
    [
        text("peer"),
        text("agent"),
        way.to_owned(),
        trip.map_or_else(String::new, |micros| format!("{:.1} ms", micros / 1000.0)),
    ]
}
