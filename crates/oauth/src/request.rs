//! What a client asks for (RFC 6749 section 4.1.1, RFC 9126).

use serde::{Deserialize, Serialize};

use crate::client::ClientMetadata;
use crate::error::{ErrorCode, OAuthError};
use crate::pkce::Challenge;
use crate::scope::Permissions;

const MAX_PARAMETERS: usize = 64;
const MAX_STATE_BYTES: usize = 4096;

/// How the answer is given to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseMode {
    /// In the query.
    #[default]
    Query,
    /// In the fragment.
    Fragment,
}

/// What the owner may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// Nothing.
    None,
    /// To sign in again.
    Login,
    /// To agree.
    Consent,
    /// Which account it is.
    SelectAccount,
    /// To make an account, or sign in.
    Create,
}

/// An authorisation request, checked against its client's document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    /// Who asks.
    pub client_id: String,
    /// Where to return to.
    pub redirect_uri: String,
    /// For what: the scope's text.
    pub scope: String,
    /// What the client wants back unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What the code's verifier must fit.
    pub challenge: Challenge,
    /// How the answer is given.
    #[serde(default)]
    pub response_mode: ResponseMode,
    /// Which account the client believes it to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_hint: Option<String>,
    /// What the owner may be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Prompt>,
    /// Thumbprint of the key that the token request must come with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpop_jkt: Option<String>,
}

/// Reads a form. A parameter that stands there twice is refused (RFC 6749 section 3.2).
pub fn form_pairs(body: &[u8]) -> Result<Vec<(String, String)>, OAuthError> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(body) {
        if pairs.len() >= MAX_PARAMETERS {
            return Err(OAuthError::request("more than 64 parameters"));
        }
        if pairs.iter().any(|(known, _)| *known == name) {
            let name: String = name.chars().take(40).collect();
            return Err(OAuthError::request(format!("{name:?} is there twice")));
        }
        pairs.push((name.into_owned(), value.into_owned()));
    }
    Ok(pairs)
}

impl AuthorizationRequest {
    /// Checks the parameters of a request of `client`.
    pub fn check(client: &ClientMetadata, pairs: &[(String, String)]) -> Result<Self, OAuthError> {
        let value = |name: &str| {
            let pair = pairs.iter().find(|(known, _)| known == name);
            pair.map(|(_, value)| value.as_str())
                .filter(|v| !v.is_empty())
        };
        if value("request").is_some() || value("request_uri").is_some() {
            return Err(OAuthError::request(
                "request objects are not supported: send the parameters themselves",
            ));
        }
        match value("response_type") {
            Some("code") => {}
            None => return Err(OAuthError::request("response_type is missing")),
            Some(_) => {
                let why = "response_type must be code";
                return Err(OAuthError::new(ErrorCode::UnsupportedResponseType, why));
            }
        }
        let redirect_uri = match (value("redirect_uri"), client.redirect_uris.as_slice()) {
            (Some(uri), _) if client.allows_redirect(uri) => uri,
            (None, [only]) => only,
            (None, _) => return Err(OAuthError::request("redirect_uri is missing")),
            (Some(_), _) => {
                let why = "redirect_uri is not one of the client's";
                return Err(OAuthError::new(ErrorCode::InvalidRedirectUri, why));
            }
        };
        let scope = value("scope").ok_or_else(|| OAuthError::request("scope is missing"))?;
        Permissions::parse(scope)?;
        let declared: Vec<&str> = client.scope.split(' ').collect();
        if let Some(undeclared) = scope.split(' ').find(|s| !declared.contains(s)) {
            let why = format!("the client's document does not have the scope {undeclared:?}");
            return Err(OAuthError::new(ErrorCode::InvalidScope, why));
        }
        let state = value("state");
        if state.is_some_and(|state| state.len() > MAX_STATE_BYTES) {
            return Err(OAuthError::request("state is longer than 4096 bytes"));
        }
        let response_mode = match value("response_mode") {
            None | Some("query") => ResponseMode::Query,
            Some("fragment") => ResponseMode::Fragment,
            Some(_) => {
                return Err(OAuthError::request(
                    "response_mode must be query or fragment",
                ));
            }
        };
        let prompt = match value("prompt") {
            None => None,
            Some("none") => Some(Prompt::None),
            Some("login") => Some(Prompt::Login),
            Some("consent") => Some(Prompt::Consent),
            Some("select_account") => Some(Prompt::SelectAccount),
            Some("create") => Some(Prompt::Create),
            Some(_) => {
                return Err(OAuthError::request(
                    "prompt must be none, login, consent, select_account or create",
                ));
            }
        };
        let short = |text: &str| text.chars().take(320).collect();
        Ok(Self {
            client_id: client.client_id.clone(),
            redirect_uri: redirect_uri.to_owned(),
            scope: scope.to_owned(),
            state: state.map(str::to_owned),
            challenge: Challenge::parse(value("code_challenge"), value("code_challenge_method"))?,
            response_mode,
            login_hint: value("login_hint").map(short),
            prompt,
            dpop_jkt: value("dpop_jkt").map(short),
        })
    }

    /// Where the browser goes with an answer: the redirect URI with the parameters, `state` and `iss` (RFC 9207) added.
    pub fn answer(&self, issuer: &str, parameters: &[(&str, &str)]) -> String {
        let mut added = form_urlencoded::Serializer::new(String::new());
        added.append_pair("iss", issuer);
        if let Some(state) = &self.state {
            added.append_pair("state", state);
        }
        for (name, value) in parameters {
            added.append_pair(name, value);
        }
        let added = added.finish();
        let uri = &self.redirect_uri;
        match self.response_mode {
            ResponseMode::Fragment => format!("{uri}#{added}"),
            ResponseMode::Query if uri.contains('?') => format!("{uri}&{added}"),
            ResponseMode::Query => format!("{uri}?{added}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_id::ClientId;

    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn client() -> ClientMetadata {
        let id = "http://localhost?redirect_uri=http%3A%2F%2F127.0.0.1%2Fcb&scope=atproto%20transition%3Ageneric";
        ClientId::parse(id, false)
            .unwrap()
            .loopback_metadata()
            .unwrap()
            .unwrap()
    }

    fn check(change: &[(&str, &str)]) -> Result<AuthorizationRequest, OAuthError> {
        let mut pairs: Vec<(String, String)> = [
            ("response_type", "code"),
            ("redirect_uri", "http://127.0.0.1:8123/cb"),
            ("scope", "atproto"),
            ("state", "a b&c"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .into();
        for (name, value) in change {
            pairs.retain(|(known, _)| known != name);
            pairs.push(((*name).to_owned(), (*value).to_owned()));
        }
        AuthorizationRequest::check(&client(), &pairs)
    }

    #[test]
    fn a_request_and_its_answer() {
        let request = check(&[]).unwrap();
        assert_eq!(
            request.answer("https://pds.example.com", &[("code", "x y")]),
            "http://127.0.0.1:8123/cb?iss=https%3A%2F%2Fpds.example.com&state=a+b%26c&code=x+y"
        );
        let fragment = check(&[("response_mode", "fragment")]).unwrap();
        assert!(
            fragment
                .answer("i", &[])
                .starts_with("http://127.0.0.1:8123/cb#iss=i&")
        );
    }

    #[test]
    fn requests_that_are_refused() {
        use ErrorCode::*;
        for (change, code) in [
            (("response_type", "token"), UnsupportedResponseType),
            (
                ("redirect_uri", "https://evil.example/"),
                InvalidRedirectUri,
            ),
            (("scope", "atproto transition:chat.bsky"), InvalidScope),
            (("scope", "transition:generic"), InvalidScope),
            (("code_challenge_method", "plain"), InvalidRequest),
            (("response_mode", "form_post"), InvalidRequest),
            (("request", "eyJ"), InvalidRequest),
            (("prompt", "always"), InvalidRequest),
        ] {
            assert_eq!(
                check(&[change]).err().map(|e| e.code),
                Some(code),
                "{change:?}"
            );
        }
    }

    #[test]
    fn a_parameter_stands_there_once() {
        assert!(form_pairs(b"a=1&b=2").is_ok());
        assert!(form_pairs(b"a=1&a=1").is_err());
        assert!(form_pairs("a=1&".repeat(100).as_bytes()).is_err());
    }
}
