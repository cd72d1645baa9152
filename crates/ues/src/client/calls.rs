//! The kinds of call: queries, procedures, uploads, downloads, and the operator's own.

use axum::body::{Body, Bytes};
use futures::{Stream, StreamExt};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};
use ues_atproto::admin::{COMMAND_LINE, PLACE_HEADER};

use super::{Client, error};
use crate::failure::{Failure, Outcome};

/// Largest JSON answer that is read.
const MAX_JSON_BYTES: usize = 64 << 20;

/// An answer's body, piece by piece.
pub struct Download {
    /// Its length, where the node says so.
    pub length: Option<u64>,
    /// Its media type.
    pub mime: String,
    body: Body,
}

impl Download {
    /// The next piece, `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks off.
    pub async fn next(&mut self) -> Outcome<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(Failure::while_doing("read the node's answer"))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// `?a=1&b=2` with escapes; empty without parameters.
pub fn query_string(params: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in params {
        out.push(if out.is_empty() { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' => {
                    out.push(char::from(byte));
                }
                _ => out.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    out
}

impl Client {
    /// Calls a query, as nobody or with an access token.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn query(
        &self,
        nsid: &str,
        params: &[(&str, &str)],
        token: Option<&str>,
    ) -> Outcome<Value> {
        let path = format!("/xrpc/{nsid}{}", query_string(params));
        self.json(request(Method::GET, &path, token, Body::empty())?)
            .await
    }

    /// Calls a procedure with a JSON body.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn procedure(
        &self,
        nsid: &str,
        input: &Value,
        token: Option<&str>,
    ) -> Outcome<Value> {
        let mut request = request(
            Method::POST,
            &format!("/xrpc/{nsid}"),
            token,
            Body::from(input.to_string()),
        )?;
        request.headers_mut().insert(
            CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        self.json(request).await
    }

    /// Calls a procedure whose input is bytes of a media type, `length` of them.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn upload<S>(
        &self,
        nsid: &str,
        mime: &str,
        length: u64,
        body: S,
        token: &str,
    ) -> Outcome<Value>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let mut request = request(
            Method::POST,
            &format!("/xrpc/{nsid}"),
            Some(token),
            Body::from_stream(body),
        )?;
        let mime = mime
            .parse()
            .map_err(|_| Failure::usage(format!("{mime:?} is not a media type")))?;
        request.headers_mut().insert(CONTENT_TYPE, mime);
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
        self.json(request).await
    }

    /// Calls a query whose answer is bytes.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn download(
        &self,
        nsid: &str,
        params: &[(&str, &str)],
        token: Option<&str>,
    ) -> Outcome<Download> {
        let path = format!("/xrpc/{nsid}{}", query_string(params));
        self.fetch(request(Method::GET, &path, token, Body::empty())?)
            .await
    }

    /// Reads bytes from the operator's own routes: `/admin/v1/…`.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn admin_download(&self, path: &str, params: &[(&str, &str)]) -> Outcome<Download> {
        let path = format!("/admin/v1/{path}{}", query_string(params));
        let secret = Some(self.secret.as_str());
        self.fetch(request(Method::GET, &path, secret, Body::empty())?)
            .await
    }

    async fn fetch(&self, request: Request<Body>) -> Outcome<Download> {
        let response = self.good(request).await?;
        let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
        Ok(Download {
            length: header(CONTENT_LENGTH).and_then(|n| n.parse().ok()),
            mime: header(CONTENT_TYPE).unwrap_or_default().to_owned(),
            body: response.into_body(),
        })
    }

    /// Reads JSON from any path.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn get(&self, path: &str) -> Outcome<Value> {
        self.json(request(Method::GET, path, None, Body::empty())?)
            .await
    }

    /// Reads from the operator's own routes: `/admin/v1/…`.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn admin_get(&self, path: &str, params: &[(&str, &str)]) -> Outcome<Value> {
        let path = format!("/admin/v1/{path}{}", query_string(params));
        self.json(request(
            Method::GET,
            &path,
            Some(&self.secret),
            Body::empty(),
        )?)
        .await
    }

    /// Calls a query of `com.atproto.admin` by the operator's right.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn query_as_admin(&self, nsid: &str, params: &[(&str, &str)]) -> Outcome<Value> {
        let path = format!("/xrpc/{nsid}{}", query_string(params));
        let mut request = request(Method::GET, &path, None, Body::empty())?;
        self.let_in(&mut request)?;
        self.json(request).await
    }

    /// Calls a procedure of `com.atproto.admin` by the operator's right.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn procedure_as_admin(&self, nsid: &str, input: &Value) -> Outcome<Value> {
        let path = format!("/xrpc/{nsid}");
        let mut request = request(Method::POST, &path, None, Body::from(input.to_string()))?;
        let json = http::HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        let place = http::HeaderValue::from_static(COMMAND_LINE);
        request.headers_mut().insert(PLACE_HEADER, place);
        self.let_in(&mut request)?;
        self.json(request).await
    }

    fn let_in(&self, request: &mut Request<Body>) -> Outcome {
        let name = data_encoding::BASE64.encode(format!("admin:{}", self.secret).as_bytes());
        let value = format!("Basic {name}")
            .parse()
            .map_err(Failure::while_doing("prove that this is the operator"))?;
        request.headers_mut().insert(AUTHORIZATION, value);
        Ok(())
    }

    /// Writes by the operator's own routes.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn admin_post(&self, path: &str, input: &Value) -> Outcome<Value> {
        self.json(self.admin_request(path, input)?).await
    }

    /// Sends bytes to one of the operator's own routes.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn admin_upload<S>(
        &self,
        path: &str,
        params: &[(&str, &str)],
        body: S,
    ) -> Outcome<Value>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let path = format!("/admin/v1/{path}{}", query_string(params));
        let body = Body::from_stream(body);
        let mut request = request(Method::POST, &path, Some(&self.secret), body)?;
        let mime = http::HeaderValue::from_static("application/octet-stream");
        request.headers_mut().insert(CONTENT_TYPE, mime);
        self.json(request).await
    }

    /// Starts long work by one of the operator's own routes; it answers line by line, each line JSON, the last
    /// one with the result. Every other line goes to `each`.
    ///
    /// # Errors
    /// What the node answers, in the first place or in a line `{"error": …}`.
    pub async fn admin_work(
        &self,
        path: &str,
        input: &Value,
        mut each: impl FnMut(&Value),
    ) -> Outcome<Value> {
        let response = self.good(self.admin_request(path, input)?).await?;
        let mut pieces = response.into_body().into_data_stream();
        let (mut line, mut last) = (Vec::new(), None);
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(Failure::while_doing("read the node's answer"))?;
            for byte in piece {
                if byte != b'\n' {
                    line.push(byte);
                    continue;
                }
                let value: Value = serde_json::from_slice(&line)
                    .map_err(Failure::while_doing("read the node's answer"))?;
                line.clear();
                if let Some(message) = value["error"].as_str() {
                    return Err(Failure::failed(message));
                }
                if let Some(before) = last.replace(value) {
                    each(&before);
                }
            }
        }
        last.ok_or_else(|| Failure::failed("the node stopped before the work was done"))
    }

    /// An access token for an account, by the operator's right; `purpose` goes into the audit.
    ///
    /// # Errors
    /// [`crate::failure::Exit::NotFound`] when there is no such account.
    pub async fn session(&self, account: &str, purpose: &str) -> Outcome<Session> {
        let input = json!({ "account": account, "for": purpose });
        let answer = self.admin_post("session", &input).await?;
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        Ok(Session {
            did: text("did"),
            handle: text("handle"),
            token: text("accessJwt"),
        })
    }

    fn admin_request(&self, path: &str, input: &Value) -> Outcome<Request<Body>> {
        let body = Body::from(input.to_string());
        let mut request = request(
            Method::POST,
            &format!("/admin/v1/{path}"),
            Some(&self.secret),
            body,
        )?;
        request.headers_mut().insert(
            CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        Ok(request)
    }

    pub(super) async fn json(&self, request: Request<Body>) -> Outcome<Value> {
        let response = self.good(request).await?;
        let body = collect(response).await?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(Failure::while_doing("read the node's answer"))
    }

    pub(super) async fn good(&self, request: Request<Body>) -> Outcome<Response<Body>> {
        let response = self.transport.send(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(error::from_answer(status, &collect(response).await?))
    }
}

/// An account to act as.
pub struct Session {
    /// Its DID.
    pub did: String,
    /// Its handle.
    pub handle: String,
    /// Access token.
    pub token: String,
}

pub(super) fn request(
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Body,
) -> Outcome<Request<Body>> {
    let mut builder = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        builder = builder.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    builder
        .body(body)
        .map_err(Failure::while_doing(format!("call {path}")))
}

async fn collect(response: Response<Body>) -> Outcome<Bytes> {
    match Limited::new(response.into_body(), MAX_JSON_BYTES)
        .collect()
        .await
    {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(Failure::failed(format!(
            "cannot read the node's answer: {error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::query_string;

    #[test]
    fn parameters_are_escaped() {
        assert_eq!(query_string(&[]), "");
        assert_eq!(
            query_string(&[("repo", "did:plc:abc"), ("q", "a b&c=ü")]),
            "?repo=did:plc:abc&q=a%20b%26c%3D%C3%BC"
        );
    }
}
