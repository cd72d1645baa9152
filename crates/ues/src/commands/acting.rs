//! Whom a command acts for, and how records are named on the command line.

use clap::Args;
use serde_json::Value;
use ues_repo::syntax::{AtIdentifier, AtUri};

use crate::client::{Client, Session};
use crate::failure::{Failure, Outcome};

/// Whom a command acts for.
#[derive(Clone, Debug, Args)]
pub struct As {
    /// The account, by handle or DID; not needed while the node has just one
    #[arg(
        long = "as",
        alias = "account",
        value_name = "ACCOUNT",
        env = "UES_AS",
        hide_env_values = true
    )]
    account: Option<String>,
}

impl As {
    /// Whom an argument of another kind names.
    pub fn of(account: Option<String>) -> Self {
        Self { account }
    }

    /// The named account, or the only one of the node.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn name(&self, client: &Client) -> Outcome<String> {
        if let Some(account) = &self.account {
            return Ok(account_name(account)?.to_owned());
        }
        let answer = client.admin_get("accounts", &[("limit", "3")]).await?;
        let accounts = answer["accounts"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        match accounts {
            [] => Err(Failure::not_found("the node has no account yet")
                .hint("ues account create alice.test makes one")),
            [only] => Ok(only["did"].as_str().unwrap_or_default().to_owned()),
            several => {
                let names: Vec<&str> = several
                    .iter()
                    .filter_map(|a| a["handle"].as_str())
                    .collect();
                Err(
                    Failure::usage("the node has several accounts: say which one")
                        .hint(format!("--as {}", names.first().unwrap_or(&"HANDLE"))),
                )
            }
        }
    }

    /// A session of that account; `purpose` goes into the audit.
    ///
    /// # Errors
    /// As [`As::name`], and when there is no such account.
    pub async fn session(&self, client: &Client, purpose: &str) -> Outcome<Session> {
        client.session(&self.name(client).await?, purpose).await
    }
}

/// Checks that a text is a handle or a DID; an `@` before it is dropped.
///
/// # Errors
/// A usage failure.
pub fn account_name(text: &str) -> Outcome<&str> {
    let name = text.strip_prefix('@').unwrap_or(text);
    AtIdentifier::parse(name).map(|_| name).map_err(|_| {
        Failure::usage(format!("{text:?} is neither a handle nor a DID"))
            .hint("a handle looks like alice.test, a DID like did:plc:…")
    })
}

/// A record's place, `at://alice.test/app.bsky.feed.post/3k…`, the `at://` may be left away.
pub struct Place {
    /// Handle or DID.
    pub repo: String,
    /// Collection.
    pub collection: String,
    /// Key in the collection.
    pub rkey: String,
}

impl Place {
    /// Reads it.
    ///
    /// # Errors
    /// A usage failure.
    pub fn parse(text: &str) -> Outcome<Self> {
        let uri = if text.starts_with("at://") {
            text.to_owned()
        } else {
            format!("at://{text}")
        };
        let parsed = AtUri::parse(&uri).ok();
        let parts = parsed.as_ref().and_then(|uri| {
            Some(Self {
                repo: uri.authority_str().to_owned(),
                collection: uri.collection_str()?.to_owned(),
                rkey: uri.rkey_str()?.to_owned(),
            })
        });
        parts.ok_or_else(|| {
            Failure::usage(format!("{text:?} does not name a record"))
                .hint("a record is named like at://alice.test/app.bsky.feed.post/3kabc")
        })
    }
}

/// Reads a JSON value given as text, as `@FILE` or as `-` (standard input).
///
/// # Errors
/// When the file cannot be read or the text is not JSON.
pub fn json_argument(text: &str) -> Outcome<Value> {
    let (source, content) = match text {
        "-" => (
            "standard input".to_owned(),
            std::io::read_to_string(std::io::stdin())?,
        ),
        _ => match text.strip_prefix('@') {
            Some(path) => (
                path.to_owned(),
                std::fs::read_to_string(path)
                    .map_err(Failure::while_doing(format!("read {path}")))?,
            ),
            None => ("the record".to_owned(), text.to_owned()),
        },
    };
    serde_json::from_str(&content).map_err(|e| {
        Failure::usage(format!("{source} is not JSON: {e}"))
            .hint("give JSON text, @FILE, or - for standard input")
    })
}
