//! Pods that become larger or smaller while they run, and debuggers that are added to them.

use k8s_openapi::api::core::v1::ContainerResizePolicy;

use super::*;

/// `pod 300` or `a0 100`: whose memory limit becomes what.
pub(super) fn short(step: &ResizeStep) -> String {
    match step {
        ResizeStep::Pod(limits) => format!("pod {}", limits.memory_limit_bytes.unwrap_or(0)),
        ResizeStep::Container { id, to, .. } => format!("{id} {}", to.memory_limit),
    }
}

fn sized(name: &str, memory_limit: i64) -> Want {
    let size = Size { memory_limit, ..Size::default() };
    Want { size, ..want(name, Kind::Main, RestartPolicy::Always) }
}
fn restarting(name: &str, memory_limit: i64) -> Want {
    let policy = ContainerResizePolicy { resource_name: "memory".into(), restart_policy: "RestartContainer".into() };
    Want { resize_restarts: ResizeRestarts::of(Some(&vec![policy])), ..sized(name, memory_limit) }
}
fn planned(containers: Vec<Want>) -> Plan {
    let all = containers.iter().map(|w| w.size.memory_limit).sum();
    Plan { size: PodLimits { memory_limit_bytes: Some(all), ..PodLimits::default() }, ..plan(containers) }
}
/// A pod that runs.
fn running(containers: Vec<Want>) -> Story {
    let mut s = Story { machine: Machine::new(planned(containers), at(0)), log: vec![], undone: vec![] };
    s.happens(1, Event::Looked);
    s.told();
    s
}
fn wants(containers: Vec<Want>) -> Event {
    Event::Planned(Box::new(planned(containers)))
}

#[test]
fn the_pod_grows_before_its_containers_and_shrinks_after_them() {
    for (why, from, to, expected) in [
        ("nothing", [100, 100], [100, 100], ""),
        ("more", [100, 100], [200, 100], "resize pod 300, a0 200"),
        ("less", [200, 100], [100, 100], "resize a0 100, pod 200"),
        ("less for one, more for another", [100, 200], [200, 100], "resize b0 100, a0 200"),
        ("and more together", [100, 200], [300, 100], "resize pod 400, b0 100, a0 300"),
    ] {
        let both = |[a, b]: [i64; 2]| vec![sized("a", a), sized("b", b)];
        let mut s = running(both(from));
        s.happens(2, wants(both(to)));
        let told = s.told();
        assert_eq!(orders(told.clone()).join("; "), expected, "{why}");
        assert_eq!(told.contains(&"ResizeCompleted".to_owned()), !expected.is_empty(), "{why}");
        assert!(!s.machine.is_resizing(), "{why}");
        s.happens(3, Event::Looked);
        assert_eq!(s.told(), Vec::<String>::new(), "{why}: it is done once");
    }
}

#[test]
fn what_fails_is_tried_again_from_where_it_stopped() {
    let mut s = running(vec![sized("a", 100)]);
    s.undone = vec!["resize"];
    s.happens(2, wants(vec![sized("a", 200)]));
    assert_eq!(orders(s.told()), ["resize pod 200, a0 200"]);
    let grown = ResizeStep::Pod(PodLimits { memory_limit_bytes: Some(200), ..PodLimits::default() });
    s.happens(3, Event::Resized { done: vec![grown], failure: Some("no".into()) });
    assert_eq!(s.told(), ["ResizeError"]);
    assert!(s.machine.is_resizing() && s.machine.resizing.failure.as_deref() == Some("no"));
    let wake = s.machine.wake_at(at(3)).unwrap();
    assert_eq!(wake, at(4));
    s.undone.clear();
    s.happens(4, Event::Looked);
    assert_eq!(s.told(), ["resize a0 200", "ResizeCompleted"]);
    assert_eq!(s.machine.resizing.failure, None);
}

#[test]
fn who_takes_back_what_could_not_be_done_has_nothing_to_wait_for() {
    let mut s = running(vec![sized("a", 200)]);
    s.undone = vec!["resize"];
    s.happens(2, wants(vec![sized("a", 100)]));
    s.happens(3, Event::Resized { done: vec![], failure: Some("in use".into()) });
    s.told();
    s.happens(3, wants(vec![sized("a", 200)]));
    assert_eq!(s.told(), ["ResizeCompleted"]);
    assert!(!s.machine.is_resizing() && s.machine.resizing.failure.is_none());
}

#[test]
fn a_policy_has_the_container_begin_anew_and_the_pod_shrinks_once_the_old_one_is_gone() {
    let mut s = running(vec![restarting("a", 100), sized("b", 100)]);
    s.happens(2, wants(vec![restarting("a", 200), sized("b", 100)]));
    assert_eq!(s.told(), ["Killing", "term a0", "resize pod 300"]);
    assert!(s.machine.is_resizing());
    s.exit(3, "a0", 143);
    assert_eq!(orders(s.told()), ["image a", "start a1"], "without a back-off");
    assert!(!s.machine.is_resizing());

    s.happens(4, wants(vec![restarting("a", 50), sized("b", 100)]));
    assert_eq!(orders(s.told()), ["term a1"]);
    s.exit(5, "a1", 143);
    assert_eq!(orders(s.told()), ["image a", "resize pod 150", "start a2"]);
}

#[test]
fn a_new_kubelet_knows_what_runs_and_sets_the_limits_of_the_pod_with_care() {
    let found = |size| FoundContainer {
        id: "a0".into(),
        name: "a".into(),
        attempt: 0,
        image: "img".into(),
        image_id: String::new(),
        size,
        stop_signal: 15,
        state: FoundState::Running { since: at(0) },
    };
    let recovered = |size| {
        let sandbox = SandboxUp { id: "s0".into(), addresses: vec![], network: crate::runtime::Network::Host };
        let pod = FoundPod { sandbox: Some(sandbox), sandboxes: 1, containers: vec![found(size)] };
        let machine = Machine::recover(planned(vec![sized("a", 100)]), &pod, None, at(9));
        let mut s = Story { machine, log: vec![], undone: vec![] };
        s.happens(9, Event::Looked);
        s.told()
    };
    let size = |memory_limit| Some(Size { memory_limit, ..Size::default() });
    assert_eq!(recovered(size(100)), ["prepare", "resize pod 100"]);
    assert_eq!(
        recovered(size(200)),
        ["prepare", "resize pod 200, a0 100, pod 100"],
        "the one before did not get so far"
    );
    assert_eq!(recovered(None), ["prepare", "resize pod 100"], "nobody noted it: it is what the spec says");
}

fn debugger(name: &str) -> Want {
    want(name, Kind::Ephemeral, RestartPolicy::Never)
}

#[test]
fn a_debugger_that_is_added_starts_at_once_and_runs_once() {
    let main = || want("a", Kind::Main, RestartPolicy::Always);
    let mut s = Story::new(vec![main()]);
    s.happens(1, Event::Looked);
    s.told();
    s.happens(2, Event::Planned(Box::new(plan(vec![main(), debugger("d")]))));
    assert_eq!(orders(s.told()), ["image d", "start d0"]);
    s.exit(3, "d0", 1);
    s.happens(9000, Event::Looked);
    assert_eq!(orders(s.told()), Vec::<String>::new());
    assert!(matches!(s.state("d"), Now::Exited { restart_at: None, .. }));
    assert!(s.machine.container("a").unwrap().is_running(), "its end is nobody else's");
}

#[test]
fn a_pod_that_does_not_get_past_its_init_container_can_be_debugged() {
    let init = || want("i", Kind::Init, RestartPolicy::OnFailure);
    let main = || want("a", Kind::Main, RestartPolicy::Always);
    let mut s = Story::new(vec![init(), main()]);
    s.happens(1, Event::Looked);
    assert_eq!(orders(s.told()).last().unwrap(), "start i0");
    s.happens(2, Event::Planned(Box::new(plan(vec![init(), main(), debugger("d")]))));
    assert_eq!(orders(s.told()), ["image d", "start d0"]);
}
