//! How a pod ends: by itself, by a delete, by its deadline.

use super::*;

#[test]
fn a_container_that_may_not_restart_ends_the_pod_when_all_have() {
    let mut s = Story::new(vec![
        want("side", Kind::Sidecar, RestartPolicy::Always),
        want("a", Kind::Main, RestartPolicy::Never),
        want("b", Kind::Main, RestartPolicy::Never),
    ]);
    s.happens(0, Event::Looked);
    s.told();
    s.exit(1, "a0", 0);
    assert_eq!(orders(s.told()), Vec::<String>::new());
    s.exit(2, "b0", 0);
    assert_eq!(orders(s.told()), ["term side0"], "only now the sidecar is not needed any more");
    s.exit(3, "side0", 143);
    assert_eq!(orders(s.told()), ["quiet"]);
    assert_eq!(s.machine.stage, Stage::Stopped);
    s.happens(4, Event::DeleteRequested { grace: Duration::from_secs(30) });
    assert_eq!(orders(s.told()), ["clear", "finalize"]);
}

#[test]
fn a_deleted_pod_gets_its_hook_then_the_signal_then_the_kill() {
    let mut a = want("a", Kind::Main, RestartPolicy::Always);
    a.pre_stop = true;
    let mut s = Story::new(vec![a]);
    s.undone = vec!["prestop"];
    s.happens(0, Event::Looked);
    s.told();
    s.happens(10, Event::DeleteRequested { grace: Duration::from_secs(30) });
    assert_eq!(s.told(), ["Killing", "prestop a"]);
    s.happens(12, Event::PreStopDone { container: "a".into(), id: "a0".into(), failure: None });
    assert_eq!(s.told(), ["term a0"]);
    assert_eq!(s.machine.wake_at(at(12)), Some(at(40)));
    s.happens(40, Event::Looked);
    assert_eq!(s.told(), ["kill a0"]);
    s.happens(41, Event::Looked);
    assert_eq!(s.told(), Vec::<String>::new(), "once is enough");
    s.exit(41, "a0", 137);
    assert_eq!(orders(s.told()), ["quiet", "clear", "finalize"]);
    assert_eq!(s.machine.stage, Stage::Gone);
}

#[test]
fn a_second_delete_only_shortens_the_grace() {
    let mut s = Story::new(vec![want("a", Kind::Main, RestartPolicy::Always)]);
    s.happens(0, Event::Looked);
    s.happens(0, Event::DeleteRequested { grace: Duration::from_secs(30) });
    s.happens(1, Event::DeleteRequested { grace: Duration::from_secs(300) });
    assert_eq!(s.machine.wake_at(at(1)), Some(at(30)));
    s.happens(2, Event::DeleteRequested { grace: Duration::from_secs(5) });
    assert_eq!(s.machine.wake_at(at(2)), Some(at(7)));
}

#[test]
fn a_hook_that_uses_up_the_grace_is_followed_by_the_signal_and_two_seconds() {
    let mut a = want("a", Kind::Main, RestartPolicy::Always);
    a.pre_stop = true;
    let mut s = Story::new(vec![a]);
    s.undone = vec!["prestop"];
    s.happens(0, Event::Looked);
    s.told();
    s.happens(10, Event::DeleteRequested { grace: Duration::from_secs(30) });
    assert_eq!(s.told(), ["Killing", "prestop a"]);
    s.happens(40, Event::Looked);
    assert_eq!(s.told(), ["term a0"], "asked before it is killed");
    s.happens(41, Event::DeleteRequested { grace: Duration::from_secs(30) });
    s.happens(41, Event::PreStopDone { container: "a".into(), id: "a0".into(), failure: None });
    assert_eq!(s.told(), Vec::<String>::new());
    assert_eq!(s.machine.wake_at(at(41)), Some(at(42)), "the same delete once more shortens nothing");
    s.happens(42, Event::Looked);
    assert_eq!(s.told(), ["kill a0"]);
}

#[test]
fn without_grace_there_is_no_hook_but_a_signal_all_the_same() {
    let hooked = || {
        let mut a = want("a", Kind::Main, RestartPolicy::Always);
        a.pre_stop = true;
        let mut s = Story::new(vec![a]);
        s.undone = vec!["prestop"];
        s.happens(0, Event::Looked);
        s.told();
        s
    };
    let now = Event::DeleteRequested { grace: Duration::ZERO };
    let mut s = hooked();
    s.happens(10, now.clone());
    assert_eq!(s.told(), ["Killing", "term a0"]);
    s.happens(12, Event::Looked);
    assert_eq!(s.told(), ["kill a0"]);

    let mut s = hooked();
    s.happens(10, Event::DeleteRequested { grace: Duration::from_secs(30) });
    assert_eq!(s.told(), ["Killing", "prestop a"]);
    s.happens(15, now);
    assert_eq!(s.told(), ["term a0"], "the hook has no more time");
    s.happens(17, Event::Looked);
    assert_eq!(s.told(), ["kill a0"]);

    let mut s = hooked();
    s.machine.plan.grace = Duration::ZERO;
    s.machine.plan.containers[0].image = "other".into();
    let changed = s.machine.plan.clone();
    s.happens(20, Event::Planned(Box::new(changed)));
    assert_eq!(s.told(), ["Killing", "term a0"], "a restart is no other");
}

#[test]
fn a_sidecar_that_had_no_turn_is_asked_before_it_is_killed() {
    let mut s =
        Story::new(vec![want("i", Kind::Sidecar, RestartPolicy::Always), want("a", Kind::Main, RestartPolicy::Always)]);
    s.happens(0, Event::Looked);
    s.told();
    s.happens(10, Event::DeleteRequested { grace: Duration::from_secs(30) });
    assert_eq!(s.told(), ["Killing", "Killing", "term a0"]);
    s.happens(40, Event::Looked);
    assert_eq!(s.told(), ["term i0", "kill a0"]);
    s.happens(42, Event::Looked);
    assert_eq!(s.told(), ["kill i0"]);
}

#[test]
fn nothing_starts_in_a_pod_that_is_ending() {
    let mut s = Story::new(vec![want("a", Kind::Main, RestartPolicy::Always)]);
    s.undone = vec!["image"];
    s.happens(0, Event::Looked);
    s.happens(1, Event::DeleteRequested { grace: Duration::from_secs(30) });
    assert_eq!(s.machine.stage, Stage::Gone, "nothing ran: it is gone at once");
    s.told();
    let ready = Event::ImageReady {
        container: "a".into(),
        image: "img".into(),
        image_id: String::new(),
        message: String::new(),
    };
    s.happens(2, ready);
    assert_eq!(orders(s.told()), Vec::<String>::new());
}

#[test]
fn a_delete_while_a_container_is_being_made_waits_for_it_and_ends_it() {
    let mut s = Story::new(vec![want("a", Kind::Main, RestartPolicy::Always)]);
    s.undone = vec!["start"];
    s.happens(0, Event::Looked);
    s.told();
    s.happens(1, Event::DeleteRequested { grace: Duration::from_secs(30) });
    assert_eq!(orders(s.told()), Vec::<String>::new());
    s.happens(2, Event::Started { container: "a".into(), id: "a0".into(), at: at(2) });
    assert_eq!(orders(s.told()), ["term a0"]);
}

#[test]
fn a_pod_past_its_deadline_fails() {
    let mut s = Story::new(vec![want("a", Kind::Main, RestartPolicy::Always)]);
    s.machine.plan.active_deadline = Some(Duration::from_secs(60));
    s.happens(0, Event::Looked);
    assert_eq!(s.machine.wake_at(at(0)), Some(at(60)));
    s.told();
    s.happens(60, Event::Looked);
    assert_eq!(s.told(), ["DeadlineExceeded", "Killing", "term a0"]);
    s.exit(61, "a0", 143);
    assert_eq!(s.machine.fate.as_ref().unwrap().reason, "DeadlineExceeded");
    assert_eq!(crate::pod::phase::phase(&s.machine, None), crate::pod::phase::Phase::Failed);
}
