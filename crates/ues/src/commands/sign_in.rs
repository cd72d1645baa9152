//! `ues account sessions` and `ues account totp`.

use serde_json::json;

use super::Context;
use super::acting::account_name;
use crate::client::Client;
use crate::failure::Outcome;
use crate::output::{STRONG, Table};

/// Lists the sessions of an account, or ends one, or all.
///
/// # Errors
/// What the node answers.
pub async fn sessions(
    context: &Context,
    client: &Client,
    account: &str,
    end: Option<String>,
    end_all: bool,
) -> Outcome {
    let name = account_name(account)?;
    if end.is_some() || end_all {
        let mut input = json!({ "account": name });
        if let Some(id) = end {
            input["id"] = json!(id);
        }
        let value = client.admin_post("sessions/end", &input).await?;
        context.output.line(&value, "ended");
        return Ok(());
    }
    let answer = client.admin_get("sessions", &[("account", name)]).await?;
    let mut table = Table::new(&["id", "by", "since", "used", "until"]);
    for session in answer["sessions"].as_array().into_iter().flatten() {
        let text = |name: &str| session[name].as_str().unwrap_or_default().to_owned();
        let by = match session["appPassword"].as_str() {
            Some(name) => format!("app password {name}"),
            None => "password".to_owned(),
        };
        let times = [text("startedAt"), text("usedAt"), text("expiresAt")];
        let [since, used, until] = times;
        table.row([text("id"), by, since, used, until]);
    }
    context
        .output
        .result(&answer["sessions"], |out| table.write(out, "no sessions"));
    Ok(())
}

/// Makes, confirms or removes an account's second factor.
///
/// # Errors
/// What the node answers.
pub async fn totp(
    context: &Context,
    client: &Client,
    account: &str,
    code: Option<String>,
    off: bool,
) -> Outcome {
    let name = account_name(account)?;
    if let Some(code) = code {
        let input = json!({ "account": name, "code": code });
        let value = client.admin_post("account/totp/confirm", &input).await?;
        let line =
            format!("Sign-ins of {account} ask for a code from now on; app passwords do not");
        context.output.line(&value, line);
        return Ok(());
    }
    let path = if off {
        "account/totp/remove"
    } else {
        "account/totp"
    };
    let value = client.admin_post(path, &json!({ "account": name })).await?;
    if off {
        let line = format!("Sign-ins of {account} ask for the password alone");
        context.output.line(&value, line);
        return Ok(());
    }
    context.output.result(&value, |out| {
        let uri = value["uri"].as_str().unwrap_or_default();
        writeln!(out, "{uri}")?;
        writeln!(
            out,
            "\nPut it into the authenticator (secret {STRONG}{}{STRONG:#}), then: ues account totp {account} --code CODE",
            value["secret"].as_str().unwrap_or_default()
        )
    });
    Ok(())
}
