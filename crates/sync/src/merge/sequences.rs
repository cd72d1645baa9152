//! What a client inserted and deleted, found by comparing before and after.

use similar::{Algorithm, DiffOp, capture_diff_slices};
use ues_data::Ipld;

use crate::crdt::{List, ListEdit};

use super::difference::values;
use super::rules::Unsayable;

/// The most elements, before and after, that are compared one by one once what is common at both ends is left out; more
/// are replaced as a whole.
const MAX_COMPARED: usize = 8192;

/// A stretch that was replaced: position and length before, and where its replacement stands after.
pub(super) struct Replaced {
    pub at: usize,
    pub len: usize,
    pub by: std::ops::Range<usize>,
}

/// The stretches in which two sequences differ, in order.
pub(super) fn replaced<T: Eq + Ord + std::hash::Hash>(before: &[T], after: &[T]) -> Vec<Replaced> {
    let pairs = before.iter().zip(after);
    let start = pairs.take_while(|(a, b)| a == b).count();
    let (before, after) = (
        before.get(start..).unwrap_or_default(),
        after.get(start..).unwrap_or_default(),
    );
    let pairs = before.iter().rev().zip(after.iter().rev());
    let end = pairs.take_while(|(a, b)| a == b).count();
    let before = before.get(..before.len() - end).unwrap_or_default();
    let after = after.get(..after.len() - end).unwrap_or_default();
    if before.is_empty() && after.is_empty() {
        return Vec::new();
    }
    if before.is_empty() || after.is_empty() || before.len() + after.len() > MAX_COMPARED {
        return vec![Replaced {
            at: start,
            len: before.len(),
            by: start..start + after.len(),
        }];
    }
    let mut out = Vec::new();
    // What is between two stretches that are equal is one step.
    let (mut old, mut new) = (0, 0);
    let mut replace = |old: std::ops::Range<usize>, new: std::ops::Range<usize>| {
        if !old.is_empty() || !new.is_empty() {
            out.push(Replaced {
                at: start + old.start,
                len: old.len(),
                by: start + new.start..start + new.end,
            });
        }
    };
    for op in capture_diff_slices(Algorithm::Myers, before, after) {
        if let DiffOp::Equal {
            old_index,
            new_index,
            len,
        } = op
        {
            replace(old..old_index, new..new_index);
            (old, new) = (old_index + len, new_index + len);
        }
    }
    replace(old..before.len(), new..after.len());
    out
}

/// Each stretch: its insertion, then its deletion.
pub(super) fn list_edit(list: &List, target: Option<&Ipld>) -> Result<Option<ListEdit>, Unsayable> {
    let wanted = values(target)?;
    let before: Vec<_> = list.values().cloned().collect();
    let mut steps = Vec::new();
    for stretch in replaced(&before, &wanted) {
        let (at, len) = (stretch.at as u64, stretch.len as u64);
        let new = wanted.get(stretch.by).unwrap_or_default();
        if !new.is_empty() {
            // Behind what is replaced, so that the two do not part what others put between.
            steps.push(list.insert(at + len, new.to_vec()).map_err(|_| Unsayable)?);
        }
        steps.extend(list.delete(at, len).map_err(|_| Unsayable)?);
    }
    Ok((!steps.is_empty()).then_some(ListEdit { steps }))
}
