//! The formats of texts that are checked; others mean nothing. Those that expressions read, too, are [`strfmt`]'s.
//!
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation>

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use corten_api::names;
use corten_cel::strfmt;
use regex::Regex;

type Check = fn(&str) -> bool;

/// By name without dashes, as upstream compares them.
const FORMATS: &[(&str, Check)] = &[
    ("bsonobjectid", |text| text.len() == 24 && is_hex(text)),
    ("byte", strfmt::is_byte),
    ("cidr", is_cidr),
    ("creditcard", is_credit_card),
    ("date", strfmt::is_date),
    ("datetime", strfmt::is_date_time),
    ("duration", strfmt::is_duration),
    ("email", is_email),
    ("hexcolor", |text| {
        let digits = text.strip_prefix('#').unwrap_or(text);
        matches!(digits.len(), 3 | 6) && is_hex(digits)
    }),
    ("hostname", is_hostname),
    ("ipv4", |text| is_ip(text) && text.contains('.')),
    ("ipv6", |text| text.parse::<Ipv6Addr>().is_ok()),
    ("isbn", |text| is_isbn10(text) || is_isbn13(text)),
    ("isbn10", is_isbn10),
    ("isbn13", is_isbn13),
    ("k8slongname", names::is_dns1123_subdomain),
    ("k8sshortname", names::is_dns1123_label),
    ("mac", is_mac),
    ("password", |_| true),
    ("rgbcolor", is_rgb),
    ("ssn", |text| matches(&SSN, text)),
    ("uri", strfmt::is_uri),
    ("uuid", |text| strfmt::is_uuid(text, None)),
    ("uuid3", |text| strfmt::is_uuid(text, Some('3'))),
    ("uuid4", |text| strfmt::is_uuid(text, Some('4'))),
    ("uuid5", |text| strfmt::is_uuid(text, Some('5'))),
];

static SSN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$").ok());
static HOSTNAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9\-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$",
    )
    .ok()
});
static CREDIT_CARD: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35[0-9]{3})[0-9]{11})$",
    )
    .ok()
});

/// Each is compiled in a test.
fn matches(pattern: &Option<Regex>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

fn find(format: &str) -> Option<Check> {
    let plain = format.replace('-', "");
    FORMATS.iter().find(|(known, _)| *known == plain).map(|(_, check)| *check)
}

pub fn is_known(format: &str) -> bool {
    find(format).is_some()
}

/// Whether a text is of a format, which is known.
pub(super) fn is_of(format: &str, text: &str) -> bool {
    find(format).is_none_or(|check| check(text))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Leading zeros in the parts of an IPv4 address are taken for nothing.
fn is_ip(text: &str) -> bool {
    let v4 = || {
        let parts: Vec<&str> = text.split('.').collect();
        let is_part =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) && part.parse::<u8>().is_ok();
        parts.len() == 4 && parts.iter().all(is_part)
    };
    v4() || text.parse::<IpAddr>().is_ok()
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let most = if address.contains(':') { 128 } else { 32 };
    is_ip(address) && !length.starts_with('+') && length.parse::<u8>().is_ok_and(|length| length <= most)
}

fn is_mac(text: &str) -> bool {
    let parts = |separator: char, each: usize| -> Option<usize> {
        let parts: Vec<&str> = text.split(separator).collect();
        parts.iter().all(|part| part.len() == each && is_hex(part)).then_some(parts.len() * each)
    };
    [(':', 2), ('-', 2), ('.', 4)].into_iter().any(|(separator, each)| {
        parts(separator, each).is_some_and(|digits| matches!(digits, 12 | 16 | 40) && text.contains(separator))
    })
}

fn is_hostname(text: &str) -> bool {
    text.len() <= 255 && text.split('.').all(|label| label.len() <= 63) && matches(&HOSTNAME, text)
}

/// `me@example.com`, also with a name before it in brackets.
fn is_email(text: &str) -> bool {
    let address = match text.split_once('<') {
        Some((_, rest)) => match rest.strip_suffix('>') {
            Some(address) => address,
            None => return false,
        },
        None => text.trim(),
    };
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let is_atom = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii();
    let is_quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    let dotted = |text: &str| text.split('.').all(|part| !part.is_empty() && part.chars().all(is_atom));
    let is_literal = domain.starts_with('[') && domain.ends_with(']');
    (is_quoted || dotted(local)) && (is_literal || dotted(domain))
}

fn digits_of(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, ' ' | '-')).collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = digits_of(text);
    let value = |(at, byte): (usize, u8)| match byte {
        b'0'..=b'9' => Some(u32::from(byte - b'0')),
        b'X' | b'x' if at == 9 => Some(10),
        _ => None,
    };
    let values: Option<Vec<u32>> = digits.bytes().enumerate().map(value).collect();
    values.is_some_and(|values| {
        values.len() == 10 && (1..).zip(&values).map(|(at, value)| at * value).sum::<u32>() % 11 == 0
    })
}

fn is_isbn13(text: &str) -> bool {
    let digits = digits_of(text);
    let is_number = digits.len() == 13 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let weighed = digits.bytes().enumerate().map(|(at, byte)| u32::from(byte - b'0') * if at % 2 == 0 { 1 } else { 3 });
    is_number && weighed.sum::<u32>() % 10 == 0
}

fn is_credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let sum = digits.bytes().rev().enumerate().map(|(at, byte)| {
        let value = u32::from(byte - b'0') * if at % 2 == 0 { 1 } else { 2 };
        if value > 9 { value - 9 } else { value }
    });
    matches(&CREDIT_CARD, &digits) && sum.sum::<u32>() % 10 == 0
}

/// `rgb(255, 0, 10)`, also in percent.
fn is_rgb(text: &str) -> bool {
    let Some(inner) = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')')) else { return false };
    let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
    let is_value = |part: &&str| part.parse::<u8>().is_ok() && !part.starts_with('+');
    let percent = |part: &&str| part.strip_suffix('%').is_some_and(|n| n.parse::<u8>().is_ok_and(|n| n <= 100));
    parts.len() == 3 && (parts.iter().all(is_value) || parts.iter().all(percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_their_formats() {
        for (format, good, bad) in [
            (
                "bsonobjectid",
                &["507f1f77bcf86cd799439011"][..],
                &["507f1f77bcf86cd79943901", "x07f1f77bcf86cd799439011"][..],
            ),
            ("byte", &["aGk=", "aGl="], &["a", "", "aG=k", "aGk=\n", "_-=="]),
            ("cidr", &["10.0.0.0/8", "2001:db8::/32"], &["10.0.0.0", "10.0.0.0/33"]),
            ("creditcard", &["4111 1111 1111 1111"], &["4111 1111 1111 1112"]),
            ("date", &["2026-02-28"], &["2026-02-30", "2026-2-1"]),
            (
                "date-time",
                &["2026-01-01T10:00:00Z", "2026-01-01t10:00:00.123+02:00"],
                &["2026-01-01", "2026-01-01T25:00:00Z", "2026-01-01T10:00:00"],
            ),
            ("duration", &["1h30m", "22 ns", "5 days", "1.5h", "0"], &["", "h", "1x", "5"]),
            ("email", &["a@b.c", "Me <a@b.c>"], &["a", "a@", "@b"]),
            ("hexcolor", &["#fff", "AABBCC"], &["#ff", "#ggg"]),
            ("hostname", &["localhost", "a-b.example.com"], &["a_b", "-a.example.com", "a..b"]),
            ("ipv4", &["10.0.0.1", "010.0.0.1"], &["10.0.0", "::1", "256.0.0.1"]),
            ("ipv6", &["::1"], &["10.0.0.1", "x"]),
            ("isbn", &["0321751043", "978-0321751041"], &["0321751044"]),
            ("isbn10", &["080442957X"], &["978-0321751041"]),
            ("isbn13", &["978-0321751041"], &["0321751043"]),
            ("k8s-long-name", &["a.b-c"], &["A", "a..b"]),
            ("k8s-short-name", &["a-b"], &["a.b"]),
            ("mac", &["00:00:5e:00:53:01", "0000.5e00.5301"], &["00:00:5e:00:53", "g0:00:5e:00:53:01", "00005e005301"]),
            ("password", &["anything"], &[]),
            ("rgbcolor", &["rgb(255,0, 10)", "rgb(1%,2%,3%)"], &["rgb(256,0,0)", "255,0,0"]),
            ("ssn", &["111-11-1111"], &["111-11-111"]),
            ("uri", &["http://a/b", "/a/b", "mailto:a@b"], &["a/b", "http://a b", ""]),
            ("uuid", &["A987FBC9-4BED-3078-CF07-9141BA07C9F3", "a987fbc94bed3078cf079141ba07c9f3"], &["a987fbc9"]),
            ("uuid3", &["a987fbc9-4bed-3078-cf07-9141ba07c9f3"], &["a987fbc9-4bed-4078-8f07-9141ba07c9f3"]),
            ("uuid4", &["57b73598-8764-4ad0-a76a-679bb6640eb1"], &["57b73598-8764-4ad0-c76a-679bb6640eb1"]),
            ("uuid5", &["987fbc97-4bed-5078-9f07-9141ba07c9f3"], &["987fbc97-4bed-4078-9f07-9141ba07c9f3"]),
        ] {
            assert!(is_known(format), "{format}");
            for text in good {
                assert!(is_of(format, text), "{format} {text}");
            }
            for text in bad {
                assert!(!is_of(format, text), "{format} {text}");
            }
        }
        assert!(!is_known("int32") && !is_known("of nobody"));
        assert!([&*SSN, &*HOSTNAME, &*CREDIT_CARD].into_iter().all(Option::is_some));
    }
}
