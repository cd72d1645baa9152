//! The account at the new server, switched off until the identity names it.

use serde_json::{Value, json};

use super::mover::Mover;
use super::person::Report;
use super::plan::{self, Direction};
use super::side::{Owner, Side};
use crate::failure::{Failure, Outcome};
use crate::output::printable;

const CREATE: &str = "com.atproto.server.createAccount";

impl Mover {
    /// Makes the account, or finds the one that is there: from a run before, or from when it lived there earlier.
    pub(super) async fn account(&mut self) -> Outcome<Report> {
        let address = self.new.address().to_owned();
        let made = match self.hosted(&self.new).await? {
            Some(true) => {
                let sentence = format!(
                    "the account is switched on at {address}, and its identity names another server"
                );
                return Err(Failure::failed(sentence).hint(
                    "switch it off there first: two servers must not speak for one account",
                ));
            }
            Some(false) => false,
            None => {
                self.create().await?;
                true
            }
        };
        let wanted = self.recommended().await?;
        let endpoint = wanted["services"]["atproto_pds"]["endpoint"].as_str();
        let endpoint = endpoint.ok_or_else(|| {
            Failure::failed(format!("{address} does not say how identities name it"))
        })?;
        self.journal.record.endpoint = Some(endpoint.to_owned());
        let name = wanted["alsoKnownAs"][0].as_str();
        let handle = name
            .and_then(|name| name.strip_prefix("at://"))
            .unwrap_or_default();
        self.journal.record.remember(handle);
        self.journal.write()?;
        let shown = printable(handle);
        let text = match made {
            true => format!("made at {address} as {shown}, not switched on yet"),
            false => format!("is at {address} as {shown}, not switched on yet"),
        };
        let details = json!({ "did": self.did(), "handle": handle, "made": made });
        Ok(Report::new(text, details))
    }

    /// What the new server would have the identity say.
    pub(super) async fn recommended(&self) -> Outcome<Value> {
        let nsid = "com.atproto.identity.getRecommendedDidCredentials";
        self.new.query(nsid, &[]).await
    }

    /// Whether a server has the account, and whether it is switched on there.
    pub(super) async fn hosted(&self, side: &Side) -> Outcome<Option<bool>> {
        if side.is_own() {
            let account = self.desk.account(self.did()).await?;
            return match account.as_ref().map(|account| account.status.as_str()) {
                None => Ok(None),
                Some("active") => Ok(Some(true)),
                Some("deactivated") => Ok(Some(false)),
                Some(status) => Err(Failure::failed(format!(
                    "{} is {status} at this node",
                    self.did()
                ))),
            };
        }
        let nsid = "com.atproto.sync.getRepoStatus";
        let params = [("did", self.did())];
        match side.server().query(nsid, &params, None).await {
            Ok(answer) => Ok(Some(answer["active"] == json!(true))),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn create(&mut self) -> Outcome {
        let owner = self.old.owner().await?;
        let nsid = "com.atproto.server.describeServer";
        let there = self.new.server().query(nsid, &[], None).await?;
        let handle = self.choose_handle(&owner, &there).await?;
        let mut input = json!({ "did": self.did(), "handle": handle });
        input["password"] = json!(self.new_password().await?.as_str());
        let email = self.wishes.email.clone().or(owner.email);
        input["email"] = json!(email.unwrap_or_else(|| format!("owner@{handle}")));
        if let Some(code) = self.invite(&there).await? {
            input["inviteCode"] = json!(code);
        }
        let service = there["did"].as_str().unwrap_or_default();
        let params = [("aud", service), ("lxm", CREATE)];
        let nsid = "com.atproto.server.getServiceAuth";
        let pass = self.old.query(nsid, &params).await?;
        let pass = pass["token"].as_str();
        let pass = pass.ok_or_else(|| {
            Failure::failed(format!(
                "{} gives no token to move with",
                self.old.address()
            ))
        })?;
        // Written before it is done: an account that may be of this move can be deleted with it.
        self.journal.record.made = true;
        self.journal.record.remember(&owner.handle);
        self.journal.record.remember(&handle);
        self.journal.write()?;
        match self
            .new
            .server()
            .procedure(CREATE, Some(&input), Some(pass))
            .await
        {
            Ok(answer) => {
                if !self.new.is_own() {
                    self.new.enter(&answer);
                }
                Ok(())
            }
            Err(error) => {
                if error.is_refusal() {
                    self.journal.record.made = false;
                    self.journal.write()?;
                }
                Err(advised(error.is("InvalidInviteCode"), error.into()))
            }
        }
    }

    async fn choose_handle(&self, owner: &Owner, there: &Value) -> Outcome<String> {
        let nsid = "com.atproto.server.describeServer";
        let here = self.old.server().query(nsid, &[], None).await?;
        let asked = self.wishes.handle.as_deref();
        plan::handle(asked, &owner.handle, &domains(&here), &domains(there))
    }

    /// The password of the account at the new server. At this node it is the one that the owner has already.
    async fn new_password(&self) -> Outcome<zeroize::Zeroizing<String>> {
        match self.journal.record.direction {
            Direction::From => self.old.password().await,
            Direction::To => self.new.password().await,
        }
    }

    async fn invite(&self, there: &Value) -> Outcome<Option<String>> {
        if self.wishes.invite.is_some() {
            return Ok(self.wishes.invite.clone());
        }
        match there["inviteCodeRequired"] == json!(true) && self.new.is_own() {
            true => Ok(Some(self.desk.invite().await?)),
            false => Ok(None),
        }
    }
}

fn domains(description: &Value) -> Vec<String> {
    let list = description["availableUserDomains"].as_array();
    let list = list.into_iter().flatten();
    list.filter_map(|domain| domain.as_str().map(str::to_owned))
        .collect()
}

/// What to do when the new server does not make the account.
fn advised(no_invite: bool, failure: Failure) -> Failure {
    let hint = match () {
        () if no_invite => "it asks for an invite code: --invite CODE",
        () if failure.message.contains("Email already taken") => {
            "another account there has this address: --email ADDRESS"
        }
        () if failure.message.contains("andle") => "--handle NAME asks for another handle",
        () if failure.message.contains("already exists") => {
            "an account of this identity was there before; whoever runs that server can delete it"
        }
        () if failure.message.contains("resolve") => {
            "the identity has to be in a directory that both servers ask: `ues config show identity.directory`"
        }
        () => return failure,
    };
    failure.hint(hint)
}
