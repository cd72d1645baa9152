//! Times and subjects for people.

use serde_json::Value;
use ues_repo::syntax::{Datetime, Did};

use crate::context::Context;

/// A time of RFC 3339 to the minute.
pub fn when(text: &str) -> String {
    match (text.get(..10), text.get(10..11), text.get(11..16)) {
        (Some(day), Some("T"), Some(time)) => format!("{day} {time}"),
        _ => text.to_owned(),
    }
}

/// A time in milliseconds since 1970, to the minute.
pub fn when_ms(ms: u64) -> String {
    when(Datetime::from_unix_millis(ms.cast_signed()).as_ref())
}

/// An account by its handle, if it is here.
pub fn account_name(ctx: &Context, did: &Did) -> String {
    match ctx.accounts.by_did(did) {
        Ok(Some(account)) if !account.is_deleted() => account.handle.to_string(),
        _ => did.to_string(),
    }
}

/// JSON on one line; nothing where it is null.
pub fn details(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(when("2026-11-22T06:45:58.123Z"), "2026-11-22 06:45");
        assert_eq!(when("né a’n’est pas"), "né a’n’est pas");
        assert_eq!(when_ms(0), "1970-01-01 00:00");
    }
}
