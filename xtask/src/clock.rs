//! UTC time. The wall clock names and dates things; order and durations come
//! from sequence numbers and the monotonic clock.

use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// Where "now" comes from; a test holds it still.
#[derive(Debug, Clone, Copy, Default)]
pub enum Clock {
    #[default]
    System,
    Fixed(OffsetDateTime),
}

impl Clock {
    pub fn now(self) -> OffsetDateTime {
        match self {
            Clock::System => OffsetDateTime::now_utc(),
            Clock::Fixed(at) => at,
        }
    }
}

/// RFC 3339, UTC, milliseconds: `2025-12-27T10:00:00.000Z`.
pub fn rfc3339(at: OffsetDateTime) -> String {
    formatted(at, "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z")
}

/// `yyyymmdd-HHMMSS`, UTC, as rids and backup directories carry it.
pub fn stamp(at: OffsetDateTime) -> String {
    formatted(at, "[year][month][day]-[hour][minute][second]")
}

fn formatted(at: OffsetDateTime, description: &str) -> String {
    let format = time::format_description::parse_borrowed::<2>(description);
    format.ok().and_then(|f| at.to_offset(time::UtcOffset::UTC).format(&f).ok()).unwrap_or_default()
}

/// Reads what [`rfc3339`] writes.
pub fn parse_rfc3339(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()
}

/// Whole milliseconds since `start`.
pub fn ms_since(start: Instant) -> u64 {
    ms(start.elapsed())
}

/// Whole milliseconds of a duration.
pub fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `850 ms`, `12.3 s`, `4 min 05 s`: for people.
pub fn human_ms(ms: u64) -> String {
    match ms {
        0..=999 => format!("{ms} ms"),
        1_000..=59_999 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {:02} s", ms / 60_000, ms / 1000 % 60),
    }
}

/// `3 minutes ago` in the coarsest unit that still tells: `45 s`, `12 min`, `5 h`, `9 d`.
pub fn human_age(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..=119 => format!("{s} s"),
        s @ 120..=7_199 => format!("{} min", s / 60),
        s @ 7_200..=172_799 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn formats_as_evidence_wants_them() {
        let at = datetime!(2025-12-27 09:08:07.006 UTC);
        assert_eq!(rfc3339(at), "2025-12-27T09:08:07.006Z");
        assert_eq!(stamp(at), "20251227-090807");
        assert_eq!(parse_rfc3339(&rfc3339(at)), Some(at));
        assert_eq!(rfc3339(datetime!(2025-12-27 01:00 +3)), "2025-12-26T22:00:00.000Z");
    }

    #[test]
    fn durations_for_people() {
        assert_eq!(human_ms(850), "850 ms");
        assert_eq!(human_ms(12_345), "12.3 s");
        assert_eq!(human_ms(245_000), "4 min 05 s");
        assert_eq!(human_age(7_300), "2 h");
    }
}
