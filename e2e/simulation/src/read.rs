//! Reads what the invariants need of objects' JSON.

use serde_json::Value;

pub const JOB_FINALIZER: &str = "batch.kubernetes.io/job-tracking";

pub fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

pub fn is_deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// The kind and uid of the owner that controls it.
pub fn controller(object: &Value) -> Option<(&str, &str)> {
    let owner = object["metadata"]["ownerReferences"].as_array()?.iter().find(|owner| owner["controller"] == true)?;
    Some((owner["kind"].as_str()?, owner["uid"].as_str()?))
}

pub fn is_controlled_by(object: &Value, owner: &str) -> bool {
    controller(object).is_some_and(|(_, uid)| uid == owner)
}

pub fn has_finalizer(object: &Value, name: &str) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|all| all.iter().any(|one| one == name))
}

pub fn phase(pod: &Value) -> &str {
    pod["status"]["phase"].as_str().unwrap_or("Pending")
}

pub fn has_ended(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Counts as a replica.
pub fn is_active(pod: &Value) -> bool {
    !is_deleting(pod) && !has_ended(pod)
}

pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|one| one["type"] == kind)
}

pub fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|one| one["status"] == "True")
}

/// Serves its users.
pub fn is_available(pod: &Value) -> bool {
    is_active(pod) && is_true(pod, "Ready")
}

/// Why somebody other than its workload's controller takes the pod away.
pub fn disruption(pod: &Value) -> Option<&str> {
    condition(pod, "DisruptionTarget").filter(|one| one["status"] == "True")?["reason"].as_str()
}

pub fn number(object: &Value, path: &str) -> i64 {
    object.pointer(path).and_then(Value::as_i64).unwrap_or(0)
}

/// The strings of a list.
pub fn strings<'a>(object: &'a Value, path: &str) -> impl Iterator<Item = &'a str> {
    object.pointer(path).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

pub fn has_labels(object: &Value, wanted: &Value) -> bool {
    let labels = &object["metadata"]["labels"];
    wanted.as_object().is_some_and(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
}

/// The CPU that all containers of a pod ask for, in thousandths.
pub fn cpu_millis(pod: &Value) -> i64 {
    let asked = |container: &Value| millis(container["resources"]["requests"]["cpu"].as_str().unwrap_or("0"));
    pod["spec"]["containers"].as_array().into_iter().flatten().map(asked).sum()
}

/// Whole CPUs or thousandths: what a simulation asks for.
pub fn millis(quantity: &str) -> i64 {
    match quantity.strip_suffix('m') {
        Some(millis) => millis.parse().unwrap_or(0),
        None => quantity.parse::<i64>().unwrap_or(0) * 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (text, expected) in [("0", 0), ("4", 4000), ("250m", 250)] {
            assert_eq!(millis(text), expected, "{text}");
        }
    }
}
