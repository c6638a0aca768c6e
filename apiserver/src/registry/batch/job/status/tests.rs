//! What a status write may say of a Job: one good and one bad case for each rule.

use serde_json::{Value, json};

use super::*;
use crate::registry::check::testing::found_on_status;

const START: &str = "2026-01-01T00:00:00Z";
const END: &str = "2026-01-01T00:01:00Z";

fn true_conditions(types: &[&str]) -> Value {
    types.iter().map(|type_| json!({"type": type_, "status": "True"})).collect()
}
/// What is found when a Job of this spec goes from one status to the other.
fn found(spec: &Value, old: &Value, new: &Value) -> Vec<String> {
    let job = |status: &Value| json!({"spec": spec, "status": status}).to_string();
    found_on_status::<Job>(&job(old), &job(new))
}
fn indexed() -> Value {
    json!({"completionMode": "Indexed", "completions": 10, "parallelism": 5, "backoffLimitPerIndex": 1})
}
fn completed() -> Value {
    json!({"conditions": true_conditions(&["SuccessCriteriaMet", "Complete"]), "startTime": START, "completionTime": END,
        "succeeded": 1})
}
fn failed() -> Value {
    json!({"conditions": true_conditions(&["FailureTarget", "Failed"]), "startTime": START, "failed": 1})
}
/// A status with changes merged in.
fn with(status: Value, changes: Value) -> Value {
    let mut status = status;
    json_patch::merge(&mut status, &changes);
    status
}

#[test]
fn a_job_goes_its_way() {
    let running = json!({"active": 2, "ready": 1, "terminating": 1, "startTime": START});
    let target = with(running.clone(), json!({"conditions": true_conditions(&["FailureTarget"])}));
    let met = with(running.clone(), json!({"conditions": true_conditions(&["SuccessCriteriaMet"])}));
    let uncounted = json!({"succeeded": ["a", "b"], "failed": ["c"]});
    let plain = json!({});
    let cases = [
        ("it starts", plain.clone(), json!({}), running.clone()),
        (
            "pods end",
            plain.clone(),
            running.clone(),
            with(running.clone(), json!({"uncountedTerminatedPods": uncounted})),
        ),
        ("it is about to fail", plain.clone(), running.clone(), target.clone()),
        ("it fails", plain.clone(), target, failed()),
        ("it is about to succeed", plain.clone(), running.clone(), met.clone()),
        ("it succeeds", plain.clone(), met, completed()),
        ("it is suspended", json!({"suspend": true}), running.clone(), json!({"active": 0})),
        (
            "nothing to do, and suspended",
            json!({"suspend": true, "completions": 0}),
            json!({}),
            with(completed(), json!({"startTime": null, "succeeded": 0})),
        ),
        (
            "indexes are done",
            indexed(),
            running.clone(),
            with(running, json!({"completedIndexes": "0,2-4", "failedIndexes": "1"})),
        ),
        (
            "it was made smaller",
            json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2}),
            json!({"succeeded": 3}),
            json!({"succeeded": 2}),
        ),
    ];
    for (why, spec, old, new) in cases {
        assert_eq!(found(&spec, &old, &new), Vec::<String>::new(), "{why}");
    }
}

#[test]
fn counts_make_sense() {
    let plain = json!({});
    let cases = [
        (
            json!({}),
            json!({"active": -1}),
            vec!["status.active: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            json!({}),
            json!({"succeeded": -1, "failed": -1}),
            vec![
                "status.succeeded: Invalid value: -1: must be greater than or equal to 0",
                "status.failed: Invalid value: -1: must be greater than or equal to 0",
                "status.failed: Invalid value: -1: cannot decrease the failed counter",
                "status.succeeded: Invalid value: -1: cannot decrease the succeeded counter",
            ],
        ),
        (
            json!({}),
            json!({"active": 1, "ready": 2}),
            vec!["status.ready: Invalid value: 2: cannot set more ready pods than active"],
        ),
        (
            json!({"failed": 2}),
            json!({"failed": 1}),
            vec!["status.failed: Invalid value: 1: cannot decrease the failed counter"],
        ),
        (
            json!({"succeeded": 2}),
            json!({}),
            vec!["status.succeeded: Invalid value: 0: cannot decrease the succeeded counter"],
        ),
        (
            completed(),
            with(completed(), json!({"active": 1})),
            vec!["status.active: Invalid value: 1: active>0 is invalid for finished job"],
        ),
        (
            completed(),
            with(completed(), json!({"terminating": 1})),
            vec!["status.terminating: Invalid value: 1: terminating>0 is invalid for finished job"],
        ),
        (
            json!({}),
            json!({"uncountedTerminatedPods": {"succeeded": ["a", "", "a"], "failed": ["a"]}}),
            vec![
                r#"status.uncountedTerminatedPods.succeeded[1]: Invalid value: "": must not be empty"#,
                r#"status.uncountedTerminatedPods.succeeded[2]: Duplicate value: "a""#,
                r#"status.uncountedTerminatedPods.failed[0]: Duplicate value: "a""#,
            ],
        ),
        (
            completed(),
            with(completed(), json!({"uncountedTerminatedPods": {"failed": ["a"]}})),
            vec![r#"status.uncountedTerminatedPods: Invalid value: {"failed":["a"]}: must be empty for finished job"#],
        ),
    ];
    for (old, new, expected) in cases {
        assert_eq!(found(&plain, &old, &new), expected, "{new}");
    }
}

#[test]
fn a_job_ends_in_one_way_and_for_good() {
    let status = |types: &[&str]| json!({"conditions": true_conditions(types), "startTime": START});
    let done = |types: &[&str]| with(status(types), json!({"completionTime": END}));
    let policy = json!({"completionMode": "Indexed", "completions": 1,
        "successPolicy": {"rules": [{"succeededCount": 1}]}});
    let plain = json!({});
    let at = |why: &str| format!("status.conditions: Invalid value: {why}");
    let cases = [
        (
            &plain,
            json!({}),
            done(&["Complete"]),
            vec![at("cannot set Complete=True condition without the SuccessCriteriaMet=true condition")],
        ),
        (
            &policy,
            json!({}),
            done(&["Complete"]),
            vec![
                at("cannot set Complete=True condition without the SuccessCriteriaMet=true condition"),
                at("cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"),
            ],
        ),
        (
            &plain,
            json!({}),
            status(&["Failed"]),
            vec![at("cannot set Failed=True condition without the FailureTarget=true condition")],
        ),
        (
            &plain,
            json!({}),
            done(&["SuccessCriteriaMet", "Complete", "Failed", "FailureTarget"]),
            vec![
                at("cannot set Complete=True and Failed=true conditions"),
                at("cannot set Complete=True and FailureTarget=true conditions"),
                at("cannot set SuccessCriteriaMet=True and Failed=true conditions"),
                at("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"),
            ],
        ),
        (
            &plain,
            failed(),
            with(failed(), json!({"conditions": []})),
            vec![
                at("cannot disable the terminal Failed=True condition"),
                at("cannot disable the terminal FailureTarget=True condition"),
            ],
        ),
        (
            &plain,
            completed(),
            with(completed(), json!({"conditions": [], "completionTime": null})),
            vec![
                at("cannot disable the terminal Complete=True condition"),
                at("cannot disable the SuccessCriteriaMet=True condition"),
            ],
        ),
        (
            &plain,
            done(&["Complete"]),
            done(&["Complete", "SuccessCriteriaMet"]),
            vec![at("cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions")],
        ),
    ];
    for (spec, old, new, expected) in cases {
        assert_eq!(found(spec, &old, &new), expected, "{new}");
    }
}

#[test]
fn times_fit_to_how_it_ends() {
    let plain = json!({});
    let running = json!({"startTime": START});
    let later = json!({"startTime": END});
    let met = with(running.clone(), json!({"conditions": true_conditions(&["SuccessCriteriaMet"])}));
    let cases = [
        (
            running.clone(),
            json!({"startTime": START, "completionTime": END}),
            vec![
                r#"status.completionTime: Invalid value: "2026-01-01T00:01:00Z": cannot set completionTime when there is no Complete=True condition"#,
            ],
        ),
        (
            met.clone(),
            with(completed(), json!({"completionTime": null})),
            vec!["status.completionTime: Required value: completionTime is required for Complete jobs"],
        ),
        (
            json!({}),
            with(completed(), json!({"startTime": END, "completionTime": START})),
            vec![
                r#"status.completionTime: Invalid value: "2026-01-01T00:00:00Z": must be equal to or after `startTime`"#,
            ],
        ),
        (
            completed(),
            with(completed(), json!({"completionTime": "2026-01-01T00:02:00Z"})),
            vec![r#"status.completionTime: Invalid value: "2026-01-01T00:02:00Z": field is immutable"#],
        ),
        (
            json!({}),
            with(failed(), json!({"startTime": null})),
            vec!["status.startTime: Required value: startTime is required for finished job"],
        ),
        (running, later, vec!["status.startTime: Required value: startTime cannot be removed for unsuspended job"]),
    ];
    for (old, new, expected) in cases {
        assert_eq!(found(&plain, &old, &new), expected, "{new}");
    }
}

#[test]
fn indexes_are_below_completions_and_either_done_or_failed() {
    let plain = json!({"completions": 3});
    let no_limit = json!({"completionMode": "Indexed", "completions": 10});
    let cases = [
        (
            indexed(),
            json!({"completedIndexes": "10"}),
            vec![
                r#"status.completedIndexes: Invalid value: "10": error parsing completedIndexes: too large index: "10""#,
            ],
        ),
        (
            plain,
            json!({"completedIndexes": "1"}),
            vec![
                r#"status.completedIndexes: Invalid value: "1": cannot set non-empty completedIndexes when non-indexed completion mode"#,
            ],
        ),
        (
            indexed(),
            json!({"failedIndexes": "x"}),
            vec![
                r#"status.failedIndexes: Invalid value: "x": error parsing failedIndexes: cannot convert string to integer for index: "x""#,
            ],
        ),
        (
            no_limit,
            json!({"failedIndexes": ""}),
            vec![
                r#"status.failedIndexes: Invalid value: "": cannot set non-null failedIndexes when backoffLimitPerIndex is null"#,
            ],
        ),
        (
            indexed(),
            json!({"completedIndexes": "0-4", "failedIndexes": "3,7"}),
            vec![
                r#"status.failedIndexes: Invalid value: "3,7": failedIndexes and completedIndexes overlap at index: 3"#,
            ],
        ),
    ];
    for (spec, new, expected) in cases {
        assert_eq!(found(&spec, &json!({}), &new), expected, "{new}");
    }
}

#[test]
fn an_old_fault_is_not_held_against_who_does_not_touch_it() {
    let cases = [
        ("indexes beyond a Job that was made smaller", indexed(), json!({"completedIndexes": "0-20"})),
        ("pods of a finished Job", json!({}), with(completed(), json!({"active": 1, "ready": 2, "terminating": 3}))),
        ("no start", json!({}), with(completed(), json!({"startTime": null}))),
        ("both ends", json!({}), json!({"startTime": START, "conditions": true_conditions(&["Complete", "Failed"])})),
    ];
    for (why, spec, status) in cases {
        let new = with(status.clone(), json!({"failed": 5}));
        assert_eq!(found(&spec, &status, &new), Vec::<String>::new(), "{why}");
    }
}
