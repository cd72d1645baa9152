//! Calls of the pin service.

use axum::body::{Body, Bytes};
use futures::{Stream, StreamExt};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use serde_json::Value;

use super::Client;
use super::calls::{query_string, request};
use crate::failure::{Failure, Outcome};

/// Longest line of a stream of answers, in bytes.
const MAX_LINE: usize = 1 << 20;

/// Answers that come line by line.
pub struct Lines {
    body: axum::body::BodyDataStream,
    rest: Vec<u8>,
}

impl Lines {
    /// The next answer; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks off, or a line is no JSON.
    pub async fn next(&mut self) -> Outcome<Option<Value>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                let value = serde_json::from_slice(&line)
                    .map_err(Failure::while_doing("read the node's answer"))?;
                return Ok(Some(value));
            }
            if self.rest.len() > MAX_LINE {
                return Err(Failure::failed("the node's answer has an endless line"));
            }
            match self.body.next().await {
                None => return Ok(None),
                Some(Ok(piece)) => self.rest.extend_from_slice(&piece),
                Some(Err(error)) => {
                    return Err(Failure::failed(format!(
                        "cannot read the node's answer: {error}"
                    )));
                }
            }
        }
    }
}

impl Client {
    /// Reads from the pin service as the operator.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn pins_get(&self, path: &str, params: &[(&str, &str)]) -> Outcome<Value> {
        let path = format!("{path}{}", query_string(params));
        self.json(request(
            Method::GET,
            &path,
            Some(self.secret()),
            Body::empty(),
        )?)
        .await
    }

    /// Changes something in the pin service as the operator.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn pins_send(
        &self,
        method: Method,
        path: &str,
        input: Option<&Value>,
    ) -> Outcome<Value> {
        let body = input.map_or_else(Body::empty, |input| Body::from(input.to_string()));
        let mut request = request(method, path, Some(self.secret()), body)?;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        self.json(request).await
    }

    /// Sends content to the pin service as the operator.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn pins_upload<S>(
        &self,
        path: &str,
        mime: &'static str,
        params: &[(&str, &str)],
        body: S,
    ) -> Outcome<Value>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let path = format!("{path}{}", query_string(params));
        let body = Body::from_stream(body);
        let mut request = request(Method::POST, &path, Some(self.secret()), body)?;
        let mime = HeaderValue::from_static(mime);
        request.headers_mut().insert(CONTENT_TYPE, mime);
        self.json(request).await
    }

    /// Sends lines to one of the operator's own routes.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn admin_lines(
        &self,
        path: &str,
        params: &[(&str, &str)],
        lines: Vec<u8>,
    ) -> Outcome<Value> {
        let path = format!("/admin/v1/{path}{}", query_string(params));
        let mut request = request(Method::POST, &path, Some(self.secret()), Body::from(lines))?;
        let mime = HeaderValue::from_static("application/x-ndjson");
        request.headers_mut().insert(CONTENT_TYPE, mime);
        self.json(request).await
    }

    /// Sends lines to the pin service as the operator; the answers come line by line.
    ///
    /// # Errors
    /// What the node answers.
    pub async fn pins_lines(&self, method: Method, path: &str, body: Body) -> Outcome<Lines> {
        let request = request(method, path, Some(self.secret()), body)?;
        let response = self.good(request).await?;
        Ok(Lines {
            body: response.into_body().into_data_stream(),
            rest: Vec::new(),
        })
    }
}
