//! Handles in DNS: one TXT record `did=…` at `_atproto.` and the handle.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use super::ResolveError;
use crate::syntax::{Did, Handle};

/// Most TXT records that are looked at.
const MAX_RECORDS: usize = 64;

/// The DNS side of the resolver. A system without DNS makes lookups fail, not the start.
pub(super) struct Dns(Result<TokioResolver, String>);

impl Dns {
    pub(super) fn new(servers: &[SocketAddr], timeout: Duration) -> Self {
        let builder = if servers.is_empty() {
            TokioResolver::builder_tokio()
        } else {
            Ok(TokioResolver::builder_with_config(
                config(servers),
                TokioRuntimeProvider::default(),
            ))
        };
        let resolver = builder.and_then(|mut builder| {
            let options = builder.options_mut();
            options.timeout = timeout;
            options.attempts = 1;
            builder.build()
        });
        Self(resolver.map_err(|e| e.to_string()))
    }

    /// The addresses of a host.
    pub(super) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let resolver = self.0.as_ref().map_err(String::clone)?;
        let found = resolver.lookup_ip(host).await.map_err(|e| e.to_string())?;
        Ok(found.iter().take(MAX_RECORDS).collect())
    }

    /// The DID that DNS names for a handle; none if there is no record, or more than one.
    pub(super) async fn did(&self, handle: &Handle) -> Result<Option<Did>, ResolveError> {
        self.did_at(format!("_atproto.{handle}.")).await
    }

    /// The DID that DNS names for the lexicons of a domain, the same way.
    pub(super) async fn lexicon_did(&self, domain: &str) -> Result<Option<Did>, ResolveError> {
        self.did_at(format!("_lexicon.{domain}.")).await
    }

    async fn did_at(&self, name: String) -> Result<Option<Did>, ResolveError> {
        let unreachable = |why: String| ResolveError::Unreachable {
            what: format!("DNS for {name}"),
            why,
        };
        let resolver = self.0.as_ref().map_err(|why| unreachable(why.clone()))?;
        let lookup = match resolver.txt_lookup(name.as_str()).await {
            Ok(lookup) => lookup,
            Err(e) if e.is_no_records_found() => return Ok(None),
            Err(e) => return Err(unreachable(e.to_string())),
        };
        let records = lookup
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::TXT(txt) => Some(txt.txt_data.concat()),
                _ => None,
            });
        Ok(did_in(records.take(MAX_RECORDS)))
    }
}

/// The only DID among TXT records.
fn did_in(records: impl Iterator<Item = Vec<u8>>) -> Option<Did> {
    let mut dids = records.filter_map(|record| {
        let text = String::from_utf8(record).ok()?;
        text.strip_prefix("did=").map(str::to_owned)
    });
    let first = dids.next()?;
    if dids.next().is_some() {
        return None;
    }
    Did::parse(&first).ok()
}

fn config(servers: &[SocketAddr]) -> ResolverConfig {
    let servers = servers
        .iter()
        .map(|server| {
            let mut config = NameServerConfig::udp_and_tcp(server.ip());
            for connection in &mut config.connections {
                connection.port = server.port();
            }
            config
        })
        .collect();
    ResolverConfig::from_parts(None, Vec::new(), servers)
}

#[cfg(test)]
mod tests {
    use super::did_in;

    fn among(records: &[&str]) -> Option<String> {
        did_in(records.iter().map(|r| r.as_bytes().to_vec())).map(String::from)
    }

    #[test]
    fn only_one_did_counts() {
        assert_eq!(
            among(&["v=spf1 -all", "did=did:plc:abc"]).unwrap(),
            "did:plc:abc"
        );
        for none in [
            &["did=did:plc:abc", "did=did:plc:abd"][..],
            &["did:plc:abc"],
            &["did=alice"],
            &["did= did:plc:abc"],
            &[],
        ] {
            assert_eq!(among(none), None, "{none:?}");
        }
    }
}
