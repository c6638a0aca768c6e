//! Times and durations: how they are read, written and moved.

use jiff::{SignedDuration, Timestamp};

use crate::error::EvalError;

/// The first second of the year 1, and the last of the year 9999, of which the clock here lacks the last 26 hours.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
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

/// RFC 3339: with a `T` and a zone, and both in capitals.
pub(crate) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let ends = text.ends_with('Z') || matches!(bytes.get(bytes.len().checked_sub(6)?), Some(b'+' | b'-'));
    if bytes.get(10) != Some(&b'T') || !ends {
        return None;
    }
    text.parse().ok()
}

pub(crate) fn in_range(at: Timestamp) -> Result<Timestamp, EvalError> {
    if SECONDS.contains(&at.as_second()) { Ok(at) } else { Err(EvalError::TimestampOverflow) }
}

pub(crate) fn moved(at: Timestamp, nanos: i64) -> Result<Timestamp, EvalError> {
    let moved = at.checked_add(SignedDuration::from_nanos(nanos)).map_err(|_| EvalError::TimestampOverflow)?;
    in_range(moved)
}
