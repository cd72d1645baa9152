//! A Kubo behind the IPFS proxy: calls of clients that are passed on to it.

use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use reqwest::Body;
use serde::Deserialize;
use ues_data::Cid;
use ues_pins::ipfs_proxy::{Answer, Question, Upstream, UpstreamError};

use super::KuboBackend;
use super::failure::{RpcError, describe};

/// Longest time in which a path is resolved; names of IPNS are looked for in the network.
const RESOLVE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Resolved {
    path: String,
}

#[async_trait]
impl Upstream for KuboBackend {
    async fn resolve(&self, path: &str) -> Result<Cid, UpstreamError> {
        let query = [("arg", path)];
        let resolved: Resolved = self.rpc.ask("resolve", &query, RESOLVE).await?;
        let mut names = resolved.path.split('/').filter(|name| !name.is_empty());
        let cid = names.nth(1).unwrap_or_default();
        let said =
            |why: String| UpstreamError::Said(format!("{path} leads to {}: {why}", resolved.path));
        if names.next().is_some() {
            return Err(said("that is no block of its own".to_owned()));
        }
        ues_data::parse_cid(cid).map_err(|why| said(why.to_string()))
    }

    async fn forward(&self, question: Question) -> Result<Answer, UpstreamError> {
        let mut request = self
            .rpc
            .raw(question.method, &question.target)
            .headers(question.headers);
        if let Some(body) = question.body {
            request = request.body(Body::wrap_stream(body));
        }
        let response = request.send().await.map_err(|why| {
            UpstreamError::Unreachable(format!(
                "the Kubo behind does not answer: {}",
                describe(why)
            ))
        })?;
        let response = http::Response::<Body>::from(response);
        let broken = |why| std::io::Error::other(describe(why));
        Ok(response.map(|body| body.map_err(broken).boxed_unsync()))
    }
}

impl From<RpcError> for UpstreamError {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::Said(words) => Self::Said(words),
            other => Self::Unreachable(other.to_string()),
        }
    }
}
