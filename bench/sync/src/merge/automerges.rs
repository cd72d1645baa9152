//! Automerge.

use automerge::transaction::Transactable;
use automerge::{AutoCommit, ObjId, ObjType, ROOT, ReadDoc};

use super::{Change, Outcome, base};
use crate::clock::Clock;

/// Lets both make their edits, each with a commit or with one for all, and merges them.
fn run(
    plans: &[Vec<Change>; 2],
    kind: ObjType,
    each: bool,
    splice: impl Fn(&mut AutoCommit, &ObjId, usize, usize, &[u8]) -> anyhow::Result<()>,
    length: impl Fn(&AutoCommit, &ObjId) -> anyhow::Result<usize>,
) -> anyhow::Result<Outcome> {
    let mut before = AutoCommit::new();
    let id = before.put_object(ROOT, "d", kind)?;
    splice(&mut before, &id, 0, 0, &base())?;
    before.commit();
    let heads = before.get_heads();
    let mut edits = Vec::new();
    for plan in plans {
        let mut doc = before.fork();
        for change in plan {
            splice(
                &mut doc,
                &id,
                change.position,
                change.deleted,
                &change.inserted,
            )?;
            if each {
                doc.commit();
            }
        }
        doc.commit();
        edits.push(doc.save_after(&heads));
    }
    let mut doc = before.fork();
    let clock = Clock::start()?;
    for bytes in &edits {
        doc.load_incremental(bytes)?;
    }
    let length = length(&doc, &id)?;
    let seconds = clock.seconds()?;
    Ok(Outcome {
        seconds,
        length,
        edits: edits.iter().map(Vec::len).sum(),
        stored: doc.save().len(),
    })
}

fn texts(plans: &[Vec<Change>; 2], each: bool) -> anyhow::Result<Outcome> {
    run(
        plans,
        ObjType::Text,
        each,
        |doc, id, at, deleted, bytes| {
            let text = std::str::from_utf8(bytes)?;
            Ok(doc.splice_text(id, at, deleted as isize, text)?)
        },
        |doc, id| Ok(doc.text(id)?.len()),
    )
}

fn lists(plans: &[Vec<Change>; 2], each: bool) -> anyhow::Result<Outcome> {
    run(
        plans,
        ObjType::List,
        each,
        |doc, id, at, deleted, bytes| {
            let values = bytes.iter().map(|byte| i64::from(*byte));
            Ok(doc.splice(id, at, deleted as isize, values)?)
        },
        |doc, id| {
            let values: Vec<_> = doc.list_range(id, ..).collect();
            Ok(values.len())
        },
    )
}

pub fn text(plans: &[Vec<Change>; 2]) -> anyhow::Result<Outcome> {
    texts(plans, true)
}

pub fn text_at_once(plans: &[Vec<Change>; 2]) -> anyhow::Result<Outcome> {
    texts(plans, false)
}

pub fn list(plans: &[Vec<Change>; 2]) -> anyhow::Result<Outcome> {
    lists(plans, true)
}

pub fn list_at_once(plans: &[Vec<Change>; 2]) -> anyhow::Result<Outcome> {
    lists(plans, false)
}
