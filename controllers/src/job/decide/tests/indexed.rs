//! Indexed Jobs: which indexes are done, lost, or tried again.

use super::*;

fn spec(more: Value) -> Value {
    let mut spec = json!({"completionMode": "Indexed", "completions": 5, "parallelism": 3});
    merge(&mut spec, more);
    spec
}
/// One that was tried before: `failures` of its index failed before it, and it failed so many seconds ago.
fn retried(index: i32, failures: i32, secs_ago: i64) -> SeenPod {
    of_job(indexed(index, failed(&format!("{index}-{failures}"))), |of_job| {
        (of_job.index_failures, of_job.finished) = (failures, Some(at(secs_ago)));
    })
}
fn indexes(job: &Job, decision: &Decision) -> (String, Option<String>) {
    let status = written(job, decision).status.unwrap();
    (status.completed_indexes.unwrap_or_default(), status.failed_indexes)
}

#[test]
fn scales_table() {
    let done = |text: &str, spec| status(job(spec), |status| status.completed_indexes = Some(text.into()));
    let cases = [
        ("the first ones", job(spec(json!({}))), vec![], "create 0 1 2"),
        ("what is at work is not made", job(spec(json!({}))), vec![indexed(1, pod("a"))], "create 0 2"),
        ("nor what is done", done("0,2", spec(json!({}))), vec![indexed(1, pod("a"))], "create 3 4"),
        ("nor what has just succeeded", job(spec(json!({}))), vec![indexed(0, succeeded("a"))], "create 1 2 3"),
        (
            "the newer of two with one index goes",
            job(spec(json!({}))),
            vec![indexed(0, pod("a")), indexed(0, SeenPod { ready_since: Some(at(5)), ..pod("b") })],
            "surplus b",
        ),
        ("one with an index that is none of it", job(spec(json!({}))), vec![indexed(5, pod("a"))], "surplus a"),
        ("one without an index", job(spec(json!({}))), vec![pod("a")], "surplus a"),
        (
            "one on its way out may still hold its index",
            job(spec(json!({"podReplacementPolicy": "Failed"}))),
            vec![indexed(0, leaving(pod("a")))],
            "create 1 2",
        ),
        (
            "made smaller: what was done beyond is forgotten",
            done("0-4", spec(json!({"completions": 3, "parallelism": 3}))),
            vec![],
            "keep",
        ),
    ];
    for (why, job, pods, expected) in cases {
        assert_eq!(scale(&decided(&job, &pods).scale), expected, "{why}");
    }
}

#[test]
fn an_index_counts_once() {
    let started = status(job(spec(json!({}))), |status| status.completed_indexes = Some("0".into()));
    let pods = [
        indexed(0, succeeded("again")),
        indexed(2, succeeded("new")),
        indexed(7, succeeded("wrong")),
        indexed(3, failed("f")),
    ];
    let decision = decided(&started, &pods);
    assert_eq!(indexes(&started, &decision), ("0,2".into(), None));
    assert_eq!(counts(&started, &decision), "0 active, 2 succeeded, 0+1 failed", "no uids are kept of what succeeded");
    assert_eq!(names(&decision.untrack), "again new f wrong");
}

#[test]
fn tries_of_an_index_table() {
    let own = |limit: i32| job(spec(json!({"backoffLimitPerIndex": limit, "backoffLimit": i32::MAX})));
    let cases = [
        ("a first try", own(1), vec![], "create 0 1 2", "", None, ""),
        (
            "its successor inherits what failed",
            own(1),
            vec![retried(0, 0, 20)],
            "create 0/1 1 2",
            "",
            None,
            "it is held until then",
        ),
        ("it waits by itself", own(5), vec![retried(0, 2, 20)], "create 1 2", "", Some(20), "it is held"),
        (
            "the last of two is replaced",
            own(5),
            vec![retried(0, 0, 90), retried(0, 1, 60)],
            "create 0/2 1 2",
            "0-0",
            None,
            "the other goes",
        ),
        (
            "it is made: the failed one may go",
            own(1),
            vec![retried(0, 0, 20), indexed(0, pod("a"))],
            "create 1 2",
            "0-0",
            None,
            "",
        ),
        ("it is lost", own(1), vec![retried(0, 1, 20)], "create 1 2 3", "0-1", None, ""),
    ];
    for (why, job, pods, expected, untrack, wait, note) in cases {
        let decision = decided(&job, &pods);
        assert_eq!(scale(&decision.scale), expected, "{why}");
        assert_eq!(names(&decision.untrack), untrack, "{why} {note}");
        assert_eq!(decision.wake_after.map(|wait| wait.as_secs()), wait, "{why}");
    }
    let lost = own(1);
    assert_eq!(indexes(&lost, &decided(&lost, &[retried(0, 1, 20)])), (String::new(), Some("0".into())));
    let new = status(lost, |status| *status = JobStatus::default());
    assert_eq!(indexes(&new, &decided(&new, &[])), (String::new(), Some(String::new())), "none is");
}

#[test]
fn policies_of_an_index() {
    let rule = |action: &str, code: i32| json!({"action": action, "onExitCodes": {"operator": "In", "values": [code]}});
    let rules = json!([rule("FailIndex", 3), rule("Ignore", 4)]);
    let own =
        job(spec(json!({"backoffLimitPerIndex": 2, "backoffLimit": i32::MAX, "podFailurePolicy": {"rules": rules}})));
    let lost = decided(&own, &[exited(3, retried(0, 0, 20))]);
    assert_eq!(indexes(&own, &lost).1, Some("0".into()), "an exit code after which it is not tried again");
    let ignored = decided(&own, &[exited(4, retried(0, 2, 90))]);
    assert_eq!((indexes(&own, &ignored).1, scale(&ignored.scale)), (None, "create 0/2/1 1 2".into()));
}

#[test]
fn ends_table() {
    let own = |more: Value| {
        let mut all = json!({"backoffLimitPerIndex": 0, "backoffLimit": i32::MAX});
        merge(&mut all, more);
        status(job(spec(all)), |status| (status.completed_indexes, status.succeeded) = (Some("0-2".into()), Some(3)))
    };
    let policy = |indexes: &str| {
        let rules = json!([{"succeededIndexes": indexes}]);
        status(job(spec(json!({"successPolicy": {"rules": rules}}))), |status| {
            status.completed_indexes = Some("0-2".into())
        })
    };
    let cases = [
        ("one is lost, one is left", own(json!({})), vec![retried(3, 0, 20), indexed(4, pod("a"))], ""),
        (
            "none is left, and one is lost",
            own(json!({})),
            vec![retried(3, 0, 20), indexed(4, succeeded("a"))],
            "FailureTarget FailedIndexes",
        ),
        (
            "more are lost than may be",
            own(json!({"maxFailedIndexes": 0})),
            vec![retried(3, 0, 20)],
            "FailureTarget MaxFailedIndexesExceeded",
        ),
        ("as many are lost as may be", own(json!({"maxFailedIndexes": 1})), vec![retried(3, 0, 20)], ""),
        (
            "all are done",
            own(json!({})),
            vec![indexed(3, succeeded("a")), indexed(4, succeeded("b"))],
            "SuccessCriteriaMet CompletionsReached",
        ),
        ("enough are done", policy("1-2"), vec![indexed(3, pod("a"))], "SuccessCriteriaMet SuccessPolicy"),
        ("not those that matter", policy("1-3"), vec![indexed(3, pod("a"))], ""),
    ];
    for (why, job, pods, expected) in cases {
        assert_eq!(holds(&job, &decided(&job, &pods)), expected, "{why}");
    }
}

#[test]
fn what_still_runs_when_enough_is_done_has_not_failed() {
    let rules = json!([{"succeededCount": 1}]);
    let one = job(spec(json!({"successPolicy": {"rules": rules}})));
    let decision = decided(&one, &[indexed(0, succeeded("a")), indexed(1, pod("b")), indexed(2, pod("c"))]);
    assert_eq!(counts(&one, &decision), "2 active, 1 succeeded, 0 failed");
    assert_eq!((names(&decision.untrack).as_str(), scale(&decision.scale).as_str()), ("a b c", "stop b c"));
}
