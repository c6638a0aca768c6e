//! What the runtime holds, sorted by pod. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container as SpecContainer, PodSpec};

use super::container::{GRACE_LABEL, IMAGE_LABEL, SIGTERM, SIZE_LABEL, STOP_SIGNAL_LABEL};
use super::model::{Ended, SandboxUp};
use super::plan::GRACE_DEFAULT;
use super::size::Size;
use super::step::{FoundContainer, FoundPod, FoundState};
use crate::network::Attachment;
use crate::runtime::{Container, Exit, Inventory, Network, Sandbox, State};

/// A pod as the runtime knows it.
pub struct Found {
    pub namespace: String,
    pub name: String,
    pub grace: Duration,
    pub pod: FoundPod,
}

impl Found {
    /// A spec good enough to end the pod by.
    pub fn spec(&self, grace_secs: i64) -> PodSpec {
        let mut names: Vec<&str> = self.pod.containers.iter().map(|c| c.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let container = |name: &str| {
            let image = self.pod.containers.iter().find(|c| c.name == name).map(|c| c.image.clone());
            SpecContainer { name: name.into(), image, ..Default::default() }
        };
        PodSpec {
            containers: names.into_iter().map(container).collect(),
            restart_policy: Some("Never".into()),
            termination_grace_period_seconds: Some(grace_secs),
            ..Default::default()
        }
    }
}

pub fn by_pod(inventory: &Inventory) -> BTreeMap<String, Found> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for sandbox in &inventory.sandboxes {
        let pod = found.entry(sandbox.pod_uid.clone()).or_insert_with(|| empty(&sandbox.namespace, &sandbox.name));
        add_sandbox(&mut pod.pod, sandbox);
    }
    for container in &inventory.containers {
        let pod =
            found.entry(container.pod_uid.clone()).or_insert_with(|| empty(&container.namespace, &container.pod_name));
        pod.grace = grace_of(&container.labels).unwrap_or(pod.grace);
        pod.pod.containers.push(one(container));
    }
    found
}

/// The runtime does not know the addresses of what it holds; the network does.
pub fn fill_addresses(pod: &mut FoundPod, uid: &str, attached: &[Attachment], of_node: &[IpAddr]) {
    let Some(up) = &mut pod.sandbox else { return };
    up.addresses = match (&up.network, attached.iter().find(|a| a.pod_uid == uid)) {
        (Network::Host, _) => of_node.to_vec(),
        (Network::Pod { .. }, Some(attachment)) => attachment.addresses.clone(),
        (Network::Pod { .. }, None) => Vec::new(),
    };
}

/// The label with the pod's grace period, for a pod whose spec is gone.
fn grace_of(labels: &BTreeMap<String, String>) -> Option<Duration> {
    labels.get(GRACE_LABEL)?.parse().ok().map(Duration::from_secs)
}

/// An exit in the API's terms, without its message.
pub fn ended(id: &str, exit: &Exit) -> Ended {
    Ended {
        id: id.into(),
        exit_code: exit.exit_code,
        reason: reason(exit).into(),
        message: String::new(),
        started_at: Some(exit.started_at),
        finished_at: Some(exit.finished_at),
    }
}

fn reason(exit: &Exit) -> &'static str {
    match exit {
        Exit { unseen: true, .. } => "Unknown",
        Exit { oom_killed: true, .. } => "OOMKilled",
        Exit { exit_code: 0, .. } => "Completed",
        _ => "Error",
    }
}

fn empty(namespace: &str, name: &str) -> Found {
    Found { namespace: namespace.into(), name: name.into(), grace: GRACE_DEFAULT, pod: FoundPod::default() }
}

fn add_sandbox(pod: &mut FoundPod, sandbox: &Sandbox) {
    let newest = sandbox.attempt >= pod.sandboxes;
    pod.sandboxes = pod.sandboxes.max(sandbox.attempt + 1);
    if !newest {
        return;
    }
    let up = SandboxUp { id: sandbox.id.clone(), addresses: Vec::new(), network: sandbox.network.clone() };
    pod.sandbox = sandbox.is_up.then_some(up);
}

fn one(c: &Container) -> FoundContainer {
    FoundContainer {
        id: c.id.clone(),
        name: c.name.clone(),
        attempt: c.attempt,
        image: c.labels.get(IMAGE_LABEL).cloned().unwrap_or_default(),
        image_id: c.image_id.clone(),
        size: c.labels.get(SIZE_LABEL).and_then(|text| Size::parse(text)),
        stop_signal: c.labels.get(STOP_SIGNAL_LABEL).and_then(|s| s.parse().ok()).unwrap_or(SIGTERM),
        state: match &c.state {
            State::Created => FoundState::Created,
            State::Running { started_at, .. } => FoundState::Running { since: *started_at },
            State::Exited(exit) => FoundState::Exited(ended(&c.id, exit)),
        },
    }
}
