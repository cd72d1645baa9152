//! A WebSocket as a stream of bytes: what frames it is cut into means nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{Sink, Stream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::arrivals::{Arrival, Upgraded};
use super::entrance::Taken;

/// The longest message and frame. Hosts send what Noise makes of one write, 64 KiB and a little more at most.
pub(crate) const MAX_FRAME: usize = 1 << 20;
/// Memory for reading, of each connection.
const READ_BUFFER: usize = 16 << 10;

/// The binary messages of a WebSocket. Pings are answered while it is read; whoever comes with text is no host.
pub(crate) struct Frames {
    socket: WebSocketStream<Box<dyn Upgraded>>,
    _taken: Taken,
}

impl Frames {
    pub(super) async fn new(arrival: Arrival) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME));
        let socket =
            WebSocketStream::from_raw_socket(arrival.stream, Role::Server, Some(config)).await;
        Self {
            socket,
            _taken: arrival.taken,
        }
    }
}

impl Stream for Frames {
    type Item = io::Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let item = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => Some(Ok(bytes.into())),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => continue,
                Some(Ok(Message::Text(_) | Message::Frame(_))) => {
                    Some(Err(io::ErrorKind::InvalidData.into()))
                }
                Some(Err(error)) if is_end(&error) => None,
                Some(Err(error)) => Some(Err(to_io(error))),
                None => None,
            };
            return Poll::Ready(item);
        }
    }
}

impl Sink<Vec<u8>> for Frames {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_ready(cx).map_err(to_io)
    }

    fn start_send(mut self: Pin<&mut Self>, bytes: Vec<u8>) -> io::Result<()> {
        let message = Message::Binary(bytes.into());
        Pin::new(&mut self.socket)
            .start_send(message)
            .map_err(to_io)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(to_io)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(to_io)
    }
}

fn is_end(error: &Error) -> bool {
    matches!(
        error,
        Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
    )
}

fn to_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}
