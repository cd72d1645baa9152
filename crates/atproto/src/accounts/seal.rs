//! What keeps small secrets in the store unreadable to whoever has only the store.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 12;

/// A secret cannot be made or sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The system has no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
    /// What was to be sealed is too long.
    #[error("what was to be sealed is too long")]
    TooLong,
}

/// Seals (ChaCha20-Poly1305, RFC 8439) and hashes (HMAC-SHA-256, RFC 2104) under keys that are
/// derived from one of the node's keystore.
pub struct Seal {
    cipher: ChaCha20Poly1305,
    mac: Hmac<Sha256>,
}

impl Seal {
    /// From the node's secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        let encrypt = derive(secret, b"ues accounts: seal");
        let hash = derive(secret, b"ues accounts: hash");
        Self {
            cipher: ChaCha20Poly1305::new(&(*encrypt).into()),
            mac: keyed(&hash),
        }
    }

    /// Nonce and sealed bytes; `name` says what they are, and opens nothing else.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&self, name: &str, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|e| SealError::Random(e.to_string()))?;
        let payload = Payload {
            msg: secret,
            aad: name.as_bytes(),
        };
        let sealed = self
            .cipher
            .encrypt(&Nonce::from(nonce), payload)
            .map_err(|_| SealError::TooLong)?;
        let mut out = nonce.to_vec();
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// What was sealed under a name; `None` if this is not it.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload {
            msg: sealed,
            aad: name.as_bytes(),
        };
        let opened = self.cipher.decrypt(&Nonce::from(*nonce), payload).ok()?;
        Some(Zeroizing::new(opened))
    }

    /// The keyed hash of a secret that has many random bits, in hexadecimal.
    pub fn hash(&self, parts: &[&str]) -> String {
        let mut mac = self.mac.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        HEXLOWER.encode(&mac.finalize().into_bytes())
    }
}

fn keyed(secret: &[u8; 32]) -> Hmac<Sha256> {
    // A key of a hash's length is never refused; it is filled up with zeros (RFC 2104).
    let mut key = Zeroizing::new([0; 64]);
    key[..32].copy_from_slice(secret);
    <Hmac<Sha256> as hmac::KeyInit>::new(&(*key).into())
}

fn derive(secret: &[u8; 32], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = keyed(secret);
    mac.update(purpose);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// Random letters and digits of the alphabet a-z2-7 in groups, such as `abc23-de4fg`: five bits each.
///
/// # Errors
/// When the system has no random numbers.
pub fn random_text(groups: usize, length: usize) -> Result<String, SealError> {
    let mut random = Zeroizing::new(vec![0; (groups * length * 5).div_ceil(8)]);
    getrandom::fill(&mut random).map_err(|e| SealError::Random(e.to_string()))?;
    let letters = BASE32_NOPAD.encode(&random).to_ascii_lowercase();
    let mut out = String::with_capacity(groups * (length + 1));
    for (i, letter) in letters.chars().take(groups * length).enumerate() {
        if i > 0 && i % length == 0 {
            out.push('-');
        }
        out.push(letter);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_name_open() {
        let seal = Seal::new(&[7; 32]);
        let sealed = seal.seal("a", b"secret").unwrap();
        assert_eq!(seal.open("a", &sealed).unwrap().as_slice(), b"secret");
        assert!(seal.open("b", &sealed).is_none());
        assert!(Seal::new(&[8; 32]).open("a", &sealed).is_none());
        assert_ne!(seal.seal("a", b"secret").unwrap(), sealed);
    }

    #[test]
    fn hashes_tell_their_parts_apart() {
        let seal = Seal::new(&[7; 32]);
        assert_ne!(seal.hash(&["ab", "c"]), seal.hash(&["a", "bc"]));
        assert_eq!(seal.hash(&["ab", "c"]), seal.hash(&["ab", "c"]));
        assert_ne!(seal.hash(&["a"]), Seal::new(&[8; 32]).hash(&["a"]));
    }

    #[test]
    fn random_texts_have_their_shape() {
        let text = random_text(2, 5).unwrap();
        assert_eq!((text.len(), text.as_bytes()[5]), (11, b'-'));
        assert_ne!(text, random_text(2, 5).unwrap());
        assert_eq!(random_text(4, 4).unwrap().len(), 19);
    }
}
