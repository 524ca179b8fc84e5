//! Times and durations as a person writes them.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// A point in time: `2026-01-31`, `2026-01-31T12:00:00Z`, or seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub SystemTime);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(seconds) = text.parse::<u32>() {
            let since = Duration::from_secs(seconds.into());
            return Ok(Self(SystemTime::UNIX_EPOCH + since));
        }
        let midnight = |date: Date| date.to_zoned(TimeZone::UTC).ok();
        let time = text.parse::<Timestamp>().ok().or_else(|| {
            // a date without a time: a text that goes on after it is no date
            let date = Date::strptime("%Y-%m-%d", text).ok()?;
            midnight(date).map(|zoned| zoned.timestamp())
        });
        let time = time.ok_or(
            "expected a date such as 2026-01-31, 2026-01-31T12:00:00Z, or seconds since 1970",
        )?;
        if u32::try_from(time.as_second()).is_err() {
            return Err("OpenPGP writes times between 1970 and 2106".into());
        }
        Ok(Self(time.into()))
    }
}

/// How long something is to be good: `2y`, `6mo`, `90d`, or `never` for without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Without end.
    Never,
    /// So long, by the calendar.
    For(Years),
}

/// A span that is longer than nothing.
#[derive(Clone, Copy, Debug)]
pub struct Years(Span);

impl PartialEq for Years {
    fn eq(&self, other: &Self) -> bool {
        self.0.fieldwise() == other.0
    }
}

impl Eq for Years {}

impl FromStr for Validity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if matches!(text, "never" | "none") {
            return Ok(Self::Never);
        }
        match text.parse::<Span>() {
            Ok(span) if span.is_positive() => Ok(Self::For(Years(span))),
            _ => Err("expected a duration such as 2y, 6mo or 90d, or `never`".into()),
        }
    }
}

impl Validity {
    /// Returns when it ends if it begins at `start`.
    pub fn end(self, start: SystemTime) -> Result<Option<SystemTime>, String> {
        let Self::For(Years(span)) = self else {
            return Ok(None);
        };
        let end = Timestamp::try_from(start).ok().and_then(|start| {
            let end = start.to_zoned(TimeZone::UTC).checked_add(span).ok()?;
            Some(end.timestamp())
        });
        match end {
            Some(end) if u32::try_from(end.as_second()).is_ok() => Ok(Some(end.into())),
            _ => Err("OpenPGP writes times between 1970 and 2106".into()),
        }
    }
}

/// Writes a time as RFC 3339, in UTC and whole seconds.
pub fn rfc3339(time: SystemTime) -> String {
    match Timestamp::try_from(time) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => "unknown".into(),
    }
}

/// Writes the day of a time, in UTC.
pub fn day(time: SystemTime) -> String {
    rfc3339(time).chars().take("2026-01-31".len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> String {
        rfc3339(text.parse::<Time>().unwrap().0)
    }

    #[test]
    fn times_are_dates_instants_or_seconds() {
        assert_eq!(time("1231006505"), "2009-01-03T18:15:05Z");
        assert_eq!(time("2009-01-03"), "2009-01-03T00:00:00Z");
        assert_eq!(time("2009-01-03T19:15:05+01:00"), "2009-01-03T18:15:05Z");
        for bad in [
            "",
            "yesterday",
            "2009-13-01",
            "1969-01-01",
            "2107-01-01",
            "-5",
            "4294967296",
        ] {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_follow_the_calendar() {
        let start = "2024-02-29".parse::<Time>().unwrap().0;
        let end = |text: &str| {
            text.parse::<Validity>()
                .unwrap()
                .end(start)
                .unwrap()
                .map(day)
        };
        assert_eq!(end("never"), None);
        assert_eq!(end("1y").unwrap(), "2025-02-28");
        assert_eq!(end("2 years").unwrap(), "2026-02-28");
        assert_eq!(end("6mo").unwrap(), "2024-08-29");
        assert_eq!(end("90d").unwrap(), "2024-05-29");
        assert_eq!(end("2w").unwrap(), "2024-03-14");
        for bad in ["", "0d", "-1y", "soon", "2", "1y ago"] {
            assert!(bad.parse::<Validity>().is_err(), "{bad}");
        }
        assert!("200y".parse::<Validity>().unwrap().end(start).is_err());
    }
}
