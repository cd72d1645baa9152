//! `ues worker`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::Context;
use crate::failure::Outcome;
use crate::output::{Table, human_bytes};

/// Workers: those who keep the content of pins.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists workers, their state and space
    #[command(visible_alias = "list")]
    Ls,
    /// Has a worker emptied: what it holds is copied elsewhere first
    Drain {
        /// Its name or id
        worker: String,
        /// Lets it be filled again
        #[arg(long)]
        undo: bool,
    },
    /// Forgets a worker that will not come back
    Rm {
        /// Its name or id
        worker: String,
    },
    /// How full the queues between the parts of the service are
    Queues,
    /// Messages that could not be handled: list them, or put one back or away
    Dead {
        /// Puts this one back into its queue
        #[arg(long, value_name = "ID", conflicts_with = "discard")]
        replay: Option<u64>,
        /// Forgets this one
        #[arg(long, value_name = "ID")]
        discard: Option<u64>,
    },
}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, command: Command) -> Outcome {
    let client = context.client().await?;
    match command {
        Command::Ls => {
            let answer = client.admin_get("pins/workers", &[]).await?;
            let mut table = Table::new(&["name", "state", "free", "used", "pins", "id"]);
            for worker in answer["workers"].as_array().into_iter().flatten() {
                table.row(row(worker));
            }
            context
                .output
                .result(&answer["workers"], |out| table.write(out, "no workers"));
        }
        Command::Drain { worker, undo } => {
            let input = json!({ "worker": worker, "draining": !undo });
            let answer = client.admin_post("pins/workers/drain", &input).await?;
            let text = if undo {
                format!("{worker} may be filled again")
            } else {
                format!("{worker} is being emptied; ues worker ls shows how far it is")
            };
            context.output.line(&answer, text);
        }
        Command::Rm { worker } => {
            let input = json!({ "worker": worker });
            let answer = client.admin_post("pins/workers/remove", &input).await?;
            context
                .output
                .line(&answer, format!("{worker} is forgotten"));
        }
        Command::Queues => {
            let answer = client.admin_get("pins/queues", &[]).await?;
            let mut table = Table::new(&["queue", "waiting", "in flight", "oldest"]);
            for queue in answer["queues"].as_array().into_iter().flatten() {
                table.row([
                    queue["name"].as_str().unwrap_or_default().to_owned(),
                    queue["waiting"].to_string(),
                    queue["inFlight"].to_string(),
                    format!("{} ms", queue["oldestMs"]),
                ]);
            }
            context
                .output
                .result(&answer["queues"], |out| table.write(out, "no queues"));
        }
        Command::Dead { replay, discard } => dead(context, replay, discard).await?,
    }
    Ok(())
}

async fn dead(context: &Context, replay: Option<u64>, discard: Option<u64>) -> Outcome {
    let client = context.client().await?;
    for (id, path, what) in [
        (replay, "pins/dead/replay", "is back in its queue"),
        (discard, "pins/dead/discard", "is forgotten"),
    ] {
        if let Some(id) = id {
            let answer = client.admin_post(path, &json!({ "id": id })).await?;
            context.output.line(&answer, format!("message {id} {what}"));
            return Ok(());
        }
    }
    let answer = client.admin_get("pins/dead", &[]).await?;
    let mut table = Table::new(&["id", "queue", "at", "reason"]);
    for letter in answer["letters"].as_array().into_iter().flatten() {
        let text = |name: &str| letter[name].as_str().unwrap_or_default().to_owned();
        table.row([
            letter["id"].to_string(),
            text("queue"),
            text("at"),
            text("reason"),
        ]);
    }
    context.output.result(&answer["letters"], |out| {
        table.write(out, "no dead letters")
    });
    Ok(())
}

fn row(worker: &Value) -> [String; 6] {
    let text = |name: &str| worker[name].as_str().unwrap_or_default().to_owned();
    let bytes = |name: &str| human_bytes(worker[name].as_u64().unwrap_or_default());
    let state = match worker["reason"].as_str() {
        Some(reason) => format!("{}: {reason}", text("state")),
        None => text("state"),
    };
    let pins = worker["pins"].as_u64().map(|n| n.to_string());
    [
        text("name"),
        state,
        bytes("free"),
        bytes("used"),
        pins.unwrap_or_else(|| "?".to_owned()),
        text("id"),
    ]
}
