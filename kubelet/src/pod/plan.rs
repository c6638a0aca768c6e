//! What the state machine needs to know of a pod's spec: its containers in start order and its rules of life.

use std::time::Duration;

use corten_api::pod::is_sidecar;
use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec, Probe};

pub const GRACE_DEFAULT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    fn parse(text: Option<&str>) -> Option<Self> {
        match text? {
            "Always" => Some(Self::Always),
            "OnFailure" => Some(Self::OnFailure),
            "Never" => Some(Self::Never),
            _ => None,
        }
    }
    /// Whether a container that ended with `exit_code` runs again.
    pub fn restarts(self, exit_code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit_code != 0,
            Self::Never => false,
        }
    }
}

/// The part a container plays in its pod. Their order here is the order in which they start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Runs to its end before the next one.
    Init,
    /// An init container that stays: `restartPolicy: Always`.
    Sidecar,
    Main,
    /// Added to a running pod for debugging; never restarted, never counted.
    Ephemeral,
}

/// One container as the machine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    pub name: String,
    pub kind: Kind,
    pub image: String,
    pub restart: RestartPolicy,
    pub startup_probe: bool,
    pub readiness_probe: bool,
    /// Grace when this probe ends it, instead of the pod's.
    pub startup_grace: Option<Duration>,
    pub liveness_grace: Option<Duration>,
    pub pre_stop: bool,
    pub post_start: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `name_namespace(uid)`, as upstream's messages name a pod.
    pub full_name: String,
    pub restart: RestartPolicy,
    /// `terminationGracePeriodSeconds`.
    pub grace: Duration,
    pub active_deadline: Option<Duration>,
    /// Init containers and sidecars in their order, then main ones, then ephemeral ones.
    pub containers: Vec<Want>,
}

impl Plan {
    pub fn of(pod: &Pod) -> Self {
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let restart = RestartPolicy::parse(spec.restart_policy.as_deref()).unwrap_or(RestartPolicy::Always);
        let inits = spec.init_containers.iter().flatten().map(|c| init(c, restart));
        let mains = spec.containers.iter().map(|c| want(c, Kind::Main, restart));
        let debuggers = spec.ephemeral_containers.iter().flatten().map(ephemeral);
        Self {
            full_name: super::container::full_name(pod),
            restart,
            grace: spec.termination_grace_period_seconds.map_or(GRACE_DEFAULT, seconds),
            active_deadline: spec.active_deadline_seconds.map(seconds),
            containers: inits.chain(mains).chain(debuggers).collect(),
        }
    }
}

/// API seconds as a duration; what is below zero counts as zero.
pub fn seconds(secs: i64) -> Duration {
    Duration::from_secs(u64::try_from(secs).unwrap_or(0))
}

fn init(c: &Container, pod_restart: RestartPolicy) -> Want {
    if is_sidecar(c) {
        return want(c, Kind::Sidecar, RestartPolicy::Always);
    }
    // A failed init container is tried again unless the pod says Never; one that succeeded is never run again.
    let pod_restart = match pod_restart {
        RestartPolicy::Never => RestartPolicy::Never,
        RestartPolicy::Always | RestartPolicy::OnFailure => RestartPolicy::OnFailure,
    };
    want(c, Kind::Init, pod_restart)
}

fn want(c: &Container, kind: Kind, pod_restart: RestartPolicy) -> Want {
    let restart = match kind {
        Kind::Main | Kind::Init => RestartPolicy::parse(c.restart_policy.as_deref()).unwrap_or(pod_restart),
        Kind::Sidecar | Kind::Ephemeral => pod_restart,
    };
    // Init containers that end have no probes; validation refuses them.
    let probes = kind != Kind::Init;
    let grace_of = |p: &Option<Probe>| p.as_ref().and_then(|p| p.termination_grace_period_seconds).map(seconds);
    Want {
        name: c.name.clone(),
        kind,
        image: c.image.clone().unwrap_or_default(),
        restart,
        startup_probe: probes && c.startup_probe.is_some(),
        readiness_probe: probes && c.readiness_probe.is_some(),
        startup_grace: grace_of(&c.startup_probe),
        liveness_grace: grace_of(&c.liveness_probe),
        pre_stop: c.lifecycle.as_ref().is_some_and(|l| l.pre_stop.is_some()),
        post_start: c.lifecycle.as_ref().is_some_and(|l| l.post_start.is_some()),
    }
}

fn ephemeral(c: &EphemeralContainer) -> Want {
    Want {
        name: c.name.clone(),
        kind: Kind::Ephemeral,
        image: c.image.clone().unwrap_or_default(),
        restart: RestartPolicy::Never,
        startup_probe: false,
        readiness_probe: false,
        startup_grace: None,
        liveness_grace: None,
        pre_stop: false,
        post_start: false,
    }
}
