//! The JSON of a pin and of its options: `GET /allocations`, `state export`.

use std::collections::BTreeMap;

use multiaddr::Multiaddr;
use serde::de::Error as _;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ues_data::Cid;

use super::{CidText, Metadata, nullable, optional_cid};
use crate::model::{GoTime, PeerId, Pin, PinMode, PinOptions, PinType};

impl Serialize for PinOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("PinOptions", 10)?;
        write_options(self, &mut out)?;
        out.end()
    }
}

impl Serialize for Pin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Pin", 16)?;
        write_options(&self.options, &mut out)?;
        out.serialize_field("cid", &CidText(Some(&self.cid)))?;
        out.serialize_field("type", self.kind.name())?;
        out.serialize_field("allocations", &self.allocations)?;
        out.serialize_field("max_depth", &self.max_depth)?;
        out.serialize_field("reference", &CidText(self.reference.as_ref()))?;
        // As in the protobuf, 0 stands for an unknown time.
        let timestamp = match self.timestamp {
            0 => GoTime::ZERO,
            seconds => GoTime::from_secs(seconds),
        };
        out.serialize_field("timestamp", &timestamp)?;
        out.end()
    }
}

fn write_options<S: SerializeStruct>(options: &PinOptions, out: &mut S) -> Result<(), S::Error> {
    out.serialize_field("replication_factor_min", &options.replication_min)?;
    out.serialize_field("replication_factor_max", &options.replication_max)?;
    out.serialize_field("name", &options.name)?;
    out.serialize_field("mode", options.mode.name())?;
    out.serialize_field("shard_size", &options.shard_size)?;
    let wanted = (!options.user_allocations.is_empty()).then_some(&options.user_allocations);
    out.serialize_field("user_allocations", &wanted)?;
    let expire_at = options.expire_at.map_or(GoTime::ZERO, GoTime::from_secs);
    out.serialize_field("expire_at", &expire_at)?;
    out.serialize_field("metadata", &Metadata(&options.metadata))?;
    out.serialize_field("pin_update", &CidText(options.pin_update.as_ref()))?;
    out.serialize_field("origins", &options.origins)
}

/// The options as they are read. They stand beside the fields of the pin, so these are in one structure.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Read {
    #[serde(deserialize_with = "nullable")]
    replication_factor_min: i32,
    #[serde(deserialize_with = "nullable")]
    replication_factor_max: i32,
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    mode: String,
    #[serde(deserialize_with = "nullable")]
    shard_size: u64,
    #[serde(deserialize_with = "nullable")]
    user_allocations: Vec<PeerId>,
    #[serde(deserialize_with = "nullable")]
    expire_at: GoTime,
    #[serde(deserialize_with = "nullable")]
    metadata: BTreeMap<String, String>,
    #[serde(deserialize_with = "optional_cid::deserialize")]
    pin_update: Option<Cid>,
    #[serde(deserialize_with = "nullable")]
    origins: Vec<Multiaddr>,
    #[serde(deserialize_with = "optional_cid::deserialize")]
    cid: Option<Cid>,
    r#type: Option<String>,
    #[serde(deserialize_with = "nullable")]
    allocations: Vec<PeerId>,
    max_depth: Option<i32>,
    #[serde(deserialize_with = "optional_cid::deserialize")]
    reference: Option<Cid>,
    #[serde(deserialize_with = "nullable")]
    timestamp: GoTime,
}

impl Read {
    fn options(&mut self) -> PinOptions {
        PinOptions {
            replication_min: self.replication_factor_min,
            replication_max: self.replication_factor_max,
            name: std::mem::take(&mut self.name),
            mode: PinMode::from_name(&self.mode),
            shard_size: self.shard_size,
            user_allocations: std::mem::take(&mut self.user_allocations),
            expire_at: end_of(self.expire_at),
            metadata: std::mem::take(&mut self.metadata).into_iter().collect(),
            pin_update: self.pin_update.take(),
            origins: std::mem::take(&mut self.origins),
            unknown: Vec::new(),
        }
    }
}

/// When a pin ends, from the time that a client gave. The zero time and the Unix epoch mean "never"; what lies before
/// the epoch has passed all the same, and becomes the first second that can be named.
pub(crate) fn end_of(time: GoTime) -> Option<u64> {
    match time.unix_seconds() {
        0 => None,
        _ if time.is_zero() => None,
        seconds => Some(u64::try_from(seconds).unwrap_or(1)),
    }
}

impl<'de> Deserialize<'de> for PinOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Read::deserialize(deserializer)?.options())
    }
}

impl<'de> Deserialize<'de> for Pin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut read = Read::deserialize(deserializer)?;
        let options = read.options();
        let kind = match read.r#type.as_deref() {
            None => PinType::Data,
            Some(name) => PinType::from_name(name)
                .ok_or_else(|| D::Error::custom(format_args!("unknown pin type {name:?}")))?,
        };
        Ok(Self {
            cid: read.cid.ok_or_else(|| D::Error::missing_field("cid"))?,
            kind,
            allocations: read.allocations,
            max_depth: read.max_depth.unwrap_or(options.mode.depth()),
            reference: read.reference,
            timestamp: u64::try_from(read.timestamp.unix_seconds()).unwrap_or(0),
            options,
            unknown: Vec::new(),
        })
    }
}
