//! What the asking account wrote after the AppView's revision.

use serde_json::Value;
use ues_repo::repo::{RepoError, StoredRecord};
use ues_repo::syntax::{Datetime, Did, Tid};

use crate::xrpc::Call;
use crate::xrpc::transcode::dag_cbor_to_json;

/// Most new posts that are shown.
const MAX_POSTS: usize = 10;
pub const PROFILE: &str = "app.bsky.actor.profile/self";
const POST: &str = "app.bsky.feed.post";

/// A record with what a view says of it.
#[derive(Clone, Debug)]
pub struct LocalRecord {
    /// Its URI.
    pub uri: String,
    /// Its CID.
    pub cid: String,
    /// When it was written.
    pub indexed_at: String,
    /// Its content.
    pub value: Value,
}

/// New records of the asking account.
#[derive(Clone, Debug, Default)]
pub struct Local {
    /// The profile, if it is new.
    pub profile: Option<LocalRecord>,
    /// New posts, oldest first.
    pub posts: Vec<LocalRecord>,
}

impl Local {
    /// Reads what is newer than a revision.
    pub fn since(call: &Call, rev: &Tid) -> Result<Self, RepoError> {
        let Some(did) = call.caller.did() else {
            return Ok(Self::default());
        };
        let recent = call.ctx.repos.recent(did, rev, PROFILE, POST, MAX_POSTS)?;
        let read = |(path, record): (String, StoredRecord)| LocalRecord::new(did, &path, &record);
        Ok(Self {
            profile: recent.paths.into_iter().find_map(read),
            posts: recent.collection.into_iter().filter_map(read).collect(),
        })
    }

    /// Whether there is nothing new.
    pub fn is_empty(&self) -> bool {
        self.profile.is_none() && self.posts.is_empty()
    }

    /// How long ago the oldest of it was written, in milliseconds.
    pub fn lag_ms(&self) -> Option<i64> {
        let all = self.profile.iter().chain(&self.posts);
        let oldest = all.map(|r| r.indexed_at.as_str()).min()?;
        let oldest = Datetime::parse(oldest).ok()?.unix_millis();
        Some((Datetime::now().unix_millis() - oldest).max(0))
    }
}

impl LocalRecord {
    fn new(did: &Did, path: &str, record: &StoredRecord) -> Option<Self> {
        Some(Self {
            uri: format!("at://{did}/{path}"),
            cid: record.cid.to_string(),
            // The revision is the moment of the commit.
            indexed_at: Datetime::from_unix_millis((record.rev.micros() / 1000).cast_signed())
                .to_string(),
            value: json_of(record)?,
        })
    }
}

/// A record's content as JSON.
pub fn json_of(record: &StoredRecord) -> Option<Value> {
    let mut text = Vec::with_capacity(record.bytes.len() * 2);
    dag_cbor_to_json(&record.bytes, &mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
