//! Content identifiers as text.

use super::newtype::text_identifier;

text_identifier!(
    /// A content identifier in a shape that may be one: version 1, in some multibase.
    ///
    /// Only the shape is checked, as the lexicon format `cid` asks; `ues_data` decodes it.
    CidString, "CID", check
);

fn check(text: &str) -> Result<(), &'static str> {
    if !(8..=256).contains(&text.len()) {
        return Err("8 to 256 characters");
    }
    if !text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'='))
    {
        return Err("consists of A-Z a-z 0-9 + =");
    }
    if text.len() == 46 && text.starts_with("Qm") {
        return Err("version 1, not version 0");
    }
    Ok(())
}
