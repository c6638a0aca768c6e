//! Objects within objects (`x-kubernetes-embedded-resource`): their type and metadata are as those of any object.

use corten_api::{Problems, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};

use super::Structural;
use crate::decode;
use crate::registry::check;
use crate::registry::path::Path;
use crate::schema::builtin;

/// Brings the metadata of embedded objects into their normal form. Adds what nobody knows of them to `findings`; fails, in upstream's
/// words, where they are none. The outermost object is not looked at.
pub fn normalize(object: &mut Map<String, Value>, of: &Structural, findings: &mut Vec<String>) -> Result<(), String> {
    fields(object, of, "", findings)
}

/// As [`normalize`], of any value, which is looked at itself.
pub fn normalize_value(there: &mut Value, of: &Structural, findings: &mut Vec<String>) -> Result<(), String> {
    value(there, of, "", findings)
}

fn value(there: &mut Value, of: &Structural, at: &str, findings: &mut Vec<String>) -> Result<(), String> {
    match there {
        Value::Object(object) => {
            if of.embedded {
                type_and_metadata(object, at, findings)?;
            }
            fields(object, of, at, findings)
        }
        Value::Array(items) => match &of.items {
            Some(of) => items
                .iter_mut()
                .enumerate()
                .try_for_each(|(index, item)| value(item, of, &format!("{at}[{index}]"), findings)),
            None => Ok(()),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn fields(
    object: &mut Map<String, Value>,
    of: &Structural,
    at: &str,
    findings: &mut Vec<String>,
) -> Result<(), String> {
    for (name, there) in object {
        if !(there.is_object() || there.is_array()) || (of.embedded && name == "metadata") {
            continue;
        }
        if let Some(of) = of.child(name) {
            let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            value(there, of, &at, findings)?;
        }
    }
    Ok(())
}

fn type_and_metadata(object: &mut Map<String, Value>, at: &str, findings: &mut Vec<String>) -> Result<(), String> {
    for field in ["apiVersion", "kind"] {
        if let Some(there) = object.get(field).filter(|there| !there.is_string()) {
            return Err(format!("{at}.{field}: Invalid value: {there}: must be a string"));
        }
    }
    let Some(metadata) = object.get_mut("metadata") else { return Ok(()) };
    let text = metadata.to_string();
    let refused = |why: &dyn std::fmt::Display| format!("{at}.metadata: Invalid value: {text}: {why}");
    let normal = decode::normal(builtin().named("meta.v1.ObjectMeta"), text.as_bytes()).map_err(|err| refused(&err))?;
    let below = format!("{at}.metadata.");
    findings
        .extend(normal.findings.iter().map(|finding| finding.replacen('"', &format!("\"{}", below.escape_debug()), 1)));
    *metadata = normal
        .json()
        .map_err(|err| refused(&err))
        .and_then(|json| serde_json::from_str(json).map_err(|err| refused(&err)))?;
    Ok(())
}

/// Whether embedded objects say what they are, and are named and labelled as objects are.
pub fn validate(object: &Map<String, Value>, of: &Structural, problems: &mut Problems) {
    fields_are_good(object, of, None, problems);
}

/// As [`validate`], of any value, which is looked at itself. `at`: where it stands.
pub fn validate_value(there: &Value, of: &Structural, at: &Path<'_>, problems: &mut Problems) {
    match there {
        Value::Object(object) => {
            if of.embedded {
                says_what_it_is(object, at, problems);
            }
            fields_are_good(object, of, Some(at), problems);
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if let Some(of) = &of.items {
                    validate_value(item, of, &at.index(index), problems);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn fields_are_good(object: &Map<String, Value>, of: &Structural, at: Option<&Path<'_>>, problems: &mut Problems) {
    for (name, there) in object.iter().filter(|(_, there)| there.is_object() || there.is_array()) {
        if let Some(of) = of.child(name) {
            match at {
                Some(at) => validate_value(there, of, &at.field(name), problems),
                None => validate_value(there, of, &Path::root(name), problems),
            }
        }
    }
}

fn says_what_it_is(object: &Map<String, Value>, at: &Path<'_>, problems: &mut Problems) {
    for field in ["apiVersion", "kind"] {
        match object.get(field).map(|there| there.as_str().unwrap_or_default()) {
            None => problems.required(at.field(field), "must not be empty"),
            Some("") => problems.invalid(at.field(field), "", "must not be empty"),
            Some(version) if field == "apiVersion" && version.matches('/').count() > 1 => {
                problems.invalid(at.field(field), version, &format!("unexpected GroupVersion string: {version}"));
            }
            Some(kind) if field == "kind" && !names::is_dns1035_label(&kind.to_lowercase()) => {
                let why = format!("may have mixed case, but should otherwise match: {}", names::DNS1035_LABEL_WHY);
                problems.invalid(at.field(field), kind, &why);
            }
            Some(_) => {}
        }
    }
    let metadata = object.get("metadata").filter(|metadata| !metadata.is_null());
    // What is none was refused when it was read.
    let Some(Ok(meta)) = metadata.map(|metadata| serde_json::from_value::<ObjectMeta>(metadata.clone())) else {
        return;
    };
    let metadata = at.field("metadata");
    check::labels(problems, &metadata.field("labels"), meta.labels.as_ref());
    check::annotations(problems, &metadata.field("annotations"), meta.annotations.as_ref());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::schema;
    use super::*;

    fn of() -> Structural {
        schema(json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        }}}}))
    }

    #[test]
    fn metadata_within_is_metadata() {
        let mut object = json!({"spec": {"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "odd": 1, "labels": {}}}}});
        let mut findings = Vec::new();
        normalize(object.as_object_mut().unwrap(), &of(), &mut findings).unwrap();
        assert_eq!(findings, [r#"unknown field "spec.template.metadata.odd""#]);
        assert_eq!(object["spec"]["template"]["metadata"], json!({"name": "a"}));
        for bad in [json!({"metadata": {"labels": 1}}), json!({"kind": 1})] {
            let mut object = json!({"spec": {"template": bad}});
            let told = normalize(object.as_object_mut().unwrap(), &of(), &mut Vec::new()).unwrap_err();
            assert!(told.starts_with("spec.template."), "{told}");
        }
    }

    #[test]
    fn an_object_within_says_what_it_is() {
        let found = |template: Value| {
            let (object, mut problems) = (json!({"spec": {"template": template}}), Problems::default());
            validate(object.as_object().unwrap(), &of(), &mut problems);
            problems.causes().iter().map(|cause| cause.field().to_owned()).collect::<Vec<_>>()
        };
        assert!(found(json!({"apiVersion": "v1", "kind": "Pod"})).is_empty());
        assert_eq!(found(json!({})), ["spec.template.apiVersion", "spec.template.kind"]);
        assert_eq!(
            found(json!({"apiVersion": "a/b/c", "kind": "_", "metadata": {"labels": {"-": "x"}}})),
            ["spec.template.apiVersion", "spec.template.kind", "spec.template.metadata.labels"]
        );
    }
}
