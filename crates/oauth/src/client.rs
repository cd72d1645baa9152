//! A client's document (draft-ietf-oauth-client-id-metadata-document, RFC 7591), and what the profile demands of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::{Host, Url};

use crate::error::OAuthError;
use crate::scope::Permissions;

/// Longest document that is read.
pub const MAX_METADATA_BYTES: usize = 64 << 10;
const MAX_REDIRECTS: usize = 32;
const MAX_NAME_CHARS: usize = 100;

/// How a client shows that it is the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// Not at all: a public client.
    None,
    /// By a token signed with a key of its document (RFC 7523): a confidential client.
    PrivateKeyJwt,
    /// Something that is not taken here.
    #[default]
    #[serde(other)]
    Other,
}

/// A client's document, as far as it is used here. Unknown fields are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientMetadata {
    /// The URL of the document itself.
    pub client_id: String,
    /// What the client calls itself. Anybody may call themselves anything.
    #[serde(default)]
    pub client_name: Option<String>,
    /// Its home page.
    #[serde(default)]
    pub client_uri: Option<String>,
    /// Its privacy policy.
    #[serde(default)]
    pub policy_uri: Option<String>,
    /// Its terms.
    #[serde(default)]
    pub tos_uri: Option<String>,
    /// Where it may be returned to.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// `authorization_code`, perhaps `refresh_token`.
    #[serde(default)]
    pub grant_types: Vec<String>,
    /// `code`.
    #[serde(default)]
    pub response_types: Vec<String>,
    /// All that it may ever ask for.
    #[serde(default)]
    pub scope: String,
    /// `web` (default) or `native`.
    #[serde(default)]
    pub application_type: Option<String>,
    /// How it shows that it is the client.
    #[serde(rename = "token_endpoint_auth_method", default)]
    pub auth_method: AuthMethod,
    /// By which algorithm.
    #[serde(rename = "token_endpoint_auth_signing_alg", default)]
    pub signing_alg: Option<String>,
    /// Its keys.
    #[serde(default)]
    pub jwks: Option<Value>,
    /// Where its keys lie.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// Always true in this profile.
    #[serde(default)]
    pub dpop_bound_access_tokens: bool,
}

impl ClientMetadata {
    /// Reads and checks the document that lay at `client_id`.
    pub fn parse(client_id: &str, document: &[u8]) -> Result<Self, OAuthError> {
        let metadata: Self = serde_json::from_slice(document).map_err(|e| {
            OAuthError::metadata(format!("the client's document cannot be read: {e}"))
        })?;
        if metadata.client_id != client_id {
            return Err(OAuthError::metadata(
                "the document's client_id is not the URL where it lies",
            ));
        }
        metadata.check()?;
        Ok(metadata)
    }

    pub(crate) fn check(&self) -> Result<(), OAuthError> {
        let wrong = |why: &str| {
            Err(OAuthError::metadata(format!(
                "the client's document is refused: {why}"
            )))
        };
        if !self.dpop_bound_access_tokens {
            return wrong("dpop_bound_access_tokens must be true");
        }
        let grants = ["authorization_code", "refresh_token"];
        if !self.grant_types.iter().any(|g| g == grants[0])
            || !self
                .grant_types
                .iter()
                .all(|g| grants.contains(&g.as_str()))
        {
            return wrong(
                "grant_types must have authorization_code, and may have refresh_token besides",
            );
        }
        if !self.response_types.iter().any(|t| t == "code") {
            return wrong("response_types must have code");
        }
        if let Err(e) = Permissions::parse(&self.scope) {
            return wrong(&e.description);
        }
        if self.redirect_uris.is_empty() || self.redirect_uris.len() > MAX_REDIRECTS {
            return wrong("redirect_uris must have one to 32 entries");
        }
        if let Some(uri) = self.redirect_uris.iter().find(|uri| !self.may_declare(uri)) {
            let uri: String = uri.chars().take(100).collect();
            return wrong(&format!("the redirect URI {uri:?} is not allowed"));
        }
        match self.auth_method {
            AuthMethod::None => {}
            AuthMethod::PrivateKeyJwt => {
                if self.signing_alg.as_deref() != Some("ES256") {
                    return wrong("token_endpoint_auth_signing_alg must be ES256");
                }
                if self.jwks.is_some() == self.jwks_uri.is_some() {
                    return wrong("private_key_jwt needs either jwks or jwks_uri");
                }
                let https = |uri: &String| uri.starts_with("https://") && Url::parse(uri).is_ok();
                let local = self.client_id.starts_with("http://");
                if !self.jwks_uri.as_ref().is_none_or(|uri| local || https(uri)) {
                    return wrong("jwks_uri must begin with https://");
                }
            }
            AuthMethod::Other => {
                return wrong("token_endpoint_auth_method must be none or private_key_jwt");
            }
        }
        Ok(())
    }

    fn is_native(&self) -> bool {
        self.application_type.as_deref() == Some("native")
    }

    /// Whether a document may have this redirect URI.
    fn may_declare(&self, uri: &str) -> bool {
        let Ok(url) = Url::parse(uri) else {
            return false;
        };
        if uri.len() > 2048
            || url.fragment().is_some()
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return false;
        }
        match url.scheme() {
            "https" => matches!(url.host(), Some(Host::Domain(name)) if name != "localhost"),
            "http" => {
                is_loopback(&url) && (self.is_native() || self.client_id.starts_with("http://"))
            }
            // such as com.example.app:/callback, by whoever owns app.example.com
            scheme => {
                let host = Url::parse(&self.client_id).ok();
                let host = host.as_ref().and_then(|u| u.host_str().map(str::to_owned));
                let reversed = host.map(|h| h.rsplit('.').collect::<Vec<_>>().join("."));
                let one_slash = uri
                    .strip_prefix(&format!("{scheme}:/"))
                    .is_some_and(|rest| !rest.starts_with('/'));
                self.is_native() && one_slash && reversed.as_deref() == Some(scheme)
            }
        }
    }

    /// Whether the client may be returned to `uri`: one of its own to the letter, but for the port on a loopback address
    /// (RFC 8252 section 7.3).
    pub fn allows_redirect(&self, uri: &str) -> bool {
        let given = Url::parse(uri).ok();
        self.redirect_uris.iter().any(|own| {
            if own == uri {
                return true;
            }
            let (Some(given), Ok(own)) = (&given, Url::parse(own)) else {
                return false;
            };
            is_loopback(&own)
                && given.scheme() == "http"
                && given.host() == own.host()
                && given.path() == own.path()
                && given.query() == own.query()
                && given.fragment().is_none()
                && given.username().is_empty()
                && given.password().is_none()
        })
    }

    /// Whether the client may refresh its tokens.
    pub fn may_refresh(&self) -> bool {
        self.grant_types.iter().any(|g| g == "refresh_token")
    }

    /// Whether it proves who it is.
    pub fn is_confidential(&self) -> bool {
        self.auth_method == AuthMethod::PrivateKeyJwt
    }

    /// What people are shown as the client's name: the host, which it has shown to have.
    pub fn host(&self) -> String {
        let url = Url::parse(&self.client_id).ok();
        let host = url.as_ref().and_then(|u| u.host_str());
        host.unwrap_or("localhost").to_owned()
    }

    /// What the client calls itself, shortened.
    pub fn name(&self) -> Option<String> {
        let name = self.client_name.as_deref()?.trim();
        let name: String = name
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_NAME_CHARS)
            .collect();
        (!name.is_empty()).then_some(name)
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback() && url.scheme() == "http",
        Some(Host::Ipv6(ip)) => ip.is_loopback() && url.scheme() == "http",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "https://app.example.com/client.json";

    fn document() -> Value {
        json!({
            "client_id": ID, "client_name": "An App", "redirect_uris": ["https://app.example.com/callback"],
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
            "scope": "atproto transition:generic", "token_endpoint_auth_method": "none",
            "dpop_bound_access_tokens": true, "logo_uri": "https://app.example.com/logo.png",
        })
    }

    fn parse(document: &Value) -> Result<ClientMetadata, OAuthError> {
        ClientMetadata::parse(ID, document.to_string().as_bytes())
    }

    #[test]
    fn a_good_document() {
        let client = parse(&document()).unwrap();
        assert!(client.allows_redirect("https://app.example.com/callback"));
        for other in [
            "https://app.example.com/callback/",
            "https://app.example.com/callback?a=b",
            "https://app.example.com:8443/callback",
            "https://app.example.com.evil.example/callback",
            "http://app.example.com/callback",
        ] {
            assert!(!client.allows_redirect(other), "{other}");
        }
    }

    #[test]
    fn documents_that_are_refused() {
        for (field, value) in [
            ("client_id", json!("https://other.example.com/client.json")),
            ("dpop_bound_access_tokens", json!(false)),
            ("grant_types", json!(["refresh_token"])),
            ("grant_types", json!(["authorization_code", "password"])),
            ("response_types", json!(["token"])),
            ("scope", json!("transition:generic")),
            ("redirect_uris", json!([])),
            ("redirect_uris", json!(["http://app.example.com/callback"])),
            ("redirect_uris", json!(["http://127.0.0.1/callback"])),
            ("redirect_uris", json!(["com.example.app:/callback"])),
            ("redirect_uris", json!(["javascript:alert(1)"])),
            ("token_endpoint_auth_method", json!("client_secret_basic")),
            ("token_endpoint_auth_method", json!("private_key_jwt")),
        ] {
            let mut document = document();
            document[field] = value.clone();
            assert!(parse(&document).is_err(), "{field} {value}");
        }
    }

    #[test]
    fn native_clients_have_schemes_of_their_own_domain() {
        let native = |uri: &str| {
            let mut document = document();
            document["application_type"] = "native".into();
            document["redirect_uris"] = json!([uri]);
            parse(&document)
        };
        assert!(native("com.example.app:/callback").is_ok());
        assert!(native("http://127.0.0.1/callback").is_ok());
        for bad in [
            "com.evil.app:/callback",
            "com.example.app://callback",
            "javascript:/x",
            "http://localhost/",
        ] {
            assert!(native(bad).is_err(), "{bad}");
        }
    }
}
