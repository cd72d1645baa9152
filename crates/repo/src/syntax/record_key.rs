//! Record keys.

use super::newtype::text_identifier;
use super::tid::Tid;

text_identifier!(
    /// The key of a record within its collection, such as `3jzfcijpj2z2a` or `self`.
    ///
    /// 512 bytes at most (<https://atproto.com/specs/record-key>).
    RecordKey, "record key", check
);

const MAX_BYTES: usize = 512;

impl From<Tid> for RecordKey {
    fn from(tid: Tid) -> Self {
        Self(tid.as_str().into())
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > MAX_BYTES {
        return Err("1 to 512 characters");
    }
    if text == "." || text == ".." {
        return Err("neither \".\" nor \"..\"");
    }
    if !text.bytes().all(is_record_key_byte) {
        return Err("consists of A-Z a-z 0-9 . - _ : ~");
    }
    Ok(())
}

fn is_record_key_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'~')
}
