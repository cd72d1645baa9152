//! A frugal HTTP/1.1 client: one keep-alive connection per worker.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// One connection to a server on this machine.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    key: Option<HeaderValue>,
}

impl Connection {
    /// Opens a connection, with an API key if there is one.
    pub async fn open(port: u16, key: Option<&str>) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))
            .await
            .context("connect")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let key = key
            .map(|key| HeaderValue::from_str(&format!("Bearer {key}")))
            .transpose()?;
        Ok(Self {
            sender,
            host: HeaderValue::from_str(&format!("127.0.0.1:{port}"))?,
            key,
        })
    }

    /// Sends a request that must succeed; `lines` counts the lines of the answer instead of keeping it.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        kind: &'static str,
        body: Bytes,
    ) -> Result<Bytes> {
        let answer = self.begin(method, path, kind, body).await?;
        Ok(answer.into_body().collect().await?.to_bytes())
    }

    /// Sends a request that must succeed, and counts the lines of its answer.
    pub async fn lines(
        &mut self,
        method: Method,
        path: &str,
        kind: &'static str,
        body: Bytes,
    ) -> Result<usize> {
        let answer = self.begin(method, path, kind, body).await?;
        let (mut body, mut lines) = (answer.into_body(), 0);
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                lines += memchr::memchr_iter(b'\n', &data).count();
            }
        }
        Ok(lines)
    }

    async fn begin(
        &mut self,
        method: Method,
        path: &str,
        kind: &'static str,
        body: Bytes,
    ) -> Result<http::Response<hyper::body::Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, kind);
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, key);
        }
        self.sender.ready().await?;
        let answer = self
            .sender
            .send_request(request.body(Full::new(body))?)
            .await?;
        if !answer.status().is_success() {
            let status = answer.status();
            let text = answer.into_body().collect().await?.to_bytes();
            ensure!(false, "{path}: {status} {}", String::from_utf8_lossy(&text));
            unreachable!();
        }
        Ok(answer)
    }
}
