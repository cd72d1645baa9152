//! `Watch`: changes as they happen.

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;
use ues_data::Cid;

use super::v1;
use super::v1::watch_response::Event;
use super::wire::{placement_state, timestamp};
use crate::auth::Caller;
use crate::event::{PinEvent, Watch};
use crate::pinning_service::concerns;
use crate::service::Pins;

struct Watcher {
    pins: Pins,
    caller: Caller,
    cids: Vec<Cid>,
    events: Watch,
}

/// Changes of these CIDs, or of all, as far as they concern the caller.
pub(super) fn watch(
    pins: Pins,
    caller: Caller,
    cids: Vec<Cid>,
) -> BoxStream<'static, Result<v1::WatchResponse, Status>> {
    let watcher = Watcher {
        events: pins.watch(),
        pins,
        caller,
        cids,
    };
    let events = futures::stream::unfold(watcher, |mut watcher| async {
        let event = Some(watcher.next().await?);
        Some((Ok(v1::WatchResponse { event }), watcher))
    });
    events.boxed()
}

impl Watcher {
    /// The next change; `None` when the service ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let event = match self.events.recv().await {
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(missed)) => return Some(Event::Missed(missed)),
                Ok(event) => event,
            };
            let asked = self.cids.is_empty() || self.cids.contains(&event.cid);
            if asked && concerns(&self.pins, &self.caller, &event).await {
                return Some(Event::Change(change(&event)));
            }
        }
    }
}

fn change(event: &PinEvent) -> v1::PlacementChange {
    v1::PlacementChange {
        cid: event.cid.to_string(),
        worker: event.peer.to_string(),
        state: placement_state(event.desired, event.state).into(),
        changed_at: Some(timestamp(event.at_ms)),
        error: event.error.clone(),
    }
}
