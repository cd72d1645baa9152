//! Time on the processor.

use anyhow::Context;

/// A clock that counts only the time that this thread had a processor, so that other work on the machine does not count.
pub struct Clock(u64);

impl Clock {
    pub fn start() -> anyhow::Result<Self> {
        Ok(Self(nanoseconds()?))
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> anyhow::Result<f64> {
        Ok((nanoseconds()? - self.0) as f64 / 1e9)
    }
}

fn nanoseconds() -> anyhow::Result<u64> {
    // The account is brought up to date when the thread gives its processor away.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split_whitespace().next();
    Ok(first.context("the time on the processor")?.parse()?)
}

/// A source of numbers that is the same at every run (SplitMix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}
