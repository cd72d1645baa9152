//! `ues admin invite`, `invites` and `uninvite`.

use serde_json::json;
use ues_atproto::admin::{MAX_COUNT, MAX_USES};

use super::Context;
use super::admin::did_of;
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::output::{STRONG, Table};

/// Makes codes, for nobody in particular or for an account to give away.
///
/// # Errors
/// What the node answers.
pub async fn make(
    context: &Context,
    client: &Client,
    count: u32,
    uses: u32,
    account: Option<String>,
) -> Outcome {
    for (name, number, most) in [("count", count, MAX_COUNT), ("uses", uses, MAX_USES)] {
        if !(1..=most).contains(&i64::from(number)) {
            let message = format!("{name}: expected a number from 1 to {most}");
            return Err(Failure::usage(message));
        }
    }
    let mut input = json!({ "codeCount": count, "useCount": uses });
    if let Some(account) = account {
        input["forAccounts"] = json!([did_of(client, &account).await?]);
    }
    let nsid = "com.atproto.server.createInviteCodes";
    let answer = client.procedure_as_admin(nsid, &input).await?;
    let codes = &answer["codes"][0]["codes"];
    context.output.result(codes, |out| {
        for code in codes.as_array().into_iter().flatten() {
            writeln!(
                out,
                "{STRONG}{}{STRONG:#}",
                code.as_str().unwrap_or_default()
            )?;
        }
        Ok(())
    });
    Ok(())
}

/// Lists codes, the newest first.
///
/// # Errors
/// What the node answers.
pub async fn list(context: &Context, client: &Client, limit: u32) -> Outcome {
    let limit = limit.clamp(1, 500).to_string();
    let nsid = "com.atproto.admin.getInviteCodes";
    let answer = client.query_as_admin(nsid, &[("limit", &limit)]).await?;
    let mut table = Table::new(&["code", "used", "for", "made", "state"]);
    for code in answer["codes"].as_array().into_iter().flatten() {
        let text = |name: &str| code[name].as_str().unwrap_or_default().to_owned();
        let used = code["uses"].as_array().map_or(0, Vec::len);
        let state = if code["disabled"] == true {
            "disabled"
        } else {
            "good"
        };
        table.row([
            text("code"),
            format!("{used} of {}", code["available"]),
            text("forAccount"),
            text("createdAt"),
            state.to_owned(),
        ]);
    }
    context.output.result(&answer["codes"], |out| {
        table.write(out, "no invite codes: ues admin invite makes one")
    });
    Ok(())
}

/// Makes a code worthless.
///
/// # Errors
/// When there is no such code.
pub async fn disable(context: &Context, client: &Client, code: &str) -> Outcome {
    if !is_invite(client, code).await? {
        let failure = Failure::not_found(format!("there is no invite code {code}"));
        return Err(failure.hint("ues admin invites lists them"));
    }
    let input = json!({ "codes": [code] });
    let nsid = "com.atproto.admin.disableInviteCodes";
    client.procedure_as_admin(nsid, &input).await?;
    let value = json!({ "code": code, "disabled": true });
    context
        .output
        .line(&value, format!("{code} is good for nothing now"));
    Ok(())
}

/// Whether there is such a code.
async fn is_invite(client: &Client, wanted: &str) -> Outcome<bool> {
    let mut cursor = String::new();
    loop {
        let mut params = vec![("limit", "500")];
        if !cursor.is_empty() {
            params.push(("cursor", &cursor));
        }
        let nsid = "com.atproto.admin.getInviteCodes";
        let page = client.query_as_admin(nsid, &params).await?;
        let mut codes = page["codes"].as_array().into_iter().flatten();
        if codes.any(|code| code["code"] == wanted) {
            return Ok(true);
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return Ok(false),
        }
    }
}
