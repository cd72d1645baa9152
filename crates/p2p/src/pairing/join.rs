//! Joining: the handshake on the side of the device that was invited.

use futures::io::WriteHalf;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{Multiaddr, PeerId, Stream};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use ues_sync::pairing::{
    Action, CodeKeys, Device, Joiner, LinkError, MAX_MESSAGE, PairingError, Ticket,
};

use super::PROTOCOL;
use super::nearby::LOOK_FOR;
use super::service::{
    Event, Input, JoinedRepository, PairError, Pairing, PairingService, WAITING_MESSAGES,
    next_input, nonce, now_ms, send,
};
use crate::framing::Incoming;
use crate::identity;

impl PairingService {
    /// Joins: looks the inviter up, and goes through the handshake. What was granted comes by `granted`.
    ///
    /// # Errors
    /// [`PairError`] when the other cannot be reached.
    pub async fn join<F, G>(&self, ticket: &str, granted: F) -> Result<Pairing, PairError>
    where
        F: FnOnce(JoinedRepository, PeerId) -> G + Send + 'static,
        G: Future<Output = Result<(), String>> + Send,
    {
        let ticket: Ticket = ticket
            .parse()
            .map_err(|e: LinkError| PairError::Ticket(e.to_string()))?;
        let code = ticket.code().clone();
        let keys = tokio::task::spawn_blocking(move || code.derive())
            .await
            .map_err(|e| PairError::Ticket(e.to_string()))?
            .map_err(|e| PairError::Ticket(e.to_string()))?;
        let Ticket::Link(link) = &ticket else {
            return Ok(self.join_nearby(keys, granted));
        };
        let peer = identity::peer_with(link.peer())
            .ok_or_else(|| PairError::Ticket("the link names no device key".to_owned()))?;
        let addresses: Vec<Multiaddr> = link
            .addresses()
            .iter()
            .filter_map(|address| address.parse().ok())
            .collect();
        self.network
            .connect_peer(peer, addresses)
            .await
            .map_err(PairError::Unreachable)?;
        let stream = self.network.open_stream(peer, PROTOCOL).await?;
        let local = self.replicas.device().verifying_key().clone();
        let device = Device::new(local, link.peer().clone(), self.name.clone())
            .map_err(|e| PairError::Ticket(e.to_string()))?;
        let nonce = nonce().map_err(PairError::Random)?;
        let (joiner, actions) = Joiner::new(keys, device, ticket.peer(), nonce, now_ms())
            .map_err(|e: PairingError| PairError::Ticket(e.to_string()))?;
        Ok(follow(move |receiver, events| async move {
            let (reader, writer) = stream.split();
            let incoming = Incoming::start(reader, MAX_MESSAGE, WAITING_MESSAGES);
            let met = Met {
                joiner,
                actions,
                incoming,
                writer,
            };
            let joined = join(met, receiver, &events).await?;
            granted(joined, peer).await
        }))
    }

    /// Joins by a bare code: asks the devices of the local network who has invited with it.
    fn join_nearby<F, G>(&self, keys: CodeKeys, granted: F) -> Pairing
    where
        F: FnOnce(JoinedRepository, PeerId) -> G + Send + 'static,
        G: Future<Output = Result<(), String>> + Send,
    {
        let this = self.clone();
        follow(move |receiver, events| async move {
            let found = this
                .nearby
                .find(LOOK_FOR, |peer| this.ask(peer, keys.clone()))
                .await;
            let (peer, met) = found.ok_or_else(|| PairError::NobodyFound.to_string())?;
            let joined = join(met, receiver, &events).await?;
            granted(joined, peer).await
        })
    }

    /// Says hello to a device of the local network; `None` unless it has invited with the code.
    async fn ask(&self, peer: PeerId, keys: CodeKeys) -> Option<Met> {
        let stream = self.network.open_stream(peer, PROTOCOL).await.ok()?;
        let local = self.replicas.device().verifying_key().clone();
        let device = Device::new(local, identity::key_of(&peer)?, self.name.clone()).ok()?;
        let (mut joiner, hello) = Joiner::new(keys, device, None, nonce().ok()?, now_ms()).ok()?;
        let (reader, mut writer) = stream.split();
        let mut incoming = Incoming::start(reader, MAX_MESSAGE, WAITING_MESSAGES);
        for action in hello {
            if let Action::Send(bytes) = action {
                send(&mut writer, &bytes).await.ok()?;
            }
        }
        let answer = incoming.next().await.ok()??;
        let actions = joiner.on_message(&answer, now_ms());
        joiner.offer()?;
        Some(Met {
            joiner,
            actions,
            incoming,
            writer,
        })
    }
}

/// An inviter that was spoken to, and what has to be done next.
struct Met {
    joiner: Joiner,
    actions: Vec<Action>,
    incoming: Incoming,
    writer: WriteHalf<Stream>,
}

/// Runs a handshake in the background, for the user to follow.
fn follow<F, G>(run: F) -> Pairing
where
    F: FnOnce(mpsc::Receiver<bool>, watch::Sender<Event>) -> G,
    G: Future<Output = Result<(), String>> + Send + 'static,
{
    let (events, follow) = watch::channel(Event::Waiting);
    let (answers, receiver) = mpsc::channel(1);
    let ended = events.clone();
    let running = run(receiver, events);
    tokio::spawn(async move {
        let outcome = running.await;
        ended.send_replace(match outcome {
            Ok(()) => Event::Done,
            Err(reason) => Event::Failed { reason },
        });
    });
    Pairing {
        events: follow,
        answers,
    }
}

async fn join(
    met: Met,
    answers: mpsc::Receiver<bool>,
    events: &watch::Sender<Event>,
) -> Result<JoinedRepository, String> {
    let Met {
        mut joiner,
        actions,
        mut incoming,
        writer: mut stream,
    } = met;
    let answers = Arc::new(tokio::sync::Mutex::new(answers));
    let mut actions: std::collections::VecDeque<Action> = actions.into();
    let mut asked = false;
    loop {
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Send(bytes) => send(&mut stream, &bytes).await?,
                Action::ShowWords(words) => {
                    let device = joiner.offer().map(|(name, _)| name.as_str().to_owned());
                    events.send_replace(Event::Compare {
                        words: words.to_vec(),
                        device: device.unwrap_or_default(),
                    });
                }
                Action::AskConfirmation => asked = true,
                Action::Complete(payload) => {
                    let _ = stream.close().await;
                    return serde_json::from_slice(&payload)
                        .map_err(|_| "the other device granted what cannot be read".to_owned());
                }
                Action::Failed(error) => {
                    let _ = stream.close().await;
                    return Err(error.to_string());
                }
                _ => {}
            }
        }
        let waiting = asked.then(|| Arc::clone(&answers));
        let input = next_input(&mut incoming, joiner.deadline_ms(), waiting).await;
        let now = now_ms();
        actions = match input {
            Input::Message(bytes) => joiner.on_message(&bytes, now),
            Input::Answer(same) => {
                asked = false;
                events.send_replace(Event::Confirmed);
                joiner.on_confirmation(same, now)
            }
            Input::Late => joiner.on_timeout(now),
            Input::Closed => return Err("the other device went away".to_owned()),
        }
        .into();
    }
}
