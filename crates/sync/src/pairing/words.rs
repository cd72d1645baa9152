//! The short authentication string: four words that both users compare.

/// The words, one a line; part of the protocol, so none is ever changed.
const LIST: &str = include_str!("words.txt");

/// How many words are shown: 32 bits.
pub const WORDS: usize = 4;

/// One word for each byte.
pub(super) fn words(bytes: [u8; WORDS]) -> [&'static str; WORDS] {
    bytes.map(|byte| LIST.lines().nth(usize::from(byte)).unwrap_or_default())
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_list_is_what_the_protocol_says() {
        let list: Vec<&str> = LIST.lines().collect();
        assert_eq!(list.len(), 256);
        for word in &list {
            assert!((3..=7).contains(&word.len()), "{word}");
            assert!(word.bytes().all(|b| b.is_ascii_lowercase()), "{word}");
        }
        assert!(list.is_sorted());
        let starts: BTreeSet<&str> = list.iter().map(|word| &word[..3]).collect();
        assert_eq!(starts.len(), 256, "distinct in the first three letters");
        let hash = blake3::hash(LIST.as_bytes()).to_hex();
        assert_eq!(
            &hash[..16],
            "4522c1a5e37a4243",
            "the list is part of the protocol"
        );
    }

    #[test]
    fn words_are_unlike_each_other() {
        let list: Vec<&str> = LIST.lines().collect();
        for (at, a) in list.iter().enumerate() {
            for b in &list[..at] {
                assert!(distance(a.as_bytes(), b.as_bytes()) >= 3, "{a} and {b}");
            }
        }
    }

    /// Levenshtein's: how many letters have to be changed, added or left out.
    fn distance(a: &[u8], b: &[u8]) -> usize {
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.iter().enumerate() {
            let mut diagonal = row[0];
            row[0] = i + 1;
            for (j, y) in b.iter().enumerate() {
                let next = (row[j] + 1)
                    .min(row[j + 1] + 1)
                    .min(diagonal + usize::from(x != y));
                diagonal = std::mem::replace(&mut row[j + 1], next);
            }
        }
        row[b.len()]
    }

    #[test]
    fn each_byte_has_its_word() {
        let shown: BTreeSet<&str> = (0..=255).flat_map(|b| words([b; 4])).collect();
        assert_eq!(shown.len(), 256);
        assert_eq!(
            words([0, 1, 254, 255]),
            ["album", "alley", "yoga", "zigzag"]
        );
    }
}
