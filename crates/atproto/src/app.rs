//! How an application plugs into the server.
//!
//! An application adds to a node what belongs to it: the lexicons it owns, the projections it keeps
//! of the event log, and the methods and pages it serves. It uses nothing that another could not.

use std::sync::Arc;

use axum::Router;
use serde_json::Value;
use ues_storage::{Event, Projection, ProjectionError};

use crate::context::Context;
use crate::xrpc::Method;

/// An application on a node.
///
/// ```
/// use ues_atproto::{App, Auth, Context, Method, Reply};
///
/// struct Greeter;
///
/// impl App for Greeter {
///     fn name(&self) -> &'static str {
///         "greeter"
///     }
///
///     fn lexicons(&self) -> Vec<serde_json::Value> {
///         vec![serde_json::json!({
///             "lexicon": 1,
///             "id": "com.example.greet",
///             "defs": {"main": {"type": "query", "output": {"encoding": "application/json"}}},
///         })]
///     }
///
///     fn methods(&self, _: &Context) -> Vec<Method> {
///         vec![Method::new("com.example.greet", Auth::Open, |_call| async {
///             Reply::json(&serde_json::json!({"hello": "world"}))
///         })]
///     }
/// }
/// ```
pub trait App: Send + Sync + 'static {
    /// A short name for logs.
    fn name(&self) -> &'static str;

    /// Lexicon documents that it owns. They are registered before anything else is asked for.
    fn lexicons(&self) -> Vec<Value> {
        Vec::new()
    }

    /// Projections that it keeps of the event log; each runs in a thread of its own.
    fn projections(&self, _ctx: &Context) -> Vec<Box<dyn Projection>> {
        Vec::new()
    }

    /// XRPC methods that it serves; their lexicons are its own or official ones.
    fn methods(&self, _ctx: &Context) -> Vec<Method> {
        Vec::new()
    }

    /// Other routes that it serves: pages, files.
    fn routes(&self, _ctx: &Context) -> Router {
        Router::new()
    }
}

/// A projection of any kind, as the store takes it.
pub(crate) struct Boxed(pub Box<dyn Projection>);

impl Projection for Boxed {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn cursor(&mut self) -> Result<u64, ProjectionError> {
        self.0.cursor()
    }

    fn apply(&mut self, events: &[Event]) -> Result<(), ProjectionError> {
        self.0.apply(events)
    }

    fn reset(&mut self) -> Result<(), ProjectionError> {
        self.0.reset()
    }
}

/// Applications of a node, in the order in which they were added.
pub(crate) type Apps = Vec<Arc<dyn App>>;
