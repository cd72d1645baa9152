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

/// What becomes of a second factor.
pub enum Wish {
    /// A secret is made, which waits for its first code.
    Make,
    /// Sign-ins ask for codes from now on, if this is the first.
    Confirm(String),
    /// New recovery codes.
    Recovery,
    /// Sign-ins ask for the password alone.
    Off,
}

/// Makes, confirms or removes an account's second factor, or makes its recovery codes.
///
/// # Errors
/// What the node answers.
pub async fn totp(context: &Context, client: &Client, account: &str, wish: Wish) -> Outcome {
    let name = account_name(account)?;
    let mut input = json!({ "account": name });
    let path = match wish {
        Wish::Make => "account/totp",
        Wish::Confirm(code) => {
            input["code"] = json!(code);
            "account/totp/confirm"
        }
        Wish::Recovery => "account/totp/recovery",
        Wish::Off => "account/totp/remove",
    };
    let value = client.admin_post(path, &input).await?;
    context.output.result(&value, |out| {
        if let Some(uri) = value["uri"].as_str() {
            let secret = value["secret"].as_str().unwrap_or_default();
            return writeln!(
                out,
                "{uri}\n\nPut it into the authenticator (secret {STRONG}{secret}{STRONG:#}), then: ues account totp {account} --code CODE"
            );
        }
        match value["totp"].as_bool() {
            Some(true) => writeln!(
                out,
                "Sign-ins of {account} ask for a code from now on; app passwords do not"
            )?,
            Some(false) => writeln!(out, "Sign-ins of {account} ask for the password alone")?,
            None => {}
        }
        let codes = value["recoveryCodes"].as_array();
        if codes.is_some() {
            writeln!(
                out,
                "\nRecovery codes, each good once in place of a code; they are shown only now:"
            )?;
        }
        for code in codes.into_iter().flatten() {
            writeln!(out, "  {STRONG}{}{STRONG:#}", code.as_str().unwrap_or_default())?;
        }
        Ok(())
    });
    Ok(())
}
