//! What `kubectl get pods` shows: above all the one word that says how the pod is.

use std::collections::HashSet;

use corten_api::{conditions, pod};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodSpec, PodStatus};

use crate::registry::{Cell, Column, cells};

pub const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Ready", "Ready containers of all that the pod has"),
    cells::text("Status", "How the pod is, in one word"),
    cells::text("Restarts", "How often containers were started again, and when last"),
    cells::AGE,
    cells::wide("IP", "The pod's address"),
    cells::wide("Node", "Where the pod runs"),
    cells::wide("Nominated Node", "Where the pod may run once others have made room"),
    cells::wide("Readiness Gates", "Conditions that hold, of those that the pod's readiness waits for"),
];

pub fn row(this: &Pod, now_secs: i64) -> Vec<Cell> {
    let (no_spec, no_status) = (PodSpec::default(), PodStatus::default());
    let (spec, status) = (this.spec.as_ref().unwrap_or(&no_spec), this.status.as_ref().unwrap_or(&no_status));
    let summary = Summary::of(this, spec, status);
    let restarts = match summary.restarts {
        Restarts { count, last_secs: Some(at) } if count != 0 => {
            format!("{count} ({} ago)", cells::human_duration(now_secs - at))
        }
        Restarts { count, .. } => count.to_string(),
    };
    vec![
        cells::name(&this.metadata),
        Cell::text(format!("{}/{}", summary.ready, summary.containers)),
        Cell::text(summary.reason),
        Cell::text(restarts),
        cells::age(&this.metadata, now_secs),
        Cell::text_or(status.pod_ip.as_deref(), cells::NONE),
        Cell::text_or(spec.node_name.as_deref(), cells::NONE),
        Cell::text_or(status.nominated_node_name.as_deref(), cells::NONE),
        Cell::text(readiness_gates(spec, status)),
    ]
}

fn readiness_gates(spec: &PodSpec, status: &PodStatus) -> String {
    let gates = spec.readiness_gates.as_deref().unwrap_or_default();
    let open = gates.iter().filter(|g| conditions::is_true(status.conditions.as_ref(), &g.condition_type)).count();
    if gates.is_empty() { cells::NONE.into() } else { format!("{open}/{}", gates.len()) }
}

#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i32,
    last_secs: Option<i64>,
}

impl Restarts {
    fn add(&mut self, container: &ContainerStatus) {
        self.count += container.restart_count;
        let last = container.last_state.as_ref().and_then(|s| s.terminated.as_ref());
        let at = last.and_then(|t| t.finished_at.as_ref()).map(|t| t.0.as_second());
        self.last_secs = self.last_secs.max(at);
    }
}

struct Summary {
    reason: String,
    ready: usize,
    containers: usize,
    restarts: Restarts,
}

impl Summary {
    fn of(this: &Pod, spec: &PodSpec, status: &PodStatus) -> Self {
        let gated = conditions::find(status.conditions.as_ref(), "PodScheduled")
            .is_some_and(|c| c.reason.as_deref() == Some("SchedulingGated"));
        let reason = match status.reason.as_deref() {
            _ if gated => "SchedulingGated",
            Some(reason) if !reason.is_empty() => reason,
            _ => status.phase.as_deref().unwrap_or_default(),
        };
        let sidecars = spec.init_containers.iter().flatten().filter(|c| pod::is_sidecar(c)).count();
        let mut summary = Self {
            reason: reason.to_owned(),
            ready: 0,
            containers: spec.containers.len() + sidecars,
            restarts: Restarts::default(),
        };
        let (initializing, sidecar_restarts) = summary.look_at_init_containers(spec, status);
        if !initializing || conditions::is_true(status.conditions.as_ref(), "Initialized") {
            // Restarts while the pod was set up no longer interest, those of what still runs do.
            summary.restarts = sidecar_restarts;
            summary.look_at_containers(status);
        }
        if this.metadata.deletion_timestamp.is_some() {
            if status.reason.as_deref() == Some("NodeLost") {
                summary.reason = "Unknown".into();
            } else if !pod::is_terminal(this) {
                summary.reason = "Terminating".into();
            }
        }
        summary
    }

    /// Stops at the first init container that is not through; true if there is one. And how often sidecars restarted.
    fn look_at_init_containers(&mut self, spec: &PodSpec, status: &PodStatus) -> (bool, Restarts) {
        let specs = spec.init_containers.as_deref().unwrap_or_default();
        let sidecars: HashSet<&str> = specs.iter().filter(|c| pod::is_sidecar(c)).map(|c| c.name.as_str()).collect();
        let mut sidecar_restarts = Restarts::default();
        let mut initializing = false;
        for (i, container) in status.init_container_statuses.iter().flatten().enumerate() {
            self.restarts.add(container);
            let sidecar = sidecars.contains(container.name.as_str());
            if sidecar {
                sidecar_restarts.add(container);
            }
            let state = container.state.as_ref();
            if state.and_then(|s| s.terminated.as_ref()).is_some_and(|t| t.exit_code == 0) {
                continue;
            }
            if sidecar && container.started == Some(true) {
                self.ready += usize::from(container.ready);
                continue;
            }
            let trouble = state.and_then(stopped_reason).filter(|r| r != "PodInitializing");
            self.reason = match trouble {
                Some(reason) => format!("Init:{reason}"),
                None => format!("Init:{i}/{}", specs.len()),
            };
            initializing = true;
            break;
        }
        (initializing, sidecar_restarts)
    }

    fn look_at_containers(&mut self, status: &PodStatus) {
        let mut running = false;
        for container in status.container_statuses.iter().flatten().rev() {
            self.restarts.add(container);
            let state = container.state.as_ref();
            if let Some(reason) = state.and_then(stopped_reason) {
                self.reason = reason;
            } else if container.ready && state.is_some_and(|s| s.running.is_some()) {
                running = true;
                self.ready += 1;
            }
        }
        // One container ended well while another still runs: the pod runs.
        if self.reason == "Completed" && running {
            let ready = conditions::is_true(status.conditions.as_ref(), "Ready");
            self.reason = if ready { "Running" } else { "NotReady" }.into();
        }
    }
}

/// Why a container does not run: `CrashLoopBackOff`, `Completed`, `ExitCode:3`, `Signal:9`.
fn stopped_reason(state: &ContainerState) -> Option<String> {
    let given = |reason: Option<&String>| reason.filter(|r| !r.is_empty()).cloned();
    if let Some(waiting) = &state.waiting {
        let reason = given(waiting.reason.as_ref());
        if reason.is_some() {
            return reason;
        }
    }
    let ended = state.terminated.as_ref()?;
    given(ended.reason.as_ref()).or_else(|| {
        Some(match ended.signal.filter(|s| *s != 0) {
            Some(signal) => format!("Signal:{signal}"),
            None => format!("ExitCode:{}", ended.exit_code),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing;

    /// `Ready|Status|Restarts` of a pod with two containers and this status.
    fn shown(status: &str) -> String {
        shown_pod(&format!(r#"{{"spec":{{"containers":[{{"name":"a"}},{{"name":"b"}}]}},"status":{status}}}"#))
    }
    fn shown_pod(json: &str) -> String {
        testing::row::<Pod>(json, 1000).split('|').skip(1).take(3).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn one_word_for_every_state() {
        let running = r#""ready":true,"restartCount":0,"image":"","imageID":"","state":{"running":{}}"#;
        let stopped = |state: &str| {
            format!(
                r#""ready":false,"restartCount":3,"image":"","imageID":"","state":{state},"lastState":{{"terminated":{{"exitCode":1,"finishedAt":"1970-01-01T00:14:30Z"}}}}"#
            )
        };
        let two = |a: &str, b: &str| {
            format!(r#"{{"phase":"Running","containerStatuses":[{{"name":"a",{a}}},{{"name":"b",{b}}}]}}"#)
        };
        let cases = [
            ("new", r#"{"phase":"Pending"}"#.into(), "0/2|Pending|0"),
            ("evicted", r#"{"phase":"Failed","reason":"Evicted"}"#.into(), "0/2|Evicted|0"),
            ("all run", two(running, running), "2/2|Running|0"),
            (
                "one crashes",
                two(running, &stopped(r#"{"waiting":{"reason":"CrashLoopBackOff"}}"#)),
                "1/2|CrashLoopBackOff|3 (2m10s ago)",
            ),
            (
                "no image",
                two(&stopped(r#"{"waiting":{"reason":"ErrImagePull"}}"#), running),
                "1/2|ErrImagePull|3 (2m10s ago)",
            ),
            (
                "exit code",
                two(running, &stopped(r#"{"terminated":{"exitCode":7}}"#)),
                "1/2|ExitCode:7|3 (2m10s ago)",
            ),
            (
                "one completed, one runs, not ready",
                two(running, &stopped(r#"{"terminated":{"exitCode":0,"reason":"Completed"}}"#)),
                "1/2|NotReady|3 (2m10s ago)",
            ),
            (
                "gated",
                r#"{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"SchedulingGated"}]}"#
                    .into(),
                "0/2|SchedulingGated|0",
            ),
        ];
        for (why, status, expected) in cases {
            assert_eq!(shown(&status), expected, "{why}");
        }
    }

    #[test]
    fn init_containers_and_deletion() {
        let pod = |init: &str, meta: &str| {
            format!(
                r#"{{"metadata":{{{meta}}},"spec":{{"containers":[{{"name":"a"}}],"initContainers":[{{"name":"i"}},{{"name":"j"}}]}},
                "status":{{"phase":"Pending","initContainerStatuses":[{init}]}}}}"#
            )
        };
        let init = |name: &str, state: &str| {
            format!(r#"{{"name":"{name}","ready":false,"restartCount":0,"image":"","imageID":"","state":{state}}}"#)
        };
        let done = init("i", r#"{"terminated":{"exitCode":0}}"#);
        let cases = [
            (pod(&init("i", r#"{"running":{}}"#), ""), "0/1|Init:0/2|0"),
            (
                pod(&format!("{done},{}", init("j", r#"{"waiting":{"reason":"PodInitializing"}}"#)), ""),
                "0/1|Init:1/2|0",
            ),
            (pod(&init("i", r#"{"terminated":{"exitCode":1,"reason":"Error"}}"#), ""), "0/1|Init:Error|0"),
            (pod(&init("i", r#"{"waiting":{"reason":"ImagePullBackOff"}}"#), ""), "0/1|Init:ImagePullBackOff|0"),
            (pod(&done, r#""deletionTimestamp":"1970-01-01T00:00:00Z""#), "0/1|Terminating|0"),
        ];
        for (json, expected) in cases {
            assert_eq!(shown_pod(&json), expected, "{json}");
        }
    }

    #[test]
    fn wide_columns() {
        let json = r#"{"metadata":{"name":"p"},"spec":{"containers":[],"nodeName":"n1","readinessGates":[{"conditionType":"x"}]},
            "status":{"podIP":"10.0.0.1"}}"#;
        assert_eq!(testing::row::<Pod>(json, 0), "p|0/0||0|<unknown>|10.0.0.1|n1|<none>|0/1");
    }
}
