//! A setting: its name, its kind, and how a value of it is read and checked.

use serde_json::{Value, json};

use super::table::settings;

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Any text, which is not shown.
    Secret,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A file or folder.
    Path,
    /// `HOST:PORT`, an IP address and a port; port 0 takes a free one.
    Address,
    /// `true` or `false`.
    Flag,
    /// A number of bytes, written as a number or with a unit: `512KB`, `16MB`, `2GB` (powers of 1024).
    Bytes,
    /// A whole number, none below zero.
    Count,
    /// A number from 0 to 1.
    Ratio,
    /// A list of texts; in an environment variable or a flag, separated by commas.
    List,
    /// A list of some of these words, written like a list.
    Choices(&'static [&'static str]),
}

/// What a [`Kind::Ratio`] is.
const RATIO: &str = "a number from 0 to 1";

/// One thing that can be configured.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name, with dots between section and entry: `rate_limits.enabled`.
    pub key: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Its value when nobody says anything, as it would be written in an environment variable.
    pub default: &'static str,
    /// What it does, one sentence a line.
    pub help: &'static str,
}

impl Setting {
    /// The setting of that name.
    pub fn find(key: &str) -> Option<&'static Self> {
        settings().find(|s| s.key == key)
    }

    /// The environment variable that sets it: `UES_RATE_LIMITS_ENABLED`.
    pub fn env_name(&self) -> String {
        format!("UES_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// Reads a value written as text, as environment variables and flags have it.
    ///
    /// # Errors
    /// A phrase saying what was expected, such as `true or false`.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        match self.kind {
            Kind::Flag => match text {
                "true" | "1" | "yes" | "on" => Ok(json!(true)),
                "false" | "0" | "no" | "off" => Ok(json!(false)),
                _ => Err("true or false".to_owned()),
            },
            Kind::Count => text
                .trim()
                .parse::<u32>()
                .map(Value::from)
                .map_err(|_| "a whole number".to_owned()),
            Kind::Ratio => {
                let number = text.trim().parse::<f64>().map_err(|_| RATIO.to_owned())?;
                self.check(Value::from(number))
            }
            Kind::List | Kind::Choices(_) => {
                let parts = text.split(',').map(str::trim);
                let parts = parts.filter(|part| !part.is_empty()).map(Value::from);
                self.check(parts.collect())
            }
            _ => self.check(Value::from(text)),
        }
    }

    /// Checks a value as it stood in a file and brings it into its usual form.
    ///
    /// # Errors
    /// A phrase saying what was expected.
    pub fn check(&self, value: Value) -> Result<Value, String> {
        match (self.kind, value) {
            (Kind::Text | Kind::Secret | Kind::Path, Value::String(s)) => Ok(Value::String(s)),
            (Kind::Text | Kind::Secret, _) => Err("a text".to_owned()),
            (Kind::Path, _) => Err("a path".to_owned()),
            (Kind::Choice(words), Value::String(s)) if words.contains(&s.as_str()) => {
                Ok(Value::String(s))
            }
            (Kind::Choice(words), _) => Err(words.join(" or ")),
            (Kind::Address, Value::String(s)) if s.parse::<std::net::SocketAddr>().is_ok() => {
                Ok(Value::String(s))
            }
            (Kind::Address, _) => {
                Err("an IP address and a port, such as 127.0.0.1:2583".to_owned())
            }
            (Kind::Flag, Value::Bool(b)) => Ok(Value::Bool(b)),
            (Kind::Flag, _) => Err("true or false".to_owned()),
            (Kind::Bytes, Value::Number(n)) if n.is_u64() => Ok(Value::Number(n)),
            (Kind::Bytes, Value::String(s)) => parse_bytes(&s).map(Value::from),
            (Kind::Bytes, _) => parse_bytes("").map(Value::from),
            (Kind::Count, Value::Number(n)) if n.as_u64().is_some_and(|n| n <= u32::MAX.into()) => {
                Ok(Value::Number(n))
            }
            (Kind::Count, _) => Err("a whole number".to_owned()),
            (Kind::Ratio, value) => match value.as_f64() {
                Some(ratio) if (0.0..=1.0).contains(&ratio) => Ok(Value::from(ratio)),
                _ => Err(RATIO.to_owned()),
            },
            (Kind::List, Value::Array(items)) if items.iter().all(Value::is_string) => {
                Ok(Value::Array(items))
            }
            (Kind::Choices(words), Value::Array(items)) => {
                let known = |item: &Value| item.as_str().is_some_and(|word| words.contains(&word));
                if items.iter().all(known) {
                    Ok(Value::Array(items))
                } else {
                    Err(format!("some of {}", words.join(", ")))
                }
            }
            (Kind::Choices(words), _) => Err(format!("a list of {}", words.join(", "))),
            (Kind::List, _) => Err("a list of texts".to_owned()),
        }
    }
}

/// Reads `512`, `512KB`, `16MB` or `2GB` (powers of 1024; `KiB` and the like mean the same).
fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => 0,
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .filter(|_| factor != 0)
        .ok_or_else(|| "a number of bytes, such as 1048576 or 16MB".to_owned())
}

/// The known name that is nearest to a misspelt one, if any is near.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|k| (strsim::jaro_winkler(name, k), k))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        for setting in settings() {
            setting
                .parse(setting.default)
                .unwrap_or_else(|e| panic!("{}: expected {e}", setting.key));
        }
    }

    #[test]
    fn environment_names_are_distinct() {
        let mut names: Vec<_> = settings().map(Setting::env_name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), settings().count());
    }

    #[test]
    fn bytes_with_units() {
        assert_eq!(parse_bytes("512"), Ok(512));
        assert_eq!(parse_bytes("16 MB"), Ok(16 << 20));
        assert_eq!(parse_bytes("2GiB"), Ok(2 << 30));
        for bad in ["", "MB", "-1", "1.5MB", "5 apples", "99999999999GB"] {
            assert!(parse_bytes(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ratios() {
        let sample = Setting::find("telemetry.sample").unwrap();
        for good in ["0", "1", "0.25", " 1e-3 "] {
            assert!(sample.parse(good).is_ok(), "{good:?}");
        }
        for wrong in ["", "-0.1", "1.01", "NaN", "inf", "half"] {
            assert_eq!(sample.parse(wrong), Err(RATIO.to_owned()), "{wrong:?}");
        }
        assert_eq!(sample.check(json!(1)), Ok(json!(1.0)));
        assert_eq!(sample.check(json!("1")), Err(RATIO.to_owned()));
    }

    #[test]
    fn a_misspelt_name_has_a_neighbour() {
        let known = || settings().map(|s| s.key);
        assert_eq!(
            nearest("rate_limits.enabeld", known()),
            Some("rate_limits.enabled")
        );
        assert_eq!(nearest("lisen", known()), Some("listen"));
        assert_eq!(nearest("zzz", known()), None);
    }
}
