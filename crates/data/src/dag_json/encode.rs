//! Writing DAG-JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use data_encoding::BASE64_NOPAD;
use ipld_core::ipld::Ipld;

use crate::Limits;

/// Why a value cannot be written as DAG-JSON.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// An integer outside of -2^64 .. 2^64-1.
    #[error("an integer from -2^64 to 2^64-1 expected, found {0}")]
    Range(i128),
    /// NaN or an infinity.
    #[error("NaN and infinities have no place in IPLD")]
    NotFinite,
    /// A map that would read as a link or as bytes.
    #[error("a map with the key \"/\" would read as a link or as bytes")]
    Reserved,
    /// Nested deeper than allowed.
    #[error("nested deeper than {0}")]
    TooDeep(usize),
}

/// Writes a value in canonical form.
pub fn encode(value: &Ipld) -> Result<String, EncodeError> {
    let mut out = String::new();
    write(value, 0, &mut out)?;
    Ok(out)
}

fn write(value: &Ipld, depth: usize, out: &mut String) -> Result<(), EncodeError> {
    if depth > Limits::GENERAL.max_depth {
        return Err(EncodeError::TooDeep(Limits::GENERAL.max_depth));
    }
    match value {
        Ipld::Null => out.push_str("null"),
        Ipld::Bool(true) => out.push_str("true"),
        Ipld::Bool(false) => out.push_str("false"),
        Ipld::Integer(i) => {
            let magnitude = if *i < 0 { -1 - *i } else { *i };
            u64::try_from(magnitude).map_err(|_| EncodeError::Range(*i))?;
            push(out, format_args!("{i}"));
        }
        Ipld::Float(f) if !f.is_finite() => return Err(EncodeError::NotFinite),
        // The debug form is the shortest that reads back the same, and always has a point or an exponent.
        Ipld::Float(f) => push(out, format_args!("{f:?}")),
        Ipld::String(s) => string(s, out),
        Ipld::Bytes(bytes) => {
            out.push_str("{\"/\":{\"bytes\":\"");
            BASE64_NOPAD.encode_append(bytes, out);
            out.push_str("\"}}");
        }
        Ipld::Link(cid) => push(out, format_args!("{{\"/\":\"{cid}\"}}")),
        Ipld::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, depth + 1, out)?;
            }
            out.push(']');
        }
        Ipld::Map(map) => {
            if is_reserved(map) {
                return Err(EncodeError::Reserved);
            }
            out.push('{');
            for (i, (key, item)) in map.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                string(key, out);
                out.push(':');
                write(item, depth + 1, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn push(out: &mut String, args: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(args);
}

/// Whether a map has the shape of a link or of bytes.
pub(super) fn is_reserved(map: &BTreeMap<String, Ipld>) -> bool {
    match map.get("/") {
        Some(Ipld::String(_)) => true,
        Some(Ipld::Map(inner)) => matches!(inner.get("bytes"), Some(Ipld::String(_))),
        _ => false,
    }
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (i, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(text.get(plain..i).unwrap_or_default());
        plain = i + 1;
        if escape.is_empty() {
            push(out, format_args!("\\u{byte:04x}"));
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(text.get(plain..).unwrap_or_default());
    out.push('"');
}
