//! Our own lists and texts.

use ues_data::Ipld;
use ues_sync::crdt::{Dot, Edit, List, ListEdit, Origin, Rule, Text, TextEdit, Value};

use super::{Change, Outcome, base};
use crate::clock::Clock;

fn origin(writer: u32, seq: usize) -> Origin {
    Origin {
        dot: Dot::new(writer, seq as u64, 0),
        time: seq as u64,
        author: "did:plc:ewvi7nxzyoun6zhxrhs64oiz".into(),
    }
}

/// Merges the edits of both into what was there before.
fn merge<R: Rule>(
    before: &R,
    edits: &[Vec<Vec<u8>>; 2],
    length: impl Fn(&R) -> usize,
) -> anyhow::Result<Outcome> {
    let mut state = before.clone();
    let clock = Clock::start()?;
    for (writer, edits) in (1..).zip(edits) {
        for (seq, bytes) in edits.iter().enumerate() {
            state.apply(&origin(writer, seq), &R::Edit::decode(bytes)?)?;
        }
    }
    let length = length(&state);
    let seconds = clock.seconds()?;
    Ok(Outcome {
        seconds,
        length,
        edits: edits.iter().flatten().map(Vec::len).sum(),
        stored: state.encode().len(),
    })
}

/// Lets both make their edits; `make` gives one, from the state that its author sees.
fn write<R: Rule>(
    before: &R,
    plans: &[Vec<Change>; 2],
    make: impl Fn(&R, &Change) -> anyhow::Result<R::Edit>,
) -> anyhow::Result<[Vec<Vec<u8>>; 2]> {
    let mut written = [Vec::new(), Vec::new()];
    for ((writer, plan), edits) in (1..).zip(plans).zip(&mut written) {
        let mut state = before.clone();
        for (seq, change) in plan.iter().enumerate() {
            let edit = make(&state, change)?;
            state.apply(&origin(writer, seq), &edit)?;
            edits.push(edit.encode()?);
        }
    }
    Ok(written)
}

pub fn text(plans: &[Vec<Change>; 2]) -> anyhow::Result<Outcome> {
    let mut before = Text::default();
    let steps = vec![before.insert(0, std::str::from_utf8(&base())?)?];
    before.apply(&origin(0, 0), &TextEdit { steps })?;
    let edits = write(&before, plans, |text, change| {
        let position = change.position as u64;
        let mut steps = text.delete(position, change.deleted as u64)?;
        if !change.inserted.is_empty() {
            steps.push(text.insert(position, std::str::from_utf8(&change.inserted)?)?);
        }
        Ok(TextEdit { steps })
    })?;
    merge(&before, &edits, |text| text.text().len())
}

fn values(bytes: &[u8]) -> anyhow::Result<Vec<Value>> {
    let values = bytes
        .iter()
        .map(|byte| Value::new(&Ipld::Integer((*byte).into())));
    Ok(values.collect::<Result<_, _>>()?)
}

pub fn list(plans: &[Vec<Change>; 2]) -> anyhow::Result<Outcome> {
    let mut before = List::default();
    let steps = vec![before.insert(0, values(&base())?)?];
    before.apply(&origin(0, 0), &ListEdit { steps })?;
    let edits = write(&before, plans, |list, change| {
        let position = change.position as u64;
        let mut steps = list.delete(position, change.deleted as u64)?;
        if !change.inserted.is_empty() {
            steps.push(list.insert(position, values(&change.inserted)?)?);
        }
        Ok(ListEdit { steps })
    })?;
    merge(&before, &edits, |list| match list.value() {
        Ipld::List(values) => values.len(),
        _ => 0,
    })
}
