//! Taking messages.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::{Message, jetstream};
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::Core;
use super::publish::TRACE;
use super::request::{Answer, BLINK, InUse, Parking, Request};
use super::settle::NatsReceipt;
use crate::limits::unanswered;
use crate::queue::{BusError, Delivery, QueueSpec, WorkQueue};

/// One request waits so long at most; a server that forgot it is asked again then.
const SLICE: Duration = Duration::from_secs(10);
/// When no further message comes for so long after the first, the call returns with those it has.
const PAUSE: Duration = Duration::from_millis(150);
/// The answer that nothing came may take so long on its way.
const GRACE: Duration = Duration::from_millis(250);
/// A wait that is as good as for ever.
const LONG: Duration = Duration::from_secs(86_400 * 365);

/// A queue.
pub(super) struct NatsQueue {
    core: Arc<Core>,
    spec: QueueSpec,
    consumer: Mutex<Consumer<pull::Config>>,
    parking: Parking,
}

/// How a look for messages ended.
enum Pulled {
    /// With messages.
    Some(Vec<Message>),
    /// Nothing came.
    Nothing,
    /// The server did not want to wait because others do.
    Busy,
    /// The consumer is gone.
    Missing,
}

impl NatsQueue {
    pub(super) async fn open(core: Arc<Core>, spec: QueueSpec) -> Result<Self, BusError> {
        let consumer = core.consumer(&spec).await?;
        Ok(Self {
            core,
            spec,
            consumer: Mutex::new(consumer),
            parking: Parking::default(),
        })
    }

    /// Looks for messages once.
    async fn pull(&self, max: usize, wait: Duration, patient: bool) -> Result<Pulled, BusError> {
        let link = &self.core.link;
        let mut connections = link.connections();
        // More would not come, and the server would hold the request.
        let max = max.min(self.spec.max_in_flight);
        let request = match self.parking.take() {
            Some(request) if request.is_lost() => {
                let mut rest = request.rest();
                rest.truncate(max);
                return Ok(if rest.is_empty() {
                    Pulled::Nothing
                } else {
                    Pulled::Some(rest)
                });
            }
            Some(request) => request,
            None => {
                let consumer = self.consumer.lock().clone();
                Request::send(&self.core, &consumer, max, wait, patient).await?
            }
        };
        let until = request.over().min(Instant::now() + wait + GRACE);
        let mut use_of = InUse {
            request: Some(request),
            messages: Vec::new(),
            parking: &self.parking,
        };
        let mut otherwise = Pulled::Nothing;
        while use_of.messages.len() < max {
            let Some(request) = &mut use_of.request else {
                break;
            };
            let patience = if use_of.messages.is_empty() {
                until
            } else {
                until.min(Instant::now() + PAUSE)
            };
            let answer = tokio::select! {
                biased;
                answer = timeout_at(patience, request.next()) => answer,
                _ = connections.changed() => {
                    let rest = use_of.request.take().map(Request::rest);
                    let room = max - use_of.messages.len();
                    use_of.messages.extend(rest.into_iter().flatten().take(room));
                    break;
                }
            };
            match answer {
                Ok(Answer::Message(message)) => use_of.messages.push(message),
                Ok(end) => {
                    use_of.request = None;
                    otherwise = match end {
                        Answer::Busy => Pulled::Busy,
                        Answer::Missing => Pulled::Missing,
                        Answer::Message(_) | Answer::End => Pulled::Nothing,
                    };
                }
                Err(_) => {
                    // With some messages the request ends here: as many deliveries are open as may be, and the server
                    // would send later what nobody waits for. Without any, the next call goes on with it.
                    if !use_of.messages.is_empty() || Instant::now() >= request.over() {
                        use_of.request = None;
                    }
                    break;
                }
            }
        }
        let messages = std::mem::take(&mut use_of.messages);
        Ok(if messages.is_empty() {
            otherwise
        } else {
            Pulled::Some(messages)
        })
    }

    /// Makes deliveries of messages, and gives up those that were delivered often enough.
    async fn deliveries(&self, messages: Vec<Message>) -> Vec<Delivery> {
        let mut deliveries = Vec::with_capacity(messages.len());
        for message in messages {
            let context = self.core.link.context.clone();
            let message = jetstream::Message { message, context };
            let (attempt, published_at_ms) = match message.info() {
                Ok(info) => (
                    u32::try_from(info.delivered).unwrap_or(u32::MAX),
                    unix_ms(info.published.unix_timestamp_nanos()),
                ),
                Err(e) => {
                    tracing::error!("a message without its particulars: {e}");
                    continue;
                }
            };
            let subject = self.core.names.inside(&message.subject);
            let headers = message.headers.as_ref();
            let trace = headers.and_then(|h| h.get(TRACE)).map(ToString::to_string);
            let payload = message.payload.clone();
            let receipt = NatsReceipt::new(&self.core, &self.spec, message, attempt);
            let hopeless = match &subject {
                None => Some("the subject is not one of the bus".to_owned()),
                Some(_) if attempt > self.spec.max_attempts => {
                    Some(unanswered(self.spec.max_attempts))
                }
                Some(_) => None,
            };
            match (hopeless, subject) {
                (None, Some(subject)) => deliveries.push(Delivery {
                    subject,
                    payload,
                    trace,
                    attempt,
                    published_at_ms,
                    receipt: Box::new(receipt),
                }),
                (reason, _) => {
                    // Should this fail, it comes again.
                    if let Err(e) = receipt.bury(&reason.unwrap_or_default()).await {
                        tracing::warn!("a message could not be given up: {e}");
                    }
                }
            }
        }
        deliveries
    }
}

#[async_trait]
impl WorkQueue for NatsQueue {
    async fn next(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, BusError> {
        let deadline = Instant::now() + wait.min(LONG);
        let (mut patient, mut missing) = (false, 0);
        if max == 0 {
            return Ok(Vec::new());
        }
        loop {
            self.core.link.ready().await?;
            let rest = deadline.saturating_duration_since(Instant::now());
            let pulled = self.pull(max, rest.clamp(BLINK, SLICE), patient).await?;
            match pulled {
                Pulled::Some(messages) => {
                    let deliveries = self.deliveries(messages).await;
                    if !deliveries.is_empty() {
                        return Ok(deliveries);
                    }
                }
                Pulled::Missing => {
                    missing += 1;
                    if missing > 3 {
                        return Err(BusError::Unavailable(format!(
                            "the consumer of queue {} comes and goes",
                            self.spec.name
                        )));
                    }
                    let stream = self.consumer.lock().cached_info().stream_name.clone();
                    self.core.forget_stream(&stream);
                    let consumer = self.core.consumer(&self.spec).await?;
                    *self.consumer.lock() = consumer;
                    continue;
                }
                Pulled::Busy => {
                    // Twice: there are too many requests, not too few messages.
                    if patient {
                        tokio::time::sleep(BLINK).await;
                    }
                    patient = !patient;
                }
                Pulled::Nothing => patient = false,
            }
            if Instant::now() >= deadline {
                return Ok(Vec::new());
            }
        }
    }
}

/// Milliseconds since the Unix epoch.
pub(super) fn unix_ms(nanos: i128) -> u64 {
    u64::try_from(nanos / 1_000_000).unwrap_or(0)
}
