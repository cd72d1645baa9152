//! Configuration: one file, environment variables and flags, laid over the defaults.
//!
//! [`table`] is the one list of what can be set; reading a file, an environment, writing a commented
//! file, and saying where a value came from all work from it. [`Config`] is the typed result.

pub mod file;
pub mod layers;
pub mod serving;
pub mod setting;
pub mod table;
pub mod typed;

pub use layers::{ConfigError, Layers, Origin};
pub use serving::{BlobBackend, Blobs, Tls};
pub use setting::{Kind, Setting};
pub use table::settings;
pub use typed::{
    Config, Datastore, Directory, LogFormat, Nats, Network, NetworkBlobs, NetworkKademlia,
    NetworkStart, PinBackend, Pins, Role,
};
