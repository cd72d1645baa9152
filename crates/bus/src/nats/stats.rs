//! How full the queues are, of all processes.

use std::time::{SystemTime, UNIX_EPOCH};

use async_nats::jetstream::{consumer, stream};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Core;
use super::objects::OWNER;
use super::take::unix_ms;
use crate::limits::millis;
use crate::queue::{BusError, QueueStats};

#[derive(Deserialize)]
struct Page<T> {
    total: usize,
    #[serde(alias = "streams", alias = "consumers")]
    items: Option<Vec<T>>,
}

impl Core {
    pub(super) async fn stats(&self) -> Result<Vec<QueueStats>, BusError> {
        let mut all = Vec::new();
        let dead = self.names.dead_stream();
        for info in self.list::<stream::Info>("STREAM.LIST").await? {
            let config = &info.config;
            let ours = config.metadata.get("owner").is_some_and(|o| o == OWNER)
                && config.name != dead
                && config.subjects.iter().all(|s| self.is_inside(s));
            if !ours {
                continue;
            }
            let consumers = format!("CONSUMER.LIST.{}", config.name);
            for info in self.list::<consumer::Info>(&consumers).await? {
                all.push(self.queue_stats(info).await?);
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Whether a filter of a stream belongs to this bus and not to one with another prefix.
    fn is_inside(&self, filter: &str) -> bool {
        let subject = filter.strip_suffix(".>").unwrap_or(filter);
        let inside = self.names.inside(subject);
        inside.is_some_and(|s| s.as_str().matches('.').count() == 1)
    }

    async fn list<T: DeserializeOwned>(&self, what: &str) -> Result<Vec<T>, BusError> {
        let mut all = Vec::new();
        loop {
            let question = json!({ "offset": all.len() });
            let page: Page<T> = self.link.ask(what.to_owned(), &question).await?;
            let items = page.items.unwrap_or_default();
            let end = items.is_empty();
            all.extend(items);
            if end || all.len() >= page.total {
                return Ok(all);
            }
        }
    }

    async fn queue_stats(&self, info: consumer::Info) -> Result<QueueStats, BusError> {
        let mut oldest = None;
        if info.num_pending > 0 {
            for filter in &info.config.filter_subjects {
                let next = info.delivered.stream_sequence.saturating_add(1);
                let question = json!({ "seq": next, "next_by_subj": filter });
                let found = self.stored(&info.stream_name, &question).await?;
                let at = found.map(|m| unix_ms(m.time.unix_timestamp_nanos()));
                oldest = oldest.into_iter().chain(at).min();
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, millis);
        Ok(QueueStats {
            name: info.name,
            waiting: info.num_pending,
            in_flight: u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX),
            oldest_ms: oldest.map_or(0, |at| now.saturating_sub(at)),
        })
    }
}
