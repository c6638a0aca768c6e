//! Times and durations: how they are read, written and moved.

use jiff::{SignedDuration, Timestamp};

use crate::error::EvalError;

/// The first second of the year 1, and the last of the year 9999, of which the clock here lacks the last 26 hours.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// So many digits of a second are read.
const FRACTION_MAX: usize = 64;
pub(crate) const NANOS: i64 = 1_000_000_000;

pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    let parsed = corten_api::duration::parse(text).map_err(|e| e.to_string())?;
    i64::try_from(parsed.as_nanos()).map_err(|_| "duration overflow".to_owned())
}

/// In seconds, with as many digits as it has.
pub(crate) fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let (whole, rest) = (nanos / NANOS.unsigned_abs(), nanos % NANOS.unsigned_abs());
    if rest == 0 {
        return format!("{sign}{whole}s");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}{whole}.{}s", fraction.trim_end_matches('0'))
}

/// RFC 3339, and nothing of what else ISO 8601 has: `T` and `Z` are capitals, seconds are written, and none is the 60th.
pub(crate) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let zone = if text.ends_with('Z') { 1 } else { 6 };
    let (time, zone) = text.split_at_checked(text.len().checked_sub(zone)?)?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    // `0` is a digit.
    let is_like = |text: &str, form: &str| {
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(b, wanted)| match wanted {
                b'0' => b.is_ascii_digit(),
                wanted => b == wanted,
            })
    };
    let is_fraction = (1..=FRACTION_MAX).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
    let is_zone = ["Z", "+00:00", "-00:00"].iter().any(|form| is_like(zone, form));
    if !is_like(time, "0000-00-00T00:00:00") || time.ends_with(":60") || !is_fraction || !is_zone {
        return None;
    }
    // More digits than nanoseconds have say nothing.
    let kept = &fraction[..fraction.len().min(9)];
    format!("{time}.{kept}{zone}").parse().ok()
}

pub(crate) fn in_range(at: Timestamp) -> Result<Timestamp, EvalError> {
    if SECONDS.contains(&at.as_second()) { Ok(at) } else { Err(EvalError::TimestampOverflow) }
}

pub(crate) fn moved(at: Timestamp, nanos: i64) -> Result<Timestamp, EvalError> {
    let moved = at.checked_add(SignedDuration::from_nanos(nanos)).map_err(|_| EvalError::TimestampOverflow)?;
    in_range(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc_3339s() {
        let cases = [
            ("2020-02-03T04:05:06Z", Some("2020-02-03T04:05:06Z")),
            ("2020-02-03T04:05:06.5Z", Some("2020-02-03T04:05:06.5Z")),
            ("2020-02-03T04:05:06.1234567891Z", Some("2020-02-03T04:05:06.123456789Z")),
            ("2020-02-03T04:05:06-01:30", Some("2020-02-03T05:35:06Z")),
            ("2020-02-03t04:05:06Z", None),
            ("2020-02-03T04:05:06z", None),
            ("2020-02-03 04:05:06Z", None),
            ("2020-02-03T04:05Z", None),
            ("2020-02-03T4:05:06Z", None),
            ("2020-02-03T04:05:06,5Z", None),
            ("2020-02-03T04:05:06.Z", None),
            ("2020-02-03T04:05:60Z", None),
            ("2020-02-03T04:05:06+0100", None),
            ("2020-02-03T04:05:06", None),
            ("2020-02-30T04:05:06Z", None),
            ("+002020-02-03T04:05:06Z", None),
            ("é", None),
            ("", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(parse_timestamp(text).map(|at| at.to_string()).as_deref(), wanted, "{text}");
        }
    }
}
