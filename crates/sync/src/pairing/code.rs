//! The code of an invitation, and the keys that both sides derive from it.

use std::fmt;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Crockford's base32: no I, L, O and U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Symbols of a code, five bits each.
const SYMBOLS: usize = 10;
/// The longest text that is read as a code: white space around it is forgiven, an essay is not.
const MAX_TEXT: usize = 64;
/// The same for every code, because the joiner knows nothing but the code before it has found the inviter.
const SALT: &[u8] = b"ues pairing code, version 1";
/// Memory of the slow hash in KiB: with [`PASSES`] the second of the equal choices that OWASP gives for Argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
/// Passes of the slow hash.
const PASSES: u32 = 2;

/// What is wrong with a code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// Too few or too many symbols.
    #[error("an invitation code has {SYMBOLS} letters and digits, XXXXX-XXXXX; found {found}")]
    Length {
        /// How many there were.
        found: usize,
    },
    /// A hyphen elsewhere than in the middle.
    #[error("an invitation code has one hyphen, in the middle: XXXXX-XXXXX")]
    Hyphen,
    /// A character that no code contains.
    #[error("an invitation code has letters and digits, but no U; found {found:?}")]
    Symbol {
        /// The character.
        found: char,
    },
    /// The slow hash could not run.
    #[error("no keys could be derived from the invitation code: {0}")]
    Derivation(String),
}

/// The secret of an invitation: 50 random bits, written `XXXXX-XXXXX`.
///
/// Its memory is cleared when it goes; `Debug` does not show it. It is never sent.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Code(u64);

impl Code {
    /// The random bytes that a code is made of.
    pub const RANDOM: usize = 7;

    /// A code of random bytes, six bits of which are not used.
    pub fn from_random(random: &[u8; Self::RANDOM]) -> Self {
        let mut bytes = Zeroizing::new([0; 8]);
        bytes[1..].copy_from_slice(random);
        Self(u64::from_be_bytes(*bytes) & ((1 << (5 * SYMBOLS)) - 1))
    }

    /// The code as people read it, `XXXXX-XXXXX`.
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(SYMBOLS + 1));
        for at in 0..SYMBOLS {
            if at == SYMBOLS / 2 {
                text.push('-');
            }
            let symbol = (self.0 >> (5 * (SYMBOLS - 1 - at))) & 31;
            text.push(char::from(ALPHABET[symbol as usize]));
        }
        text
    }

    /// Derives the keys. Slow on purpose, and takes 19 MiB: not for an async thread.
    pub fn derive(&self) -> Result<CodeKeys, CodeError> {
        let params = Params::new(MEMORY_KIB, PASSES, 1, Some(32))
            .map_err(|e| CodeError::Derivation(e.to_string()))?;
        let mut seed = Zeroizing::new([0; 32]);
        let mut memory = Zeroizing::new(vec![Block::default(); params.block_count()]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(
                self.reveal().as_bytes(),
                SALT,
                seed.as_mut_slice(),
                memory.as_mut_slice(),
            )
            .map_err(|e| CodeError::Derivation(e.to_string()))?;
        let derive = |context| Zeroizing::new(blake3::derive_key(context, seed.as_slice()));
        let mut id = [0; LookupId::LENGTH];
        id.copy_from_slice(&derive("ues pairing v1 lookup id")[..LookupId::LENGTH]);
        Ok(CodeKeys {
            lookup_id: LookupId(id),
            joiner: derive("ues pairing v1 joiner's proof"),
            inviter: derive("ues pairing v1 inviter's proof"),
        })
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

impl FromStr for Code {
    type Err = CodeError;

    /// Reads a code in either case, with or without its hyphen, with I and L for 1 and O for 0.
    fn from_str(text: &str) -> Result<Self, CodeError> {
        let text = text.trim();
        if text.len() > MAX_TEXT {
            return Err(CodeError::Length {
                found: text.chars().filter(|c| *c != '-').count(),
            });
        }
        let mut bits = Zeroizing::new(0u64);
        let mut found = 0;
        let mut hyphens = 0;
        for c in text.chars() {
            if c == '-' {
                hyphens += 1;
                if hyphens > 1 || found != SYMBOLS / 2 {
                    return Err(CodeError::Hyphen);
                }
                continue;
            }
            *bits = (*bits << 5) | symbol(c)?;
            found += 1;
            if found > SYMBOLS {
                return Err(CodeError::Length {
                    found: text.chars().filter(|c| *c != '-').count(),
                });
            }
        }
        if found != SYMBOLS {
            return Err(CodeError::Length { found });
        }
        Ok(Self(*bits))
    }
}

fn symbol(c: char) -> Result<u64, CodeError> {
    let upper = match c.to_ascii_uppercase() {
        'I' | 'L' => '1',
        'O' => '0',
        other => other,
    };
    (0u64..)
        .zip(ALPHABET)
        .find(|(_, symbol)| char::from(**symbol) == upper)
        .map(|(value, _)| value)
        .ok_or(CodeError::Symbol { found: c })
}

/// What both sides derive from a [`Code`]: where the inviter is found, and the keys of the two proofs.
///
/// Its memory is cleared when it goes; `Debug` shows the lookup id only.
#[derive(Clone)]
pub struct CodeKeys {
    lookup_id: LookupId,
    joiner: Zeroizing<[u8; 32]>,
    inviter: Zeroizing<[u8; 32]>,
}

impl CodeKeys {
    /// The public name of the invitation.
    pub fn lookup_id(&self) -> LookupId {
        self.lookup_id
    }

    /// The joiner's proof that it knows the code.
    pub(super) fn prove_joiner(&self, transcript: &[u8; 32]) -> [u8; 32] {
        *blake3::keyed_hash(&self.joiner, transcript).as_bytes()
    }

    /// The inviter's proof that it knows the code, over what it grants.
    pub(super) fn prove_inviter(&self, transcript: &[u8; 32], payload: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.inviter);
        hasher.update(transcript).update(payload);
        *hasher.finalize().as_bytes()
    }
}

/// Whether two proofs are the same, in a time that tells nothing about them.
pub(super) fn same_proof(expected: &[u8; 32], found: &[u8]) -> bool {
    expected.as_slice().ct_eq(found).into()
}

impl fmt::Debug for CodeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CodeKeys({})", self.lookup_id)
    }
}

/// The public name of an invitation, under which the inviter is found; to get from it to the code, one has to try
/// 2^50 slow hashes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookupId(pub [u8; Self::LENGTH]);

impl LookupId {
    /// Its bytes.
    pub const LENGTH: usize = 16;
}

impl fmt::Display for LookupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LookupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LookupId({self})")
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn is_read_in_many_spellings() {
        let code: Code = "01AZ9-KVT0X".parse().unwrap();
        for spelling in ["oiaz9-kvtox", "OLAZ9KVTOX", "  0laz9-kvt0x\n"] {
            assert_eq!(spelling.parse::<Code>().unwrap().0, code.0, "{spelling}");
        }
        assert_eq!(code.reveal().as_str(), "01AZ9-KVT0X");
    }

    #[test]
    fn refuses_what_is_no_code() {
        let read = |text: &str| text.parse::<Code>().unwrap_err();
        assert_eq!(read(""), CodeError::Length { found: 0 });
        assert_eq!(read("01AZ9-KVT0"), CodeError::Length { found: 9 });
        assert_eq!(read("01AZ9-KVT0XX"), CodeError::Length { found: 11 });
        assert_eq!(read(&"A".repeat(9000)), CodeError::Length { found: 9000 });
        assert_eq!(read("01AZ-9KVT0X"), CodeError::Hyphen);
        assert_eq!(read("01AZ9--KVT0X"), CodeError::Hyphen);
        assert_eq!(read("-01AZ9KVT0X"), CodeError::Hyphen);
        assert_eq!(read("U1AZ9-KVT0X"), CodeError::Symbol { found: 'U' });
        assert_eq!(read("01AZ9-KVT0é"), CodeError::Symbol { found: 'é' });
        assert_eq!(read("01AZ9 KVT0X"), CodeError::Symbol { found: ' ' });
    }

    #[test]
    fn keys_are_fixed_and_separate() {
        let keys = "01AZ9-KVT0X".parse::<Code>().unwrap().derive().unwrap();
        assert_eq!(
            keys.lookup_id().to_string(),
            "881825299aa0e1cd01745710680afc6c"
        );
        let other = "01AZ9-KVT0Y".parse::<Code>().unwrap().derive().unwrap();
        assert_ne!(keys.lookup_id(), other.lookup_id());
        let proof = keys.prove_joiner(&[7; 32]);
        assert_ne!(proof, other.prove_joiner(&[7; 32]));
        assert_ne!(proof, keys.prove_joiner(&[8; 32]));
        assert_ne!(proof, keys.prove_inviter(&[7; 32], b""));
        assert!(same_proof(&proof, &proof));
        assert!(!same_proof(&proof, &proof[..31]));
        assert!(!same_proof(&proof, b""));
    }

    #[test]
    fn is_not_shown_by_debug() {
        let code: Code = "01AZ9-KVT0X".parse().unwrap();
        assert_eq!(format!("{code:?}"), "Code(…)");
        let shown = format!("{:?}", code.derive().unwrap());
        assert_eq!(shown.len(), "CodeKeys()".len() + 32, "{shown}");
    }

    proptest! {
        #[test]
        fn round_trip(random in any::<[u8; Code::RANDOM]>()) {
            let code = Code::from_random(&random);
            let text = code.reveal();
            prop_assert_eq!(text.len(), 11);
            prop_assert_eq!(text.parse::<Code>().unwrap().0, code.0);
            prop_assert_eq!(text.to_lowercase().parse::<Code>().unwrap().0, code.0);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            if let Ok(code) = text.parse::<Code>() {
                prop_assert_eq!(code.reveal().parse::<Code>().unwrap().0, code.0);
            }
        }
    }
}
