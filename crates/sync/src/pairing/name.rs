//! Names of devices, and other text that comes from afar and is shown to a person.

use std::fmt;
use std::str::FromStr;

/// The most characters of a name.
const MAX_CHARS: usize = 64;

/// What is wrong with the name of a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceNameError {
    /// Nothing to read.
    #[error("a device needs a name")]
    Empty,
    /// Too long.
    #[error("the name of a device has at most {MAX_CHARS} characters; found {found}")]
    Length {
        /// How many there were.
        found: usize,
    },
    /// A character that is not seen, or that changes how others are seen.
    #[error("the name of a device has no control characters; found U+{:04X}", u32::from(*found))]
    Control {
        /// The character.
        found: char,
    },
}

/// The name that a user gave to a device: 1 to 64 characters, none of them invisible, no space around them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName(String);

impl DeviceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceName {
    type Err = DeviceNameError;

    fn from_str(text: &str) -> Result<Self, DeviceNameError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(DeviceNameError::Empty);
        }
        if let Some(found) = text.chars().find(|c| is_hidden(*c)) {
            return Err(DeviceNameError::Control { found });
        }
        let found = text.chars().count();
        if found > MAX_CHARS {
            return Err(DeviceNameError::Length { found });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whether a character would let text pose as other text on a terminal or a page: control characters, line and
/// paragraph separators, zero-width characters and those that turn the direction of writing.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A sentence of the other side, made safe to show: nothing hidden, at most `max` bytes.
pub(super) fn shown(text: &str, max: usize) -> String {
    let mut shown = String::new();
    for c in text.chars().filter(|c| !is_hidden(*c)) {
        if shown.len() + c.len_utf8() > max {
            break;
        }
        shown.push(c);
    }
    shown
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_visible() {
        let read = |text: &str| text.parse::<DeviceName>();
        assert_eq!(read(" Zoë's phone ").unwrap().as_str(), "Zoë's phone");
        assert_eq!(read(&"ü".repeat(64)).unwrap().as_str().len(), 128);
        assert_eq!(
            read(&"ü".repeat(65)),
            Err(DeviceNameError::Length { found: 65 })
        );
        for empty in ["", "   ", "\t\n"] {
            assert_eq!(read(empty), Err(DeviceNameError::Empty));
        }
        for found in [
            '\0', '\n', '\u{1b}', '\u{7f}', '\u{9b}', '\u{202e}', '\u{200b}',
        ] {
            assert_eq!(
                read(&format!("a{found}b")),
                Err(DeviceNameError::Control { found })
            );
        }
    }

    #[test]
    fn sentences_are_made_safe() {
        assert_eq!(shown("a\u{1b}[31mb\n", 100), "a[31mb");
        assert_eq!(shown("üüü", 5), "üü");
    }
}
