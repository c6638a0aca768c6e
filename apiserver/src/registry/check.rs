//! Checks of single fields that many kinds share, in upstream's words. Each reports under the path it is given.
//!
//! Words: <https://pkg.go.dev/k8s.io/apimachinery/pkg/util/validation>.

mod addresses;

use std::collections::BTreeMap;

pub use addresses::{canonical_cidr, cidr, ip};
use corten_api::selector::TERMS_MAX;
use corten_api::{Problems, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::path::Path;

pub const NEGATIVE: &str = "must be greater than or equal to 0";
pub const NOT_POSITIVE: &str = "must be greater than 0";
pub const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";
pub const IMMUTABLE: &str = "field is immutable";
pub const NOT_AN_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const CONFIG_KEY_WHY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const NOT_A_PERCENTAGE: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
const ENV_VAR_NAME_WHY: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";
pub const NOT_A_PATH: &str = r"Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')";
/// All annotations of an object together, keys and values.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;
pub(super) const LABEL_BYTES_MAX: usize = 63;
const SUBDOMAIN_BYTES_MAX: usize = 253;
const PORT_NAME_BYTES_MAX: usize = 15;
const TOKEN_SECS_MIN: i64 = 600;
const TOKEN_SECS_MAX: i64 = 1 << 32;

pub const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// Whether an object was never stored: what was stored under older rules is not held to the newest of them.
pub fn is_new(meta: &ObjectMeta) -> bool {
    matches!(meta.resource_version.as_deref(), None | Some("" | "0"))
}
/// The text of an optional field, "" where it is absent.
pub fn text(value: Option<&String>) -> &str {
    value.map_or("", String::as_str)
}

fn shape(problems: &mut Problems, path: &Path<'_>, value: &str, good: bool, bytes_max: usize, why: &str) {
    if good {
    } else if value.len() > bytes_max {
        problems.invalid(path, value, &format!("must be no more than {bytes_max} bytes"));
    } else {
        problems.invalid(path, value, why);
    }
}
pub fn dns_label(problems: &mut Problems, path: &Path<'_>, value: &str) {
    let good = names::is_dns1123_label(value);
    shape(problems, path, value, good, LABEL_BYTES_MAX, names::DNS1123_LABEL_WHY);
}
pub fn dns_1035_label(problems: &mut Problems, path: &Path<'_>, value: &str) {
    let good = names::is_dns1035_label(value);
    shape(problems, path, value, good, LABEL_BYTES_MAX, names::DNS1035_LABEL_WHY);
}
pub fn dns_subdomain(problems: &mut Problems, path: &Path<'_>, value: &str) {
    let good = names::is_dns1123_subdomain(value);
    shape(problems, path, value, good, SUBDOMAIN_BYTES_MAX, names::DNS1123_SUBDOMAIN_WHY);
}
/// A domain of several labels; a dot may end it.
pub fn fully_qualified(problems: &mut Problems, path: &Path<'_>, value: &str) {
    if value.is_empty() {
        return problems.required(path, "");
    }
    let domain = value.strip_suffix('.').unwrap_or(value);
    dns_subdomain(problems, path, domain);
    if !domain.contains('.') {
        problems.invalid(path, domain, "should be a domain with at least two segments separated by dots");
    }
}
/// A volume driver's: a subdomain in upper or lower case, no longer than a label.
pub fn csi_driver_name(problems: &mut Problems, path: &Path<'_>, value: &str) {
    driver_name(problems, path, value, &value.to_lowercase(), names::DNS1123_SUBDOMAIN_WHY);
}
/// `lower`: the same in lower case. `why`: what is said of one that is no subdomain.
pub fn driver_name(problems: &mut Problems, path: &Path<'_>, value: &str, lower: &str, why: &str) {
    if value.is_empty() {
        return problems.required(path, "");
    }
    if value.len() > LABEL_BYTES_MAX {
        problems.too_long(path, LABEL_BYTES_MAX);
    }
    shape(problems, path, value, names::is_dns1123_subdomain(lower), SUBDOMAIN_BYTES_MAX, why);
}
pub fn qualified_name(problems: &mut Problems, path: &Path<'_>, value: &str) {
    if !names::is_qualified_name(value) {
        problems.invalid(path, value, names::QUALIFIED_NAME_WHY);
    }
}
pub fn label_value(problems: &mut Problems, path: &Path<'_>, value: &str) {
    let good = names::is_label_value(value);
    shape(problems, path, value, good, LABEL_BYTES_MAX, names::LABEL_VALUE_WHY);
}
pub fn env_var_name(problems: &mut Problems, path: &Path<'_>, value: &str) {
    if !names::is_env_var_name(value) {
        problems.invalid(path, value, ENV_VAR_NAME_WHY);
    }
}
pub fn config_key(problems: &mut Problems, path: &Path<'_>, value: &str) {
    let why = match value {
        _ if names::is_config_key(value) => return,
        "." => "must not be '.'",
        ".." => "must not be '..'",
        _ if value.starts_with("..") => "must not start with '..'",
        _ => CONFIG_KEY_WHY,
    };
    shape(problems, path, value, false, SUBDOMAIN_BYTES_MAX, why);
}
/// IANA_SVC_NAME. Every rule that is broken is named.
pub fn port_name(problems: &mut Problems, path: &Path<'_>, value: &str) {
    if names::is_port_name(value) {
        return;
    }
    let hyphen_or_alnum = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if value.len() > PORT_NAME_BYTES_MAX {
        problems.invalid(path, value, &format!("must be no more than {PORT_NAME_BYTES_MAX} bytes"));
    }
    if !value.bytes().all(hyphen_or_alnum) {
        problems.invalid(path, value, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !value.bytes().any(|c| c.is_ascii_lowercase()) {
        problems.invalid(path, value, "must contain at least one letter (a-z)");
    }
    if value.contains("--") {
        problems.invalid(path, value, "must not contain consecutive hyphens");
    }
    if value.starts_with('-') || value.ends_with('-') {
        problems.invalid(path, value, "must not begin or end with a hyphen");
    }
}
pub fn port_number(problems: &mut Problems, path: &Path<'_>, value: i32) {
    if !(1..=65_535).contains(&value) {
        problems.invalid(path, value, PORT_RANGE);
    }
}
pub fn not_negative(problems: &mut Problems, path: &Path<'_>, value: Option<impl Into<i64>>) {
    if let Some(value) = value.map(Into::into).filter(|v| *v < 0) {
        problems.invalid(path, value, NEGATIVE);
    }
}
/// How long a token is good for.
pub fn token_life(problems: &mut Problems, path: &Path<'_>, secs: i64) {
    if secs < TOKEN_SECS_MIN {
        problems.invalid(path, secs, "may not specify a duration less than 10 minutes");
    } else if secs > TOKEN_SECS_MAX {
        problems.invalid(path, secs, "may not specify a duration larger than 2^32 seconds");
    }
}
/// A count, or a percentage of one.
pub fn int_or_percent(problems: &mut Problems, path: &Path<'_>, value: &IntOrString) {
    match value {
        IntOrString::Int(n) => not_negative(problems, path, Some(*n)),
        IntOrString::String(text) => {
            let digits = text.strip_suffix('%').unwrap_or_default();
            if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
                problems.invalid(path, text, NOT_A_PERCENTAGE);
            }
        }
    }
}
/// A percentage that is none of more than all.
pub fn at_most_all(problems: &mut Problems, path: &Path<'_>, value: &IntOrString) {
    let IntOrString::String(text) = value else { return };
    let digits = text.strip_suffix('%').filter(|d| !d.is_empty() && d.bytes().all(|c| c.is_ascii_digit()));
    // One that no number can hold is more, too.
    if digits.is_some_and(|d| d.parse::<u32>().map_or(true, |percent| percent > 100)) {
        problems.invalid(path, text, "must not be greater than 100%");
    }
}
/// The name of a kind or an object that this server may not know: what can stand in a path of the API. An empty one is
/// required.
pub fn path_segment(problems: &mut Problems, path: &Path<'_>, value: &str) {
    match value {
        "" => problems.required(path, ""),
        "." | ".." => problems.invalid(path, value, &format!("may not be '{value}'")),
        _ => {
            for sign in ['/', '%'].into_iter().filter(|sign| value.contains(*sign)) {
                problems.invalid(path, value, &format!("may not contain '{sign}'"));
            }
        }
    }
}
/// Whether a count or a percentage comes to nothing. What is neither counts as nothing, too.
pub fn is_zero(value: &IntOrString) -> bool {
    match value {
        IntOrString::Int(n) => *n == 0,
        IntOrString::String(text) => {
            let digits = text.strip_suffix('%').unwrap_or(text);
            !digits.bytes().all(|c| c.is_ascii_digit()) || digits.bytes().all(|c| c == b'0')
        }
    }
}
/// `acme.io/foo`: who a thing is left to.
pub fn domain_prefixed_path(problems: &mut Problems, path: &Path<'_>, value: &str) {
    let is_path_char = |c: u8| c.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&c);
    match value.split_once('/') {
        _ if value.is_empty() => problems.required(path, ""),
        Some((domain, rest)) if !domain.is_empty() && !rest.is_empty() => {
            dns_subdomain(problems, path, domain);
            if !rest.bytes().all(is_path_char) {
                problems.invalid(path, rest, NOT_A_PATH);
            }
        }
        _ => problems.invalid(path, value, r#"must be a domain-prefixed path (such as "acme.io/foo")"#),
    }
}
/// One of the known words; an absent or empty one is required.
pub fn word(problems: &mut Problems, path: &Path<'_>, value: Option<&String>, known: &[&str]) {
    match text(value) {
        "" => problems.required(path, ""),
        other => known_word(problems, path, other, known),
    }
}
/// One of the known words, or nothing.
pub fn optional_word(problems: &mut Problems, path: &Path<'_>, value: Option<&String>, known: &[&str]) {
    if let Some(value) = value {
        known_word(problems, path, value, known);
    }
}
pub fn known_word(problems: &mut Problems, path: &Path<'_>, value: &str, known: &[&str]) {
    if !known.contains(&value) {
        problems.unsupported(path, value, known);
    }
}
pub fn immutable<T: PartialEq + serde::Serialize>(problems: &mut Problems, path: &Path<'_>, new: &T, old: &T) {
    if new != old {
        problems.invalid(path, new, IMMUTABLE);
    }
}

pub fn labels(problems: &mut Problems, path: &Path<'_>, labels: Option<&BTreeMap<String, String>>) {
    for (key, value) in labels.into_iter().flatten() {
        qualified_name(problems, path, key);
        label_value(problems, path, value);
    }
}
pub fn annotations(problems: &mut Problems, path: &Path<'_>, annotations: Option<&BTreeMap<String, String>>) {
    let mut bytes = 0;
    for (key, value) in annotations.into_iter().flatten() {
        // Unlike those of labels, keys may have upper case before the slash.
        if !names::is_qualified_name(&key.to_ascii_lowercase()) {
            problems.invalid(path, key, names::QUALIFIED_NAME_WHY);
        }
        bytes += key.len() + value.len();
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        problems.too_long(path, ANNOTATIONS_BYTES_MAX);
    }
}

/// Labels that others must have.
pub fn selector(problems: &mut Problems, path: &Path<'_>, wanted: Option<&BTreeMap<String, String>>) {
    labels(problems, path, wanted);
    few_terms(problems, path, 2 * wanted.map_or(0, BTreeMap::len));
}

/// Requirements and values of a selector in an object. Upstream has no bound here. Whoever has a selector holds it against object after
/// object; with ten times as many as a request may ask for, nobody's own selector meets it.
const OBJECT_TERMS_MAX: usize = 10 * TERMS_MAX;

fn few_terms(problems: &mut Problems, path: &Path<'_>, terms: usize) {
    if terms > OBJECT_TERMS_MAX {
        let why = format!("a selector may have at most {OBJECT_TERMS_MAX} requirements and values");
        // Objects that were stored before the bound was stay changeable.
        problems.invalid_if_changed(path, terms, &why);
    }
}

pub fn label_selector(problems: &mut Problems, path: &Path<'_>, selector: &LabelSelector) {
    labels(problems, &path.field("matchLabels"), selector.match_labels.as_ref());
    let of_labels = 2 * selector.match_labels.as_ref().map_or(0, BTreeMap::len);
    let expressions = selector.match_expressions.iter().flatten();
    let of_expressions = expressions.map(|expr| 1 + expr.values.as_ref().map_or(0, Vec::len)).sum::<usize>();
    few_terms(problems, path, of_labels + of_expressions);
    let list = path.field("matchExpressions");
    for (i, expr) in selector.match_expressions.iter().flatten().enumerate() {
        let at = list.index(i);
        let values = expr.values.as_deref().unwrap_or_default();
        match (expr.operator.as_str(), values.is_empty()) {
            ("In" | "NotIn", true) => {
                problems.required(at.field("values"), "must be specified when `operator` is 'In' or 'NotIn'");
            }
            ("Exists" | "DoesNotExist", false) => {
                problems.forbidden(
                    at.field("values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
            ("In" | "NotIn" | "Exists" | "DoesNotExist", _) => {}
            (other, _) => problems.invalid(at.field("operator"), other, "not a valid selector operator"),
        }
        qualified_name(problems, &at.field("key"), &expr.key);
        for (j, value) in values.iter().enumerate() {
            label_value(problems, &at.field("values").index(j), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(check: impl Fn(&mut Problems, &Path<'_>)) -> Vec<String> {
        let mut problems = Problems::default();
        check(&mut problems, &Path::root("f"));
        problems.causes().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn port_names_say_all_that_is_wrong() {
        assert!(found(|p, at| port_name(p, at, "http")).is_empty());
        let bad = found(|p, at| port_name(p, at, "-80--80-is-too-Long"));
        assert_eq!(bad.len(), 4, "{bad:?}");
        assert_eq!(
            found(|p, at| port_name(p, at, "80"))[0],
            r#"f: Invalid value: "80": must contain at least one letter (a-z)"#
        );
    }

    #[test]
    fn a_selector_has_so_many_requirements_and_values() {
        use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;
        let wanted = |n: usize| (0..n).map(|n| (format!("k{n}"), "v".to_owned())).collect::<BTreeMap<_, _>>();
        let expression = |values: usize| LabelSelectorRequirement {
            key: "k".into(),
            operator: if values == 0 { "Exists".into() } else { "In".into() },
            values: (values > 0).then(|| vec!["v".into(); values]),
        };
        let of = |labels: usize, expressions: Vec<LabelSelectorRequirement>| LabelSelector {
            match_labels: Some(wanted(labels)),
            match_expressions: Some(expressions),
        };
        let cases = [
            ("labels", of(OBJECT_TERMS_MAX / 2, vec![]), None),
            ("one more", of(OBJECT_TERMS_MAX / 2 + 1, vec![]), Some(OBJECT_TERMS_MAX + 2)),
            ("requirements", of(0, vec![expression(0); OBJECT_TERMS_MAX]), None),
            ("one more", of(0, vec![expression(0); OBJECT_TERMS_MAX + 1]), Some(OBJECT_TERMS_MAX + 1)),
            ("values", of(0, vec![expression(OBJECT_TERMS_MAX - 1)]), None),
            ("one more", of(0, vec![expression(OBJECT_TERMS_MAX)]), Some(OBJECT_TERMS_MAX + 1)),
            ("all together", of(1, vec![expression(0), expression(OBJECT_TERMS_MAX - 3)]), Some(OBJECT_TERMS_MAX + 1)),
        ];
        let told = |terms: usize| {
            format!("f: Invalid value: {terms}: a selector may have at most {OBJECT_TERMS_MAX} requirements and values")
        };
        for (why, one, expected) in cases {
            let expected: Vec<_> = expected.map(told).into_iter().collect();
            assert_eq!(found(|p, at| label_selector(p, at, &one)), expected, "{why}");
        }
        assert!(found(|p, at| selector(p, at, Some(&wanted(OBJECT_TERMS_MAX / 2)))).is_empty());
        assert_eq!(found(|p, at| selector(p, at, Some(&wanted(OBJECT_TERMS_MAX)))), [told(2 * OBJECT_TERMS_MAX)]);
    }

    #[test]
    fn words_are_listed() {
        assert_eq!(found(|p, at| word(p, at, None, PROTOCOLS)), ["f: Required value"]);
        assert_eq!(
            found(|p, at| word(p, at, Some(&"tcp".into()), PROTOCOLS)),
            [r#"f: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP""#]
        );
    }

    #[test]
    fn counts_may_be_percentages() {
        let all = |value: IntOrString| {
            found(|p, at| {
                int_or_percent(p, at, &value);
                at_most_all(p, at, &value);
            })
        };
        let percent = |text: &str| all(IntOrString::String(text.into()));
        assert!(all(IntOrString::Int(700)).is_empty() && percent("0%").is_empty() && percent("100%").is_empty());
        assert_eq!(all(IntOrString::Int(-1)), [format!("f: Invalid value: -1: {NEGATIVE}")]);
        for text in ["101%", "99999999999%"] {
            assert_eq!(percent(text), [format!("f: Invalid value: {text:?}: must not be greater than 100%")]);
        }
        for text in ["", "%", "5", "-5%", "5.5%"] {
            assert_eq!(percent(text), [format!("f: Invalid value: {text:?}: {NOT_A_PERCENTAGE}")]);
        }
    }

    #[test]
    fn nothing_is_zero_in_any_form() {
        let text = |text: &str| IntOrString::String(text.into());
        for (value, zero) in [
            (IntOrString::Int(0), true),
            (IntOrString::Int(-1), false),
            (text("00%"), true),
            (text("1%"), false),
            (text("99999999999999999999%"), false),
            (text("10"), false),
            (text("many"), true),
            (text(""), true),
        ] {
            assert_eq!(is_zero(&value), zero, "{value:?}");
        }
    }

    #[test]
    fn a_domain_stands_before_a_path() {
        let cases = [
            ("acme.io/foo", ""),
            ("acme.io/foo/bar:1", ""),
            ("", "f: Required value"),
            ("acme.io", r#"f: Invalid value: "acme.io": must be a domain-prefixed path (such as "acme.io/foo")"#),
            ("/foo", r#"f: Invalid value: "/foo": must be a domain-prefixed path (such as "acme.io/foo")"#),
            ("acme.io/", r#"f: Invalid value: "acme.io/": must be a domain-prefixed path (such as "acme.io/foo")"#),
        ];
        for (value, expected) in cases {
            assert_eq!(found(|p, at| domain_prefixed_path(p, at, value)).join("|"), expected, "{value}");
        }
        let both = found(|p, at| domain_prefixed_path(p, at, "Acme.io/a b"));
        assert_eq!(
            both,
            [
                format!(r#"f: Invalid value: "Acme.io": {}"#, names::DNS1123_SUBDOMAIN_WHY),
                format!(r#"f: Invalid value: "a b": {NOT_A_PATH}"#)
            ]
        );
    }

    #[test]
    fn names_of_others_stand_in_a_path() {
        assert!(found(|p, at| path_segment(p, at, "Any_name")).is_empty());
        assert_eq!(found(|p, at| path_segment(p, at, "")), ["f: Required value"]);
        assert_eq!(found(|p, at| path_segment(p, at, "..")), [r#"f: Invalid value: "..": may not be '..'"#]);
        let both = found(|p, at| path_segment(p, at, "a/%"));
        assert_eq!(
            both,
            [r#"f: Invalid value: "a/%": may not contain '/'"#, r#"f: Invalid value: "a/%": may not contain '%'"#]
        );
    }

    #[test]
    fn long_values_say_how_long_they_may_be() {
        assert_eq!(
            found(|p, at| dns_label(p, at, &"a".repeat(64)))[0].rsplit(": ").next(),
            Some("must be no more than 63 bytes")
        );
    }
}

/// What the kinds' tests share: objects from JSON, problems as text.
#[cfg(test)]
pub mod testing {
    use corten_api::Problems;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use crate::registry::{Cell, Kind, Strategy, WriteContext};
    use crate::request::User;

    pub fn object<K: Kind>(json: &str) -> K {
        serde_json::from_str(json).unwrap_or_else(|err| panic!("{err}: {json}"))
    }
    pub fn defaulted<K: Kind>(json: &str) -> K {
        let mut object: K = object(json);
        object.fill_defaults();
        object
    }
    /// When tests write.
    pub fn now() -> Time {
        Time(Timestamp::constant(1_769_904_000, 0))
    }
    /// What the server does to an object in this write by nobody in particular, now.
    pub fn prepare<K: Kind>(write: Strategy<'_, K>, new: &mut K) {
        write.prepare(new, &WriteContext { user: &User::default(), now: now() });
    }
    pub fn texts(problems: &Problems) -> Vec<String> {
        problems.causes().iter().map(ToString::to_string).collect()
    }
    /// What validation says of a new object, defaults filled in.
    pub fn found<K: Kind>(json: &str) -> Vec<String> {
        let mut problems = Problems::default();
        defaulted::<K>(json).validate(&mut problems);
        texts(&problems)
    }
    /// What validation says of an update alone.
    pub fn found_on_update<K: Kind>(old: &str, new: &str) -> Vec<String> {
        let (old, mut new) = (defaulted::<K>(old), defaulted::<K>(new));
        prepare(Strategy::Update(&old), &mut new);
        let mut problems = Problems::default();
        new.validate_update(&old, &mut problems);
        texts(&problems)
    }
    /// As it is stored when it is created: defaults, and what the server makes, filled in.
    pub fn created<K: Kind>(json: &str) -> K {
        let mut object: K = defaulted(json);
        prepare(Strategy::Create, &mut object);
        object
    }
    pub fn found_on_create<K: Kind>(json: &str) -> Vec<String> {
        let mut problems = Problems::default();
        created::<K>(json).validate(&mut problems);
        texts(&problems)
    }
    /// All that validation says of an update of what is stored.
    pub fn found_on_write<K: Kind>(stored: &K, json: &str) -> Vec<String> {
        let mut new: K = defaulted(json);
        new.metadata_mut().resource_version = Some("1".into());
        prepare(Strategy::Update(stored), &mut new);
        let mut problems = Problems::default();
        new.validate_over(stored, &mut problems);
        texts(&problems)
    }
    pub fn found_on_status<K: Kind>(old: &str, new: &str) -> Vec<String> {
        let (old, mut new) = (defaulted::<K>(old), defaulted::<K>(new));
        prepare(Strategy::Status(&old), &mut new);
        let mut problems = Problems::default();
        new.validate_status(&old, &mut problems);
        texts(&problems)
    }
    /// A row as kubectl prints it, cells joined by `|`.
    pub fn row<K: Kind>(json: &str, now_secs: i64) -> String {
        let row = object::<K>(json).row(now_secs);
        assert_eq!(row.len(), K::columns().len());
        let text = |cell: &Cell| match cell {
            Cell::Text(text) => text.to_string(),
            Cell::Int(n) => n.to_string(),
            Cell::Json(value) => value.to_string(),
            Cell::Null => "null".into(),
        };
        row.iter().map(text).collect::<Vec<_>>().join("|")
    }
}
