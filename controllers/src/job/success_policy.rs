//! Whether enough indexes have succeeded, by a Job's successPolicy, for the whole Job to have.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/job/#success-policy>

use corten_api::k8s_openapi::api::batch::v1::SuccessPolicy;

use super::indexes::Indexes;

/// The message of the first rule that is met.
pub fn met(policy: Option<&SuccessPolicy>, completions: i32, succeeded: &Indexes) -> Option<String> {
    let rules = &policy?.rules;
    let at = rules.iter().position(|rule| {
        let enough = |count: i32| rule.succeeded_count.is_some_and(|wanted| count >= wanted);
        let Some(text) = &rule.succeeded_indexes else { return enough(succeeded.total()) };
        let wanted = Indexes::parse(text, completions);
        let there = wanted.common(succeeded);
        !wanted.is_empty() && (there == wanted.total() || enough(there))
    });
    at.filter(|_| !succeeded.is_empty()).map(|at| format!("Matched rules at index {at}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn rules_table() {
        let rule =
            |indexes: Option<&str>, count: Option<i32>| json!({"succeededIndexes": indexes, "succeededCount": count});
        let cases: [(&str, Vec<Value>, &str, Option<&str>); 8] = [
            ("nothing has succeeded", vec![rule(None, Some(0))], "", None),
            ("so many of any", vec![rule(None, Some(2))], "3,7", Some("Matched rules at index 0")),
            ("too few", vec![rule(None, Some(3))], "3,7", None),
            ("all of these", vec![rule(Some("0-2"), None)], "0-3", Some("Matched rules at index 0")),
            ("not all of these", vec![rule(Some("0-2"), None)], "0,1,3", None),
            ("so many of these", vec![rule(Some("0-2"), Some(2))], "0,2,5", Some("Matched rules at index 0")),
            ("too few of these", vec![rule(Some("0-2"), Some(2))], "0,5,6", None),
            (
                "the second rule",
                vec![rule(Some("x"), Some(0)), rule(Some("4"), None)],
                "4",
                Some("Matched rules at index 1"),
            ),
        ];
        for (why, rules, succeeded, expected) in cases {
            let policy: SuccessPolicy = serde_json::from_value(json!({"rules": rules})).unwrap();
            let got = met(Some(&policy), 10, &Indexes::parse(succeeded, 10));
            assert_eq!(got.as_deref(), expected, "{why}");
        }
        assert_eq!(met(None, 10, &Indexes::parse("0-9", 10)), None, "there is no policy");
    }
}
