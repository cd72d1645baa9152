//! The methods that a node serves.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;
use ues_repo::lexicon::{Lexicons, MethodKind};

use super::auth::Auth;
use super::call::Call;
use super::error::XrpcError;
use super::reply::Reply;

/// How a method's body arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// There must be none.
    None,
    /// JSON.
    Json,
    /// Any type that matches; the method reads it.
    Stream {
        /// Media type, perhaps a pattern.
        accepts: String,
    },
}

type Handler = Arc<dyn Fn(Call) -> BoxFuture<'static, Result<Reply, XrpcError>> + Send + Sync>;

/// One method.
#[derive(Clone)]
pub struct Method {
    pub(super) nsid: &'static str,
    pub(super) kind: MethodKind,
    pub(super) input: Input,
    pub(super) auth: Auth,
    /// Most bytes of the body; `None` for the node's ordinary limit.
    pub(super) body_limit: Option<u64>,
    /// Whether it counts against its client's overall limit.
    pub(super) counted: bool,
    handler: Handler,
}

impl Method {
    /// A method with its handler. The lexicon says the rest.
    pub fn new<F, R>(nsid: &'static str, auth: Auth, handler: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply, XrpcError>> + Send + 'static,
    {
        Self {
            nsid,
            kind: MethodKind::Query,
            input: Input::None,
            auth,
            body_limit: None,
            counted: true,
            handler: Arc::new(move |call| Box::pin(handler(call))),
        }
    }

    /// Allows a larger (or only a smaller) body than other methods.
    #[must_use]
    pub fn body_limit(mut self, bytes: u64) -> Self {
        self.body_limit = Some(bytes);
        self
    }

    /// Leaves it out of its client's overall limit, since it has one of its own.
    #[must_use]
    pub fn not_counted(mut self) -> Self {
        self.counted = false;
        self
    }

    pub(super) fn run(&self, call: Call) -> BoxFuture<'static, Result<Reply, XrpcError>> {
        (self.handler)(call)
    }
}

/// A method that no lexicon describes.
#[derive(Debug, thiserror::Error)]
#[error("the method {0} has no lexicon")]
pub struct NoLexicon(pub &'static str);

/// The methods that a node serves, by NSID.
#[derive(Clone, Default)]
pub struct Methods {
    by_nsid: HashMap<&'static str, Arc<Method>>,
}

impl Methods {
    /// Adds a method; one of the same name is replaced.
    pub fn add(&mut self, lexicons: &Lexicons, mut method: Method) -> Result<(), NoLexicon> {
        let def = lexicons.method(method.nsid).ok_or(NoLexicon(method.nsid))?;
        method.kind = def.kind;
        method.input = match &def.input {
            None => Input::None,
            Some(body) if body.encoding == "application/json" => Input::Json,
            Some(body) => Input::Stream {
                accepts: body.encoding.clone(),
            },
        };
        self.by_nsid.insert(method.nsid, Arc::new(method));
        Ok(())
    }

    /// The method of an NSID.
    pub(super) fn get(&self, nsid: &str) -> Option<&Arc<Method>> {
        self.by_nsid.get(nsid)
    }

    /// The NSIDs of all methods, sorted.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.by_nsid.keys().copied().collect();
        names.sort_unstable();
        names
    }
}
