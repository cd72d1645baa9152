//! DAG-JSON: IPLD data as JSON text.
//!
//! Links are `{"/": "bafy…"}`, bytes are `{"/": {"bytes": "…"}}` in base64 without padding; these two shapes are
//! reserved. Numbers with a point or an exponent are floats, all others integers. See the
//! [specification](https://ipld.io/specs/codecs/dag-json/spec/).
//!
//! [`encode`] writes the canonical form: no white space, keys in the order of their bytes. [`decode`] takes any
//! JSON of the same meaning; [`decode_canonical`] takes the canonical form only.

mod decode;
mod encode;
mod error;
mod scan;

pub use decode::{decode, decode_canonical, decode_with};
pub use encode::{EncodeError, encode};
pub use error::{DecodeError, DecodeErrorKind};
