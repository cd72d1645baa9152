//! Where a Kubo is, and how patient one is with it.

use std::fmt;
use std::time::Duration;

use reqwest::Url;

/// Why a Kubo cannot be used as it was named.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KuboError {
    /// The address is neither a URL nor a multiaddr of a TCP port.
    #[error("{api:?} is not the address of a Kubo, such as http://127.0.0.1:5001: {why}")]
    Address {
        /// What was given.
        api: String,
        /// What is wrong with it.
        why: String,
    },
    /// No HTTP client can be made on this system.
    #[error("no HTTP client: {0}")]
    Client(#[source] reqwest::Error),
}

/// How one proves to Kubo who one is (`API.Authorizations` of its configuration).
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum KuboAuth {
    /// Not at all.
    #[default]
    None,
    /// A user and a password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A bearer token.
    Bearer(String),
}

impl fmt::Debug for KuboAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic(…)",
            Self::Bearer(_) => "Bearer(…)",
        })
    }
}

/// Where a Kubo is, and how patient one is with it.
#[derive(Clone, Debug)]
pub struct KuboOptions {
    pub(super) api: Url,
    /// How one proves who one is.
    pub auth: KuboAuth,
    /// Longest time for a connection to its RPC.
    pub connect: Duration,
    /// Longest time for an answer that needs no network, and between two lines of a list.
    pub answer: Duration,
    /// A pin for which no new block came for so long is given up.
    pub stall: Duration,
    /// The same for a pin among many, whose outcome the others wait for. The smaller of the two counts.
    pub group_stall: Duration,
    /// Longest time for connecting to the origins of a pin.
    pub origins: Duration,
    /// CIDs in one call, at most 1000.
    pub group: usize,
    /// Calls at a time when many things are asked for at once.
    pub concurrency: usize,
    /// Whether the size of what is pinned is found out.
    pub sizes: bool,
    /// Longest time for finding out a size, or the sizes of a group.
    pub size: Duration,
    /// Of more CIDs than this it is found out by a list of all pins whether they are pinned.
    pub few: usize,
}

impl KuboOptions {
    /// For a Kubo whose RPC is at this URL, or multiaddr such as `/ip4/127.0.0.1/tcp/5001`, with everything else
    /// as usual. A user and a password in the URL are used for basic authorization.
    ///
    /// # Errors
    /// [`KuboError::Address`].
    pub fn new(api: &str) -> Result<Self, KuboError> {
        let (api, auth) = address(api.trim()).map_err(|why| KuboError::Address {
            api: without_secret(api),
            why,
        })?;
        Ok(Self {
            api,
            auth,
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            stall: Duration::from_secs(120),
            group_stall: Duration::from_secs(20),
            origins: Duration::from_secs(5),
            group: 50,
            concurrency: 8,
            sizes: true,
            size: Duration::from_secs(5),
            few: 2000,
        })
    }
}

fn address(text: &str) -> Result<(Url, KuboAuth), String> {
    let text = match text.strip_prefix('/') {
        Some(parts) => of_multiaddr(parts).ok_or("its multiaddr names no TCP port")?,
        None => text.to_owned(),
    };
    let mut url = Url::parse(&text).map_err(|e| e.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("neither http nor https".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has a query or a fragment".to_owned());
    }
    let auth = match url.password() {
        Some(password) => KuboAuth::Basic {
            user: plain(url.username())?,
            password: plain(password)?,
        },
        None if url.username().is_empty() => KuboAuth::None,
        None => return Err("it has a user without a password".to_owned()),
    };
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    cleared.map_err(|()| "its user cannot be taken out".to_owned())?;
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/api/v0").unwrap_or(path);
    let path = format!("{path}/api/v0/");
    url.set_path(&path);
    Ok((url, auth))
}

/// A URL for `ip4/127.0.0.1/tcp/5001`, as IPFS-Cluster's configuration has it.
fn of_multiaddr(parts: &str) -> Option<String> {
    let parts: Vec<&str> = parts.trim_end_matches('/').split('/').collect();
    let [kind, host, "tcp", port, rest @ ..] = parts.as_slice() else {
        return None;
    };
    let host = match *kind {
        "ip4" | "dns" | "dns4" | "dns6" => (*host).to_owned(),
        "ip6" => format!("[{host}]"),
        _ => return None,
    };
    let scheme = match rest {
        [] | ["http"] => "http",
        ["https"] | ["tls", "http"] => "https",
        _ => return None,
    };
    Some(format!("{scheme}://{host}:{port}"))
}

/// Text without its percent signs.
fn plain(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        let (high, low) = (digit(rest.next()), digit(rest.next()));
        let value = high.zip(low).map(|(high, low)| high * 16 + low);
        let value = value.and_then(|v| u8::try_from(v).ok());
        bytes.push(value.ok_or("its user or password has a stray %")?);
    }
    String::from_utf8(bytes).map_err(|_| "its user or password is no text".to_owned())
}

/// An address as it may be shown: without a user and a password.
fn without_secret(api: &str) -> String {
    match (api.find("://"), api.rfind('@')) {
        (Some(start), Some(end)) if start < end => {
            format!("{}://…{}", &api[..start], &api[end..])
        }
        _ => api.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(api: &str) -> String {
        KuboOptions::new(api).unwrap().api.to_string()
    }

    #[test]
    fn addresses() {
        for api in [
            "http://127.0.0.1:5001",
            "http://127.0.0.1:5001/",
            "http://127.0.0.1:5001/api/v0",
            "/ip4/127.0.0.1/tcp/5001",
            "/ip4/127.0.0.1/tcp/5001/http",
        ] {
            assert_eq!(url(api), "http://127.0.0.1:5001/api/v0/");
        }
        assert_eq!(url("https://k.example/x"), "https://k.example/x/api/v0/");
        assert_eq!(url("/ip6/::1/tcp/80/https"), "https://[::1]:80/api/v0/");
        for api in [
            "",
            "5001",
            "ftp://x",
            "http://",
            "/ip4/1.2.3.4",
            "http://u@x",
            "http://x?y",
        ] {
            assert!(KuboOptions::new(api).is_err(), "{api}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let options = KuboOptions::new("http://me:s%40cret@127.0.0.1:5001").unwrap();
        assert!(
            matches!(&options.auth, KuboAuth::Basic { user, password } if user == "me" && password == "s@cret")
        );
        assert!(!format!("{options:?}").contains("cret"));
        let error = KuboOptions::new("ftp://me:secret@x").unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }
}
