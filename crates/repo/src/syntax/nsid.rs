//! Namespaced identifiers of lexicons.

use super::handle::check_label;
use super::newtype::text_identifier;

text_identifier!(
    /// The name of a lexicon, such as `app.bsky.feed.post`: a reversed domain name and a name.
    ///
    /// 317 bytes at most (<https://atproto.com/specs/nsid>).
    Nsid, "NSID", check
);

const MAX_BYTES: usize = 317;
const MAX_NAME: usize = 63;

impl Nsid {
    /// The last segment, such as `post`.
    pub fn name(&self) -> &str {
        self.split().1
    }

    /// The domain as it stands in the identifier, such as `app.bsky.feed`.
    pub fn authority(&self) -> &str {
        self.split().0
    }

    /// The domain name that rules over this identifier, such as `feed.bsky.app`.
    pub fn domain(&self) -> String {
        let mut labels: Vec<&str> = self.authority().split('.').collect();
        labels.reverse();
        labels.join(".").to_ascii_lowercase()
    }

    fn split(&self) -> (&str, &str) {
        self.as_str().rsplit_once('.').unwrap_or_default()
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_BYTES {
        return Err("at most 317 bytes");
    }
    let (authority, name) = text
        .rsplit_once('.')
        .ok_or("has three or more segments, divided by dots")?;
    if name.is_empty() || name.len() > MAX_NAME {
        return Err("its name has 1 to 63 characters");
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric())
        || !name.starts_with(|c: char| c.is_ascii_alphabetic())
    {
        return Err("its name consists of letters and digits and begins with a letter");
    }
    if !authority.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err("it begins with a letter");
    }
    let mut segments = 0;
    for segment in authority.split('.') {
        check_label(segment)?;
        segments += 1;
    }
    if segments < 2 {
        return Err("has three or more segments, divided by dots");
    }
    Ok(())
}
