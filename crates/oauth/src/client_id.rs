//! Who a client is: a URL where its document lies, or a program on the user's own machine.

use url::{Host, Url};

use crate::client::{AuthMethod, ClientMetadata};
use crate::error::OAuthError;

const MAX_BYTES: usize = 2048;
const LOOPBACK: &str = "http://localhost";

/// The id of a client (section "Clients" of the profile).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientId {
    /// `https://…`: its document is fetched from there.
    Discoverable(Url),
    /// `http://localhost`, with redirect URIs and scope in the query: a client in development.
    Loopback(String),
}

impl ClientId {
    /// Reads an id. `allow_http` lets documents lie on plain HTTP too, for networks on one machine.
    pub fn parse(text: &str, allow_http: bool) -> Result<Self, OAuthError> {
        let wrong = |why: &str| OAuthError::client(format!("client_id {why}"));
        if text.len() > MAX_BYTES {
            return Err(wrong("is longer than 2048 bytes"));
        }
        if let Some(rest) = text.strip_prefix(LOOPBACK)
            && (rest.is_empty() || rest == "/" || rest.starts_with('?') || rest.starts_with("/?"))
        {
            return Ok(Self::Loopback(text.to_owned()));
        }
        let url = Url::parse(text).map_err(|_| wrong("is not a URL"))?;
        let scheme = url.scheme() == "https" || (allow_http && url.scheme() == "http");
        if !scheme {
            return Err(wrong("must begin with https://, or be http://localhost"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(wrong("must have neither credentials nor a fragment"));
        }
        if !allow_http && !matches!(url.host(), Some(Host::Domain(name)) if name.contains('.')) {
            return Err(wrong("must have a domain name"));
        }
        if url.path() == "/" || url.path().ends_with('/') {
            return Err(wrong("must have a path that does not end in a slash"));
        }
        if url.as_str() != text {
            return Err(wrong("must be written in its normal form"));
        }
        Ok(Self::Discoverable(url))
    }

    /// The text that the client gave.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Discoverable(url) => url.as_str(),
            Self::Loopback(text) => text,
        }
    }

    /// The document of a loopback client, which nobody has to fetch.
    pub fn loopback_metadata(&self) -> Option<Result<ClientMetadata, OAuthError>> {
        let Self::Loopback(text) = self else {
            return None;
        };
        Some(loopback(text))
    }
}

fn loopback(text: &str) -> Result<ClientMetadata, OAuthError> {
    let query = text.split_once('?').map_or("", |(_, query)| query);
    let mut redirect_uris = Vec::new();
    let mut scope = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "redirect_uri" => redirect_uris.push(value.into_owned()),
            "scope" if scope.is_none() => scope = Some(value.into_owned()),
            "scope" => return Err(OAuthError::client("client_id has scope twice")),
            other => {
                let other: String = other.chars().take(40).collect();
                let why = format!(
                    "client_id has {other:?}: of a loopback client it may have redirect_uri and scope only"
                );
                return Err(OAuthError::client(why));
            }
        }
    }
    if redirect_uris.is_empty() {
        redirect_uris = vec!["http://127.0.0.1/".to_owned(), "http://[::1]/".to_owned()];
    }
    let metadata = ClientMetadata {
        client_id: text.to_owned(),
        client_name: None,
        client_uri: None,
        policy_uri: None,
        tos_uri: None,
        redirect_uris,
        grant_types: vec!["authorization_code".to_owned(), "refresh_token".to_owned()],
        response_types: vec!["code".to_owned()],
        scope: scope.unwrap_or_else(|| "atproto".to_owned()),
        application_type: Some("native".to_owned()),
        auth_method: AuthMethod::None,
        signing_alg: None,
        jwks: None,
        jwks_uri: None,
        dpop_bound_access_tokens: true,
    };
    for uri in &metadata.redirect_uris {
        let url = Url::parse(uri).ok();
        let local = |url: &Url| {
            let host = url.host_str();
            url.scheme() == "http" && (host == Some("127.0.0.1") || host == Some("[::1]"))
        };
        if !url.as_ref().is_some_and(local) {
            let why = "a loopback client goes back to http://127.0.0.1 or http://[::1]";
            return Err(OAuthError::client(why));
        }
    }
    metadata.check()?;
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for good in [
            "https://app.example.com/client-metadata.json",
            "https://app.example.com:8443/a/b?c=d",
            "http://localhost",
            "http://localhost/",
            "http://localhost?redirect_uri=http%3A%2F%2F127.0.0.1%2Fcallback&scope=atproto",
        ] {
            assert!(ClientId::parse(good, false).is_ok(), "{good}");
        }
        for bad in [
            "",
            "app",
            "http://app.example.com/client.json",
            "https://app.example.com",
            "https://app.example.com/",
            "https://app.example.com/dir/",
            "https://app.example.com/a/../b",
            "https://APP.example.com/b",
            "https://app.example.com/b#c",
            "https://me@app.example.com/b",
            "https://localhost/b",
            "https://10.0.0.1/b",
            "https://[::1]/b",
            "http://localhost:80/x",
            "http://localhost.example.com/",
            "ftp://app.example.com/b",
        ] {
            assert!(ClientId::parse(bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_loopback_client_brings_its_document_along() {
        let of = |text: &str| {
            let id = ClientId::parse(text, false).unwrap();
            id.loopback_metadata().unwrap()
        };
        let plain = of("http://localhost").unwrap();
        assert_eq!(plain.scope, "atproto");
        assert!(plain.allows_redirect("http://127.0.0.1:4711/"));
        assert!(!plain.allows_redirect("http://127.0.0.1:4711/other"));
        assert!(!plain.allows_redirect("http://localhost:4711/"));
        assert!(of("http://localhost?redirect_uri=https%3A%2F%2Fevil.example%2F").is_err());
        assert!(of("http://localhost?redirect_uri=http%3A%2F%2Flocalhost%2F").is_err());
        assert!(of("http://localhost?client_name=Bank").is_err());
        assert!(of("http://localhost?scope=openid").is_err());
    }
}
