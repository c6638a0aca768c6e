//! Formats of texts in OpenAPI schemas, as upstream's `strfmt` has them: whether a text is of one, and what it says.
//!
//! What a schema lets through and what an expression can read differ there, too: a date-time with small letters is one, and cannot be
//! read. <https://pkg.go.dev/k8s.io/kube-openapi/pkg/validation/strfmt>

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::PAD;
use jiff::Timestamp;

use crate::time;
use crate::url;

/// Bits that the last digit has too many mean nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, PAD.with_decode_allow_trailing_bits(true));
const NANOS_PER_HOUR: i64 = 3_600 * time::NANOS;
/// The names of units, with their nanoseconds. What begins with the last one of a unit is that unit, too: `minutes`.
const UNITS: &[(&[&str], i64)] = &[
    (&["ns", "nano"], 1),
    (&["us", "\u{b5}s", "micro"], 1_000),
    (&["ms", "milli"], 1_000_000),
    (&["s", "sec"], time::NANOS),
    (&["m", "min"], 60 * time::NANOS),
    (&["h", "hr", "hour"], NANOS_PER_HOUR),
    (&["d", "day"], 24 * NANOS_PER_HOUR),
    (&["w", "wk", "week"], 7 * 24 * NANOS_PER_HOUR),
];

/// Some base64, padded.
pub fn is_byte(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let padding = text.len() - digits.len();
    text.len().is_multiple_of(4) && padding <= 2 && !digits.is_empty() && digits.bytes().all(is_digit)
}

pub(crate) fn bytes(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    BASE64.decode(text)
}

/// `2026-02-28`.
pub fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

/// As [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339#section-5.6) has it; the letters in it may be small.
pub fn is_date_time(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let Some((date, time)) = lower.split_once('t') else { return false };
    let Some((clock, rest)) = time.split_at_checked(8) else { return false };
    let parts: Vec<&str> = clock.split(':').collect();
    let within = |at: usize, most: &str| {
        parts.get(at).is_some_and(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()) && *part <= most)
    };
    let zone = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let is_fraction = rest.len() == zone.len() || (rest.starts_with('.') && rest.len() - zone.len() > 1);
    let is_offset = |text: &str| {
        let Some(text) = text.strip_prefix(['+', '-']) else { return false };
        text.split_once(':').is_some_and(|(hours, minutes)| {
            [hours, minutes].iter().all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()))
        })
    };
    is_date(date)
        && parts.len() == 3
        && within(0, "23")
        && within(1, "59")
        && within(2, "59")
        && is_fraction
        && (zone == "z" || is_offset(zone))
}

/// Of one with capitals, or without a zone.
pub(crate) fn date_time(text: &str) -> Option<Timestamp> {
    if text.is_empty() {
        return Some(Timestamp::UNIX_EPOCH);
    }
    time::parse_timestamp(text).or_else(|| time::parse_timestamp(&format!("{text}Z")))
}

/// An absolute URL, or an absolute path.
pub fn is_uri(text: &str) -> bool {
    url::parse(text).is_ok()
}

/// In five groups of hexadecimal digits; the dashes between them may be missing. `version`: of which it has to be.
pub fn is_uuid(text: &str, version: Option<char>) -> bool {
    let mut rest = text;
    for (at, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let Some((part, after)) = rest.split_at_checked(length) else { return false };
        let variant_is_good = match (at, version) {
            (2, Some(version)) => part.starts_with(version),
            (3, Some('4' | '5')) => part.starts_with(['8', '9', 'a', 'b', 'A', 'B']),
            _ => true,
        };
        if !part.bytes().all(|byte| byte.is_ascii_hexdigit()) || !variant_is_good {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

pub fn is_duration(text: &str) -> bool {
    duration(text).is_ok()
}

/// `1h30m`, as Go reads it; otherwise the sum of what in it is a whole number with a unit: `5 days`, `1 week 2 days`. In nanoseconds.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    if let Ok(nanos) = time::parse_duration(text) {
        return Ok(nanos);
    }
    let refused = || format!("unable to parse {text} as duration");
    let (mut sum, mut is_any, mut rest) = (0_i64, false, text);
    while let Some(from) = rest.find(|c: char| c.is_ascii_digit()) {
        let (digits, after) = leading(&rest[from..], |c| c.is_ascii_digit());
        let (_, after) = leading(after, |c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c'));
        let (unit, after) = leading(after, |c| c.is_ascii_alphabetic() || c == '\u{b5}');
        rest = after;
        if unit.is_empty() {
            continue;
        }
        let count: i64 = digits.parse().map_err(|_| refused())?;
        if let Some(nanos) = nanos_of(&unit.to_lowercase()) {
            is_any = true;
            sum = count.checked_mul(nanos).and_then(|more| sum.checked_add(more)).ok_or_else(refused)?;
        }
    }
    if is_any { Ok(sum) } else { Err(refused()) }
}

fn nanos_of(unit: &str) -> Option<i64> {
    let is_it = |names: &[&str]| names.contains(&unit) || names.last().is_some_and(|last| unit.starts_with(last));
    UNITS.iter().find(|(names, _)| is_it(names)).map(|(_, nanos)| *nanos)
}

/// What it begins with, and the rest.
fn leading(text: &str, is: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c: char| !is(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_schema_lets_through_can_be_read() {
        for (text, nanos) in [
            ("1h30m", Some(5_400 * time::NANOS)),
            ("-1.5s", Some(-3 * time::NANOS / 2)),
            ("0", Some(0)),
            ("5 days", Some(120 * NANOS_PER_HOUR)),
            ("1 week 2Days", Some(216 * NANOS_PER_HOUR)),
            ("22 ns", Some(22)),
            ("3 \u{b5}s, 4 millis", Some(4_003_000)),
            ("2 minutes", Some(120 * time::NANOS)),
            ("5", None),
            ("5 5", None),
            ("", None),
            ("h", None),
            ("1x", None),
            ("99999999999999999999 days", None),
            ("999999999 weeks", None),
        ] {
            assert_eq!(duration(text).ok(), nanos, "{text}");
            assert_eq!(is_duration(text), nanos.is_some(), "{text}");
        }
        for (text, is_one, read) in [
            ("aGk=", true, Some("hi")),
            ("aGl=", true, Some("hi")),
            ("a+/=", true, None),
            ("", false, Some("")),
            ("a", false, None),
            ("aGk", false, None),
        ] {
            assert_eq!(is_byte(text), is_one, "{text}");
            assert_eq!(bytes(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).as_deref(), read, "{text}");
        }
        for (text, is_one, read) in [
            ("2026-01-01T10:00:00Z", true, Some("2026-01-01T10:00:00Z")),
            ("2026-01-01T10:00:00.5+02:00", true, Some("2026-01-01T08:00:00.5Z")),
            ("2026-01-01t10:00:00z", true, None),
            ("2026-01-01T10:00:00", false, Some("2026-01-01T10:00:00Z")),
            ("", false, Some("1970-01-01T00:00:00Z")),
            ("2026-01-01", false, None),
            ("2026-01-01T25:00:00Z", false, None),
        ] {
            assert_eq!(is_date_time(text), is_one, "{text}");
            assert_eq!(date_time(text).map(|at| at.to_string()).as_deref(), read, "{text}");
        }
    }
}
