//! How drivers, pools, attributes, capacities and shares are named.

use std::borrow::Cow;

use corten_api::{Problems, names};

use crate::registry::check;
use crate::registry::path::Path;

const DRIVER_BYTES_MAX: usize = 63;
const POOL_BYTES_MAX: usize = 253;
const IDENTIFIER_BYTES_MAX: usize = 32;
/// The longest name of an attribute or a capacity.
pub const QUALIFIED_BYTES_MAX: usize = DRIVER_BYTES_MAX + 1 + IDENTIFIER_BYTES_MAX;
const CASELESS_SUBDOMAIN_WHY: &str = "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'Example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const IDENTIFIER_WHY: &str = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";
const NO_DOMAIN: &str = "a fully qualified name must be a domain and a name separated by a slash";
const UUID_WHY: &str = "must be a lowercase UUID in 8-4-4-4-12 format";
const UUID_PARTS: [usize; 5] = [8, 4, 4, 4, 12];

pub fn driver(name: &str, at: &Path<'_>, problems: &mut Problems) {
    check::driver_name(problems, at, name, &name.to_ascii_lowercase(), CASELESS_SUBDOMAIN_WHY);
}

/// Subdomains with slashes between.
pub fn pool(name: &str, at: &Path<'_>, problems: &mut Problems) {
    if name.is_empty() {
        return problems.required(at, "");
    }
    if name.len() > POOL_BYTES_MAX {
        return problems.too_long(at, POOL_BYTES_MAX);
    }
    for (i, part) in name.split('/').enumerate() {
        if part.is_empty() {
            problems.invalid(at, name, &format!("segment {i}: must not be empty"));
        } else if !names::is_dns1123_subdomain(part) {
            problems.invalid(at, part, &format!("segment {i}: {}", names::DNS1123_SUBDOMAIN_WHY));
        }
    }
}

/// Of an attribute or a capacity: a C identifier, with the domain of another than the driver before it.
pub fn qualified(name: &str, at: &Path<'_>, problems: &mut Problems) {
    match name.split_once('/') {
        None => identifier(name, at, problems),
        // Upstream looks no closer at such names.
        Some((_, rest)) if rest.contains('/') => {}
        Some((domain, rest)) => {
            match domain {
                "" => problems.invalid(at, "", "the domain must not be empty"),
                domain => driver(domain, at, problems),
            }
            match rest {
                "" => problems.invalid(at, "", "the name must not be empty"),
                rest => identifier(rest, at, problems),
            }
        }
    }
}

/// As [`qualified`], with a domain in any case.
pub fn fully_qualified(name: &str, at: &Path<'_>, problems: &mut Problems) {
    qualified(name, at, problems);
    if !name.contains('/') {
        problems.invalid(at, name, NO_DOMAIN);
    }
}

fn identifier(name: &str, at: &Path<'_>, problems: &mut Problems) {
    if name.len() > IDENTIFIER_BYTES_MAX {
        problems.too_long(at, IDENTIFIER_BYTES_MAX);
    }
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let good = name.bytes().next().is_some_and(|c| !c.is_ascii_digit()) && name.bytes().all(word);
    if !good {
        problems.invalid(at, name, IDENTIFIER_WHY);
    }
}

pub fn uuid(text: &str, at: &Path<'_>, problems: &mut Problems) {
    let hex = |part: &str| part.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let good = text.split('-').map(str::len).eq(UUID_PARTS) && text.split('-').all(hex);
    if !good {
        problems.invalid(at, text, UUID_WHY);
    }
}

/// As pods ask for devices that are only counted: `example.com/gpu`.
pub fn extended_resource(name: &str, at: &Path<'_>, problems: &mut Problems) {
    if !name.contains('/') {
        problems.invalid(at, name, "a name must be a domain-prefixed path, such as 'example.com/my-prop'");
    } else if name.contains("kubernetes.io/") {
        problems.invalid(at, name, "must not have \"kubernetes.io/\" domain");
    }
    if name.starts_with("requests.") {
        problems.invalid(at, name, "must not have \"requests.\" prefix");
    }
    // Quotas count it so.
    if !names::is_qualified_name(&format!("requests.{name}")) {
        problems.invalid(at, name, names::QUALIFIED_NAME_WHY);
    }
}

/// A map's key as it stands in a path: one that is too long to be good is cut in the middle.
pub fn shown(key: &str, bytes_max: usize) -> Cow<'_, str> {
    if key.len() <= bytes_max {
        return key.into();
    }
    let kept = bytes_max.saturating_sub("...".len());
    let (head, tail) = (key.floor_char_boundary(kept.div_ceil(2)), key.ceil_char_boundary(key.len() - kept / 2));
    format!("{}...{}", key.get(..head).unwrap_or_default(), key.get(tail..).unwrap_or_default()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::texts;

    type Check = fn(&str, &Path<'_>, &mut Problems);

    #[test]
    fn each_name_has_its_shape() {
        let (b32, b33, b63, b64) = ("a".repeat(32), "a".repeat(33), "a".repeat(63), "a".repeat(64));
        let (pool253, pool254) = (["a"; 127].join("/"), ["a"; 127].join("/") + "a");
        let qualified32 = format!("{b63}/{b32}");
        let cases: &[(Check, &str, &[&str])] = &[
            (driver, "dra.Example.com", &[]),
            (driver, &b63, &[]),
            (driver, "", &["n: Required value"]),
            (driver, &b64, &["n: Too long: may not be more than 63 bytes"]),
            (driver, "a_b", &["an RFC 1123 subdomain must consist of"]),
            (pool, "node-1/a.b", &[]),
            (pool, &pool253, &[]),
            (pool, "", &["n: Required value"]),
            (pool, &pool254, &["n: Too long: may not be more than 253 bytes"]),
            (pool, "a//B", &["segment 1: must not be empty", "segment 2: a lowercase RFC 1123 subdomain"]),
            (qualified, "model", &[]),
            (qualified, "_1/", &["an RFC 1123 subdomain", "the name must not be empty"]),
            (qualified, &qualified32, &[]),
            (qualified, &b33, &["n: Too long: may not be more than 32 bytes"]),
            (qualified, "", &["a valid C identifier"]),
            (qualified, "1a", &["a valid C identifier"]),
            (qualified, "/a-b", &["the domain must not be empty", "a valid C identifier"]),
            (fully_qualified, "dra.example.com/model", &[]),
            (fully_qualified, "model", &["a fully qualified name must be a domain and a name"]),
            (uuid, "0123abcd-0000-0000-0000-0123456789ab", &[]),
            (uuid, "0123ABCD-0000-0000-0000-0123456789ab", &["must be a lowercase UUID"]),
            (uuid, "0123abcd-0000-0000-0000-0123456789a", &["must be a lowercase UUID"]),
            (uuid, "", &["must be a lowercase UUID"]),
            (extended_resource, "example.com/gpu", &[]),
            (extended_resource, "gpu", &["a name must be a domain-prefixed path"]),
            (extended_resource, "x.kubernetes.io/gpu", &["must not have \"kubernetes.io/\" domain"]),
            (extended_resource, "requests.example.com/gpu", &["must not have \"requests.\" prefix"]),
            (extended_resource, "example.com/-", &["name part must consist of"]),
        ];
        for (check, name, expected) in cases {
            let mut problems = Problems::default();
            check(name, &Path::root("n"), &mut problems);
            let found = texts(&problems);
            assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
            assert!(found.iter().zip(*expected).all(|(text, part)| text.contains(part)), "{name}: {found:?}");
        }
    }

    #[test]
    fn a_key_that_is_too_long_is_not_told_in_full() {
        assert_eq!(shown("dra.example.com/model", 30), "dra.example.com/model");
        let cut = shown(&"ä".repeat(1000), 30).into_owned();
        assert!(cut.len() <= 30 && cut.contains("ä...ä"), "{cut}");
    }
}
