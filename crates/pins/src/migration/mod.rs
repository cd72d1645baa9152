//! Moving pins from an IPFS-Cluster to this service and back, by the JSON of its `state export` and of its
//! `GET /allocations`.
//!
//! | file | what it is about |
//! |---|---|
//! | `values` | cutting a stream of bytes into JSON objects, with a position to go on from |
//! | `line` | a pin in the form of any version of IPFS-Cluster |
//! | `taken` | what of it this service can hold |
//! | `digest` | comparing sets of pins without keeping them |
//! | `export` | the pins of this service as IPFS-Cluster reads them |

mod digest;
mod export;
mod line;
mod taken;
mod values;

pub use digest::PinSetDigest;
pub use export::export;
pub use line::{LineError, read_pin};
pub use taken::{LeftOut, take};
pub use values::{Position, ValueError, Values};
