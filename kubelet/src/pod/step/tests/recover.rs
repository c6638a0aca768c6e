//! What a kubelet that has just started makes of a pod that it finds.

use k8s_openapi::api::core::v1::PodStatus;
use serde_json::{Value, json};

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

/// What the API was told of a container's present process and the one before, and what the runtime holds: which of them it is
/// that counts, and how the one before ended.
#[test]
fn a_recovered_container_is_the_newest_that_anybody_knows_of() {
    let ended = |id: &str, message: &str| Ended {
        id: id.into(),
        exit_code: 1,
        reason: "Error".into(),
        message: message.into(),
        started_at: Some(at(1)),
        finished_at: Some(at(2)),
    };
    let found = |attempt: u32, runs: bool| FoundContainer {
        id: format!("a{attempt}"),
        name: "a".into(),
        attempt,
        image: "img".into(),
        image_id: String::new(),
        size: None,
        stop_signal: 15,
        state: match runs {
            true => FoundState::Running { since: at(3) },
            false => FoundState::Exited(ended(&format!("a{attempt}"), "")),
        },
    };
    let end = |id: u32| json!({"terminated": {"exitCode": 1, "containerID": format!("containerd://a{id}"), "message": "told"}});
    let runs = || json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
    let told = |count: u32, state: Value, last: Value| {
        let id = format!("containerd://a{count}");
        let status = json!({"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": count, "containerID": id,
            "state": state, "lastState": last});
        serde_json::from_value(json!({"containerStatuses": [status]})).unwrap()
    };
    let cases: [(_, PodStatus, _, _); 6] = [
        (
            "as it was told",
            told(1, runs(), end(0)),
            vec![found(0, false), found(1, true)],
            ("a1", 1, Some(("a0", "told"))),
        ),
        (
            "restarted meanwhile",
            told(1, end(1), end(0)),
            vec![found(1, false), found(2, true)],
            ("a2", 2, Some(("a1", "told"))),
        ),
        ("and the one before is gone", told(1, end(1), end(0)), vec![found(2, true)], ("a2", 2, Some(("a1", "told")))),
        (
            "restarted twice",
            told(0, end(0), json!({})),
            vec![found(1, false), found(2, true)],
            ("a2", 2, Some(("a1", ""))),
        ),
        ("the newest is lost", told(1, runs(), end(0)), vec![found(0, false)], ("a1", 1, Some(("a0", "told")))),
        ("it has ended and is lost", told(1, end(1), end(0)), vec![found(0, false)], ("a1", 1, Some(("a0", "told")))),
    ];
    for (why, reported, containers, expected) in cases {
        let pod = FoundPod { sandbox: None, sandboxes: 1, containers };
        let plan = plan(vec![want("a", Kind::Main, RestartPolicy::Never)]);
        let machine = Machine::recover(plan, &pod, Some(&reported), at(100));
        let c = machine.container("a").unwrap();
        let id = c.running_id().map(str::to_owned).or_else(|| c.ended().map(|e| e.id.clone())).unwrap();
        let last = c.last.as_ref().map(|e| (&*e.id, &*e.message));
        assert_eq!((&*id, c.restarts, last), expected, "{why}");
    }
}
