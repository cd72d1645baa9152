//! Whether a string has one of the formats of the language.

use data_encoding::BASE32_NOPAD_NOCASE as BASE32;
use ues_data::content_id::{cid_from_bytes, parse_cid};

use super::rules::StringFormat;
use crate::syntax::{
    AtIdentifier, AtUri, CidString, Datetime, Did, Handle, Language, Nsid, RecordKey, Tid, Uri,
};

/// Checks a string against a format. Allocates nothing for well-formed values in their usual form.
///
/// `strict` is false for records that others wrote and that are only read: then a datetime needs the
/// right shape only, and a language tag too, as the official server has it.
pub(super) fn matches(format: StringFormat, text: &str, strict: bool) -> bool {
    match format {
        StringFormat::AtIdentifier => AtIdentifier::check(text).is_ok(),
        StringFormat::AtUri => AtUri::check(text).is_ok(),
        StringFormat::Cid => is_cid(text),
        StringFormat::Datetime if strict => Datetime::check(text).is_ok(),
        StringFormat::Datetime => Datetime::has_shape(text),
        StringFormat::Did => Did::check(text).is_ok(),
        StringFormat::Handle => Handle::check(text).is_ok(),
        StringFormat::Language if strict => Language::check(text).is_ok(),
        StringFormat::Language => Language::has_shape(text),
        StringFormat::Nsid => Nsid::check(text).is_ok(),
        StringFormat::RecordKey => RecordKey::check(text).is_ok(),
        StringFormat::Tid => Tid::check(text).is_ok(),
        StringFormat::Uri => Uri::check(text).is_ok(),
    }
}

/// Whether a string is a CID that can be read, not only one that looks like it.
pub(super) fn is_cid(text: &str) -> bool {
    // Nearly all are base32 and short: these are read on the stack.
    let mut buffer = [0u8; 128];
    if let Some(body) = text.strip_prefix('b')
        && let Ok(length) = BASE32.decode_len(body.len())
        && let Some(space) = buffer.get_mut(..length)
    {
        return !body.bytes().any(|b| b.is_ascii_uppercase())
            && BASE32.decode_mut(body.as_bytes(), space).is_ok()
            && cid_from_bytes(space).is_ok();
    }
    CidString::check(text).is_ok() && parse_cid(text).is_ok()
}
