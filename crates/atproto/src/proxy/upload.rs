//! The body of a request on its way from a client to a service.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::try_unfold;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::xrpc::{Pieces, XrpcError};

/// How long a service may leave a body unread.
const STUCK: Duration = Duration::from_secs(60);

/// A body on its way to the service.
#[derive(Clone)]
pub struct Upload(Arc<Mutex<UploadState>>);

struct UploadState {
    last_piece: Instant,
    under_way: bool,
    failure: Option<XrpcError>,
}

impl Default for Upload {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(UploadState {
            last_piece: Instant::now(),
            under_way: false,
            failure: None,
        })))
    }
}

impl Upload {
    /// The body as the client sends it on.
    pub fn body(&self, pieces: Pieces) -> reqwest::Body {
        self.0.lock().under_way = true;
        let stream = try_unfold((pieces, self.clone()), |(mut pieces, upload)| async move {
            let next = pieces.next().await;
            let mut state = upload.0.lock();
            state.last_piece = Instant::now();
            match next {
                Ok(Some(piece)) => {
                    drop(state);
                    Ok(Some((piece, (pieces, upload))))
                }
                Ok(None) => {
                    state.under_way = false;
                    Ok(None)
                }
                Err(error) => {
                    state.under_way = false;
                    let cause = io::Error::other(error.to_string());
                    state.failure = Some(error);
                    Err(cause)
                }
            }
        });
        reqwest::Body::wrap_stream(stream)
    }

    /// When the last piece went out.
    pub fn last_piece(&self) -> Instant {
        self.0.lock().last_piece
    }

    /// Whether the client still has to send something. A service that does not read is not waited
    /// for longer than for the answer.
    pub fn is_under_way(&self) -> bool {
        let state = self.0.lock();
        state.under_way && state.last_piece.elapsed() < STUCK
    }

    /// What was wrong with the body that the caller sent.
    pub fn failure(&self) -> Option<XrpcError> {
        self.0.lock().failure.clone()
    }
}
