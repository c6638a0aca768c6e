//! The machine of a pod that was here before this kubelet: what the runtime holds and what the API was told last.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, PodStatus};

use super::super::backoff::{CrashBackoff, between};
use super::super::model::*;
use super::super::plan::{Kind, Plan};
use super::super::size::Size;
use super::Machine;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundState {
    /// Made, never started: as good as nothing.
    Created,
    Running {
        since: Timestamp,
    },
    Exited(Ended),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundContainer {
    pub id: String,
    pub name: String,
    pub attempt: u32,
    /// The image as the spec named it, and its `imageID`.
    pub image: String,
    pub image_id: String,
    /// How large it runs; `None`: nobody noted it.
    pub size: Option<Size>,
    /// Number of the signal that asks it to end.
    pub stop_signal: u32,
    pub state: FoundState,
}

/// What the runtime holds of one pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundPod {
    /// The newest sandbox, if it runs.
    pub sandbox: Option<SandboxUp>,
    /// How many sandboxes there were: one more than the highest attempt.
    pub sandboxes: u32,
    pub containers: Vec<FoundContainer>,
}

impl Machine {
    /// Takes over what runs as it runs. `reported` is the status on the API; it knows what the runtime forgot.
    pub fn recover(plan: Plan, found: &FoundPod, reported: Option<&PodStatus>, now: Timestamp) -> Self {
        let mut machine = Self::new(plan, now);
        let statuses = statuses_by_name(reported);
        if let Some(start) = reported.and_then(|s| s.start_time.as_ref()) {
            machine.started_at = start.0;
        }
        machine.sandboxes = found.sandboxes;
        if let Some(up) = &found.sandbox {
            machine.sandbox = Setup::Done(up.clone());
        }
        for c in &mut machine.containers {
            let of_name = found.containers.iter().filter(|f| f.name == c.want.name);
            recover_container(c, of_name.collect(), statuses.get(c.want.name.as_str()).copied(), now);
        }
        let phase = reported.and_then(|s| s.phase.as_deref());
        let mut mains = machine.containers.iter().filter(|c| c.want.kind == Kind::Main);
        machine.initialized |= mains.any(|c| c.made_before && found.sandbox.is_some());
        let is_over = matches!(phase, Some("Succeeded" | "Failed")) || machine.is_finished();
        // After a reboot no sandbox is up; a restart of the kubelet leaves it as it was.
        if found.sandbox.is_none() && !is_over {
            machine.initialize_again();
        }
        if matches!(phase, Some("Succeeded" | "Failed")) {
            let text = |s: Option<&String>| s.cloned().unwrap_or_default();
            let reason = text(reported.and_then(|s| s.reason.as_ref()));
            if !reason.is_empty() {
                machine.fate = Some(Fate { reason, message: text(reported.and_then(|s| s.message.as_ref())) });
            }
            machine.begin_stopping(machine.plan.grace, now);
        }
        machine
    }
}

fn statuses_by_name(reported: Option<&PodStatus>) -> BTreeMap<&str, &ContainerStatus> {
    let Some(status) = reported else { return BTreeMap::new() };
    let lists = [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().map(|s| (s.name.as_str(), s)).collect()
}

fn recover_container(c: &mut Ctr, mut found: Vec<&FoundContainer>, reported: Option<&ContainerStatus>, now: Timestamp) {
    found.sort_by_key(|f| f.attempt);
    if let Some(status) = reported {
        c.restarts = attempt_of(status);
        c.last = status.last_state.as_ref().and_then(|s| s.terminated.as_ref()).map(ended_of);
        if !status.image_id.is_empty() {
            c.image_name.clone_from(&status.image);
            c.image_id.clone_from(&status.image_id);
        }
        c.made_before = status.container_id.is_some() || c.last.is_some();
    }
    let newest = found.iter().rev().find(|f| f.state != FoundState::Created);
    match newest.filter(|newest| !reported.is_some_and(|status| is_of_a_later_one(status, newest))) {
        Some(newest) => adopt(c, newest, &found, reported, now),
        None => remember(c, reported, now),
    }
    let ended_ago = c.ended().and_then(|ended| ended.finished_at).map(|at| between(at, now));
    c.crash = CrashBackoff::after(c.restarts, ended_ago);
}

fn adopt(
    c: &mut Ctr,
    newest: &FoundContainer,
    all: &[&FoundContainer],
    reported: Option<&ContainerStatus>,
    now: Timestamp,
) {
    c.made_before = true;
    c.restarts = c.restarts.max(newest.attempt);
    // A container of before we noted it: taken to be what the spec says.
    let image = if newest.image.is_empty() { &c.want.image } else { &newest.image };
    c.image_in_use.clone_from(image);
    c.size_in_use = newest.size.unwrap_or(c.want.size);
    if !newest.image_id.is_empty() {
        c.image_id.clone_from(&newest.image_id);
    }
    c.last = end_before(newest, all, reported);
    match &newest.state {
        FoundState::Running { since } => {
            c.now = Now::Running { id: newest.id.clone(), started_at: *since };
            let same = reported.and_then(|s| s.container_id.as_deref()).is_some_and(|id| id.ends_with(&newest.id));
            let was = |flag: bool| same && flag;
            c.hooked = true;
            c.started = !c.want.startup_probe || was(reported.is_some_and(|s| s.started == Some(true)));
            c.ready = c.started && (!c.want.readiness_probe || was(reported.is_some_and(|s| s.ready)));
        }
        FoundState::Exited(ended) => {
            // What the API was told of this end stands: who saw it knew its message, and its time.
            let told = reported.and_then(|s| terminated_of(s, &ended.id)).map(ended_of);
            let ended = told.unwrap_or_else(|| ended.clone());
            let restarts = c.want.restarts(ended.exit_code);
            c.now = Now::Exited { ended, restart_at: restarts.then_some(now) };
        }
        FoundState::Created => {}
    }
}

/// The API was told of a container that the runtime has lost, and that came after this one.
fn is_of_a_later_one(status: &ContainerStatus, found: &FoundContainer) -> bool {
    let id = status.container_id.as_deref().map(bare_id).unwrap_or_default();
    !id.is_empty() && id != found.id && attempt_of(status) > found.attempt
}

/// How the one before `newest` ended. What the API was told has the termination message; what the runtime holds may be newer.
fn end_before(newest: &FoundContainer, all: &[&FoundContainer], reported: Option<&ContainerStatus>) -> Option<Ended> {
    let found = all.iter().rev().filter(|f| f.attempt < newest.attempt).find_map(|f| match &f.state {
        FoundState::Exited(ended) => Some((f.attempt, ended.clone())),
        _ => None,
    });
    let told = reported.into_iter().flat_map(ends_told).find(|(attempt, _)| *attempt < newest.attempt);
    match (found, told) {
        (Some((at, found)), Some((told_at, told))) if at > told_at && found.id != told.id => Some(found),
        (_, Some((_, told))) => Some(told),
        (found, None) => found.map(|(_, ended)| ended),
    }
}

/// The ends that a status tells of, with the numbers of their containers, newest first.
fn ends_told(status: &ContainerStatus) -> impl Iterator<Item = (u32, Ended)> {
    let states = [&status.state, &status.last_state].into_iter().flatten();
    states.filter_map(|s| s.terminated.as_ref()).map(|t| {
        let attempt = attempt_of(status);
        let is_present = t.container_id == status.container_id;
        (if is_present { attempt } else { attempt.saturating_sub(1) }, ended_of(t))
    })
}

fn attempt_of(status: &ContainerStatus) -> u32 {
    u32::try_from(status.restart_count).unwrap_or(0)
}

/// The runtime knows nothing of it; what the API was told stands.
fn remember(c: &mut Ctr, reported: Option<&ContainerStatus>, now: Timestamp) {
    let Some(status) = reported else { return };
    let state = status.state.as_ref();
    let ended = if let Some(t) = state.and_then(|s| s.terminated.as_ref()) {
        ended_of(t)
    } else if let Some(running) = state.and_then(|s| s.running.as_ref()) {
        Ended {
            id: status.container_id.as_deref().map(bare_id).unwrap_or_default(),
            exit_code: 137,
            reason: "ContainerStatusUnknown".into(),
            message: "The container could not be located when the pod was terminated".into(),
            started_at: running.started_at.as_ref().map(|t| t.0),
            finished_at: None,
        }
    } else {
        return;
    };
    let restarts = c.want.restarts(ended.exit_code);
    c.now = Now::Exited { ended, restart_at: restarts.then_some(now) };
}

/// The report on the end of one container, as the present or the last state.
fn terminated_of<'a>(status: &'a ContainerStatus, id: &str) -> Option<&'a ContainerStateTerminated> {
    let states = [&status.state, &status.last_state].into_iter().flatten();
    states.filter_map(|s| s.terminated.as_ref()).find(|t| t.container_id.as_deref().is_some_and(|c| bare_id(c) == id))
}

fn ended_of(t: &ContainerStateTerminated) -> Ended {
    Ended {
        id: t.container_id.as_deref().map(bare_id).unwrap_or_default(),
        exit_code: t.exit_code,
        reason: t.reason.clone().unwrap_or_default(),
        message: t.message.clone().unwrap_or_default(),
        started_at: t.started_at.as_ref().map(|t| t.0),
        finished_at: t.finished_at.as_ref().map(|t| t.0),
    }
}

/// `containerd://<id>` without its scheme.
fn bare_id(id: &str) -> String {
    id.rsplit("://").next().unwrap_or(id).to_owned()
}
