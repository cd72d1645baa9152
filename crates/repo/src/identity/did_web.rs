//! did:web: the document lies on a web host.

use crate::syntax::{Did, Handle};

const DOCUMENT: &str = "/.well-known/did.json";

/// Why a did:web has no URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DidWebError {
    /// Another method.
    #[error("a did:web expected, found {0}")]
    OtherMethod(Did),
    /// It names a folder of a host; AT Protocol has hosts only.
    #[error("{0} has a path, which AT Protocol does not support")]
    Path(Did),
    /// Only localhost may have a port.
    #[error("{0} has a port, which only localhost may have")]
    Port(Did),
    /// It is not a domain name.
    #[error("{0} does not name a host")]
    Host(Did),
}

/// A host that a did:web names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebHost {
    /// The domain name, in lower case.
    pub host: String,
    /// The port, for localhost.
    pub port: Option<u16>,
}

impl WebHost {
    /// Whether it is this machine, for development.
    pub fn is_local(&self) -> bool {
        self.host == "localhost"
    }

    /// Where the document lies; http for localhost and https for all others.
    pub fn document_url(&self) -> String {
        let scheme = if self.is_local() { "http" } else { "https" };
        match self.port {
            Some(port) => format!("{scheme}://{}:{port}{DOCUMENT}", self.host),
            None => format!("{scheme}://{}{DOCUMENT}", self.host),
        }
    }

    /// The DID of the host.
    pub fn did(&self) -> Option<Did> {
        let text = match self.port {
            Some(port) => format!("did:web:{}%3A{port}", self.host),
            None => format!("did:web:{}", self.host),
        };
        Did::parse(&text).ok()
    }
}

/// Reads the host of a did:web (<https://atproto.com/specs/did#did-web>).
pub fn host(did: &Did) -> Result<WebHost, DidWebError> {
    if did.method() != "web" {
        return Err(DidWebError::OtherMethod(did.clone()));
    }
    let text = did.method_specific();
    if text.contains(':') {
        return Err(DidWebError::Path(did.clone()));
    }
    let lower = text.to_ascii_lowercase();
    let (host, port) = match lower.split_once("%3a") {
        Some((host, port)) => {
            let port = port
                .parse()
                .ok()
                .filter(|&port: &u16| port != 0)
                .ok_or_else(|| DidWebError::Host(did.clone()))?;
            (host.to_owned(), Some(port))
        }
        None => (lower, None),
    };
    let found = WebHost { host, port };
    if found.port.is_some() && !found.is_local() {
        return Err(DidWebError::Port(did.clone()));
    }
    if !found.is_local() && Handle::check(&found.host).is_err() {
        return Err(DidWebError::Host(did.clone()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(did: &str) -> Result<String, DidWebError> {
        host(&Did::parse(did).unwrap()).map(|host| host.document_url())
    }

    #[test]
    fn hosts_and_localhost_have_urls() {
        assert_eq!(
            url("did:web:Example.com").unwrap(),
            "https://example.com/.well-known/did.json"
        );
        assert_eq!(
            url("did:web:localhost%3A2583").unwrap(),
            "http://localhost:2583/.well-known/did.json"
        );
        let host = host(&Did::parse("did:web:localhost%3A2583").unwrap()).unwrap();
        assert_eq!(host.did().unwrap(), "did:web:localhost%3A2583");
    }

    #[test]
    fn everything_else_is_refused() {
        assert!(matches!(
            url("did:web:a.com:user"),
            Err(DidWebError::Path(_))
        ));
        assert!(matches!(
            url("did:web:a.com%3A80"),
            Err(DidWebError::Port(_))
        ));
        assert!(matches!(
            url("did:web:127.0.0.1"),
            Err(DidWebError::Host(_))
        ));
        assert!(matches!(url("did:web:com"), Err(DidWebError::Host(_))));
        assert!(matches!(
            url("did:web:a%2Fb.com"),
            Err(DidWebError::Host(_))
        ));
        assert!(matches!(
            url("did:web:localhost%3A99999"),
            Err(DidWebError::Host(_))
        ));
        assert!(matches!(
            url("did:plc:abc"),
            Err(DidWebError::OtherMethod(_))
        ));
    }
}
