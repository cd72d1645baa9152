//! `ues key`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::Context;
use super::pin::duration;
use crate::failure::Outcome;
use crate::output::{FAINT, STRONG, Table};

/// API keys: what programs show to the pin service.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a key; it is shown once
    #[command(after_help = "\
Examples:
  ues key create --owner alice             may read, add and remove pins of alice
  ues key create --owner ci --scope pins:write --expires-in 30d
  ipfs pin remote service add ues http://127.0.0.1:2583 \"$(ues key create --owner me -q)\"")]
    Create {
        /// Whose pins: a name, a DID or a mail address
        #[arg(long, value_name = "NAME")]
        owner: String,
        /// What you call it
        #[arg(long, default_value = "")]
        name: String,
        /// What it may do: pins:read, pins:write, workers:read, workers:write, admin; may be repeated [default: the first two]
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// How long it is good: 90s, 12h, 30d [default: for ever]
        #[arg(long, value_name = "TIME", value_parser = duration)]
        expires_in: Option<u64>,
    },
    /// Lists keys, never the keys themselves
    #[command(visible_alias = "list")]
    Ls {
        /// Only those of this owner
        #[arg(long, value_name = "NAME")]
        owner: Option<String>,
    },
    /// Makes a key worthless, at once
    Revoke {
        /// Its id, as `ues key ls` shows it
        id: String,
    },
}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, command: Command) -> Outcome {
    let client = context.client().await?;
    match command {
        Command::Create {
            owner,
            name,
            scopes,
            expires_in,
        } => {
            let input =
                json!({"owner": owner, "name": name, "scopes": scopes, "expires_in": expires_in});
            let answer = client.admin_post("keys", &input).await?;
            let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
            context.output.remark(format!(
                "{FAINT}key {} of {}; it is not shown again{FAINT:#}",
                text("id"),
                text("owner")
            ));
            let key = text("key");
            context
                .output
                .result(&answer, |out| writeln!(out, "{STRONG}{key}{STRONG:#}"));
        }
        Command::Ls { owner } => {
            let params: Vec<(&str, &str)> = owner.iter().map(|o| ("owner", o.as_str())).collect();
            let answer = client.admin_get("keys", &params).await?;
            let mut table = Table::new(&["id", "owner", "name", "scopes", "state"]);
            for key in answer["keys"].as_array().into_iter().flatten() {
                table.row(row(key));
            }
            context
                .output
                .result(&answer["keys"], |out| table.write(out, "no keys"));
        }
        Command::Revoke { id } => {
            client
                .admin_post("keys/revoke", &json!({ "id": id }))
                .await?;
            context
                .output
                .line(&json!({ "revoked": id }), format!("{id} is revoked"));
        }
    }
    Ok(())
}

fn row(key: &Value) -> [String; 5] {
    let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
    let scopes = key["scopes"].as_array().into_iter().flatten();
    let scopes: Vec<&str> = scopes.filter_map(Value::as_str).collect();
    let state = match (key["revokedAt"].as_str(), key["expiresAt"].as_str()) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) => format!("until {at}"),
        (None, None) => "good".to_owned(),
    };
    [
        text("id"),
        text("owner"),
        text("name"),
        scopes.join(" "),
        state,
    ]
}
