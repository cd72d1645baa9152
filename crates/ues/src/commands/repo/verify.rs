//! `ues repo verify`.

use std::time::Instant;

use serde_json::{Value, json};
use ues_repo::crypto::VerifyingKey;
use ues_repo::repo::verify::{Archive, Verified};

use super::key;
use super::ls;
use super::source::{Source, load_account};
use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{BAD, FAINT, GOOD, STRONG};

/// Arguments of `ues repo verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ues repo verify alice.car                the key comes from the account's identity
  ues repo verify alice.car --key did:key:zQ3sh…
  ues repo verify https://host/xrpc/com.atproto.sync.getRepo?did=did:plc:…
  ues repo verify alice.test               an account of the node
  ues repo verify ./ues-data               every account of a data folder

Each block is hashed, each node of the tree checked, each record read, and the commit's signature held against the \
account's key. Exit code 4 when anything is not as it must be.")]
pub struct Args {
    /// A CAR file (`-`: standard input), an address, an account, or a data folder
    #[arg(value_name = "WHAT")]
    what: String,
    /// The key that must have signed, instead of the one in the account's identity
    #[arg(long, value_name = "DID_KEY")]
    key: Option<String>,
    /// Checks all but the signature
    #[arg(long, conflicts_with = "key")]
    no_signature: bool,
}

/// Runs it.
///
/// # Errors
/// [`crate::failure::Exit::Unsound`] when something is not as it must be.
pub async fn run(context: &Context, args: Args) -> Outcome {
    let given = match &args.key {
        None => None,
        Some(text) => Some(VerifyingKey::from_did_key(text).map_err(|e| {
            Failure::usage(format!("{text:?} is not a key: {e}"))
                .hint("a key looks like did:key:zQ3sh…")
        })?),
    };
    match Source::parse(&args.what)? {
        Source::Folder(dir) => {
            let mut global = context.global.clone();
            global.data = Some(dir);
            let context = Context::new(global, context.output);
            folder(&context, args.no_signature).await
        }
        source => {
            let started = Instant::now();
            let archive = source.load(context).await?;
            let verified = check(context, &args.what, &archive, given, args.no_signature).await?;
            report(context, &args.what, &verified, started);
            Ok(())
        }
    }
}

async fn folder(context: &Context, no_signature: bool) -> Outcome {
    let client = context.client().await?;
    let repos = ls::all(client).await?;
    let mut bad = 0_usize;
    for repo in &repos {
        let did = repo["did"].as_str().unwrap_or_default();
        let started = Instant::now();
        let checked = async {
            let archive = load_account(context, client, did).await?;
            let key = match no_signature {
                true => None,
                false => Some(key::of(context, did).await?),
            };
            verify(did, &archive, key.as_ref())
        };
        match checked.await {
            Ok(verified) => report(context, did, &verified, started),
            Err(failure) => {
                bad += 1;
                let value = json!({ "did": did, "ok": false, "problem": failure.message });
                context
                    .output
                    .line(&value, format!("{BAD}damaged{BAD:#} {}", failure.message));
            }
        }
    }
    match bad {
        0 => Ok(()),
        _ => Err(Failure::unsound(format!(
            "{bad} of {} repositories are not sound",
            repos.len()
        ))
        .hint("ues check tells which blocks are damaged")),
    }
}

async fn check(
    context: &Context,
    what: &str,
    archive: &Archive,
    given: Option<VerifyingKey>,
    no_signature: bool,
) -> Outcome<Verified> {
    let commit = archive
        .commit()
        .map_err(|e| Failure::unsound(format!("{what} is no repository: {e}")))?;
    let key = match given {
        Some(key) => Some(key),
        None if no_signature => None,
        None => Some(key::of(context, commit.did.as_str()).await?),
    };
    verify(what, archive, key.as_ref())
}

fn verify(what: &str, archive: &Archive, key: Option<&VerifyingKey>) -> Outcome<Verified> {
    archive
        .verify(key, |_, _, _| {}, |_, _| {})
        .map_err(|e| Failure::unsound(format!("{what} does not verify: {e}")))
}

fn report(context: &Context, what: &str, verified: &Verified, started: Instant) {
    let value: Value = json!({
        "what": what, "ok": true, "did": verified.did.as_str(), "rev": verified.rev.as_str(),
        "commit": verified.commit.to_string(), "data": verified.data.to_string(),
        "records": verified.records, "nodes": verified.nodes,
        "signatureChecked": verified.signature_checked,
    });
    let signature = if verified.signature_checked {
        format!("{GOOD}signature good{GOOD:#}")
    } else {
        format!("{BAD}signature not checked{BAD:#}")
    };
    context.output.result(&value, |out| {
        writeln!(
            out,
            "{GOOD}sound{GOOD:#} {STRONG}{}{STRONG:#} {} records, {} nodes, {signature} {FAINT}({:.1} s){FAINT:#}",
            verified.did,
            verified.records,
            verified.nodes,
            started.elapsed().as_secs_f64()
        )?;
        writeln!(out, "{FAINT}revision {} commit {}{FAINT:#}", verified.rev.as_str(), verified.commit)
    });
}
