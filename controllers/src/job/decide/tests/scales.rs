//! How many pods are made or deleted, and when.

use super::*;

fn scaled(spec: Value, pods: &[SeenPod]) -> String {
    scale(&decided(&job(spec), pods).scale)
}

#[test]
fn sizes_table() {
    let unready = |name| SeenPod { ready_since: None, ..pod(name) };
    let four = [pod("a"), pod("b"), unready("c"), pod("d")];
    let cases = [
        ("as many at once as may be", json!({}), vec![], "create 2"),
        ("one is at work", json!({}), vec![pod("a")], "create 1"),
        ("enough are", json!({}), vec![pod("a"), pod("b")], "keep"),
        ("the last of three", json!({}), vec![succeeded("a"), succeeded("b")], "create 1"),
        ("no more than are missing", json!({"parallelism": 9}), vec![succeeded("a")], "create 2"),
        ("too many at once: the unready one first", json!({}), four.to_vec(), "surplus c a"),
        ("more than are missing", json!({"completions": 1}), vec![pod("a"), unready("b")], "surplus b"),
        ("all are done but some run", json!({"completions": 1}), vec![succeeded("a"), pod("b")], "surplus b"),
        (
            "one that is held by nobody goes first",
            json!({"parallelism": 1}),
            vec![unready("a"), let_go(pod("b"))],
            "surplus b",
        ),
        ("no number of completions", json!({"completions": null}), vec![], "create 2"),
        (
            "no number, and one has succeeded: the others end as they are",
            json!({"completions": null}),
            vec![succeeded("a"), pod("b")],
            "keep",
        ),
        ("nothing at once", json!({"parallelism": 0}), vec![pod("a")], "surplus a"),
        ("suspended", json!({"suspend": true}), vec![pod("a"), pod("b")], "surplus a b"),
        ("a bounded burst", json!({"parallelism": 900, "completions": 900}), vec![], "create 500"),
    ];
    for (why, spec, pods, expected) in cases {
        assert_eq!(scaled(spec, &pods), expected, "{why}");
    }
}

#[test]
fn a_pod_on_its_way_out_is_replaced_at_once_unless_the_job_says_otherwise() {
    let running = [pod("a"), leaving(pod("b"))];
    let one = |policy: Value| {
        let mut spec = json!({"backoffLimit": 9});
        merge(&mut spec, policy);
        decided(&job(spec), &running)
    };
    // Its end counts as a failure, for which the Job waits.
    let at_once = one(json!({"podReplacementPolicy": "TerminatingOrFailed"}));
    assert_eq!((scale(&at_once.scale), at_once.wake_after), ("keep".into(), Some(Duration::from_secs(9))));
    assert_eq!(names(&at_once.untrack), "b");
    let later = one(json!({"podReplacementPolicy": "Failed"}));
    assert_eq!((scale(&later.scale), later.wake_after, names(&later.untrack)), ("keep".into(), None, String::new()));
    let by_policy = one(json!({"podFailurePolicy": {"rules": []}}));
    assert_eq!((scale(&by_policy.scale), by_policy.wake_after), ("keep".into(), None));
}

#[test]
fn failures_are_waited_for() {
    let row = |failures: usize| {
        let pods: Vec<_> = (0..failures).map(|n| failed(&format!("f{n}"))).collect();
        let decision = decided(&job(json!({})), &pods);
        (scale(&decision.scale), decision.wake_after.map(|wait| wait.as_secs()))
    };
    assert_eq!(row(1), ("create 2".into(), None), "it failed 20 s ago: its 10 s are over");
    assert_eq!(row(3), ("keep".into(), Some(20)), "the third failure has to be 40 s old");
}

#[test]
fn a_job_on_its_way_out_makes_nothing_and_lets_all_go() {
    let mut going = job(json!({}));
    going.metadata.deletion_timestamp = Some(Time(at(1)));
    let decision = decided(&going, &[pod("a"), succeeded("b")]);
    assert_eq!((scale(&decision.scale).as_str(), names(&decision.untrack).as_str()), ("keep", "a b"));
    assert_eq!(counts(&going, &decision), "1 active, 0+1 succeeded, 0 failed");
}

#[test]
fn a_job_that_is_suspended_has_not_started() {
    let new = |suspend: bool| status(job(json!({"suspend": suspend})), |status| *status = JobStatus::default());
    let paused = decided(&new(true), &[]);
    assert_eq!(
        (holds(&new(true), &paused).as_str(), paused.news.as_slice()),
        ("Suspended JobSuspended", &[News::Suspended][..])
    );
    assert_eq!(paused.status.unwrap().start_time, None);
    let runs = decided(&new(false), &[]);
    assert_eq!((holds(&new(false), &runs).as_str(), runs.news.len()), ("", 0));
    assert_eq!(runs.status.unwrap().start_time, Some(Time(at(0))));
}

#[test]
fn a_job_that_goes_on_has_all_its_time_again() {
    let deadline = json!({"activeDeadlineSeconds": 50, "suspend": true});
    let running = job(deadline.clone());
    let paused = decided(&running, &[pod("a")]);
    assert_eq!(holds(&running, &paused), "Suspended JobSuspended", "it is a minute old, but does not run");
    assert_eq!((paused.wake_after, paused.status.clone().unwrap().start_time), (None, None));
    let mut resumed = written(&running, &paused);
    resumed.spec.as_mut().unwrap().suspend = Some(false);
    let decision = decided(&resumed, &[]);
    assert_eq!((holds(&resumed, &decision).as_str(), decision.news.as_slice()), ("", &[News::Resumed][..]));
    assert_eq!(decision.status.unwrap().start_time, Some(Time(at(0))));
    assert_eq!(decision.wake_after, Some(Duration::from_secs(50)));
}
