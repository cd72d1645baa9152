//! Streams and consumers: made at first use, brought up to date, made anew when they are gone.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::consumer::{AckPolicy, Consumer};
use async_nats::jetstream::stream::{
    Config, ConsumerErrorKind, DiscardPolicy, Info, RetentionPolicy, StorageType,
};

use super::Core;
use super::link::refusal;
use crate::limits::DEDUPLICATION;
use crate::message::Subject;
use crate::queue::{BusError, QueueSpec};

/// Mark of the streams that are ours, in their metadata.
pub(super) const OWNER: &str = "ues-bus";
/// Pull requests that may wait at one consumer: one for each call of `next`. It cannot be changed later.
const MAX_WAITING: i64 = 4_096;

impl Core {
    /// Makes sure that the stream of a subject is there, and returns its name.
    pub(super) async fn stream_of(&self, subject: &Subject) -> Result<String, BusError> {
        let pair = self.names.pair(subject);
        let name = self.names.stream(pair);
        let known = self.streams.lock().contains(&name);
        if !known {
            let own = self.names.outside(pair);
            let below = format!("{own}.>");
            self.ensure(self.work_stream(&name, vec![own, below]))
                .await?;
            self.streams.lock().insert(name.clone());
        }
        Ok(name)
    }

    /// Makes sure that the stream of the dead letters is there, and returns its name.
    pub(super) async fn dead_stream(&self) -> Result<String, BusError> {
        let name = self.names.dead_stream();
        let known = self.streams.lock().contains(&name);
        if !known {
            let config = Config {
                retention: RetentionPolicy::Limits,
                max_messages: i64::try_from(self.options.max_dead_letters).unwrap_or(i64::MAX),
                max_bytes: -1,
                max_age: Duration::ZERO,
                discard: DiscardPolicy::Old,
                ..self.work_stream(&name, vec![self.names.dead_subject(">")])
            };
            self.ensure(config).await?;
            self.streams.lock().insert(name.clone());
        }
        Ok(name)
    }

    /// What is known of the streams may be out of date.
    pub(super) fn forget_stream(&self, name: &str) {
        self.streams.lock().remove(name);
    }

    fn work_stream(&self, name: &str, subjects: Vec<String>) -> Config {
        let bytes = self.options.max_bytes.map(i64::try_from);
        Config {
            name: name.to_owned(),
            subjects,
            retention: RetentionPolicy::WorkQueue,
            storage: StorageType::File,
            num_replicas: self.options.replicas.max(1),
            max_messages: i64::try_from(self.options.max_messages).unwrap_or(i64::MAX),
            max_bytes: bytes.map_or(-1, |b| b.unwrap_or(i64::MAX)),
            max_age: self.options.max_age,
            discard: DiscardPolicy::New,
            duplicate_window: DEDUPLICATION.min(self.options.max_age),
            metadata: [("owner".to_owned(), OWNER.to_owned())].into(),
            ..Config::default()
        }
    }

    async fn ensure(&self, wanted: Config) -> Result<(), BusError> {
        // Another process may make it between the question and the making.
        for _ in 0..3 {
            let found = self
                .link
                .ask::<Info>(format!("STREAM.INFO.{}", wanted.name), &())
                .await;
            match found {
                Ok(info) => return self.update(info.config, wanted).await,
                Err(e) if e.code() == Some(ErrorCode::STREAM_NOT_FOUND) => (),
                Err(e) => return Err(e.into()),
            }
            let made = self
                .link
                .ask::<Info>(format!("STREAM.CREATE.{}", wanted.name), &wanted)
                .await;
            match made {
                Ok(_) => {
                    tracing::info!(stream = wanted.name, "made a stream");
                    return Ok(());
                }
                Err(e) if e.code() == Some(ErrorCode::STREAM_NAME_EXIST) => (),
                Err(e) => return Err(e.into()),
            }
        }
        Err(BusError::Unavailable(format!(
            "stream {} comes and goes",
            wanted.name
        )))
    }

    /// Sets what this program decides and leaves the rest as an operator may have set it.
    async fn update(&self, found: Config, wanted: Config) -> Result<(), BusError> {
        if found.retention != wanted.retention || found.subjects != wanted.subjects {
            return Err(BusError::Refused(format!(
                "stream {} is there with subjects {:?} and retention {:?}, which are not those of this bus",
                found.name, found.subjects, found.retention
            )));
        }
        let mut merged = found.clone();
        merged.num_replicas = wanted.num_replicas;
        merged.max_messages = wanted.max_messages;
        merged.max_bytes = wanted.max_bytes;
        merged.max_age = wanted.max_age;
        merged.discard = wanted.discard;
        merged.duplicate_window = wanted.duplicate_window;
        merged.metadata.extend(wanted.metadata);
        if merged == found {
            return Ok(());
        }
        let updated = self
            .link
            .ask::<Info>(format!("STREAM.UPDATE.{}", merged.name), &merged)
            .await;
        match updated.map_err(BusError::from) {
            // It carries messages as it is.
            Err(BusError::Refused(why)) => {
                tracing::warn!(
                    stream = merged.name,
                    "cannot bring the stream up to date: {why}"
                );
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Makes or updates the consumer of a queue, and its stream.
    pub(super) async fn consumer(
        &self,
        spec: &QueueSpec,
    ) -> Result<Consumer<pull::Config>, BusError> {
        let config = pull::Config {
            durable_name: Some(spec.name.clone()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: spec.ack_wait,
            // Without limit: the server would drop what was delivered too often, we give it up in the open.
            max_deliver: -1,
            filter_subjects: self.names.filters(&spec.subject),
            max_ack_pending: i64::try_from(spec.max_in_flight).unwrap_or(i64::MAX),
            max_waiting: MAX_WAITING,
            metadata: [("owner".to_owned(), OWNER.to_owned())].into(),
            ..pull::Config::default()
        };
        let stream = self.stream_of(&spec.subject).await?;
        for last in [false, true] {
            let made = self
                .link
                .context
                .create_consumer_on_stream(config.clone(), &stream)
                .await;
            match made.map_err(|e| (e.kind(), e.to_string())) {
                Ok(consumer) => return Ok(consumer),
                Err((ConsumerErrorKind::JetStream(error), _)) => {
                    let gone = error.error_code() == ErrorCode::STREAM_NOT_FOUND;
                    if !gone || last {
                        return Err(refusal(&error));
                    }
                    self.forget_stream(&stream);
                    self.stream_of(&spec.subject).await?;
                }
                Err((_, why)) => return Err(BusError::Unavailable(why)),
            }
        }
        Err(BusError::Unavailable(format!(
            "stream {stream} comes and goes"
        )))
    }
}
