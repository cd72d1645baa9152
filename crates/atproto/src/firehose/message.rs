//! WebSocket messages of the event stream, ready for the wire.

use bytes::{BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use ues_data::dag_cbor::Writer;
use ues_repo::repo::event::{EventError, Frame};
use ues_storage::Event;

const FINAL_BINARY: u8 = 0x82;
const FINAL_CLOSE: u8 = 0x88;
const FINAL_PING: u8 = 0x89;
const FINAL_PONG: u8 = 0x8a;
/// Most that the header of a message from a server takes.
const MAX_HEADER: usize = 10;
/// Longest payload of a control message (RFC 6455, 5.5).
const MAX_CONTROL: usize = 125;

/// The message of a log entry.
pub fn event(event: &Event) -> Result<Bytes, EventError> {
    let mut out = BytesMut::new();
    append_event(&mut out, event)?;
    Ok(out.freeze())
}

/// Appends the message of a log entry to others.
pub fn append_event(out: &mut BytesMut, event: &Event) -> Result<(), EventError> {
    let frame = Frame::new(event.seq, &event.payload)?;
    put_header(out, FINAL_BINARY, frame.len());
    frame.write(out);
    Ok(())
}

/// An `#info` message.
pub fn info(name: &str, message: &str) -> Bytes {
    let mut w = Writer::new();
    w.map(2);
    w.text("t");
    w.text("#info");
    w.text("op");
    w.uint(1);
    w.map(2);
    w.text("name");
    w.text(name);
    w.text("message");
    w.text(message);
    binary(&w.into_bytes())
}

/// An error message; the stream ends after it.
pub fn error(name: &str, message: &str) -> Bytes {
    let mut w = Writer::new();
    w.map(1);
    w.text("op");
    w.int(-1);
    w.map(2);
    w.text("error");
    w.text(name);
    w.text("message");
    w.text(message);
    binary(&w.into_bytes())
}

/// A close message.
pub fn close(code: CloseCode, reason: &str) -> Bytes {
    let mut payload = u16::from(code).to_be_bytes().to_vec();
    payload.extend(reason.bytes().take(MAX_CONTROL - 2));
    control(FINAL_CLOSE, &payload)
}

/// A ping.
pub fn ping() -> Bytes {
    control(FINAL_PING, &[])
}

/// The answer to a ping.
pub fn pong(payload: &[u8]) -> Bytes {
    control(FINAL_PONG, payload)
}

/// A binary message.
pub fn binary(payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(payload.len() + MAX_HEADER);
    put(&mut out, FINAL_BINARY, payload);
    out.freeze()
}

fn control(first: u8, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(payload.len() + MAX_HEADER);
    put(
        &mut out,
        first,
        payload.get(..MAX_CONTROL).unwrap_or(payload),
    );
    out.freeze()
}

fn put(out: &mut BytesMut, first: u8, payload: &[u8]) {
    put_header(out, first, payload.len());
    out.put_slice(payload);
}

/// Makes room for a message and begins it.
fn put_header(out: &mut BytesMut, first: u8, len: usize) {
    out.reserve(len + MAX_HEADER);
    out.put_u8(first);
    match len {
        len @ 0..=125 => out.put_u8(len as u8),
        len @ 126..=0xffff => {
            out.put_u8(126);
            out.put_u16(len as u16);
        }
        len => {
            out.put_u8(127);
            out.put_u64(len as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;

    #[test]
    fn lengths_are_read_back_by_another_implementation() {
        for len in [0, 1, 125, 126, 65_535, 65_536, 70_000] {
            let message = binary(&vec![7; len]);
            let mut cursor = std::io::Cursor::new(&message[..]);
            let (header, length) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            assert!(header.is_final);
            assert_eq!(length as usize, len);
            assert_eq!(message.len() - cursor.position() as usize, len);
        }
    }
}
