//! Characters next to each other.

use std::sync::Arc;

use crate::crdt::sequence::Content;

/// A part of an inserted text. Its elements are Unicode scalar values.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    text: Arc<str>,
    /// In bytes.
    from: u32,
    /// In bytes.
    to: u32,
    chars: u32,
}

impl Piece {
    /// The whole of a text, which comes from an edit or a state and is therefore shorter than 4 GiB.
    pub fn new(text: &Arc<str>) -> Self {
        Self {
            text: Arc::clone(text),
            from: 0,
            to: text.len() as u32,
            chars: text.chars().count() as u32,
        }
    }

    pub fn as_str(&self) -> &str {
        let range = self.from as usize..self.to as usize;
        self.text.get(range).unwrap_or_default()
    }
}

impl Content for Piece {
    fn len(&self) -> u32 {
        self.chars
    }

    fn split_off(&mut self, at: u32) -> Self {
        let bytes = if self.to - self.from == self.chars {
            at
        } else {
            let cut = self.as_str().char_indices().nth(at as usize);
            cut.map_or(self.to - self.from, |(bytes, _)| bytes as u32)
        };
        let middle = self.from + bytes;
        let rest = Self {
            text: Arc::clone(&self.text),
            from: middle,
            to: self.to,
            chars: self.chars - at,
        };
        (self.to, self.chars) = (middle, at);
        rest
    }
}
