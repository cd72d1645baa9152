//! A frugal HTTP/1.1 client: one keep-alive connection per worker, so that the load generator leaves the
//! cores to the server.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// One connection to a server, with the headers that each of its requests carries.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
}

/// An account on a server under load.
#[derive(Clone)]
pub struct Account {
    /// Its DID.
    pub did: Arc<str>,
    authorization: HeaderValue,
}

impl Connection {
    /// Opens a connection to a port of this machine.
    pub async fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))
            .await
            .context("connect")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self {
            sender,
            host: HeaderValue::from_str(&format!("127.0.0.1:{port}"))?,
            authorization: None,
        })
    }

    /// Opens a connection that speaks for an account.
    pub async fn open_as(port: u16, account: &Account) -> Result<Self> {
        let mut connection = Self::open(port).await?;
        connection.authorization = Some(account.authorization.clone());
        Ok(connection)
    }

    /// Sends one request and reads its answer to the end.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        content_type: Option<&'static str>,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes)> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host);
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some(value) = content_type {
            request = request.header(header::CONTENT_TYPE, HeaderValue::from_static(value));
        }
        self.sender.ready().await?;
        let answer = self
            .sender
            .send_request(request.body(Full::new(body))?)
            .await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }

    /// A query that must succeed.
    pub async fn get(&mut self, path: &str) -> Result<Bytes> {
        let (status, body) = self.send(Method::GET, path, None, Bytes::new()).await?;
        ensure!(
            status == StatusCode::OK,
            "GET {path}: {status} {}",
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }

    /// A procedure with a JSON body that must succeed.
    pub async fn post(&mut self, nsid: &str, body: impl Into<Bytes>) -> Result<Bytes> {
        self.post_as(nsid, "application/json", body.into()).await
    }

    /// A procedure with a body of any type that must succeed.
    pub async fn post_as(
        &mut self,
        nsid: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<Bytes> {
        let path = format!("/xrpc/{nsid}");
        let (status, answer) = self
            .send(Method::POST, &path, Some(content_type), body)
            .await?;
        ensure!(
            status == StatusCode::OK,
            "POST {nsid}: {status} {}",
            String::from_utf8_lossy(&answer)
        );
        Ok(answer)
    }
}

/// Makes an account; its handle is `name` under `.test`.
pub async fn create_account(port: u16, name: &str) -> Result<Account> {
    let body = serde_json::json!({
        "handle": format!("{name}.test"),
        "email": format!("{name}@example.com"),
        "password": "correct horse battery",
    });
    let answer = Connection::open(port)
        .await?
        .post("com.atproto.server.createAccount", body.to_string())
        .await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    let field = |name: &str| {
        answer[name]
            .as_str()
            .with_context(|| format!("no {name} in the answer"))
    };
    Ok(Account {
        did: field("did")?.into(),
        authorization: HeaderValue::from_str(&format!("Bearer {}", field("accessJwt")?))?,
    })
}

/// Makes `n` accounts, a few at a time: hashing passwords is slow on purpose.
pub async fn create_accounts(port: u16, prefix: &str, n: usize) -> Result<Vec<Account>> {
    use futures::{StreamExt, TryStreamExt};
    futures::stream::iter(0..n)
        .map(|i| async move { create_account(port, &format!("{prefix}{i}")).await })
        .buffered(4)
        .try_collect()
        .await
}
