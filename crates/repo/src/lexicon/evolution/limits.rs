//! Comparison of constraints.

use std::fmt::Display;

use super::change::{Comparison, Flow};
use crate::lexicon::blob::accepts;
use crate::lexicon::rules::{
    BlobRule, BooleanRule, IntegerRule, LengthRule, StringFormat, StringRule,
};

pub(super) fn boolean(
    c: &mut Comparison,
    path: &str,
    flow: Flow,
    old: &BooleanRule,
    new: &BooleanRule,
) {
    constant(c, path, flow, old.constant, new.constant);
}

pub(super) fn integer(
    c: &mut Comparison,
    path: &str,
    flow: Flow,
    old: &IntegerRule,
    new: &IntegerRule,
) {
    constant(c, path, flow, old.constant, new.constant);
    choice(
        c,
        path,
        flow,
        old.allowed.as_deref(),
        new.allowed.as_deref(),
    );
    lower(c, path, flow, "minimum", old.minimum, new.minimum);
    upper(c, path, flow, "maximum", old.maximum, new.maximum);
}

pub(super) fn string(
    c: &mut Comparison,
    path: &str,
    flow: Flow,
    old: &StringRule,
    new: &StringRule,
) {
    constant(
        c,
        path,
        flow,
        old.constant.as_deref(),
        new.constant.as_deref(),
    );
    choice(
        c,
        path,
        flow,
        old.allowed.as_deref(),
        new.allowed.as_deref(),
    );
    lower(c, path, flow, "minLength", old.min_length, new.min_length);
    upper(c, path, flow, "maxLength", old.max_length, new.max_length);
    lower(
        c,
        path,
        flow,
        "minGraphemes",
        old.min_graphemes,
        new.min_graphemes,
    );
    upper(
        c,
        path,
        flow,
        "maxGraphemes",
        old.max_graphemes,
        new.max_graphemes,
    );
    format(c, path, flow, old.format, new.format);
}

pub(super) fn length(c: &mut Comparison, path: &str, flow: Flow, old: LengthRule, new: LengthRule) {
    lower(c, path, flow, "minLength", old.min, new.min);
    upper(c, path, flow, "maxLength", old.max, new.max);
}

pub(super) fn blob(c: &mut Comparison, path: &str, flow: Flow, old: &BlobRule, new: &BlobRule) {
    upper(c, path, flow, "maxSize", old.max_size, new.max_size);
    let anything = [String::from("*/*")];
    let old = old.accept.as_deref().unwrap_or(&anything);
    let new = new.accept.as_deref().unwrap_or(&anything);
    let path = format!("{path}.accept");
    let missing = |from: &[String], within: &[String]| {
        let covered = |mime: &String| within.iter().any(|pattern| accepts(pattern, mime));
        from.iter().find(|mime| !covered(mime)).cloned()
    };
    if let Some(mime) = missing(old, new) {
        c.tightened(&path, flow, &format!("{mime} is not accepted any more"));
    }
    if let Some(mime) = missing(new, old) {
        c.loosened(&path, flow, &format!("{mime} was not accepted before"));
    }
}

fn constant<T: PartialEq + Display>(
    c: &mut Comparison,
    path: &str,
    flow: Flow,
    old: Option<T>,
    new: Option<T>,
) {
    let path = format!("{path}.const");
    match (old, new) {
        (None, Some(new)) => c.tightened(&path, flow, &format!("only {new} is allowed now")),
        (Some(old), None) => {
            c.loosened(
                &path,
                flow,
                &format!("other values than {old} are allowed now"),
            );
        }
        (Some(old), Some(new)) if old != new => {
            let what = format!("the only value was {old} and would be {new}");
            c.tightened(&path, flow, &what);
            c.loosened(&path, flow, &what);
        }
        _ => {}
    }
}

fn choice<T: PartialEq + Display>(
    c: &mut Comparison,
    path: &str,
    flow: Flow,
    old: Option<&[T]>,
    new: Option<&[T]>,
) {
    let path = format!("{path}.enum");
    match (old, new) {
        (None, Some(_)) => c.tightened(&path, flow, "only listed values are allowed now"),
        (Some(_), None) => c.loosened(&path, flow, "all values are allowed now"),
        (Some(old), Some(new)) => {
            for gone in old.iter().filter(|value| !new.contains(value)) {
                c.tightened(&path, flow, &format!("{gone} is not allowed any more"));
            }
            for added in new.iter().filter(|value| !old.contains(value)) {
                c.loosened(&path, flow, &format!("{added} was not allowed before"));
            }
        }
        (None, None) => {}
    }
}

/// A lower limit: a higher one is tighter, none is the loosest.
fn lower<T: PartialOrd + Display>(
    c: &mut Comparison,
    path: &str,
    flow: Flow,
    name: &str,
    old: Option<T>,
    new: Option<T>,
) {
    // `None` is below every `Some`, as a lower limit that is not there should be.
    let (tighter, looser) = (new > old, new < old);
    let what = changed(name, old, new);
    report(c, &format!("{path}.{name}"), flow, &what, tighter, looser);
}

/// An upper limit: a lower one is tighter, none is the loosest.
fn upper<T: PartialOrd + Display>(
    c: &mut Comparison,
    path: &str,
    flow: Flow,
    name: &str,
    old: Option<T>,
    new: Option<T>,
) {
    let (tighter, looser) = match (&old, &new) {
        (Some(old), Some(new)) => (new < old, new > old),
        (old, new) => (
            old.is_none() && new.is_some(),
            old.is_some() && new.is_none(),
        ),
    };
    let what = changed(name, old, new);
    report(c, &format!("{path}.{name}"), flow, &what, tighter, looser);
}

fn report(c: &mut Comparison, path: &str, flow: Flow, what: &str, tighter: bool, looser: bool) {
    if tighter {
        c.tightened(path, flow, what);
    }
    if looser {
        c.loosened(path, flow, what);
    }
}

fn changed<T: Display>(name: &str, old: Option<T>, new: Option<T>) -> String {
    let show = |value: Option<T>| value.map_or_else(|| "none".to_owned(), |v| v.to_string());
    format!("{name} was {} and would be {}", show(old), show(new))
}

fn format(
    c: &mut Comparison,
    path: &str,
    flow: Flow,
    old: Option<StringFormat>,
    new: Option<StringFormat>,
) {
    if old == new {
        return;
    }
    let what = changed(
        "format",
        old.map(StringFormat::name),
        new.map(StringFormat::name),
    );
    let (tighter, looser) = (!contains(new, old), !contains(old, new));
    report(c, &format!("{path}.format"), flow, &what, tighter, looser);
}

/// Whether every string of the format `inner` has the format `outer`.
fn contains(outer: Option<StringFormat>, inner: Option<StringFormat>) -> bool {
    use StringFormat::{AtIdentifier, AtUri, Did, Handle, Nsid, RecordKey, Tid, Uri};
    match (outer, inner) {
        (None, _) => true,
        (_, None) => false,
        (Some(outer), Some(inner)) => {
            outer == inner
                || matches!(
                    (outer, inner),
                    (AtIdentifier, Did | Handle) | (Uri, AtUri | Did) | (RecordKey, Nsid | Tid)
                )
        }
    }
}
