//! A server that is reached by HTTP.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, RequestBuilder, Response, Url};
use serde_json::Value;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;
use ues_repo::identity::resolver::http_client_builder;

use super::xrpc::{CallError, Called, Xrpc};
use crate::client::query_string;
use crate::failure::{Failure, Outcome};
use crate::output::printable;

/// Longest time for a connection.
const CONNECT: Duration = Duration::from_secs(20);
/// Longest time between two pieces: an import is answered when all of it is read.
const PAUSE: Duration = Duration::from_secs(900);
/// Largest JSON answer, in bytes.
const MAX_JSON: usize = 16 << 20;
/// Longest explanation of a refusal that is shown, in characters.
const MAX_TOLD: usize = 500;
/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 16 << 30;
/// How often a call is made again that the server has put off.
const PUT_OFF: u32 = 5;
/// Longest wait that a server may ask for.
const MAX_WAIT: Duration = Duration::from_secs(330);
/// Wait where it does not say how long.
const USUAL_WAIT: Duration = Duration::from_secs(10);

/// What a call sends.
#[derive(Clone, Copy)]
enum Input<'a> {
    Query,
    Nothing,
    Json(&'a Value),
    /// Media type and file.
    File(&'a str, &'a Path),
}

/// See [`Xrpc`].
pub struct HttpServer {
    shown: String,
    base: String,
    client: Client,
}

/// The address of a server as a person gives it: `https://host`, `host`, or `http://localhost:port`.
///
/// # Errors
/// A usage failure for anything that is no such address, or would send passwords in the clear.
pub fn server_url(text: &str) -> Outcome<Url> {
    let whole = match text.contains("://") {
        true => text.to_owned(),
        false => format!("https://{text}"),
    };
    let refused = |why: &str| {
        Failure::usage(format!("{text:?} is not the address of a server: {why}"))
            .hint("a server is named like https://pds.example.com")
    };
    let url = Url::parse(&whole).map_err(|e| refused(&e.to_string()))?;
    let host = url.host_str().unwrap_or_default();
    let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    match url.scheme() {
        "https" => {}
        "http" if local => {}
        "http" => {
            return Err(refused(
                "a password would be sent in the clear, it has to be https",
            ));
        }
        _ => return Err(refused("it has to begin with https://")),
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || !url.username().is_empty() {
        return Err(refused("it has no path"));
    }
    Ok(url)
}

impl HttpServer {
    /// A server at this address.
    ///
    /// # Errors
    /// When the system gives no client.
    pub fn new(url: &Url) -> Outcome<Self> {
        let client = http_client_builder()
            .connect_timeout(CONNECT)
            .read_timeout(PAUSE)
            .redirect(Policy::none())
            .build()
            .map_err(Failure::while_doing("make a client"))?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self {
            shown: base.clone(),
            base,
            client,
        })
    }

    /// This node at the address where it listens; others know it by another.
    ///
    /// # Errors
    /// When the system gives no client.
    pub fn own(listens: &str, public: &str) -> Outcome<Self> {
        let client = http_client_builder()
            .no_proxy()
            .connect_timeout(CONNECT)
            .read_timeout(PAUSE)
            .redirect(Policy::none())
            .build()
            .map_err(Failure::while_doing("make a client"))?;
        Ok(Self {
            shown: public.trim_end_matches('/').to_owned(),
            base: listens.trim_end_matches('/').to_owned(),
            client,
        })
    }

    fn unreachable(&self, why: reqwest::Error) -> CallError {
        let why = why.without_url();
        let mut text = why.to_string();
        let mut source = std::error::Error::source(&why);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        CallError::Unreachable {
            server: self.shown.clone(),
            why: text,
        }
    }

    fn nonsense(&self, nsid: &str, found: impl Into<String>) -> CallError {
        CallError::Nonsense {
            server: self.shown.clone(),
            nsid: nsid.to_owned(),
            found: found.into(),
        }
    }

    /// Calls until there is an answer other than that it is too early.
    async fn call(
        &self,
        nsid: &str,
        params: &[(&str, &str)],
        input: Input<'_>,
        token: Option<&str>,
    ) -> Called<Response> {
        let url = format!("{}/xrpc/{nsid}{}", self.base, query_string(params));
        let mut tries = 0;
        loop {
            let mut request = self.request(&url, input).await?;
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let response = request.send().await.map_err(|e| self.unreachable(e))?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if status == StatusCode::TOO_MANY_REQUESTS && tries < PUT_OFF {
                tries += 1;
                tokio::time::sleep(wait_of(response.headers())).await;
                continue;
            }
            return Err(self.refusal(nsid, response).await);
        }
    }

    async fn request(&self, url: &str, input: Input<'_>) -> Called<RequestBuilder> {
        Ok(match input {
            Input::Query => self.client.get(url),
            Input::Nothing => self.client.post(url),
            Input::Json(value) => self.client.post(url).json(value),
            Input::File(mime, path) => {
                let file = File::open(path).await.map_err(|e| file_error(path, e))?;
                let data = file.metadata().await.map_err(|e| file_error(path, e))?;
                let body = Body::wrap_stream(ReaderStream::with_capacity(file, 64 * 1024));
                let request = self.client.post(url).header(CONTENT_TYPE, mime);
                request.header(CONTENT_LENGTH, data.len()).body(body)
            }
        })
    }

    async fn refusal(&self, nsid: &str, response: Response) -> CallError {
        let status = response.status();
        let body = self.body(nsid, response).await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty());
        let name = text("error").unwrap_or_default();
        let message = match text("message") {
            Some(message) => message.to_owned(),
            None if name.is_empty() => status.to_string(),
            None => name.to_owned(),
        };
        CallError::Refused {
            server: self.shown.clone(),
            nsid: nsid.to_owned(),
            status: status.as_u16(),
            name: told(name),
            message: told(&message),
        }
    }

    async fn body(&self, nsid: &str, mut response: Response) -> Called<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|e| self.unreachable(e))? {
            if body.len() + piece.len() > MAX_JSON {
                return Err(self.nonsense(nsid, format!("more than {MAX_JSON} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    async fn json(&self, nsid: &str, response: Response) -> Called {
        let body = self.body(nsid, response).await?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|_| self.nonsense(nsid, "what is not JSON"))
    }
}

#[async_trait]
impl Xrpc for HttpServer {
    fn address(&self) -> &str {
        &self.shown
    }

    async fn query(&self, nsid: &str, params: &[(&str, &str)], token: Option<&str>) -> Called {
        let response = self.call(nsid, params, Input::Query, token).await?;
        self.json(nsid, response).await
    }

    async fn procedure(&self, nsid: &str, input: Option<&Value>, token: Option<&str>) -> Called {
        let input = input.map_or(Input::Nothing, Input::Json);
        let response = self.call(nsid, &[], input, token).await?;
        self.json(nsid, response).await
    }

    async fn download(
        &self,
        nsid: &str,
        params: &[(&str, &str)],
        token: &str,
        to: &Path,
    ) -> Called<String> {
        let token = Some(token);
        let mut response = self.call(nsid, params, Input::Query, token).await?;
        let mime = response.headers().get(CONTENT_TYPE);
        let mime = mime.and_then(|m| m.to_str().ok()).map(str::to_owned);
        let mut file = File::create(to).await.map_err(|e| file_error(to, e))?;
        let mut bytes = 0_u64;
        while let Some(piece) = response.chunk().await.map_err(|e| self.unreachable(e))? {
            bytes += piece.len() as u64;
            if bytes > MAX_FILE {
                return Err(self.nonsense(nsid, format!("more than {MAX_FILE} bytes")));
            }
            let written = file.write_all(&piece).await;
            written.map_err(|e| file_error(to, e))?;
        }
        file.flush().await.map_err(|e| file_error(to, e))?;
        Ok(mime.unwrap_or_else(|| "application/octet-stream".to_owned()))
    }

    async fn upload(&self, nsid: &str, mime: &str, from: &Path, token: &str) -> Called {
        let input = Input::File(mime, from);
        let response = self.call(nsid, &[], input, Some(token)).await?;
        self.json(nsid, response).await
    }
}

/// What a server tells, as it can be shown.
fn told(text: &str) -> String {
    let short: String = text.chars().take(MAX_TOLD).collect();
    printable(&short)
}

fn file_error(path: &Path, why: std::io::Error) -> CallError {
    CallError::File {
        path: path.display().to_string(),
        why,
    }
}

/// How long a server asks to wait.
fn wait_of(headers: &HeaderMap) -> Duration {
    let number = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        value.parse::<u64>().ok()
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |time| time.as_secs());
    let seconds = number(RETRY_AFTER.as_str())
        .or_else(|| number("ratelimit-reset").map(|reset| reset.saturating_sub(now)));
    let wait = seconds.map_or(USUAL_WAIT, Duration::from_secs);
    wait.clamp(Duration::from_secs(1), MAX_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let good = |text: &str| server_url(text).unwrap().to_string();
        assert_eq!(good("pds.example.com"), "https://pds.example.com/");
        assert_eq!(good("https://pds.example.com/"), "https://pds.example.com/");
        assert_eq!(good("http://localhost:2583"), "http://localhost:2583/");
        for bad in [
            "http://pds.example.com",
            "ftp://pds.example.com",
            "https://pds.example.com/xrpc",
            "https://me@pds.example.com",
            "",
        ] {
            assert!(server_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn waits_are_bounded() {
        let mut headers = HeaderMap::new();
        assert_eq!(wait_of(&headers), USUAL_WAIT);
        headers.insert("ratelimit-reset", "99999999999".parse().unwrap());
        assert_eq!(wait_of(&headers), MAX_WAIT);
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(wait_of(&headers), Duration::from_secs(7));
    }
}
