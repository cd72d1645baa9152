//! The side that invites.

use std::mem;

use ues_repo::crypto::VerifyingKey;
use ues_repo::syntax::Did;

use super::{Action, CONFIRM_MS, Device, MESSAGE_MS, PairingError, VERSION, failure, unexpected};
use crate::pairing::code::{CodeKeys, LookupId};
use crate::pairing::invitation::{Invitation, InvitationError};
use crate::pairing::message::{
    Body, Grant, Hello, MAX_PAYLOAD, MessageError, Offer, Reveal, SecretBytes, fixed,
};
use crate::pairing::name::DeviceName;
use crate::pairing::transcript::{Transcript, commitment, words_of};

/// The inviter's half of one handshake.
///
/// After [`Action::Complete`] or [`Action::Failed`] every input is answered with nothing.
#[derive(Debug)]
pub struct Inviter {
    device: Device,
    nonce: [u8; 32],
    state: State,
    deadline_ms: u64,
}

#[derive(Debug)]
enum State {
    /// Waits for Hello.
    Start,
    /// Waits for Reveal.
    Offered(Offered),
    /// Waits for both users.
    Confirming {
        agreed: Agreed,
        here: bool,
        there: bool,
    },
    /// Waits for the caller's grant.
    Granting(Agreed),
    /// Waits for Joined.
    Granted,
    Over,
}

#[derive(Debug)]
struct Offered {
    hello: Vec<u8>,
    offer: SecretBytes,
    lookup_id: LookupId,
    joiner: DeviceName,
    commitment: [u8; 32],
    repository: Did,
}

#[derive(Debug)]
struct Agreed {
    keys: CodeKeys,
    transcript: [u8; 32],
    joiner: DeviceName,
    repository: Did,
}

impl Inviter {
    /// A handshake on a stream that has just been opened. The nonce is random and never used again.
    pub fn new(device: Device, nonce: [u8; 32], now_ms: u64) -> Self {
        Self {
            device,
            nonce,
            state: State::Start,
            deadline_ms: now_ms.saturating_add(MESSAGE_MS),
        }
    }

    /// When to call [`Self::on_timeout`]; none when it is over.
    pub fn deadline_ms(&self) -> Option<u64> {
        (!matches!(self.state, State::Over)).then_some(self.deadline_ms)
    }

    /// What the joiner calls its device, once it has proved that it knows the code.
    pub fn joiner(&self) -> Option<&DeviceName> {
        match &self.state {
            State::Confirming { agreed, .. } | State::Granting(agreed) => Some(&agreed.joiner),
            _ => None,
        }
    }

    /// A message came. `invitations` are those that are open here, of any repository.
    pub fn on_message(
        &mut self,
        invitations: &mut [Invitation],
        bytes: &[u8],
        now_ms: u64,
    ) -> Vec<Action> {
        self.step(now_ms, |this, state| {
            let body = Body::read(bytes)?;
            match (state, body) {
                (State::Start, Body::Hello(hello)) => {
                    this.on_hello(invitations, &hello, bytes, now_ms)
                }
                (State::Offered(offered), Body::Reveal(reveal)) => {
                    this.on_reveal(invitations, offered, &reveal, now_ms)
                }
                (
                    State::Confirming {
                        agreed,
                        here,
                        there: false,
                    },
                    Body::Confirm(_),
                ) => Ok(this.confirmed(agreed, here, true, now_ms)),
                (State::Granted, Body::Joined(_)) => {
                    Ok(vec![Action::Complete(SecretBytes::new(Vec::new()))])
                }
                (state, body) => Err(unexpected(state.waiting_for(), &body)),
            }
        })
    }

    /// The user has compared the words.
    pub fn on_confirmation(&mut self, same: bool, now_ms: u64) -> Vec<Action> {
        if !matches!(self.state, State::Confirming { here: false, .. }) {
            return Vec::new();
        }
        self.step(now_ms, |this, state| match state {
            State::Confirming { agreed, there, .. } if same => {
                Ok(this.confirmed(agreed, true, there, now_ms))
            }
            _ => Err(PairingError::Declined),
        })
    }

    /// The caller has made the grant that [`Action::MakeGrant`] asked for.
    pub fn on_grant(&mut self, payload: &SecretBytes, now_ms: u64) -> Vec<Action> {
        if !matches!(self.state, State::Granting(_)) {
            return Vec::new();
        }
        self.step(now_ms, |this, state| {
            let State::Granting(agreed) = state else {
                return Err(PairingError::Cancelled);
            };
            if payload.len() > MAX_PAYLOAD {
                let found = payload.len();
                return Err(MessageError::Payload { found }.into());
            }
            let proof = agreed.keys.prove_inviter(&agreed.transcript, payload);
            this.enter(State::Granted, now_ms, MESSAGE_MS);
            Ok(vec![Action::Send(
                Body::Grant(Grant {
                    payload: payload.to_vec(),
                    proof: proof.to_vec(),
                })
                .write(),
            )])
        })
    }

    /// The time of [`Self::deadline_ms`] has come; before it, nothing happens.
    pub fn on_timeout(&mut self, now_ms: u64) -> Vec<Action> {
        if now_ms < self.deadline_ms {
            return Vec::new();
        }
        // `step` itself sees that it is late
        self.step(now_ms, |_, _| Ok(Vec::new()))
    }

    /// The caller gives up.
    pub fn cancel(&mut self) -> Vec<Action> {
        match mem::replace(&mut self.state, State::Over) {
            State::Over => Vec::new(),
            _ => failure(PairingError::Cancelled),
        }
    }

    /// Checks the time and takes the state out: an input that does not set another has ended the handshake.
    fn step(
        &mut self,
        now_ms: u64,
        input: impl FnOnce(&mut Self, State) -> Result<Vec<Action>, PairingError>,
    ) -> Vec<Action> {
        let state = mem::replace(&mut self.state, State::Over);
        if matches!(state, State::Over) {
            return Vec::new();
        }
        let result = if now_ms >= self.deadline_ms {
            Err(PairingError::Timeout {
                waiting_for: state.waiting_for(),
            })
        } else {
            input(self, state)
        };
        result.unwrap_or_else(|error| {
            self.state = State::Over;
            failure(error)
        })
    }

    fn enter(&mut self, state: State, now_ms: u64, within_ms: u64) {
        self.state = state;
        self.deadline_ms = now_ms.saturating_add(within_ms);
    }

    fn on_hello(
        &mut self,
        invitations: &mut [Invitation],
        hello: &Hello,
        bytes: &[u8],
        now_ms: u64,
    ) -> Result<Vec<Action>, PairingError> {
        if hello.version != VERSION {
            return Err(PairingError::Version {
                expected: VERSION,
                found: hello.version,
            });
        }
        let (lookup_id, joiner, commitment) = hello.checked()?;
        let invitation = find(invitations, lookup_id)?;
        invitation.begin(now_ms)?;
        let repository = invitation.repository();
        let handle = repository.handle.as_ref();
        let offer = Body::Offer(Offer {
            nonce: self.nonce.to_vec(),
            device_name: self.device.name.as_str().to_owned(),
            did: repository.did.as_str().to_owned(),
            handle: handle.map(|h| h.as_str().to_owned()).unwrap_or_default(),
        })
        .write();
        let offered = Offered {
            hello: bytes.to_vec(),
            offer: offer.clone(),
            lookup_id,
            joiner,
            commitment,
            repository: repository.did.clone(),
        };
        self.enter(State::Offered(offered), now_ms, MESSAGE_MS);
        Ok(vec![Action::Send(offer)])
    }

    fn on_reveal(
        &mut self,
        invitations: &mut [Invitation],
        offered: Offered,
        reveal: &Reveal,
        now_ms: u64,
    ) -> Result<Vec<Action>, PairingError> {
        let nonce: [u8; 32] = fixed("nonce", &reveal.nonce)?;
        let (joiner, inviter): (&VerifyingKey, _) = (&self.device.remote, &self.device.local);
        if commitment(&nonce, joiner, inviter) != offered.commitment {
            return Err(PairingError::Commitment);
        }
        let transcript = Transcript {
            hello: &offered.hello,
            offer: &offered.offer,
            nonce: &nonce,
            joiner,
            inviter,
        }
        .hash();
        let invitation = find(invitations, offered.lookup_id)?;
        let keys = invitation.accept(now_ms, &transcript, &reveal.proof)?;
        let state = State::Confirming {
            agreed: Agreed {
                keys,
                transcript,
                joiner: offered.joiner,
                repository: offered.repository,
            },
            here: false,
            there: false,
        };
        self.enter(state, now_ms, CONFIRM_MS);
        Ok(vec![
            Action::ShowWords(words_of(&transcript)),
            Action::AskConfirmation,
        ])
    }

    /// One of the users has confirmed; the time for the other goes on.
    fn confirmed(&mut self, agreed: Agreed, here: bool, there: bool, now_ms: u64) -> Vec<Action> {
        if !(here && there) {
            self.state = State::Confirming {
                agreed,
                here,
                there,
            };
            return Vec::new();
        }
        let grant = Action::MakeGrant {
            repository: agreed.repository.clone(),
            key: self.device.remote.clone(),
            device_name: agreed.joiner.clone(),
        };
        self.enter(State::Granting(agreed), now_ms, MESSAGE_MS);
        vec![grant]
    }
}

impl State {
    fn waiting_for(&self) -> &'static str {
        match self {
            Self::Start => "Hello",
            Self::Offered(_) => "Reveal",
            Self::Confirming { there: false, .. } => "Confirm",
            Self::Confirming { .. } => "the user's confirmation",
            Self::Granting(_) => "the grant",
            Self::Granted => "Joined",
            Self::Over => "nothing",
        }
    }
}

fn find(
    invitations: &mut [Invitation],
    lookup_id: LookupId,
) -> Result<&mut Invitation, InvitationError> {
    invitations
        .iter_mut()
        .find(|invitation| invitation.lookup_id() == lookup_id)
        .ok_or(InvitationError::Unknown)
}
