//! A reader of the event stream that looks for marks in frames and decodes nothing.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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

/// A subscription whose bytes are read and thrown away, which costs the reader next to nothing.
pub struct Drain(TcpStream);

impl Drain {
    /// Subscribes from now.
    pub async fn open(port: u16) -> Result<Self> {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!(
            "GET /xrpc/com.atproto.sync.subscribeRepos HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await?;
        let mut answer = vec![0; 4096];
        let read = socket.read(&mut answer).await?;
        let answer = String::from_utf8_lossy(answer.get(..read).unwrap_or_default());
        if !answer.starts_with("HTTP/1.1 101") {
            bail!("expected a WebSocket, found {answer}");
        }
        Ok(Self(socket))
    }

    /// Reads for as long as there is something.
    pub async fn run(mut self) -> Result<()> {
        let mut buffer = vec![0; 16 << 10];
        while self.0.read(&mut buffer).await? > 0 {}
        bail!("the stream ended")
    }
}
