//! Each pod is counted once, whatever step its counting was stopped at.

use super::*;

#[test]
fn steps_table() {
    let spec = || json!({"parallelism": 9, "completions": 9, "backoffLimit": 9});
    let fresh = || job(spec());
    let named = |succeeded: &[&str], failed: &[&str]| {
        status(job(spec()), |status| status.uncounted_terminated_pods = uncounted(succeeded, failed))
    };
    let cases = [
        ("they run", fresh(), vec![pod("a")], "1 active, 0 succeeded, 0 failed", ""),
        (
            "they ended: named, then let go",
            fresh(),
            vec![succeeded("a"), failed("b"), pod("c")],
            "1 active, 0+1 succeeded, 0+1 failed",
            "a b",
        ),
        (
            "named, but not let go yet",
            named(&["a"], &["b"]),
            vec![succeeded("a"), failed("b")],
            "0 active, 0+1 succeeded, 0+1 failed",
            "a b",
        ),
        (
            "named and let go: counted",
            named(&["a"], &["b"]),
            vec![let_go(succeeded("a")), let_go(failed("b"))],
            "0 active, 1 succeeded, 1 failed",
            "",
        ),
        ("named and gone altogether: counted", named(&["a"], &["b"]), vec![], "0 active, 1 succeeded, 1 failed", ""),
        (
            "one of each",
            named(&["a", "b"], &[]),
            vec![let_go(succeeded("a")), succeeded("b"), succeeded("c")],
            "0 active, 1+2 succeeded, 0 failed",
            "b c",
        ),
        ("never held: never counted", fresh(), vec![let_go(succeeded("a"))], "0 active, 0 succeeded, 0 failed", ""),
        (
            "named as failed, whatever it says later",
            named(&[], &["a"]),
            vec![succeeded("a")],
            "0 active, 0 succeeded, 0+1 failed",
            "a",
        ),
        ("on its way out: failed", fresh(), vec![leaving(pod("a"))], "0 active, 0 succeeded, 0+1 failed", "a"),
        (
            "on its way out after it succeeded",
            fresh(),
            vec![leaving(succeeded("a"))],
            "0 active, 0+1 succeeded, 0 failed",
            "a",
        ),
    ];
    for (why, job, pods, expected, untrack) in cases {
        let decision = decided(&job, &pods);
        assert_eq!((counts(&job, &decision).as_str(), names(&decision.untrack).as_str()), (expected, untrack), "{why}");
    }
}

#[test]
fn what_is_written_is_not_written_again() {
    let fresh = job(json!({}));
    let pods = [succeeded("a"), pod("b"), pod("c")];
    let first = decided(&fresh, &pods);
    assert!(first.status.is_some());
    let again = decided(&written(&fresh, &first), &pods);
    assert_eq!((again.status, names(&again.untrack).as_str()), (None, "a"), "it is still to be let go");
}

#[test]
fn so_many_at_a_time() {
    let spec = json!({"parallelism": 900, "completions": 900});
    let pods: Vec<_> = (0..700).map(|n| succeeded(&format!("p{n:03}"))).collect();
    let many = job(spec);
    let first = decided(&many, &pods);
    assert_eq!((counts(&many, &first).as_str(), first.untrack.len()), ("0 active, 0+500 succeeded, 0 failed", 500));
    assert_eq!(scale(&first.scale), "create 200", "those that are not named yet have succeeded all the same");
    let gone: Vec<_> =
        pods.iter().enumerate().map(|(n, pod)| if n < 500 { let_go(pod.clone()) } else { pod.clone() }).collect();
    let second = written(&many, &first);
    let decision = decided(&second, &gone);
    assert_eq!(
        (counts(&second, &decision).as_str(), decision.untrack.len()),
        ("0 active, 500+200 succeeded, 0 failed", 200)
    );
}

#[test]
fn ignored_failures_count_for_nothing() {
    let rules = json!([{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [42]}}]);
    let strict = job(json!({"backoffLimit": 0, "podFailurePolicy": {"rules": rules}}));
    let decision = decided(&strict, &[exited(42, failed("a")), pod("b")]);
    assert_eq!((holds(&strict, &decision).as_str(), names(&decision.untrack).as_str()), ("", "a"));
    assert_eq!(counts(&strict, &decision), "1 active, 0 succeeded, 0 failed");
    let decision = decided(&strict, &[exited(1, failed("a"))]);
    assert_eq!(holds(&strict, &decision), "FailureTarget BackoffLimitExceeded");
}
