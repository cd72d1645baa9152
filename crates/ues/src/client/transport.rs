//! How a request gets to the node.

use axum::Router;
use axum::body::Body;
use http::{Request, Response, Uri};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower::ServiceExt;

use crate::failure::{Failure, Outcome};
use crate::node::Node;

/// Over HTTP, or straight to the routes of a node in this process.
pub enum Transport {
    /// A node that runs, at this address (`http://127.0.0.1:2583`).
    Remote {
        /// Where it listens.
        base: String,
        /// Connections to it.
        http: Box<HttpClient<HttpConnector, Body>>,
    },
    /// A node that was opened for this command.
    Local {
        /// Keeps it open.
        node: Box<Node>,
        /// Its routes.
        router: Router,
    },
}

impl Transport {
    /// To a node that runs.
    pub fn remote(base: String) -> Self {
        let http = Box::new(HttpClient::builder(TokioExecutor::new()).build_http());
        Self::Remote { base, http }
    }

    /// To a node in this process.
    pub fn local(node: Node) -> Self {
        let router = node.router();
        Self::Local {
            node: Box::new(node),
            router,
        }
    }

    /// Sends a request whose URI is a path with query; the answer's body comes as a stream.
    ///
    /// # Errors
    /// [`crate::failure::Exit::Unavailable`] when the node cannot be reached.
    pub async fn send(&self, mut request: Request<Body>) -> Outcome<Response<Body>> {
        match self {
            Self::Remote { base, http } => {
                let uri = format!("{base}{}", request.uri());
                *request.uri_mut() = uri
                    .parse::<Uri>()
                    .map_err(Failure::while_doing(format!("call {uri}")))?;
                let response = http.request(request).await.map_err(|e| {
                    Failure::unavailable(format!("the node at {base} does not answer: {e}"))
                        .hint("ues status tells whether it runs")
                })?;
                Ok(response.map(Body::new))
            }
            Self::Local { router, .. } => match router.clone().oneshot(request).await {
                Ok(response) => Ok(response),
                Err(never) => match never {},
            },
        }
    }
}
