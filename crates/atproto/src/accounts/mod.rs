//! Accounts, passwords, sessions and keys.

mod account;
pub mod handle_rules;
mod keys;
mod password;
mod session;
mod store;
mod token;

pub use account::Account;
pub use keys::AccountKeys;
pub use password::{MAX_NEW_PASSWORD, MAX_OLD_PASSWORD, Passwords};
pub use session::{Granted, Session, Sessions, TokenPair};
pub use store::{AccountError, Accounts};
pub use token::{Claims, Scope, TokenError, TokenSigner};
