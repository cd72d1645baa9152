//! An account's row.

use serde::{Deserialize, Serialize};
use ues_repo::repo::layout::Status;
use ues_repo::syntax::{Datetime, Did, Handle};

/// What the protocol calls an account by that has no handle that holds.
const NO_HANDLE: &str = "handle.invalid";

/// What the operator has said of an account that is suspended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Since when, RFC 3339.
    pub since: String,
    /// When it ends, RFC 3339; `None`: when it is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An account of this node, as it is stored (JSON under its DID).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Who it is.
    pub did: Did,
    /// Its handle, in lower case.
    pub handle: Handle,
    /// Its e-mail address, in lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// When the owner has shown to have that address, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_confirmed_at: Option<String>,
    /// Whether a sign-in has to bring a code that was sent to that address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub email_factor: bool,
    /// Argon2id hash of the password, as a PHC string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// When it came here, RFC 3339.
    pub created_at: String,
    /// Hosting status by the protocol's name; absent while active. It follows from the next three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Why the operator has taken it down; absent while they have not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub takedown: Option<String>,
    /// For how long the operator has suspended it; absent while they have not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<Suspension>,
    /// When its owner has switched it off, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deactivated_at: Option<String>,
    /// When it is deleted unless it was activated before, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_after: Option<String>,
    /// The code that it was invited with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invite_code: Option<String>,
    /// Whether it gets no invite codes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invites_disabled: bool,
    /// Bytes of blobs that it may have, 0 for as many as there is room for; `None`: what all may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob_quota: Option<u64>,
    /// Records that it may have, in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_quota: Option<u64>,
    /// Bytes of records that it may have, in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_bytes_quota: Option<u64>,
}

impl Account {
    /// A new account, active, with nothing but its names.
    pub fn new(did: Did, handle: Handle) -> Self {
        Self {
            did,
            handle,
            email: None,
            email_confirmed_at: None,
            email_factor: false,
            password: None,
            created_at: Datetime::now().to_string(),
            status: None,
            takedown: None,
            suspension: None,
            deactivated_at: None,
            delete_after: None,
            invite_code: None,
            invites_disabled: false,
            blob_quota: None,
            record_quota: None,
            record_bytes_quota: None,
        }
    }

    /// Hosting status. An unknown name counts as deactivated: not served, nothing lost.
    pub fn status(&self) -> Status {
        match &self.status {
            None => Status::Active,
            Some(name) => Status::from_name(name).unwrap_or(Status::Deactivated),
        }
    }

    /// Whether it is neither taken down, nor suspended, nor deactivated.
    pub fn is_active(&self) -> bool {
        self.status().is_active()
    }

    /// Whether the operator has taken it off, for good or for a time.
    pub fn is_taken_down(&self) -> bool {
        matches!(self.status(), Status::Takendown | Status::Suspended)
    }

    /// Whether its owner has switched it off, be it taken down besides or not.
    pub fn is_deactivated(&self) -> bool {
        self.deactivated_at.is_some() || self.status() == Status::Deactivated
    }

    /// Whether nothing but its DID is left.
    pub fn is_deleted(&self) -> bool {
        self.status() == Status::Deleted
    }

    /// Whether its owner has shown to have its e-mail address.
    pub fn is_email_confirmed(&self) -> bool {
        self.email_confirmed_at.is_some()
    }

    /// The same account, taken down for a reason, or no longer.
    #[must_use]
    pub fn with_takedown(&self, reason: Option<String>) -> Self {
        let deactivated_at = self.deactivated_at.clone();
        let mut account = Self {
            takedown: reason,
            deactivated_at: deactivated_at
                .or_else(|| self.is_deactivated().then(|| Datetime::now().to_string())),
            ..self.clone()
        };
        account.settle(false);
        account
    }

    /// The same account, suspended, or no longer.
    #[must_use]
    pub fn with_suspension(&self, suspension: Option<Suspension>) -> Self {
        let deactivated_at = self.deactivated_at.clone();
        // Rows of earlier versions say no more than that it was taken down.
        let earlier = (self.status() == Status::Takendown).then(|| self.created_at.clone());
        let mut account = Self {
            suspension,
            takedown: self.takedown.clone().or(earlier),
            deactivated_at: deactivated_at
                .or_else(|| self.is_deactivated().then(|| Datetime::now().to_string())),
            ..self.clone()
        };
        account.settle(false);
        account
    }

    /// The same account, switched off since a time, and perhaps to be deleted at another, or
    /// switched on.
    #[must_use]
    pub fn with_deactivation(&self, since: Option<String>, delete_after: Option<String>) -> Self {
        let mut account = Self {
            delete_after: delete_after.filter(|_| since.is_some()),
            deactivated_at: since,
            ..self.clone()
        };
        account.settle(self.is_taken_down());
        account
    }

    /// What is left of a deleted account: the row stays, since the log tells of it; its names are
    /// free for others.
    ///
    /// # Errors
    /// Never; the name of such an account is a handle.
    pub fn deleted(&self) -> Result<Self, ues_repo::syntax::SyntaxError> {
        Ok(Self {
            status: Status::Deleted.name().map(str::to_owned),
            created_at: self.created_at.clone(),
            ..Self::new(self.did.clone(), Handle::parse(NO_HANDLE)?)
        })
    }

    /// Derives the status; `held` says that it was taken down in a way that is not told here.
    fn settle(&mut self, held: bool) {
        let status = if self.takedown.is_some() {
            Status::Takendown
        } else if self.suspension.is_some() {
            Status::Suspended
        } else if held {
            self.status()
        } else if self.deactivated_at.is_some() {
            Status::Deactivated
        } else {
            Status::Active
        };
        self.status = status.name().map(str::to_owned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account::new(
            Did::parse("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa").unwrap(),
            Handle::parse("alice.test").unwrap(),
        )
    }

    #[test]
    fn what_the_operator_and_the_owner_did_is_kept_apart() {
        let off = account().with_deactivation(Some("t".into()), Some("u".into()));
        assert_eq!(off.status(), Status::Deactivated);
        let both = off.with_takedown(Some("spam".into()));
        assert_eq!(both.status(), Status::Takendown);
        assert!(both.is_deactivated());
        assert_eq!(both.with_takedown(None).status(), Status::Deactivated);
        let on = both.with_deactivation(None, None);
        assert_eq!(
            (on.status(), on.delete_after.clone()),
            (Status::Takendown, None)
        );
        assert!(on.with_takedown(None).is_active());
    }

    #[test]
    fn a_suspension_is_neither_a_takedown_nor_the_owners() {
        let term = Suspension {
            since: "t".into(),
            until: Some("u".into()),
            reason: None,
        };
        let held = account().with_suspension(Some(term.clone()));
        assert_eq!(held.status(), Status::Suspended);
        assert!(held.is_taken_down() && !held.is_deactivated());
        assert!(held.with_suspension(None).is_active());
        let both = held.with_takedown(Some("spam".into()));
        assert_eq!(both.status(), Status::Takendown);
        assert_eq!(both.with_takedown(None).status(), Status::Suspended);
        assert_eq!(both.with_suspension(None).status(), Status::Takendown);
        let off = held.with_deactivation(Some("t".into()), None);
        assert_eq!(off.status(), Status::Suspended);
        assert_eq!(off.with_suspension(None).status(), Status::Deactivated);
        let earlier = Account {
            status: Some("takendown".into()),
            ..account()
        };
        let term = earlier.with_suspension(Some(term));
        assert_eq!(term.with_suspension(None).status(), Status::Takendown);
    }

    #[test]
    fn rows_of_earlier_versions_are_read() {
        let row = r#"{"did":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","handle":"alice.test","email_confirmed":false,"created_at":"t","status":"deactivated"}"#;
        let account: Account = serde_json::from_str(row).unwrap();
        assert!(account.is_deactivated());
        assert!(account.with_deactivation(None, None).is_active());
        let down = account.with_takedown(Some("spam".into()));
        assert_eq!(down.with_takedown(None).status(), Status::Deactivated);
    }
}
