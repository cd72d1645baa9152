//! The subscriber's half of the connection: what it sends, and writing with a patience.

use std::collections::VecDeque;
use std::io::{self, Cursor, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, OpCode};

/// Longest message that a subscriber may send. It has nothing to say but control messages.
const MAX_INCOMING: u64 = 4096;

/// What a subscriber sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// To be answered with the same payload.
    Ping(Bytes),
    /// It goes, or is gone, or breaks the protocol.
    Close,
}

/// Reads what a subscriber sends.
pub struct Incomings<R> {
    from: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Incomings<R> {
    /// Reads from a connection after its upgrade.
    pub fn new(from: R) -> Self {
        Self {
            from,
            buffer: BytesMut::new(),
        }
    }

    /// The next message that matters. Safe to cancel.
    pub async fn next(&mut self) -> Incoming {
        loop {
            match self.parse() {
                Ok(Some(incoming)) => return incoming,
                Ok(None) => {}
                Err(()) => return Incoming::Close,
            }
            match self.from.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Incoming::Close,
                Ok(_) => {}
            }
        }
    }

    /// Takes messages out of the buffer until one matters.
    fn parse(&mut self) -> Result<Option<Incoming>, ()> {
        loop {
            let mut cursor = Cursor::new(&self.buffer[..]);
            let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|_| ())? else {
                return Ok(None);
            };
            // A client must mask what it sends (RFC 6455, 5.1).
            let Some(mask) = header.mask else {
                return Err(());
            };
            if length > MAX_INCOMING {
                return Err(());
            }
            let start = cursor.position() as usize;
            if self.buffer.len() < start + length as usize {
                return Ok(None);
            }
            self.buffer.advance(start);
            let mut payload = self.buffer.split_to(length as usize);
            for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
                *byte ^= key;
            }
            match header.opcode {
                OpCode::Control(Control::Ping) => {
                    return Ok(Some(Incoming::Ping(payload.freeze())));
                }
                OpCode::Control(Control::Close) => return Ok(Some(Incoming::Close)),
                _ => {}
            }
        }
    }
}

/// Messages on their way to the socket, written with few system calls.
#[derive(Default)]
pub struct Outgoing(pub VecDeque<Bytes>);

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map_or(&[], |b| &b[..])
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.0.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.0.pop_front();
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        slices
            .iter_mut()
            .zip(&self.0)
            .map(|(slot, bytes)| *slot = IoSlice::new(bytes))
            .count()
    }
}

/// Writes all of `out`. Whenever nothing was accepted for `step`, `go_on` is asked with the number
/// of steps since the last progress.
pub async fn write_all<W: AsyncWrite + Unpin>(
    to: &mut W,
    out: &mut Outgoing,
    step: Duration,
    mut go_on: impl FnMut(u32) -> bool,
) -> io::Result<()> {
    let mut waited = 0;
    while !out.0.is_empty() {
        if out.chunk().is_empty() {
            out.0.pop_front();
            continue;
        }
        match tokio::time::timeout(step, to.write_buf(out)).await {
            Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(Ok(_)) => waited = 0,
            Ok(Err(e)) => return Err(e),
            Err(_) => {
                waited += 1;
                if !go_on(waited) {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
    }
    to.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut out = vec![first, 0x80 | payload.len() as u8];
        out.extend(mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        out
    }

    async fn read(bytes: &[u8]) -> Vec<Incoming> {
        let mut incomings = Incomings::new(bytes);
        let mut out = Vec::new();
        loop {
            match incomings.next().await {
                Incoming::Close => return out,
                other => out.push(other),
            }
        }
    }

    #[tokio::test]
    async fn pings_are_read_and_text_is_ignored() {
        let mut bytes = masked(0x81, b"hello");
        bytes.extend(masked(0x89, b"beat"));
        assert_eq!(
            read(&bytes).await,
            [Incoming::Ping(Bytes::from_static(b"beat"))]
        );
    }

    #[tokio::test]
    async fn an_unmasked_or_endless_message_ends_it() {
        assert_eq!(read(&[0x89, 0x00]).await, []);
        assert_eq!(
            read(&[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 3, 4]).await,
            []
        );
    }

    #[tokio::test]
    async fn pieces_arrive_whole() {
        let mut out = Outgoing([b"ab".as_slice(), b"", b"cde"].map(Bytes::from).into());
        let mut to = Vec::new();
        write_all(&mut to, &mut out, Duration::from_secs(1), |_| false)
            .await
            .unwrap();
        assert_eq!(to, b"abcde");
    }
}
