//! Words for a body whose JSON is fine and whose fields have the wrong types.

use corten_api::ApiError;

use super::scan;
use super::typed::DecodeError;
use crate::registry::ApiResource;

/// A failed `Entry::decode` of `json`, as upstream says it:
/// `Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field
/// Deployment.spec.replicas of type int32`.
pub fn wrong_type(resource: &ApiResource, json: &[u8], err: DecodeError) -> ApiError {
    of_kind(resource.kind(), resource.version(), json, err)
}

/// The same for what is no object of the registry: a Scale, a Binding, a review.
pub fn of_kind(kind: &str, version: &str, json: &[u8], err: DecodeError) -> ApiError {
    match err {
        DecodeError::Json(err) => ApiError::bad_request(described(kind, version, json, &err)),
        DecodeError::TooLarge => err.into(),
    }
}

fn described(kind: &str, version: &str, json: &[u8], err: &serde_json::Error) -> String {
    let head = format!("{kind} in version {version:?} cannot be handled as a {kind}:");
    let text = err.to_string();
    let place = offset_of(json, err.line(), err.column()).and_then(|offset| scan::value_at(json, offset));
    let Some((mut path, mut found)) = place else { return format!("{head} {text}") };
    let reason = text.split(" at line ").next().unwrap_or(&text);
    match reason.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((given, expected)) => {
            // serde stops inside an array that should be something else: its first element is not at fault.
            if given == "sequence" && found != "array" {
                found = "array";
                path.truncate(path.rfind('[').unwrap_or(path.len()));
            }
            format!(
                "{head} json: cannot unmarshal {found} into Go struct field {kind}.{path} of type {}",
                go_type(expected)
            )
        }
        None => format!("{head} field {path}: {reason}"),
    }
}

/// Lines and columns as serde_json counts them: from 1, columns in bytes.
fn offset_of(json: &[u8], line: usize, column: usize) -> Option<usize> {
    let before = line.checked_sub(1)?;
    if before == 0 {
        return Some(column);
    }
    let (start, _) = json.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(before - 1)?;
    Some(start + 1 + column)
}

/// What serde calls a type, as Kubernetes users read it.
fn go_type(expected: &str) -> &str {
    match expected {
        "i32" => "int32",
        "i64" => "int64",
        "f64" | "f32" => "float64",
        "a string" => "string",
        "a boolean" => "bool",
        "a map" => "map",
        "a sequence" => "array",
        // Structs expect their own names.
        other => other.strip_prefix("struct ").unwrap_or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::Deployment;

    #[test]
    fn the_field_at_fault_is_named() {
        let head = r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal"#;
        let cases = [
            (r#"{"spec":{"replicas":"3"}}"#, "string into Go struct field Deployment.spec.replicas of type int32"),
            (r#"{"metadata":{"name":7}}"#, "number into Go struct field Deployment.metadata.name of type string"),
            (
                "{\"metadata\":{\n \"labels\":\n  {\"a\":true}}}",
                "bool into Go struct field Deployment.metadata.labels.a of type string",
            ),
            (r#"{"spec":{"paused":"yes","x":1}}"#, "string into Go struct field Deployment.spec.paused of type bool"),
            (
                r#"{"spec":{"template":{"spec":{"containers":{}}}}}"#,
                "object into Go struct field Deployment.spec.template.spec.containers of type array",
            ),
            (r#"{"spec":[1,2]}"#, "array into Go struct field Deployment.spec of type DeploymentSpec"),
            (r#"{"spec":[]}"#, "array into Go struct field Deployment.spec of type DeploymentSpec"),
        ];
        for (json, expected) in cases {
            let err = serde_json::from_str::<Deployment>(json).unwrap_err();
            assert_eq!(described("Deployment", "v1", json.as_bytes(), &err), format!("{head} {expected}"), "{err}");
        }
    }

    #[test]
    fn other_faults_keep_their_words() {
        let json = r#"{"spec":{"replicas":99999999999}}"#;
        let err = serde_json::from_str::<Deployment>(json).unwrap_err();
        assert!(
            described("Deployment", "v1", json.as_bytes(), &err).contains("field spec.replicas: invalid value"),
            "{err}"
        );
    }
}
