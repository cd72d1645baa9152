//! A server together with the account's session there.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::desk::Desk;
use super::person::{Person, Question};
use super::xrpc::{CallError, Called, Xrpc};
use crate::failure::{Failure, Outcome};

/// How the account signs in.
pub enum Key {
    /// At this node, by the operator's right.
    Operator(Arc<dyn Desk>),
    /// At another server, with its password, which is asked for when it is needed.
    Password {
        /// Who is asked.
        person: Arc<dyn Person>,
        /// What was given or answered.
        password: OnceCell<Zeroizing<String>>,
    },
}

impl Key {
    /// A password, given already or not.
    pub fn password(person: Arc<dyn Person>, given: Option<Zeroizing<String>>) -> Self {
        Self::Password {
            person,
            password: OnceCell::new_with(given),
        }
    }
}

/// Tokens of a session.
struct Tokens {
    access: String,
    refresh: Option<String>,
}

/// What a server says of the account that has signed in.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// Its handle.
    pub handle: String,
    /// Its e-mail address.
    pub email: Option<String>,
}

/// See the module. Calls are made with the session, which is begun when it is needed and renewed when it has expired.
pub struct Side {
    server: Arc<dyn Xrpc>,
    key: Key,
    did: String,
    tokens: Mutex<Option<Tokens>>,
    /// One sign-in at a time: a second factor is asked for once.
    turn: tokio::sync::Mutex<()>,
    owner: Mutex<Owner>,
}

impl Side {
    /// The account of this DID at a server.
    pub fn new(server: Arc<dyn Xrpc>, key: Key, did: &str) -> Self {
        Self {
            server,
            key,
            did: did.to_owned(),
            tokens: Mutex::new(None),
            turn: tokio::sync::Mutex::new(()),
            owner: Mutex::new(Owner::default()),
        }
    }

    /// The server's address, as a person knows it.
    pub fn address(&self) -> &str {
        self.server.address()
    }

    /// The server, for calls without a session.
    pub fn server(&self) -> &dyn Xrpc {
        &*self.server
    }

    /// Whether the operator signs in here.
    pub fn is_own(&self) -> bool {
        matches!(self.key, Key::Operator(_))
    }

    /// The password at another server, asked for where it was not given.
    pub async fn password(&self) -> Outcome<Zeroizing<String>> {
        match &self.key {
            Key::Operator(_) => Err(Failure::failed("the operator has no password here")),
            Key::Password { person, password } => {
                let server = self.address().to_owned();
                let ask = || person.ask(Question::Password { server });
                password.get_or_try_init(ask).await.cloned()
            }
        }
    }

    /// The handle and address that the account has here.
    ///
    /// # Errors
    /// When it cannot sign in.
    pub async fn owner(&self) -> Outcome<Owner> {
        match &self.key {
            Key::Operator(desk) => {
                let account = desk.account(&self.did).await?;
                let gone = || Failure::not_found(format!("there is no account {}", self.did));
                let account = account.ok_or_else(gone)?;
                let (handle, email) = (account.handle, account.email);
                Ok(Owner { handle, email })
            }
            Key::Password { .. } => {
                self.token().await?;
                Ok(self.owner.lock().clone())
            }
        }
    }

    /// Takes over the session that comes with a new account.
    pub fn enter(&self, answer: &Value) {
        if let Some(access) = answer["accessJwt"].as_str() {
            let refresh = answer["refreshJwt"].as_str().map(str::to_owned);
            let access = access.to_owned();
            *self.tokens.lock() = Some(Tokens { access, refresh });
        }
    }

    async fn token(&self) -> Outcome<String> {
        let _turn = self.turn.lock().await;
        if let Some(tokens) = &*self.tokens.lock() {
            return Ok(tokens.access.clone());
        }
        let tokens = self.sign_in().await?;
        let access = tokens.access.clone();
        *self.tokens.lock() = Some(tokens);
        Ok(access)
    }

    /// Puts a fresh token in the place of one that is not taken any more.
    async fn renew(&self, stale: &str) -> Outcome<String> {
        let _turn = self.turn.lock().await;
        let refresh = match &*self.tokens.lock() {
            // Another call was faster.
            Some(tokens) if tokens.access != stale => return Ok(tokens.access.clone()),
            Some(tokens) => tokens.refresh.clone(),
            None => None,
        };
        let refreshed = match refresh {
            Some(refresh) => {
                let nsid = "com.atproto.server.refreshSession";
                self.server.procedure(nsid, None, Some(&refresh)).await.ok()
            }
            None => None,
        };
        let tokens = match refreshed.as_ref().and_then(read_tokens) {
            Some(tokens) => tokens,
            None => self.sign_in().await?,
        };
        let access = tokens.access.clone();
        *self.tokens.lock() = Some(tokens);
        Ok(access)
    }

    async fn sign_in(&self) -> Outcome<Tokens> {
        let person = match &self.key {
            Key::Operator(desk) => {
                let access = desk.session(&self.did).await?;
                let refresh = None;
                return Ok(Tokens { access, refresh });
            }
            Key::Password { person, .. } => person,
        };
        let password = self.password().await?;
        let nsid = "com.atproto.server.createSession";
        let mut input = json!({ "identifier": self.did, "password": password.as_str() });
        let answer = match self.server.procedure(nsid, Some(&input), None).await {
            Err(error) if error.is("AuthFactorTokenRequired") => {
                let server = self.address().to_owned();
                let code = person.ask(Question::SecondFactor { server }).await?;
                input["authFactorToken"] = json!(code.trim());
                self.server.procedure(nsid, Some(&input), None).await
            }
            other => other,
        };
        let answer = answer.map_err(|error| match error.is_unauthorized() {
            true => Failure::from(error)
                .hint("the account's own password is asked for, not one that was made for an app"),
            false => error.into(),
        })?;
        if answer["did"] != json!(self.did) {
            let sentence = format!("{} signs in another account", self.address());
            return Err(Failure::failed(sentence));
        }
        *self.owner.lock() = Owner {
            handle: answer["handle"].as_str().unwrap_or_default().to_owned(),
            email: answer["email"].as_str().map(str::to_owned),
        };
        read_tokens(&answer)
            .ok_or_else(|| Failure::failed(format!("{} gives no token at sign-in", self.address())))
    }

    /// Makes a call with a token, and once more with a fresh one where it has expired.
    async fn signed<T>(&self, call: impl AsyncFn(String) -> Called<T>) -> Outcome<Called<T>> {
        let token = self.token().await?;
        match call(token.clone()).await {
            Err(error) if is_expired(&error) => {
                let fresh = self.renew(&token).await?;
                Ok(call(fresh).await)
            }
            other => Ok(other),
        }
    }

    /// Calls a query.
    ///
    /// # Errors
    /// Outside when there is no session, inside what the server answers.
    pub async fn try_query(&self, nsid: &str, params: &[(&str, &str)]) -> Outcome<Called> {
        self.signed(async |token| self.server.query(nsid, params, Some(&token)).await)
            .await
    }

    /// Calls a procedure.
    ///
    /// # Errors
    /// As [`Side::try_query`].
    pub async fn try_procedure(&self, nsid: &str, input: Option<&Value>) -> Outcome<Called> {
        self.signed(async |token| self.server.procedure(nsid, input, Some(&token)).await)
            .await
    }

    /// Calls a query.
    ///
    /// # Errors
    /// When there is no session, or what the server answers.
    pub async fn query(&self, nsid: &str, params: &[(&str, &str)]) -> Outcome<Value> {
        Ok(self.try_query(nsid, params).await??)
    }

    /// Calls a procedure.
    ///
    /// # Errors
    /// As [`Side::query`].
    pub async fn procedure(&self, nsid: &str, input: Option<&Value>) -> Outcome<Value> {
        Ok(self.try_procedure(nsid, input).await??)
    }

    /// Reads bytes into a file; gives their media type.
    ///
    /// # Errors
    /// As [`Side::try_query`].
    pub async fn try_download(
        &self,
        nsid: &str,
        params: &[(&str, &str)],
        to: &Path,
    ) -> Outcome<Called<String>> {
        self.signed(async |token| self.server.download(nsid, params, &token, to).await)
            .await
    }

    /// Sends a file.
    ///
    /// # Errors
    /// As [`Side::query`].
    pub async fn upload(&self, nsid: &str, mime: &str, from: &Path) -> Outcome<Value> {
        Ok(self
            .signed(async |token| self.server.upload(nsid, mime, from, &token).await)
            .await??)
    }
}

fn read_tokens(answer: &Value) -> Option<Tokens> {
    let access = answer["accessJwt"].as_str()?.to_owned();
    let refresh = answer["refreshJwt"].as_str().map(str::to_owned);
    Some(Tokens { access, refresh })
}

fn is_expired(error: &CallError) -> bool {
    error.is("ExpiredToken") || (error.is_unauthorized() && error.is("InvalidToken"))
}
