//! What the state machine needs to know of a pod's spec: its containers in start order and its rules of life.

use std::time::Duration;

use corten_api::pod::is_sidecar;
use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, EphemeralContainer, Pod, PodSpec, Probe};

use super::size::{ResizeRestarts, Size};
use crate::cgroup::PodLimits;

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

/// One of `restartPolicyRules`: exit codes after which the container runs again, whatever its policy says.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-restart-rules>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartRule {
    codes: Vec<i32>,
    /// `In`; else `NotIn`.
    listed: bool,
}

impl RestartRule {
    /// `None`: an action or an operator of a later release, which says nothing to us.
    fn of(rule: &ContainerRestartRule) -> Option<Self> {
        let on_exit = rule.exit_codes.as_ref().filter(|_| rule.action == "Restart")?;
        let listed = match on_exit.operator.as_str() {
            "In" => true,
            "NotIn" => false,
            _ => return None,
        };
        Some(Self { codes: on_exit.values.clone().unwrap_or_default(), listed })
    }

    fn matches(&self, exit_code: i32) -> bool {
        self.codes.contains(&exit_code) == self.listed
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
    /// Asked through [`Want::restarts`].
    pub restart: RestartPolicy,
    pub restart_rules: Vec<RestartRule>,
    pub startup_probe: bool,
    pub readiness_probe: bool,
    /// Grace when this probe ends it, instead of the pod's.
    pub startup_grace: Option<Duration>,
    pub liveness_grace: Option<Duration>,
    pub pre_stop: bool,
    pub post_start: bool,
    pub size: Size,
    pub resize_restarts: ResizeRestarts,
}

impl Want {
    /// Whether it runs again after it ended so: by its rules, then by its policy. An init container that succeeded is done.
    pub fn restarts(&self, exit_code: i32) -> bool {
        let is_done = self.kind == Kind::Init && exit_code == 0;
        !is_done && (self.restart_rules.iter().any(|r| r.matches(exit_code)) || self.restart.restarts(exit_code))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `name_namespace(uid)`, as upstream's messages name a pod.
    pub full_name: String,
    pub restart: RestartPolicy,
    /// `terminationGracePeriodSeconds`.
    pub grace: Duration,
    pub active_deadline: Option<Duration>,
    /// Of the pod as a whole.
    pub size: PodLimits,
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
            size: super::container::pod_limits(pod),
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
    // As upstream has it: rules are for containers that have a policy of their own.
    let rules = c.restart_policy_rules.iter().flatten().filter(|_| c.restart_policy.is_some());
    // Init containers that end have no probes; validation refuses them.
    let probes = kind != Kind::Init;
    let grace_of = |p: &Option<Probe>| p.as_ref().and_then(|p| p.termination_grace_period_seconds).map(seconds);
    Want {
        name: c.name.clone(),
        kind,
        image: c.image.clone().unwrap_or_default(),
        restart,
        restart_rules: rules.filter_map(RestartRule::of).collect(),
        startup_probe: probes && c.startup_probe.is_some(),
        readiness_probe: probes && c.readiness_probe.is_some(),
        startup_grace: grace_of(&c.startup_probe),
        liveness_grace: grace_of(&c.liveness_probe),
        pre_stop: c.lifecycle.as_ref().is_some_and(|l| l.pre_stop.is_some()),
        post_start: c.lifecycle.as_ref().is_some_and(|l| l.post_start.is_some()),
        size: Size::of(c.resources.as_ref()),
        resize_restarts: ResizeRestarts::of(c.resize_policy.as_ref()),
    }
}

fn ephemeral(c: &EphemeralContainer) -> Want {
    Want {
        name: c.name.clone(),
        kind: Kind::Ephemeral,
        image: c.image.clone().unwrap_or_default(),
        restart: RestartPolicy::Never,
        restart_rules: Vec::new(),
        startup_probe: false,
        readiness_probe: false,
        startup_grace: None,
        liveness_grace: None,
        pre_stop: false,
        post_start: false,
        size: Size::default(),
        resize_restarts: ResizeRestarts::default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::RestartPolicy::{Always, Never, OnFailure};
    use super::*;

    fn of(spec: serde_json::Value) -> Plan {
        Plan::of(&serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).unwrap())
    }

    /// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>
    #[test]
    fn what_runs_again_after_which_end() {
        let spec = |policy: Option<&str>, of_main: Option<&str>| {
            json!({
                "restartPolicy": policy,
                "initContainers": [{"name": "i"}, {"name": "side", "restartPolicy": "Always"}],
                "containers": [{"name": "a", "restartPolicy": of_main}],
                "ephemeralContainers": [{"name": "debug"}],
            })
        };
        for (why, policy, of_main, expected) in [
            ("none is named", None, None, [OnFailure, Always, Always, Never]),
            ("always", Some("Always"), None, [OnFailure, Always, Always, Never]),
            ("on failure", Some("OnFailure"), None, [OnFailure, Always, OnFailure, Never]),
            ("never", Some("Never"), None, [Never, Always, Never, Never]),
            ("a container has a rule of its own", Some("Never"), Some("OnFailure"), [Never, Always, OnFailure, Never]),
        ] {
            let plan = of(spec(policy, of_main));
            let names: Vec<&str> = plan.containers.iter().map(|w| w.name.as_str()).collect();
            assert_eq!(names, ["i", "side", "a", "debug"], "{why}: in start order");
            assert_eq!(plan.containers.iter().map(|w| w.restart).collect::<Vec<_>>(), expected, "{why}");
        }
        for (policy, after_success, after_failure) in
            [(Always, true, true), (OnFailure, false, true), (Never, false, false)]
        {
            assert_eq!((policy.restarts(0), policy.restarts(1)), (after_success, after_failure), "{policy:?}");
        }
    }

    #[test]
    fn rules_by_exit_code_come_before_a_containers_policy() {
        let rule = |action: &str, operator: &str, values: &[i32]| {
            let exit_codes = json!({"operator": operator, "values": values});
            json!({"action": action, "exitCodes": exit_codes})
        };
        let (these, others) = (rule("Restart", "In", &[42, 43]), rule("Restart", "NotIn", &[0, 1]));
        let (later, odd) = (rule("RestartAllContainers", "In", &[1]), rule("Restart", "Near", &[1]));
        // Which of 0, 1, 42 lead to another run.
        for (why, list, policy, rules, expected) in [
            ("no rule", "containers", Some("Never"), vec![], [false, false, false]),
            ("listed", "containers", Some("Never"), vec![&these], [false, false, true]),
            ("not listed", "containers", Some("Never"), vec![&others], [false, false, true]),
            ("the policy is next", "containers", Some("OnFailure"), vec![&these], [false, true, true]),
            ("any of them", "containers", Some("Never"), vec![&later, &odd, &these], [false, false, true]),
            ("without a policy there are no rules", "containers", None, vec![&these], [false, false, false]),
            ("an init container", "initContainers", Some("Never"), vec![&these], [false, false, true]),
            ("one that is done", "initContainers", Some("Never"), vec![&rule("Restart", "In", &[0])], [false; 3]),
        ] {
            let c = json!({"name": "c", "restartPolicy": policy, "restartPolicyRules": rules});
            let mut spec = json!({"restartPolicy": "Never", "containers": []});
            spec[list] = json!([c]);
            let plan = of(spec);
            assert_eq!([0, 1, 42].map(|code| plan.containers[0].restarts(code)), expected, "{why}");
        }
    }

    #[test]
    fn times_are_the_specs_or_upstreams_default() {
        let plan = of(json!({"containers": []}));
        assert_eq!((plan.grace, plan.active_deadline), (GRACE_DEFAULT, None));
        let spec = json!({"containers": [], "terminationGracePeriodSeconds": 7, "activeDeadlineSeconds": 90});
        let plan = of(spec);
        assert_eq!((plan.grace, plan.active_deadline), (seconds(7), Some(Duration::from_secs(90))));
        assert_eq!(seconds(-1), Duration::ZERO, "it cannot end before it was asked to");
    }

    #[test]
    fn probes_and_hooks_count_for_what_stays() {
        let probed = |name: &str, policy: Option<&str>| {
            json!({
                "name": name,
                "restartPolicy": policy,
                "startupProbe": {"terminationGracePeriodSeconds": 3},
                "livenessProbe": {"terminationGracePeriodSeconds": 5},
                "readinessProbe": {},
                "lifecycle": {"preStop": {}, "postStart": {}},
            })
        };
        let inits = [probed("i", None), probed("side", Some("Always"))];
        let plan = of(json!({"initContainers": inits, "containers": [probed("a", None), {"name": "bare"}]}));
        let probes = |w: &Want| (w.startup_probe, w.readiness_probe);
        assert_eq!(
            plan.containers.iter().map(probes).collect::<Vec<_>>(),
            [(false, false), (true, true), (true, true), (false, false)]
        );
        let a = &plan.containers[2];
        assert_eq!((a.startup_grace, a.liveness_grace), (Some(seconds(3)), Some(seconds(5))));
        assert!(a.pre_stop && a.post_start && !plan.containers[3].pre_stop && !plan.containers[3].post_start);
    }
}
