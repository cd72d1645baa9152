//! What users may ask for.

use ues_data::Cid;
use ues_data::content_id;

use super::{PinsError, Wish};

/// Bounds of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest name, in bytes.
    pub name: usize,
    /// Most entries of notes.
    pub metadata: usize,
    /// Longest notes, keys and values together, in bytes.
    pub metadata_bytes: usize,
    /// Most origins.
    pub origins: usize,
    /// Most tags.
    pub tags: usize,
    /// Longest tag, in bytes.
    pub tag: usize,
    /// Most copies.
    pub replication: i32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            name: 255,
            metadata: 1000,
            metadata_bytes: 16 << 10,
            origins: 20,
            tags: 20,
            tag: 100,
            replication: 100,
        }
    }
}

/// Codecs whose links are known, so that all of a DAG can be kept.
const CODECS: [u64; 4] = [
    content_id::RAW,
    content_id::DAG_PB,
    content_id::DAG_CBOR,
    content_id::DAG_JSON,
];
/// Multicodec of plain CBOR, of plain JSON and of a libp2p key: blocks without links.
const LINKLESS: [u64; 3] = [0x51, 0x0200, 0x72];

impl Limits {
    /// Checks a wish.
    ///
    /// # Errors
    /// [`PinsError::Invalid`] with a sentence.
    pub fn check(&self, cid: &Cid, wish: &Wish, now_s: u64) -> Result<(), PinsError> {
        let options = &wish.options;
        let bytes: usize = options
            .metadata
            .iter()
            .map(|(k, v)| k.len() + v.len())
            .sum();
        at_most("a name", "bytes", options.name.len(), self.name)?;
        at_most("meta", "entries", options.metadata.len(), self.metadata)?;
        at_most("meta", "bytes", bytes, self.metadata_bytes)?;
        at_most("origins", "addresses", options.origins.len(), self.origins)?;
        at_most("tags", "words", wish.tags.len(), self.tags)?;
        for tag in &wish.tags {
            if tag.is_empty() {
                return Err(PinsError::Invalid("a tag may not be empty".to_owned()));
            }
            at_most("a tag", "bytes", tag.len(), self.tag)?;
        }
        if let Some(id) = &wish.op_id {
            check_op_id(id)?;
        }
        let codec = cid.codec();
        if !CODECS.contains(&codec) && !LINKLESS.contains(&codec) {
            return Err(PinsError::Invalid(format!(
                "the codec 0x{codec:x} of {cid} is not known here, so its links cannot be followed"
            )));
        }
        let (min, max) = (options.replication_min, options.replication_max);
        if min < -1 || max < -1 || min > self.replication || max > self.replication {
            return Err(PinsError::Invalid(format!(
                "replication is -1 (everywhere), 0 (the default) or up to {}, found {min} to {max}",
                self.replication
            )));
        }
        if min > max && max > 0 {
            return Err(PinsError::Invalid(format!(
                "the least replication, {min}, is more than the most, {max}"
            )));
        }
        if let Some(end) = options.expire_at.filter(|end| *end <= now_s) {
            return Err(PinsError::Invalid(format!(
                "the pin would end at {end} (seconds since 1970), which is over"
            )));
        }
        Ok(())
    }
}

/// Checks a client's id of an operation.
pub(super) fn check_op_id(id: &str) -> Result<(), PinsError> {
    if id.is_empty() || id.len() > 128 || !id.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(PinsError::Invalid(
            "an operation id is 1 to 128 visible characters, such as a ULID or UUID".to_owned(),
        ));
    }
    Ok(())
}

fn at_most(what: &str, unit: &str, found: usize, limit: usize) -> Result<(), PinsError> {
    if found > limit {
        return Err(PinsError::Invalid(format!(
            "{what} may have at most {limit} {unit}, found {found}"
        )));
    }
    Ok(())
}
