//! `ues mail`.

use clap::Subcommand;
use serde_json::Value;

use super::Context;
use crate::failure::Outcome;
use crate::output::{FAINT, Table};

/// Letters to the owners of accounts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists letters, the newest first
    #[command(visible_alias = "list")]
    #[command(after_help = "\
Letters are kept for a week. Without a mail server (`ues config show mail.smtp_url`) they wait here, and you can read
the codes in them to the owners yourself: ues mail show NUMBER")]
    Ls {
        /// How many at most
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Shows a letter that was not sent yet
    Show {
        /// Its number, as `ues mail ls` shows it
        id: u64,
    },
    /// Tries a letter that was not sent again
    Again {
        /// Its number, as `ues mail ls` shows it
        id: u64,
    },
}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, command: Command) -> Outcome {
    let client = context.client().await?;
    match command {
        Command::Ls { limit } => {
            let limit = limit.to_string();
            let answer = client.admin_get("mails", &[("limit", &limit)]).await?;
            let mut table = Table::new(&["number", "to", "subject", "written", "state"]);
            for mail in answer["mails"].as_array().into_iter().flatten() {
                let text = |name: &str| mail[name].as_str().unwrap_or_default().to_owned();
                let state = match (mail["sentAt"].as_str(), mail["error"].as_str()) {
                    (Some(at), _) => format!("sent {at}"),
                    (None, Some(error)) if mail["givenUp"] == true => {
                        format!("given up after {} tries: {error}", mail["attempts"])
                    }
                    (None, Some(error)) => format!("{} tries: {error}", mail["attempts"]),
                    (None, None) => "waits".to_owned(),
                };
                table.row([
                    mail["id"].to_string(),
                    text("to"),
                    text("subject"),
                    text("createdAt"),
                    state,
                ]);
            }
            context
                .output
                .result(&answer["mails"], |out| table.write(out, "no letters"));
        }
        Command::Again { id } => {
            let input = serde_json::json!({ "id": id });
            let value = client.admin_post("mail/again", &input).await?;
            context
                .output
                .line(&value, format!("letter {id} is tried again"));
        }
        Command::Show { id } => {
            let id = id.to_string();
            let mail = client.admin_get("mail", &[("id", &id)]).await?;
            context.output.result(&mail, |out| {
                for name in ["to", "subject", "createdAt", "sentAt", "error"] {
                    if let Value::String(text) = &mail[name] {
                        writeln!(out, "{FAINT}{name:<9}{FAINT:#} {text}")?;
                    }
                }
                match mail["text"].as_str() {
                    Some(text) => writeln!(out, "\n{text}"),
                    None => writeln!(
                        out,
                        "\n{FAINT}the text of a letter is gone once it was sent{FAINT:#}"
                    ),
                }
            });
        }
    }
    Ok(())
}
