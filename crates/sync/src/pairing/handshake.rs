//! The handshake of two devices, as two state machines without IO.
//!
//! The joiner commits to a nonce before it sees the inviter's, and reveals it after. So a man in the middle, who runs
//! one handshake with each side, has to fix everything that he says to one side before he can know the words of the
//! other: they are the same with a chance of one in 2^32. ZRTP has this from its hash commitment (RFC 6189, 4.4.1.1,
//! and the short authentication string of 4.5.2), Bluetooth from numeric comparison in Secure Simple Pairing (Core
//! Specification, Vol 2, Part H, 7.2).

mod inviter;
mod joiner;
#[cfg(test)]
mod tests;

use ues_repo::crypto::{KeyKind, VerifyingKey};
use ues_repo::syntax::Did;

pub use inviter::Inviter;
pub use joiner::Joiner;

use super::invitation::InvitationError;
use super::message::{Body, MessageError, SecretBytes, VERSION};
use super::name::DeviceName;
use super::words::WORDS;

/// How long a message may take to come, or the caller to make a grant.
const MESSAGE_MS: u64 = 30_000;
/// How long the users have to compare the words.
const CONFIRM_MS: u64 = 180_000;

/// What the caller of a state machine has to do, in order.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Action {
    /// Send a message, after its length as an unsigned varint.
    Send(SecretBytes),
    /// Show these words to the user.
    ShowWords([&'static str; WORDS]),
    /// Ask the user whether the other device shows the same words, and answer with `on_confirmation`.
    AskConfirmation,
    /// Inviter: both users have confirmed. Make this key a device of this repository and answer with `on_grant`.
    MakeGrant {
        /// The repository of the invitation.
        repository: Did,
        /// The joiner's device key.
        key: VerifyingKey,
        /// What its user calls the device.
        device_name: DeviceName,
    },
    /// It is done. For the joiner with what was granted; for the inviter with nothing.
    Complete(SecretBytes),
    /// It is over. What was to be sent was sent before this.
    Failed(PairingError),
}

/// Why a handshake failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PairingError {
    /// A device key of another kind.
    #[error("a device key is an Ed25519 key; found {found:?}")]
    KeyKind {
        /// The kind it is of.
        found: KeyKind,
    },
    /// Both ends have the same key.
    #[error("the other device has the key of this one")]
    SameKey,
    /// Not the device that made the link.
    #[error("the invitation is of the device {expected}; found {found}")]
    OtherPeer {
        /// The key in the link, as did:key.
        expected: String,
        /// The key at the other end, as did:key.
        found: String,
    },
    /// A message that cannot be read.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A message at the wrong time.
    #[error("expected the message {expected}; found {found}")]
    Unexpected {
        /// The one that is next.
        expected: &'static str,
        /// The one that came.
        found: &'static str,
    },
    /// Another version of the protocol.
    #[error(
        "this device pairs with version {expected} of the protocol; found {found}: update the older device"
    )]
    Version {
        /// The one that is spoken here.
        expected: u32,
        /// The one that the other device speaks.
        found: u32,
    },
    /// The invitation is good for nothing, or the proof was wrong.
    #[error(transparent)]
    Invitation(#[from] InvitationError),
    /// The joiner changed its nonce.
    #[error("the nonce is not the one to which the other device had committed")]
    Commitment,
    /// The grant is not from one who knows the code.
    #[error("the proof that the inviter knows the code is wrong")]
    GrantProof,
    /// This side's user says that the words differ.
    #[error("the words were not confirmed")]
    Declined,
    /// This side's caller gave up.
    #[error("the pairing was cancelled")]
    Cancelled,
    /// The other side gave up.
    #[error("the other device refuses: {reason}")]
    Refused {
        /// Its sentence; safe to show, but not to be believed.
        reason: String,
    },
    /// Nothing came in time.
    #[error("timed out waiting for {waiting_for}")]
    Timeout {
        /// What did not come.
        waiting_for: &'static str,
    },
}

/// The two ends of the stream, and what this one is called.
#[derive(Debug, Clone)]
pub struct Device {
    local: VerifyingKey,
    remote: VerifyingKey,
    name: DeviceName,
}

impl Device {
    /// `remote` is the key for which the stream is authenticated: the PeerId at its other end.
    pub fn new(
        local: VerifyingKey,
        remote: VerifyingKey,
        name: DeviceName,
    ) -> Result<Self, PairingError> {
        for key in [&local, &remote] {
            if key.kind() != KeyKind::Ed25519 {
                return Err(PairingError::KeyKind { found: key.kind() });
            }
        }
        // a device that hears itself would prove to itself that it knows the code
        if local == remote {
            return Err(PairingError::SameKey);
        }
        Ok(Self {
            local,
            remote,
            name,
        })
    }
}

/// The end of a handshake: the other side is told, unless it told us.
fn failure(error: PairingError) -> Vec<Action> {
    let refusal = match &error {
        PairingError::Refused { .. } => None,
        error => Some(Body::refuse(&error.to_string())),
    };
    refusal
        .map(|body| Action::Send(body.write()))
        .into_iter()
        .chain([Action::Failed(error)])
        .collect()
}

fn unexpected(expected: &'static str, found: &Body) -> PairingError {
    match found {
        Body::Refuse(refuse) => PairingError::Refused {
            reason: refuse.shown(),
        },
        found => PairingError::Unexpected {
            expected,
            found: found.name(),
        },
    }
}
