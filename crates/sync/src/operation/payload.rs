//! The bytes of a payload: one canonical DAG-CBOR map, whose fields `docs/sync.md` describes.

use ues_data::dag_cbor::{self, Limits, Writer};
use ues_data::{Cid, Ipld};
use ues_repo::repo::write::RecordPath;
use ues_repo::syntax::Did;

use crate::clock::{ROOT, VectorClock, WriterId};
use crate::hybrid_time::HybridTime;
use crate::merge::Merge;

use super::{
    Action, MAX_NAME_BYTES, OperationError, OperationId, Payload, SnapshotSums, SnapshotTip,
    malformed,
};

/// Version of a payload that says nothing about merging.
pub(super) const VERSION: u64 = 1;
/// Version of a payload that does.
pub(super) const MERGING: u64 = 2;

impl Payload {
    /// The payload's bytes. Keys stand by length, then by bytes, as DAG-CBOR wants them.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(320);
        let of_action = match &self.action {
            Action::Put { .. } | Action::Grant { .. } | Action::Revoke { .. } => 2,
            Action::Delete { .. } => 1,
            Action::Snapshot(_) => 3,
        };
        let merge = self.action.merge();
        w.map(7 + of_action + u64::from(self.prev.is_some()) + u64::from(merge.is_some()));
        w.text("v");
        w.uint(match merge {
            Some(_) => MERGING,
            None => VERSION,
        });
        w.text("w");
        w.uint(u64::from(self.writer));
        if let Action::Revoke { writer, .. } = &self.action {
            w.text("of");
            w.uint(u64::from(*writer));
        }
        w.text("act");
        w.text(self.action.name());
        match &self.action {
            Action::Revoke { cut, .. } => {
                w.text("cut");
                w.uint(*cut);
            }
            Action::Grant { key, .. } => {
                w.text("key");
                w.text(key);
            }
            _ => {}
        }
        if let Some(merge) = merge {
            w.text("mrg");
            w.raw(&merge.encode());
        }
        w.text("seq");
        w.uint(self.seq);
        if let Some(value) = self.action.value() {
            w.text("val");
            w.link(value);
        }
        w.text("deps");
        self.deps.write(&mut w);
        if let Action::Grant { name, .. } = &self.action {
            w.text("name");
            w.text(name);
        }
        if let Some(path) = self.action.target() {
            w.text("path");
            w.text(path.as_str());
        }
        if let Some(prev) = self.prev.and_then(|prev| prev.cid()) {
            w.text("prev");
            w.link(&prev);
        }
        w.text("repo");
        w.text(self.repo.as_str());
        if let Action::Snapshot(sums) = &self.action {
            w.text("sums");
            w.bytes(&sums.states);
        }
        w.text("time");
        w.uint(self.time.0);
        if let Action::Snapshot(sums) = &self.action {
            w.text("tips");
            w.array(sums.tips.len() as u64);
            for tip in &sums.tips {
                w.array(3);
                w.uint(u64::from(tip.writer));
                w.uint(tip.seq);
                w.bytes(&tip.id.0);
            }
            w.text("records");
            w.link(&sums.records);
        }
        w.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, OperationError> {
        let value = dag_cbor::decode_with(bytes, limits()).map_err(|e| malformed(e.to_string()))?;
        let Ipld::Map(map) = value else {
            return Err(malformed("the payload is not a map"));
        };
        let mut fields = Fields { map };
        let version = fields.uint("v")?;
        if !matches!(version, VERSION | MERGING) {
            return Err(OperationError::Version(version));
        }
        let merge = fields.merge()?;
        if merge.is_some() != (version == MERGING) {
            return Err(malformed("mrg belongs to version 2, and version 2 has it"));
        }
        let act = fields.text("act")?;
        let path = |fields: &mut Fields| {
            let text = fields.text("path")?;
            RecordPath::parse(&text).map_err(|e| malformed(e.to_string()))
        };
        let action = match act.as_str() {
            "create" | "update" => Action::Put {
                path: path(&mut fields)?,
                value: fields
                    .link("val")?
                    .filter(ues_data::content_id::is_atproto)
                    .ok_or_else(|| malformed("val is not the link of a record"))?,
                update: act == "update",
                merge: merge.filter(|merge| !matches!(**merge, Merge::End(_))),
            },
            "delete" => Action::Delete {
                path: path(&mut fields)?,
                merge: merge.filter(|merge| matches!(**merge, Merge::End(_))),
            },
            "grant" => Action::Grant {
                key: fields.text("key")?.into(),
                name: fields
                    .text("name")
                    .ok()
                    .filter(|name| {
                        name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control)
                    })
                    .ok_or_else(|| malformed("name: at most 128 bytes of plain text"))?
                    .into(),
            },
            "revoke" => Action::Revoke {
                writer: fields.writer("of")?,
                cut: fields.uint("cut")?,
            },
            "snapshot" => Action::Snapshot(fields.sums()?),
            other => {
                let other: String = other.chars().take(40).collect();
                return Err(malformed(format!("unknown act {other:?}")));
            }
        };
        let prev = match fields.link("prev")? {
            Some(cid) => Some(
                OperationId::from_cid(&cid)
                    .ok_or_else(|| malformed("prev does not name an operation"))?,
            ),
            None => None,
        };
        let payload = Self {
            repo: Did::parse(&fields.text("repo")?).map_err(|e| malformed(e.to_string()))?,
            writer: fields.writer("w")?,
            seq: fields.uint("seq")?,
            prev,
            deps: fields
                .take("deps")
                .and_then(|deps| VectorClock::read(&deps))
                .ok_or_else(|| malformed("deps is not a clock"))?,
            time: HybridTime(fields.uint("time")?),
            action,
        };
        fields.finish()?;
        if (version == MERGING) != payload.action.merge().is_some() {
            return Err(malformed(format!(
                "mrg is not what {} can have",
                payload.action.name()
            )));
        }
        let within = |merge: &Merge| merge.is_within(&payload.clock());
        if !payload.action.merge().is_none_or(within) {
            return Err(malformed("mrg refers to what the writer had not seen"));
        }
        if payload.seq == 0 || payload.prev.is_some() != (payload.seq > 1) {
            return Err(malformed("seq begins at 1, and only the first has no prev"));
        }
        if payload.deps.get(payload.writer) != 0 {
            return Err(malformed("deps names the writer itself"));
        }
        if payload.action.is_for_root() != (payload.writer == ROOT) {
            return Err(malformed(format!(
                "{} is not for writer {}",
                payload.action.name(),
                payload.writer
            )));
        }
        Ok(payload)
    }
}

/// The fields of a payload, each of which may be taken once.
struct Fields {
    map: std::collections::BTreeMap<String, Ipld>,
}

impl Fields {
    fn take(&mut self, name: &str) -> Option<Ipld> {
        self.map.remove(name)
    }

    fn uint(&mut self, name: &str) -> Result<u64, OperationError> {
        match self.take(name) {
            Some(Ipld::Integer(n)) => u64::try_from(n).ok(),
            _ => None,
        }
        .ok_or_else(|| malformed(format!("{name} is not a number")))
    }

    fn writer(&mut self, name: &str) -> Result<WriterId, OperationError> {
        WriterId::try_from(self.uint(name)?)
            .map_err(|_| malformed(format!("{name} is not a writer")))
    }

    fn text(&mut self, name: &str) -> Result<String, OperationError> {
        match self.take(name) {
            Some(Ipld::String(text)) => Ok(text),
            _ => Err(malformed(format!("{name} is not a text"))),
        }
    }

    fn link(&mut self, name: &str) -> Result<Option<Cid>, OperationError> {
        match self.take(name) {
            Some(Ipld::Link(cid)) => Ok(Some(cid)),
            None => Ok(None),
            Some(_) => Err(malformed(format!("{name} is not a link"))),
        }
    }

    fn merge(&mut self) -> Result<Option<Box<Merge>>, OperationError> {
        let Some(value) = self.take("mrg") else {
            return Ok(None);
        };
        let bytes = dag_cbor::encode(&value).map_err(|e| malformed(e.to_string()))?;
        let merge = Merge::decode(&bytes).map_err(|e| malformed(format!("mrg: {e}")))?;
        Ok(Some(Box::new(merge)))
    }

    fn sums(&mut self) -> Result<SnapshotSums, OperationError> {
        let digest = |value: Option<Ipld>| match value {
            Some(Ipld::Bytes(bytes)) => <[u8; 32]>::try_from(bytes).ok(),
            _ => None,
        };
        let states = digest(self.take("sums")).ok_or_else(|| malformed("sums is not a digest"))?;
        let Some(Ipld::List(items)) = self.take("tips") else {
            return Err(malformed("tips is not a list"));
        };
        let mut tips = Vec::with_capacity(items.len());
        for item in items {
            let Ipld::List(parts) = item else {
                return Err(malformed("a tip is not a list"));
            };
            let [Ipld::Integer(writer), Ipld::Integer(seq), Ipld::Bytes(id)] = &parts[..] else {
                return Err(malformed("a tip is not a writer, a number and a digest"));
            };
            let (Ok(writer), Ok(seq), Ok(id)) = (
                WriterId::try_from(*writer),
                u64::try_from(*seq),
                id.as_slice().try_into(),
            ) else {
                return Err(malformed("a tip is not a writer, a number and a digest"));
            };
            if tips
                .last()
                .is_some_and(|last: &SnapshotTip| last.writer >= writer)
            {
                return Err(malformed("tips are not sorted"));
            }
            let id = OperationId(id);
            tips.push(SnapshotTip { writer, seq, id });
        }
        let records = self
            .link("records")?
            .ok_or_else(|| malformed("no link to records"))?;
        Ok(SnapshotSums {
            records,
            states,
            tips,
        })
    }

    fn finish(self) -> Result<(), OperationError> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(name) => {
                let name: String = name.chars().take(40).collect();
                Err(malformed(format!("unknown field {name:?}")))
            }
        }
    }
}

fn limits() -> Limits {
    Limits {
        max_depth: 6,
        ..Limits::default()
    }
}
