//! Records from DAG-CBOR to JSON text, without a tree in between.

use data_encoding::BASE64_NOPAD;
use ues_data::dag_cbor::{DecodeError, Kind, Reader};

/// Deepest nesting that is written; records are not stored deeper.
const MAX_DEPTH: usize = 160;

/// Why a record could not be written as JSON.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TranscodeError {
    /// The stored bytes are not DAG-CBOR.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Nested deeper than anything that is stored.
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
}

/// Appends a DAG-CBOR item as JSON of AT Protocol's form.
pub fn dag_cbor_to_json(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), TranscodeError> {
    let mut reader = Reader::new(bytes);
    item(&mut reader, out, 0)?;
    Ok(reader.finish()?)
}

/// Appends a text as a JSON string.
pub fn json_string(text: &str, out: &mut Vec<u8>) {
    let mut start = 0;
    out.push(b'"');
    for (at, byte) in text.bytes().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x00..=0x1f => &[],
            _ => continue,
        };
        out.extend_from_slice(text.as_bytes().get(start..at).unwrap_or_default());
        if escape.is_empty() {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.extend_from_slice(escape);
        }
        start = at + 1;
    }
    out.extend_from_slice(text.as_bytes().get(start..).unwrap_or_default());
    out.push(b'"');
}

fn item(r: &mut Reader<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), TranscodeError> {
    if depth > MAX_DEPTH {
        return Err(TranscodeError::TooDeep);
    }
    match r.peek()? {
        Kind::Null => {
            r.null()?;
            out.extend_from_slice(b"null");
        }
        Kind::Bool => out.extend_from_slice(if r.bool()? { b"true" } else { b"false" }),
        Kind::Int => out.extend_from_slice(r.int()?.to_string().as_bytes()),
        Kind::Float => {
            let number = serde_json::Number::from_f64(r.f64()?);
            let text = number.map_or_else(|| "null".to_owned(), |n| n.to_string());
            out.extend_from_slice(text.as_bytes());
        }
        Kind::Text => json_string(r.text()?, out),
        Kind::Bytes => {
            out.extend_from_slice(b"{\"$bytes\":\"");
            out.extend_from_slice(BASE64_NOPAD.encode(r.bytes()?).as_bytes());
            out.extend_from_slice(b"\"}");
        }
        Kind::Link => {
            out.extend_from_slice(b"{\"$link\":\"");
            out.extend_from_slice(r.link()?.to_string().as_bytes());
            out.extend_from_slice(b"\"}");
        }
        Kind::List => {
            let count = r.array()?;
            out.push(b'[');
            for index in 0..count {
                if index > 0 {
                    out.push(b',');
                }
                item(r, out, depth + 1)?;
            }
            out.push(b']');
        }
        Kind::Map => {
            let count = r.map()?;
            let mut previous = None;
            out.push(b'{');
            for index in 0..count {
                if index > 0 {
                    out.push(b',');
                }
                json_string(r.key(&mut previous)?, out);
                out.push(b':');
                item(r, out, depth + 1)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use ues_data::{atproto_json, dag_cbor};

    #[test]
    fn it_says_the_same_as_the_tree() {
        let value = json!({
            "$type": "com.example.thing",
            "text": "a \"quote\", a \\ and \u{1}\n\t\u{1f600}",
            "list": [1, -5, true, false, null, []],
            "link": {"$link": "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"},
            "bytes": {"$bytes": "AQID"},
            "map": {},
        });
        let bytes = dag_cbor::encode(&atproto_json::from_json(&value).unwrap()).unwrap();
        let mut out = Vec::new();
        dag_cbor_to_json(&bytes, &mut out).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), value);
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        assert!(dag_cbor_to_json(&[0xa1, 0x61], &mut Vec::new()).is_err());
        assert!(dag_cbor_to_json(&[0x81; 300], &mut Vec::new()).is_err());
    }
}
