//! Reads parts of the file that have types of the API: those leave out what they do not know, and here nothing is left out.

use k8s_openapi::api::core::v1::{NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The value as its type, or the path and reason why it is none.
pub(super) fn read<T: DeserializeOwned + Serialize>(given: &Value) -> Result<T, (String, String)> {
    let read: T = serde_json::from_value(given.clone()).map_err(|err| (String::new(), err.to_string()))?;
    let kept = serde_json::to_value(&read).map_err(|err| (String::new(), err.to_string()))?;
    match unknown(given, &kept) {
        Some(path) => Err((path, "unknown field".into())),
        None => Ok(read),
    }
}

/// The first field of `given` that is not in `kept`, by its path from here.
fn unknown(given: &Value, kept: &Value) -> Option<String> {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => given.iter().find_map(|(key, value)| match kept.get(key) {
            Some(kept) => unknown(value, kept).map(|path| format!(".{key}{path}")),
            None => (!is_empty(value)).then(|| format!(".{key}")),
        }),
        (Value::Array(given), Value::Array(kept)) => {
            let pairs = given.iter().zip(kept).enumerate();
            pairs.into_iter().find_map(|(at, (given, kept))| Some(format!("[{at}]{}", unknown(given, kept)?)))
        }
        _ => None,
    }
}

/// What a typed value leaves out when it is written.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The first requirement of the affinity that could never be judged, by its path from here.
pub(super) fn check_affinity(affinity: &NodeAffinity) -> Result<(), (String, String)> {
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref();
    for (at, term) in required.iter().flat_map(|r| &r.node_selector_terms).enumerate() {
        let path = ".requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
        check_term(term).map_err(|(rest, why)| (format!("{path}[{at}]{rest}"), why))?;
    }
    for (at, term) in affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten().enumerate() {
        let path = format!(".preferredDuringSchedulingIgnoredDuringExecution[{at}]");
        if !(1..=100).contains(&term.weight) {
            return Err((format!("{path}.weight"), "must be in the range 1-100".into()));
        }
        check_term(&term.preference).map_err(|(rest, why)| (format!("{path}.preference{rest}"), why))?;
    }
    Ok(())
}

fn check_term(term: &NodeSelectorTerm) -> Result<(), (String, String)> {
    for (at, requirement) in term.match_expressions.iter().flatten().enumerate() {
        check(requirement).map_err(|why| (format!(".matchExpressions[{at}]"), why.into()))?;
    }
    for (at, requirement) in term.match_fields.iter().flatten().enumerate() {
        let is_name = requirement.key == "metadata.name" && matches!(requirement.operator.as_str(), "In" | "NotIn");
        if !is_name || requirement.values.as_ref().map_or(0, Vec::len) != 1 {
            let why = "must be metadata.name with In or NotIn and one value";
            return Err((format!(".matchFields[{at}]"), why.into()));
        }
    }
    Ok(())
}

fn check(requirement: &NodeSelectorRequirement) -> Result<(), &'static str> {
    let values = requirement.values.as_deref().unwrap_or_default();
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => Err("must have values with In and NotIn"),
        "Exists" | "DoesNotExist" if !values.is_empty() => Err("must have no values with Exists and DoesNotExist"),
        "Gt" | "Lt" if values.len() != 1 || values[0].parse::<i64>().is_err() => {
            Err("must have one value that is a number with Gt and Lt")
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => Ok(()),
        _ => Err("must have one of the operators In, NotIn, Exists, DoesNotExist, Gt, Lt"),
    }
}
