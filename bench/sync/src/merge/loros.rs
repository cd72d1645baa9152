//! Loro.

use loro::{ExportMode, LoroDoc};

use super::{Change, Outcome, base};
use crate::clock::Clock;

/// Lets both make their edits, each with a commit, and merges them.
fn run(
    plans: &[Vec<Change>; 2],
    insert: impl Fn(&LoroDoc, usize, &[u8]) -> anyhow::Result<()>,
    delete: impl Fn(&LoroDoc, usize, usize) -> anyhow::Result<()>,
    length: impl Fn(&LoroDoc) -> usize,
) -> anyhow::Result<Outcome> {
    let before = LoroDoc::new();
    before.set_peer_id(9)?;
    insert(&before, 0, &base())?;
    before.commit();
    let snapshot = before.export(ExportMode::Snapshot)?;
    let mut edits = Vec::new();
    for (peer, plan) in (1..).zip(plans) {
        let doc = LoroDoc::from_snapshot(&snapshot)?;
        doc.set_peer_id(peer)?;
        for change in plan {
            if change.deleted > 0 {
                delete(&doc, change.position, change.deleted)?;
            }
            if !change.inserted.is_empty() {
                insert(&doc, change.position, &change.inserted)?;
            }
            doc.commit();
        }
        edits.push(doc.export(ExportMode::updates(&before.oplog_vv()))?);
    }
    let doc = LoroDoc::from_snapshot(&snapshot)?;
    let clock = Clock::start()?;
    for bytes in &edits {
        doc.import(bytes)?;
    }
    let length = length(&doc);
    let seconds = clock.seconds()?;
    Ok(Outcome {
        seconds,
        length,
        edits: edits.iter().map(Vec::len).sum(),
        stored: doc.export(ExportMode::Snapshot)?.len(),
    })
}

pub fn text(plans: &[Vec<Change>; 2]) -> anyhow::Result<Outcome> {
    run(
        plans,
        |doc, at, bytes| Ok(doc.get_text("t").insert(at, std::str::from_utf8(bytes)?)?),
        |doc, at, count| Ok(doc.get_text("t").delete(at, count)?),
        |doc| doc.get_text("t").to_string().len(),
    )
}

pub fn list(plans: &[Vec<Change>; 2]) -> anyhow::Result<Outcome> {
    run(
        plans,
        |doc, at, bytes| {
            let list = doc.get_list("l");
            for (at, byte) in (at..).zip(bytes) {
                list.insert(at, i64::from(*byte))?;
            }
            Ok(())
        },
        |doc, at, count| Ok(doc.get_list("l").delete(at, count)?),
        |doc| match doc.get_list("l").get_deep_value() {
            loro::LoroValue::List(values) => values.len(),
            _ => 0,
        },
    )
}
