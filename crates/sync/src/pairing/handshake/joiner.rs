//! The side that was invited.

use std::mem;

use ues_repo::crypto::VerifyingKey;
use zeroize::Zeroizing;

use super::{Action, CONFIRM_MS, Device, MESSAGE_MS, PairingError, VERSION, failure, unexpected};
use crate::pairing::code::{CodeKeys, same_proof};
use crate::pairing::invitation::Repository;
use crate::pairing::message::{
    Body, Confirm, Grant, Hello, Joined, MAX_PAYLOAD, MessageError, Offer, Reveal, SecretBytes,
};
use crate::pairing::name::DeviceName;
use crate::pairing::transcript::{Transcript, commitment, words_of};

/// The joiner's half of one handshake.
///
/// After [`Action::Complete`] or [`Action::Failed`] every input is answered with nothing.
#[derive(Debug)]
pub struct Joiner {
    keys: CodeKeys,
    device: Device,
    state: State,
    offer: Option<(DeviceName, Repository)>,
    deadline_ms: u64,
}

#[derive(Debug)]
enum State {
    /// Waits for Offer.
    Start {
        hello: SecretBytes,
        nonce: Nonce,
    },
    /// Waits for the user.
    Confirming {
        transcript: [u8; 32],
    },
    /// Waits for Grant.
    Confirmed {
        transcript: [u8; 32],
    },
    Over,
}

/// The nonce, which nobody may know before the offer has come.
struct Nonce(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonce(…)")
    }
}

impl Joiner {
    /// Begins a handshake on a stream to the inviter, and says hello.
    ///
    /// `peer` is the key in the link, if there was a link ([`Ticket::peer`](crate::pairing::Ticket::peer)): no other
    /// device is spoken to. The nonce is random and never used again.
    pub fn new(
        keys: CodeKeys,
        device: Device,
        peer: Option<&VerifyingKey>,
        nonce: [u8; 32],
        now_ms: u64,
    ) -> Result<(Self, Vec<Action>), PairingError> {
        if let Some(expected) = peer.filter(|peer| **peer != device.remote) {
            return Err(PairingError::OtherPeer {
                expected: expected.did_key(),
                found: device.remote.did_key(),
            });
        }
        let nonce = Zeroizing::new(nonce);
        let hello = Body::Hello(Hello {
            version: VERSION,
            lookup_id: keys.lookup_id().0.to_vec(),
            device_name: device.name.as_str().to_owned(),
            commitment: commitment(&nonce, &device.local, &device.remote).to_vec(),
        })
        .write();
        let joiner = Self {
            keys,
            device,
            state: State::Start {
                hello: hello.clone(),
                nonce: Nonce(nonce),
            },
            offer: None,
            deadline_ms: now_ms.saturating_add(MESSAGE_MS),
        };
        Ok((joiner, vec![Action::Send(hello)]))
    }

    /// When to call [`Self::on_timeout`]; none when it is over.
    pub fn deadline_ms(&self) -> Option<u64> {
        (!matches!(self.state, State::Over)).then_some(self.deadline_ms)
    }

    /// What the inviter says that it is called and invites to, once it has said so. Until the words are confirmed,
    /// anybody may have said it.
    pub fn offer(&self) -> Option<(&DeviceName, &Repository)> {
        self.offer.as_ref().map(|(name, to)| (name, to))
    }

    /// A message came.
    pub fn on_message(&mut self, bytes: &[u8], now_ms: u64) -> Vec<Action> {
        self.step(now_ms, |this, state| {
            let body = Body::read(bytes)?;
            match (state, body) {
                (State::Start { hello, nonce }, Body::Offer(offer)) => {
                    this.on_offer(&hello, &nonce.0, &offer, bytes, now_ms)
                }
                (State::Confirmed { transcript }, Body::Grant(grant)) => {
                    this.on_grant(&transcript, grant)
                }
                (state, body) => Err(unexpected(state.expected(), &body)),
            }
        })
    }

    /// The user has compared the words.
    pub fn on_confirmation(&mut self, same: bool, now_ms: u64) -> Vec<Action> {
        if !matches!(self.state, State::Confirming { .. }) {
            return Vec::new();
        }
        self.step(now_ms, |this, state| match state {
            State::Confirming { transcript } if same => {
                // the inviter's user may take the whole time, and then the grant has to be made
                this.enter(
                    State::Confirmed { transcript },
                    now_ms,
                    CONFIRM_MS + 2 * MESSAGE_MS,
                );
                Ok(vec![Action::Send(Body::Confirm(Confirm {}).write())])
            }
            _ => Err(PairingError::Declined),
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

    fn on_offer(
        &mut self,
        hello: &[u8],
        nonce: &[u8; 32],
        offer: &Offer,
        bytes: &[u8],
        now_ms: u64,
    ) -> Result<Vec<Action>, PairingError> {
        self.offer = Some(offer.checked()?);
        let transcript = Transcript {
            hello,
            offer: bytes,
            nonce,
            joiner: &self.device.local,
            inviter: &self.device.remote,
        }
        .hash();
        self.enter(State::Confirming { transcript }, now_ms, CONFIRM_MS);
        let reveal = Body::Reveal(Reveal {
            nonce: nonce.to_vec(),
            proof: self.keys.prove_joiner(&transcript).to_vec(),
        });
        Ok(vec![
            Action::Send(reveal.write()),
            Action::ShowWords(words_of(&transcript)),
            Action::AskConfirmation,
        ])
    }

    fn on_grant(
        &mut self,
        transcript: &[u8; 32],
        mut grant: Grant,
    ) -> Result<Vec<Action>, PairingError> {
        if grant.payload.len() > MAX_PAYLOAD {
            let found = grant.payload.len();
            return Err(MessageError::Payload { found }.into());
        }
        let proof = self.keys.prove_inviter(transcript, &grant.payload);
        if !same_proof(&proof, &grant.proof) {
            return Err(PairingError::GrantProof);
        }
        Ok(vec![
            Action::Send(Body::Joined(Joined {}).write()),
            Action::Complete(SecretBytes::new(mem::take(&mut grant.payload))),
        ])
    }
}

impl State {
    /// The message that is next.
    fn expected(&self) -> &'static str {
        match self {
            Self::Start { .. } => "Offer",
            _ => "Grant",
        }
    }

    fn waiting_for(&self) -> &'static str {
        match self {
            Self::Confirming { .. } => "the user's confirmation",
            state => state.expected(),
        }
    }
}
