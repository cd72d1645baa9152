//! The name of an owner.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest id, in bytes.
const MAX_LEN: usize = 128;

/// Whom things belong to and who is billed: 1 to 128 ASCII letters, digits and `.`, `_`, `-`, `:`, `@`, so that DIDs
/// and mail addresses fit. Upper and lower case differ. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId(Arc<str>);

/// Something that is not the id of an owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an owner of 1 to 128 letters, digits and . _ - : @ expected, found {0:?}")]
pub struct OwnerIdError(String);

impl OwnerId {
    /// The owner that always exists: `default`.
    pub fn default_owner() -> Self {
        Self("default".into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OwnerId {
    type Err = OwnerIdError;

    fn from_str(text: &str) -> Result<Self, OwnerIdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-:@".contains(&b);
        if (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(OwnerIdError(text.chars().take(MAX_LEN).collect()))
        }
    }
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnerId({self})")
    }
}

impl AsRef<str> for OwnerId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for OwnerId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for OwnerId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
