//! Conditions as they are written in new kinds' statuses: `metav1.Condition`.
//!
//! <https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1#Condition>

use std::collections::HashSet;

use corten_api::Problems;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::check;
use super::path::Path;

/// As which a time reads that was left out: the beginning of year 1.
const ABSENT_SECS: i64 = -62_135_596_800;
pub const STATUSES: &[&str] = &["False", "True", "Unknown"];
const REASON_BYTES_MAX: usize = 1024;
const MESSAGE_BYTES_MAX: usize = 32 * 1024;
const REASON_WHY: &str = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";

/// A list of them: each valid, none twice.
pub fn validate(conditions: &[Condition], list: &Path<'_>, problems: &mut Problems) {
    let mut seen = HashSet::new();
    for (i, condition) in conditions.iter().enumerate() {
        let at = list.index(i);
        if !seen.insert(&condition.type_) {
            problems.duplicate(at.field("type"), &condition.type_);
        }
        one(condition, &at, problems);
    }
}

fn one(condition: &Condition, at: &Path<'_>, problems: &mut Problems) {
    check::qualified_name(problems, &at.field("type"), &condition.type_);
    check::known_word(problems, &at.field("status"), &condition.status, STATUSES);
    if let Some(generation) = condition.observed_generation.filter(|n| *n < 0) {
        problems.invalid(at.field("observedGeneration"), generation, "must be greater than or equal to zero");
    }
    if condition.last_transition_time.0.as_second() == ABSENT_SECS {
        problems.required(at.field("lastTransitionTime"), "");
    }
    reason(&condition.reason, &at.field("reason"), problems);
    if condition.message.len() > MESSAGE_BYTES_MAX {
        problems.too_long(at.field("message"), MESSAGE_BYTES_MAX);
    }
}

fn reason(reason: &str, at: &Path<'_>, problems: &mut Problems) {
    let (Some(first), Some(last)) = (reason.chars().next(), reason.chars().next_back()) else {
        return problems.required(at, "");
    };
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let good = first.is_ascii_alphabetic() && word(last) && reason.chars().all(|c| word(c) || matches!(c, ',' | ':'));
    if !good {
        problems.invalid(at, reason, REASON_WHY);
    }
    if reason.len() > REASON_BYTES_MAX {
        problems.too_long(at, REASON_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::check::testing::texts;

    fn found(list: Value) -> Vec<String> {
        let conditions: Vec<Condition> = serde_json::from_value(list).unwrap();
        let mut problems = Problems::default();
        validate(&conditions, &Path::root("c"), &mut problems);
        texts(&problems)
    }

    #[test]
    fn each_part_is_looked_at() {
        let good = json!({"type": "Ready", "status": "True", "reason": "AsExpected", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let with = |field: &str, value: Value| {
            let mut condition = good.clone();
            condition[field] = value;
            found(json!([condition]))
        };
        assert!(found(json!([good])).is_empty());
        assert_eq!(found(json!([good, good])), [r#"c[1].type: Duplicate value: "Ready""#]);
        for (field, value, expected) in [
            ("type", json!(""), "c[0].type: Invalid value: \"\": name part"),
            ("type", json!("a b"), "c[0].type: Invalid value: \"a b\": name part"),
            ("status", json!(""), "c[0].status: Unsupported value: \"\": supported values: \"False\""),
            ("status", json!("yes"), "c[0].status: Unsupported value: \"yes\": supported values: \"False\", \"True\""),
            ("observedGeneration", json!(-1), "c[0].observedGeneration: Invalid value: -1: must be greater than"),
            ("lastTransitionTime", json!("0001-01-01T00:00:00Z"), "c[0].lastTransitionTime: Required value"),
            ("reason", json!(""), "c[0].reason: Required value"),
            ("reason", json!("1st"), "c[0].reason: Invalid value: \"1st\": a condition reason must start"),
            ("reason", json!("Ends:"), "c[0].reason: Invalid value: \"Ends:\": a condition reason must start"),
            ("reason", json!("R".repeat(1025)), "c[0].reason: Too long: may not be more than 1024 bytes"),
            ("message", json!("m".repeat(32_769)), "c[0].message: Too long: may not be more than 32768 bytes"),
        ] {
            let found = with(field, value.clone());
            assert!(matches!(&found[..], [one] if one.starts_with(expected)), "{field} {found:?}");
        }
    }
}
