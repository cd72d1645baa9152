//! The JSON of the API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use ues_data::Cid;

use super::Failure;
use crate::fleet::Fleet;
use crate::model::{GoTime, Multiaddr, PinMode, PinOptions};
use crate::service::{PinView, Wish};

/// Addresses that an answer names at most.
const MAX_DELEGATES: usize = 20;

/// A pin that is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct PinBody {
    cid: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    origins: Option<Vec<String>>,
    #[serde(default)]
    meta: Option<BTreeMap<String, String>>,
    #[serde(default)]
    replication: Option<Replication>,
    #[serde(default)]
    ttl: Option<u64>,
    #[serde(default)]
    until: Option<GoTime>,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(default)]
    op_id: Option<String>,
}

/// Copies: one number, or the least and the most.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Replication {
    Both(i32),
    Range { min: i32, max: i32 },
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Recursive,
    Direct,
}

impl PinBody {
    /// The wish; `now_s` is what its time to live counts from, in seconds since the Unix epoch.
    pub(super) fn into_wish(self, now_s: u64) -> Result<(Cid, Wish), Failure> {
        let cid = read_cid(&self.cid)?;
        let (replication_min, replication_max) = match self.replication {
            None => (0, 0),
            Some(Replication::Both(n)) => (n, n),
            Some(Replication::Range { min, max }) => (min, max),
        };
        let origins = self.origins.unwrap_or_default();
        let options = PinOptions {
            replication_min,
            replication_max,
            name: self.name.unwrap_or_default(),
            mode: match self.mode {
                Some(Mode::Direct) => PinMode::Direct,
                _ => PinMode::Recursive,
            },
            expire_at: match (self.until, self.ttl) {
                (Some(until), _) => Some(until.unix_millis() / 1000),
                (None, ttl) => ttl.map(|ttl| now_s.saturating_add(ttl)),
            },
            metadata: self.meta.unwrap_or_default().into_iter().collect(),
            origins: origins
                .iter()
                .map(|text| read_address(text))
                .collect::<Result<_, _>>()?,
            ..PinOptions::default()
        };
        let mut tags = self.tags.unwrap_or_default();
        tags.sort_unstable();
        tags.dedup();
        let op_id = self.op_id;
        Ok((
            cid,
            Wish {
                options,
                tags,
                op_id,
            },
        ))
    }
}

pub(super) fn read_cid(text: &str) -> Result<Cid, Failure> {
    ues_data::parse_cid(text).map_err(|e| Failure::bad_request(format!("cid {text:?}: {e}")))
}

fn read_address(text: &str) -> Result<Multiaddr, Failure> {
    text.parse()
        .map_err(|e| Failure::bad_request(format!("origin {text:?} is not a multiaddr: {e}")))
}

/// A pin and how far it is.
#[derive(Debug, Serialize)]
pub(super) struct PinStatus {
    requestid: String,
    status: &'static str,
    created: GoTime,
    pin: PinObject,
    delegates: Vec<String>,
    info: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
struct PinObject {
    cid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    origins: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    meta: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replication: Option<Replication>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<GoTime>,
}

impl PinStatus {
    pub(super) fn new(view: PinView, fleet: &Fleet) -> Self {
        let id = view.id();
        let mut info = BTreeMap::new();
        if let Some(error) = view.error() {
            info.insert("status_details", error.to_owned());
        }
        let bytes = view.placements.iter().map(|(_, p)| p.bytes).max();
        if let Some(bytes) = bytes.filter(|bytes| *bytes > 0) {
            info.insert("dag_size", bytes.to_string());
        }
        let there = view
            .placements
            .iter()
            .filter(|(_, p)| p.is_pinned())
            .count();
        let meant = view.placements.iter().filter(|(_, p)| p.desired).count();
        info.insert("copies", format!("{there} of {meant}"));
        let options = view.request.pin.options;
        let copies = (options.replication_min, options.replication_max);
        if let Some(end) = options.expire_at {
            info.insert("pinned_until", GoTime::from_secs(end).to_string());
        }
        Self {
            requestid: id.to_string(),
            status: view.overall.as_str(),
            created: GoTime::from_millis(view.request.created_ms),
            pin: PinObject {
                cid: view.request.pin.cid.to_string(),
                name: options.name,
                origins: options.origins.iter().map(ToString::to_string).collect(),
                meta: options.metadata.into_iter().collect(),
                tags: view.request.tags,
                replication: (copies != (0, 0)).then_some(Replication::Range {
                    min: copies.0,
                    max: copies.1,
                }),
                mode: (options.mode == PinMode::Direct).then_some(Mode::Direct),
                until: options.expire_at.map(GoTime::from_secs),
            },
            delegates: delegates(fleet),
            info,
        }
    }
}

/// Where content can be brought to: the addresses of all workers, or at least their names.
pub(crate) fn delegates(fleet: &Fleet) -> Vec<String> {
    let addresses = || {
        fleet
            .workers()
            .iter()
            .flat_map(|w| w.ipfs_addresses.iter().cloned())
    };
    let mut known: Vec<String> = addresses().take(MAX_DELEGATES).collect();
    if known.is_empty() {
        let names = fleet.workers().iter().map(|w| format!("/p2p/{}", w.id));
        known.extend(names.take(MAX_DELEGATES));
    }
    known
}

/// A part of the pins that were asked for.
#[derive(Debug, Serialize)]
pub(super) struct PinResults {
    pub count: u64,
    pub results: Vec<PinStatus>,
}
