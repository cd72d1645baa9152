//! Pairing: how a second device is invited to hold a repository.
//!
//! The inviter shows a [`Code`] or a [`JoinLink`]; the joiner, who was given it, finds the inviter and opens a stream
//! to it, on which [`Inviter`] and [`Joiner`] speak. The stream is encrypted and authenticated for two device keys, but
//! neither side knows yet whether the other key is the right one. Two things tell it: proofs that both know the code,
//! and four words that both users compare. `docs/pairing.md` says what that is worth, `proto/pairing.proto` what is
//! sent.
//!
//! Nothing here does IO, reads a clock or draws randomness.

mod code;
mod handshake;
mod invitation;
mod link;
mod message;
mod name;
pub mod qr;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod testing;
mod transcript;
mod words;

pub use code::{Code, CodeError, CodeKeys, LookupId};
pub use handshake::{Action, Device, Inviter, Joiner, PairingError};
pub use invitation::{
    DEFAULT_LIFETIME, Invitation, InvitationError, MAX_OFFERS, MAX_WRONG_PROOFS, Repository,
};
pub use link::{JoinLink, LinkError, Ticket};
pub use message::{MAX_MESSAGE, MAX_PAYLOAD, MessageError, SecretBytes};
pub use name::{DeviceName, DeviceNameError};
pub use words::WORDS;
