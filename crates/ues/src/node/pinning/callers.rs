//! Who calls the pin service: the operator by the node's secret, owners by their API keys.

use std::sync::Arc;

use subtle::ConstantTimeEq;
use ues_access::{Access, AccessError, Principal, Scope};
use ues_pins::Owner;
use ues_pins::auth::{Authenticate, Caller, Credentials, Denied};

/// Lets in who shows the operator's secret or an API key: as a bearer token, or as the password of basic
/// authentication. Who shows nothing is let in as `anonymous`, where that is somebody.
pub fn authenticate(access: &Access, secret: &Arc<str>, anonymous: Option<Caller>) -> Authenticate {
    let (access, secret) = (access.clone(), Arc::clone(secret));
    Arc::new(move |credentials| {
        let (access, secret) = (access.clone(), Arc::clone(&secret));
        let anonymous = anonymous.clone();
        Box::pin(async move {
            let shown = match credentials {
                Credentials::Bearer(token) => token,
                Credentials::Basic(_, password) => password,
                Credentials::None => {
                    return anonymous.ok_or_else(|| {
                        Denied::No("an API key is needed: ues key create makes one".to_owned())
                    });
                }
            };
            if bool::from(shown.as_bytes().ct_eq(secret.as_bytes())) {
                return Ok(Caller::operator(Owner::default_owner()));
            }
            match access.authenticate(&shown, now_ms()).await {
                Ok(principal) => Ok(caller(&principal)),
                Err(error) => Err(denied(&error)),
            }
        })
    })
}

fn caller(principal: &Principal) -> Caller {
    let admin = principal.may(Scope::Admin);
    Caller {
        owner: principal.owner.clone(),
        reads: admin || principal.may(Scope::PinsRead),
        writes: admin || principal.may(Scope::PinsWrite),
        operates: admin,
    }
}

fn denied(error: &AccessError) -> Denied {
    if error.is_denial() {
        return Denied::No(error.to_string());
    }
    tracing::error!(%error, "API keys cannot be checked");
    Denied::Unknown("API keys cannot be checked now; try again".to_owned())
}

/// The time, in milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    ues_pins::Clock::default().now_ms()
}
