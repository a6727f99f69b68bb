//! Times as people read them. Without JavaScript they are in UTC and say so; the page's module puts them into local time.

use serde::Deserialize;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// An RFC 3339 time of the interface: UTC, to the millisecond.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Moment(String);

impl Moment {
    pub fn iso(&self) -> &str {
        &self.0
    }

    /// `22 Nov 2026`
    pub fn day(&self) -> String {
        let part = |range: std::ops::Range<usize>| self.0.get(range).unwrap_or_default();
        let month = part(5..7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1)));
        format!("{} {} {}", part(8..10).trim_start_matches('0'), month.unwrap_or(&"?"), part(0..4))
    }

    /// `16:25 UTC`
    pub fn clock(&self) -> String {
        format!("{} UTC", self.0.get(11..16).unwrap_or_default())
    }

    /// `22 Nov 2026, 16:25 UTC`
    pub fn full(&self) -> String {
        format!("{}, {}", self.day(), self.clock())
    }

    /// As a field of type `datetime-local` holds it.
    pub fn input(&self) -> &str {
        self.0.get(..16).unwrap_or_default()
    }
}

/// What a field of type `datetime-local` holds, as the interface reads it; the field is in UTC.
pub fn of_input(text: &str) -> String {
    match text.len() {
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_string(),
    }
}

/// A span of time in words: `45 seconds`, `2 minutes`, `3 hours`.
pub fn duration(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..=90 => (seconds, "second"),
        91..=5_400 => (seconds.div_ceil(60), "minute"),
        _ => (seconds.div_ceil(3_600), "hour"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// A countdown's face: `14:59`.
pub fn countdown(seconds: u64) -> String {
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_at_a_glance() {
        let moment = Moment("2026-11-02T16:25:07.123Z".into());
        assert_eq!(moment.full(), "2 Nov 2026, 16:25 UTC");
        assert_eq!(moment.input(), "2026-11-02T16:25");
        assert_eq!(of_input(moment.input()), "2026-11-02T16:25:00Z");
        assert_eq!(Moment("?".into()).full(), " ? ,  UTC", "what is no time does no harm");
        assert_eq!(duration(1), "1 second");
        assert_eq!(duration(900), "15 minutes");
        assert_eq!(countdown(899), "14:59");
    }
}
