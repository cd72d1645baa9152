//! Messages on streams.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use libp2p::{PeerId, Stream, StreamProtocol};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use super::message::{MAX_ITEMS, MAX_MESSAGE, Message, MessageError, Presence, Want};
use super::{BitswapLimits, PROTOCOL, PROTOCOL_1_1};
use crate::network::Network;

/// Why nothing more is read from a stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The stream broke, or was silent too long.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
    /// Its bytes are no message.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// Room for messages that are being read, in units of 1 KiB.
#[derive(Debug, Clone)]
pub(super) struct Room(pub(super) [Arc<Semaphore>; 2]);

impl Room {
    pub(super) fn semaphore(bytes: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(bytes.max(MAX_MESSAGE) / 1024 + 1))
    }
}

/// The next message; none when the other side has closed the stream.
pub(super) async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    room: &Room,
    limits: &BitswapLimits,
) -> Result<Option<Message>, ReadError> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let length = read_length(stream);
    // longer than a writer waits, so that no message goes into a stream that ends at the same moment
    let Some(length) = timeout(2 * limits.idle, length).await.map_err(late)?? else {
        return Ok(None);
    };
    let kibibytes = u32::try_from(length / 1024 + 1).unwrap_or(u32::MAX);
    let [all, peers] = &room.0;
    let closed = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    let _peers = peers.acquire_many(kibibytes).await.map_err(closed)?;
    let _all = all.acquire_many(kibibytes).await.map_err(closed)?;
    let mut bytes = Vec::new();
    // grows with what comes, not with what was promised
    let mut body = stream.take(length as u64);
    let read = body.read_to_end(&mut bytes);
    timeout(limits.message_time, read).await.map_err(late)??;
    if bytes.len() < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Some(Message::decode(Bytes::from(bytes))?))
}

async fn read_length(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<usize>, ReadError> {
    let mut length = 0_usize;
    for shift in [0, 7, 14, 21] {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return match shift {
                0 => Ok(None),
                _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            };
        }
        let [byte] = byte;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            if length > MAX_MESSAGE {
                return Err(MessageError::TooLong(length).into());
            }
            return Ok(Some(length));
        }
    }
    Err(MessageError::TooLong(usize::MAX).into())
}

/// A stream to a peer that is opened when there is something to say.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    stream: Option<(Stream, StreamProtocol)>,
}

impl Outlet {
    /// Sends a message, on a new stream if the old one broke.
    pub(super) async fn send(
        &mut self,
        network: &Network,
        peer: PeerId,
        message: &Message,
        longest: Duration,
    ) -> Result<(), SendError> {
        let reused = self.stream.is_some();
        match timeout(longest, self.try_send(network, peer, message)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(_)) if reused => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                self.stream = None;
                return Err(SendError::Io(io::ErrorKind::TimedOut.into()));
            }
        }
        timeout(longest, self.try_send(network, peer, message))
            .await
            .map_err(|_| SendError::Io(io::ErrorKind::TimedOut.into()))?
    }

    async fn try_send(
        &mut self,
        network: &Network,
        peer: PeerId,
        message: &Message,
    ) -> Result<(), SendError> {
        // A stream that is not put back is dropped, which resets it.
        let (mut stream, protocol) = match self.stream.take() {
            Some(open) => open,
            None => {
                let protocols = vec![PROTOCOL, PROTOCOL_1_1];
                network.open_stream_any(peer, protocols).await?
            }
        };
        let bytes = if protocol == PROTOCOL {
            message.encode()
        } else {
            let message = message.clone().without_presences();
            if message.is_empty() {
                Vec::new()
            } else {
                message.encode()
            }
        };
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        self.stream = Some((stream, protocol));
        Ok(())
    }
}

/// A message was not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// No stream.
    #[error(transparent)]
    Open(#[from] crate::error::OpenStreamError),
    /// It broke.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
}

/// What is to be said to a peer, gathered while its stream is busy.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    content: Mutex<Content>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Content {
    message: Message,
    closed: bool,
}

/// What came of putting something into a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    Done,
    /// The peer does not read what is there already.
    Full,
    /// Nobody empties it any more.
    Closed,
}

impl Mailbox {
    pub(super) fn put(&self, wants: &[Want], presences: &[Presence]) -> Put {
        let mut content = self.content.lock();
        if content.closed {
            return Put::Closed;
        }
        let message = &mut content.message;
        if message.wants.len() + wants.len() > MAX_ITEMS
            || message.presences.len() + presences.len() > MAX_ITEMS
        {
            return Put::Full;
        }
        message.wants.extend_from_slice(wants);
        message.presences.extend_from_slice(presences);
        self.filled.notify_one();
        Put::Done
    }

    fn take(&self) -> Option<Message> {
        let message = std::mem::take(&mut self.content.lock().message);
        (!message.is_empty()).then_some(message)
    }

    /// Closes it; false if something is in it.
    fn close_if_empty(&self) -> bool {
        let mut content = self.content.lock();
        content.closed = content.message.is_empty();
        content.closed
    }

    pub(super) fn is_closed(&self) -> bool {
        self.content.lock().closed
    }
}

/// Sends what is in a peer's mailbox, until nothing comes for a while or it cannot be sent.
pub(super) async fn send_all(
    network: Network,
    peer: PeerId,
    mailbox: Arc<Mailbox>,
    limits: BitswapLimits,
) -> Result<(), SendError> {
    let mut outlet = Outlet::default();
    loop {
        if let Some(message) = mailbox.take() {
            let longest = limits.message_time;
            let sent = outlet.send(&network, peer, &message, longest).await;
            if sent.is_err() {
                mailbox.content.lock().closed = true;
                return sent;
            }
        } else if timeout(limits.idle, mailbox.filled.notified())
            .await
            .is_err()
            && mailbox.close_if_empty()
        {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    async fn read(bytes: &[u8]) -> Result<Option<Message>, ReadError> {
        let room = Room([Room::semaphore(0), Room::semaphore(0)]);
        let mut stream = Cursor::new(bytes);
        read_message(&mut stream, &room, &BitswapLimits::default()).await
    }

    #[test]
    fn a_mailbox_gathers_and_has_an_end() {
        let mailbox = Mailbox::default();
        let want = Want::cancel(ues_data::raw_cid(b"x"));
        assert_eq!(mailbox.put(std::slice::from_ref(&want), &[]), Put::Done);
        let many = vec![want; MAX_ITEMS];
        assert_eq!(mailbox.put(&many, &[]), Put::Full);
        assert_eq!(mailbox.put(&many[1..], &[]), Put::Done);
        assert!(!mailbox.close_if_empty());
        assert_eq!(mailbox.take().unwrap().wants, many);
        assert_eq!(mailbox.take(), None);
        assert!(mailbox.close_if_empty());
        assert_eq!(mailbox.put(&many[1..], &[]), Put::Closed);
    }

    #[tokio::test]
    async fn messages_are_read_up_to_their_limit() {
        let message = Message {
            full: true,
            ..Message::default()
        };
        assert_eq!(read(&message.encode()).await.unwrap(), Some(message));
        assert_eq!(read(&[]).await.unwrap(), None);
        for cut in [&[0x80][..], &[5, 1]] {
            let error = read(cut).await.unwrap_err();
            assert!(matches!(error, ReadError::Io(_)), "{error}");
        }
        for long in [&[0x81, 0x80, 0x80, 0x02][..], &[0xff; 9]] {
            let error = read(long).await.unwrap_err();
            assert!(
                matches!(error, ReadError::Message(MessageError::TooLong(_))),
                "{error}"
            );
        }
    }
}
