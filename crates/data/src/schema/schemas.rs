//! The schemas of our own kinds of objects.

use super::{Schema, SchemaError};

/// Root objects, collection manifests and records: types `Repository`, `CollectionManifest`, `Record`.
pub const REPOSITORY: &str = include_str!("../../schemas/repository.ipldsch");

/// Chat: types `ChatManifest`, `Participant`, `Message`.
pub const CHAT: &str = include_str!("../../schemas/chat.ipldsch");

/// The asset registry: types `AssetRegistry`, `Asset`, `Transfer` and what they are made of.
pub const ASSETS: &str = include_str!("../../schemas/assets.ipldsch");

/// All of them in one schema.
pub fn all() -> Result<Schema, SchemaError> {
    Schema::parse(&[REPOSITORY, CHAT, ASSETS].concat())
}
