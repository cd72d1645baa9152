//! Passkeys (WebAuthn level 3): added by an owner, and what they sign in with instead of a password.
//!
//! Verification is by `webauthn-rs`. A passkey verifies its user (a PIN, a finger, a face), and so stands for
//! password and code together.

use std::collections::HashMap;
use std::sync::Arc;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use parking_lot::Mutex;
use serde_json::{Value, json};
use ues_repo::syntax::{Datetime, Did};
use url::Url;
use webauthn_rs::prelude::{
    DiscoverableAuthentication, DiscoverableKey, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, Uuid, Webauthn, WebauthnBuilder, WebauthnError,
};

use super::browser::Browser;
use super::sign_in::failed;
use crate::accounts::{Account, MAX_PASSKEYS, StoredPasskey};
use crate::config::Config;
use crate::context::Context;
use crate::factors;
use crate::mail::Notice;

/// For how long a challenge can be answered.
const CHALLENGE_MS: u64 = 300_000;
/// Challenges that wait at one time.
const MAX_WAITING: usize = 10_000;
const UNKNOWN: &str = "This passkey is not known here.";
const TOO_OLD: &str = "That took too long. Try again.";

/// What a challenge is for.
enum Ceremony {
    Add(Did, Box<PasskeyRegistration>),
    SignIn(Box<DiscoverableAuthentication>),
}

/// The node as a relying party: its name, and the challenges that it gave out. One waits in each browser; its
/// answer is taken once.
pub struct RelyingParty {
    webauthn: Webauthn,
    waiting: Mutex<HashMap<String, (u64, Ceremony)>>,
}

impl RelyingParty {
    /// The relying party of a node, named by its public host. `None` where browsers have no passkeys: without TLS,
    /// and at an address that is not a name.
    pub fn of(config: &Config) -> Option<Self> {
        let origin = Url::parse(config.endpoint()).ok()?;
        let name = origin.domain()?;
        if origin.scheme() != "https" && name != "localhost" {
            return None;
        }
        let builder = WebauthnBuilder::new(name, &origin).ok()?.rp_name(name);
        match builder.build() {
            Ok(webauthn) => Some(Self {
                webauthn,
                waiting: Mutex::default(),
            }),
            Err(cause) => {
                tracing::warn!(%cause, name, "no passkeys under this name");
                None
            }
        }
    }

    fn wait(&self, browser: &Browser, ceremony: Ceremony, now_ms: u64) -> Result<(), String> {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= MAX_WAITING {
            waiting.retain(|_, (until, _)| *until > now_ms);
        }
        if waiting.len() >= MAX_WAITING {
            return Err("Too many people sign in just now. Try again in some minutes.".to_owned());
        }
        waiting.insert(browser.hash(), (now_ms + CHALLENGE_MS, ceremony));
        Ok(())
    }

    /// The challenge that waits in a browser; it does not any more.
    fn take(&self, browser: &Browser, now_ms: u64) -> Option<Ceremony> {
        let (until, ceremony) = self.waiting.lock().remove(&browser.hash())?;
        (until > now_ms).then_some(ceremony)
    }
}

/// What a browser's authenticator is asked in order to add a passkey. An error is a sentence for the page.
pub fn begin_add(ctx: &Context, browser: &Browser, account: &Account) -> Result<Value, String> {
    let party = party(ctx)?;
    let known = ctx.passkeys.list(&account.did).map_err(|e| failed(&e))?;
    if known.len() >= MAX_PASSKEYS {
        return Err(format!(
            "An account has at most {MAX_PASSKEYS} passkeys. Remove one first."
        ));
    }
    let known = known.iter().map(|p| p.key.cred_id().clone()).collect();
    let (handle, user) = (account.handle.as_str(), user_id(ctx, &account.did));
    let begun = party
        .webauthn
        .start_passkey_registration(user, handle, handle, Some(known));
    let (options, state) = begun.map_err(|e| failed(&e))?;
    let ceremony = Ceremony::Add(account.did.clone(), Box::new(state));
    party.wait(browser, ceremony, ctx.now_ms())?;
    let mut options = json!(options.public_key);
    // Whoever signs in says no name: the authenticator has to know it.
    options["authenticatorSelection"]["residentKey"] = json!("required");
    options["authenticatorSelection"]["requireResidentKey"] = json!(true);
    Ok(options)
}

/// Adds the passkey that an authenticator made, with a letter to the owner. An error is a sentence for the page.
pub async fn finish_add(
    ctx: &Context,
    browser: &Browser,
    account: &Account,
    name: &str,
    credential: &str,
) -> Result<(), String> {
    let party = party(ctx)?;
    let did = &account.did;
    let Some(Ceremony::Add(whose, state)) = party.take(browser, ctx.now_ms()) else {
        return Err(TOO_OLD.to_owned());
    };
    let made: RegisterPublicKeyCredential =
        serde_json::from_str(credential).map_err(|_| unreadable())?;
    let key = party.webauthn.finish_passkey_registration(&made, &state);
    let key = key.map_err(|cause| {
        tracing::info!(%did, %cause, "a new passkey is refused");
        "What your device made is not a passkey for this server.".to_owned()
    })?;
    if whose != *did {
        return Err(TOO_OLD.to_owned());
    }
    let passkey = StoredPasskey::new(name, key);
    let _turn = ctx.accounts.turn(did).await;
    let owner = ctx.passkeys.owner(&passkey.id()).map_err(|e| failed(&e))?;
    if owner.is_some() {
        return Err("This passkey is known already.".to_owned());
    }
    let mut batch = ctx.store.batch();
    ctx.passkeys.put(&mut batch, did, &passkey);
    let notice = Notice::PasskeyAdded { name: passkey.name };
    factors::tell(ctx, &mut batch, account, &notice).map_err(|e| failed(&e))?;
    let written = factors::commit(ctx, batch).await;
    written.map_err(|e| failed(&e))
}

/// What a browser's authenticator is asked in order to sign in.
pub fn begin_sign_in(ctx: &Context, browser: &Browser) -> Result<Value, String> {
    let party = party(ctx)?;
    let begun = party.webauthn.start_discoverable_authentication();
    let (options, state) = begun.map_err(|e| failed(&e))?;
    let ceremony = Ceremony::SignIn(Box::new(state));
    party.wait(browser, ceremony, ctx.now_ms())?;
    Ok(json!(options.public_key))
}

/// The account whose passkey answered the challenge that waits in a browser.
pub async fn finish_sign_in(
    ctx: &Context,
    browser: &Browser,
    credential: &str,
) -> Result<Arc<Account>, String> {
    let party = party(ctx)?;
    let Some(Ceremony::SignIn(state)) = party.take(browser, ctx.now_ms()) else {
        return Err(TOO_OLD.to_owned());
    };
    let given: PublicKeyCredential = serde_json::from_str(credential).map_err(|_| unreadable())?;
    let named = party.webauthn.identify_discoverable_authentication(&given);
    let (user, id) = named.map_err(|_| unreadable())?;
    let id = BASE64URL_NOPAD.encode(id);
    let unknown = || UNKNOWN.to_owned();
    let did = ctx.passkeys.owner(&id).map_err(|e| failed(&e))?;
    let did = did.filter(|did| user_id(ctx, did) == user);
    let did = did.ok_or_else(unknown)?;
    let account = ctx.accounts.by_did(&did).map_err(|e| failed(&e))?;
    let account = account.filter(|a| !a.is_deleted()).ok_or_else(unknown)?;
    let _turn = ctx.accounts.turn(&did).await;
    let passkey = ctx.passkeys.get(&did, &id).map_err(|e| failed(&e))?;
    let mut passkey = passkey.ok_or_else(unknown)?;
    let key = DiscoverableKey::from(&passkey.key);
    let proven = party
        .webauthn
        .finish_discoverable_authentication_v2(&given, *state, &key);
    let proven = match proven {
        Ok(proven) => proven,
        Err(WebauthnError::CredentialPossibleCompromise) => {
            tracing::warn!(%did, "the counter of a passkey went back: it may have been copied");
            let name = passkey.name;
            let mut batch = ctx.store.batch();
            factors::tell(ctx, &mut batch, &account, &Notice::PasskeyCopied { name })
                .map_err(|e| failed(&e))?;
            factors::commit(ctx, batch).await.map_err(|e| failed(&e))?;
            return Err("This passkey may have been copied, and is refused.".to_owned());
        }
        Err(cause) => {
            tracing::info!(%did, %cause, "a passkey is refused");
            return Err("This passkey is not good here.".to_owned());
        }
    };
    if account.is_taken_down() {
        return Err("This account has been taken down.".to_owned());
    }
    passkey.key.update_credential(&proven);
    passkey.used_at = Some(Datetime::now().to_string());
    let mut batch = ctx.store.batch();
    ctx.passkeys.put(&mut batch, &did, &passkey);
    ctx.store.commit(batch).await.map_err(|e| failed(&e))?;
    Ok(account)
}

/// Gives a passkey another name.
pub async fn rename(ctx: &Context, account: &Account, id: &str, name: &str) -> Result<(), String> {
    let did = &account.did;
    let _turn = ctx.accounts.turn(did).await;
    let Some(mut passkey) = ctx.passkeys.get(did, id).map_err(|e| failed(&e))? else {
        return Err(UNKNOWN.to_owned());
    };
    passkey.name = crate::accounts::passkey_name(name);
    let mut batch = ctx.store.batch();
    ctx.passkeys.put(&mut batch, did, &passkey);
    ctx.store.commit(batch).await.map_err(|e| failed(&e))?;
    Ok(())
}

/// Removes a passkey, with a letter to the owner.
pub async fn remove(ctx: &Context, account: &Account, id: &str) -> Result<(), String> {
    let did = &account.did;
    let _turn = ctx.accounts.turn(did).await;
    let Some(passkey) = ctx.passkeys.get(did, id).map_err(|e| failed(&e))? else {
        return Err(UNKNOWN.to_owned());
    };
    let mut batch = ctx.store.batch();
    ctx.passkeys.remove(&mut batch, did, id);
    let notice = Notice::PasskeyRemoved { name: passkey.name };
    factors::tell(ctx, &mut batch, account, &notice).map_err(|e| failed(&e))?;
    let written = factors::commit(ctx, batch).await;
    written.map_err(|e| failed(&e))
}

fn party(ctx: &Context) -> Result<&RelyingParty, String> {
    let party = ctx.oauth.passkeys.as_ref();
    party.ok_or_else(|| "This server has no passkeys: they need TLS and a name.".to_owned())
}

fn unreadable() -> String {
    "Your browser's answer cannot be read.".to_owned()
}

/// What authenticators call an account by. It tells nobody else which one it is.
fn user_id(ctx: &Context, did: &Did) -> Uuid {
    let hash = ctx.seal.hash(&["passkey user", did.as_str()]);
    let bytes = HEXLOWER.decode(hash.as_bytes()).unwrap_or_default();
    let first = bytes.first_chunk::<16>();
    Uuid::from_bytes(first.copied().unwrap_or_default())
}
