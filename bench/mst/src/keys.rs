//! The keys of the comparison: collections as in a real repository, record keys like TIDs.

/// Commits measured per run.
pub const COMMITS: u32 = 20_000;

const COLLECTIONS: [&str; 4] = [
    "app.bsky.feed.like",
    "app.bsky.feed.post",
    "app.bsky.feed.repost",
    "app.bsky.graph.follow",
];

fn tid(mut number: u64) -> String {
    let mut text = [b'2'; 13];
    for slot in text.iter_mut().rev() {
        *slot = b"234567abcdefghijklmnopqrstuvwxyz"[(number & 31) as usize];
        number >>= 5;
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Mixes a number so that neighbours land far apart.
fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ z >> 27
}

/// Key `n` of the tree: the order of the numbers is a random order of the keys.
pub fn random(n: u32) -> String {
    let mixed = scatter(u64::from(n) + 1);
    let collection = COLLECTIONS[(mixed >> 60 & 3) as usize];
    // About ten years of microseconds.
    format!(
        "{collection}/{}",
        tid((1_400_000_000_000_000 + mixed % 350_000_000_000_000) << 10)
    )
}

/// Key `n` of those after all others.
pub fn after(n: u32) -> String {
    format!(
        "app.bsky.graph.follow/{}",
        tid((1_800_000_000_000_000 + u64::from(n) * 977) << 10)
    )
}

/// The keys of a tree in random order.
pub fn shuffled(count: u32) -> Vec<String> {
    (0..count).map(random).collect()
}

/// The keys of a tree in rising order.
pub fn sorted(count: u32) -> Vec<String> {
    let mut keys = shuffled(count);
    keys.sort_unstable();
    keys
}

/// Resident memory of this process, in bytes.
pub fn resident() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap_or("0 kB");
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024.0)
}

/// A clock that counts only the time that this process had a processor, so that other work on the machine does not
/// count.
pub struct Clock(u64);

impl Clock {
    /// Starts it.
    pub fn start() -> anyhow::Result<Self> {
        Ok(Self(on_processor()?))
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> anyhow::Result<f64> {
        Ok((on_processor()? - self.0) as f64 / 1e9)
    }
}

fn on_processor() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}
