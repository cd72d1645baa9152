//! The latest failures of workers, kept in memory for people to look at.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use ues_pins::event::Watch;
use ues_pins::{PinEvent, PlacementState};

/// How many are kept.
const KEPT: usize = 50;

/// The latest failures, the newest first; one for each CID and worker. Cheap to clone.
#[derive(Clone, Default)]
pub struct Failures(Arc<Mutex<VecDeque<Arc<PinEvent>>>>);

impl Failures {
    /// Gathers them until it is stopped.
    pub async fn follow(self, mut events: Watch, stop: CancellationToken) {
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => event,
            };
            match event {
                Ok(event) => self.take(event),
                // What was missed is old already.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// All that are kept.
    pub fn latest(&self) -> Vec<Arc<PinEvent>> {
        self.0.lock().iter().cloned().collect()
    }

    fn take(&self, event: Arc<PinEvent>) {
        if event.state != Some(PlacementState::Error) {
            return;
        }
        let mut kept = self.0.lock();
        kept.retain(|old| (&old.cid, &old.peer) != (&event.cid, &event.peer));
        kept.push_front(event);
        kept.truncate(KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64, state: PlacementState, at_ms: u64) -> Arc<PinEvent> {
        Arc::new(PinEvent {
            cid: ues_data::content_id::raw_cid(&number.to_be_bytes()),
            peer: ues_pins::PeerId::from_ed25519(&[1; 32]),
            desired: true,
            state: Some(state),
            error: "gone".to_owned(),
            at_ms,
        })
    }

    #[test]
    fn the_newest_of_each_is_kept() {
        let failures = Failures::default();
        failures.take(event(1, PlacementState::Pinned, 0));
        for number in 0..60 {
            failures.take(event(number, PlacementState::Error, number));
        }
        failures.take(event(30, PlacementState::Error, 99));
        let latest = failures.latest();
        assert_eq!(latest.len(), KEPT);
        let times: Vec<_> = latest.iter().map(|f| f.at_ms).collect();
        assert_eq!(times.get(..3), Some(&[99, 59, 58][..]));
        assert!(!times.contains(&30));
    }
}
