//! The formats of names and values that Kubernetes has.

use corten_api::names;

use crate::{strfmt, url};

/// A format: what is wrong with a text, and how long the pattern is that cost is counted by.
#[derive(Debug)]
pub struct Format {
    pub name: &'static str,
    pub(crate) regex_size: u64,
    pub(crate) check: fn(&str) -> Vec<String>,
}

/// By the name that expressions use.
pub(crate) static FORMATS: &[(&str, Format)] = &[
    ("dns1123Label", Format { name: "DNS1123Label", regex_size: 30, check: dns1123_label }),
    ("dns1123Subdomain", Format { name: "DNS1123Subdomain", regex_size: 60, check: dns1123_subdomain }),
    ("dns1035Label", Format { name: "DNS1035Label", regex_size: 30, check: dns1035_label }),
    ("qualifiedName", Format { name: "QualifiedName", regex_size: 60, check: qualified_name }),
    ("dns1123LabelPrefix", Format { name: "DNS1123LabelPrefix", regex_size: 30, check: |s| dns1123_label(&prefix(s)) }),
    (
        "dns1123SubdomainPrefix",
        Format { name: "DNS1123SubdomainPrefix", regex_size: 60, check: |s| dns1123_subdomain(&prefix(s)) },
    ),
    ("dns1035LabelPrefix", Format { name: "DNS1035LabelPrefix", regex_size: 30, check: |s| dns1035_label(&prefix(s)) }),
    ("labelValue", Format { name: "LabelValue", regex_size: 40, check: label_value }),
    ("uri", Format { name: "URI", regex_size: 1103, check: |s| url::parse(s).err().into_iter().collect() }),
    ("uuid", Format { name: "uuid", regex_size: 79, check: uuid }),
    ("byte", Format { name: "byte", regex_size: 84, check: byte }),
    ("date", Format { name: "date", regex_size: 203, check: date }),
    ("datetime", Format { name: "datetime", regex_size: 203, check: datetime }),
];

/// What a generated name begins with may end in a dash.
fn prefix(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(kept) if !kept.is_empty() => {
            format!("{}a", &kept[..kept.len() - kept.chars().last().map_or(0, char::len_utf8)])
        }
        _ => text.to_owned(),
    }
}

fn too_long(text: &str, max: usize) -> Option<String> {
    (text.len() > max).then(|| format!("must be no more than {max} characters"))
}

/// The pattern's part of a rule that also bounds the length.
fn fits(text: &str, max: usize, is: fn(&str) -> bool) -> bool {
    // A long text is judged by its pattern alone, in pieces that the rule can take.
    is(text) || (text.len() > max && text.is_ascii() && is(&format!("{}{}", &text[..max - 1], &text[text.len() - 1..])))
}

fn checked(text: &str, max: usize, is: fn(&str) -> bool, why: &str) -> Vec<String> {
    let wrong = (!fits(text, max, is)).then(|| why.to_owned());
    too_long(text, max).into_iter().chain(wrong).collect()
}

fn dns1123_label(text: &str) -> Vec<String> {
    checked(text, 63, names::is_dns1123_label, names::DNS1123_LABEL_WHY)
}
fn dns1123_subdomain(text: &str) -> Vec<String> {
    checked(text, 253, names::is_dns1123_subdomain, names::DNS1123_SUBDOMAIN_WHY)
}
fn dns1035_label(text: &str) -> Vec<String> {
    checked(text, 63, names::is_dns1035_label, names::DNS1035_LABEL_WHY)
}
fn label_value(text: &str) -> Vec<String> {
    checked(text, 63, names::is_label_value, names::LABEL_VALUE_WHY)
}

fn qualified_name(text: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (mut wrong, name) = match parts.as_slice() {
        [name] => (Vec::new(), *name),
        ["", name] => (vec!["prefix part must be non-empty".to_owned()], *name),
        [prefix, name] => {
            let wrong = dns1123_subdomain(prefix).into_iter().map(|why| format!("prefix part {why}"));
            (wrong.collect(), *name)
        }
        _ => {
            let why = names::QUALIFIED_NAME_WHY.trim_start_matches("name part ");
            return vec![format!(
                "a qualified name {why} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".into());
    } else {
        wrong.extend(too_long(name, 63).map(|why| format!("name part {why}")));
    }
    if !fits(name, 63, names::is_label_value) || name.is_empty() {
        wrong.push(names::QUALIFIED_NAME_WHY.into());
    }
    wrong
}

fn unless(is_good: bool, why: &str) -> Vec<String> {
    if is_good { Vec::new() } else { vec![why.to_owned()] }
}

fn uuid(text: &str) -> Vec<String> {
    unless(strfmt::is_uuid(text, None), "does not match the UUID format")
}

fn byte(text: &str) -> Vec<String> {
    unless(strfmt::is_byte(text), "invalid base64")
}

fn date(text: &str) -> Vec<String> {
    unless(strfmt::is_date(text), "invalid date")
}

fn datetime(text: &str) -> Vec<String> {
    unless(strfmt::is_date_time(text), "invalid datetime")
}
