//! Reads on what a refused client is still sending: many clients send all before they look at the answer, and would see
//! nothing but a broken connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Most bytes that are read on.
const MAX_REST: usize = 4 << 20;
/// Longest time for which they are read on.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is left of a body once nobody reads it any more.
pub(super) struct Rest(oneshot::Receiver<Body>);

/// A body that is given back when it is dropped.
struct Lent {
    body: Body,
    back: Option<oneshot::Sender<Body>>,
}

/// A request whose body is given back.
pub(super) fn lend(request: Request) -> (Request, Rest) {
    let (send, receive) = oneshot::channel();
    let request = request.map(|body| {
        let back = Some(send);
        Body::new(Lent { body, back })
    });
    (request, Rest(receive))
}

impl Rest {
    /// Reads it and throws it away, within bounds.
    pub(super) async fn drain(self) {
        let reading = async {
            let mut read = 0;
            let Ok(mut body) = self.0.await else { return };
            while let Some(Ok(frame)) = body.frame().await {
                read += frame.data_ref().map_or(0, Bytes::len);
                if read > MAX_REST {
                    return;
                }
            }
        };
        // Who sends more, or slowly, has to live with it.
        let _ = timeout(PATIENCE, reading).await;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(back) = self.back.take() {
            // Nobody waits for it once the answer is on its way.
            let _ = back.send(std::mem::take(&mut self.body));
        }
    }
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
