//! URIs of repositories, collections and records.

use super::newtype::text_identifier;
use super::{AtIdentifier, Did, Nsid, RecordKey};

text_identifier!(
    /// The URI of a repository, a collection or a record: `at://AUTHORITY[/COLLECTION[/RECORD-KEY]]`.
    ///
    /// The restricted form that lexicons use: no fragment, no query, no trailing slash; 8192 bytes at most
    /// (<https://atproto.com/specs/at-uri-scheme>).
    AtUri, "AT URI", check
);

const MAX_BYTES: usize = 8192;
const SCHEME: &str = "at://";

impl AtUri {
    /// The URI of a record.
    pub fn of_record(did: &Did, collection: &Nsid, rkey: &RecordKey) -> Self {
        Self(format!("{SCHEME}{did}/{collection}/{rkey}").into())
    }

    /// The URI of a collection.
    pub fn of_collection(did: &Did, collection: &Nsid) -> Self {
        Self(format!("{SCHEME}{did}/{collection}").into())
    }

    /// The URI of a repository.
    pub fn of_repository(did: &Did) -> Self {
        Self(format!("{SCHEME}{did}").into())
    }

    /// The authority as text: a DID or a handle.
    pub fn authority_str(&self) -> &str {
        self.parts().next().unwrap_or_default()
    }

    /// The collection as text, if there is one.
    pub fn collection_str(&self) -> Option<&str> {
        self.parts().nth(1)
    }

    /// The record key as text, if there is one.
    pub fn rkey_str(&self) -> Option<&str> {
        self.parts().nth(2)
    }

    /// Whose repository it is.
    pub fn authority(&self) -> Option<AtIdentifier> {
        AtIdentifier::parse(self.authority_str()).ok()
    }

    /// The collection, if there is one.
    pub fn collection(&self) -> Option<Nsid> {
        self.collection_str()
            .and_then(|text| Nsid::parse(text).ok())
    }

    /// The record key, if there is one.
    pub fn rkey(&self) -> Option<RecordKey> {
        self.rkey_str().and_then(|text| RecordKey::parse(text).ok())
    }

    fn parts(&self) -> std::str::SplitN<'_, char> {
        self.as_str()
            .strip_prefix(SCHEME)
            .unwrap_or_default()
            .splitn(3, '/')
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_BYTES {
        return Err("at most 8192 bytes");
    }
    let rest = text.strip_prefix(SCHEME).ok_or("begins with \"at://\"")?;
    let mut parts = rest.split('/');
    let authority = parts.next().unwrap_or_default();
    AtIdentifier::check(authority).map_err(|_| "its authority is a DID or a handle")?;
    let Some(collection) = parts.next() else {
        return Ok(());
    };
    Nsid::check(collection)
        .map_err(|_| "its collection is an NSID, with no slash after it alone")?;
    let Some(rkey) = parts.next() else {
        return Ok(());
    };
    RecordKey::check(rkey).map_err(|_| "its third part is a record key")?;
    match parts.next() {
        Some(_) => Err("nothing follows the record key"),
        None => Ok(()),
    }
}
