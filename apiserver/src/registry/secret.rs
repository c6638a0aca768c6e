//! Secret: what each type must hold; stringData is folded into data; an immutable one stays as it is.

mod key_pair;

use corten_api::Problems;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::configmap::{DATA_BYTES_MAX, IMMUTABLE_WHY};
use super::defaults::fill;
use super::path::Path;
use super::{Cell, Column, Kind, SelectableField, cells, check};

pub const OPAQUE: &str = "Opaque";
const TLS: &str = "kubernetes.io/tls";
const SERVICE_ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";
const SERVICE_ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Type", "What programs may expect to find in it"),
    cells::integer("Data", "How many keys it has"),
    cells::AGE,
];

/// What a type's secrets must hold. <https://kubernetes.io/docs/concepts/configuration/secret/#secret-types>
enum Holds {
    All(&'static [&'static str]),
    Any(&'static [&'static str]),
    /// One key with a JSON object.
    Json(&'static str),
}
const TYPES: &[(&str, Holds)] = &[
    ("kubernetes.io/dockercfg", Holds::Json(".dockercfg")),
    ("kubernetes.io/dockerconfigjson", Holds::Json(".dockerconfigjson")),
    ("kubernetes.io/basic-auth", Holds::Any(&["username", "password"])),
    ("kubernetes.io/ssh-auth", Holds::All(&["ssh-privatekey"])),
    (TLS, Holds::All(&["tls.crt", "tls.key"])),
];

impl Kind for Secret {
    const SINGULAR: &'static str = "secret";
    const STORE_PREFIX: &'static str = "secrets";
    const FIELDS: &'static [SelectableField] = &[SelectableField::new("type", "type", "")];

    strategy!();
    fn fill_defaults(&mut self) {
        fill(&mut self.type_, OPAQUE);
        // stringData is for writing only: it overrides data and is never stored.
        if let Some(strings) = self.string_data.take() {
            let data = self.data.get_or_insert_default();
            data.extend(strings.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
        }
    }
    fn validate(&self, problems: &mut Problems) {
        let data = Path::root("data");
        let mut bytes = 0;
        for (key, value) in self.data.iter().flatten() {
            check::config_key(problems, &data.key(key), key);
            bytes += value.0.len();
        }
        if bytes > DATA_BYTES_MAX {
            problems.too_long(data, DATA_BYTES_MAX);
        }
        validate_type(self, problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        check::immutable(problems, &Path::root("type"), &self.type_, &old.type_);
        if old.immutable == Some(true) {
            if self.immutable != Some(true) {
                problems.forbidden("immutable", IMMUTABLE_WHY);
            }
            if self.data != old.data {
                problems.forbidden("data", IMMUTABLE_WHY);
            }
        }
    }
    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        if self.type_.as_deref() != Some(TLS) {
            return Vec::new();
        }
        let data = |key: &str| self.data.as_ref().and_then(|data| data.get(key)).map_or(&[][..], |value| &value.0);
        key_pair::problem(data("tls.crt"), data("tls.key")).into_iter().collect()
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let keys = self.data.as_ref().map_or(0, |d| d.len());
        let kind = Cell::text_or(self.type_.as_deref(), "");
        vec![cells::name(&self.metadata), kind, Cell::count(keys), cells::age(&self.metadata, now_secs)]
    }
}

fn validate_type(secret: &Secret, problems: &mut Problems) {
    let kind = check::text(secret.type_.as_ref());
    if kind == SERVICE_ACCOUNT_TOKEN {
        let annotations = secret.metadata.annotations.as_ref();
        if annotations.and_then(|a| a.get(SERVICE_ACCOUNT_NAME)).is_none_or(String::is_empty) {
            problems.required(format!("metadata.annotations[{SERVICE_ACCOUNT_NAME}]"), "");
        }
    }
    let Some((_, holds)) = TYPES.iter().find(|(name, _)| *name == kind) else { return };
    let value = |key: &str| secret.data.as_ref().and_then(|d| d.get(key));
    match holds {
        Holds::All(keys) => {
            for key in keys.iter().filter(|k| value(k).is_none()) {
                problems.required(format!("data[{key}]"), "");
            }
        }
        Holds::Any(keys) if keys.iter().all(|k| value(k).is_none()) => {
            for key in *keys {
                problems.required(format!("data[{key}]"), "");
            }
        }
        Holds::Any(_) => {}
        Holds::Json(key) => match value(key) {
            None => problems.required(format!("data[{key}]"), ""),
            Some(bytes) => {
                let parsed: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_slice(&bytes.0);
                if let Err(err) = parsed {
                    // The value itself stays unsaid: it is a secret.
                    problems.invalid(format!("data[{key}]"), "<secret contents redacted>", &err.to_string());
                }
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::{defaulted, found, found_on_update, row};

    #[test]
    fn strings_become_data() {
        let secret: Secret = defaulted(r#"{"data":{"a":"eA==","b":"eA=="},"stringData":{"a":"new"}}"#);
        let data = secret.data.unwrap();
        assert_eq!((data["a"].0.as_slice(), data["b"].0.as_slice()), (&b"new"[..], &b"x"[..]));
        assert_eq!((secret.string_data, secret.type_.as_deref()), (None, Some(OPAQUE)));
    }

    #[test]
    fn bad_secrets() {
        let cases = [
            (r#"{"data":{"a":"eA=="}}"#, vec![]),
            (r#"{"type":"kubernetes.io/tls","data":{"tls.key":"eA=="}}"#, vec!["data[tls.crt]: Required value"]),
            (
                r#"{"type":"kubernetes.io/basic-auth"}"#,
                vec!["data[username]: Required value", "data[password]: Required value"],
            ),
            (r#"{"type":"kubernetes.io/basic-auth","stringData":{"password":"x"}}"#, vec![]),
            (
                r#"{"type":"kubernetes.io/service-account-token"}"#,
                vec!["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
            ),
            (r#"{"type":"example.com/own","data":{"x":"eA=="}}"#, vec![]),
        ];
        for (json, expected) in cases {
            assert_eq!(found::<Secret>(json), expected, "{json}");
        }
        let bad_json =
            found::<Secret>(r#"{"type":"kubernetes.io/dockerconfigjson","stringData":{".dockerconfigjson":"no"}}"#);
        assert!(bad_json[0].contains("<secret contents redacted>"), "{bad_json:?}");
    }

    #[test]
    fn the_type_stays() {
        let found = found_on_update::<Secret>("{}", r#"{"type":"x/y"}"#);
        assert_eq!(found, [r#"type: Invalid value: "x/y": field is immutable"#]);
    }

    #[test]
    fn columns() {
        let json = r#"{"metadata":{"name":"s","creationTimestamp":"1970-01-01T00:00:00Z"},"type":"Opaque"}"#;
        assert_eq!(row::<Secret>(json, 5), "s|Opaque|0|5s");
    }
}
