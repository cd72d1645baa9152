//! The AT Protocol server of an account that is mirrored, as strangers may ask it.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use serde_json::Value;
use tokio_util::io::StreamReader;
use ues_data::car::{AsyncCarReader, CarLimits};
use ues_data::{Cid, parse_cid};
use ues_repo::identity::resolver::{http_client_builder, is_public_url, public_only};
use ues_repo::syntax::{Did, Tid};

use crate::client::query_string;
use crate::output::printable;

/// Longest time for a connection, and between two pieces of an answer.
const CONNECT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(60);
/// Largest JSON answer, in bytes.
const MAX_JSON: usize = 64 << 10;
/// Largest block: a tree node.
const MAX_BLOCK: usize = 2 << 20;
/// Longest explanation that is kept, in characters.
const MAX_TOLD: usize = 300;

/// Why a server gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServerError {
    /// It cannot be reached, or broke off.
    #[error("{server} cannot be reached: {why}")]
    Unreachable { server: String, why: String },
    /// It does not serve the repository, and says why.
    #[error("{server} does not serve it: {message}")]
    Refused {
        server: String,
        name: String,
        message: String,
    },
    /// What it answers makes no sense.
    #[error("{server} answered what cannot be used: {why}")]
    Nonsense { server: String, why: String },
    /// What came could not be kept.
    #[error(transparent)]
    Taking(#[from] ues_repo::repo::mirror::MirrorError),
}

/// The clients by which servers are asked. Cheap to clone.
#[derive(Clone)]
pub(super) struct Servers {
    client: Result<Client, String>,
    /// For a connection that becomes a WebSocket.
    http1: Result<Client, String>,
    private: bool,
}

/// One server.
#[derive(Clone)]
pub(super) struct Server {
    client: Client,
    http1: Client,
    base: String,
}

impl Servers {
    /// `private`: whether addresses in DID documents may be private ones, without https.
    pub fn new(private: bool) -> Self {
        let build = |http1: bool| {
            let builder = http_client_builder();
            let builder = match private {
                true => builder.no_proxy(),
                false => public_only(builder),
            };
            let builder = match http1 {
                true => builder.http1_only(),
                false => builder.read_timeout(PAUSE),
            };
            let builder = builder
                .redirect(Policy::none())
                .connect_timeout(CONNECT)
                .user_agent(concat!("ues/", env!("CARGO_PKG_VERSION")));
            builder.build().map_err(|e| e.to_string())
        };
        Self {
            client: build(false),
            http1: build(true),
            private,
        }
    }

    /// The server at an address.
    pub fn at(&self, address: &str) -> Result<Server, ServerError> {
        let nonsense = |why: &str| ServerError::Nonsense {
            server: address.to_owned(),
            why: why.to_owned(),
        };
        let url: Url = address.parse().map_err(|_| nonsense("it is no address"))?;
        if !matches!(url.scheme(), "http" | "https") || !(self.private || is_public_url(&url)) {
            return Err(nonsense("it is no public address"));
        }
        let client = |of: &Result<Client, String>| of.clone().map_err(|why| nonsense(&why));
        Ok(Server {
            client: client(&self.client)?,
            http1: client(&self.http1)?,
            base: address.trim_end_matches('/').to_owned(),
        })
    }
}

impl Server {
    /// Its address.
    pub fn address(&self) -> &str {
        &self.base
    }

    /// The newest commit that it has.
    pub async fn latest(&self, did: &Did) -> Result<(Cid, Tid), ServerError> {
        let answer = self
            .call("com.atproto.sync.getLatestCommit", &[("did", did.as_str())])
            .await?;
        let answer = self.json(answer).await?;
        let text = |name: &str| answer[name].as_str().unwrap_or_default();
        let cid = parse_cid(text("cid")).map_err(|e| self.nonsense(e))?;
        let rev = Tid::parse(text("rev")).map_err(|e| self.nonsense(e))?;
        Ok((cid, rev))
    }

    /// Blocks of the repository, each under its own hash.
    pub async fn blocks(&self, did: &Did, cids: &[Cid]) -> Result<Vec<(Cid, Bytes)>, ServerError> {
        let texts: Vec<String> = cids.iter().map(Cid::to_string).collect();
        let mut params = vec![("did", did.as_str())];
        params.extend(texts.iter().map(|cid| ("cids", cid.as_str())));
        let answer = self.call("com.atproto.sync.getBlocks", &params).await?;
        let limits = CarLimits {
            max_block_bytes: MAX_BLOCK,
            max_blocks: cids.len() as u64,
            ..CarLimits::default()
        };
        let mut out = Vec::with_capacity(cids.len());
        self.read_car(answer, limits, |cid, bytes| {
            out.push((cid, bytes));
            Ok(())
        })
        .await?;
        Ok(out)
    }

    /// The repository, or what is new in it since a revision; each block, checked against its hash, is handed to `take`.
    pub async fn repo(
        &self,
        did: &Did,
        since: Option<&Tid>,
        take: impl FnMut(Cid, Bytes) -> Result<(), ServerError>,
    ) -> Result<(), ServerError> {
        let mut params = vec![("did", did.as_str())];
        params.extend(since.map(|since| ("since", since.as_str())));
        let answer = self.call("com.atproto.sync.getRepo", &params).await?;
        let limits = CarLimits {
            max_block_bytes: MAX_BLOCK,
            ..CarLimits::default()
        };
        self.read_car(answer, limits, take).await
    }

    /// A blob: its media type, and its content as it comes.
    pub async fn blob(&self, did: &Did, cid: &Cid) -> Result<Response, ServerError> {
        let cid = cid.to_string();
        let params = [("did", did.as_str()), ("cid", cid.as_str())];
        self.call("com.atproto.sync.getBlob", &params).await
    }

    /// The connection of a WebSocket with the event stream, from now on.
    pub async fn events(&self) -> Result<reqwest::Upgraded, ServerError> {
        let key: [u8; 16] = rand_key();
        let request = self
            .http1
            .get(format!(
                "{}/xrpc/com.atproto.sync.subscribeRepos",
                self.base
            ))
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", data_encoding::BASE64.encode(&key));
        let sent = tokio::time::timeout(PAUSE, request.send()).await;
        let answer = sent
            .map_err(|_| self.unreachable("it does not answer"))?
            .map_err(|e| self.unreachable(e.without_url()))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.nonsense(format!("status {} for an event stream", answer.status())));
        }
        answer
            .upgrade()
            .await
            .map_err(|e| self.unreachable(e.without_url()))
    }

    async fn call(&self, nsid: &str, params: &[(&str, &str)]) -> Result<Response, ServerError> {
        let url = format!("{}/xrpc/{nsid}{}", self.base, query_string(params));
        let answer = self.client.get(url).send().await;
        let answer = answer.map_err(|e| self.unreachable(e.without_url()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(self.unreachable(format!("it answers {status}")));
        }
        let told = self.json(answer).await.unwrap_or_default();
        let text = |name: &str| {
            let text = told[name].as_str().unwrap_or_default();
            printable(&text.chars().take(MAX_TOLD).collect::<String>())
        };
        Err(ServerError::Refused {
            server: self.base.clone(),
            name: text("error"),
            message: match text("message") {
                message if message.is_empty() => status.to_string(),
                message => message,
            },
        })
    }

    async fn json(&self, mut answer: Response) -> Result<Value, ServerError> {
        let mut body = Vec::new();
        let failed = |e: reqwest::Error| self.unreachable(e.without_url());
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > MAX_JSON {
                return Err(self.nonsense(format!("more than {MAX_JSON} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        serde_json::from_slice(&body).map_err(|e| self.nonsense(e))
    }

    async fn read_car(
        &self,
        answer: Response,
        limits: CarLimits,
        mut take: impl FnMut(Cid, Bytes) -> Result<(), ServerError>,
    ) -> Result<(), ServerError> {
        let body = answer.bytes_stream().map_err(std::io::Error::other);
        let reader = AsyncCarReader::new(StreamReader::new(body), limits).await;
        let mut reader = reader.map_err(|e| self.bad_car(e))?;
        while let Some((cid, bytes)) = reader.next().await.map_err(|e| self.bad_car(e))? {
            take(cid, bytes)?;
        }
        Ok(())
    }

    fn bad_car(&self, error: ues_data::car::CarError) -> ServerError {
        match error {
            ues_data::car::CarError::Io(why) => self.unreachable(why),
            other => self.nonsense(other),
        }
    }

    pub fn unreachable(&self, why: impl std::fmt::Display) -> ServerError {
        ServerError::Unreachable {
            server: self.base.clone(),
            why: why.to_string(),
        }
    }

    pub fn nonsense(&self, why: impl std::fmt::Display) -> ServerError {
        ServerError::Nonsense {
            server: self.base.clone(),
            why: why.to_string(),
        }
    }
}

/// A WebSocket's key only has to differ from others; it is no secret.
fn rand_key() -> [u8; 16] {
    let mut key = [0; 16];
    let _ = getrandom::fill(&mut key);
    key
}
