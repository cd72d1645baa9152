//! Password hashing, off the request threads.

use std::sync::atomic::{AtomicU64, Ordering};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Longest password of a new account, in characters.
pub const MAX_NEW_PASSWORD: usize = 256;
/// Longest password that a sign-in may try, in characters.
pub const MAX_OLD_PASSWORD: usize = 512;

/// Why a password could not be hashed or checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// The hash function refused its input.
    #[error("password hashing failed: {0}")]
    Hash(String),
    /// The blocking pool is gone: the node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Hashes and checks passwords by Argon2id. A hash takes 19 MiB and tens of milliseconds, so only
/// as many run at one time as the machine has cores.
pub struct Passwords {
    running: Semaphore,
    computed: AtomicU64,
    /// What is checked for an account that does not exist, so that the time tells nothing.
    decoy: String,
}

impl Default for Passwords {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            running: Semaphore::new(cores),
            computed: AtomicU64::new(0),
            decoy: hash_now("no account has this").unwrap_or_default(),
        }
    }
}

impl Passwords {
    /// The PHC string of a password, with a fresh salt.
    pub async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        let password = Zeroizing::new(password.to_owned());
        self.run(move || hash_now(&password)).await?
    }

    /// Whether the password is the one of `stored`; without `stored` the same work is done for
    /// nothing.
    pub async fn verify(
        &self,
        password: &str,
        stored: Option<&str>,
    ) -> Result<bool, PasswordError> {
        let password = Zeroizing::new(password.to_owned());
        let hash = stored.unwrap_or(&self.decoy).to_owned();
        let known = stored.is_some();
        self.run(move || {
            let parsed =
                PasswordHash::new(&hash).map_err(|e| PasswordError::Hash(e.to_string()))?;
            let same = Argon2::default()
                .verify_password(password.as_bytes(), &parsed)
                .is_ok();
            Ok(same && known)
        })
        .await?
    }

    /// Hashes that were computed so far. It tells that somebody unknown costs as much as somebody known.
    pub fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let _turn = self
            .running
            .acquire()
            .await
            .map_err(|_| PasswordError::Stopping)?;
        self.computed.fetch_add(1, Ordering::Relaxed);
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| PasswordError::Stopping)
    }
}

fn hash_now(password: &str) -> Result<String, PasswordError> {
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|e| PasswordError::Hash(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_passes() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(
            passwords
                .verify("correct horse", Some(&hash))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .verify("correct house", Some(&hash))
                .await
                .unwrap()
        );
        assert!(!passwords.verify("no account has this", None).await.unwrap());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn requests_go_on_while_a_hash_is_computed() {
        let passwords = Passwords::default();
        let hash = tokio::spawn(async move { passwords.hash("correct horse").await });
        let mut turns = 0;
        while !hash.is_finished() {
            tokio::task::yield_now().await;
            turns += 1;
        }
        // One for the task to begin with, and one for it to end.
        assert!(turns > 2, "{turns}");
    }
}
