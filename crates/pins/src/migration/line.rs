//! A pin in the JSON of any version of IPFS-Cluster:
//!
//! | version | what differs |
//! |---|---|
//! | 0.3 | `recursive` instead of a depth; at first one `replication_factor`, or `everywhere` |
//! | 0.5 | `type` is a number, `reference` may be the empty text |
//! | 0.10 | CIDs are objects: `{"/": "Qm…"}`; `metadata` and `user_allocations` come |
//! | 0.12 to 0.14 | `expire_at`, `mode`, `origins` and `timestamp` come |
//! | 1.0 | CIDs are texts again, `type` is a name |
//!
//! Source: `api/types.go` and `cmdutils/state.go` of IPFS-Cluster, in all of these versions.

use std::borrow::Cow;
use std::collections::BTreeMap;

use multiaddr::Multiaddr;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use ues_data::Cid;

use crate::model::json::end_of;
use crate::model::{GoTime, PeerId, Pin, PinMode, PinOptions, PinType};

/// Why an object is no pin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// A field cannot be read.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// It is an object of another kind.
    #[error(
        "a pin of an IPFS-Cluster has replication_factor_min and replication_factor_max, which are missing"
    )]
    NoPin,
    /// A kind of pin that no version has.
    #[error("type: pin, meta-pin, clusterdag-pin or shard-pin expected, found {0}")]
    Kind(String),
}

/// A CID as a text or as a link; the empty text, an empty object and `null` for none.
#[derive(Default)]
struct Link(Option<Cid>);

#[derive(Deserialize)]
#[serde(untagged)]
enum LinkForm<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Object {
        #[serde(rename = "/", borrow)]
        cid: Cow<'a, str>,
    },
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Option::<LinkForm<'de>>::deserialize(deserializer)? {
            None => return Ok(Self(None)),
            Some(LinkForm::Text(text) | LinkForm::Object { cid: text }) => text,
        };
        if text.is_empty() {
            return Ok(Self(None));
        }
        let cid = ues_data::parse_cid(&text);
        cid.map(|cid| Self(Some(cid)))
            .map_err(|why| D::Error::custom(format_args!("CID {text:?}: {why}")))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Kind {
    Number(u64),
    Name(String),
}

/// All fields of all versions. Go writes `null` for what nobody made.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    cid: Link,
    replication_factor_min: Option<i32>,
    replication_factor_max: Option<i32>,
    replication_factor: Option<i32>,
    #[serde(default)]
    everywhere: bool,
    name: Option<String>,
    mode: Option<String>,
    shard_size: Option<u64>,
    user_allocations: Option<Vec<PeerId>>,
    expire_at: Option<GoTime>,
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pin_update: Link,
    origins: Option<Vec<Multiaddr>>,
    r#type: Option<Kind>,
    allocations: Option<Vec<PeerId>>,
    max_depth: Option<i32>,
    recursive: Option<bool>,
    #[serde(default)]
    reference: Link,
    timestamp: Option<GoTime>,
}

/// Reads a pin.
///
/// # Errors
/// [`LineError`].
pub fn read_pin(object: &[u8]) -> Result<Pin, LineError> {
    let line: Line = serde_json::from_slice(object)?;
    let cid = line
        .cid
        .0
        .ok_or_else(|| serde_json::Error::missing_field("cid"))?;
    let one = match line.everywhere {
        true => Some(-1),
        false => line.replication_factor,
    };
    let (Some(replication_min), Some(replication_max)) = (
        line.replication_factor_min.or(one),
        line.replication_factor_max.or(one),
    ) else {
        return Err(LineError::NoPin);
    };
    let max_depth = line.max_depth.unwrap_or_else(|| {
        let named = line.mode.as_deref().map(PinMode::from_name);
        match (named, line.recursive) {
            (Some(mode), _) => mode.depth(),
            (None, Some(false)) => PinMode::Direct.depth(),
            (None, _) => PinMode::Recursive.depth(),
        }
    });
    let time = |time: Option<GoTime>| u64::try_from(time.unwrap_or_default().unix_seconds());
    Ok(Pin {
        cid,
        kind: kind(line.r#type)?,
        allocations: line.allocations.unwrap_or_default(),
        max_depth,
        reference: line.reference.0,
        timestamp: time(line.timestamp).unwrap_or(0),
        options: PinOptions {
            replication_min,
            replication_max,
            name: line.name.unwrap_or_default(),
            // The protobuf of the cluster's own state has the depth alone.
            mode: PinMode::from_depth(max_depth),
            shard_size: line.shard_size.unwrap_or(0),
            user_allocations: line.user_allocations.unwrap_or_default(),
            expire_at: line.expire_at.and_then(end_of),
            metadata: line.metadata.unwrap_or_default().into_iter().collect(),
            pin_update: line.pin_update.0,
            origins: line.origins.unwrap_or_default(),
            unknown: Vec::new(),
        },
        unknown: Vec::new(),
    })
}

fn kind(kind: Option<Kind>) -> Result<PinType, LineError> {
    match kind {
        None => Ok(PinType::Data),
        Some(Kind::Name(name)) => PinType::from_name(&name).ok_or(LineError::Kind(name)),
        // The numbers of Go's `api.PinType`.
        Some(Kind::Number(number)) => match number {
            2 => Ok(PinType::Data),
            4 => Ok(PinType::Meta),
            8 => Ok(PinType::ClusterDag),
            16 => Ok(PinType::Shard),
            other => Err(LineError::Kind(other.to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,200}") {
            let _ = read_pin(text.as_bytes());
        }
    }

    /// As `api.PinSerial` of 0.3 and 0.5 is defined, whose programs cannot be built any more.
    #[test]
    fn the_oldest_forms() {
        let cid = "QmZBUW9eWreBhsF8ct6FXVhXtRg6gx6V1uWsqwSVYyhY7W";
        let peer = "QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ";
        let read = |rest: &str| {
            let text = format!(r#"{{"cid":"{cid}","allocations":["{peer}"],{rest}}}"#);
            read_pin(text.as_bytes()).unwrap()
        };
        let copies = |pin: &Pin| (pin.options.replication_min, pin.options.replication_max);
        let first = read(r#""replication_factor":2"#);
        assert_eq!(first.allocations, [peer.parse().unwrap()]);
        assert_eq!((copies(&first), first.max_depth), ((2, 2), -1));
        let all = read(r#""everywhere":true,"replication_factor":0"#);
        assert_eq!(copies(&all), (-1, -1));
        let third =
            r#""name":"n","replication_factor_min":1,"replication_factor_max":3,"recursive":"#;
        let third = [
            read(&format!("{third}true")),
            read(&format!("{third}false")),
        ];
        assert_eq!(copies(&third[0]), (1, 3));
        assert_eq!(third.clone().map(|pin| pin.max_depth), [-1, 0]);
        assert_eq!(third[1].options.mode, PinMode::Direct);
        let fifth = r#""replication_factor_min":1,"replication_factor_max":1,"name":"","shard_size":0,"type":2,"max_depth":-1,"reference":"""#;
        let fifth = read(fifth);
        assert_eq!(
            (fifth.kind, fifth.reference, fifth.timestamp),
            (PinType::Data, None, 0)
        );
    }

    #[test]
    fn other_objects_are_no_pins() {
        let cid = "bafkreihcldjer7njjrrxknqh67cestxa7s7jf4nhnp62y6k4twcbahvtc4";
        for (text, said) in [
            ("{}".to_owned(), "missing field `cid`"),
            (r#"{"cid":null}"#.to_owned(), "missing field `cid`"),
            (r#"{"cid":"x"}"#.to_owned(), "CID \"x\""),
            (
                format!(r#"{{"cid":"{cid}","name":"a"}}"#),
                "replication_factor_min",
            ),
            (
                format!(r#"{{"cid":"{cid}","replication_factor":1,"type":"bad-type"}}"#),
                "found bad-type",
            ),
            (
                format!(r#"{{"cid":"{cid}","replication_factor":1,"type":1}}"#),
                "found 1",
            ),
            (
                format!(r#"{{"cid":"{cid}","replication_factor":1,"allocations":["x"]}}"#),
                "peer id",
            ),
        ] {
            let error = read_pin(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
