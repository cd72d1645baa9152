//! An invitation: its code, what it invites to, and when it is over.

use std::time::Duration;

use ues_repo::crypto::VerifyingKey;
use ues_repo::syntax::{Did, Handle};

use super::code::{Code, CodeError, CodeKeys, LookupId, same_proof};
use super::link::{JoinLink, LinkError};

/// How long an invitation is good for, if the user does not say otherwise.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);
/// Wrong proofs that void an invitation.
pub const MAX_WRONG_PROOFS: u32 = 5;
/// Handshakes that may be begun with an invitation. Whoever begins one and gives up before the words are shown could
/// otherwise draw words until they suit.
pub const MAX_OFFERS: u32 = 8;

/// Why an invitation is good for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvitationError {
    /// There is none of this code.
    #[error("no invitation of this code is open here")]
    Unknown,
    /// Its time is over.
    #[error("the invitation has expired; make a new one")]
    Expired,
    /// Somebody has shown that they know its code.
    #[error("the invitation was used already; make a new one")]
    Used,
    /// Too many wrong proofs.
    #[error("the invitation is void after {found} wrong proofs; make a new one")]
    Void {
        /// How many there were.
        found: u32,
    },
    /// Too many handshakes were begun.
    #[error("the invitation is void after {found} attempts; make a new one")]
    Attempts {
        /// How many there were.
        found: u32,
    },
    /// The proof is not that of the code and of this handshake.
    #[error("the proof that the other device knows the code is wrong")]
    WrongProof,
}

/// A repository as the invited device's user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The account.
    pub did: Did,
    /// Its handle, if it has one. The joiner has only the inviter's word for it.
    pub handle: Option<Handle>,
}

/// An invitation to hold a repository: for one device, for a short time. Where it is kept is up to the caller; it is
/// not meant to outlive the process.
#[derive(Debug)]
pub struct Invitation {
    code: Code,
    keys: CodeKeys,
    repository: Repository,
    expires_ms: u64,
    offers: u32,
    wrong_proofs: u32,
    used: bool,
}

impl Invitation {
    /// An invitation with a fresh code. As slow as [`Code::derive`].
    ///
    /// `now_ms` is of any clock that does not go back; the same clock must be used for the handshakes.
    pub fn new(
        code: Code,
        repository: Repository,
        now_ms: u64,
        lifetime: Duration,
    ) -> Result<Self, CodeError> {
        let keys = code.derive()?;
        Ok(Self::with_keys(code, keys, repository, now_ms, lifetime))
    }

    pub(super) fn with_keys(
        code: Code,
        keys: CodeKeys,
        repository: Repository,
        now_ms: u64,
        lifetime: Duration,
    ) -> Self {
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        Self {
            code,
            keys,
            repository,
            expires_ms: now_ms.saturating_add(lifetime_ms),
            offers: 0,
            wrong_proofs: 0,
            used: false,
        }
    }

    /// The secret, to show to the user.
    pub fn code(&self) -> &Code {
        &self.code
    }

    /// The name under which the inviter lets itself be found.
    pub fn lookup_id(&self) -> LookupId {
        self.keys.lookup_id()
    }

    /// What it invites to.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// When it ends.
    pub fn expires_ms(&self) -> u64 {
        self.expires_ms
    }

    /// Whether somebody has proved to know its code.
    pub fn is_used(&self) -> bool {
        self.used
    }

    /// How many wrong proofs were shown.
    pub fn wrong_proofs(&self) -> u32 {
        self.wrong_proofs
    }

    /// The invitation as a link, for whoever can reach `inviter` at `addresses`.
    pub fn link(&self, inviter: VerifyingKey, addresses: &[String]) -> Result<JoinLink, LinkError> {
        JoinLink::new(self.code.clone(), inviter, addresses)
    }

    /// Whether a device may still prove that it knows the code. When not, the invitation can be dropped.
    pub fn check(&self, now_ms: u64) -> Result<(), InvitationError> {
        if self.used {
            Err(InvitationError::Used)
        } else if self.wrong_proofs >= MAX_WRONG_PROOFS {
            Err(InvitationError::Void {
                found: self.wrong_proofs,
            })
        } else if now_ms >= self.expires_ms {
            Err(InvitationError::Expired)
        } else {
            Ok(())
        }
    }

    /// Counts a handshake.
    pub(super) fn begin(&mut self, now_ms: u64) -> Result<(), InvitationError> {
        self.check(now_ms)?;
        if self.offers >= MAX_OFFERS {
            return Err(InvitationError::Attempts { found: self.offers });
        }
        self.offers += 1;
        Ok(())
    }

    /// Checks a proof. A right one uses the invitation up, whatever becomes of the handshake: if then the words
    /// differ, the code is known to somebody else.
    pub(super) fn accept(
        &mut self,
        now_ms: u64,
        transcript: &[u8; 32],
        proof: &[u8],
    ) -> Result<CodeKeys, InvitationError> {
        self.check(now_ms)?;
        if !same_proof(&self.keys.prove_joiner(transcript), proof) {
            self.wrong_proofs += 1;
            return Err(InvitationError::WrongProof);
        }
        self.used = true;
        Ok(self.keys.clone())
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn expires() {
        let mut invitation = testing::invitation(1000);
        let end = 1000 + 600_000;
        assert_eq!(invitation.expires_ms(), end);
        assert_eq!(invitation.check(end - 1), Ok(()));
        assert_eq!(invitation.check(end), Err(InvitationError::Expired));
        assert_eq!(invitation.begin(end), Err(InvitationError::Expired));
        let proof = testing::keys().prove_joiner(&[1; 32]);
        assert_eq!(
            invitation.accept(end, &[1; 32], &proof).err(),
            Some(InvitationError::Expired)
        );
    }

    #[test]
    fn is_good_for_one_right_proof() {
        let mut invitation = testing::invitation(0);
        let proof = testing::keys().prove_joiner(&[1; 32]);
        assert!(invitation.accept(5, &[1; 32], &proof).is_ok());
        assert_eq!(invitation.check(5), Err(InvitationError::Used));
        assert_eq!(
            invitation.accept(5, &[1; 32], &proof).err(),
            Some(InvitationError::Used)
        );
    }

    #[test]
    fn is_void_after_five_wrong_proofs() {
        let mut invitation = testing::invitation(0);
        let proof = testing::keys().prove_joiner(&[1; 32]);
        for wrong in 1..=5 {
            assert_eq!(
                invitation.accept(5, &[2; 32], &proof).err(),
                Some(InvitationError::WrongProof)
            );
            assert_eq!(invitation.wrong_proofs(), wrong);
        }
        let void = InvitationError::Void { found: 5 };
        assert_eq!(invitation.check(5), Err(void.clone()));
        assert_eq!(invitation.begin(5), Err(void.clone()));
        assert_eq!(
            invitation.accept(5, &[1; 32], &proof).err(),
            Some(void),
            "not even the right proof"
        );
    }

    #[test]
    fn bounds_the_handshakes() {
        let mut invitation = testing::invitation(0);
        for _ in 0..8 {
            assert_eq!(invitation.begin(1), Ok(()));
        }
        assert_eq!(
            invitation.begin(1),
            Err(InvitationError::Attempts { found: 8 })
        );
        let proof = testing::keys().prove_joiner(&[1; 32]);
        assert!(
            invitation.accept(1, &[1; 32], &proof).is_ok(),
            "those that were begun may end"
        );
    }

    #[test]
    fn debug_does_not_show_the_code() {
        let shown = format!("{:?}", testing::invitation(0));
        assert!(
            !shown.contains(testing::code().reveal().as_str()),
            "{shown}"
        );
    }
}
