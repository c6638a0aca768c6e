//! How Jobs end.

use super::*;

#[test]
fn ends_table() {
    let restarted = |restarts| of_job(pod("a"), |of_job| of_job.restarts = restarts);
    let on_failure = |limit: i32| json!({"backoffLimit": limit, "template": {"spec": {"containers": [], "restartPolicy": "OnFailure"}}});
    let fail_job = json!([{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [3]}}]);
    let by_policy = json!({"podFailurePolicy": {"rules": fail_job}});
    let (limit, met) = ("FailureTarget BackoffLimitExceeded", "SuccessCriteriaMet CompletionsReached");
    let cases = [
        ("it runs", json!({}), vec![pod("a")], ""),
        ("as many failures as it may have", json!({"backoffLimit": 1}), vec![failed("a")], ""),
        ("one too many", json!({"backoffLimit": 1}), vec![failed("a"), failed("b"), pod("c")], limit),
        ("restarts, fewer than it may have", on_failure(3), vec![restarted(2)], ""),
        ("restarts are failures", on_failure(3), vec![restarted(3)], limit),
        ("not one restart", on_failure(0), vec![restarted(1)], limit),
        ("none was needed", on_failure(0), vec![restarted(0)], ""),
        ("restarts where none should be", json!({"backoffLimit": 0}), vec![restarted(3)], ""),
        ("time is over", json!({"activeDeadlineSeconds": 60}), vec![pod("a")], "FailureTarget DeadlineExceeded"),
        ("time is left", json!({"activeDeadlineSeconds": 61}), vec![pod("a")], ""),
        (
            "an exit code that ends all",
            by_policy.clone(),
            vec![exited(3, failed("a"))],
            "FailureTarget PodFailurePolicy",
        ),
        ("another exit code", by_policy, vec![exited(4, failed("a"))], ""),
        ("two of three", json!({}), vec![succeeded("a"), succeeded("b")], ""),
        ("three of three", json!({}), vec![succeeded("a"), succeeded("b"), succeeded("c")], met),
        (
            "three of three, and one still runs",
            json!({}),
            vec![succeeded("a"), succeeded("b"), succeeded("c"), pod("d")],
            "",
        ),
        ("none is wanted", json!({"completions": 0}), vec![], met),
        ("any one, and another runs", json!({"completions": null}), vec![succeeded("a"), pod("b")], ""),
        ("any one", json!({"completions": null}), vec![succeeded("a"), let_go(failed("b"))], met),
        (
            "all failures at once: it has failed before it succeeds",
            json!({"completions": 1, "backoffLimit": 0}),
            vec![succeeded("a"), failed("b")],
            limit,
        ),
    ];
    for (why, spec, pods, expected) in cases {
        let job = job(spec);
        // A Job for which there is nothing left to wait is done at once.
        let holds = holds(&job, &decided(&job, &pods));
        assert_eq!(holds.split(", ").next().unwrap(), expected, "{why}");
    }
}

#[test]
fn a_job_that_fails_counts_all_its_pods_stops_them_and_waits_for_them() {
    let strict = job(json!({"backoffLimit": 0}));
    let first = decided(&strict, &[failed("a"), pod("b"), pod("c")]);
    assert_eq!(holds(&strict, &first), "FailureTarget BackoffLimitExceeded");
    assert_eq!(counts(&strict, &first), "2 active, 0 succeeded, 0+3 failed");
    assert_eq!((names(&first.untrack).as_str(), scale(&first.scale).as_str()), ("a b c", "stop b c"));

    let strict = written(&strict, &first);
    let pods = [let_go(failed("a")), let_go(leaving(pod("b"))), let_go(pod("c"))];
    let second = decided(&strict, &pods);
    assert_eq!(counts(&strict, &second), "1 active, 0 succeeded, 3 failed");
    assert_eq!(
        (holds(&strict, &second).as_str(), scale(&second.scale).as_str()),
        ("FailureTarget BackoffLimitExceeded", "stop c")
    );

    let strict = written(&strict, &second);
    let third = decided(&strict, &[let_go(failed("a")), let_go(leaving(pod("b")))]);
    assert_eq!(holds(&strict, &third), "FailureTarget BackoffLimitExceeded", "one still runs");

    let strict = written(&strict, &third);
    let last = decided(&strict, &[let_go(failed("a")), let_go(failed("b"))]);
    assert_eq!(holds(&strict, &last), "FailureTarget BackoffLimitExceeded, Failed BackoffLimitExceeded");
    assert_eq!(counts(&strict, &last), "0 active, 0 succeeded, 3 failed");
    let message = "Job has reached the specified backoff limit".to_owned();
    assert_eq!(last.news, [News::Failed { reason: "BackoffLimitExceeded".into(), message }]);
    assert_eq!(last.status.unwrap().completion_time, None);
}

#[test]
fn a_job_that_succeeds_is_complete_once_all_are_counted() {
    let one = job(json!({"completions": 1}));
    let first = decided(&one, &[succeeded("a")]);
    assert_eq!((holds(&one, &first).as_str(), first.news.len()), ("SuccessCriteriaMet CompletionsReached", 0));
    let one = written(&one, &first);
    let last = decided(&one, &[let_go(succeeded("a"))]);
    assert_eq!(holds(&one, &last), "SuccessCriteriaMet CompletionsReached, Complete CompletionsReached");
    assert_eq!(
        (counts(&one, &last).as_str(), last.news.as_slice()),
        ("0 active, 1 succeeded, 0 failed", &[News::Completed { too_many: false }][..])
    );
    assert_eq!(last.status.unwrap().completion_time, Some(Time(at(0))));
    let many = status(one, |status| status.succeeded = Some(4));
    assert_eq!(decided(&many, &[]).news, [News::Completed { too_many: true }]);
}

#[test]
fn pods_that_are_not_counted_yet_are_not_stopped() {
    let strict = job(json!({"backoffLimit": 0, "parallelism": 600, "completions": 600}));
    let mut pods: Vec<_> = (0..600).map(|n| pod(&format!("p{n:03}"))).collect();
    pods.insert(0, failed("a"));
    let first = decided(&strict, &pods);
    assert_eq!(first.untrack.len(), 500);
    let Scale::Stop(stopped) = &first.scale else { panic!("{:?}", first.scale) };
    assert_eq!(stopped.len(), 499, "one of those that are counted has ended by itself");
}
