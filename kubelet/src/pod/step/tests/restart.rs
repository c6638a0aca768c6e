//! When a container is started again, and how long it waits for that.

use super::*;

#[test]
fn a_crashing_container_restarts_with_backoff() {
    let mut s = Story::new(vec![want("a", Kind::Main, RestartPolicy::Always)]);
    s.happens(0, Event::Looked);
    s.exit(1, "a0", 1);
    assert!(matches!(s.state("a"), Now::Running { id, .. } if id == "a1"), "the first time at once");
    s.told();
    s.exit(5, "a1", 1);
    assert_eq!(s.told(), ["BackOff"]);
    let why = s.machine.container("a").unwrap().why.clone().unwrap();
    assert_eq!(why.reason, "CrashLoopBackOff");
    assert_eq!(why.message, "back-off 10s restarting failed container=a pod=web_default(u)");
    assert_eq!(s.machine.wake_at(at(5)), Some(at(15)));
    s.happens(14, Event::Looked);
    assert_eq!(s.told(), Vec::<String>::new(), "not before its time");
    s.happens(15, Event::Looked);
    assert_eq!(orders(s.told()), ["image a", "start a2"]);
    s.exit(16, "a2", 1);
    assert_eq!(s.machine.wake_at(at(16)), Some(at(36)), "twice as long");
}

#[test]
fn a_failed_liveness_probe_restarts_the_container_and_readiness_only_marks_it() {
    let mut a = want("a", Kind::Main, RestartPolicy::Always);
    a.readiness_probe = true;
    let mut s = Story::new(vec![a]);
    s.happens(0, Event::Looked);
    s.told();
    let probe = |probe, healthy| Event::Probe { container: "a".into(), id: "a0".into(), probe, healthy };
    assert!(!s.machine.container("a").unwrap().ready);
    s.happens(1, probe(ProbeKind::Readiness, true));
    assert!(s.machine.container("a").unwrap().ready);
    s.happens(2, probe(ProbeKind::Readiness, false));
    assert!(!s.machine.container("a").unwrap().ready);
    assert_eq!(s.told(), Vec::<String>::new());
    s.happens(3, probe(ProbeKind::Liveness, false));
    assert_eq!(s.told(), ["Killing", "term a0"]);
    s.exit(4, "a0", 143);
    assert!(matches!(s.state("a"), Now::Running { id, .. } if id == "a1"));
}

#[test]
fn a_lost_sandbox_is_replaced_and_everything_in_it() {
    let mut s =
        Story::new(vec![want("i", Kind::Init, RestartPolicy::OnFailure), want("a", Kind::Main, RestartPolicy::Always)]);
    s.happens(0, Event::Looked);
    s.exit(1, "i0", 0);
    s.told();
    s.happens(2, Event::SandboxExited { id: "s0".into() });
    assert_eq!(s.told(), ["SandboxChanged", "Killing", "term a0", "image i", "Pulled"]);
    s.exit(3, "a0", 143);
    assert_eq!(orders(s.told()), ["sandbox 1", "start i1"]);
    s.exit(4, "i1", 0);
    assert_eq!(orders(s.told()), ["image a", "start a1"]);
}

#[test]
fn another_image_in_the_spec_replaces_the_container_without_backoff() {
    let mut s = Story::new(vec![want("a", Kind::Main, RestartPolicy::Always)]);
    s.happens(0, Event::Looked);
    s.exit(1, "a0", 1);
    s.told();
    let mut changed = plan(vec![want("a", Kind::Main, RestartPolicy::Always)]);
    changed.containers[0].image = "img2".into();
    s.happens(2, Event::Planned(Box::new(changed)));
    assert_eq!(s.told(), ["Killing", "term a1"]);
    s.exit(3, "a1", 143);
    assert_eq!(orders(s.told()), ["image a", "start a2"]);
}

#[test]
fn another_image_ends_the_wait_after_crashes() {
    let mut s = Story::new(vec![want("a", Kind::Main, RestartPolicy::Always)]);
    s.happens(0, Event::Looked);
    s.exit(1, "a0", 1);
    s.exit(2, "a1", 1);
    s.told();
    s.happens(3, with_image("img2"));
    assert_eq!(orders(s.told()), ["image a", "start a2"]);
    s.exit(4, "a2", 1);
    assert_eq!(orders(s.told()), ["image a", "start a3"], "its first crash is free");
}

#[test]
fn each_probe_has_its_own_grace() {
    let mut a = want("a", Kind::Main, RestartPolicy::Always);
    a.startup_grace = Some(Duration::from_secs(3));
    a.liveness_grace = Some(Duration::from_secs(7));
    for (probe, grace) in [(ProbeKind::Startup, 3), (ProbeKind::Liveness, 7)] {
        let mut s = Story::new(vec![a.clone()]);
        s.happens(0, Event::Looked);
        s.happens(0, Event::Probe { container: "a".into(), id: "a0".into(), probe, healthy: false });
        assert_eq!(s.machine.wake_at(at(0)), Some(at(grace)), "{probe:?}");
    }
}

#[test]
fn a_container_that_ran_for_ten_minutes_starts_anew_even_if_a_later_kubelet_saw_its_end() {
    let mut s = Story::new(vec![want("a", Kind::Main, RestartPolicy::Always)]);
    s.happens(0, Event::Looked);
    s.exit(1, "a0", 1);
    // Who saw this end knows nothing of the beginning: the story's exits say they ran for a second.
    s.exit(700, "a1", 1);
    assert!(matches!(s.state("a"), Now::Running { id, .. } if id == "a2"), "{:?}", s.state("a"));
}
