//! The handshakes of a node, on both sides.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{Multiaddr, PeerId, Stream};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use ues_repo::crypto::VerifyingKey;
use ues_repo::syntax::{Did, Handle};
use ues_sync::pairing::{
    Action, Code, DEFAULT_LIFETIME, Device, DeviceName, Invitation, Inviter, MAX_MESSAGE,
    Repository, SecretBytes,
};
use ues_sync::store::Replicas;

use super::PROTOCOL;
use super::nearby::Nearby;
use crate::error::{ConnectError, OpenStreamError};
use crate::framing::{self, Incoming};
use crate::identity;
use crate::network::Network;

/// How long the other may take to read a message.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// Messages that are read ahead.
pub(super) const WAITING_MESSAGES: usize = 2;

/// Where a user's answer comes from.
type Answers = Arc<tokio::sync::Mutex<mpsc::Receiver<bool>>>;
/// Whoever follows a handshake: hears of it, and answers.
type Follower = (watch::Sender<Event>, Answers, Option<Handle>);

/// How a handshake stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "stage", rename_all = "camelCase")]
pub enum Event {
    /// Nobody has come yet, or the other is being looked for.
    Waiting,
    /// Both show these words; the users compare them.
    #[serde(rename_all = "camelCase")]
    Compare {
        /// The four words.
        words: Vec<&'static str>,
        /// What the other device is called.
        device: String,
    },
    /// This side has confirmed; the other has not yet.
    Confirmed,
    /// It is done.
    Done,
    /// It is over.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Why no handshake can begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// What was given is no invitation.
    #[error("{0}")]
    Ticket(String),
    /// No random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
    /// A bare code, and no device in this network answers to it.
    #[error("no device in this network has invited with that code: use the link instead")]
    NobodyFound,
    /// The other cannot be reached.
    #[error("none of the addresses in the link answers: {0}")]
    Unreachable(ConnectError),
    /// The other cannot be spoken to.
    #[error(transparent)]
    Stream(#[from] OpenStreamError),
    /// Too many at once.
    #[error("there are too many open invitations: end one of them first")]
    TooMany,
}

/// What a device that joined was granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinedRepository {
    /// The repository.
    pub did: Did,
    /// Its account's handle.
    pub handle: Option<Handle>,
    /// The repository's own key, as a `did:key`.
    pub root: String,
}

/// One handshake, as the user follows it.
#[derive(Clone)]
pub struct Pairing {
    pub(super) events: watch::Receiver<Event>,
    pub(super) answers: mpsc::Sender<bool>,
}

impl Pairing {
    /// How it stands now.
    pub fn event(&self) -> Event {
        self.events.borrow().clone()
    }

    /// Waits until it stands otherwise than `than`.
    pub async fn wait_for_change(&mut self, than: &Event) -> Event {
        match self.events.wait_for(|event| event != than).await {
            Ok(event) => event.clone(),
            Err(_) => Event::Failed {
                reason: "the node stopped".to_owned(),
            },
        }
    }

    /// Says whether both devices show the same words.
    pub async fn answer(&self, same: bool) {
        let _ = self.answers.send(same).await;
    }
}

/// The pairing of a node. Cheap to clone.
#[derive(Clone)]
pub struct PairingService {
    pub(super) network: Network,
    pub(super) replicas: Replicas,
    open: Arc<Mutex<HashMap<[u8; 16], Open>>>,
    pub(super) name: DeviceName,
    pub(super) nearby: Nearby,
}

struct Open {
    invitation: Invitation,
    events: watch::Sender<Event>,
    answers: Answers,
}

/// Addresses in a link: its QR code has to fit into a terminal.
const MAX_TOLD: usize = 6;
/// Most invitations that may be open.
const MAX_OPEN: usize = 16;

impl PairingService {
    /// Starts to accept handshakes. `name` is what this device is called.
    ///
    /// # Errors
    /// When somebody accepts the protocol already.
    pub fn start(
        network: Network,
        replicas: Replicas,
        name: DeviceName,
    ) -> Result<Self, OpenStreamError> {
        let mut incoming = network.accept_streams(PROTOCOL)?;
        let this = Self {
            nearby: Nearby::new(network.nearby()),
            network,
            replicas,
            open: Arc::default(),
            name,
        };
        let accepting = this.clone();
        tokio::spawn(async move {
            while let Some((peer, stream)) = incoming.next().await {
                let this = accepting.clone();
                tokio::spawn(async move { this.accept(peer, stream).await });
            }
        });
        Ok(this)
    }

    /// Invites a device to hold a repository. Answers the code, the link, and the handshake to follow.
    ///
    /// # Errors
    /// [`PairError`].
    pub async fn invite(
        &self,
        did: Did,
        handle: Option<Handle>,
    ) -> Result<(Invited, Pairing), PairError> {
        let mut random = [0; Code::RANDOM];
        getrandom::fill(&mut random).map_err(|e| PairError::Random(e.to_string()))?;
        let repository = Repository { did, handle };
        let invitation = tokio::task::spawn_blocking(move || {
            Invitation::new(
                Code::from_random(&random),
                repository,
                now_ms(),
                DEFAULT_LIFETIME,
            )
        })
        .await
        .map_err(|e| PairError::Ticket(e.to_string()))?
        .map_err(|e| PairError::Ticket(e.to_string()))?;
        let told = self.network.addresses_to_tell(MAX_TOLD).await;
        let addresses: Vec<String> = told.iter().map(strip_peer).collect();
        let me = self.replicas.device().verifying_key().clone();
        let link = invitation
            .link(me, &addresses)
            .map_err(|e| PairError::Ticket(e.to_string()))?;
        let invited = Invited {
            code: invitation.code().reveal().to_string(),
            link: link.reveal().to_string(),
            expires_ms: invitation.expires_ms(),
        };
        let (events, follow) = watch::channel(Event::Waiting);
        let (answers, receiver) = mpsc::channel(1);
        let mut open = self.open.lock();
        open.retain(|_, open| open.invitation.check(now_ms()).is_ok());
        if open.len() >= MAX_OPEN {
            return Err(PairError::TooMany);
        }
        open.insert(
            invitation.lookup_id().0,
            Open {
                invitation,
                events,
                answers: Arc::new(tokio::sync::Mutex::new(receiver)),
            },
        );
        Ok((
            invited,
            Pairing {
                events: follow,
                answers,
            },
        ))
    }

    async fn accept(&self, peer: PeerId, stream: Stream) {
        if let Err(reason) = self.handshake(peer, stream).await {
            tracing::info!(%peer, %reason, "a pairing failed");
        }
    }

    async fn handshake(&self, peer: PeerId, stream: Stream) -> Result<(), String> {
        let (reader, mut stream) = stream.split();
        let mut incoming = Incoming::start(reader, MAX_MESSAGE, WAITING_MESSAGES);
        let key = identity::key_of(&peer).ok_or("its key is not an Ed25519 key")?;
        let local = self.replicas.device().verifying_key().clone();
        let device = Device::new(local, key, self.name.clone()).map_err(|e| e.to_string())?;
        let mut inviter = Inviter::new(device, nonce()?, now_ms());
        let mut follow: Option<Follower> = None;
        let mut asked = false;
        loop {
            let answers = follow
                .as_ref()
                .filter(|_| asked)
                .map(|(_, answers, _)| Arc::clone(answers));
            let input = next_input(&mut incoming, inviter.deadline_ms(), answers).await;
            let now = now_ms();
            let actions = match input {
                Input::Message(bytes) => self.with_open(&mut inviter, &bytes, now),
                Input::Answer(same) => {
                    asked = false;
                    if let Some((events, ..)) = &follow {
                        events.send_replace(Event::Confirmed);
                    }
                    inviter.on_confirmation(same, now)
                }
                Input::Late => inviter.on_timeout(now),
                Input::Closed => {
                    let reason = "the other device went away".to_owned();
                    if let Some((events, ..)) = &follow {
                        events.send_replace(Event::Failed {
                            reason: reason.clone(),
                        });
                    }
                    return Err(reason);
                }
            };
            let mut actions: std::collections::VecDeque<Action> = actions.into();
            while let Some(action) = actions.pop_front() {
                match action {
                    Action::Send(bytes) => send(&mut stream, &bytes).await?,
                    Action::ShowWords(words) => {
                        let name = inviter
                            .joiner()
                            .map_or_else(String::new, |n| n.as_str().to_owned());
                        follow = self.follow_used();
                        if let Some((events, ..)) = &follow {
                            events.send_replace(Event::Compare {
                                words: words.to_vec(),
                                device: name,
                            });
                        }
                    }
                    Action::AskConfirmation => asked = true,
                    Action::MakeGrant {
                        repository,
                        key,
                        device_name,
                    } => {
                        let handle = follow.as_ref().and_then(|(.., handle)| handle.clone());
                        let granted = self
                            .grant(&repository, handle, &key, device_name.as_str())
                            .await;
                        match granted {
                            Ok(payload) => actions.extend(inviter.on_grant(&payload, now_ms())),
                            Err(reason) => {
                                tracing::error!(%peer, %reason, "a device could not be granted");
                                actions.extend(inviter.cancel());
                            }
                        }
                    }
                    Action::Complete(_) => {
                        if let Some((events, ..)) = &follow {
                            events.send_replace(Event::Done);
                        }
                        let _ = stream.close().await;
                        return Ok(());
                    }
                    Action::Failed(error) => {
                        if let Some((events, ..)) = &follow {
                            events.send_replace(Event::Failed {
                                reason: error.to_string(),
                            });
                        }
                        let _ = stream.close().await;
                        return Err(error.to_string());
                    }
                    _ => {}
                }
            }
        }
    }

    /// Gives a message to the state machine with all open invitations at hand.
    fn with_open(&self, inviter: &mut Inviter, bytes: &[u8], now: u64) -> Vec<Action> {
        let mut open = self.open.lock();
        let mut entries: Vec<([u8; 16], Open)> = open.drain().collect();
        let mut invitations: Vec<Invitation> = Vec::with_capacity(entries.len());
        let mut rest = Vec::with_capacity(entries.len());
        for (id, entry) in entries.drain(..) {
            invitations.push(entry.invitation);
            rest.push((id, entry.events, entry.answers));
        }
        let actions = inviter.on_message(&mut invitations, bytes, now);
        for ((id, events, answers), invitation) in rest.into_iter().zip(invitations) {
            let entry = Open {
                invitation,
                events,
                answers,
            };
            open.insert(id, entry);
        }
        actions
    }

    /// The invitation that was used up just now: the one that a right proof was given for.
    fn follow_used(&self) -> Option<Follower> {
        let mut open = self.open.lock();
        let used = open
            .iter()
            .find(|(_, open)| open.invitation.is_used())
            .map(|(id, _)| *id)?;
        let entry = open.remove(&used)?;
        let handle = entry.invitation.repository().handle.clone();
        Some((entry.events, entry.answers, handle))
    }

    async fn grant(
        &self,
        did: &Did,
        handle: Option<Handle>,
        key: &VerifyingKey,
        name: &str,
    ) -> Result<SecretBytes, String> {
        let granted = self.replicas.grant(did, key, name).await;
        granted.map_err(|e| e.to_string())?;
        let devices = self.replicas.devices(did).map_err(|e| e.to_string())?;
        let root = devices.into_iter().find(|device| device.root);
        let joined = JoinedRepository {
            did: did.clone(),
            handle,
            root: root.map(|root| root.key).unwrap_or_default(),
        };
        let payload = serde_json::to_vec(&joined).map_err(|e| e.to_string())?;
        Ok(SecretBytes::new(payload))
    }
}

/// What an invitation is given to people as.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Invited {
    /// To be read out.
    pub code: String,
    /// To be copied or scanned.
    pub link: String,
    /// Until when, in milliseconds since 1970.
    pub expires_ms: u64,
}

pub(super) enum Input {
    Message(Bytes),
    Answer(bool),
    Late,
    Closed,
}

pub(super) async fn next_input(
    incoming: &mut Incoming,
    deadline_ms: Option<u64>,
    answers: Option<Answers>,
) -> Input {
    let left = deadline_ms.map_or(0, |deadline| deadline.saturating_sub(now_ms()));
    let answer = async {
        match answers {
            Some(answers) => answers.lock().await.recv().await.unwrap_or(false),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        same = answer => Input::Answer(same),
        message = incoming.next() => match message {
            Ok(Some(bytes)) => Input::Message(bytes),
            _ => Input::Closed,
        },
        () = tokio::time::sleep(Duration::from_millis(left)) => Input::Late,
    }
}

pub(super) async fn send<W: AsyncWrite + Unpin>(
    stream: &mut W,
    bytes: &[u8],
) -> Result<(), String> {
    let sent = tokio::time::timeout(SEND_WITHIN, framing::write(stream, bytes)).await;
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err("the other device does not read what is sent to it".to_owned()),
    }
}

pub(super) fn nonce() -> Result<[u8; 32], String> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|e| e.to_string())?;
    Ok(nonce)
}

/// An address without the peer at its end: the link names it already.
fn strip_peer(address: &Multiaddr) -> String {
    let mut address = address.clone();
    if matches!(
        address.iter().last(),
        Some(libp2p::multiaddr::Protocol::P2p(_))
    ) {
        address.pop();
    }
    address.to_string()
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
