//! Points in time as Go writes them in JSON: RFC 3339 with as many digits as needed.

use std::fmt;
use std::str::FromStr;

/// Seconds from the Unix epoch back to the first of January of the year 1, Go's zero time.
const ZERO: i64 = -62_135_596_800;
/// The last second of the year 9999, the last that RFC 3339 can name.
const LAST: i64 = 253_402_300_799;
/// Seconds of a day.
const DAY: i64 = 86_400;

/// A point in time in the years 1 to 9999, to the nanosecond; Go's `time.Time` in universal time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GoTime {
    seconds: i64,
    nanos: u32,
}

/// Text that is not a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a time such as 2030-01-02T03:04:05Z expected, found {0:?}")]
pub struct TimeError(String);

impl GoTime {
    /// The zero time, which stands for "never" and "unknown": `0001-01-01T00:00:00Z`.
    pub const ZERO: Self = Self {
        seconds: ZERO,
        nanos: 0,
    };

    /// From seconds since the Unix epoch; the end of the year 9999 for what is later.
    pub fn from_secs(seconds: u64) -> Self {
        Self {
            seconds: i64::try_from(seconds).unwrap_or(LAST).min(LAST),
            nanos: 0,
        }
    }

    /// From milliseconds since the Unix epoch; the end of the year 9999 for what is later.
    pub fn from_millis(millis: u64) -> Self {
        let nanos = u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
        Self {
            nanos,
            ..Self::from_secs(millis / 1000)
        }
    }

    /// Whole seconds since the Unix epoch, which are negative before it.
    pub fn unix_seconds(self) -> i64 {
        self.seconds
    }

    /// Whole milliseconds since the Unix epoch; 0 for what is earlier.
    pub fn unix_millis(self) -> u64 {
        let seconds = u64::try_from(self.seconds).unwrap_or(0);
        let millis = if self.seconds < 0 {
            0
        } else {
            self.nanos / 1_000_000
        };
        seconds * 1000 + u64::from(millis)
    }

    /// Whether this is the zero time.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl Default for GoTime {
    fn default() -> Self {
        Self::ZERO
    }
}

impl fmt::Display for GoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of(self.seconds.div_euclid(DAY));
        let second = self.seconds.rem_euclid(DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if self.nanos > 0 {
            let digits = format!("{:09}", self.nanos);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl fmt::Debug for GoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for GoTime {
    type Err = TimeError;

    /// Reads what Go's `time.Time.UnmarshalText` reads, which is a little more than RFC 3339 allows: an hour of one
    /// digit, a comma before the fraction, offsets of up to 24 hours.
    fn from_str(text: &str) -> Result<Self, TimeError> {
        parse(text.as_bytes()).ok_or_else(|| TimeError(text.chars().take(64).collect::<String>()))
    }
}

impl serde::Serialize for GoTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for GoTime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn parse(text: &[u8]) -> Option<GoTime> {
    let mut rest = Reader(text);
    let year = rest.number(4)?;
    let month = rest.after(b'-')?.number(2)?;
    let day = rest.after(b'-')?.number(2)?;
    let hour = rest.after(b'T')?.one_or_two_digits()?;
    let minute = rest.after(b':')?.number(2)?;
    let second = rest.after(b':')?.number(2)?;
    let nanos = rest.fraction()?;
    let offset = rest.offset()?;
    let sound = rest.0.is_empty()
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let seconds = days_of(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset;
    (sound && (ZERO..=LAST).contains(&seconds)).then_some(GoTime { seconds, nanos })
}

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn after(&mut self, expected: u8) -> Option<&mut Self> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        (first == expected).then_some(self)
    }

    fn digit(&mut self) -> Option<i64> {
        let (first, rest) = self.0.split_first()?;
        let digit = first.is_ascii_digit().then(|| i64::from(first - b'0'))?;
        self.0 = rest;
        Some(digit)
    }

    fn number(&mut self, digits: usize) -> Option<i64> {
        (0..digits).try_fold(0, |value, _| Some(value * 10 + self.digit()?))
    }

    fn one_or_two_digits(&mut self) -> Option<i64> {
        let first = self.digit()?;
        Some(self.digit().map_or(first, |second| first * 10 + second))
    }

    /// Nanoseconds after a point or a comma; none without one. Further digits are cut off.
    fn fraction(&mut self) -> Option<u32> {
        if !matches!(self.0.first(), Some(b'.' | b',')) {
            return Some(0);
        }
        self.0 = self.0.get(1..)?;
        let (mut nanos, mut scale) = (0, 100_000_000);
        let mut next = Some(self.digit()?);
        while let Some(digit) = next {
            nanos += u32::try_from(digit).ok()? * scale;
            scale /= 10;
            next = self.digit();
        }
        Some(nanos)
    }

    /// Seconds that local time is ahead of universal time.
    fn offset(&mut self) -> Option<i64> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        let sign = match first {
            b'Z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.number(2)?;
        let minutes = self.after(b':')?.number(2)?;
        (hours <= 24 && minutes <= 60).then_some(sign * (hours * 3600 + minutes * 60))
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the Unix epoch to a date of the Gregorian calendar, counted in years that begin in March.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 719_469
}

/// The date so many days after the Unix epoch; the inverse of [`days_of`].
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_calendar_is_right_at_its_edges() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(GoTime::from_secs(seconds).to_string(), text);
            assert_eq!(text.parse(), Ok(GoTime::from_secs(seconds)));
        }
        assert_eq!(GoTime::ZERO.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!("0001-01-01T00:00:00Z".parse(), Ok(GoTime::ZERO));
        assert_eq!(
            GoTime::from_secs(u64::MAX).to_string(),
            "9999-12-31T23:59:59Z"
        );
        assert!("0001-01-01T00:00:00+00:01".parse::<GoTime>().is_err());
    }

    proptest! {
        #[test]
        fn every_time_is_read_as_it_was_written(seconds in ZERO..=LAST, nanos in 0u32..1_000_000_000) {
            let time = GoTime { seconds, nanos };
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn no_text_does_harm(text in ".{0,40}", digits in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{1,3}:[0-9]{2}:[0-9]{2}[.,]?[0-9]{0,30}[Z+-]?[0-9:]{0,6}") {
            for text in [text, digits] {
                if let Ok(time) = text.parse::<GoTime>() {
                    prop_assert_eq!(time.to_string().parse(), Ok(time));
                }
            }
        }
    }
}
