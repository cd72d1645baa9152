//! New accounts: what they ask for is checked, and they are entered with identity, key and first commit.

use serde_json::Value;
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::event::LogEvent;
use ues_repo::repo::layout::Status;
use ues_repo::syntax::{Datetime, Did, Handle};

use crate::accounts::handle_rules::{self, Allowed};
use crate::accounts::{Account, Grant, InviteClaim, MAX_NEW_PASSWORD, Scope, TokenPair};
use crate::context::Context;
use crate::lifecycle;
use crate::methods::write_error;
use crate::xrpc::XrpcError;

const DAY_MS: u64 = 24 * 3600 * 1000;
/// How long an account that moves here may take until it is activated, in milliseconds.
const MOVE_MS: u64 = 3 * DAY_MS;

/// What somebody says who wants an account.
#[derive(Default)]
pub struct NewAccount<'a> {
    /// Handle.
    pub handle: &'a str,
    /// E-mail address.
    pub email: Option<&'a str>,
    /// Password.
    pub password: Option<&'a str>,
    /// Invite code.
    pub invite_code: Option<&'a str>,
    /// The DID of an account that moves here.
    pub did: Option<&'a str>,
    /// `did:key` that can take the identity back.
    pub recovery_key: Option<&'a str>,
    /// An operation of the identity; not supported.
    pub plc_op: Option<&'a Value>,
    /// Who has shown to hold a DID.
    pub holder: Option<&'a Did>,
    /// Whether a session is begun.
    pub signs_in: bool,
}

/// What of a wish for an account is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The handle.
    Handle,
    /// The e-mail address.
    Email,
    /// The password.
    Password,
    /// The invite code.
    Invite,
    /// Something else, or the server.
    Other,
}

/// Why there is no new account.
pub struct Refused {
    /// What is wrong.
    pub about: About,
    /// Why, in the official server's words.
    pub error: XrpcError,
}

impl From<XrpcError> for Refused {
    fn from(error: XrpcError) -> Self {
        About::Other.refuses(error)
    }
}

impl About {
    fn refuses(self, error: XrpcError) -> Refused {
        Refused { about: self, error }
    }
}

/// A new account.
pub struct Entered {
    /// Who it is.
    pub did: Did,
    /// What it is called.
    pub handle: Handle,
    /// Its first session, if one was wished for.
    pub tokens: Option<TokenPair>,
}

/// What a new account asks for, found good.
struct Wanted<'a> {
    handle: Handle,
    email: String,
    password: &'a str,
    did: Option<Did>,
    invite: Option<InviteClaim>,
}

/// Makes an account.
///
/// # Errors
/// [`Refused`].
pub async fn enter(ctx: &Context, new: NewAccount<'_>) -> Result<Entered, Refused> {
    let wanted = check(ctx, &new).await?;
    let (handle, email) = (&wanted.handle, &wanted.email);
    let mut names = vec![handle.as_str().to_owned(), email.clone()];
    names.extend(wanted.did.as_ref().map(Did::to_string));
    let taken = || {
        let message = format!("Handle already taken: {handle}");
        About::Handle.refuses(XrpcError::invalid(message))
    };
    let Some(_claim) = ctx.accounts.claim(names) else {
        return Err(taken());
    };
    let by_handle = ctx.accounts.by_handle(handle);
    if by_handle.map_err(XrpcError::internal)?.is_some() {
        return Err(taken());
    }
    let by_email = ctx.accounts.by_email(email);
    if by_email.map_err(XrpcError::internal)?.is_some() {
        let message = format!("Email already taken: {email}");
        return Err(About::Email.refuses(XrpcError::invalid(message)));
    }
    if let Some(did) = &wanted.did {
        if new.holder != Some(did) {
            let message = format!("Missing auth to create account with did: {did}");
            return Err(XrpcError::auth(message).into());
        }
        if lifecycle::account(ctx, did)?.is_some() {
            return Err(XrpcError::invalid("Repo already exists").into());
        }
    }
    let hash = ctx.passwords.hash(wanted.password).await;
    let hash = hash.map_err(XrpcError::internal)?;
    let key = signing_key(ctx, wanted.did.as_ref())?;
    let did = match &wanted.did {
        Some(did) => did.clone(),
        None => ctx
            .identities
            .create(handle, &key, new.recovery_key)
            .await
            .map_err(|e| e.into_xrpc())?,
    };
    let mut account = Account {
        email: Some(email.clone()),
        password: Some(hash),
        invite_code: wanted.invite.as_ref().map(|i| i.invite.code.clone()),
        ..Account::new(did.clone(), handle.clone())
    };
    if wanted.did.is_some() {
        let until = ctx.now_ms().saturating_add(MOVE_MS).cast_signed();
        let until = Datetime::from_unix_millis(until).to_string();
        account = account.with_deactivation(Some(account.created_at.clone()), Some(until));
    }
    let handle = handle.clone();
    let tokens = store(ctx, account, key, wanted.invite, new.signs_in).await?;
    Ok(Entered {
        did,
        handle,
        tokens,
    })
}

/// The key that was reserved for a DID, or a new one.
fn signing_key(ctx: &Context, did: Option<&Did>) -> Result<SigningKey, XrpcError> {
    if let Some(did) = did
        && let Some(key) = ctx.reserved_keys.read(did).map_err(XrpcError::internal)?
    {
        return Ok(key);
    }
    SigningKey::generate(KeyKind::K256).map_err(XrpcError::internal)
}

/// Stores a new account with its key, its first commit and perhaps its first session, all in one batch. One
/// that is not active is not announced.
async fn store(
    ctx: &Context,
    account: Account,
    key: SigningKey,
    invite: Option<InviteClaim>,
    signs_in: bool,
) -> Result<Option<TokenPair>, XrpcError> {
    let did = account.did.clone();
    let before = ctx.accounts.by_did(&did).map_err(XrpcError::internal)?;
    let mut batch = ctx.store.batch();
    ctx.accounts.put(&mut batch, &account, before.as_deref());
    if let Some(invite) = &invite {
        invite.enter(&mut batch, &did, &account.created_at);
    }
    let tokens = signs_in.then(|| {
        let (grant, now_ms) = (Grant::own(Scope::Access), ctx.now_ms());
        ctx.sessions.start(&mut batch, &did, grant, now_ms)
    });
    let tokens = tokens.transpose().map_err(XrpcError::internal)?;
    ctx.keys
        .put(&mut batch, &did, &key)
        .map_err(XrpcError::internal)?;
    ctx.reserved_keys.remove(&mut batch, &did);
    // An account that comes back begins anew: what it was before stays untold.
    let past = ctx.withheld.until(&did);
    let past = past.map(|_| ctx.store.log().last_durable());
    ctx.withheld.put(&mut batch, &did, past);
    let mut announce = Vec::new();
    if account.is_active() {
        let time = ctx.repos.now();
        announce.push(LogEvent::Identity {
            did: did.clone(),
            handle: Some(account.handle.clone()),
            time: time.clone(),
        });
        announce.push(LogEvent::Account {
            did: did.clone(),
            status: Status::Active,
            time,
        });
    }
    ctx.repos
        .create_as(&did, &key, batch, announce, account.status())
        .await
        .map_err(write_error)?;
    ctx.keys.written(&did, key);
    ctx.withheld.written(&did, past);
    ctx.accounts.written(account);
    Ok(tokens)
}

/// What a new account asks for, as far as it can be judged without looking at other accounts.
async fn check<'a>(ctx: &Context, new: &NewAccount<'a>) -> Result<Wanted<'a>, Refused> {
    let config = &ctx.config;
    if new.plc_op.is_some() {
        return Err(XrpcError::invalid("Unsupported input: \"plcOp\"").into());
    }
    let password = new.password.unwrap_or_default();
    if password.chars().count() > MAX_NEW_PASSWORD {
        let message =
            format!("Password too long. Maximum length is {MAX_NEW_PASSWORD} characters.");
        return Err(About::Password.refuses(XrpcError::invalid(message)));
    }
    let code = new.invite_code.filter(|code| !code.is_empty());
    if config.invite_required && code.is_none() {
        let error = XrpcError::named("InvalidInviteCode", "No invite code provided");
        return Err(About::Invite.refuses(error));
    }
    let Some(email) = new.email.filter(|email| !email.is_empty()) else {
        return Err(About::Email.refuses(XrpcError::invalid("Email is required")));
    };
    if !handle_rules::is_email(email) {
        let message = "This email address is not supported, please use a different email.";
        return Err(About::Email.refuses(XrpcError::invalid(message)));
    }
    let allowed = handle_rules::check(config, new.handle);
    let handle = match (allowed.map_err(|e| About::Handle.refuses(e))?, new.did) {
        (Allowed::Own(handle), _) => handle,
        (Allowed::Foreign(_), None) => {
            let error = XrpcError::named("UnsupportedDomain", "Not a supported handle domain");
            return Err(About::Handle.refuses(error));
        }
        (Allowed::Foreign(handle), Some(did)) => {
            let found = ctx.identities.refresh_handle(&handle).await.ok();
            if found.as_ref().map(Did::as_str) != Some(did) {
                let error = XrpcError::invalid("External handle did not resolve to DID");
                return Err(About::Handle.refuses(error));
            }
            handle
        }
    };
    let invite = code.map(|code| claim_invite(ctx, code)).transpose();
    let invite = invite.map_err(|e| About::Invite.refuses(e))?;
    let did = new.did.map(Did::parse).transpose();
    let did = did.map_err(|e| XrpcError::invalid(e.to_string()))?;
    if password.is_empty() {
        let error = XrpcError::named("InvalidPassword", "Password is required");
        return Err(About::Password.refuses(error));
    }
    Ok(Wanted {
        handle,
        email: email.to_lowercase(),
        password,
        did,
        invite,
    })
}

fn claim_invite(ctx: &Context, code: &str) -> Result<InviteClaim, XrpcError> {
    let claim = ctx.invites.reserve(code).map_err(XrpcError::internal)?;
    let usable = match &claim {
        // Who was taken down invites nobody.
        Some(claim) => match Did::parse(&claim.invite.for_account) {
            Ok(did) => ctx
                .accounts
                .by_did(&did)
                .map_err(XrpcError::internal)?
                .is_none_or(|account| !account.is_taken_down()),
            Err(_) => true,
        },
        None => false,
    };
    claim.filter(|_| usable).ok_or_else(|| {
        let message = "Provided invite code not available";
        XrpcError::named("InvalidInviteCode", message)
    })
}
