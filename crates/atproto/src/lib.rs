//! The AT Protocol server: accounts, their repositories over XRPC, the event stream, identities.
//!
//! [`Server`] puts it together over a store and serves it; [`App`] is how an application adds its
//! lexicons, projections, methods and pages. Methods are named, checked and answered as by the
//! official server, so that any client of the network works with it.

mod accounts;
pub mod admin;
mod app;
mod census;
mod config;
mod context;
pub mod factors;
mod firehose;
mod identity;
mod labels;
pub mod lifecycle;
mod limits;
mod log_readers;
mod mail;
mod methods;
mod moderation;
mod new_account;
mod node_keys;
mod oauth;
mod preferences;
mod proxy;
mod quota;
mod relays;
mod remote_blobs;
mod serve;
mod server;
mod suspensions;
mod tls;
pub mod upkeep;
mod web;
pub mod websocket;
mod xrpc;

pub use accounts::{
    Account, AccountError, Accounts, AppPassword, Grant, Scope, Session, SessionInfo, Suspension,
};
pub use app::App;
pub use census::Census;
pub use config::{
    AppView, Config, Connections, Firehose, Mail as MailConfig, PlcMode, Proxy, RateLimits,
    ServiceAddress, Sizes, Upkeep,
};
pub use context::{Context, Parts};
pub use firehose::Hub;
pub use identity::{Identities, IdentityError};
pub use labels::{Draft, InvalidLabel, Label, LabelError, Labeler, Labels};
pub use log_readers::LogReaders;
pub use mail::Mail;
pub use methods::{change_handle, change_handle_as, change_password};
pub use moderation::{Act, Done, Report};
pub use node_keys::{Admins, NodeKeys, NodeKeysError};
pub use oauth::{ConnectedApp, OAuth};
pub use preferences::{PreferenceError, Preferences};
pub use quota::{Quotas, quotas};
pub use remote_blobs::{BringBlob, RemoteBlobs};
pub use server::{Server, ServerError, TlsDoor};
pub use tls::{AcmeOptions, Redirect, Tls, TlsError, TlsOptions};
pub use xrpc::{
    Auth, BlockingBody, Call, Caller, Feeder, Method, NoLexicon, Params, Pieces, Reply, XrpcError,
    blocking,
};

/// Version of this program, as `/xrpc/_health` tells it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
