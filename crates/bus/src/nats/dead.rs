//! Dead letters: a stream of their own, in which the sequence number is the id.

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DeleteStatus, RawMessage};
use serde::Deserialize;
use serde_json::json;

use super::Core;
use super::publish::{Outgoing, TRACE};
use super::settle::{QUEUE, REASON, SUBJECT};
use super::take::unix_ms;
use crate::limits::trace;
use crate::queue::{BusError, DeadLetter};

#[derive(Deserialize)]
struct Stored {
    message: RawMessage,
}

impl Core {
    pub(super) async fn dead_letters(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BusError> {
        let mut letters = Vec::new();
        let mut from = after.saturating_add(1);
        while letters.len() < limit {
            let question = json!({ "seq": from, "next_by_subj": self.names.dead_subject(">") });
            let Some(message) = self.stored(&self.names.dead_stream(), &question).await? else {
                break;
            };
            from = message.sequence.saturating_add(1);
            match self.letter(&message) {
                Some(letter) => letters.push(letter),
                None => tracing::error!(id = message.sequence, "a dead letter is unreadable"),
            }
        }
        Ok(letters)
    }

    /// A message of a stream; `None` when there is none, or no stream.
    pub(super) async fn stored(
        &self,
        stream: &str,
        question: &serde_json::Value,
    ) -> Result<Option<StreamMessage>, BusError> {
        let stored = self
            .link
            .ask::<Stored>(format!("STREAM.MSG.GET.{stream}"), question)
            .await;
        match stored {
            Ok(stored) => StreamMessage::try_from(stored.message)
                .map(Some)
                .map_err(|e| BusError::Refused(e.to_string())),
            Err(e) if e.is_absent() => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn letter(&self, message: &StreamMessage) -> Option<DeadLetter> {
        let header = |name| message.headers.get(name).map(ToString::to_string);
        Some(DeadLetter {
            id: message.sequence,
            queue: header(QUEUE)?,
            subject: self.names.inside(&header(SUBJECT)?)?,
            payload: message.payload.clone(),
            reason: header(REASON).unwrap_or_default(),
            at_ms: unix_ms(message.time.unix_timestamp_nanos()),
        })
    }

    pub(super) async fn replay(&self, id: u64) -> Result<bool, BusError> {
        let stream = self.names.dead_stream();
        let Some(message) = self.stored(&stream, &json!({ "seq": id })).await? else {
            return Ok(false);
        };
        let letter = self
            .letter(&message)
            .ok_or_else(|| BusError::Refused(format!("dead letter {id} is unreadable")))?;
        let mut headers = HeaderMap::new();
        if let Some(trace) = trace(message.headers.get(TRACE).map(AsRef::as_ref)) {
            headers.insert(TRACE, trace);
        }
        // Of two replays at one time one is dropped.
        let nanos = message.time.unix_timestamp_nanos();
        let once = format!("{stream}-{id}-{nanos}");
        headers.insert(async_nats::header::NATS_MESSAGE_ID, once);
        for _ in 0..2 {
            let again = Outgoing {
                stream: self.stream_of(&letter.subject).await?,
                subject: self.names.outside(letter.subject.as_str()),
                headers: headers.clone(),
                payload: letter.payload.clone(),
            };
            if self.send(&[again]).await?.is_empty() {
                return self.discard(id).await;
            }
        }
        Err(BusError::Unavailable(
            "no stream takes the message".to_owned(),
        ))
    }

    pub(super) async fn discard(&self, id: u64) -> Result<bool, BusError> {
        let stream = self.names.dead_stream();
        let deleted = self
            .link
            .ask::<DeleteStatus>(format!("STREAM.MSG.DELETE.{stream}"), &json!({ "seq": id }))
            .await;
        match deleted {
            Ok(status) => Ok(status.success),
            Err(e) if e.is_absent() => Ok(false),
            // Of a message that is gone some versions say just that they cannot delete it.
            Err(e) => match self.stored(&stream, &json!({ "seq": id })).await? {
                None => Ok(false),
                Some(_) => Err(e.into()),
            },
        }
    }
}
