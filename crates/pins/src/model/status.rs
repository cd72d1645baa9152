//! How a pin fares on a worker: IPFS-Cluster's `api.TrackerStatus`, which is also the filter of its listings.

use std::fmt;

/// A status, or a set of them as a filter. As in IPFS-Cluster the empty set means "any".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TrackerStatus(u16);

impl TrackerStatus {
    /// No status; as a filter: all of them.
    pub const UNDEFINED: Self = Self(0);
    /// The worker does not answer.
    pub const CLUSTER_ERROR: Self = Self(1 << 1);
    /// Pinning failed.
    pub const PIN_ERROR: Self = Self(1 << 2);
    /// Unpinning failed.
    pub const UNPIN_ERROR: Self = Self(1 << 3);
    /// The worker has all of it.
    pub const PINNED: Self = Self(1 << 4);
    /// The worker is getting it.
    pub const PINNING: Self = Self(1 << 5);
    /// The worker is letting go of it.
    pub const UNPINNING: Self = Self(1 << 6);
    /// The worker does not have it, and need not.
    pub const UNPINNED: Self = Self(1 << 7);
    /// It is pinned on other workers.
    pub const REMOTE: Self = Self(1 << 8);
    /// Waits to be pinned.
    pub const PIN_QUEUED: Self = Self(1 << 9);
    /// Waits to be unpinned.
    pub const UNPIN_QUEUED: Self = Self(1 << 10);
    /// The root of a sharded DAG, whose shards are pinned in its place.
    pub const SHARDED: Self = Self(1 << 11);
    /// It should be there, is not, and nothing is under way.
    pub const UNEXPECTEDLY_UNPINNED: Self = Self(1 << 12);
    /// Any of the errors.
    pub const ERROR: Self = Self(Self::CLUSTER_ERROR.0 | Self::PIN_ERROR.0 | Self::UNPIN_ERROR.0);
    /// Waits for either.
    pub const QUEUED: Self = Self(Self::PIN_QUEUED.0 | Self::UNPIN_QUEUED.0);

    /// Every single status, in the order of IPFS-Cluster's constants.
    pub const ALL: [Self; 12] = [
        Self::CLUSTER_ERROR,
        Self::PIN_ERROR,
        Self::UNPIN_ERROR,
        Self::PINNED,
        Self::PINNING,
        Self::UNPINNING,
        Self::UNPINNED,
        Self::REMOTE,
        Self::PIN_QUEUED,
        Self::UNPIN_QUEUED,
        Self::SHARDED,
        Self::UNEXPECTEDLY_UNPINNED,
    ];

    /// Reads a status, or a filter of several with commas between. As in IPFS-Cluster, spaces and unknown names
    /// count for nothing, so that a filter of unknown names alone means "any".
    pub fn from_filter(text: &str) -> Self {
        text.split(',').fold(Self::UNDEFINED, |all, name| {
            let name = name.replace(' ', "");
            let found = NAMES.iter().find(|(_, known)| *known == name);
            all.with(found.map_or(Self::UNDEFINED, |(status, _)| *status))
        })
    }

    /// Whether this status passes a filter. An undefined status passes every one.
    pub fn matches(self, filter: Self) -> bool {
        filter.0 == 0 || self.0 == 0 || self.0 & filter.0 != 0
    }

    /// Both together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The name of a single status, or of a set that has one; empty for others.
    pub fn name(self) -> &'static str {
        let named = NAMES.iter().find(|(status, _)| *status == self);
        named.map_or("", |(_, name)| name)
    }

    /// The number that stands for it in IPFS-Cluster.
    pub fn bits(self) -> u16 {
        self.0
    }
}

/// The names, those of several at once before the single ones.
const NAMES: [(TrackerStatus, &str); 15] = [
    (TrackerStatus::UNDEFINED, "undefined"),
    (TrackerStatus::ERROR, "error"),
    (TrackerStatus::QUEUED, "queued"),
    (TrackerStatus::CLUSTER_ERROR, "cluster_error"),
    (TrackerStatus::PIN_ERROR, "pin_error"),
    (TrackerStatus::UNPIN_ERROR, "unpin_error"),
    (TrackerStatus::PINNED, "pinned"),
    (TrackerStatus::PINNING, "pinning"),
    (TrackerStatus::UNPINNING, "unpinning"),
    (TrackerStatus::UNPINNED, "unpinned"),
    (TrackerStatus::REMOTE, "remote"),
    (TrackerStatus::PIN_QUEUED, "pin_queued"),
    (TrackerStatus::UNPIN_QUEUED, "unpin_queued"),
    (TrackerStatus::SHARDED, "sharded"),
    (
        TrackerStatus::UNEXPECTEDLY_UNPINNED,
        "unexpectedly_unpinned",
    ),
];

impl fmt::Display for TrackerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((_, name)) = NAMES.iter().find(|(status, _)| status == self) {
            return f.write_str(name);
        }
        let mut left = self.0;
        let mut separator = "";
        for (status, name) in NAMES {
            if status.0 != 0 && left & status.0 == status.0 {
                write!(f, "{separator}{name}")?;
                left &= !status.0;
                separator = ",";
            }
        }
        Ok(())
    }
}

impl fmt::Debug for TrackerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for TrackerStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for TrackerStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self::from_filter(&text))
    }
}
