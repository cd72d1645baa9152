//! Pin options as query parameters: `POST /pins/{cid}?…` and `POST /add?…`.

use std::collections::BTreeMap;
use std::num::IntErrorKind;

use multiaddr::{Multiaddr, Protocol};

use super::duration::{self, DurationError};
use super::json::end_of;
use super::{GoTime, PinMode, PinOptions, TimeError};

/// What the names of metadata begin with.
const META: &str = "meta-";

/// Why parameters are not pin options. The texts are those of IPFS-Cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// A number is none, or too large.
    #[error("parameter {0} invalid")]
    Number(&'static str),
    /// The shard size is no number.
    #[error("parameter shard_size is invalid")]
    ShardSize,
    /// The end is not a time.
    #[error("expire-at cannot be parsed: {0}")]
    ExpireAt(TimeError),
    /// The remaining time is not a duration.
    #[error("expire-in cannot be parsed: {0}")]
    ExpireIn(DurationError),
    /// The remaining time is less than a second.
    #[error("expire-in duration too short")]
    TooShort,
    /// The pin to replace is not a CID.
    #[error("error decoding update option parameter: {0}")]
    PinUpdate(String),
    /// An origin is not an address.
    #[error("error decoding multiaddress: {0}")]
    Origin(String),
    /// An origin does not say which peer is there.
    #[error("multiaddress does not contain peer ID: protocol not found in multiaddr")]
    OriginWithoutPeer,
}

impl PinOptions {
    /// Reads options from decoded query parameters; `now`, in seconds since the Unix epoch, is what `expire-in` counts
    /// from. Of a parameter that comes twice, the first counts. Unknown parameters, unknown modes and workers that are
    /// none are passed over, as IPFS-Cluster does.
    ///
    /// # Errors
    /// [`QueryError`], for the first parameter that is wrong.
    pub fn from_query(query: &[(String, String)], now: u64) -> Result<Self, QueryError> {
        let get = |name: &str| {
            let found = query.iter().find(|(key, _)| key == name);
            found.map_or("", |(_, value)| value.as_str())
        };
        let replication = |name: &'static str| match get("replication") {
            "" => factor(name, get(name)),
            both => factor(name, both),
        };
        Ok(Self {
            name: get("name").to_owned(),
            mode: PinMode::from_name(get("mode")),
            replication_min: replication("replication-min")?,
            replication_max: replication("replication-max")?,
            shard_size: shard_size(get("shard-size"))?,
            user_allocations: get("user-allocations")
                .split(',')
                .filter_map(|peer| peer.parse().ok())
                .collect(),
            expire_at: end(get("expire-at"), get("expire-in"), now)?,
            metadata: metadata(query),
            pin_update: match get("pin-update") {
                "" => None,
                cid => Some(
                    ues_data::parse_cid(cid).map_err(|e| QueryError::PinUpdate(e.to_string()))?,
                ),
            },
            origins: match get("origins") {
                "" => Vec::new(),
                list => list.split(',').map(origin).collect::<Result<_, _>>()?,
            },
            unknown: Vec::new(),
        })
    }

    /// The options as query parameters in the order of their names, to be percent-encoded by the caller.
    pub fn to_query(&self) -> Vec<(String, String)> {
        let list = |items: Vec<String>| items.join(",");
        let peers = self.user_allocations.iter().map(ToString::to_string);
        let mut query: Vec<(String, String)> = Vec::with_capacity(9 + self.metadata.len());
        let mut put = |name: &str, value: String| query.push((name.to_owned(), value));
        put("replication-min", self.replication_min.to_string());
        put("replication-max", self.replication_max.to_string());
        put("name", self.name.clone());
        put("mode", self.mode.name().to_owned());
        put("shard-size", self.shard_size.to_string());
        put("user-allocations", list(peers.collect()));
        if let Some(seconds) = self.expire_at {
            put("expire-at", GoTime::from_secs(seconds).to_string());
        }
        for (key, value) in self.metadata.iter().filter(|(key, _)| !key.is_empty()) {
            put(&format!("{META}{key}"), value.clone());
        }
        if let Some(cid) = &self.pin_update {
            put("pin-update", cid.to_string());
        }
        if !self.origins.is_empty() {
            put(
                "origins",
                list(self.origins.iter().map(ToString::to_string).collect()),
            );
        }
        query.sort();
        query
    }
}

fn factor(name: &'static str, value: &str) -> Result<i32, QueryError> {
    match value.parse() {
        Ok(factor) => Ok(factor),
        Err(e) if *e.kind() == IntErrorKind::Empty => Ok(0),
        Err(_) => Err(QueryError::Number(name)),
    }
}

fn shard_size(value: &str) -> Result<u64, QueryError> {
    match value {
        "" => Ok(0),
        signed if signed.starts_with('+') => Err(QueryError::ShardSize),
        number => number.parse().map_err(|_| QueryError::ShardSize),
    }
}

/// When the pin ends: at a time, or else after a while.
fn end(at: &str, after: &str, now: u64) -> Result<Option<u64>, QueryError> {
    if !at.is_empty() {
        return at.parse().map(end_of).map_err(QueryError::ExpireAt);
    }
    if after.is_empty() {
        return Ok(None);
    }
    let nanos = duration::parse(after).map_err(QueryError::ExpireIn)?;
    match u64::try_from(nanos / 1_000_000_000) {
        Ok(seconds) if seconds > 0 => Ok(Some(now.saturating_add(seconds))),
        _ => Err(QueryError::TooShort),
    }
}

fn metadata(query: &[(String, String)]) -> Vec<(String, String)> {
    let mut found = BTreeMap::new();
    for (name, value) in query {
        match name.strip_prefix(META) {
            None | Some("") => {}
            Some(key) => drop(found.entry(key).or_insert(value)),
        }
    }
    let owned = |(key, value): (&str, &String)| (key.to_owned(), value.clone());
    found.into_iter().map(owned).collect()
}

fn origin(text: &str) -> Result<Multiaddr, QueryError> {
    let address: Multiaddr = text
        .parse()
        .map_err(|e: multiaddr::Error| QueryError::Origin(e.to_string()))?;
    if address.iter().any(|part| matches!(part, Protocol::P2p(_))) {
        Ok(address)
    } else {
        Err(QueryError::OriginWithoutPeer)
    }
}
