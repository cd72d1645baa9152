//! The parameters of `GET /pins`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Failure;
use super::wire::read_cid;
use crate::model::GoTime;
use crate::request_id::RequestId;
use crate::service::{ListQuery, NameMatch, Overall};

/// Pins in one answer, unless another number is asked for.
const DEFAULT_LIMIT: usize = 10;
/// Most pins in one answer.
const MAX_LIMIT: usize = 1000;
/// Most CIDs in one question.
const MAX_CIDS: usize = 10;
/// Longest name, in characters.
const MAX_NAME: usize = 255;

/// The parameters as text.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Params {
    cid: Option<String>,
    name: Option<String>,
    #[serde(rename = "match")]
    how: Option<String>,
    status: Option<String>,
    before: Option<String>,
    after: Option<String>,
    limit: Option<String>,
    meta: Option<String>,
    tag: Option<String>,
    cursor: Option<String>,
}

impl Params {
    /// The question.
    pub(super) fn read(self) -> Result<ListQuery, Failure> {
        let cids = match &self.cid {
            Some(list) => list
                .split(',')
                .map(read_cid)
                .collect::<Result<Vec<_>, _>>()?,
            None => Vec::new(),
        };
        if cids.len() > MAX_CIDS {
            return Err(Failure::bad_request(format!(
                "cid: at most {MAX_CIDS} CIDs, found {}",
                cids.len()
            )));
        }
        let how = match self.how.as_deref() {
            None | Some("exact") => NameMatch::Exact,
            Some("iexact") => NameMatch::IExact,
            Some("partial") => NameMatch::Partial,
            Some("ipartial") => NameMatch::IPartial,
            Some(other) => {
                return Err(Failure::bad_request(format!(
                    "match: exact, iexact, partial or ipartial expected, found {other:?}"
                )));
            }
        };
        if self
            .name
            .as_ref()
            .is_some_and(|name| name.chars().count() > MAX_NAME)
        {
            return Err(Failure::bad_request(format!(
                "name: at most {MAX_NAME} characters"
            )));
        }
        let named = self.name.is_some() || !cids.is_empty();
        Ok(ListQuery {
            status: statuses(self.status.as_deref(), named)?,
            cids,
            name: self.name.map(|name| (name, how)),
            meta: notes(self.meta.as_deref())?,
            tag: self.tag,
            before_ms: time("before", self.before.as_deref())?,
            after_ms: time("after", self.after.as_deref())?,
            cursor: self.cursor.as_deref().map(cursor).transpose()?,
            limit: limit(self.limit.as_deref())?,
        })
    }
}

/// Without a filter the specification shows pinned ones only; who asks by name or CID wants to know how far it is.
fn statuses(text: Option<&str>, named: bool) -> Result<Vec<Overall>, Failure> {
    let Some(text) = text else {
        return Ok(if named {
            Vec::new()
        } else {
            vec![Overall::Pinned]
        });
    };
    let read = |word: &str| {
        Overall::from_word(word).ok_or_else(|| {
            Failure::bad_request(format!(
                "status: queued, pinning, pinned or failed expected, found {word:?}"
            ))
        })
    };
    text.split(',').map(read).collect()
}

fn notes(text: Option<&str>) -> Result<Vec<(String, String)>, Failure> {
    let Some(text) = text else {
        return Ok(Vec::new());
    };
    let notes: BTreeMap<String, String> = serde_json::from_str(text)
        .map_err(|e| Failure::bad_request(format!("meta: a JSON object of texts expected: {e}")))?;
    Ok(notes.into_iter().collect())
}

fn time(name: &str, text: Option<&str>) -> Result<Option<u64>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let time: GoTime = text
        .parse()
        .map_err(|e| Failure::bad_request(format!("{name}: {e}")))?;
    Ok(Some(time.unix_millis()))
}

fn cursor(text: &str) -> Result<RequestId, Failure> {
    text.parse()
        .map_err(|e| Failure::bad_request(format!("cursor: {e}")))
}

fn limit(text: Option<&str>) -> Result<usize, Failure> {
    let Some(text) = text else {
        return Ok(DEFAULT_LIMIT);
    };
    text.parse()
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| {
            Failure::bad_request(format!("limit: 1 to {MAX_LIMIT} expected, found {text:?}"))
        })
}
