//! How much input is accepted.

/// Bounds on a single value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How deep lists, maps and links may nest; never more than [`Limits::DEEPEST`].
    pub max_depth: usize,
    /// How long the encoding may be, in bytes.
    pub max_bytes: usize,
    /// How many values there may be in all, containers and keys included.
    pub max_items: usize,
    /// Whether floating point numbers are accepted.
    pub floats: bool,
}

impl Limits {
    /// The depth that no setting exceeds; it keeps recursion within any thread's stack.
    pub const DEEPEST: usize = 512;

    /// General IPLD: 128 deep, 64 MiB, 8 million values, floats.
    pub const GENERAL: Self = Self {
        max_depth: 128,
        max_bytes: 64 << 20,
        max_items: 8 << 20,
        floats: true,
    };

    /// AT Protocol records: 128 deep, 1 MiB, no floats.
    pub const RECORD: Self = Self {
        max_depth: 128,
        max_bytes: 1 << 20,
        max_items: 1 << 20,
        floats: false,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::GENERAL
    }
}
