//! What the operator of this node may do for an account that moves.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::Client;
use crate::failure::{Exit, Failure, Outcome};

/// An account of this node.
#[derive(Clone, Debug, Deserialize)]
pub struct LocalAccount {
    /// Its DID.
    pub did: String,
    /// Its handle.
    pub handle: String,
    /// Its e-mail address.
    pub email: Option<String>,
    /// `active`, `deactivated`, `takendown`.
    pub status: String,
}

/// What an identity says, as it is published now.
#[derive(Clone, Debug, Deserialize)]
pub struct Identity {
    /// Where the account lives.
    pub endpoint: Option<String>,
    /// Whether that is this node.
    pub here: bool,
    /// The did:key that signs its repository.
    pub key: Option<String>,
    /// All data of a did:plc; other methods have none.
    pub plc: Option<Value>,
}

/// See the module.
#[async_trait]
pub trait Desk: Send + Sync {
    /// An access token for an account.
    async fn session(&self, did: &str) -> Outcome<String>;
    /// An account, whatever its status; `None` where there is none.
    async fn account(&self, account: &str) -> Outcome<Option<LocalAccount>>;
    /// An identity, asked for anew.
    async fn identity(&self, did: &str) -> Outcome<Identity>;
    /// The DID of a handle.
    async fn resolve(&self, handle: &str) -> Outcome<String>;
    /// Signs an operation with these fields for an account's did:plc.
    async fn sign(&self, did: &str, fields: &Value) -> Outcome<Value>;
    /// An invite code for one account.
    async fn invite(&self) -> Outcome<String>;
    /// Deletes an account.
    async fn delete(&self, did: &str) -> Outcome;
}

fn read<T: serde::de::DeserializeOwned>(answer: Value) -> Outcome<T> {
    serde_json::from_value(answer).map_err(Failure::while_doing("read the node's answer"))
}

#[async_trait]
impl Desk for Client {
    async fn session(&self, did: &str) -> Outcome<String> {
        Ok(Self::session(self, did, "account migrate").await?.token)
    }

    async fn account(&self, account: &str) -> Outcome<Option<LocalAccount>> {
        match self.admin_get("account", &[("account", account)]).await {
            Ok(answer) => Ok(Some(read(answer)?)),
            Err(failure) if failure.exit == Exit::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn identity(&self, did: &str) -> Outcome<Identity> {
        read(self.admin_get("identity", &[("did", did)]).await?)
    }

    async fn resolve(&self, handle: &str) -> Outcome<String> {
        let params = [("handle", handle)];
        let answer = self
            .query("com.atproto.identity.resolveHandle", &params, None)
            .await?;
        Ok(answer["did"].as_str().unwrap_or_default().to_owned())
    }

    async fn sign(&self, did: &str, fields: &Value) -> Outcome<Value> {
        let mut input = fields.clone();
        input["account"] = json!(did);
        let mut answer = self.admin_post("identity/sign", &input).await?;
        Ok(answer["operation"].take())
    }

    async fn invite(&self) -> Outcome<String> {
        let input = json!({ "useCount": 1 });
        let nsid = "com.atproto.server.createInviteCode";
        let answer = self.procedure_as_admin(nsid, &input).await?;
        Ok(answer["code"].as_str().unwrap_or_default().to_owned())
    }

    async fn delete(&self, did: &str) -> Outcome {
        let input = json!({ "account": did });
        self.admin_post("account/delete", &input).await.map(|_| ())
    }
}
