//! `ues post`.

use serde_json::json;
use ues_repo::syntax::Datetime;

use super::Context;
use super::acting::{As, Place};
use crate::client::Client;
use crate::failure::Outcome;
use crate::output::FAINT;

/// Arguments of `ues post`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ues post \"Hello\"                         when the node has one account
  ues post \"Bonjour\" --as alice.test --lang fr
  ues post \"I agree\" --reply-to at://bob.test/app.bsky.feed.post/3kabc")]
pub struct Args {
    /// The text
    #[arg(value_name = "TEXT")]
    text: String,
    /// Whom it acts for.
    #[command(flatten)]
    acting: As,
    /// Language of the text, such as en or pt-BR; may be repeated
    #[arg(long, value_name = "LANGUAGE")]
    lang: Vec<String>,
    /// The post that this one answers
    #[arg(long, value_name = "URI")]
    reply_to: Option<String>,
}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, args: Args) -> Outcome {
    let client = context.client().await?;
    let session = args.acting.session(client, "post").await?;
    let mut record = json!({
        "$type": "app.bsky.feed.post",
        "text": args.text,
        "createdAt": Datetime::now().as_str(),
    });
    if !args.lang.is_empty() {
        record["langs"] = json!(args.lang);
    }
    if let Some(uri) = &args.reply_to {
        record["reply"] = reply(client, &Place::parse(uri)?).await?;
    }
    let input =
        json!({ "repo": session.did, "collection": "app.bsky.feed.post", "record": record });
    let answer = client
        .procedure(
            "com.atproto.repo.createRecord",
            &input,
            Some(&session.token),
        )
        .await?;
    context.output.result(&answer, |out| {
        writeln!(out, "{}", answer["uri"].as_str().unwrap_or_default())?;
        writeln!(
            out,
            "{FAINT}{}{FAINT:#}",
            answer["cid"].as_str().unwrap_or_default()
        )
    });
    Ok(())
}

/// The `reply` part: the answered post, and the one at the start of its thread.
async fn reply(client: &Client, place: &Place) -> Outcome<serde_json::Value> {
    let params = [
        ("repo", place.repo.as_str()),
        ("collection", place.collection.as_str()),
        ("rkey", place.rkey.as_str()),
    ];
    let answered = client
        .query("com.atproto.repo.getRecord", &params, None)
        .await?;
    let parent = json!({ "uri": answered["uri"], "cid": answered["cid"] });
    let root = match &answered["value"]["reply"]["root"] {
        serde_json::Value::Null => parent.clone(),
        root => root.clone(),
    };
    Ok(json!({ "root": root, "parent": parent }))
}
