//! `ues admin`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::acting::account_name;
use super::repo::log;
use super::{Context, admin_invites, admin_labels, admin_suspend};
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::output::{FAINT, Table, human_bytes};

/// What is taken down, given back or looked at.
const SUBJECT: &str = "ACCOUNT|at://…|CID";

/// Administering the node: invites, takedowns, reports, the audit.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes invite codes
    #[command(after_help = "\
Examples:
  ues admin invite                         one code for one account
  ues admin invite --uses 5 --count 3      three codes for five accounts each
  ues admin invite --for alice.test        a code that alice.test can give away")]
    Invite {
        /// How many codes
        #[arg(long, default_value_t = 1)]
        count: u32,
        /// How many accounts each is good for
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// Who gets them to give away
        #[arg(long = "for", value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Lists invite codes, the newest first
    Invites {
        /// How many at most
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Makes an invite code worthless
    Uninvite {
        /// The code
        code: String,
    },
    /// Takes an account, a record or a blob down: it is kept and not served any more
    #[command(after_help = "\
Examples:
  ues admin takedown alice.test --reason spam
  ues admin takedown at://alice.test/app.bsky.feed.post/3jzfcijpj2z2a
  ues admin takedown bafkrei… --as alice.test         a blob of alice.test")]
    Takedown {
        /// What
        #[arg(value_name = SUBJECT)]
        subject: String,
        /// Whose, for a blob
        #[arg(long = "as", value_name = "ACCOUNT")]
        account: Option<String>,
        /// Why; goes into the audit
        #[arg(long)]
        reason: Option<String>,
    },
    /// Gives back what was taken down
    Restore {
        /// What
        #[arg(value_name = SUBJECT)]
        subject: String,
        /// Whose, for a blob
        #[arg(long = "as", value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Suspends an account for a time: as taken down, until the term is over
    #[command(after_help = "\
Examples:
  ues admin suspend alice.test --for 7d --reason 'sells shoes'
  ues admin suspend alice.test --until 2026-12-24T00:00:00Z
  ues admin suspend alice.test             until it is lifted
  ues admin suspend alice.test --lift")]
    Suspend(admin_suspend::Args),
    /// Shows how an account, a record or a blob stands
    Subject {
        /// What
        #[arg(value_name = SUBJECT)]
        subject: String,
        /// Whose, for a blob
        #[arg(long = "as", value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Finds accounts by a part of their handle, DID or e-mail address
    Search {
        /// The part; all accounts when left away
        #[arg(default_value = "")]
        text: String,
    },
    /// Shows the last events that the node told its followers, of one account or of all
    Events(log::Args),
    /// Writes to the owner of an account
    Write {
        /// Handle or DID
        account: String,
        /// What
        text: String,
        /// Subject of the letter
        #[arg(long)]
        subject: Option<String>,
    },
    /// Lists what was reported and is not done yet, the newest first
    Reports {
        /// How many at most
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// What is done, too
        #[arg(long)]
        all: bool,
    },
    /// Marks a report as done
    #[command(after_help = "\
Examples:
  ues admin resolve 12 --note 'taken down'
  ues admin resolve 12 --reopen")]
    Resolve {
        /// Its number, as `ues admin reports` shows it
        id: u64,
        /// What was done; goes into the audit
        #[arg(long)]
        note: Option<String>,
        /// Opens it again instead
        #[arg(long, conflicts_with = "note")]
        reopen: bool,
    },
    /// Shows how much an account has and may have, or sets it
    #[command(after_help = "\
Examples:
  ues admin quota alice.test
  ues admin quota alice.test 2000000000    two gigabytes
  ues admin quota alice.test none          as many as there is room for
  ues admin quota alice.test default       what all may: quota.blob_bytes
  ues admin quota alice.test --records 100000 --record-bytes none")]
    Quota {
        /// Handle or DID
        account: String,
        /// Bytes of blobs: a number, none or default
        #[arg(value_name = "BYTES|none|default")]
        bytes: Option<String>,
        /// Records: a number, none or default
        #[arg(long, value_name = "COUNT|none|default")]
        records: Option<String>,
        /// Bytes of all records: a number, none or default
        #[arg(long, value_name = "BYTES|none|default")]
        record_bytes: Option<String>,
    },
    /// Makes labels, takes them back, lists them
    Label {
        /// What to do
        #[command(subcommand)]
        command: admin_labels::Command,
    },
    /// Lists what those who administer the node did, the newest first
    Audit {
        /// How many at most
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, command: Command) -> Outcome {
    let client = context.client().await?;
    match command {
        Command::Invite {
            count,
            uses,
            account,
        } => admin_invites::make(context, client, count, uses, account).await,
        Command::Invites { limit } => admin_invites::list(context, client, limit).await,
        Command::Uninvite { code } => admin_invites::disable(context, client, &code).await,
        Command::Takedown {
            subject,
            account,
            reason,
        } => {
            let mut takedown = json!({ "applied": true });
            if let Some(reason) = reason {
                takedown["ref"] = json!(reason);
            }
            let done = set_takedown(client, &subject, account, takedown).await?;
            context
                .output
                .line(&done, format!("{subject} is taken down"));
            Ok(())
        }
        Command::Restore { subject, account } => {
            let takedown = json!({ "applied": false });
            let done = set_takedown(client, &subject, account, takedown).await?;
            context
                .output
                .line(&done, format!("{subject} is served again"));
            Ok(())
        }
        Command::Suspend(args) => admin_suspend::run(context, client, args).await,
        Command::Subject { subject, account } => {
            let subject = find(client, &subject, account).await?;
            let params = match subject["$type"].as_str() {
                Some("com.atproto.repo.strongRef") => vec![("uri", &subject["uri"])],
                Some("com.atproto.admin.defs#repoBlobRef") => {
                    vec![("did", &subject["did"]), ("blob", &subject["cid"])]
                }
                _ => vec![("did", &subject["did"])],
            };
            let params: Vec<_> = params
                .iter()
                .filter_map(|(name, value)| Some((*name, value.as_str()?)))
                .collect();
            let nsid = "com.atproto.admin.getSubjectStatus";
            let value = client.query_as_admin(nsid, &params).await?;
            context.output.result(&value, |out| {
                for name in ["takedown", "suspended", "deactivated"] {
                    let standing = &value[name];
                    if standing.is_object() {
                        let reason = standing["ref"].as_str().unwrap_or_default();
                        let yes = if standing["applied"] == true {
                            "yes"
                        } else {
                            "no"
                        };
                        writeln!(out, "{FAINT}{name:<12}{FAINT:#} {yes} {reason}")?;
                    }
                }
                Ok(())
            });
            Ok(())
        }
        Command::Search { text } => search(context, client, &text).await,
        Command::Events(args) => log::run(context, args).await,
        Command::Write {
            account,
            text,
            subject,
        } => {
            let did = did_of(client, &account).await?;
            let mut input = json!({ "recipientDid": did, "content": text, "senderDid": did });
            if let Some(subject) = subject {
                input["subject"] = json!(subject);
            }
            let nsid = "com.atproto.admin.sendEmail";
            let value = client.procedure_as_admin(nsid, &input).await?;
            context.output.line(
                &value,
                format!("The letter to {account} is written; ues mail ls shows whether it went"),
            );
            Ok(())
        }
        Command::Reports { limit, all } => reports(context, client, limit, all).await,
        Command::Resolve { id, note, reopen } => {
            let input = json!({ "id": id, "done": !reopen, "note": note });
            let value = client.admin_post("report", &input).await?;
            let state = if reopen { "open again" } else { "done" };
            context
                .output
                .line(&value, format!("report {id} is {state}"));
            Ok(())
        }
        Command::Quota {
            account,
            bytes,
            records,
            record_bytes,
        } => {
            let set = [
                ("blobBytes", bytes),
                ("records", records),
                ("recordBytes", record_bytes),
            ];
            quota(context, client, &account, set).await
        }
        Command::Label { command } => admin_labels::run(context, client, command).await,
        Command::Audit { limit } => audit(context, client, limit).await,
    }
}

async fn quota(
    context: &Context,
    client: &Client,
    account: &str,
    set: [(&str, Option<String>); 3],
) -> Outcome {
    let account = account_name(account)?;
    let mut new = serde_json::Map::new();
    for (name, text) in set {
        let number = match text.as_deref() {
            None => continue,
            Some("none") => Some(0),
            Some("default") => None,
            Some(text) => Some(text.parse::<u64>().map_err(|_| {
                Failure::usage(format!("expected a number, none or default, not {text}"))
            })?),
        };
        new.insert(name.to_owned(), json!(number));
    }
    if !new.is_empty() {
        let input = json!({ "account": account, "set": new });
        client.admin_post("account/quota", &input).await?;
    }
    let value = client.admin_get("account", &[("account", account)]).await?;
    let share = |what: &str, used: &str, quota: &str, human: fn(u64) -> String| {
        let used = human(value[used].as_u64().unwrap_or_default());
        match value[quota].as_u64() {
            Some(quota) => format!("{used} of {}{what}", human(quota)),
            None => format!("{used}{what}"),
        }
    };
    let line = format!(
        "{account} has {}, {}, {}",
        share(" of blobs", "blobBytes", "blobQuota", human_bytes),
        share(" records", "records", "recordQuota", |n| n.to_string()),
        share(
            " of records",
            "recordBytes",
            "recordBytesQuota",
            human_bytes
        ),
    );
    let mut short = json!({ "did": value["did"] });
    for name in [
        "blobs",
        "blobBytes",
        "blobQuota",
        "records",
        "recordBytes",
        "recordQuota",
        "recordBytesQuota",
    ] {
        short[name] = value[name].clone();
    }
    context.output.line(&short, line);
    Ok(())
}

async fn search(context: &Context, client: &Client, text: &str) -> Outcome {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut params = vec![("text", text)];
        if !cursor.is_empty() {
            params.push(("cursor", &cursor));
        }
        let mut page = client.admin_get("accounts/search", &params).await?;
        if let Value::Array(accounts) = page["accounts"].take() {
            all.extend(accounts);
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    let mut table = Table::new(&["handle", "did", "status", "email", "confirmed", "since"]);
    for account in &all {
        let text = |name: &str| account[name].as_str().unwrap_or("-").to_owned();
        let since = text("indexedAt");
        let confirmed = text("emailConfirmedAt");
        let (handle, did) = (text("handle"), text("did"));
        table.row([handle, did, text("status"), text("email"), confirmed, since]);
    }
    let value = Value::Array(all);
    context
        .output
        .result(&value, |out| table.write(out, "no such account"));
    Ok(())
}

async fn reports(context: &Context, client: &Client, limit: u32, all: bool) -> Outcome {
    let limit = limit.to_string();
    let open = if all { "false" } else { "true" };
    let params = [("limit", limit.as_str()), ("open", open)];
    let answer = client.admin_get("reports", &params).await?;
    let mut table = Table::new(&["number", "state", "reason", "about", "by", "at", "words"]);
    for report in answer["reports"].as_array().into_iter().flatten() {
        let text = |name: &str| report[name].as_str().unwrap_or_default().to_owned();
        let about = &report["subject"];
        let about = about["uri"].as_str().or(about["did"].as_str());
        table.row([
            report["id"].to_string(),
            report["done"]["at"]
                .as_str()
                .map_or_else(|| "open".to_owned(), |at| format!("done {at}")),
            text("reasonType"),
            about.unwrap_or_default().to_owned(),
            text("reportedBy"),
            text("createdAt"),
            text("reason"),
        ]);
    }
    context
        .output
        .result(&answer["reports"], |out| table.write(out, "no reports"));
    Ok(())
}

async fn audit(context: &Context, client: &Client, limit: u32) -> Outcome {
    let limit = limit.to_string();
    let answer = client.admin_get("audit", &[("limit", &limit)]).await?;
    let mut table = Table::new(&["at", "by", "place", "what", "subject", "details"]);
    for act in answer["acts"].as_array().into_iter().flatten() {
        let text = |name: &str| act[name].as_str().unwrap_or_default().to_owned();
        let details = match &act["details"] {
            Value::Null => String::new(),
            details => details.to_string(),
        };
        table.row([
            text("at"),
            text("by"),
            text("place"),
            text("what"),
            text("subject"),
            details,
        ]);
    }
    context.output.result(&answer["acts"], |out| {
        table.write(out, "nothing was done yet")
    });
    Ok(())
}

/// The DID of an account.
///
/// # Errors
/// When there is none.
pub async fn did_of(client: &Client, account: &str) -> Outcome<String> {
    let account = account_name(account)?;
    let value = client.admin_get("account", &[("account", account)]).await?;
    Ok(value["did"].as_str().unwrap_or_default().to_owned())
}

/// The subject as the protocol names it.
async fn find(client: &Client, subject: &str, account: Option<String>) -> Outcome<Value> {
    if let Some(rest) = subject.strip_prefix("at://")
        && let Some((authority, path)) = rest.split_once('/')
    {
        let did = did_of(client, authority).await?;
        let uri = format!("at://{did}/{path}");
        let params = [("uri", uri.as_str())];
        let nsid = "com.atproto.admin.getSubjectStatus";
        let status = client.query_as_admin(nsid, &params).await?;
        return Ok(status["subject"].clone());
    }
    if ues_data::parse_cid(subject).is_ok() {
        let account = account.ok_or_else(|| {
            Failure::usage("a blob belongs to an account: say which one")
                .hint(format!("ues admin takedown {subject} --as ACCOUNT"))
        })?;
        let did = did_of(client, &account).await?;
        let kind = "com.atproto.admin.defs#repoBlobRef";
        return Ok(json!({ "$type": kind, "did": did, "cid": subject }));
    }
    let name = subject.strip_prefix("at://").unwrap_or(subject);
    let did = did_of(client, name).await?;
    Ok(json!({ "$type": "com.atproto.admin.defs#repoRef", "did": did }))
}

async fn set_takedown(
    client: &Client,
    subject: &str,
    account: Option<String>,
    takedown: Value,
) -> Outcome<Value> {
    let subject = find(client, subject, account).await?;
    let input = json!({ "subject": subject, "takedown": takedown });
    let nsid = "com.atproto.admin.updateSubjectStatus";
    client.procedure_as_admin(nsid, &input).await
}
