//! Calls to Kubo's HTTP RPC: all are POST, with everything bounded in size and time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use parking_lot::Mutex;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Body, Client, Method, RequestBuilder, Response, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};

use super::failure::{RpcError, describe, one_line};
use super::lines::Lines;
use super::multipart::Encoded;
use super::options::{KuboAuth, KuboError, KuboOptions};

/// The longest answer that is one object, in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// How much is read of an answer that is a failure.
const MAX_FAILURE: usize = 16 << 10;
/// Longest time in which nothing of an upload is sent and nothing answered.
const SILENCE: Duration = Duration::from_secs(600);
/// Stands between the parts of a body; what is sent are a few random bytes, which cannot hold it.
const BOUNDARY: &str = "ues-part-of-a-body-0d3f2c5e7a9b";

/// Names and values behind a URL's `?`.
pub(super) type Query<'a> = [(&'a str, &'a str)];

pub(super) struct Rpc {
    client: Client,
    api: Url,
    shown: String,
    auth: KuboAuth,
}

/// What Kubo says when a call fails.
#[derive(Deserialize)]
struct Failure {
    #[serde(rename = "Message")]
    message: String,
}

impl Rpc {
    pub(super) fn new(options: &KuboOptions) -> Result<Self, KuboError> {
        // it fails when one was chosen before, which is as good
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(options.connect)
            // below what servers keep, lest a call meets a connection that is just being closed
            .pool_idle_timeout(Duration::from_secs(20))
            .redirect(Policy::none())
            .user_agent(concat!("ues/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .build()
            .map_err(KuboError::Client)?;
        let path = options.api.path();
        let path = path.strip_suffix("/api/v0/").unwrap_or(path);
        Ok(Self {
            client,
            shown: format!("{}{path}", options.api.origin().ascii_serialization()),
            api: options.api.clone(),
            auth: options.auth.clone(),
        })
    }

    /// Calls; the answer is read line by line. The caller bounds the time.
    pub(super) async fn lines(&self, path: &str, query: &Query<'_>) -> Result<Lines, RpcError> {
        let response = self.send(self.request(path, query)).await?;
        Ok(Lines::new(response))
    }

    /// Sends a form of any length; the answer is read line by line while it is sent. The caller bounds the time of
    /// that; until it begins, something has to be sent every now and then.
    pub(super) async fn upload(
        &self,
        path: &str,
        query: &Query<'_>,
        form: Encoded,
    ) -> Result<Lines, RpcError> {
        let sent = Arc::new(Mutex::new(Instant::now()));
        let mark = Arc::clone(&sent);
        let body = form.body.inspect(move |_| *mark.lock() = Instant::now());
        let request = self
            .request(path, query)
            .header(CONTENT_TYPE, form.content_type)
            .body(Body::wrap_stream(body));
        let mut sending = pin!(self.send(request));
        loop {
            let deadline = *sent.lock() + SILENCE;
            match timeout_at(deadline, &mut sending).await {
                Ok(response) => return response.map(Lines::new),
                Err(_) if *sent.lock() + SILENCE > deadline => {}
                Err(_) => return Err(RpcError::Slow(SILENCE)),
            }
        }
    }

    /// Calls; the answer is one object, here within that time.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Query<'_>,
        time: Duration,
    ) -> Result<T, RpcError> {
        let answer = self.answer(self.request(path, query), time).await?;
        read(&answer)
    }

    /// Calls; what is answered does not matter, if only it is no failure.
    pub(super) async fn tell(
        &self,
        path: &str,
        query: &Query<'_>,
        time: Duration,
    ) -> Result<(), RpcError> {
        self.answer(self.request(path, query), time).await.map(drop)
    }

    /// Calls with a file; the answer is one object.
    pub(super) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Query<'_>,
        file: &[u8],
        time: Duration,
    ) -> Result<T, RpcError> {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"data\"; filename=\"data\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        let tail = format!("\r\n--{BOUNDARY}--\r\n");
        let request = self
            .request(path, query)
            .header(
                CONTENT_TYPE,
                format!("multipart/form-data; boundary={BOUNDARY}"),
            )
            .body(Body::from(
                [head.as_bytes(), file, tail.as_bytes()].concat(),
            ));
        let answer = self.answer(request, time).await?;
        read(&answer)
    }

    fn request(&self, path: &str, query: &Query<'_>) -> RequestBuilder {
        let mut url = self.api.clone();
        url.set_path(&format!("{}{path}", self.api.path()));
        url.query_pairs_mut().extend_pairs(query);
        self.authorized(self.client.post(url))
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.auth {
            KuboAuth::None => request,
            KuboAuth::Basic { user, password } => request.basic_auth(user, Some(password)),
            KuboAuth::Bearer(token) => request.bearer_auth(token),
        }
    }

    /// A call of any method to any path of the server, such as `/api/v0/id` or `/webui`.
    pub(super) fn raw(&self, method: Method, target: &str) -> RequestBuilder {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let mut url = self.api.clone();
        let base = self.api.path();
        let base = base.strip_suffix("/api/v0/").unwrap_or(base);
        url.set_path(&format!("{}{path}", base.trim_end_matches('/')));
        url.set_query(query);
        self.authorized(self.client.request(method, url))
    }

    async fn answer(&self, request: RequestBuilder, time: Duration) -> Result<Vec<u8>, RpcError> {
        let deadline = Instant::now() + time;
        let slow = |_| RpcError::Slow(time);
        let response = timeout_at(deadline, self.send(request))
            .await
            .map_err(slow)??;
        let mut lines = Lines::new(response);
        timeout_at(deadline, lines.rest(MAX_ANSWER))
            .await
            .map_err(slow)?
    }

    /// An answer with status 200; the failure that another one tells.
    async fn send(&self, request: RequestBuilder) -> Result<Response, RpcError> {
        let response = request.send().await.map_err(|e| RpcError::Unreachable {
            api: self.shown.clone(),
            why: describe(e),
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = failure_text(response).await;
        match serde_json::from_str::<Failure>(&text) {
            Ok(failure) => Err(RpcError::said(&failure.message)),
            Err(_) => Err(RpcError::Status {
                status,
                text: one_line(&text),
            }),
        }
    }
}

/// An object that Kubo sent.
pub(super) fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, RpcError> {
    serde_json::from_slice(json).map_err(|e| RpcError::Garbage(one_line(&e.to_string())))
}

/// What of an answer came in a moment: a failure is one even when nobody says why.
async fn failure_text(mut response: Response) -> String {
    let mut text = Vec::new();
    let reading = async {
        while let Ok(Some(piece)) = response.chunk().await {
            text.extend_from_slice(&piece);
            if text.len() >= MAX_FAILURE {
                text.truncate(MAX_FAILURE);
                break;
            }
        }
    };
    let _ = timeout(Duration::from_secs(5), reading).await;
    String::from_utf8_lossy(&text).into_owned()
}
