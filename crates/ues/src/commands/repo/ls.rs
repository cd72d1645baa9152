//! `ues repo ls`.

use serde_json::Value;

use crate::commands::Context;
use crate::failure::Outcome;
use crate::output::Table;

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context) -> Outcome {
    let client = context.client().await?;
    let repos = all(client).await?;
    let mut table = Table::new(&["did", "revision", "commit", "status"]);
    for repo in &repos {
        let text = |name: &str| repo[name].as_str().unwrap_or("-").to_owned();
        let status = if repo["active"] == true {
            "active".to_owned()
        } else {
            text("status")
        };
        table.row([text("did"), text("rev"), text("head"), status]);
    }
    context.output.result(&Value::Array(repos), |out| {
        table.write(out, "no repositories yet")
    });
    Ok(())
}

/// All repositories of a node.
pub(super) async fn all(client: &crate::client::Client) -> Outcome<Vec<Value>> {
    let mut repos = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut params = vec![("limit", "1000")];
        if !cursor.is_empty() {
            params.push(("cursor", &cursor));
        }
        let mut page = client
            .query("com.atproto.sync.listRepos", &params, None)
            .await?;
        if let Value::Array(more) = page["repos"].take() {
            repos.extend(more);
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return Ok(repos),
        }
    }
}
