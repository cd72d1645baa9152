//! A reader of the event stream that looks for marks in frames and decodes nothing.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::StreamExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A subscription to `subscribeRepos`.
pub struct Firehose(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Firehose {
    /// Subscribes, from a cursor or from now.
    pub async fn open(port: u16, cursor: Option<u64>) -> Result<Self> {
        let query = cursor.map_or_else(String::new, |c| format!("?cursor={c}"));
        let url = format!("ws://127.0.0.1:{port}/xrpc/com.atproto.sync.subscribeRepos{query}");
        let (socket, _) = connect_async(url).await.context("subscribe")?;
        Ok(Self(socket))
    }

    /// The next frame.
    pub async fn next(&mut self) -> Result<Bytes> {
        while let Some(message) = self.0.next().await {
            if let Message::Binary(frame) = message? {
                return Ok(frame);
            }
        }
        bail!("the stream ended")
    }
}
