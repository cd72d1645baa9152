//! What an application may call: each method that asks for a session, and the permission that opens it.

use http::StatusCode;
use ues_oauth::{Action, Permissions};

use crate::accounts::Session;
use crate::xrpc::{Auth, Params, XrpcError};

/// Fails unless the session's permissions allow a method. Sessions that no application has may call all.
pub fn permit(session: &Session, auth: Auth, nsid: &str, params: &Params) -> Result<(), XrpcError> {
    let Some(granted) = &session.granted else {
        return Ok(());
    };
    let permissions = &granted.permissions;
    let allowed = match nsid {
        // They look at each record, or at the file's type, themselves.
        "com.atproto.repo.createRecord"
        | "com.atproto.repo.putRecord"
        | "com.atproto.repo.deleteRecord"
        | "com.atproto.repo.applyWrites"
        | "com.atproto.repo.uploadBlob"
        // They tell an application nothing that it could misuse.
        | "com.atproto.server.getSession"
        | "com.atproto.server.checkAccountStatus"
        | "com.atproto.repo.listMissingBlobs"
        | "com.atproto.identity.getRecommendedDidCredentials" => true,
        "com.atproto.repo.importRepo" => permissions.allows_account("repo", true),
        "com.atproto.identity.updateHandle" => permissions.allows_identity("handle"),
        "com.atproto.identity.requestPlcOperationSignature"
        | "com.atproto.identity.signPlcOperation"
        | "com.atproto.identity.submitPlcOperation" => permissions.allows_identity("*"),
        "com.atproto.server.deactivateAccount" => permissions.allows_account("status", true),
        "com.atproto.server.confirmEmail" | "com.atproto.server.requestEmailConfirmation" => {
            permissions.allows_account("email", true)
        }
        "com.atproto.server.getServiceAuth" => {
            let method = params.0.get("lxm").and_then(|v| v.as_str()).unwrap_or("*");
            let audience = params
                .0
                .get("aud")
                .and_then(|v| v.as_str())
                .unwrap_or_default();
            permissions.allows_rpc(method, audience)
        }
        // Kept here, and for no service that a permission could name.
        "com.atproto.moderation.createReport" => permissions.allows_rpc(nsid, "*"),
        // Anybody may call these.
        _ if matches!(auth, Auth::Open | Auth::Optional | Auth::OptionalEver) => true,
        // Whoever wants these signs in with the account's own password.
        _ if nsid.starts_with("com.atproto.") => {
            return Err(XrpcError::forbidden(
                "Forbidden",
                "OAuth credentials are not supported for this endpoint",
            ));
        }
        // What only the account's own password opens.
        _ if matches!(auth, Auth::Full | Auth::Owner | Auth::OwnerEver) => false,
        _ => speaks(permissions, nsid),
    };
    if allowed { Ok(()) } else { Err(missing(nsid)) }
}

/// Fails unless a method of a service (`DID#service`) may be called in the account's name.
pub fn permit_rpc(session: &Session, nsid: &str, audience: &str) -> Result<(), XrpcError> {
    match &session.granted {
        Some(granted) if !granted.permissions.allows_rpc(nsid, audience) => {
            Err(missing(&format!("rpc:{nsid}?aud={audience}")))
        }
        _ => Ok(()),
    }
}

/// Whether a method of an application's own may be called, whatever service it is asked of.
fn speaks(permissions: &Permissions, nsid: &str) -> bool {
    permissions.allows_rpc(nsid, "*") || permissions.names_method(nsid)
}

/// Fails unless records may be written so.
pub fn permit_writes<'a>(
    session: &Session,
    writes: impl IntoIterator<Item = (&'a str, Action)>,
) -> Result<(), XrpcError> {
    let Some(granted) = &session.granted else {
        return Ok(());
    };
    for (collection, action) in writes {
        if !granted.permissions.allows_repo(collection, action) {
            let scope = format!("repo:{collection}?action={}", action.name());
            return Err(missing(&scope));
        }
    }
    Ok(())
}

/// Fails unless a file of a media type may be uploaded.
pub fn permit_blob(session: &Session, media_type: &str) -> Result<(), XrpcError> {
    match &session.granted {
        Some(granted) if !granted.permissions.allows_blob(media_type) => {
            Err(missing(&format!("blob:{media_type}")))
        }
        _ => Ok(()),
    }
}

fn missing(what: &str) -> XrpcError {
    let message = format!("Missing required scope for {what:?}");
    XrpcError::new(StatusCode::FORBIDDEN, "ScopeMissingError", message)
}
