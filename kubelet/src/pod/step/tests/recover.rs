//! What a kubelet that has just started makes of a pod that it finds.

use super::*;

/// What the API was told, and what the runtime holds, of a pod whose init container was done and whose main one ran.
fn recovered(sandbox_is_up: bool, restart: RestartPolicy, main: FoundState) -> Machine {
    let found = |name: &str, state| FoundContainer {
        id: format!("{name}0"),
        name: name.into(),
        attempt: 0,
        image: "img".into(),
        image_id: String::new(),
        size: None,
        stop_signal: 15,
        state,
    };
    let done = Ended {
        id: "i0".into(),
        exit_code: 0,
        reason: "Completed".into(),
        message: String::new(),
        started_at: Some(at(0)),
        finished_at: Some(at(1)),
    };
    let pod = FoundPod {
        sandbox: sandbox_is_up.then(|| SandboxUp {
            id: "s0".into(),
            addresses: vec![],
            network: crate::runtime::Network::Host,
        }),
        sandboxes: 1,
        containers: vec![found("i", FoundState::Exited(done)), found("a", main)],
    };
    let plan = plan(vec![want("i", Kind::Init, restart), want("a", Kind::Main, restart)]);
    Machine::recover(plan, &pod, None, at(100))
}

#[test]
fn init_containers_run_again_after_a_reboot_and_never_after_a_restart_of_the_kubelet() {
    let ended = |exit_code, reason: &str| {
        FoundState::Exited(Ended {
            id: "a0".into(),
            exit_code,
            reason: reason.into(),
            message: String::new(),
            started_at: Some(at(1)),
            finished_at: Some(at(50)),
        })
    };
    let cut_off = || ended(255, "Unknown");
    let runs = || FoundState::Running { since: at(1) };
    let always = RestartPolicy::Always;
    let again = vec!["prepare", "image i", "sandbox 1", "start i1"];
    let cases = [
        ("a restart of the kubelet", true, always, runs(), vec!["prepare", "resize pod 0"]),
        ("its main container ended meanwhile", true, always, cut_off(), vec!["prepare", "image a", "start a1"]),
        ("a reboot", false, always, cut_off(), again.clone()),
        ("a reboot, to be restarted on failure", false, RestartPolicy::OnFailure, cut_off(), again),
        ("a reboot of what may not restart", false, RestartPolicy::Never, cut_off(), vec!["quiet"]),
        ("it was done before", false, RestartPolicy::OnFailure, ended(0, "Completed"), vec!["quiet"]),
    ];
    for (why, sandbox_is_up, restart, main, expected) in cases {
        let mut s = Story { machine: recovered(sandbox_is_up, restart, main), log: vec![], undone: vec![] };
        s.happens(100, Event::Looked);
        assert_eq!(orders(s.told()), expected, "{why}");
        if expected.contains(&"start i1") {
            s.exit(101, "i1", 0);
            assert_eq!(orders(s.told()), ["image a", "start a1"], "{why}");
        } else {
            let init = s.machine.container("i").unwrap();
            assert_eq!((init.restarts, matches!(init.now, Now::Exited { .. })), (0, true), "{why}");
        }
    }
}

#[test]
fn a_container_of_a_recovered_pod_waits_for_its_volumes() {
    let ended = Ended {
        id: "a0".into(),
        exit_code: 1,
        reason: "Error".into(),
        message: String::new(),
        started_at: Some(at(1)),
        finished_at: Some(at(50)),
    };
    let machine = recovered(true, RestartPolicy::Always, FoundState::Exited(ended));
    let mut s = Story { machine, log: vec![], undone: vec!["prepare"] };
    s.happens(100, Event::Looked);
    assert_eq!(orders(s.told()), ["prepare", "image a"]);
    s.happens(101, Event::Prepared);
    assert_eq!(orders(s.told()), ["start a1"]);
}
