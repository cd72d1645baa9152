//! `ues admin label`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::Context;
use super::admin::did_of;
use crate::client::Client;
use crate::failure::Outcome;
use crate::output::{FAINT, Table};

/// Labels that the node makes as a labeler.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Puts a label on an account or a record
    #[command(after_help = "\
Examples:
  ues admin label add alice.test spam
  ues admin label add at://alice.test/app.bsky.feed.post/3jzfcijpj2z2a porn --expires 2030-01-31T00:00:00Z
  ues admin label add did:plc:… '!hide'      labels with ! are acted upon by apps; this node only tells them")]
    Add {
        /// Account or record, here or elsewhere; elsewhere by its DID
        #[arg(value_name = "ACCOUNT|at://…")]
        subject: String,
        /// Small letters, digits and hyphens
        #[arg(value_name = "LABEL")]
        val: String,
        /// The version of the record that it is about; all when left away
        #[arg(long)]
        cid: Option<String>,
        /// When it stops to hold
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// Takes a label back
    Rm {
        /// Account or record
        #[arg(value_name = "ACCOUNT|at://…")]
        subject: String,
        /// The label
        #[arg(value_name = "LABEL")]
        val: String,
        /// The version that it is about, where it has one
        #[arg(long)]
        cid: Option<String>,
    },
    /// Lists the labels that hold
    #[command(visible_alias = "list")]
    Ls {
        /// DID or at:// address, or the beginning of some with * behind it
        #[arg(default_value = "*")]
        pattern: String,
    },
    /// Shows who makes the labels, and what the document of that DID has to say
    Key,
}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, client: &Client, command: Command) -> Outcome {
    match command {
        Command::Add {
            subject,
            val,
            cid,
            expires,
        } => {
            let uri = subject_of(client, &subject).await?;
            let input = json!({ "uri": uri, "val": val, "cid": cid, "exp": expires });
            let value = client.admin_post("label", &input).await?;
            context
                .output
                .line(&value, format!("{subject} is labelled {val}"));
        }
        Command::Rm { subject, val, cid } => {
            let uri = subject_of(client, &subject).await?;
            let input = json!({ "uri": uri, "val": val, "cid": cid, "neg": true });
            let value = client.admin_post("label", &input).await?;
            context
                .output
                .line(&value, format!("{subject} is labelled {val} no longer"));
        }
        Command::Ls { pattern } => ls(context, client, &pattern).await?,
        Command::Key => {
            let value = client.admin_get("labeler", &[]).await?;
            context.output.result(&value, |out| {
                let key = &value["verificationMethods"]["atproto_label"];
                let endpoint = &value["services"]["atproto_labeler"]["endpoint"];
                for (name, text) in [
                    ("labeler", &value["did"]),
                    ("#atproto_label", key),
                    ("#atproto_labeler", endpoint),
                ] {
                    let text = text.as_str().unwrap_or_default();
                    writeln!(out, "{FAINT}{name:<17}{FAINT:#} {text}")?;
                }
                if value["published"] != true {
                    writeln!(out, "\nThe document of this DID has to have both.")?;
                }
                Ok(())
            });
        }
    }
    Ok(())
}

/// A subject by its DID. Accounts that are not here have to be named by it.
async fn subject_of(client: &Client, subject: &str) -> Outcome<String> {
    let rest = subject.strip_prefix("at://");
    let (account, path) = rest.unwrap_or(subject).split_once('/').map_or_else(
        || (rest.unwrap_or(subject), None),
        |(account, path)| (account, Some(path)),
    );
    let did = if account.starts_with("did:") {
        account.to_owned()
    } else {
        did_of(client, account).await?
    };
    Ok(match path {
        Some(path) => format!("at://{did}/{path}"),
        None => did,
    })
}

async fn ls(context: &Context, client: &Client, pattern: &str) -> Outcome {
    let mut all: Vec<Value> = Vec::new();
    let mut after = "0".to_owned();
    loop {
        let params = [("pattern", pattern), ("after", after.as_str())];
        let mut page = client.admin_get("labels", &params).await?;
        if let Value::Array(labels) = page["labels"].take() {
            all.extend(labels);
        }
        match page["next"].as_u64() {
            Some(next) => after = next.to_string(),
            None => break,
        }
    }
    let mut table = Table::new(&["label", "on", "version", "since", "until"]);
    for label in &all {
        let text = |name: &str| label[name].as_str().unwrap_or_default().to_owned();
        table.row([
            text("val"),
            text("uri"),
            text("cid"),
            text("cts"),
            text("exp"),
        ]);
    }
    let value = Value::Array(all);
    context
        .output
        .result(&value, |out| table.write(out, "no labels"));
    Ok(())
}
