//! The words of JSON: texts and numbers.

use super::error::{DecodeError, DecodeErrorKind as E};

/// A number as DAG-JSON tells them apart.
pub(super) enum Number {
    Int(i128),
    Float(f64),
}

/// A position in a text.
pub(super) struct Scanner<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) const fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0 }
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) fn error(&self, kind: E) -> DecodeError {
        DecodeError { at: self.at, kind }
    }

    /// The next byte that is not white space.
    pub(super) fn peek(&mut self) -> Result<u8, DecodeError> {
        self.space();
        self.now().ok_or_else(|| self.error(E::Truncated))
    }

    pub(super) fn take(&mut self, wanted: u8, expected: &'static str) -> Result<(), DecodeError> {
        let found = self.peek()?;
        if found == wanted {
            self.at += 1;
            Ok(())
        } else {
            Err(self.unexpected(expected, found))
        }
    }

    pub(super) fn unexpected(&self, expected: &'static str, found: u8) -> DecodeError {
        self.error(E::Unexpected {
            expected,
            found: char::from(found),
        })
    }

    pub(super) fn word(&mut self, word: &'static str) -> Result<(), DecodeError> {
        for &wanted in word.as_bytes() {
            match self.now() {
                Some(found) if found == wanted => self.at += 1,
                Some(found) => return Err(self.unexpected(word, found)),
                None => return Err(self.error(E::Truncated)),
            }
        }
        Ok(())
    }

    pub(super) fn end(&mut self) -> Result<(), DecodeError> {
        self.space();
        match self.now() {
            None => Ok(()),
            Some(_) => Err(self.error(E::Trailing)),
        }
    }

    fn space(&mut self) {
        while matches!(self.now(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn now(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    /// Reads a text with its quotes.
    pub(super) fn string(&mut self) -> Result<String, DecodeError> {
        self.take(b'"', "a text")?;
        let start = self.at;
        let mut out = Vec::new();
        loop {
            let plain = self.at;
            while matches!(self.now(), Some(byte) if byte >= 0x20 && byte != b'"' && byte != b'\\')
            {
                self.at += 1;
            }
            out.extend_from_slice(self.input.get(plain..self.at).unwrap_or_default());
            match self.now() {
                Some(b'"') => {
                    self.at += 1;
                    break;
                }
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escape()?;
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(found) => return Err(self.unexpected("an escaped control character", found)),
                None => return Err(self.error(E::Truncated)),
            }
        }
        String::from_utf8(out).map_err(|_| DecodeError {
            at: start,
            kind: E::Utf8,
        })
    }

    fn escape(&mut self) -> Result<char, DecodeError> {
        let c = match self.now() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            Some(_) => return Err(self.error(E::Escape)),
            None => return Err(self.error(E::Truncated)),
        };
        self.at += 1;
        Ok(c)
    }

    fn unicode(&mut self) -> Result<char, DecodeError> {
        let high = self.hex4()?;
        let code = if (0xd800..0xdc00).contains(&high) {
            self.word("\\u").map_err(|e| DecodeError {
                at: e.at,
                kind: E::Escape,
            })?;
            let low = self.hex4()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(self.error(E::Escape));
            }
            0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
        } else {
            high
        };
        char::from_u32(code).ok_or_else(|| self.error(E::Escape))
    }

    fn hex4(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.now().and_then(|byte| char::from(byte).to_digit(16));
            value = value << 4 | digit.ok_or_else(|| self.error(E::Escape))?;
            self.at += 1;
        }
        Ok(value)
    }

    /// Reads a number.
    pub(super) fn number(&mut self) -> Result<Number, DecodeError> {
        let start = self.at;
        if self.now() == Some(b'-') {
            self.at += 1;
        }
        let leading = self.now();
        let digits = self.digits()?;
        if leading == Some(b'0') && digits > 1 {
            return Err(self.error(E::Number));
        }
        let mut float = false;
        if self.now() == Some(b'.') {
            float = true;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.now(), Some(b'e' | b'E')) {
            float = true;
            self.at += 1;
            if matches!(self.now(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = self.input.get(start..self.at).unwrap_or_default();
        let text = std::str::from_utf8(text).map_err(|_| self.error(E::Number))?;
        let out_of_range = DecodeError {
            at: start,
            kind: E::Range,
        };
        if float {
            match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Number::Float(value)),
                _ => Err(out_of_range),
            }
        } else {
            let value: i128 = text.parse().map_err(|_| out_of_range.clone())?;
            let magnitude = if value < 0 { -1 - value } else { value };
            match u64::try_from(magnitude) {
                Ok(_) => Ok(Number::Int(value)),
                Err(_) => Err(out_of_range),
            }
        }
    }

    fn digits(&mut self) -> Result<usize, DecodeError> {
        let start = self.at;
        while matches!(self.now(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        match self.at - start {
            0 => Err(self.error(E::Number)),
            some => Ok(some),
        }
    }
}
