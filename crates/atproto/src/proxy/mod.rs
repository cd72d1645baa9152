//! Calls that other services answer: the AppView, private messages, moderation.
//!
//! A method that this node does not serve goes to the service that the header `atproto-proxy` names,
//! or to the one configured for it, with a token signed by the account's key
//! (<https://atproto.com/specs/xrpc#service-proxying>). Requests and answers are streamed.

mod client;
mod decode;
mod exchange;
pub mod fresh;
mod pass;
mod rules;
mod target;
mod token;
mod upload;

pub use client::Clients;
pub use exchange::ProxyError;
pub use pass::{ask_bytes, ask_json, pass_on, post_json, query, query_as};
pub use rules::{is_privileged, is_protected, may_call_privileged};
pub use target::{Target, is_for_others, proxy_to, service_of, target};
pub use token::service_token;
