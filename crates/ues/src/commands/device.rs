//! `ues device`: the devices that hold a repository together.

use std::io::IsTerminal;

use clap::Subcommand;
use serde_json::{Value, json};
use ues_sync::pairing::qr;

use super::Context;
use super::acting::As;
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::output::{FAINT, STRONG, Table};

/// Devices: one repository on several machines, each of which can write without the others.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lets another device in: shows a code, and the words to compare with it
    #[command(after_help = "\
Example, on the machine that has the account:
  ues device invite --as alice.test
and on the other one, with the link that this shows:
  ues device join 'ues:join?code=…'")]
    Invite {
        /// Whose repository.
        #[command(flatten)]
        acting: As,
        /// Does not ask whether the words are the same: for tests and scripts that know the other device
        #[arg(long)]
        yes: bool,
    },
    /// Makes this node one of the devices that hold a repository
    Join {
        /// The link, or the code, that `ues device invite` shows
        #[arg(value_name = "LINK")]
        ticket: String,
        /// Does not ask whether the words are the same: for tests and scripts that know the other device
        #[arg(long)]
        yes: bool,
    },
    /// Shows this device's key, for `ues device grant` where the account is
    Key,
    /// Lets a device in that cannot be reached over a network, by its key
    #[command(after_help = "\
Example, for two machines that never meet:
  ues device key                                     on the new one: shows did:key:z6Mk…
  ues device grant did:key:z6Mk… --name phone        on the one that has the account
  ues sync export --snapshot /media/stick/alice.uessync
and on the new one the command that `grant` has shown:
  ues sync import /media/stick/alice.uessync --root did:key:zQ3s…")]
    Grant {
        /// Its key, as `ues device key` shows it there
        #[arg(value_name = "KEY")]
        key: String,
        /// What to call it
        #[arg(long)]
        name: String,
        /// Whose repository.
        #[command(flatten)]
        acting: As,
    },
    /// Lists the devices of a repository
    #[command(visible_alias = "list")]
    Ls {
        /// Whose repository.
        #[command(flatten)]
        acting: As,
    },
    /// Takes a device's right to write and to read back
    Revoke {
        /// Its number or its name, as `ues device ls` shows them, or its key
        #[arg(value_name = "DEVICE")]
        device: String,
        /// Whose repository.
        #[command(flatten)]
        acting: As,
    },
}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, command: Command) -> Outcome {
    let client = context.client().await?;
    match command {
        Command::Invite { acting, yes } => invite(context, client, &acting, yes).await,
        Command::Join { ticket, yes } => join(context, client, &ticket, yes).await,
        Command::Ls { acting } => list(context, client, &acting).await,
        Command::Key => {
            let answer = client.admin_get("device/key", &[]).await?;
            let key = answer["key"].as_str().unwrap_or_default().to_owned();
            context.output.line(&answer, key);
            Ok(())
        }
        Command::Grant { key, name, acting } => {
            let account = acting.name(client).await?;
            let input = json!({ "account": account, "key": key, "name": name });
            let answer = client.admin_post("device/grant", &input).await?;
            let root = answer["root"].as_str().unwrap_or_default().to_owned();
            context.output.result(&answer, |out| {
                writeln!(
                    out,
                    "{name} may write. Write it a file that it can begin with:\n"
                )?;
                writeln!(out, "  {STRONG}ues sync export --snapshot FILE{STRONG:#}\n")?;
                writeln!(
                    out,
                    "and there, compare the key letter by letter if the file may be another's:\n"
                )?;
                writeln!(
                    out,
                    "  {STRONG}ues sync import FILE --root {root}{STRONG:#}"
                )
            });
            Ok(())
        }
        Command::Revoke { device, acting } => {
            let account = acting.name(client).await?;
            let input = json!({ "account": account, "device": device });
            let answer = client.admin_post("device/revoke", &input).await?;
            let name = answer["name"].as_str().unwrap_or_default().to_owned();
            context.output.line(
                &answer,
                format!("{name} may write no more; what others have seen of it stays"),
            );
            Ok(())
        }
    }
}

async fn invite(context: &Context, client: &Client, acting: &As, yes: bool) -> Outcome {
    let account = acting.name(client).await?;
    let invited = client
        .admin_post("device/invite", &json!({ "account": account }))
        .await?;
    let link = invited["link"].as_str().unwrap_or_default().to_owned();
    let code = invited["code"].as_str().unwrap_or_default().to_owned();
    context.output.result(&invited, |out| {
        if std::io::stdout().is_terminal()
            && let Ok(picture) = qr::terminal(&link, qr::TerminalColors::Ansi)
        {
            writeln!(out, "{picture}")?;
        }
        writeln!(out, "On the other device, within ten minutes:\n")?;
        writeln!(out, "  {STRONG}ues device join '{link}'{STRONG:#}\n")?;
        writeln!(out, "{FAINT}code {code}{FAINT:#}")
    });
    follow(context, client, &invited["id"], yes).await?;
    context
        .output
        .remark("the device is in: what either writes, the other gets");
    Ok(())
}

async fn join(context: &Context, client: &Client, ticket: &str, yes: bool) -> Outcome {
    let answer = client
        .admin_post("device/join", &json!({ "ticket": ticket }))
        .await?;
    let done = follow(context, client, &answer["id"], yes).await?;
    context.output.line(
        &done,
        "this device holds the repository now: ues account ls shows it",
    );
    Ok(())
}

/// Follows a handshake to its end; asks the user to compare the words.
async fn follow(context: &Context, client: &Client, id: &Value, yes: bool) -> Outcome<Value> {
    let id = id.as_u64().unwrap_or_default().to_string();
    let mut seen = String::new();
    loop {
        let params = [("id", id.as_str()), ("seen", seen.as_str())];
        let event = client.admin_get("device/pairing", &params).await?;
        let stage = event["stage"].as_str().unwrap_or_default();
        if stage == seen {
            continue;
        }
        seen = stage.to_owned();
        match stage {
            "compare" => {
                let words = event["words"].as_array().into_iter().flatten();
                let words: Vec<&str> = words.filter_map(Value::as_str).collect();
                let device = event["device"].as_str().unwrap_or_default();
                context.output.remark(format!(
                    "\n{device} must show the same words:\n\n  {STRONG}{}{STRONG:#}\n",
                    words.join("  ")
                ));
                let same = yes || ask_whether_same().await?;
                let id = id.parse::<u64>().unwrap_or_default();
                client
                    .admin_post("device/pairing", &json!({ "id": id, "same": same }))
                    .await?;
            }
            "confirmed" => context.output.remark("waiting for the other device"),
            "done" => return Ok(event),
            "failed" => {
                let reason = event["reason"].as_str().unwrap_or_default();
                return Err(Failure::failed(format!("the pairing failed: {reason}"))
                    .hint("ues device invite makes a new code"));
            }
            _ => {}
        }
    }
}

async fn ask_whether_same() -> Outcome<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "somebody has to say whether the words are the same: there is no terminal to ask on",
        )
        .hint("--yes says so without asking"));
    }
    let answer = tokio::task::spawn_blocking(|| {
        eprint!("Are they the same? [y/N] ");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let line = answer
        .await
        .map_err(|e| Failure::failed(e.to_string()))?
        .map_err(Failure::while_doing("read the answer"))?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

async fn list(context: &Context, client: &Client, acting: &As) -> Outcome {
    let account = acting.name(client).await?;
    let answer = client
        .admin_get("device", &[("account", account.as_str())])
        .await?;
    let mut table = Table::new(&["no", "name", "operations", "state", "key"]);
    let devices = answer["devices"].as_array().into_iter().flatten();
    for device in devices.filter(|d| d["root"] != true) {
        let text = |name: &str| device[name].as_str().unwrap_or_default().to_owned();
        let state = if device["fork"].is_u64() {
            format!("contradicted itself at {}", device["fork"])
        } else if device["revoked"] == true {
            "revoked".to_owned()
        } else if device["here"] == true {
            "this device".to_owned()
        } else {
            "good".to_owned()
        };
        table.row([
            device["writer"].to_string(),
            text("name"),
            device["operations"].to_string(),
            state,
            text("key"),
        ]);
    }
    context.output.result(&answer["devices"], |out| {
        table.write(out, "this device alone holds the repository")
    });
    Ok(())
}
