//! References to blobs: their shape, their constraints, and those that a record holds.

use ues_data::{Cid, Ipld, parse_cid};

use super::data::{Data, Entries, View};
use super::error::{Measure, Problem, Segment, quote};
use super::format;
use super::rules::BlobRule;
use super::text::too_big;
use super::validate::{Checked, fail, unexpected};

/// Whether an object says of itself that it is a blob reference.
pub(super) fn says_blob<D: Data>(map: &impl Entries<D>) -> bool {
    matches!(map.get("$type").map(Data::view), Some(View::Text("blob")))
}

/// The parts of a blob reference that matter here.
struct Reference<'a> {
    mime: &'a str,
    /// Not known of old references.
    size: Option<u64>,
}

/// Reads `{$type: "blob", ref, mimeType, size}` and, when not `strict`, the old `{cid, mimeType}`.
fn read<D: Data>(map: &D::Map, strict: bool) -> Option<Reference<'_>> {
    let text = |key: &str| match map.get(key).map(Data::view) {
        Some(View::Text(text)) => Some(text),
        _ => None,
    };
    let mime = text("mimeType")?;
    if map.get("$type").is_none() {
        let legacy = !strict && map.len() == 2 && !mime.is_empty() && format::is_cid(text("cid")?);
        return legacy.then_some(Reference { mime, size: None });
    }
    let size = match map.get("size").map(Data::view) {
        Some(View::Integer(-1)) if !strict => None,
        Some(View::Integer(size)) => Some(u64::try_from(size).ok()?),
        _ => return None,
    };
    let link = matches!(map.get("ref").map(Data::view), Some(View::Link));
    let whole = map.len() == 4 && says_blob(map) && link && mime.contains('/');
    whole.then_some(Reference { mime, size })
}

/// Checks a value that must be a blob reference.
pub(super) fn check<D: Data>(rule: &BlobRule, map: &D::Map, strict: bool) -> Checked {
    let Some(reference) = read::<D>(map, strict) else {
        return fail(unexpected("blob", &View::<D>::Map(map)));
    };
    if !strict {
        return Ok(());
    }
    if let Some(accept) = &rule.accept
        && !accept
            .iter()
            .any(|pattern| accepts(pattern, reference.mime))
    {
        return fail(Problem::NotAllowed {
            allowed: accept.iter().map(|pattern| quote(pattern)).collect(),
            found: quote(reference.mime),
        })
        .map_err(|e| e.within(Segment::Key("mimeType".into())));
    }
    match (rule.max_size, reference.size) {
        (Some(max), Some(size)) if size > max => fail(too_big(Measure::Blob, max, size)),
        _ => Ok(()),
    }
}

/// Whether a MIME type matches a pattern: `*/*`, `image/*`, or the type itself.
pub fn accepts(pattern: &str, mime: &str) -> bool {
    pattern == "*/*"
        || pattern == mime
        || pattern
            .strip_suffix('*')
            .is_some_and(|prefix| prefix.ends_with('/') && mime.starts_with(prefix))
}

/// A blob that a record refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// The hash of its content.
    pub cid: Cid,
    /// The MIME type that the record states.
    pub mime_type: String,
    /// The size in bytes that the record states; old references state none.
    pub size: Option<u64>,
    /// Whether it has the old form `{cid, mimeType}`, which new records may not use.
    pub legacy: bool,
}

/// All blob references in a record, wherever they stand, known schema or not.
///
/// What merely looks like one (a wrong type of a property, one property more) is not taken for one.
pub fn blobs_in(record: &Ipld) -> Vec<BlobRef> {
    let mut found = Vec::new();
    // A stack of its own: the nesting of a value must not decide over the program's stack.
    let mut open = vec![record];
    while let Some(value) = open.pop() {
        match value {
            Ipld::List(items) => open.extend(items.iter().rev()),
            Ipld::Map(map) => match blob_ref(map) {
                Some(reference) => found.push(reference),
                None => open.extend(map.values().rev()),
            },
            _ => {}
        }
    }
    found
}

fn blob_ref(map: &std::collections::BTreeMap<String, Ipld>) -> Option<BlobRef> {
    let reference = read::<Ipld>(map, false)?;
    let (cid, legacy) = match (map.get("ref"), map.get("cid")) {
        (Some(Ipld::Link(cid)), _) => (*cid, false),
        (_, Some(Ipld::String(text))) => (parse_cid(text).ok()?, true),
        _ => return None,
    };
    Some(BlobRef {
        cid,
        mime_type: reference.mime.to_owned(),
        size: reference.size,
        legacy,
    })
}
