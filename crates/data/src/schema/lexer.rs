//! The words of the schema language.

use super::SchemaError;

/// A schema may be so long, in bytes.
const MAX_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name or keyword, or digits.
    Word(String),
    /// A text in quotes.
    Text(String),
    /// One of `{ } [ ] ( ) | : & =`.
    Mark(char),
}

/// The words of a text with their lines. Comments run from `#` to the end of the line.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, SchemaError> {
    if text.len() > MAX_BYTES {
        return Err(SchemaError::TooLarge("1 MiB"));
    }
    let mut out = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '#' => break,
                c if c.is_whitespace() => {}
                '{' | '}' | '[' | ']' | '(' | ')' | '|' | ':' | '&' | '=' => {
                    out.push((number, Token::Mark(c)));
                }
                '"' => {
                    let mut word = String::new();
                    loop {
                        match chars.next() {
                            Some('"') => break,
                            Some('\\') => word.extend(chars.next()),
                            Some(c) => word.push(c),
                            None => return Err(SchemaError::Truncated("the end of a text")),
                        }
                    }
                    out.push((number, Token::Text(word)));
                }
                c if c.is_ascii_alphanumeric() || c == '_' || c == '-' => {
                    let mut word = String::from(c);
                    while let Some(&c) = chars.peek() {
                        if !c.is_ascii_alphanumeric() && c != '_' && c != '-' && c != '.' {
                            break;
                        }
                        word.push(c);
                        chars.next();
                    }
                    out.push((number, Token::Word(word)));
                }
                other => {
                    return Err(SchemaError::Unexpected {
                        line: number,
                        expected: "a name, a text or a bracket",
                        found: other.to_string(),
                    });
                }
            }
        }
    }
    Ok(out)
}
