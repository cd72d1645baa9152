//! Text with formatting.

mod edit;
mod facet;
mod mark;
mod piece;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ues_data::Ipld;
use ues_data::dag_cbor::{Reader, Writer};

pub use edit::{TextEdit, TextStep};
pub use mark::{Anchor, Expand, MAX_KEY_BYTES, Mark};
use piece::Piece;

use super::dot::{Dot, Seen};
use super::error::{CodecError, CrdtError};
use super::rule::{Edit as _, Origin, Rule};
use super::sequence::{Mend, Sequence, Steps};
use super::value::Value;
use super::wire::{self, tuple};

/// A text. Positions count Unicode scalar values that a reader sees, from 0.
#[derive(Clone, Debug, Default)]
pub struct Text {
    seen: Seen,
    chars: Sequence<Piece>,
    marks: BTreeMap<Dot, (Origin, Mark)>,
    /// The characters after which some mark ends: what is typed there must not fall into the mark.
    ends: BTreeSet<Dot>,
}

impl Text {
    /// The number of Unicode scalar values.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.chars.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text without its marks.
    #[must_use]
    pub fn text(&self) -> String {
        self.chars.contents().map(Piece::as_str).collect()
    }

    /// The character at a position, as the dot that it keeps.
    ///
    /// # Errors
    /// If there is none.
    pub fn element(&self, position: u64) -> Result<Dot, CrdtError> {
        self.chars.at(position)
    }

    /// The step that puts text in at a position.
    ///
    /// # Errors
    /// If the position lies behind the end.
    pub fn insert(&self, position: u64, text: &str) -> Result<TextStep, CrdtError> {
        let mut left = self.left_of(position)?;
        // If a mark ends after a deleted character here, the text goes behind that one.
        for (first, len) in self.chars.deleted_behind(left).take(64) {
            let last = first.within(len - 1);
            if let Some(end) = self.ends.range(first..=last).next_back() {
                left = Some(*end);
            }
        }
        let place = self.chars.place_behind(left);
        Ok(TextStep::Insert(place, Arc::from(text)))
    }

    /// The steps that delete `count` characters from a position on.
    ///
    /// # Errors
    /// If there are not so many.
    pub fn delete(&self, position: u64, count: u64) -> Result<Vec<TextStep>, CrdtError> {
        let ranges = self.chars.ranges(position, count)?.into_iter();
        Ok(ranges
            .map(|(first, count)| TextStep::Delete(first, count))
            .collect())
    }

    /// The step that marks the characters from `start` up to, not including, `end`; without a value it takes the mark
    /// away.
    ///
    /// # Errors
    /// If the range is empty or ends behind the text.
    pub fn mark(
        &self,
        (start, end): (u64, u64),
        expand: Expand,
        key: &str,
        value: Option<Value>,
    ) -> Result<TextStep, CrdtError> {
        let last = end.checked_sub(1).filter(|last| start <= *last);
        let last = last.ok_or(CrdtError::Position {
            len: end,
            found: start,
        })?;
        let (first, last) = (self.chars.at(start)?, self.chars.at(last)?);
        let start = match (expand, self.left_of(start)?) {
            (Expand::Neither | Expand::After, _) => Anchor::Before(first),
            (Expand::Before | Expand::Both, Some(left)) => Anchor::After(left),
            (Expand::Before | Expand::Both, None) => Anchor::Start,
        };
        let end = match (expand, self.chars.behind(Some(last))) {
            (Expand::Neither | Expand::Before, _) => Anchor::After(last),
            (Expand::After | Expand::Both, Some(behind)) => Anchor::Before(behind),
            (Expand::After | Expand::Both, None) => Anchor::End,
        };
        Ok(TextStep::Mark(Mark {
            key: key.to_owned(),
            value,
            start,
            end,
        }))
    }

    fn left_of(&self, position: u64) -> Result<Option<Dot>, CrdtError> {
        match position.checked_sub(1) {
            Some(before) => self.chars.at(before).map(Some).map_err(|_| {
                let (len, found) = (self.len(), position);
                CrdtError::Position { len, found }
            }),
            None => Ok(None),
        }
    }

    fn keep_mark(&mut self, origin: Origin, mark: Mark) {
        if let Anchor::After(dot) = mark.end {
            self.ends.insert(dot);
        }
        self.marks.insert(origin.dot, (origin, mark));
    }
}

impl Rule for Text {
    type Edit = TextEdit;

    fn apply(&mut self, origin: &Origin, edit: &TextEdit) -> Result<(), CrdtError> {
        let width = edit.width();
        self.seen.check(origin.dot, width)?;
        edit.with_steps(|steps| {
            let steps = Steps {
                first: origin.dot,
                steps,
            };
            steps.check(&self.chars)?;
            steps.carry_out(&mut self.chars);
            Ok(())
        })?;
        let mut taken = 0;
        for step in &edit.steps {
            match step {
                TextStep::Insert(_, text) => taken += text.chars().count() as u32,
                TextStep::Delete(..) => {}
                TextStep::Mark(mark) => {
                    self.keep_mark(origin.within(taken), mark.clone());
                    taken += 1;
                }
            }
        }
        self.seen.note(origin.dot, width);
        Ok(())
    }

    fn mend(&self, origin: &Origin, edit: TextEdit) -> TextEdit {
        let mend = Mend {
            own: origin.dot,
            sequence: &self.chars,
        };
        let steps = edit.steps.into_iter().filter_map(|step| match step {
            TextStep::Insert(place, text) => Some(TextStep::Insert(mend.place(place), text)),
            TextStep::Delete(first, count) => mend
                .range(first, count)
                .map(|count| TextStep::Delete(first, count)),
            TextStep::Mark(mark) => {
                let mut dots = [mark.start.dot(), mark.end.dot()].into_iter().flatten();
                let (start, end) = match dots.all(|dot| mend.is_there(dot)) {
                    true => (mark.start, mark.end),
                    false => (Anchor::End, Anchor::Start),
                };
                Some(TextStep::Mark(Mark { start, end, ..mark }))
            }
        });
        TextEdit {
            steps: steps.collect(),
        }
    }

    /// A map of `text` and, if there are any, `facets` as in `app.bsky.richtext.facet`.
    fn value(&self) -> Ipld {
        let text = self.text();
        let facets = self.facets(&text);
        let mut map = BTreeMap::from([("text".to_owned(), Ipld::String(text))]);
        if !facets.is_empty() {
            map.insert("facets".to_owned(), Ipld::List(facets));
        }
        Ipld::Map(map)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.array(3);
        self.seen.write(&mut out);
        self.chars.write(&mut out, |pieces, out| {
            let text: String = pieces.iter().map(|piece| piece.as_str()).collect();
            out.text(&text);
        });
        out.array(self.marks.len() as u64);
        for (origin, mark) in self.marks.values() {
            out.array(1 + Mark::ITEMS as u64);
            origin.write(&mut out);
            mark.write_items(&mut out);
        }
        out.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::with_limits(bytes, wire::STATE);
        tuple(&mut input, 3)?;
        let seen = Seen::read(&mut input)?;
        let chars = Sequence::read(&mut input, &seen, |input| {
            Ok(Piece::new(&Arc::from(input.text()?)))
        })?;
        let mut text = Self {
            seen,
            chars,
            ..Self::default()
        };
        for _ in 0..input.array()? {
            tuple(&mut input, 1 + Mark::ITEMS)?;
            let origin = Origin::read(&mut input)?;
            let mark = Mark::read(&mut input)?;
            text.seen.vouch(&[origin.dot])?;
            if text
                .marks
                .last_key_value()
                .is_some_and(|(last, _)| *last >= origin.dot)
            {
                return Err(CodecError::Order("marks"));
            }
            for dot in [mark.start.dot(), mark.end.dot()].into_iter().flatten() {
                if !text.chars.contains(dot) {
                    let what = "a mark is anchored to it, and it is missing";
                    return Err(CodecError::Contradiction { dot, what });
                }
            }
            text.keep_mark(origin, mark);
        }
        input.finish()?;
        match text.encode() == bytes {
            true => Ok(text),
            false => Err(CodecError::NotCanonical),
        }
    }
}
