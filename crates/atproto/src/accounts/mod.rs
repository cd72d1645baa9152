//! Accounts, passwords, sessions and keys.

mod account;
mod app_password;
pub mod handle_rules;
mod invite;
mod keys;
mod mail_token;
mod passkey;
mod password;
mod recovery;
mod rows;
mod seal;
mod session;
mod store;
mod token;
mod totp;

pub use account::{Account, Suspension};
pub use app_password::{AppPassword, AppPasswords};
pub use invite::{ADMIN, Invite, InviteClaim, InviteOrder, InviteUse, Invites, Place};
pub use keys::AccountKeys;
pub use mail_token::{MailTokenError, MailTokens, Purpose};
pub use passkey::{MAX_PASSKEYS, Passkeys, StoredPasskey, passkey_name};
pub use password::{MAX_NEW_PASSWORD, MAX_OLD_PASSWORD, Passwords};
pub use recovery::RecoveryCodes;
pub use rows::{Damaged, json_row, to_json};
pub use seal::{Seal, SealError, random_text};
pub use session::{Grant, Granted, Session, SessionInfo, Sessions, TokenPair};
pub use store::{AccountError, Accounts};
pub use token::{Claims, Scope, TokenError, TokenSigner};
pub use totp::{Made, Totps};
