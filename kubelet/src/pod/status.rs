//! The pod's status as the API shows it, worked out from the state machine. Pure.

pub mod resources;

use std::net::IpAddr;

use corten_api::pod::Qos;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, HostIP,
    Pod, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions;
use super::model::*;
use super::phase::{Phase, phase};
use super::plan::Kind;
use super::step::Machine;

/// Longest termination message kept, in bytes; upstream's limit for one container.
pub const TERMINATION_MESSAGE_MAX_BYTES: usize = 4096;

/// The status to report now. `pod` is the newest object from the API: what others wrote into its status is kept.
pub fn status_of(machine: &Machine, pod: &Pod, node_addresses: &[IpAddr], now: Timestamp) -> PodStatus {
    let old = pod.status.clone().unwrap_or_default();
    let pending_init = !machine.initialized;
    let of_kind = |kinds: &[Kind], old: Option<&Vec<ContainerStatus>>| -> Option<Vec<ContainerStatus>> {
        let chosen = machine.containers.iter().filter(|c| kinds.contains(&c.want.kind));
        let list: Vec<_> = chosen.map(|c| container_status(c, machine, pending_init, old)).collect();
        (!list.is_empty()).then_some(list)
    };
    let phase = phase(machine, old.phase.as_deref());
    let addresses = machine.sandbox.done().map(|up| up.addresses.clone()).unwrap_or_default();
    let pod_ips: Vec<PodIP> = addresses.iter().map(|ip| PodIP { ip: ip.to_string() }).collect();
    // A pod that is over keeps the addresses it had.
    let pod_ips =
        if pod_ips.is_empty() && machine.is_over() { old.pod_ips.clone().unwrap_or_default() } else { pod_ips };
    let host_ips: Vec<HostIP> = node_addresses.iter().map(|ip| HostIP { ip: ip.to_string() }).collect();
    let mut status = PodStatus {
        phase: Some(phase.as_str().into()),
        reason: machine.fate.as_ref().map(|f| f.reason.clone()),
        message: machine.fate.as_ref().map(|f| f.message.clone()),
        host_ip: host_ips.first().map(|h| h.ip.clone()),
        host_ips: (!host_ips.is_empty()).then_some(host_ips),
        pod_ip: pod_ips.first().map(|p| p.ip.clone()),
        pod_ips: (!pod_ips.is_empty()).then_some(pod_ips),
        start_time: Some(old.start_time.clone().unwrap_or_else(|| whole_second(machine.started_at))),
        qos_class: pod.spec.as_ref().map(|s| Qos::of(s).as_str().into()),
        init_container_statuses: of_kind(&[Kind::Init, Kind::Sidecar], old.init_container_statuses.as_ref()),
        container_statuses: of_kind(&[Kind::Main], old.container_statuses.as_ref()),
        ephemeral_container_statuses: of_kind(&[Kind::Ephemeral], old.ephemeral_container_statuses.as_ref()),
        observed_generation: pod.metadata.generation,
        ..old
    };
    status.conditions = Some(conditions::of(machine, pod, phase, &whole_second(now)));
    status
}

/// The status of a pod that this node does not take.
pub fn rejected(pod: &Pod, reason: &str, message: &str, now: Timestamp) -> PodStatus {
    let old = pod.status.clone().unwrap_or_default();
    PodStatus {
        phase: Some(Phase::Failed.as_str().into()),
        reason: Some(reason.into()),
        message: Some(format!("Pod was rejected: {message}")),
        start_time: Some(old.start_time.clone().unwrap_or_else(|| whole_second(now))),
        qos_class: pod.spec.as_ref().map(|s| Qos::of(s).as_str().into()),
        observed_generation: pod.metadata.generation,
        ..old
    }
}

/// API times are whole seconds.
pub fn whole_second(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

fn container_status(
    c: &Ctr,
    machine: &Machine,
    pending_init: bool,
    old: Option<&Vec<ContainerStatus>>,
) -> ContainerStatus {
    let (state, last) = states(c, machine, pending_init);
    let newest_id = match &c.now {
        Now::Running { id, .. } => id.clone(),
        _ => c.ended().map(|e| e.id.clone()).unwrap_or_default(),
    };
    let running = c.is_running();
    let ready = match c.want.kind {
        Kind::Init => matches!(&c.now, Now::Exited { ended, .. } if ended.exit_code == 0),
        Kind::Sidecar | Kind::Main => running && c.ready,
        Kind::Ephemeral => false,
    };
    let old = old.and_then(|list| list.iter().find(|s| s.name == c.want.name)).cloned();
    let old = old.unwrap_or_default();
    ContainerStatus {
        name: c.want.name.clone(),
        state: Some(state),
        // The server keeps no empty one, and what it keeps is compared with this.
        last_state: (last != ContainerState::default()).then_some(last),
        ready,
        restart_count: i32::try_from(c.attempt_shown().unwrap_or(0)).unwrap_or(i32::MAX),
        image: c.image_name.clone(),
        image_id: c.image_id.clone(),
        container_id: (!newest_id.is_empty()).then(|| format!("containerd://{newest_id}")),
        started: Some(running && c.started),
        ..old
    }
}

/// The numbers of the processes that `state` and `lastState` are about. One that waits has only the latter, and its log is what
/// there is to read.
pub fn attempts(c: &Ctr, machine: &Machine) -> (Option<u32>, Option<u32>) {
    let newest = c.attempt_shown();
    let is_waiting = states(c, machine, false).0.waiting.is_some();
    (newest, if is_waiting { newest } else { newest.and_then(|attempt| attempt.checked_sub(1)) })
}

/// `state` and `lastState`.
fn states(c: &Ctr, machine: &Machine, pending_init: bool) -> (ContainerState, ContainerState) {
    let last = c.last.as_ref().map(terminated).unwrap_or_default();
    match &c.now {
        Now::Running { started_at, .. } => {
            let running = ContainerStateRunning { started_at: Some(whole_second(*started_at)) };
            (ContainerState { running: Some(running), ..Default::default() }, last)
        }
        Now::Exited { ended, restart_at: Some(_) } if c.why.is_some() && machine.stage == Stage::Live => {
            (waiting(c.why.as_ref(), "CrashLoopBackOff"), terminated(ended))
        }
        Now::Exited { ended, .. } => (terminated(ended), last),
        Now::Idle { .. } | Now::Pulling | Now::ImageReady | Now::Starting { .. } => {
            // A container that is about to run again still shows how it ended, unless something new keeps it.
            if let (Some(ended), None) = (&c.last, &c.why)
                && c.made_before
                && c.want.kind != Kind::Ephemeral
            {
                return (terminated(ended), c.earlier.as_ref().map(terminated).unwrap_or_default());
            }
            let has_init = machine.containers.iter().any(|c| matches!(c.want.kind, Kind::Init | Kind::Sidecar));
            let default = if has_init && pending_init { "PodInitializing" } else { "ContainerCreating" };
            (waiting(c.why.as_ref(), default), last)
        }
    }
}

fn waiting(why: Option<&Why>, default: &str) -> ContainerState {
    let waiting = ContainerStateWaiting {
        reason: Some(why.map_or(default, |w| &w.reason).to_owned()),
        message: why.map(|w| w.message.clone()).filter(|m| !m.is_empty()),
    };
    ContainerState { waiting: Some(waiting), ..Default::default() }
}

fn terminated(ended: &Ended) -> ContainerState {
    let terminated = ContainerStateTerminated {
        exit_code: ended.exit_code,
        reason: Some(ended.reason.clone()),
        message: (!ended.message.is_empty()).then(|| ended.message.clone()),
        started_at: ended.started_at.map(whole_second),
        finished_at: ended.finished_at.map(whole_second),
        container_id: (!ended.id.is_empty()).then(|| format!("containerd://{}", ended.id)),
        signal: None,
    };
    ContainerState { terminated: Some(terminated), ..Default::default() }
}

#[cfg(test)]
mod tests;
