//! What a key may be, and the layer it lies on.

use super::digest::sha256;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// Whether `key` may stand in a tree: `collection/record-key`, both parts not empty, made of ASCII letters, digits
/// and `_ ~ - : .`, at most [`MAX_KEY_BYTES`] in all. This is the rule of the AT Protocol reference implementation.
#[must_use]
pub fn is_valid_key(key: &[u8]) -> bool {
    if key.len() > MAX_KEY_BYTES {
        return false;
    }
    let mut slashes = 0;
    for &byte in key {
        match KIND[usize::from(byte)] {
            Kind::Allowed => {}
            Kind::Slash => slashes += 1,
            Kind::Refused => return false,
        }
    }
    slashes == 1 && key.first() != Some(&b'/') && key.last() != Some(&b'/')
}

#[derive(Clone, Copy)]
enum Kind {
    Refused,
    Allowed,
    Slash,
}

static KIND: [Kind; 256] = {
    let mut table = [Kind::Refused; 256];
    let mut byte = 0u8;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'~' | b'-' | b':' | b'.') {
            table[byte as usize] = Kind::Allowed;
        }
        byte += 1;
    }
    table[b'/' as usize] = Kind::Slash;
    table
};

/// The layer of a key, counted from the bottom: leading zero bits of its SHA-256, in pairs (so a fanout of 4).
#[must_use]
pub fn key_height(key: &[u8]) -> u8 {
    let digest = sha256(key);
    let mut zeros = 0;
    for chunk in digest.as_chunks::<8>().0 {
        let word = u64::from_be_bytes(*chunk);
        if word != 0 {
            return zeros + (word.leading_zeros() / 2) as u8;
        }
        zeros += 32;
    }
    zeros
}

/// How many leading bytes `a` and `b` share.
#[must_use]
#[inline]
pub fn common_prefix_len(a: &[u8], b: &[u8]) -> usize {
    let mut at = 0;
    for (x, y) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        let differing = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differing != 0 {
            return at + (differing.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at + a[at..]
        .iter()
        .zip(&b[at..])
        .take_while(|(x, y)| x == y)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_two_parts_of_plain_characters() {
        for key in ["a/b", "app.bsky.feed.post/3lo3kqqljmfe2", "A:~-_.9/self"] {
            assert!(is_valid_key(key.as_bytes()), "{key}");
        }
        let long = format!("a/{}", "b".repeat(MAX_KEY_BYTES - 1));
        for key in [
            "", "a", "/", "a/", "/b", "a//b", "a/b/c", "a/b c", "a/\u{e9}", "a/b\0", "a/@", &long,
        ] {
            assert!(!is_valid_key(key.as_bytes()), "{key}");
        }
        assert!(is_valid_key(&long.as_bytes()[..MAX_KEY_BYTES]));
    }
}
