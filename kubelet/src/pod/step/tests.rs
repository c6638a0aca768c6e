//! Stories of one pod: what happens, and what the machine orders.

use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::pod::plan::{RestartPolicy, Want};

const START: i64 = 1_800_000_000;

fn at(secs: u64) -> Timestamp {
    later(Timestamp::from_second(START).unwrap(), Duration::from_secs(secs))
}

fn want(name: &str, kind: Kind, restart: RestartPolicy) -> Want {
    Want {
        name: name.into(),
        kind,
        image: "img".into(),
        restart,
        restart_rules: vec![],
        startup_probe: false,
        readiness_probe: false,
        startup_grace: None,
        liveness_grace: None,
        pre_stop: false,
        post_start: false,
    }
}

fn plan(containers: Vec<Want>) -> Plan {
    Plan {
        full_name: "web_default(u)".into(),
        restart: RestartPolicy::Always,
        grace: Duration::from_secs(30),
        active_deadline: None,
        containers,
    }
}

/// A machine and a world that does at once whatever is ordered, but for what the story does itself.
struct Story {
    machine: Machine,
    /// Orders, in short, since they were last read.
    log: Vec<String>,
    /// Orders that the world leaves undone.
    undone: Vec<&'static str>,
}

impl Story {
    fn new(containers: Vec<Want>) -> Self {
        Self { machine: Machine::new(plan(containers), at(0)), log: vec![], undone: vec![] }
    }
    fn happens(&mut self, secs: u64, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for order in self.machine.on(event, at(secs)) {
                self.log.push(short(&order));
                if !self.undone.iter().any(|u| short(&order).starts_with(u)) {
                    events.splice(0..0, answers(&order, secs));
                }
            }
        }
    }
    fn exit(&mut self, secs: u64, id: &str, code: i32) {
        let ended = Ended {
            id: id.into(),
            exit_code: code,
            reason: if code == 0 { "Completed" } else { "Error" }.into(),
            message: String::new(),
            started_at: Some(at(secs.saturating_sub(1))),
            finished_at: Some(at(secs)),
        };
        self.happens(secs, Event::Exited { id: id.into(), ended });
    }
    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
    fn state(&self, name: &str) -> &Now {
        &self.machine.container(name).unwrap().now
    }
}

/// What a world that works says to an order.
fn answers(order: &Order, secs: u64) -> Vec<Event> {
    match order.clone() {
        Order::Prepare => vec![Event::Prepared],
        Order::MakeSandbox { attempt } => {
            vec![Event::SandboxUp(SandboxUp {
                id: format!("s{attempt}"),
                addresses: vec![],
                network: crate::runtime::Network::Host,
            })]
        }
        Order::EnsureImage { container } => vec![Event::ImageReady {
            container,
            image: "img".into(),
            image_id: "img@sha".into(),
            message: "present".into(),
        }],
        Order::Start { container, attempt } => {
            let id = format!("{container}{attempt}");
            // Popped from the end: the first to happen stands last.
            vec![
                Event::Started { container: container.clone(), id: id.clone(), at: at(secs) },
                Event::Created { container, id },
            ]
        }
        Order::PreStop { container, id, .. } => vec![Event::PreStopDone { container, id, failure: None }],
        Order::Quiet => vec![Event::Quieted],
        Order::Clear => vec![Event::Cleared],
        Order::Terminate { .. } | Order::Kill { .. } | Order::Finalize | Order::Tell(_) => vec![],
    }
}

fn short(order: &Order) -> String {
    match order {
        Order::Prepare => "prepare".into(),
        Order::MakeSandbox { attempt } => format!("sandbox {attempt}"),
        Order::EnsureImage { container } => format!("image {container}"),
        Order::Start { container, attempt } => format!("start {container}{attempt}"),
        Order::PreStop { container, .. } => format!("prestop {container}"),
        Order::Terminate { id, .. } => format!("term {id}"),
        Order::Kill { id } => format!("kill {id}"),
        Order::Quiet => "quiet".into(),
        Order::Clear => "clear".into(),
        Order::Finalize => "finalize".into(),
        Order::Tell(tell) => tell.reason.to_string(),
    }
}

fn orders(log: Vec<String>) -> Vec<String> {
    log.into_iter().filter(|l| l.chars().next().is_some_and(char::is_lowercase)).collect()
}

#[test]
fn a_pod_is_set_up_while_its_image_is_pulled() {
    let mut s = Story::new(vec![want("a", Kind::Main, RestartPolicy::Always)]);
    s.happens(0, Event::Looked);
    assert_eq!(s.told(), ["prepare", "image a", "sandbox 0", "Pulled", "start a0", "Created", "Started"]);
    assert!(matches!(s.state("a"), Now::Running { .. }));
}

#[test]
fn init_containers_run_one_after_the_other_before_the_main_one() {
    let mut s = Story::new(vec![
        want("i", Kind::Init, RestartPolicy::OnFailure),
        want("side", Kind::Sidecar, RestartPolicy::Always),
        want("a", Kind::Main, RestartPolicy::Always),
    ]);
    s.happens(0, Event::Looked);
    assert_eq!(orders(s.told()), ["prepare", "image i", "sandbox 0", "start i0"]);
    s.exit(1, "i0", 1);
    assert_eq!(orders(s.told()), ["image i", "start i1"], "the first restart is at once");
    s.exit(2, "i1", 0);
    assert_eq!(orders(s.told()), ["image side", "start side0", "image a", "start a0"]);
}

#[test]
fn a_failed_init_container_that_may_not_restart_ends_the_pod() {
    let mut s =
        Story::new(vec![want("i", Kind::Init, RestartPolicy::Never), want("a", Kind::Main, RestartPolicy::Never)]);
    s.happens(0, Event::Looked);
    s.exit(1, "i0", 7);
    assert_eq!(s.machine.stage, Stage::Stopped);
    assert_eq!(s.state("a"), &Now::Idle { retry_at: None });
}

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

/// What the API was told, and what the runtime holds, of a pod whose init container was done and whose main one ran.
fn recovered(sandbox_is_up: bool, restart: RestartPolicy, main: FoundState) -> Machine {
    let found = |name: &str, state| FoundContainer {
        id: format!("{name}0"),
        name: name.into(),
        attempt: 0,
        image: "img".into(),
        image_id: String::new(),
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
        ("a restart of the kubelet", true, always, runs(), vec!["prepare"]),
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
fn an_exit_seen_before_the_start_was_answered_counts() {
    let mut s = Story::new(vec![want("a", Kind::Main, RestartPolicy::Never)]);
    s.undone = vec!["start"];
    s.happens(0, Event::Looked);
    s.happens(1, Event::Created { container: "a".into(), id: "a0".into() });
    s.exit(1, "a0", 0);
    s.happens(1, Event::Started { container: "a".into(), id: "a0".into(), at: at(1) });
    assert_eq!(s.machine.stage, Stage::Stopped);
    assert!(s.told().contains(&"Started".to_owned()));
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
fn a_failed_start_does_not_use_up_the_number_of_a_container_that_was_never_made() {
    let mut s = Story::new(vec![want("a", Kind::Main, RestartPolicy::Always)]);
    s.undone = vec!["start"];
    s.happens(0, Event::Looked);
    let failed =
        Event::CreateFailed { container: "a".into(), reason: "CreateContainerConfigError", message: "m".into() };
    s.happens(1, failed);
    s.told();
    s.happens(10, Event::Looked);
    assert_eq!(orders(s.told()), ["image a", "start a0"]);
}

fn with_image(image: &str) -> Event {
    let mut changed = plan(vec![want("a", Kind::Main, RestartPolicy::Always)]);
    changed.containers[0].image = image.into();
    Event::Planned(Box::new(changed))
}

#[test]
fn an_image_that_was_changed_while_it_was_pulled_is_not_used() {
    let mut s = Story::new(vec![want("a", Kind::Main, RestartPolicy::Always)]);
    s.undone = vec!["image"];
    s.happens(0, Event::Looked);
    s.happens(1, with_image("img2"));
    s.told();
    let ready = Event::ImageReady {
        container: "a".into(),
        image: "img".into(),
        image_id: "img@sha".into(),
        message: "present".into(),
    };
    s.happens(2, ready.clone());
    assert_eq!(s.told(), ["image a"], "the answer was about the old one");
    s.happens(3, ready);
    assert_eq!(orders(s.told()), ["start a0"]);
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

mod crashes;
mod turns;
