//! Formatting: ranges that carry a value under a key.

use ues_data::Ipld;
use ues_data::dag_cbor::{Reader, Writer};

use crate::crdt::dot::Dot;
use crate::crdt::error::CodecError;
use crate::crdt::value::Value;
use crate::crdt::wire::check_length;

/// The longest key of a mark, in bytes.
pub const MAX_KEY_BYTES: usize = 512;

/// A gap between two characters, held by one of them.
///
/// Characters inserted into the gap come before it if the character behind holds it, and behind it if the character
/// before does (Litt, Lim, Kleppmann, van Hardenberg: "Peritext: A CRDT for Collaborative Rich Text Editing").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The start of the text.
    Start,
    /// The end of the text.
    End,
    /// Before this character.
    Before(Dot),
    /// After this character.
    After(Dot),
}

impl Anchor {
    pub(super) fn dot(self) -> Option<Dot> {
        match self {
            Self::Start | Self::End => None,
            Self::Before(dot) | Self::After(dot) => Some(dot),
        }
    }

    fn write(self, out: &mut Writer) {
        out.array(2);
        out.uint(match self {
            Self::Start | Self::Before(_) => 0,
            Self::End | Self::After(_) => 1,
        });
        Dot::write_option(self.dot(), out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        crate::crdt::wire::tuple(input, 2)?;
        let side = input.uint()?;
        match (side, Dot::read_option(input)?) {
            (0, None) => Ok(Self::Start),
            (1, None) => Ok(Self::End),
            (0, Some(dot)) => Ok(Self::Before(dot)),
            (1, Some(dot)) => Ok(Self::After(dot)),
            (found, _) => Err(CodecError::Number {
                what: "0 for before or 1 for after",
                found,
            }),
        }
    }
}

/// Which characters, inserted later at the edges of a marked range, are marked as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expand {
    /// None, as with links.
    Neither,
    /// Those at the end, as with bold.
    After,
    /// Those at the start.
    Before,
    /// Those at both ends.
    Both,
}

/// A range and what is true of it. Of the marks with one key that cover a character, the one with the greatest
/// [`Origin`](crate::crdt::Origin) counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What kind of mark: the type of a facet's feature, as `app.bsky.richtext.facet#link`.
    pub key: String,
    /// The properties of the feature, a map; none takes the mark away.
    pub value: Option<Value>,
    /// Where the range begins.
    pub start: Anchor,
    /// Where it ends.
    pub end: Anchor,
}

impl Mark {
    /// The length of the encoded list.
    pub(super) const ITEMS: usize = 4;

    /// Writes the mark as a list.
    pub(super) fn write(&self, out: &mut Writer) -> Result<(), CodecError> {
        self.check()?;
        out.array(Self::ITEMS as u64);
        self.write_items(out);
        Ok(())
    }

    pub(super) fn write_items(&self, out: &mut Writer) {
        out.text(&self.key);
        match &self.value {
            Some(value) => value.write(out),
            None => out.null(),
        }
        self.start.write(out);
        self.end.write(out);
    }

    /// Reads the items of the list.
    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        let mark = Self {
            key: input.text()?.to_owned(),
            value: match input.try_null()? {
                true => None,
                false => Some(Value::read(input)?),
            },
            start: Anchor::read(input)?,
            end: Anchor::read(input)?,
        };
        mark.check()?;
        Ok(mark)
    }

    /// Checks the parts that are free in form.
    fn check(&self) -> Result<(), CodecError> {
        check_length("the key of a mark", self.key.as_bytes(), MAX_KEY_BYTES)?;
        if self.key.is_empty() {
            return Err(CodecError::Empty("the key of a mark"));
        }
        match self.value.as_ref().map(Value::to_ipld) {
            None | Some(Ipld::Map(_)) => Ok(()),
            Some(_) => Err(CodecError::MarkValue),
        }
    }
}
