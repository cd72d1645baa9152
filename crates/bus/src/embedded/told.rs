//! What is told to whoever listens just now.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::message::Subject;

/// What a listener may lag behind before it misses some.
const LAG: usize = 1024;

/// Carries it to the listeners of this process.
pub(super) struct Told(broadcast::Sender<(Subject, Bytes)>);

impl Default for Told {
    fn default() -> Self {
        Self(broadcast::channel(LAG).0)
    }
}

impl Told {
    pub(super) fn tell(&self, subject: &Subject, payload: Bytes) {
        // Nobody has to listen.
        let _ = self.0.send((subject.clone(), payload));
    }

    pub(super) fn listen(&self, subject: &Subject) -> BoxStream<'static, Bytes> {
        let heard = (self.0.subscribe(), subject.clone());
        futures::stream::unfold(heard, |(mut from, subject)| async move {
            loop {
                match from.recv().await {
                    Ok((about, payload)) if about == subject => {
                        return Some((payload, (from, subject)));
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        })
        .boxed()
    }
}
