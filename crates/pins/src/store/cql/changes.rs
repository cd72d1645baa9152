//! What changes of one request come to: which version is written, and what each change found.

use super::stamp::Stamps;
use crate::request::PinRequest;
use crate::store::{RemoveIf, RequestChange};

/// A version of a request that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    /// The request; `None` when it was removed or never was.
    pub request: Option<PinRequest>,
    /// The timestamp of the version; `None` when there is no row.
    pub at: Option<i64>,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// The request; `None` removes it.
    pub request: Option<PinRequest>,
    /// The timestamp.
    pub at: i64,
}

/// What changes come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// What each of them found.
    pub before: Vec<Option<PinRequest>>,
    /// What is to be written, if anything is.
    pub write: Option<Write>,
}

/// Makes changes of one request, in order. Versions in between are seen by nobody and not written.
pub(super) fn fold(stored: &Version, changes: Vec<RequestChange>, stamps: &Stamps) -> Outcome {
    let mut version = stored.clone();
    let mut written = false;
    let mut before = Vec::with_capacity(changes.len());
    for change in changes {
        before.push(version.request.clone());
        if let Some(next) = step(&version, change, stamps) {
            version = next;
            written = true;
        }
    }
    let at = version.at.filter(|_| written);
    let request = version.request;
    Outcome {
        before,
        write: at.map(|at| Write { request, at }),
    }
}

fn step(version: &Version, change: RequestChange, stamps: &Stamps) -> Option<Version> {
    let replaced = || Some(stamps.after(version.at));
    match change {
        RequestChange::Put(request) => Some(Version {
            request: Some(*request),
            at: replaced(),
        }),
        RequestChange::Remove { only, .. } => {
            let request = version.request.as_ref()?;
            let at = version.at?;
            let at = match only {
                RemoveIf::Always => replaced(),
                RemoveIf::CreatedAt(time) if request.created_ms == time => {
                    Some(Stamps::instead_of(at))
                }
                RemoveIf::EndedBy(now_s) if request.is_expired(now_s) => {
                    Some(Stamps::instead_of(at))
                }
                RemoveIf::CreatedAt(_) | RemoveIf::EndedBy(_) => return None,
            };
            Some(Version { request: None, at })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clock;
    use crate::model::{Pin, PinOptions};

    fn request(created_ms: u64) -> PinRequest {
        PinRequest {
            owner: "alice".parse().unwrap(),
            pin: Pin::new(ues_data::raw_cid(b"x"), PinOptions::default(), 0),
            tags: Vec::new(),
            created_ms,
        }
    }

    fn put(created_ms: u64) -> RequestChange {
        RequestChange::Put(Box::new(request(created_ms)))
    }

    fn remove(only: RemoveIf) -> RequestChange {
        RequestChange::Remove {
            owner: "alice".parse().unwrap(),
            cid: ues_data::raw_cid(b"x"),
            only,
        }
    }

    /// A clock that is far behind the stored version.
    fn behind() -> Stamps {
        Stamps::new(Clock::new(|| 5))
    }

    const AT: i64 = 1_000_000_000;

    fn stored() -> Version {
        Version {
            request: Some(request(1)),
            at: Some(AT),
        }
    }

    #[test]
    fn a_put_exceeds_what_it_replaces() {
        let write = fold(&stored(), vec![put(2)], &behind()).write.unwrap();
        assert!(write.at > AT + 1);
        assert_eq!(write.request, Some(request(2)));
    }

    #[test]
    fn a_condition_removes_its_version_only() {
        let outcome = fold(&stored(), vec![remove(RemoveIf::CreatedAt(1))], &behind());
        let at = AT + 1;
        assert_eq!(outcome.write, Some(Write { request: None, at }));
        let outcome = fold(&stored(), vec![remove(RemoveIf::CreatedAt(2))], &behind());
        assert_eq!(outcome.write, None);
        assert_eq!(outcome.before, [Some(request(1))]);
    }

    #[test]
    fn changes_of_one_call_see_each_other() {
        let changes = vec![
            put(2),
            remove(RemoveIf::CreatedAt(1)),
            remove(RemoveIf::CreatedAt(2)),
            remove(RemoveIf::Always),
        ];
        let outcome = fold(&stored(), changes, &behind());
        let expected = [Some(request(1)), Some(request(2)), Some(request(2)), None];
        assert_eq!(outcome.before, expected);
        let write = outcome.write.unwrap();
        assert!(write.request.is_none() && write.at > AT + 2);
    }

    #[test]
    fn nothing_is_written_where_nothing_was() {
        for gone in [
            Version::default(),
            Version {
                request: None,
                at: Some(AT),
            },
        ] {
            let outcome = fold(&gone, vec![remove(RemoveIf::Always)], &behind());
            assert_eq!(outcome.write, None);
        }
        let marker = Version {
            request: None,
            at: Some(AT + 1),
        };
        let write = fold(&marker, vec![put(2)], &behind()).write.unwrap();
        assert!(write.at > AT + 1);
    }
}
