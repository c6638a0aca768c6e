//! Stories of several containers: whose turn it is to start, and to end.

use super::*;

fn main(name: &str) -> Want {
    want(name, Kind::Main, RestartPolicy::Always)
}

fn sidecar(name: &str) -> Want {
    want(name, Kind::Sidecar, RestartPolicy::Always)
}

fn hook_done(name: &str) -> Event {
    Event::PreStopDone { container: name.into(), id: format!("{name}0"), failure: None }
}

/// Two sidecars and a main container, all with hooks that take their time.
fn with_hooks() -> Story {
    let wants = [sidecar("x"), sidecar("y"), main("a")].map(|w| Want { pre_stop: true, ..w });
    let mut s = Story::new(wants.into());
    s.undone = vec!["prestop"];
    s.happens(0, Event::Looked);
    s.told();
    s
}

#[test]
fn all_hooks_run_at_once_and_only_the_signals_of_sidecars_wait_for_their_turn() {
    let mut s = with_hooks();
    s.happens(10, Event::DeleteRequested { grace: Duration::from_secs(30) });
    assert_eq!(s.told(), ["Killing", "Killing", "Killing", "prestop x", "prestop y", "prestop a"]);
    s.happens(11, hook_done("x"));
    s.happens(12, hook_done("y"));
    assert_eq!(s.told(), Vec::<String>::new(), "what they serve may still be needed");
    s.happens(13, hook_done("a"));
    assert_eq!(s.told(), ["term a0"]);
    s.exit(14, "a0", 0);
    assert_eq!(s.told(), ["term y0"], "the last one first");
    s.exit(15, "y0", 0);
    assert_eq!(s.told(), ["term x0"]);
    s.exit(16, "x0", 0);
    assert_eq!(orders(s.told()), ["quiet", "clear", "finalize"]);
}

#[test]
fn a_sidecars_hook_may_end_after_its_turn_has_come() {
    let mut s = with_hooks();
    s.happens(10, Event::DeleteRequested { grace: Duration::from_secs(30) });
    s.happens(11, hook_done("a"));
    s.exit(12, "a0", 0);
    assert_eq!(orders(s.told()), ["prestop x", "prestop y", "prestop a", "term a0"]);
    s.happens(13, hook_done("y"));
    assert_eq!(s.told(), ["term y0"]);
}

#[test]
fn when_the_pods_time_is_up_or_it_gets_none_it_is_everybodys_turn() {
    let mut s = with_hooks();
    s.happens(10, Event::DeleteRequested { grace: Duration::from_secs(30) });
    s.happens(11, hook_done("x"));
    s.told();
    s.happens(40, Event::Looked);
    assert_eq!(s.told(), ["term x0", "term y0", "term a0"]);
    assert_eq!(s.machine.wake_at(at(40)), Some(at(42)));

    let mut s = with_hooks();
    s.happens(10, Event::DeleteRequested { grace: Duration::from_secs(30) });
    s.happens(11, hook_done("x"));
    s.told();
    s.happens(12, Event::DeleteRequested { grace: Duration::ZERO });
    assert_eq!(s.told(), ["term x0", "term y0", "term a0"], "forced");
}

#[test]
fn a_sidecar_that_is_restarted_waits_for_nobody() {
    let mut s = with_hooks();
    let failed = Event::Probe { container: "x".into(), id: "x0".into(), probe: ProbeKind::Liveness, healthy: false };
    s.happens(5, failed);
    assert_eq!(s.told(), ["Killing", "prestop x"]);
    s.happens(6, hook_done("x"));
    assert_eq!(s.told(), ["term x0"]);
}

#[test]
fn main_containers_start_in_order_each_after_the_image_and_the_hook_of_those_before() {
    let mut s = Story::new(vec![Want { post_start: true, ..main("a") }, main("b"), main("c")]);
    s.undone = vec!["image b"];
    s.happens(0, Event::Looked);
    assert_eq!(orders(s.told()), ["prepare", "image a", "sandbox 0", "start a0"]);
    let hooked = |failure| Event::PostStart { container: "a".into(), id: "a0".into(), failure };
    s.happens(5, hooked(None));
    assert_eq!(orders(s.told()), ["image b"]);
    let ready = Event::ImageReady {
        container: "b".into(),
        image: "img".into(),
        image_id: "img@sha".into(),
        message: "present".into(),
    };
    s.happens(9, ready);
    assert_eq!(orders(s.told()), ["start b0", "image c", "start c0"]);
}

#[test]
fn a_container_that_cannot_start_holds_up_none_after_it() {
    let no_image = Event::ImageFailed { container: "a".into(), reason: "ErrImagePull", message: "m".into() };
    let no_config =
        Event::CreateFailed { container: "a".into(), reason: "CreateContainerConfigError", message: "m".into() };
    for (undone, failed) in [("image a", no_image), ("start a0", no_config)] {
        let mut s = Story::new(vec![main("a"), main("b")]);
        s.undone = vec![undone];
        s.happens(0, Event::Looked);
        assert!(!s.told().contains(&"image b".to_owned()), "{undone}");
        s.happens(1, failed);
        assert_eq!(orders(s.told()), ["image b", "start b0"], "{undone}");
    }

    let mut s = Story::new(vec![Want { post_start: true, ..main("a") }, main("b")]);
    s.happens(0, Event::Looked);
    s.happens(1, Event::PostStart { container: "a".into(), id: "a0".into(), failure: Some("m".into()) });
    s.told();
    s.exit(2, "a0", 143);
    assert_eq!(orders(s.told()), ["image a", "image b", "start a1", "start b0"], "nor does its second start");
}

#[test]
fn containers_of_a_recovered_pod_that_never_started_take_their_turn_after_those_that_run() {
    let found = FoundContainer {
        id: "a0".into(),
        name: "a".into(),
        attempt: 0,
        image: "img".into(),
        image_id: String::new(),
        size: None,
        stop_signal: 15,
        state: FoundState::Running { since: at(1) },
    };
    let sandbox = SandboxUp { id: "s0".into(), addresses: vec![], network: crate::runtime::Network::Host };
    let pod = FoundPod { sandbox: Some(sandbox), sandboxes: 1, containers: vec![found] };
    let machine = Machine::recover(plan(vec![main("a"), main("b"), main("c")]), &pod, None, at(100));
    let mut s = Story { machine, log: vec![], undone: vec!["start b"] };
    s.happens(100, Event::Looked);
    assert_eq!(orders(s.told()), ["prepare", "image b", "resize pod 0", "start b0"]);
}

#[test]
fn a_rule_restarts_one_container_of_a_pod_that_restarts_none() {
    let spec = serde_json::json!({"spec": {"restartPolicy": "Never", "containers": [
        {"name": "a", "image": "img", "restartPolicy": "Never", "restartPolicyRules": [
            {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}},
        ]},
        {"name": "b", "image": "img"},
    ]}});
    let mut s = Story::new(vec![]);
    s.machine = Machine::new(Plan::of(&serde_json::from_value(spec).unwrap()), at(0));
    s.happens(0, Event::Looked);
    s.exit(1, "b0", 42);
    s.told();
    s.exit(2, "a0", 42);
    assert_eq!(orders(s.told()), ["image a", "start a1"]);
    assert_eq!(crate::pod::phase::phase(&s.machine, None), crate::pod::phase::Phase::Running);
    s.exit(3, "a1", 42);
    assert_eq!(s.machine.container("a").unwrap().why.as_ref().unwrap().reason, "CrashLoopBackOff");
    s.happens(13, Event::Looked);
    s.exit(14, "a2", 1);
    assert_eq!(s.machine.stage, Stage::Stopped);
}
