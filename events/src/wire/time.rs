//! RFC 3339 in UTC, to the millisecond: how times look on the wire.

use holdfast_ledger::limits::TIME_MS_MAX;
use serde::{Serialize, Serializer};

const DAY_MS: u64 = 86_400_000;

/// `2026-01-31T12:00:00.000Z`, without an allocation: every order shows three.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rfc3339([u8; 24]);

impl Rfc3339 {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits and separators are ASCII")
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// `time_ms` since the Unix epoch, as it is written. Times past the year 9999 are shown as its last second.
pub fn rfc3339(time_ms: u64) -> Rfc3339 {
    let time_ms = time_ms.min(TIME_MS_MAX);
    let (year, month, day) = civil_from_days((time_ms / DAY_MS) as i64);
    let ms = time_ms % DAY_MS;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let mut write = |range: std::ops::Range<usize>, mut value: u64| {
        for digit in text[range].iter_mut().rev() {
            (*digit, value) = (b'0' + (value % 10) as u8, value / 10);
        }
    };
    write(0..4, year as u64);
    write(5..7, month as u64);
    write(8..10, day as u64);
    write(11..13, ms / 3_600_000);
    write(14..16, ms / 60_000 % 60);
    write(17..19, ms / 1_000 % 60);
    write(20..23, ms % 1_000);
    Rfc3339(text)
}

/// Milliseconds since the Unix epoch of an RFC 3339 time with any offset; `None` for anything else, and for times before
/// 1970 or past [`TIME_MS_MAX`]. Fractions below a millisecond are cut off.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    if !text.is_ascii() || bytes.len() < 20 {
        return None;
    }
    let separators = [(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")];
    if !separators.iter().all(|(at, allowed)| allowed.as_bytes().contains(&bytes[*at])) {
        return None;
    }
    let (year, month, day) = (number(&text[0..4])?, number(&text[5..7])?, number(&text[8..10])?);
    let (hour, minute, second) = (number(&text[11..13])?, number(&text[14..16])?, number(&text[17..19])?);
    if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (milli, zone) = fraction(&text[19..])?;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second.min(59);
    let ms = (seconds - offset_s(zone)?).checked_mul(1_000)?.checked_add(milli)?;
    u64::try_from(ms).ok().filter(|ms| *ms <= TIME_MS_MAX)
}

fn number(digits: &str) -> Option<i64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// The milliseconds of an optional `.fraction`, and what follows it.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let milli = format!("{:0<3}", &rest[..length.min(3)]);
    Some((number(&milli)?, &rest[length..]))
}

/// `Z` or `±hh:mm`, in seconds east of Greenwich.
fn offset_s(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_700_000_000_000, "2023-11-14T22:13:20.000Z"),
            (TIME_MS_MAX, "9999-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(rfc3339(ms).as_str(), text);
            assert_eq!(parse_rfc3339(text), Some(ms));
        }
        assert_eq!(parse_rfc3339("2023-11-14T23:13:20.5+01:00"), Some(1_700_000_000_500));
        assert_eq!(rfc3339(u64::MAX).as_str(), "9999-12-31T23:59:59.000Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "tomorrow",
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-11-14T24:00:00Z",
            "2023-11-14T22:13:20",
            "2023-11-14T22:13:20+1:00",
            "2023-11-14T22:13:20.Z",
            "1969-12-31T23:59:59Z",
            "2023-11-14T22:13:20Zé",
        ] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }
}
