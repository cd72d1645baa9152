//! A pull request, from asking to its end on the server.
//!
//! A message that the server sent and nobody reads comes again only after `ack_wait`, so a subscription must not end
//! while messages may be on their way to it. A call that is cancelled therefore parks its request; the next call goes
//! on with it. One that nobody takes up for a moment ends, and what had come is handed back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::{Message, StatusCode, Subscriber};
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Core;
use crate::queue::BusError;

/// The shortest wait of a request, so that what is there has time to come.
pub(super) const BLINK: Duration = Duration::from_millis(50);
/// How long a parked request waits to be taken up.
const PARKED: Duration = Duration::from_secs(1);
/// Bytes that one request brings at most, so that memory is bounded.
const BYTES: usize = 16 << 20;

/// A request that the server may still answer.
pub(super) struct Request {
    core: Arc<Core>,
    subscriber: Subscriber,
    /// What came and nobody has taken.
    came: VecDeque<Message>,
    /// Messages that may still come.
    left: usize,
    /// When the server ends it.
    expires: Instant,
    /// The number of the connection that it was sent on.
    connection: u64,
}

/// What a request brought.
pub(super) enum Answer {
    /// A message; the request goes on.
    Message(Message),
    /// Nothing more comes.
    End,
    /// It was refused for now because of others.
    Busy,
    /// The consumer is not there.
    Missing,
}

impl Request {
    /// Asks for up to `max` messages: for what is there, or else for the first that comes within `wait`. When `patient`
    /// it gets in line behind other requests and asks for one message.
    pub(super) async fn send(
        core: &Arc<Core>,
        consumer: &Consumer<pull::Config>,
        max: usize,
        wait: Duration,
        patient: bool,
    ) -> Result<Self, BusError> {
        let link = &core.link;
        let away = |e: &dyn std::fmt::Display| BusError::Unavailable(e.to_string());
        let connection = *link.connections().borrow();
        let inbox = link.client.new_inbox();
        let subscribed = tokio::time::timeout(link.timeout, link.client.subscribe(inbox.clone()));
        let subscriber = subscribed
            .await
            .map_err(|e| away(&e))?
            .map_err(|e| away(&e))?;
        let batch = if patient { 1 } else { max };
        let config = pull::BatchConfig {
            batch,
            expires: Some(wait),
            no_wait: !patient,
            max_bytes: BYTES,
            ..pull::BatchConfig::default()
        };
        let sent = consumer.request_batch(config, inbox.into());
        tokio::time::timeout(link.timeout, sent)
            .await
            .map_err(|e| away(&e))?
            .map_err(|e| away(&e))?;
        Ok(Self {
            core: Arc::clone(core),
            subscriber,
            came: VecDeque::new(),
            left: batch,
            expires: Instant::now() + wait,
            connection,
        })
    }

    /// Whether the server knows it no more, because the connection is a new one.
    pub(super) fn is_lost(&self) -> bool {
        *self.core.link.connections().borrow() != self.connection
    }

    /// When the server must have ended it, if it got it at all.
    pub(super) fn over(&self) -> Instant {
        self.expires + self.core.link.timeout
    }

    /// What comes next. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Answer {
        if let Some(message) = self.came.pop_front() {
            return Answer::Message(message);
        }
        while self.left > 0 {
            let Some(message) = self.subscriber.next().await else {
                return Answer::End;
            };
            if let Some(answer) = self.read(message) {
                return answer;
            }
        }
        Answer::End
    }

    fn read(&mut self, message: Message) -> Option<Answer> {
        let answer = match message.status {
            None | Some(StatusCode::OK) => {
                self.left -= 1;
                return Some(Answer::Message(message));
            }
            Some(StatusCode::IDLE_HEARTBEAT) => return None,
            Some(StatusCode::NO_RESPONDERS) => Answer::Missing,
            // Early: others already wait for all that is there.
            Some(StatusCode::TIMEOUT) if Instant::now() + BLINK < self.expires => Answer::Busy,
            Some(StatusCode::TIMEOUT | StatusCode::NOT_FOUND) => Answer::End,
            Some(_) => {
                let why = message.description.unwrap_or_default();
                if why.contains("Consumer Deleted") || why.contains("Leadership") {
                    Answer::Missing
                } else {
                    Answer::Busy
                }
            }
        };
        self.left = 0;
        Some(answer)
    }

    /// What came already, of a request that is worth nothing any more.
    pub(super) fn rest(mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(Answer::Message(message)) = self.next().now_or_never() {
            messages.push(message);
        }
        messages
    }

    /// Takes a message back, to be the next.
    fn put_back(&mut self, message: Message) {
        self.came.push_front(message);
    }

    /// Ends it and lets the messages that came go to others.
    async fn hand_back(self) {
        let context = self.core.link.context.clone();
        for message in self.rest() {
            let context = context.clone();
            let message = async_nats::jetstream::Message { message, context };
            // Otherwise it comes again after its time.
            let _ = message.ack_with(AckKind::Nak(None)).await;
        }
    }
}

/// The place for a request that was left alone.
#[derive(Clone, Default)]
pub(super) struct Parking(Arc<Mutex<(u64, Option<Request>)>>);

impl Parking {
    /// A request to go on with.
    pub(super) fn take(&self) -> Option<Request> {
        let request = self.0.lock().1.take()?;
        let useful = Instant::now() < request.over() && request.left > 0;
        (useful || !request.came.is_empty()).then_some(request)
    }

    fn park(&self, request: Request) {
        if request.left == 0 && request.came.is_empty() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let mut place = self.0.lock();
        if place.1.is_some() {
            drop(place);
            runtime.spawn(request.hand_back());
            return;
        }
        place.0 += 1;
        let ticket = place.0;
        place.1 = Some(request);
        drop(place);
        let parking = self.clone();
        runtime.spawn(async move {
            tokio::time::sleep(PARKED).await;
            let left_alone = {
                let mut place = parking.0.lock();
                let same = place.0 == ticket;
                place.1.take_if(|_| same)
            };
            if let Some(request) = left_alone {
                request.hand_back().await;
            }
        });
    }
}

/// A request in use, and what it brought; parked when the call is cancelled.
pub(super) struct InUse<'a> {
    pub request: Option<Request>,
    pub messages: Vec<Message>,
    pub parking: &'a Parking,
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        let Some(mut request) = self.request.take() else {
            return;
        };
        while let Some(message) = self.messages.pop() {
            request.put_back(message);
        }
        self.parking.park(request);
    }
}
