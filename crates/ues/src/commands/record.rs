//! `ues record`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::Context;
use super::acting::{As, Place, json_argument};
use super::log;
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::output::{FAINT, STRONG, Table};

/// Records of an account.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Writes a new record
    #[command(after_help = "\
Examples:
  ues record create app.bsky.feed.post '{\"text\":\"Hi\",\"createdAt\":\"2026-01-01T00:00:00Z\"}'
  ues record create app.bsky.actor.profile @profile.json --rkey self
  cat note.json | ues record create com.example.note -")]
    Create {
        /// Its collection, which is the NSID of its lexicon
        collection: String,
        /// The record: JSON text, @FILE or - for standard input
        #[arg(value_name = "JSON")]
        value: String,
        /// Its key; made from the time when left away
        #[arg(long)]
        rkey: Option<String>,
        /// Whom it acts for.
        #[command(flatten)]
        acting: As,
    },
    /// Reads a record
    Get {
        /// at://ACCOUNT/COLLECTION/KEY
        #[arg(value_name = "URI")]
        uri: String,
    },
    /// Writes a record over the one that is there, or anew
    Put {
        /// at://ACCOUNT/COLLECTION/KEY
        #[arg(value_name = "URI")]
        uri: String,
        /// The record: JSON text, @FILE or - for standard input
        #[arg(value_name = "JSON")]
        value: String,
        /// Only if the record there has this CID
        #[arg(long, value_name = "CID")]
        swap: Option<String>,
    },
    /// Deletes a record
    #[command(visible_alias = "rm")]
    Delete {
        /// at://ACCOUNT/COLLECTION/KEY
        #[arg(value_name = "URI")]
        uri: String,
        /// Only if the record there has this CID
        #[arg(long, value_name = "CID")]
        swap: Option<String>,
    },
    /// Lists the records of a collection, or the collections of an account
    #[command(
        visible_alias = "list",
        after_help = "\
Examples:
  ues record ls --as alice.test                          the collections
  ues record ls app.bsky.feed.post --as alice.test       newest first
  ues --json record ls app.bsky.feed.post --all > posts.ndjson"
    )]
    Ls {
        /// The collection
        collection: Option<String>,
        /// Whom it acts for.
        #[command(flatten)]
        acting: As,
        /// How many at most
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: usize,
        /// All of them
        #[arg(long, conflicts_with = "limit")]
        all: bool,
        /// Oldest first
        #[arg(long)]
        reverse: bool,
    },
    /// Shows all versions of a record that the log of its devices has, which one counts, and why
    #[command(after_help = "\
Example:
  ues record history at://alice.test/com.example.note/shopping

A version that lost against one that it did not know is kept until somebody writes who has seen both: it can be read \
here and written again.")]
    History {
        /// at://ACCOUNT/COLLECTION/KEY
        #[arg(value_name = "URI")]
        uri: String,
    },
    /// Searches the records of a collection by its indexes
    #[command(after_help = "\
Examples:
  ues record query app.bsky.feed.post --text hello
  ues record query app.bsky.feed.post --author alice.test --sort created --limit 5
  ues record query com.example.task --where state=open --where due=..2026-12-31T00:00:00Z --sort due --reverse

An index is declared by the collection's lexicon; its name stands before the =. Behind it: a value, a beginning with \
* (state=op*), or a range of numbers or times with .. (size=10..20, size=10..).")]
    Query {
        /// The collection
        collection: String,
        /// Words that the record must contain
        #[arg(long, value_name = "WORDS")]
        text: Option<String>,
        /// Only records of this account
        #[arg(long, value_name = "ACCOUNT")]
        author: Option<String>,
        /// Only records whose values in an index fit; may be repeated
        #[arg(long = "where", value_name = "INDEX=VALUE")]
        filters: Vec<String>,
        /// Order: created, changed, or the name of an index; newest or largest first
        #[arg(long, default_value = "created", value_name = "NAME")]
        sort: String,
        /// Oldest or smallest first
        #[arg(long)]
        reverse: bool,
        /// Only records created at that time or later
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Only records created at that time or before
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// How many at most, up to 100
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: usize,
        /// Continues behind the end of an earlier answer
        #[arg(long)]
        cursor: Option<String>,
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
            collection,
            value,
            rkey,
            acting,
        } => {
            let record = typed(json_argument(&value)?, &collection);
            let session = acting.session(client, "record create").await?;
            let mut input =
                json!({ "repo": session.did, "collection": collection, "record": record });
            if let Some(rkey) = rkey {
                input["rkey"] = json!(rkey);
            }
            write(context, client, "createRecord", &input, &session.token).await
        }
        Command::Get { uri } => {
            let place = Place::parse(&uri)?;
            let answer = client
                .query("com.atproto.repo.getRecord", &params(&place), None)
                .await?;
            context.output.result(&answer, |out| {
                writeln!(
                    out,
                    "{FAINT}{}{FAINT:#}",
                    answer["uri"].as_str().unwrap_or_default()
                )?;
                writeln!(
                    out,
                    "{FAINT}{}{FAINT:#}",
                    answer["cid"].as_str().unwrap_or_default()
                )?;
                writeln!(out, "{:#}", answer["value"])
            });
            Ok(())
        }
        Command::History { uri } => history(context, client, &Place::parse(&uri)?).await,
        Command::Put { uri, value, swap } => {
            let place = Place::parse(&uri)?;
            let record = typed(json_argument(&value)?, &place.collection);
            let session = client.session(&place.repo, "record put").await?;
            let mut input = json!({
                "repo": session.did, "collection": place.collection, "rkey": place.rkey, "record": record,
            });
            if let Some(cid) = swap {
                input["swapRecord"] = json!(cid);
            }
            write(context, client, "putRecord", &input, &session.token).await
        }
        Command::Delete { uri, swap } => {
            let place = Place::parse(&uri)?;
            // The call itself does not tell whether there was anything to delete.
            client
                .query("com.atproto.repo.getRecord", &params(&place), None)
                .await?;
            let session = client.session(&place.repo, "record delete").await?;
            let mut input = json!({
                "repo": session.did, "collection": place.collection, "rkey": place.rkey,
            });
            if let Some(cid) = swap {
                input["swapRecord"] = json!(cid);
            }
            let answer = client
                .procedure(
                    "com.atproto.repo.deleteRecord",
                    &input,
                    Some(&session.token),
                )
                .await?;
            context.output.line(&answer, format!("{uri} is deleted"));
            Ok(())
        }
        Command::Ls {
            collection: None,
            acting,
            ..
        } => {
            let name = acting.name(client).await?;
            let answer = client
                .query("com.atproto.repo.describeRepo", &[("repo", &name)], None)
                .await?;
            context.output.result(&answer["collections"], |out| {
                let collections = answer["collections"].as_array().into_iter().flatten();
                for collection in collections.filter_map(Value::as_str) {
                    writeln!(out, "{collection}")?;
                }
                Ok(())
            });
            Ok(())
        }
        Command::Ls {
            collection: Some(collection),
            acting,
            limit,
            all,
            reverse,
        } => {
            let name = acting.name(client).await?;
            let limit = if all { usize::MAX } else { limit };
            list(context, client, &name, &collection, limit, reverse).await
        }
        Command::Query {
            collection,
            text,
            author,
            filters,
            sort,
            reverse,
            since,
            until,
            limit,
            cursor,
        } => {
            let mut input = json!({
                "collection": collection, "sort": sort, "reverse": reverse, "limit": limit,
            });
            for (name, value) in [
                ("text", text),
                ("author", author),
                ("since", since),
                ("until", until),
                ("cursor", cursor),
            ] {
                if let Some(value) = value {
                    input[name] = json!(value);
                }
            }
            input["where"] = filters
                .iter()
                .map(|f| filter(f))
                .collect::<Outcome<Vec<_>>>()?
                .into();
            query(context, client, &input).await
        }
    }
}

fn params(place: &Place) -> [(&str, &str); 3] {
    [
        ("repo", place.repo.as_str()),
        ("collection", place.collection.as_str()),
        ("rkey", place.rkey.as_str()),
    ]
}

/// The record with its `$type`, which may be left away on the command line.
fn typed(mut record: Value, collection: &str) -> Value {
    if let Value::Object(map) = &mut record {
        map.entry("$type").or_insert_with(|| json!(collection));
    }
    record
}

/// `INDEX=VALUE`.
fn filter(text: &str) -> Outcome<Value> {
    let (index, value) = text.split_once('=').ok_or_else(|| {
        Failure::usage(format!("--where {text} has no value"))
            .hint("write it as --where state=open")
    })?;
    Ok(json!({ "index": index, "value": value }))
}

async fn write(
    context: &Context,
    client: &Client,
    method: &str,
    input: &Value,
    token: &str,
) -> Outcome {
    let answer = client
        .procedure(&format!("com.atproto.repo.{method}"), input, Some(token))
        .await?;
    context.output.result(&answer, |out| {
        writeln!(out, "{}", answer["uri"].as_str().unwrap_or_default())?;
        writeln!(
            out,
            "{FAINT}{}{FAINT:#}",
            answer["cid"].as_str().unwrap_or_default()
        )?;
        if answer["validationStatus"] == "unknown" {
            writeln!(
                out,
                "{FAINT}stored as it is: the node knows no lexicon for it{FAINT:#}"
            )?;
        }
        Ok(())
    });
    Ok(())
}

async fn list(
    context: &Context,
    client: &Client,
    repo: &str,
    collection: &str,
    limit: usize,
    reverse: bool,
) -> Outcome {
    let (mut left, mut cursor) = (limit, String::new());
    let mut any = false;
    while left > 0 {
        let page_size = left.min(100).to_string();
        let mut params = vec![
            ("repo", repo),
            ("collection", collection),
            ("limit", &page_size),
        ];
        if reverse {
            params.push(("reverse", "true"));
        }
        if !cursor.is_empty() {
            params.push(("cursor", &cursor));
        }
        let page = client
            .query("com.atproto.repo.listRecords", &params, None)
            .await?;
        let records = page["records"].as_array().cloned().unwrap_or_default();
        for record in &records {
            any = true;
            let uri = record["uri"].as_str().unwrap_or_default();
            context.output.line(
                record,
                format!("{STRONG}{uri}{STRONG:#} {}", one_line(&record["value"])),
            );
        }
        left = left.saturating_sub(records.len());
        match page["cursor"].as_str() {
            Some(next) if !records.is_empty() => cursor = next.to_owned(),
            _ => break,
        }
    }
    if !any {
        context
            .output
            .remark(format!("{FAINT}no records in {collection}{FAINT:#}"));
    }
    Ok(())
}

async fn query(context: &Context, client: &Client, input: &Value) -> Outcome {
    let answer = client.admin_post("query", input).await?;
    let mut table = Table::new(&["uri", "created", "record"]);
    for record in answer["records"].as_array().into_iter().flatten() {
        table.row([
            record["uri"].as_str().unwrap_or_default().to_owned(),
            record["created"].as_str().unwrap_or("-").to_owned(),
            one_line(&record["value"]),
        ]);
    }
    context.output.result(&answer, |out| {
        table.write(out, "nothing found")?;
        match answer["cursor"].as_str() {
            Some(cursor) => writeln!(out, "{FAINT}more: --cursor {cursor}{FAINT:#}"),
            None => Ok(()),
        }
    });
    Ok(())
}

/// What a line can show of a record: its text, else its JSON, cut short.
fn one_line(value: &Value) -> String {
    let text = match value["text"].as_str() {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    };
    let text = crate::output::printable(&text);
    match text.char_indices().nth(80) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}

async fn history(context: &Context, client: &Client, place: &Place) -> Outcome {
    let params = [
        ("account", place.repo.as_str()),
        ("collection", place.collection.as_str()),
        ("rkey", place.rkey.as_str()),
    ];
    let answer = client.admin_get("record/history", &params).await?;
    let versions = answer["versions"].as_array().cloned().unwrap_or_default();
    context.output.result(&answer, |out| {
        if versions.is_empty() {
            writeln!(
                out,
                "{FAINT}no device has written it since the log began{FAINT:#}"
            )?;
        }
        for version in &versions {
            let action = match version["action"].as_str() {
                Some(action) => action,
                // Only the state is left of it.
                None if version["cid"].is_null() => "delete",
                None => "written",
            };
            let mark = if version["standing"] == "won" {
                "*"
            } else {
                " "
            };
            writeln!(
                out,
                "{mark} {FAINT}{}{FAINT:#} {STRONG}{}{STRONG:#} {action} {FAINT}{}{FAINT:#}",
                version["time"].as_str().unwrap_or_default(),
                log::who(version),
                version["cid"].as_str().unwrap_or_default(),
            )?;
            if version["value"].is_object() {
                writeln!(out, "    {}", version["value"])?;
            }
            let only = "counts: whoever wrote it had seen all others";
            let outcome = log::outcome(version).unwrap_or_else(|| only.to_owned());
            writeln!(out, "    {outcome}")?;
        }
        if answer["record"].is_object() {
            writeln!(
                out,
                "= {STRONG}merged{STRONG:#} {FAINT}{}{FAINT:#}\n    {}",
                answer["record"]["cid"].as_str().unwrap_or_default(),
                answer["record"]["value"]
            )?;
        }
        Ok(())
    });
    Ok(())
}
