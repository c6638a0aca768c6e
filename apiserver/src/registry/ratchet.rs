//! Bounds that are younger than what is stored: whoever changes something else of such an object may do so, as upstream's
//! ratcheting validation has it. <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-ratcheting>

use corten_api::Problems;
use serde_json::Value;

use super::AnyObject;

/// Forgets those of the problems that only what is new may have, where the update left the field as it was. What that costs
/// is paid only where there are such.
pub fn let_unchanged_through(new: &dyn AnyObject, old: &dyn AnyObject, problems: &mut Problems) {
    if !problems.has_of_changes() {
        return;
    }
    // What cannot be written is refused elsewhere; here it is no reason to let anything through.
    let (Ok(new), Ok(old)) = (new.to_value(), old.to_value()) else { return };
    problems.let_through(|field| at(&old, field).is_some_and(|was| at(&new, field) == Some(was)));
}

/// What is at a field's path, such as `spec.ingress[0].from[1].podSelector`.
fn at<'v>(object: &'v Value, field: &str) -> Option<&'v Value> {
    field.split(['.', '[']).try_fold(object, |value, step| match step.strip_suffix(']') {
        Some(index) => value.get(index.parse::<usize>().ok()?),
        None => value.get(step),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_fields() {
        let object = json!({"spec": {"ingress": [{"from": [{}, {"podSelector": {"a": 1}}]}]}});
        let cases = [
            ("spec.ingress[0].from[1].podSelector", Some(json!({"a": 1}))),
            ("spec.ingress[0].from[0]", Some(json!({}))),
            ("spec.ingress[1]", None),
            ("spec.ingress[x]", None),
            ("spec.egress", None),
        ];
        for (field, expected) in cases {
            assert_eq!(at(&object, field).cloned(), expected, "{field}");
        }
    }
}
