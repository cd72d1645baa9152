//! Who calls: what the interfaces of the service need to know of it.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::Owner;

/// Somebody who has shown who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose pins are meant.
    pub owner: Owner,
    /// May read.
    pub reads: bool,
    /// May add and remove.
    pub writes: bool,
    /// May see and change what belongs to everybody: workers, pins of others.
    pub operates: bool,
}

impl Caller {
    /// Somebody who may do everything with this owner's pins and with the service.
    pub fn operator(owner: Owner) -> Self {
        Self {
            owner,
            reads: true,
            writes: true,
            operates: true,
        }
    }
}

/// What a request shows to prove who sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    None,
    /// `Authorization: Bearer …`.
    Bearer(String),
    /// `Authorization: Basic …`: name and password.
    Basic(String, String),
}

/// Why a caller is not let in. The sentence says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// What was shown is not enough.
    #[error("{0}")]
    No(String),
    /// It cannot be told now whether it is enough.
    #[error("{0}")]
    Unknown(String),
}

/// Decides who a caller is.
pub type Authenticate =
    Arc<dyn Fn(Credentials) -> BoxFuture<'static, Result<Caller, Denied>> + Send + Sync>;

impl Credentials {
    /// Reads the `Authorization` header.
    ///
    /// # Errors
    /// [`Denied`] for a header that cannot be read.
    pub fn of(headers: &HeaderMap) -> Result<Self, Denied> {
        let Some(value) = headers.get(AUTHORIZATION) else {
            return Ok(Self::None);
        };
        let wrong =
            || Denied::No("Authorization: Bearer with an API key, or Basic, expected".to_owned());
        let value = value.to_str().map_err(|_| wrong())?;
        let (scheme, rest) = value.split_once(' ').ok_or_else(wrong)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Self::Bearer(rest.trim().to_owned()));
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let bytes = data_encoding::BASE64
                .decode(rest.trim().as_bytes())
                .map_err(|_| wrong())?;
            let text = String::from_utf8(bytes).map_err(|_| wrong())?;
            let (name, password) = text.split_once(':').ok_or_else(wrong)?;
            return Ok(Self::Basic(name.to_owned(), password.to_owned()));
        }
        Err(wrong())
    }
}
