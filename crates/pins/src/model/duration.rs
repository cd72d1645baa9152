//! Durations as Go writes them: `1h30m`, `1.5s`, `-20ms`.

/// Why a text is not a duration. The texts are those of Go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// Not of the form "number, unit, number, unit, …", or longer than about 292 years.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number has no unit.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit other than ns, us, µs, ms, s, m and h.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

/// Reads a duration in nanoseconds, as Go's `time.ParseDuration`.
pub(crate) fn parse(text: &str) -> Result<i64, DurationError> {
    let shown = || text.chars().take(64).collect::<String>();
    let invalid = || DurationError::Invalid(shown());
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        rest = after;
        let scale: u64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err(DurationError::MissingUnit(shown())),
            other => {
                let unit = other.chars().take(64).collect();
                return Err(DurationError::UnknownUnit {
                    unit,
                    text: shown(),
                });
            }
        };
        let whole = match whole {
            "" => 0,
            digits => digits.parse::<u64>().map_err(|_| invalid())?,
        };
        total = whole
            .checked_mul(scale)
            .and_then(|nanos| nanos.checked_add(part_of(scale, fraction)))
            .and_then(|nanos| nanos.checked_add(total))
            .ok_or_else(invalid)?;
    }
    let total = i64::try_from(total).map_err(|_| invalid())?;
    Ok(if negative { -total } else { total })
}

/// The part of a unit that the digits after the point stand for.
fn part_of(scale: u64, fraction: &str) -> u64 {
    let (mut parts, mut whole) = (0u128, 1u128);
    for digit in fraction.bytes().take(18) {
        parts = parts * 10 + u128::from(digit - b'0');
        whole *= 10;
    }
    u64::try_from(parts * u128::from(scale) / whole).unwrap_or(0)
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("-5s", -5_000_000_000),
            ("+1h15m30.918273645s", 4_530_918_273_645),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("3µs4ns", 3_004),
            ("2562047h47m16.854775807s", i64::MAX),
        ] {
            assert_eq!(parse(text), Ok(nanos), "{text}");
        }
        for text in [
            "",
            "-",
            ".s",
            "1",
            "1x",
            "s",
            "2562048h",
            "99999999999999999999s",
            "1s ",
            "１s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
