//! `ues account`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::Context;
use super::acting::account_name;
use super::{migrate, sign_in};
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::output::{FAINT, GOOD, STRONG, Table, human_bytes};

/// Accounts of the node.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes an account
    #[command(after_help = "\
Examples:
  ues account create alice.test            a password is made and shown once
  ues account create alice                 the same: the node's own domain is added
  ues account create bob.test --email bob@example.com --password 'long and secret'")]
    Create {
        /// Its handle
        #[arg(value_name = "HANDLE")]
        handle: String,
        /// Its e-mail address; owner@HANDLE when left away
        #[arg(long)]
        email: Option<String>,
        /// Its password; made and shown when left away
        #[arg(long, env = "UES_PASSWORD", hide_env_values = true)]
        password: Option<String>,
        /// Invite code, where the node asks for one
        #[arg(long, value_name = "CODE")]
        invite_code: Option<String>,
    },
    /// Lists the accounts
    #[command(visible_alias = "list")]
    Ls,
    /// Shows an account
    Show {
        /// Handle or DID
        account: String,
    },
    /// Gives an account a new password and ends its sessions
    Password {
        /// Handle or DID
        account: String,
        /// The password; made and shown when left away
        #[arg(long, env = "UES_PASSWORD", hide_env_values = true)]
        password: Option<String>,
    },
    /// Gives an account another handle
    Handle {
        /// Handle or DID
        account: String,
        /// The new handle
        #[arg(value_name = "HANDLE")]
        handle: String,
    },
    /// Prints an access token of an account, for use with other programs
    #[command(after_help = "\
Example:
  curl -H \"Authorization: Bearer $(ues account token alice.test)\" \\
    http://localhost:2583/xrpc/com.atproto.server.getSession")]
    Token {
        /// Handle or DID
        account: String,
    },
    /// Lists the sessions of an account, or ends them
    #[command(after_help = "\
Examples:
  ues account sessions alice.test
  ues account sessions alice.test --end 1f0a6c…     one of them
  ues account sessions alice.test --end-all         all; access tokens that are out end within two hours")]
    Sessions {
        /// Handle or DID
        account: String,
        /// Ends this session
        #[arg(long, value_name = "ID", conflicts_with = "end_all")]
        end: Option<String>,
        /// Ends all sessions, and those of all applications
        #[arg(long)]
        end_all: bool,
    },
    /// Asks for a code of an authenticator besides the password
    #[command(after_help = "\
Examples:
  ues account totp alice.test              shows what the authenticator scans
  ues account totp alice.test --code 123456   from now on sign-ins ask for codes; shows recovery codes
  ues account totp alice.test --recovery   shows new recovery codes, for the day the authenticator is lost
  ues account totp alice.test --off        no longer")]
    Totp {
        /// Handle or DID
        account: String,
        /// The code that the authenticator shows
        #[arg(long, conflicts_with_all = ["off", "recovery"])]
        code: Option<String>,
        /// Makes new recovery codes; the earlier ones are void
        #[arg(long, conflicts_with = "off")]
        recovery: bool,
        /// Asks for the password alone
        #[arg(long)]
        off: bool,
    },
    /// Moves an account from another server to this node, or from here to another server
    Migrate(Box<migrate::Args>),
    /// Takes an account off the network for a while; nothing is lost
    Deactivate {
        /// Handle or DID
        account: String,
    },
    /// Brings a deactivated account back
    Activate {
        /// Handle or DID
        account: String,
    },
    /// Deletes an account with all it holds
    Delete {
        /// Handle or DID
        account: String,
        /// Says that this is meant
        #[arg(long)]
        yes: bool,
    },
}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, command: Command) -> Outcome {
    let client = context.client().await?;
    match command {
        Command::Migrate(args) => migrate::run(context, *args).await,
        Command::Create {
            handle,
            email,
            password,
            invite_code,
        } => create(context, client, &handle, email, password, invite_code).await,
        Command::Ls => ls(context, client).await,
        Command::Show { account } => show(context, client, &account).await,
        Command::Password { account, password } => {
            new_password(context, client, &account, password).await
        }
        Command::Handle { account, handle } => {
            let input = json!({ "account": account_name(&account)?, "handle": handle });
            let value = client.admin_post("account/handle", &input).await?;
            let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
            let (before, handle) = (text("before"), text("handle"));
            context
                .output
                .result(&json!({ "did": value["did"], "handle": handle }), |out| {
                    writeln!(out, "{before} is now {STRONG}{handle}{STRONG:#}")
                });
            Ok(())
        }
        Command::Token { account } => {
            let session = client
                .session(account_name(&account)?, "account token")
                .await?;
            let value = json!({ "did": session.did, "accessJwt": session.token });
            context.output.line(&value, &session.token);
            Ok(())
        }
        Command::Sessions {
            account,
            end,
            end_all,
        } => sign_in::sessions(context, client, &account, end, end_all).await,
        Command::Totp {
            account,
            code,
            recovery,
            off,
        } => {
            let wish = match code {
                Some(code) => sign_in::Wish::Confirm(code),
                None if recovery => sign_in::Wish::Recovery,
                None if off => sign_in::Wish::Off,
                None => sign_in::Wish::Make,
            };
            sign_in::totp(context, client, &account, wish).await
        }
        Command::Deactivate { account } => {
            set_status(context, client, &account, "deactivated").await
        }
        Command::Activate { account } => set_status(context, client, &account, "active").await,
        Command::Delete { account, yes } => delete(context, client, &account, yes).await,
    }
}

async fn create(
    context: &Context,
    client: &Client,
    handle: &str,
    email: Option<String>,
    password: Option<String>,
    invite_code: Option<String>,
) -> Outcome {
    let mut handle = handle
        .strip_prefix('@')
        .unwrap_or(handle)
        .to_ascii_lowercase();
    if !handle.contains('.') {
        let server = client
            .query("com.atproto.server.describeServer", &[], None)
            .await?;
        handle.push_str(
            server["availableUserDomains"][0]
                .as_str()
                .unwrap_or(".test"),
        );
    }
    let made = if password.is_none() {
        Some(make_password()?)
    } else {
        None
    };
    let mut input = json!({ "handle": handle, "password": password.or_else(|| made.clone()) });
    // The protocol's servers ask for an address; this one is the account's own and reaches nobody.
    input["email"] = json!(email.unwrap_or_else(|| format!("owner@{handle}")));
    if let Some(code) = invite_code {
        input["inviteCode"] = json!(code);
    }
    let answer = client
        .procedure("com.atproto.server.createAccount", &input, None)
        .await?;
    let mut value = json!({ "did": answer["did"], "handle": answer["handle"] });
    if let Some(password) = &made {
        value["password"] = json!(password);
    }
    context.output.result(&value, |out| {
        writeln!(out, "{GOOD}Account made.{GOOD:#}")?;
        writeln!(out, "  handle    {STRONG}{handle}{STRONG:#}")?;
        writeln!(
            out,
            "  did       {}",
            answer["did"].as_str().unwrap_or_default()
        )?;
        if let Some(password) = &made {
            writeln!(
                out,
                "  password  {STRONG}{password}{STRONG:#}   {FAINT}(shown only now){FAINT:#}"
            )?;
        }
        writeln!(out, "\nWrite something: ues post \"Hello\" --as {handle}")
    });
    Ok(())
}

async fn ls(context: &Context, client: &Client) -> Outcome {
    let mut table = Table::new(&["handle", "did", "status", "records", "blobs", "since"]);
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut params = vec![("limit", "500")];
        if !cursor.is_empty() {
            params.push(("cursor", &cursor));
        }
        let mut page = client.admin_get("accounts", &params).await?;
        if let Value::Array(accounts) = page["accounts"].take() {
            all.extend(accounts);
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    for account in &all {
        let text = |name: &str| account[name].as_str().unwrap_or("-").to_owned();
        table.row([
            text("handle"),
            text("did"),
            text("status"),
            account["records"].to_string(),
            human_bytes(account["blobBytes"].as_u64().unwrap_or_default()),
            text("createdAt"),
        ]);
    }
    let value = Value::Array(all);
    context.output.result(&value, |out| {
        table.write(
            out,
            "no account yet: ues account create alice.test makes one",
        )
    });
    Ok(())
}

async fn show(context: &Context, client: &Client, account: &str) -> Outcome {
    let name = account_name(account)?;
    let value = client.admin_get("account", &[("account", name)]).await?;
    context.output.result(&value, |out| {
        for (label, key) in [
            ("handle", "handle"),
            ("did", "did"),
            ("status", "status"),
            ("email", "email"),
            ("since", "createdAt"),
            ("revision", "rev"),
            ("commit", "commit"),
            ("root", "data"),
            ("records", "records"),
            ("of bytes", "recordBytes"),
            ("blobs", "blobs"),
            ("bytes", "blobBytes"),
            ("quota", "blobQuota"),
        ] {
            match &value[key] {
                Value::Null => {}
                Value::String(text) => writeln!(out, "{FAINT}{label:<9}{FAINT:#} {text}")?,
                other => writeln!(out, "{FAINT}{label:<9}{FAINT:#} {other}")?,
            }
        }
        let collections = value["collections"].as_array().into_iter().flatten();
        for (i, collection) in collections.filter_map(Value::as_str).enumerate() {
            let label = if i == 0 { "holds" } else { "" };
            writeln!(out, "{FAINT}{label:<9}{FAINT:#} {collection}")?;
        }
        Ok(())
    });
    Ok(())
}

async fn new_password(
    context: &Context,
    client: &Client,
    account: &str,
    password: Option<String>,
) -> Outcome {
    let made = if password.is_none() {
        Some(make_password()?)
    } else {
        None
    };
    let input = json!({
        "account": account_name(account)?,
        "password": password.or_else(|| made.clone()),
    });
    let mut value = client.admin_post("account/password", &input).await?;
    if let Some(password) = &made {
        value["password"] = json!(password);
    }
    context.output.result(&value, |out| match &made {
        Some(password) => {
            writeln!(
                out,
                "{STRONG}{password}{STRONG:#}   {FAINT}(shown only now){FAINT:#}"
            )
        }
        None => writeln!(out, "The password of {account} is changed."),
    });
    Ok(())
}

async fn set_status(context: &Context, client: &Client, account: &str, status: &str) -> Outcome {
    let input = json!({ "account": account_name(account)?, "status": status });
    let value = client.admin_post("account/status", &input).await?;
    context
        .output
        .line(&value, format!("{account} is {status}"));
    Ok(())
}

async fn delete(context: &Context, client: &Client, account: &str, yes: bool) -> Outcome {
    let name = account_name(account)?;
    if !yes {
        return Err(
            Failure::usage(format!("deleting {name} cannot be undone")).hint(format!(
                "export it first: ues repo export {name} -o {name}.car\nthen say --yes"
            )),
        );
    }
    let value = client
        .admin_post("account/delete", &json!({ "account": name }))
        .await?;
    context.output.line(&value, format!("{name} is deleted"));
    Ok(())
}

/// A password of 100 random bits, in groups that can be typed.
fn make_password() -> Outcome<String> {
    // No letters or digits that look alike.
    const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789x";
    let mut random = [0_u8; 20];
    getrandom::fill(&mut random).map_err(Failure::while_doing("make a password"))?;
    let mut out = String::new();
    for (i, byte) in random.iter().enumerate() {
        if i > 0 && i % 5 == 0 {
            out.push('-');
        }
        let letter = ALPHABET
            .get(usize::from(byte % 32))
            .copied()
            .unwrap_or(b'x');
        out.push(char::from(letter));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::make_password;

    #[test]
    fn passwords_differ_and_can_be_typed() {
        let (a, b) = (make_password().unwrap(), make_password().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), 23);
        assert!(
            a.bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        );
    }
}
