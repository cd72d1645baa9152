//! Language tags.

use super::newtype::text_identifier;

text_identifier!(
    /// A language tag of BCP 47 (RFC 5646), such as `pt-BR`; the language itself in lower case.
    ///
    /// Well-formed and with no variant or extension twice; whether the subtags are registered is not asked.
    Language, "language tag", check
);

const MAX_BYTES: usize = 128;

/// Tags that RFC 5646 keeps though they do not follow its grammar.
const GRANDFATHERED: [&str; 17] = [
    "en-gb-oed",
    "i-ami",
    "i-bnn",
    "i-default",
    "i-enochian",
    "i-hak",
    "i-klingon",
    "i-lux",
    "i-mingo",
    "i-navajo",
    "i-pwn",
    "i-tao",
    "i-tay",
    "i-tsu",
    "sgn-be-fr",
    "sgn-be-nl",
    "sgn-ch-de",
];

impl Language {
    /// Whether a string follows the grammar, though a subtag may be there twice.
    pub fn has_shape(text: &str) -> bool {
        walk(text).is_ok()
    }

    /// The primary language, such as `pt`; `i` or `x` for tags outside the grammar.
    pub fn primary(&self) -> &str {
        self.as_str().split('-').next().unwrap_or_default()
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    match walk(text)? {
        Uniqueness::Unique => Ok(()),
        Uniqueness::Repeated(rule) => Err(rule),
    }
}

enum Uniqueness {
    Unique,
    Repeated(&'static str),
}

/// Walks over the subtags in the order that the grammar gives them.
fn walk(text: &str) -> Result<Uniqueness, &'static str> {
    if text.len() > MAX_BYTES {
        return Err("at most 128 characters");
    }
    if GRANDFATHERED
        .iter()
        .any(|tag| text.eq_ignore_ascii_case(tag))
    {
        return Ok(Uniqueness::Unique);
    }
    let well_sized =
        |tag: &str| (1..=8).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric());
    if !text.split('-').all(well_sized) {
        return Err("consists of subtags of 1 to 8 letters and digits, divided by hyphens");
    }
    let mut tags = text.split('-').peekable();
    let primary = tags.next().unwrap_or_default();
    if primary.eq_ignore_ascii_case("x") {
        return tags
            .peek()
            .map(|_| Uniqueness::Unique)
            .ok_or("something follows x");
    }
    if !matches!(primary.len(), 2 | 3) || !primary.bytes().all(|b| b.is_ascii_lowercase()) {
        return Err("begins with a language of two or three lower-case letters");
    }
    for _ in 0..3 {
        if tags.next_if(|tag| is_alphabetic(tag, 3)).is_none() {
            break;
        }
    }
    let _script = tags.next_if(|tag| is_alphabetic(tag, 4));
    let _region = tags.next_if(|tag| {
        is_alphabetic(tag, 2) || (tag.len() == 3 && tag.bytes().all(|b| b.is_ascii_digit()))
    });

    let mut unique = Uniqueness::Unique;
    let mut variants: Vec<&str> = Vec::new();
    while let Some(variant) = tags.next_if(|tag| is_variant(tag)) {
        if variants
            .iter()
            .any(|seen| seen.eq_ignore_ascii_case(variant))
        {
            unique = Uniqueness::Repeated("no variant is there twice");
        }
        variants.push(variant);
    }
    let mut singletons = 0u128;
    while let Some(singleton) = tags.next_if(|tag| tag.len() == 1 && !tag.eq_ignore_ascii_case("x"))
    {
        let bit = 1u128 << singleton.bytes().next().unwrap_or(0).to_ascii_lowercase();
        if singletons & bit != 0 {
            unique = Uniqueness::Repeated("no extension is there twice");
        }
        singletons |= bit;
        let mut subtags = 0;
        while tags.next_if(|tag| tag.len() >= 2).is_some() {
            subtags += 1;
        }
        if subtags == 0 {
            return Err("an extension has subtags of two or more characters");
        }
    }
    match tags.next() {
        None => Ok(unique),
        Some(tag) if tag.eq_ignore_ascii_case("x") && tags.peek().is_some() => Ok(unique),
        Some(_) => {
            Err("its subtags are language, script, region, variants, extensions, private use")
        }
    }
}

fn is_alphabetic(tag: &str, length: usize) -> bool {
    tag.len() == length && tag.bytes().all(|b| b.is_ascii_alphabetic())
}

fn is_variant(tag: &str) -> bool {
    tag.len() >= 5 || (tag.len() == 4 && tag.starts_with(|c: char| c.is_ascii_digit()))
}
