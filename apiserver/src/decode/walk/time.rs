//! Times: RFC 3339, read and objected to as Go's parser does.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::bounded_text::bounded;

/// Of a text that is quoted in a message.
const TEXT_BYTES_MAX: usize = 64;

/// In UTC and to the second, or to the microsecond; or Go's words for what is no time. Fractions of a second may be there
/// and may be missing, whichever of the two it is to be.
pub(super) fn canonical(text: &str, is_micro: bool) -> Result<Cow<'_, str>, String> {
    if let Some((rest, wanted)) = first_fault(text) {
        let layout = if is_micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
        let [text, rest] = [text, rest].map(|text| bounded(text, TEXT_BYTES_MAX));
        return Err(format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {wanted:?}"));
    }
    // Go knows no leap seconds.
    let time = text.parse::<Timestamp>().ok().filter(|_| text.get(17..19) != Some("60"));
    let time = time.ok_or_else(|| {
        let unit = out_of_range(text);
        format!("parsing time {:?}: {unit} out of range", bounded(text, TEXT_BYTES_MAX))
    })?;
    if text.ends_with('Z') && text.len() == if is_micro { 27 } else { 20 } {
        return Ok(Cow::Borrowed(text));
    }
    let format = if is_micro { "%Y-%m-%dT%H:%M:%S%.6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(time.strftime(format).to_string().into())
}

/// What of the text is no part of a time, and the part of the layout that was to stand there.
fn first_fault(text: &str) -> Option<(&str, &'static str)> {
    const LAYOUT: [(&str, usize); 11] = [
        ("2006", 4),
        ("-", 0),
        ("01", 2),
        ("-", 0),
        ("02", 2),
        ("T", 0),
        ("15", 2),
        (":", 0),
        ("04", 2),
        (":", 0),
        ("05", 2),
    ];
    let mut rest = text;
    for (part, digits) in LAYOUT {
        let after = match digits {
            0 => rest.strip_prefix(part),
            _ => rest.split_at_checked(digits).filter(|(head, _)| is_digits(head)).map(|(_, after)| after),
        };
        match after {
            Some(after) => rest = after,
            None => return Some((rest, part)),
        }
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        let after = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        if after.len() < fraction.len() {
            rest = after;
        }
    }
    let is_offset = match rest.as_bytes() {
        [b'Z'] => true,
        [b'+' | b'-', _, _, b':', _, _] => is_digits(&rest[1..3]) && is_digits(&rest[4..6]),
        _ => false,
    };
    (!is_offset).then_some((rest, "Z07:00"))
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// Which number of a well-formed time is too high or low.
fn out_of_range(text: &str) -> &'static str {
    let above = |at: std::ops::Range<usize>, max: u32| {
        let number = text.get(at).and_then(|digits| digits.parse::<u32>().ok());
        number.is_some_and(|number| number > max)
    };
    if above(5..7, 12) || text.get(5..7) == Some("00") {
        "month"
    } else if above(11..13, 23) {
        "hour"
    } else if above(14..16, 59) {
        "minute"
    } else if above(17..19, 59) {
        "second"
    } else {
        "day"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_reads_them() {
        let seconds = "as \"2006-01-02T15:04:05Z07:00\": cannot parse";
        let cases = [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05Z"),
            ("2026-01-02T03:04:05.999Z", "2026-01-02T03:04:05Z"),
            ("", &format!("parsing time \"\" {seconds} \"\" as \"2006\"")),
            ("x", &format!("parsing time \"x\" {seconds} \"x\" as \"2006\"")),
            ("2026-01-02", &format!("parsing time \"2026-01-02\" {seconds} \"\" as \"T\"")),
            (
                "2026-1-02T00:00:00Z",
                &format!("parsing time \"2026-1-02T00:00:00Z\" {seconds} \"1-02T00:00:00Z\" as \"01\""),
            ),
            ("2026-01-02T03:04:05", &format!("parsing time \"2026-01-02T03:04:05\" {seconds} \"\" as \"Z07:00\"")),
            (
                "2026-01-02 03:04:05Z",
                &format!("parsing time \"2026-01-02 03:04:05Z\" {seconds} \" 03:04:05Z\" as \"T\""),
            ),
            ("2026-13-02T03:04:05Z", "parsing time \"2026-13-02T03:04:05Z\": month out of range"),
            ("2026-02-30T03:04:05Z", "parsing time \"2026-02-30T03:04:05Z\": day out of range"),
            ("2026-02-03T24:04:05Z", "parsing time \"2026-02-03T24:04:05Z\": hour out of range"),
        ];
        for (text, expected) in cases {
            let have = canonical(text, false).unwrap_or_else(Cow::Owned);
            assert_eq!(have, expected);
        }
        for (text, expected) in [
            ("2026-01-02T03:04:05.123456Z", "2026-01-02T03:04:05.123456Z"),
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z"),
            ("2026-01-02T03:04:05.5+01:00", "2026-01-02T02:04:05.500000Z"),
        ] {
            assert_eq!(canonical(text, true).as_deref(), Ok(expected));
        }
    }
}
