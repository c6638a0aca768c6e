//! The pod's conditions, in upstream's reasons and words. Pure.

use corten_api::conditions::{find, set};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::model::*;
use super::phase::Phase;
use super::plan::Kind;
use super::step::Machine;

/// A condition before it has times: whether it holds, and if not (or not quite), why.
struct Verdict {
    holds: bool,
    reason: &'static str,
    message: String,
}

const HOLDS: Verdict = Verdict { holds: true, reason: "", message: String::new() };

fn no(reason: &'static str, message: String) -> Verdict {
    Verdict { holds: false, reason, message }
}

/// All conditions: ours worked out anew, those of others as they are.
pub fn of(machine: &Machine, pod: &Pod, phase: Phase, now: &Time) -> Vec<PodCondition> {
    let mut list = pod.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    let containers_ready = containers_ready(machine, phase);
    let ready = ready(pod, &containers_ready);
    let verdicts = [
        ("PodReadyToStartContainers", ready_to_start(machine)),
        ("Initialized", initialized(machine, phase)),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
        ("PodScheduled", HOLDS),
    ];
    for (kind, verdict) in verdicts {
        let text = |s: &str| (!s.is_empty()).then(|| s.to_owned());
        let condition = PodCondition {
            type_: kind.into(),
            status: if verdict.holds { "True" } else { "False" }.into(),
            reason: text(verdict.reason),
            message: text(&verdict.message),
            observed_generation: pod.metadata.generation,
            ..Default::default()
        };
        set(&mut list, condition, now);
    }
    list
}

fn ready_to_start(machine: &Machine) -> Verdict {
    if machine.sandbox.done().is_some() && !machine.is_over() { HOLDS } else { no("", String::new()) }
}

fn initialized(machine: &Machine, phase: Phase) -> Verdict {
    if phase == Phase::Succeeded {
        return Verdict { holds: true, reason: "PodCompleted", message: String::new() };
    }
    let ran = machine.containers.iter().any(|c| c.want.kind == Kind::Main && c.made_before);
    if machine.initialized || ran {
        return HOLDS;
    }
    let incomplete = machine.containers.iter().filter(|c| match c.want.kind {
        Kind::Init => !matches!(&c.now, Now::Exited { ended, .. } if ended.exit_code == 0),
        Kind::Sidecar => !(c.is_running() && c.started),
        Kind::Main | Kind::Ephemeral => false,
    });
    no("ContainersNotInitialized", format!("containers with incomplete status: [{}]", names(incomplete)))
}

fn containers_ready(machine: &Machine, phase: Phase) -> Verdict {
    match phase {
        Phase::Succeeded => return no("PodCompleted", String::new()),
        Phase::Failed => return no("PodFailed", String::new()),
        Phase::Pending | Phase::Running => {}
    }
    let counted = machine.containers.iter().filter(|c| matches!(c.want.kind, Kind::Main | Kind::Sidecar));
    let unready: Vec<_> = counted.filter(|c| !(c.is_running() && c.ready)).collect();
    if unready.is_empty() {
        return HOLDS;
    }
    no("ContainersNotReady", format!("containers with unready status: [{}]", names(unready.into_iter())))
}

/// Ready is ContainersReady and every readiness gate.
fn ready(pod: &Pod, containers: &Verdict) -> Verdict {
    if !containers.holds {
        return no(containers.reason, containers.message.clone());
    }
    let list = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    let gates = pod.spec.iter().flat_map(|s| s.readiness_gates.iter().flatten());
    let shut: Vec<String> = gates
        .filter_map(|gate| match find(list, &gate.condition_type) {
            None => Some(format!(
                "corresponding condition of pod readiness gate \"{}\" does not exist.",
                gate.condition_type
            )),
            Some(c) if c.status != "True" => Some(format!(
                "the status of pod readiness gate \"{}\" is not \"True\", but {}",
                gate.condition_type, c.status
            )),
            Some(_) => None,
        })
        .collect();
    if shut.is_empty() { HOLDS } else { no("ReadinessGatesNotReady", shut.join(", ")) }
}

/// As Go prints a list of strings: `a b`.
fn names<'a>(list: impl Iterator<Item = &'a Ctr>) -> String {
    list.map(|c| c.want.name.as_str()).collect::<Vec<_>>().join(" ")
}
