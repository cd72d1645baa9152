//! Lengths of strings.

use unicode_segmentation::UnicodeSegmentation;

use super::error::{Measure, Problem};
use super::rules::StringRule;

/// Checks the limits in bytes and in graphemes.
///
/// A grapheme takes at least one byte, so a string that is short enough in bytes is short enough in
/// graphemes: only long ones are segmented.
pub(super) fn check_lengths(rule: &StringRule, text: &str) -> Result<(), Problem> {
    let bytes = text.len() as u64;
    if let Some(min) = rule.min_length.filter(|min| bytes < *min) {
        return Err(too_small(Measure::String, min, bytes));
    }
    if let Some(max) = rule.max_length.filter(|max| bytes > *max) {
        return Err(too_big(Measure::String, max, bytes));
    }
    if let Some(min) = rule.min_graphemes {
        // Counting stops at the limit: a long text costs no more than it must.
        let found = count_graphemes(text, min);
        if found < min {
            return Err(too_small(Measure::Grapheme, min, found));
        }
    }
    if let Some(max) = rule.max_graphemes.filter(|max| bytes > *max)
        && count_graphemes(text, max.saturating_add(1)) > max
    {
        let found = count_graphemes(text, u64::MAX);
        return Err(too_big(Measure::Grapheme, max, found));
    }
    Ok(())
}

fn count_graphemes(text: &str, at_most: u64) -> u64 {
    if text.is_ascii() && !text.contains('\r') {
        // Each character is a grapheme, only CR LF would be one together.
        return (text.len() as u64).min(at_most);
    }
    let at_most = usize::try_from(at_most).unwrap_or(usize::MAX);
    text.graphemes(true).take(at_most).count() as u64
}

pub(super) fn too_small(measure: Measure, minimum: u64, found: u64) -> Problem {
    Problem::TooSmall {
        measure,
        minimum: signed(minimum),
        found: signed(found),
    }
}

pub(super) fn too_big(measure: Measure, maximum: u64, found: u64) -> Problem {
    Problem::TooBig {
        measure,
        maximum: signed(maximum),
        found: signed(found),
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
