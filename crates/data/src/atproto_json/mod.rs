//! The JSON form of AT Protocol's data model.
//!
//! Links are `{"$link": "bafy…"}`, bytes are `{"$bytes": "…"}` in base64 without padding, everything else is
//! plain JSON. There are no floats, and integers stay within 64 bits. See
//! [the specification](https://atproto.com/specs/data-model).

mod from;
mod to;

pub use from::{JsonError, MAX_DEPTH, from_json, record_from_json};
pub use to::{to_json, to_json_string};
