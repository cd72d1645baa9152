//! Topics whose messages the application judges before they travel on.

use bytes::Bytes;
use libp2p::PeerId;
use libp2p::gossipsub::{MessageAcceptance, MessageId, TopicHash};
use tokio::sync::mpsc;

use crate::driver::Command;

/// What the application thinks of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Good: it is passed on to other peers.
    Accept,
    /// Bad: it goes no further and counts against the peer that passed it to us.
    Reject,
    /// Neither: it goes no further.
    Ignore,
}

impl From<Verdict> for MessageAcceptance {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Accept => Self::Accept,
            Verdict::Reject => Self::Reject,
            Verdict::Ignore => Self::Ignore,
        }
    }
}

/// A message that waits for its verdict. Dropped without one, it is ignored.
#[derive(Debug)]
pub struct GossipMessage {
    /// Who wrote and signed it.
    pub author: PeerId,
    /// Who passed it to us.
    pub from: PeerId,
    /// What it says.
    pub data: Bytes,
    id: MessageId,
    verdicts: Option<mpsc::UnboundedSender<GivenVerdict>>,
}

/// A verdict on its way to the host. As many can be under way as messages wait, which is bounded.
#[derive(Debug)]
pub(crate) struct GivenVerdict {
    pub(crate) id: MessageId,
    pub(crate) from: PeerId,
    pub(crate) verdict: Verdict,
}

impl GossipMessage {
    pub(crate) fn new(
        author: PeerId,
        from: PeerId,
        data: Bytes,
        id: MessageId,
        verdicts: mpsc::UnboundedSender<GivenVerdict>,
    ) -> Self {
        Self {
            author,
            from,
            data,
            id,
            verdicts: Some(verdicts),
        }
    }

    /// Judges the message and gives back its content.
    pub fn judge(mut self, verdict: Verdict) -> Bytes {
        self.send(verdict);
        std::mem::take(&mut self.data)
    }

    fn send(&mut self, verdict: Verdict) {
        if let Some(verdicts) = self.verdicts.take() {
            // A host that has stopped needs no verdicts.
            let _ = verdicts.send(GivenVerdict {
                id: self.id.clone(),
                from: self.from,
                verdict,
            });
        }
    }
}

impl Drop for GossipMessage {
    fn drop(&mut self) {
        self.send(Verdict::Ignore);
    }
}

/// The messages of one topic. Dropping it leaves the topic.
#[derive(Debug)]
pub struct Subscription {
    pub(crate) topic: TopicHash,
    pub(crate) messages: mpsc::Receiver<GossipMessage>,
    pub(crate) commands: mpsc::WeakSender<Command>,
}

impl Subscription {
    /// The next message; none once the host has stopped.
    pub async fn next(&mut self) -> Option<GossipMessage> {
        self.messages.recv().await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.messages.close();
        if let Some(commands) = self.commands.upgrade() {
            let command = Command::Unsubscribe(self.topic.clone());
            if let Err(mpsc::error::TrySendError::Full(command)) = commands.try_send(command)
                && let Ok(runtime) = tokio::runtime::Handle::try_current()
            {
                runtime.spawn(async move { commands.send(command).await });
            }
        }
    }
}
