//! The event streams of the servers where mirrored accounts live: they tell at once that there is something new. What it
//! is, is asked for by the update itself.

use std::time::Duration;

use futures::StreamExt;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use ues_data::dag_cbor::{DecodeError, Reader};
use ues_repo::syntax::Did;

use super::Mirroring;
use super::server::ServerError;

/// The largest event, in bytes; two megabytes are allowed.
const MAX_EVENT: usize = 8 << 20;
/// The pause before a stream that ended is opened again, and the longest.
const PAUSE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(120)];
/// A stream that says nothing for so long is opened anew.
const SILENCE: Duration = Duration::from_secs(900);

impl Mirroring {
    /// Follows a server for ever.
    pub(super) async fn follow(self, address: String) {
        let mut pause = PAUSE[0];
        loop {
            let ended = self.follow_once(&address, &mut pause).await;
            self.0.followed.lock().remove(&address);
            if let Err(error) = ended {
                tracing::debug!(%error, "an event stream ended");
            }
            sleep(pause).await;
            pause = (2 * pause).min(PAUSE[1]);
        }
    }

    async fn follow_once(&self, address: &str, pause: &mut Duration) -> Result<(), ServerError> {
        let server = self.0.servers.at(address)?;
        let connection = server.events().await?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_EVENT))
            .max_frame_size(Some(MAX_EVENT));
        let mut socket =
            WebSocketStream::from_raw_socket(connection, Role::Client, Some(config)).await;
        *pause = PAUSE[0];
        self.0.followed.lock().insert(address.to_owned());
        // What happened before the stream stood.
        self.hint_all_at(address);
        loop {
            let next = timeout(SILENCE, socket.next()).await;
            let next = next.map_err(|_| server.unreachable("its event stream is silent"))?;
            match next {
                Some(Ok(Message::Binary(frame))) => match account_of(&frame) {
                    Ok(Some(did)) => self.hint(&did),
                    Ok(None) => {}
                    Err(e) => return Err(server.nonsense(e)),
                },
                Some(Ok(Message::Close(_))) | None => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(e)) => return Err(server.unreachable(e)),
            }
        }
    }

    fn hint_all_at(&self, address: &str) {
        for row in self.mirrors().list().unwrap_or_default() {
            if row.server.as_deref() == Some(address) {
                self.hint(&row.did);
            }
        }
    }
}

/// The account that an event is about; none for one about none.
fn account_of(frame: &[u8]) -> Result<Option<Did>, DecodeError> {
    let mut reader = Reader::new(frame);
    reader.skip()?;
    let mut body = Reader::new(reader.remaining());
    for _ in 0..body.map()? {
        match body.text()? {
            "repo" | "did" => return Ok(Did::parse(body.text()?).ok()),
            _ => {
                body.skip()?;
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use ues_data::dag_cbor::Writer;

    use super::*;

    fn frame(field: &str, value: &str) -> Vec<u8> {
        let mut header = Writer::with_capacity(32);
        header.map(2);
        header.text("t");
        header.text("#commit");
        header.text("op");
        header.uint(1);
        let mut body = Writer::with_capacity(64);
        body.map(2);
        body.text("ops");
        body.null();
        body.text(field);
        body.text(value);
        [header.into_bytes(), body.into_bytes()].concat()
    }

    #[test]
    fn events_name_their_account() {
        let did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
        assert_eq!(account_of(&frame("repo", did)).unwrap().unwrap(), *did);
        assert_eq!(account_of(&frame("did", did)).unwrap().unwrap(), *did);
        assert_eq!(account_of(&frame("name", did)).unwrap(), None);
        assert_eq!(account_of(&frame("did", "nobody")).unwrap(), None);
        assert!(account_of(b"\xa0").is_err());
        assert!(account_of(b"").is_err());
    }
}
