//! What changes, told between processes: planners tell it, and whoever has watchers hears it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};
use ues_bus::{Bus, Subject, SubjectError};

use crate::event::PinEvent;
use crate::message;
use crate::model::PeerId;
use crate::placement::PlacementState;

/// Where it is told.
const NEWS: &str = "pin.news";
/// Changes that are told at a time, and how long they are gathered.
const GATHER: usize = message::MAX_ITEMS;
const PAUSE: Duration = Duration::from_millis(20);
/// The pause after the bus did not answer.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Changes, and who tells them.
#[derive(Serialize, Deserialize)]
struct News {
    from: String,
    events: Vec<Told>,
}

#[derive(Serialize, Deserialize)]
struct Told {
    cid: String,
    peer: PeerId,
    desired: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<u8>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    error: String,
    at: u64,
}

impl Told {
    fn of(event: &PinEvent) -> Self {
        Self {
            cid: event.cid.to_string(),
            peer: event.peer.clone(),
            desired: event.desired,
            state: event.state.map(|state| state as u8),
            error: event.error.clone(),
            at: event.at_ms,
        }
    }

    fn read(self) -> Option<PinEvent> {
        let state = match self.state {
            Some(code) => Some(PlacementState::from_code(code.into())?),
            None => None,
        };
        Some(PinEvent {
            cid: ues_data::parse_cid(&self.cid).ok()?,
            peer: self.peer,
            desired: self.desired,
            state,
            error: self.error,
            at_ms: self.at,
        })
    }
}

/// Tells the changes that this process makes to its own watchers and to the other processes, until there are no more.
pub(crate) async fn tell(
    bus: Arc<dyn Bus>,
    from: String,
    mut events: Receiver<Arc<PinEvent>>,
    here: Sender<Arc<PinEvent>>,
) -> Result<(), SubjectError> {
    let subject = Subject::new(NEWS)?;
    loop {
        let mut gathered = Vec::new();
        let mut take = |event: Arc<PinEvent>| {
            gathered.push(Told::of(&event));
            // Nobody has to watch.
            let _ = here.send(event);
            gathered.len()
        };
        match events.recv().await {
            Ok(event) => take(event),
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return Ok(()),
        };
        tokio::time::sleep(PAUSE).await;
        while let Ok(event) = events.try_recv()
            && take(event) < GATHER
        {}
        let news = News {
            from: from.clone(),
            events: gathered,
        };
        if let Err(error) = bus.tell(&subject, message::write(&news)).await {
            tracing::debug!(%error, "watchers elsewhere miss some changes");
            tokio::time::sleep(AFTER_FAILURE).await;
        }
    }
}

/// Hears the changes that others make, for ever.
pub(crate) async fn hear(
    bus: Arc<dyn Bus>,
    myself: String,
    to: Sender<Arc<PinEvent>>,
) -> Result<(), SubjectError> {
    let subject = Subject::new(NEWS)?;
    loop {
        match bus.listen(&subject).await {
            Ok(mut told) => {
                while let Some(news) = told.next().await {
                    pass_on(&news, &myself, &to);
                }
            }
            Err(error) => tracing::debug!(%error, "changes made elsewhere are not heard"),
        }
        tokio::time::sleep(AFTER_FAILURE).await;
    }
}

fn pass_on(news: &Bytes, myself: &str, to: &Sender<Arc<PinEvent>>) {
    match message::read::<News>(news) {
        Ok(news) if news.from == myself => {}
        Ok(news) => {
            for event in news.events.into_iter().filter_map(Told::read) {
                // Nobody has to watch.
                let _ = to.send(Arc::new(event));
            }
        }
        Err(error) => tracing::warn!(%error, "news that cannot be read"),
    }
}
