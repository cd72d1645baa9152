//! `ues access`: who may read a repository over the network.

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Context;
use crate::failure::Outcome;
use crate::output::Table;

/// Who may read which repository over the peer-to-peer network, and which mirror at all.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists the rules that were set; what has none is public
    #[command(visible_alias = "list")]
    Ls,
    /// Shows the rule of a repository
    Show {
        /// Whose repository: a DID, or the handle of an account here
        #[arg(value_name = "DID")]
        repo: String,
    },
    /// Sets the rule of a repository
    #[command(after_help = "\
Examples:
  ues access set alice.test devices
  ues access set did:plc:… peers --peer 12D3KooW… --peer 12D3KooX…
  ues access set alice.test public")]
    Set {
        /// Whose repository: a DID, or the handle of an account here
        #[arg(value_name = "DID")]
        repo: String,
        /// Who may read it
        rule: Rule,
        /// A peer that may, besides the devices that hold it; may be repeated
        #[arg(long, value_name = "ID")]
        peer: Vec<String>,
    },
}

/// Who may read.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Rule {
    /// Everybody
    Public,
    /// The devices that may write to it
    Devices,
    /// Those, and the peers that --peer names
    Peers,
}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, command: Command) -> Outcome {
    let client = context.client().await?;
    match command {
        Command::Ls => {
            let answer = client.admin_get("access", &[]).await?;
            let rules = answer["rules"].clone();
            let mut table = Table::new(&["repository", "who may read it"]);
            for rule in rules.as_array().into_iter().flatten() {
                table.row([text(&rule["repo"]), who(rule)]);
            }
            context
                .output
                .result(&rules, |out| table.write(out, "everything is public"));
        }
        Command::Show { repo } => {
            let answer = client.admin_get("access", &[("repo", &repo)]).await?;
            let line = who(&answer);
            context.output.line(&answer, line);
        }
        Command::Set { repo, rule, peer } => {
            let rule = match rule {
                Rule::Public => "public",
                Rule::Devices => "devices",
                Rule::Peers => "peers",
            };
            let input = json!({ "repo": repo, "rule": rule, "peers": peer });
            let answer = client.admin_post("access", &input).await?;
            let line = format!("{} may be read by: {}", text(&answer["repo"]), who(&answer));
            context.output.line(&answer, line);
        }
    }
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn who(rule: &Value) -> String {
    let peers = rule["peers"].as_array().into_iter().flatten();
    let peers: Vec<&str> = peers.filter_map(Value::as_str).collect();
    match rule["rule"].as_str() {
        Some("public") => "everybody".to_owned(),
        Some("devices") => "its devices".to_owned(),
        _ => format!("its devices, {}", peers.join(", ")),
    }
}
