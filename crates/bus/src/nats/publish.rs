//! Publishing.

use std::error::Error;

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, ErrorCode};
use bytes::Bytes;

use super::Core;
use super::link::{PIPELINE, refusal};
use crate::limits::{MAX_PAYLOAD, check_message, trace};
use crate::message::Message;
use crate::queue::BusError;

/// The header that carries a trace.
pub(super) const TRACE: &str = "traceparent";

/// A message as it goes to the server.
pub(super) struct Outgoing {
    pub stream: String,
    pub subject: String,
    pub headers: HeaderMap,
    pub payload: Bytes,
}

impl Core {
    pub(super) async fn publish(&self, messages: &[Message]) -> Result<(), BusError> {
        messages.iter().try_for_each(check_message)?;
        if messages.is_empty() {
            return Ok(());
        }
        self.link.ready().await?;
        for part in messages.chunks(PIPELINE) {
            let mut outgoing = Vec::with_capacity(part.len());
            for message in part {
                outgoing.push(self.outgoing(message).await?);
            }
            let homeless = self.send(&outgoing).await?;
            if homeless.is_empty() {
                continue;
            }
            // Somebody deleted the stream: once more, after it was made anew.
            let mut again = Vec::with_capacity(homeless.len());
            for at in homeless {
                if let Some(message) = part.get(at) {
                    again.push(self.outgoing(message).await?);
                }
            }
            if !self.send(&again).await?.is_empty() {
                return Err(BusError::Unavailable(
                    "no stream takes the message".to_owned(),
                ));
            }
        }
        Ok(())
    }

    async fn outgoing(&self, message: &Message) -> Result<Outgoing, BusError> {
        let mut headers = HeaderMap::new();
        if let Some(id) = &message.id {
            headers.insert(async_nats::header::NATS_MESSAGE_ID, id.as_str());
        }
        if let Some(trace) = trace(message.trace.as_deref()) {
            headers.insert(TRACE, trace);
        }
        Ok(Outgoing {
            stream: self.stream_of(&message.subject).await?,
            subject: self.names.outside(message.subject.as_str()),
            headers,
            payload: message.payload.clone(),
        })
    }

    /// Sends all, then waits for all answers. Returns the places of those that no stream took.
    pub(super) async fn send(&self, messages: &[Outgoing]) -> Result<Vec<usize>, BusError> {
        let mut answers = Vec::with_capacity(messages.len());
        let mut failed = None;
        for message in messages {
            let publish = PublishMessage::build()
                .payload(message.payload.clone())
                .headers(message.headers.clone());
            let sent = self
                .link
                .context
                .send_publish(message.subject.clone(), publish)
                .await;
            match sent {
                Ok(answer) => answers.push(answer),
                Err(e) => {
                    failed = Some(self.failure(message, &e));
                    break;
                }
            }
        }
        let mut homeless = Vec::new();
        for (at, (answer, message)) in answers.into_iter().zip(messages).enumerate() {
            match answer.await {
                Ok(_) => (),
                Err(e) if e.kind() == PublishErrorKind::StreamNotFound => {
                    self.forget_stream(&message.stream);
                    homeless.push(at);
                }
                Err(e) => {
                    failed = Some(self.failure(message, &e));
                    // The other answers are as late as this one.
                    if e.kind() == PublishErrorKind::TimedOut {
                        break;
                    }
                }
            }
        }
        failed.map_or(Ok(homeless), Err)
    }

    fn failure(&self, message: &Outgoing, error: &PublishError) -> BusError {
        if error.kind() == PublishErrorKind::MaxPayloadExceeded {
            return BusError::TooLarge {
                limit: self.link.client.max_payload().min(MAX_PAYLOAD),
                found: message.payload.len(),
            };
        }
        match error
            .source()
            .and_then(|s| s.downcast_ref::<jetstream::Error>())
        {
            Some(no) if no.error_code() == ErrorCode::STREAM_STORE_FAILED => BusError::Full {
                queue: message.stream.clone(),
                limit: no.to_string(),
            },
            Some(no) => refusal(no),
            None => BusError::Unavailable(error.to_string()),
        }
    }
}
