//! What users see of a pod in each state.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, PodCondition, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::*;
use crate::pod::plan::Plan;

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn pod(init: bool) -> Pod {
    let container = |name: &str| Container { name: name.into(), image: Some("img".into()), ..Default::default() };
    Pod {
        metadata: ObjectMeta { name: Some("web".into()), generation: Some(3), ..Default::default() },
        spec: Some(PodSpec {
            containers: vec![container("a"), container("b")],
            init_containers: init.then(|| vec![container("i")]),
            ..Default::default()
        }),
        status: None,
    }
}

fn up() -> Event {
    Event::SandboxUp(SandboxUp {
        id: "s".into(),
        addresses: vec!["10.244.1.2".parse().unwrap()],
        network: crate::runtime::Network::Host,
    })
}

/// A machine to which all this happened.
fn after(pod: &Pod, events: Vec<Event>) -> Machine {
    let mut machine = Machine::new(Plan::of(pod), now());
    machine.on(Event::Looked, now());
    for event in events {
        machine.on(event, now());
    }
    machine
}

fn runs(name: &str) -> Vec<Event> {
    let ready = Event::ImageReady {
        container: name.into(),
        image: "docker.io/library/img:latest".into(),
        image_id: "img@sha256:1".into(),
        message: String::new(),
    };
    let created = Event::Created { container: name.into(), id: format!("{name}0") };
    vec![ready, created, Event::Started { container: name.into(), id: format!("{name}0"), at: now() }]
}

fn condition(status: &PodStatus, kind: &str) -> PodCondition {
    corten_api::conditions::find(status.conditions.as_ref(), kind).unwrap().clone()
}

#[test]
fn a_new_pod_is_pending() {
    for (init, reason) in [(false, "ContainerCreating"), (true, "PodInitializing")] {
        let pod = pod(init);
        let status = status_of(&after(&pod, vec![]), &pod, &["10.0.0.1".parse().unwrap()], now());
        assert_eq!(status.phase.as_deref(), Some("Pending"));
        assert_eq!(status.host_ip.as_deref(), Some("10.0.0.1"));
        assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
        assert_eq!(status.observed_generation, Some(3));
        let first = &status.container_statuses.as_ref().unwrap()[0];
        let waiting = first.state.as_ref().unwrap().waiting.as_ref().unwrap();
        assert_eq!(waiting.reason.as_deref(), Some(reason));
        assert_eq!((first.ready, first.started, first.restart_count), (false, Some(false), 0));
        let ready = condition(&status, "Ready");
        assert_eq!((ready.status.as_str(), ready.reason.as_deref()), ("False", Some("ContainersNotReady")));
        assert_eq!(ready.message.as_deref(), Some("containers with unready status: [a b]"));
        assert_eq!(condition(&status, "Initialized").status, if init { "False" } else { "True" });
        assert_eq!(condition(&status, "PodReadyToStartContainers").status, "False");
    }
}

#[test]
fn one_of_two_running_is_still_pending_and_both_are_running() {
    let pod = pod(false);
    let mut events = vec![Event::Prepared, up()];
    events.extend(runs("a"));
    let status = status_of(&after(&pod, events.clone()), &pod, &[], now());
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    assert_eq!(condition(&status, "Ready").message.as_deref(), Some("containers with unready status: [b]"));
    events.extend(runs("b"));
    let status = status_of(&after(&pod, events), &pod, &[], now());
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.244.1.2"));
    for kind in ["Ready", "ContainersReady", "Initialized", "PodReadyToStartContainers", "PodScheduled"] {
        assert_eq!(condition(&status, kind).status, "True", "{kind}");
    }
    let first = &status.container_statuses.unwrap()[0];
    assert_eq!(first.container_id.as_deref(), Some("containerd://a0"));
    assert_eq!((first.image.as_str(), first.image_id.as_str()), ("docker.io/library/img:latest", "img@sha256:1"));
}

#[test]
fn a_final_phase_never_changes_and_the_address_stays() {
    let mut pod = pod(false);
    let mut events = vec![Event::Prepared, up()];
    events.extend(runs("a").into_iter().chain(runs("b")));
    let machine = after(&pod, events);
    let running = status_of(&machine, &pod, &[], now());
    pod.status = Some(PodStatus { phase: Some("Succeeded".into()), ..running });
    let status = status_of(&machine, &pod, &[], now());
    assert_eq!(status.phase.as_deref(), Some("Succeeded"));
    assert_eq!(condition(&status, "Ready").reason.as_deref(), Some("PodCompleted"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.244.1.2"));
}

#[test]
fn an_oom_kill_is_seen_in_last_state_while_the_next_try_waits() {
    let pod = pod(false);
    let mut events = vec![Event::Prepared, up()];
    events.extend(runs("a").into_iter().chain(runs("b")));
    let mut machine = after(&pod, events);
    let ended = |id: &str| Ended {
        id: id.into(),
        exit_code: 137,
        reason: "OOMKilled".into(),
        message: "last words".into(),
        started_at: Some(now()),
        finished_at: Some(now()),
    };
    machine.on(Event::Exited { id: "a0".into(), ended: ended("a0") }, now());
    // Its first restart is at once, the second waits.
    let again = Event::ImageReady {
        container: "a".into(),
        image: "img".into(),
        image_id: String::new(),
        message: String::new(),
    };
    machine.on(again, now());
    machine.on(Event::Created { container: "a".into(), id: "a1".into() }, now());
    machine.on(Event::Started { container: "a".into(), id: "a1".into(), at: now() }, now());
    machine.on(Event::Exited { id: "a1".into(), ended: ended("a1") }, now() + Duration::from_secs(1));
    let status = status_of(&machine, &pod, &[], now());
    assert_eq!(status.phase.as_deref(), Some("Running"));
    let first = &status.container_statuses.unwrap()[0];
    assert_eq!(first.restart_count, 1);
    let waiting = first.state.as_ref().unwrap().waiting.as_ref().unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("CrashLoopBackOff"));
    let last = first.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((last.reason.as_deref(), last.message.as_deref()), (Some("OOMKilled"), Some("last words")));
}

#[test]
fn a_rejected_pod_has_failed_and_says_why() {
    let mut pod = pod(false);
    let status = rejected(&pod, "OutOfcpu", "no cpu is left", now());
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("OutOfcpu")));
    assert_eq!(status.message.as_deref(), Some("Pod was rejected: no cpu is left"));
    assert_eq!((status.qos_class.as_deref(), status.observed_generation), (Some("BestEffort"), Some(3)));
    assert_eq!(status.start_time, Some(Time(now())));
    let before = Time(now() - Duration::from_secs(9));
    pod.status = Some(PodStatus { start_time: Some(before.clone()), ..PodStatus::default() });
    assert_eq!(rejected(&pod, "r", "m", now()).start_time, Some(before), "it began when it was said to have begun");
}

#[test]
fn a_pod_without_addresses_lists_none_and_one_that_is_evicted_says_why() {
    let pod = pod(true);
    let mut machine = after(&pod, vec![]);
    let status = status_of(&machine, &pod, &[], now());
    assert_eq!((status.host_ips, status.pod_ips, status.reason, status.message), (None, None, None, None));
    assert_eq!(status.start_time, Some(Time(now())));
    let names = |list: Option<Vec<ContainerStatus>>| list.map(|l| l.into_iter().map(|s| s.name).collect::<Vec<_>>());
    assert_eq!(names(status.init_container_statuses), Some(vec!["i".to_owned()]));
    assert_eq!(names(status.container_statuses), Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(names(status.ephemeral_container_statuses), None);
    machine.on(up(), now());
    let fate = Fate { reason: "Evicted".into(), message: "the disk is full".into() };
    machine.on(Event::Evicted { fate, grace: Duration::from_secs(30) }, now());
    let status = status_of(&machine, &pod, &["10.0.0.1".parse().unwrap()], now());
    assert_eq!((status.reason.as_deref(), status.message.as_deref()), (Some("Evicted"), Some("the disk is full")));
    assert_eq!(status.host_ips.unwrap().len(), 1);
    assert_eq!(status.pod_ips.unwrap()[0].ip, "10.244.1.2");
}

/// What `kubectl get pod` shows of one container through its life.
#[test]
fn a_container_is_ready_and_started_only_while_it_runs() {
    let pod = pod(false);
    let mut machine = after(&pod, vec![Event::Prepared, up()]);
    let first = |machine: &Machine| status_of(machine, &pod, &[], now()).container_statuses.unwrap().remove(0);
    let waiting = first(&machine);
    assert_eq!((waiting.ready, waiting.container_id), (false, None));
    let why = waiting.state.unwrap().waiting.unwrap();
    assert_eq!((why.reason.as_deref(), why.message), (Some("ContainerCreating"), None), "without init containers");
    for event in runs("a") {
        machine.on(event, now());
    }
    let running = first(&machine);
    assert_eq!((running.ready, running.started), (true, Some(true)));
    assert_eq!(running.state.unwrap().running.unwrap().started_at, Some(Time(now())));
    machine.containers[0].ready = false;
    assert!(!first(&machine).ready, "its probe says no");
    machine.containers[0].ready = true;
    machine.containers[0].started = false;
    assert_eq!(first(&machine).started, Some(false));
    let ended = Ended {
        id: "a0".into(),
        exit_code: 1,
        reason: "Error".into(),
        message: String::new(),
        started_at: Some(now()),
        finished_at: Some(now()),
    };
    machine.containers[0].now = Now::Exited { ended, restart_at: None };
    let over = first(&machine);
    assert_eq!((over.ready, over.started), (false, Some(false)));
    let over = over.state.unwrap().terminated.unwrap();
    assert_eq!((over.exit_code, over.message), (1, None));
    assert_eq!(over.container_id.as_deref(), Some("containerd://a0"));
}

/// A restart that goes wrong at first. Whoever looks in between sees one process after the other, each with its own number.
#[test]
fn a_restart_is_seen_once_the_new_process_runs_and_nothing_goes_back_to_an_older_one() {
    let pod = pod(false);
    let mut events = vec![Event::Prepared, up()];
    events.extend(runs("a").into_iter().chain(runs("b")));
    let mut machine = after(&pod, events);
    let ended = |id: &str| Ended {
        id: id.into(),
        exit_code: 1,
        reason: "Error".into(),
        message: String::new(),
        started_at: Some(now()),
        finished_at: Some(now()),
    };
    let ready = || runs("a").remove(0);
    let failed = || Event::CreateFailed { container: "a".into(), reason: "CreateContainerError", message: "no".into() };
    let created = |id: &str| Event::Created { container: "a".into(), id: id.into() };
    let started = |id: &str| Event::Started { container: "a".into(), id: id.into(), at: now() };
    let exited = |id: &str| Event::Exited { id: id.into(), ended: ended(id) };
    let id = |t: &ContainerStateTerminated| t.container_id.clone().unwrap().replace("containerd://", "");
    // What happens, and then: the state, the container's id and its number, `lastState`, and whose logs there are to read.
    for (event, expected) in [
        (Event::Looked, ("running", "a0", 0, None, (Some(0), None))),
        (exited("a0"), ("ended a0", "a0", 0, None, (Some(0), None))),
        (ready(), ("ended a0", "a0", 0, None, (Some(0), None))),
        (failed(), ("CreateContainerError", "a0", 0, Some("a0"), (Some(0), Some(0)))),
        (Event::Looked, ("CreateContainerError", "a0", 0, Some("a0"), (Some(0), Some(0)))),
        (ready(), ("CreateContainerError", "a0", 0, Some("a0"), (Some(0), Some(0)))),
        (created("a1"), ("CreateContainerError", "a0", 0, Some("a0"), (Some(0), Some(0)))),
        (started("a1"), ("running", "a1", 1, Some("a0"), (Some(1), Some(0)))),
        (exited("a1"), ("CrashLoopBackOff", "a1", 1, Some("a1"), (Some(1), Some(1)))),
        (Event::Looked, ("CrashLoopBackOff", "a1", 1, Some("a1"), (Some(1), Some(1)))),
        (ready(), ("CrashLoopBackOff", "a1", 1, Some("a1"), (Some(1), Some(1)))),
        (created("a2"), ("CrashLoopBackOff", "a1", 1, Some("a1"), (Some(1), Some(1)))),
        (started("a2"), ("running", "a2", 2, Some("a1"), (Some(2), Some(1)))),
    ] {
        let why = format!("{event:?}");
        // A look comes when what waits may be tried again.
        let wait = Duration::from_secs(if event == Event::Looked { 600 } else { 0 });
        machine.on(event, now() + wait);
        let c = &machine.containers[0];
        let status = container_status(c, &machine, false, None);
        let state = status.state.unwrap();
        let shown = match (&state.running, &state.terminated) {
            (Some(_), _) => "running".to_owned(),
            (_, Some(end)) => format!("ended {}", id(end)),
            _ => state.waiting.unwrap().reason.unwrap(),
        };
        let last = status.last_state.and_then(|s| s.terminated).map(|end| id(&end));
        let has = status.container_id.unwrap().replace("containerd://", "");
        let got = (&*shown, &*has, status.restart_count, last.as_deref(), attempts(c, &machine));
        assert_eq!(got, expected, "{why}");
    }
}

#[test]
fn of_a_container_that_never_ran_there_is_nothing_to_read() {
    let pod = pod(false);
    let mut machine = after(&pod, vec![Event::Prepared, up()]);
    for event in runs("a").into_iter().take(2) {
        machine.on(event, now());
        assert_eq!(attempts(&machine.containers[0], &machine), (None, None), "it is being made");
    }
}
