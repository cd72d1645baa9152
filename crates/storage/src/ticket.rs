//! What a submitter holds until its batch is durable.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tokio::sync::oneshot;

use crate::error::CommitError;

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Committed {
    /// Sequence number of the batch's first event, when it has one.
    pub first_seq: Option<u64>,
    /// Sequence number of the batch's last event, when it has one.
    pub last_seq: Option<u64>,
}

/// The answer to a submitted batch: a future, or a blocking [`wait`](Self::wait). Dropping it does not take the
/// batch back.
#[derive(Debug)]
#[must_use = "the batch is durable only once the ticket is resolved"]
pub struct Ticket(oneshot::Receiver<Result<Committed, CommitError>>);

pub(crate) type Reply = oneshot::Sender<Result<Committed, CommitError>>;

impl Ticket {
    pub(crate) fn pair() -> (Reply, Self) {
        let (reply, answer) = oneshot::channel();
        (reply, Self(answer))
    }

    /// Blocks the thread until the batch is durable. Not for use on the threads of an async runtime.
    pub fn wait(self) -> Result<Committed, CommitError> {
        block_on(self)
    }
}

impl Future for Ticket {
    type Output = Result<Committed, CommitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The committer drops the sender only when the store closes first.
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|answer| answer.unwrap_or(Err(CommitError::Closed)))
    }
}

/// Runs a future on this thread, parking it in between.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
