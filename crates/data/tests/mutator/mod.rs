//! Inputs made by changing good ones.

#![allow(dead_code, reason = "not every test file uses all of it")]

/// A small, fast generator (xorshift64*).
///
/// Dropped by a panic it prints its state before the last input, from which the failing round repeats.
pub struct Random {
    state: u64,
    round: u64,
}

impl Random {
    /// Starts from a seed, or from `MUTATION_SEED` in the environment.
    pub fn new(seed: u64) -> Self {
        let given = std::env::var("MUTATION_SEED").ok();
        let given =
            given.and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok());
        let state = given.unwrap_or(seed);
        Self {
            state,
            round: state,
        }
    }

    /// Notes that a round of the test begins.
    pub fn begin(&mut self) {
        self.round = self.state;
    }

    pub fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n.max(1)
    }

    /// One of the seeds with one to four changes.
    pub fn mutate(&mut self, seeds: &[Vec<u8>], alphabet: &[u8]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        self.change(&mut input, alphabet);
        input
    }

    /// Makes one to four changes: bytes set, flipped, removed, inserted, repeated, or cut off.
    pub fn change(&mut self, input: &mut Vec<u8>, alphabet: &[u8]) {
        for _ in 0..=self.below(4) {
            let at = self.below(input.len());
            let byte = alphabet[self.below(alphabet.len())];
            match self.below(7) {
                0 if !input.is_empty() => input[at] = byte,
                1 if !input.is_empty() => input[at] ^= 1 << self.below(8),
                2 if !input.is_empty() => drop(input.remove(at)),
                3 => input.insert(at, byte),
                4 => input.truncate(at),
                5 => {
                    let end = (at + self.below(16)).min(input.len());
                    let copy = input[at..end].to_vec();
                    input.splice(at..at, copy);
                }
                _ => input.extend_from_slice(&self.next().to_le_bytes()[..self.below(8)]),
            }
        }
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the round repeats with MUTATION_SEED={:#x}", self.round);
        }
    }
}

/// Bytes that mean something in CBOR, varints and protobuf.
pub const BINARY: &[u8] = &[
    0x00, 0x01, 0x12, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1f, 0x20, 0x37, 0x3b, 0x40, 0x58, 0x5b,
    0x5f, 0x60, 0x61, 0x78, 0x7b, 0x7f, 0x80, 0x81, 0x98, 0x9b, 0x9f, 0xa0, 0xa1, 0xb8, 0xbb, 0xbf,
    0xd8, 0x2a, 0xf4, 0xf5, 0xf6, 0xf7, 0xf9, 0xfa, 0xfb, 0xff, 0x55, 0x70, 0x71, 0x08, 0x0a, 0x22,
];
