//! Points in time as lexicons write them.

use std::time::{SystemTime, UNIX_EPOCH};

use super::newtype::text_identifier;

text_identifier!(
    /// A point in time, such as `1985-04-12T23:20:50.123Z`: what RFC 3339, ISO 8601 and WHATWG all accept.
    ///
    /// The text is kept as given, with its precision and zone (<https://atproto.com/specs/lexicon#datetime>).
    Datetime, "datetime", check
);

const MAX_BYTES: usize = 64;
const MAX_FRACTION: usize = 20;
const DAY_SECONDS: i64 = 86_400;

impl Datetime {
    /// Whether a string has the shape of a datetime, though its numbers may be out of range.
    pub fn has_shape(text: &str) -> bool {
        read(text.as_bytes()).is_ok()
    }

    /// Now, in UTC with milliseconds.
    pub fn now() -> Self {
        let millis = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            });
        Self::from_unix_millis(millis)
    }

    /// The given milliseconds since 1970 in UTC; held to the years 0000 to 9999.
    pub fn from_unix_millis(millis: i64) -> Self {
        let earliest = days_from_civil(0, 1, 1) * DAY_SECONDS * 1000;
        let latest = (days_from_civil(9999, 12, 31) + 1) * DAY_SECONDS * 1000 - 1;
        let millis = millis.clamp(earliest, latest);
        let seconds = millis.div_euclid(1000);
        let (year, month, day) = civil_from_days(seconds.div_euclid(DAY_SECONDS));
        let time = seconds.rem_euclid(DAY_SECONDS);
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        let milli = millis.rem_euclid(1000);
        Self(
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
                .into(),
        )
    }

    /// Microseconds since 1970; finer digits are cut off.
    pub fn unix_micros(&self) -> i64 {
        read(self.as_str().as_bytes()).map_or(0, |fields| fields.unix_micros())
    }

    /// Milliseconds since 1970; finer digits are cut off.
    pub fn unix_millis(&self) -> i64 {
        self.unix_micros().div_euclid(1000)
    }
}

/// The numbers of a datetime that has the right shape.
struct Fields {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    /// Minutes that the zone is ahead of UTC.
    zone: i64,
}

impl Fields {
    fn unix_micros(&self) -> i64 {
        let days = days_from_civil(self.year, self.month, self.day);
        let minutes = self.hour * 60 + self.minute - self.zone;
        (days * DAY_SECONDS + minutes * 60 + self.second) * 1_000_000 + self.micros
    }

    fn check_ranges(&self) -> Result<(), &'static str> {
        if !(1..=12).contains(&self.month) {
            return Err("its month is 01 to 12");
        }
        if self.day < 1 || self.day > days_in_month(self.year, self.month) {
            return Err("its day is one that the month has");
        }
        if self.hour > 23 || self.minute > 59 || self.second > 59 {
            return Err("its time is 00:00:00 to 23:59:59");
        }
        if self.zone.abs() >= 24 * 60 {
            return Err("its zone is less than 24 hours");
        }
        if self.unix_micros() < days_from_civil(0, 1, 1) * DAY_SECONDS * 1_000_000 {
            return Err("it is not before the year 0000 in UTC");
        }
        Ok(())
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    read(text.as_bytes())?.check_ranges()
}

/// Reads `YYYY-MM-DDTHH:MM:SS[.f]ZONE` without judging the ranges.
fn read(text: &[u8]) -> Result<Fields, &'static str> {
    const SHAPE: &str = "YYYY-MM-DDTHH:MM:SS[.f] and then Z or ±HH:MM";
    if text.len() > MAX_BYTES {
        return Err("at most 64 characters");
    }
    let mut cursor = Cursor(text);
    let mut go = || {
        let year = cursor.digits(4)?;
        let month = cursor.after(b'-', 2)?;
        let day = cursor.after(b'-', 2)?;
        let hour = cursor.after(b'T', 2)?;
        let minute = cursor.after(b':', 2)?;
        let second = cursor.after(b':', 2)?;
        let micros = cursor.fraction()?;
        let zone = cursor.zone()?;
        cursor.0.is_empty().then_some(Fields {
            year,
            month,
            day,
            hour,
            minute,
            second,
            micros,
            zone,
        })
    };
    let fields = go().ok_or(SHAPE)?;
    if text.ends_with(b"-00:00") {
        return Err("its zone is not -00:00");
    }
    Ok(fields)
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let mut number = 0;
        for _ in 0..count {
            let byte = self.byte()?;
            number = number * 10 + i64::from(char::from(byte).to_digit(10)?);
        }
        Some(number)
    }

    fn after(&mut self, divider: u8, count: usize) -> Option<i64> {
        (self.byte()? == divider).then_some(())?;
        self.digits(count)
    }

    /// An optional fraction of a second, in microseconds.
    fn fraction(&mut self) -> Option<i64> {
        let Some((b'.', rest)) = self.0.split_first() else {
            return Some(0);
        };
        let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        (1..=MAX_FRACTION).contains(&count).then_some(())?;
        let (digits, rest) = rest.split_at_checked(count)?;
        self.0 = rest;
        Some((0..6).fold(0, |micros, place| {
            micros * 10 + digits.get(place).map_or(0, |d| i64::from(d - b'0'))
        }))
    }

    fn zone(&mut self) -> Option<i64> {
        let sign = match self.byte()? {
            b'Z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.digits(2)?;
        let minutes = self.after(b':', 2)?;
        (minutes < 60).then_some(sign * (hours * 60 + minutes))
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar (years that begin in March).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date (year, month, day) of a count of days since 1970-01-01; inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times() {
        let epoch = Datetime::from_unix_millis(0);
        assert_eq!(epoch, "1970-01-01T00:00:00.000Z");
        let then = Datetime::parse("1985-04-12T23:20:50.123456-07:00").unwrap();
        assert_eq!(then.unix_micros(), 482_221_250_123_456);
        assert_eq!(
            Datetime::from_unix_millis(i64::MAX),
            "9999-12-31T23:59:59.999Z"
        );
        assert_eq!(
            Datetime::from_unix_millis(i64::MIN),
            "0000-01-01T00:00:00.000Z"
        );
        assert!(Datetime::parse("2024-02-29T00:00:00Z").is_ok());
        assert!(Datetime::parse("2023-02-29T00:00:00Z").is_err());
    }

    proptest! {
        #[test]
        fn millis_round_trip(millis in -62_167_219_200_000i64..253_402_300_800_000) {
            let text = Datetime::from_unix_millis(millis);
            prop_assert_eq!(Datetime::parse(text.as_str()).unwrap().unix_millis(), millis);
        }

        #[test]
        fn anything_is_judged_without_a_panic(text in "\\PC{0,70}") {
            let _ = Datetime::parse(&text);
        }
    }
}
