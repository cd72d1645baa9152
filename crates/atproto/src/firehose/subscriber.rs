//! One subscriber: from its cursor through the log to the live end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::hub::Hub;
use super::message;
use super::ring::Next;
use super::socket::{Incoming, Incomings, Outgoing, write_all};

/// Bytes of one read of the log during backfill, by one of the few who have a place for that. Two are in memory at
/// one time.
const BACKFILL_BYTES: usize = 512 << 10;
/// Bytes of one read by all others, so that a thousand who come back at once do not fill the memory. One is in memory
/// at one time.
const NARROW_BYTES: usize = 32 << 10;
const BACKFILL_EVENTS: usize = 8192;
/// Bytes of live messages that one write takes along.
const LIVE_BYTES: usize = 256 << 10;
/// How often a blocked write looks around.
const STEP: Duration = Duration::from_secs(1);
/// How long a subscriber that is cut off has to read the reason.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why a subscription ends.
enum End {
    /// The subscriber went, or its connection broke.
    Gone,
    /// The node stops.
    Stopping,
    /// It did not keep up.
    TooSlow,
    /// The log cannot be read.
    Fault(String),
}

/// Serves a subscriber until one of the two goes. `newest` is the newest event at its handshake.
pub async fn serve<S>(hub: &Hub, stream: S, cursor: Option<u64>, newest: u64)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (from, mut to) = tokio::io::split(stream);
    let mut incoming = Incomings::new(from);
    let Some(_present) = hub.enter() else {
        return farewell(
            &mut to,
            Some(("ServerBusy", "Too many subscribers")),
            CloseCode::Again,
        )
        .await;
    };
    let mut greeting = VecDeque::new();
    let first = match hub.oldest_served(newest) {
        Ok(first) => first,
        Err(cause) => {
            tracing::error!(%cause, "a subscription cannot read the log");
            let error = Some(("InternalServerError", "Internal Server Error"));
            return farewell(&mut to, error, CloseCode::Error).await;
        }
    };
    let position = match cursor {
        Some(cursor) if cursor > newest => {
            let error = Some(("FutureCursor", "Cursor in the future."));
            return farewell(&mut to, error, CloseCode::Policy).await;
        }
        Some(cursor) if cursor + 1 < first => {
            greeting.push_back(message::info(
                "OutdatedCursor",
                "Requested cursor exceeded limit. Possibly missing events",
            ));
            first.saturating_sub(1)
        }
        Some(cursor) => cursor,
        None => newest,
    };
    let mut subscriber = Subscriber {
        hub,
        to: &mut to,
        position,
        live: false,
        wide: None,
    };
    let end = subscriber.run(&mut incoming, greeting).await;
    match end {
        End::Gone => {}
        End::Stopping => farewell(&mut to, None, CloseCode::Away).await,
        End::TooSlow => {
            let error = Some(("ConsumerTooSlow", "Stream consumer too slow"));
            farewell(&mut to, error, CloseCode::Policy).await;
        }
        End::Fault(cause) => {
            tracing::error!(%cause, "a subscription ended");
            let error = Some(("InternalServerError", "Internal Server Error"));
            farewell(&mut to, error, CloseCode::Error).await;
        }
    }
}

/// Sends an error, if there is one, and the close message; who does not take them is left.
pub async fn farewell<W: AsyncWrite + Unpin>(
    to: &mut W,
    error: Option<(&str, &str)>,
    code: CloseCode,
) {
    let mut out = Outgoing::default();
    if let Some((name, text)) = error {
        out.0.push_back(message::error(name, text));
    }
    out.0
        .push_back(message::close(code, error.map_or("", |(name, _)| name)));
    let _ = tokio::time::timeout(FAREWELL, async {
        write_all(to, &mut out, FAREWELL, |_| false).await?;
        tokio::io::AsyncWriteExt::shutdown(to).await
    })
    .await;
}

struct Subscriber<'a, W> {
    hub: &'a Hub,
    to: &'a mut W,
    /// Sequence number of the last event that was sent.
    position: u64,
    /// Whether it has reached the live end once: from then on it must keep up.
    live: bool,
    /// The place for reading the log in large pieces, while it is behind and there is one.
    wide: Option<OwnedSemaphorePermit>,
}

impl<W: AsyncWrite + Unpin> Subscriber<'_, W> {
    async fn run<R: AsyncRead + Unpin>(
        &mut self,
        incoming: &mut Incomings<R>,
        greeting: VecDeque<Bytes>,
    ) -> End {
        let hub = self.hub;
        let shared = hub.shared();
        let mut published = shared.ring.watch();
        let period = Duration::from_secs(shared.config.ping_interval_s.max(1));
        let mut pings = interval_at(Instant::now() + period, period);
        let mut ahead: Option<JoinHandle<Chunk>> = None;
        if let Err(end) = self.send(greeting).await {
            return end;
        }
        loop {
            published.borrow_and_update();
            if shared.stopping.is_cancelled() {
                return End::Stopping;
            }
            let lag = shared.ring.last().saturating_sub(self.position);
            if self.live && lag > shared.config.max_lag_events as u64 {
                return End::TooSlow;
            }
            let step = match shared.ring.read(self.position, LIVE_BYTES) {
                Next::Messages(messages, last) => {
                    ahead = None;
                    self.wide = None;
                    let sent = self.send(messages).await;
                    self.position = last;
                    sent
                }
                Next::Behind => self.backfill(&mut ahead).await,
                Next::UpToDate => {
                    self.live = true;
                    self.wide = None;
                    tokio::select! {
                        biased;
                        () = shared.stopping.cancelled() => return End::Stopping,
                        changed = published.changed() => match changed {
                            Ok(()) => continue,
                            Err(_) => return End::Stopping,
                        },
                        message = incoming.next() => self.answer(message).await,
                        _ = pings.tick() => self.send([message::ping()].into()).await,
                    }
                }
            };
            if let Err(end) = step {
                return end;
            }
            // While there is much to send, a ping or a close must not wait for its end.
            let waiting = std::pin::pin!(incoming.next()).now_or_never();
            if let Some(message) = waiting
                && let Err(end) = self.answer(message).await
            {
                return end;
            }
        }
    }

    async fn answer(&mut self, incoming: Incoming) -> Result<(), End> {
        match incoming {
            Incoming::Ping(payload) => self.send([message::pong(&payload)].into()).await,
            Incoming::Close => {
                farewell(self.to, None, CloseCode::Normal).await;
                Err(End::Gone)
            }
        }
    }

    async fn send(&mut self, messages: VecDeque<Bytes>) -> Result<(), End> {
        let hub = self.hub;
        let shared = hub.shared();
        let stall = shared.config.stall_timeout_s;
        let mut out = Outgoing(messages);
        let (position, live) = (self.position, self.live);
        let mut lagging_for = 0u64;
        let go_on = |steps: u32| {
            let lag = shared.ring.last().saturating_sub(position);
            if live && lag > shared.config.max_lag_events as u64 {
                lagging_for += 1;
            }
            u64::from(steps) * STEP.as_secs() < stall
                && lagging_for * STEP.as_secs() < FAREWELL.as_secs()
                && !shared.stopping.is_cancelled()
        };
        // An error cannot be told in the middle of a message: who blocks for too long is just cut.
        write_all(self.to, &mut out, STEP, go_on)
            .await
            .map_err(|_| End::Gone)
    }

    /// Sends one piece of the log, and has the next one read meanwhile.
    async fn backfill(&mut self, ahead: &mut Option<JoinHandle<Chunk>>) -> Result<(), End> {
        if self.wide.is_none() {
            self.wide = Arc::clone(&self.hub.shared().wide).try_acquire_owned().ok();
        }
        let chunk = match ahead.take() {
            Some(reading) => reading.await,
            None => self.read_log(self.position).await,
        };
        let Chunk { messages, last, .. } = match chunk {
            Ok(chunk) if chunk.fault.is_none() => chunk,
            Ok(chunk) => return Err(End::Fault(chunk.fault.unwrap_or_default())),
            Err(e) => return Err(End::Fault(e.to_string())),
        };
        if messages.is_empty() && last > self.position {
            self.position = last;
            return Ok(());
        }
        if messages.is_empty() {
            // What was durable a moment ago is in the ring by now.
            tokio::task::yield_now().await;
            return Ok(());
        }
        *ahead = self.wide.is_some().then(|| self.read_log(last));
        self.send([messages].into()).await?;
        self.position = last;
        Ok(())
    }

    fn read_log(&self, after: u64) -> JoinHandle<Chunk> {
        let store = self.hub.shared().store.clone();
        let told = self.hub.shared().told.clone();
        let bytes = match self.wide {
            Some(_) => BACKFILL_BYTES,
            None => NARROW_BYTES,
        };
        tokio::task::spawn_blocking(move || {
            let mut chunk = Chunk {
                messages: Bytes::new(),
                last: after,
                fault: None,
            };
            let events = match store.log().read(after, BACKFILL_EVENTS, bytes) {
                Ok(events) => events,
                Err(e) => {
                    chunk.fault = Some(e.to_string());
                    return chunk;
                }
            };
            let size = events.iter().map(|e| e.payload.len() + 16).sum();
            let mut out = BytesMut::with_capacity(size);
            for event in &events {
                let appended = match told.later(event) {
                    Ok(Some(event)) => message::append_event(&mut out, &event),
                    Ok(None) => Ok(()),
                    Err(e) => Err(e),
                };
                if let Err(e) = appended {
                    chunk.fault = Some(e.to_string());
                    break;
                }
                chunk.last = event.seq;
            }
            chunk.messages = out.freeze();
            chunk
        })
    }
}

/// A piece of the log, ready for the wire.
struct Chunk {
    messages: Bytes,
    last: u64,
    fault: Option<String>,
}
