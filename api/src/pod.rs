//! What can be read from a Pod: phase, readiness, what it asks of a node, its quality of service.

pub mod annotations;
pub mod defaults;
pub mod ephemeral;
pub mod sums;

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use crate::conditions;
use crate::quantity::Quantity;

/// Annotation with the uid-like hash of a static pod's mirror on the API.
pub const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// Annotation that says where the kubelet got a pod from: `api` or `file`.
pub const CONFIG_SOURCE_ANNOTATION: &str = "kubernetes.io/config.source";

pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("Pending")
}
/// Succeeded or Failed: no container will ever run again.
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}
pub fn is_ready(pod: &Pod) -> bool {
    conditions::is_true(pod.status.as_ref().and_then(|s| s.conditions.as_ref()), "Ready")
}
/// Ready for at least `min_ready_secs`, at the time `now_secs` (Unix).
pub fn is_available(pod: &Pod, min_ready_secs: i32, now_secs: i64) -> bool {
    let list = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    let Some(ready) = conditions::find(list, "Ready").filter(|c| c.status == "True") else { return false };
    let since = ready.last_transition_time.as_ref().map(|t| t.0.as_second());
    min_ready_secs <= 0 || since.is_some_and(|since| since + i64::from(min_ready_secs) <= now_secs)
}
pub fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|n| !n.is_empty())
}
pub fn is_mirror(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(MIRROR_ANNOTATION))
}
/// The name of the claim that is made for a pod's ephemeral volume.
pub fn ephemeral_claim_name(pod: &str, volume: &str) -> String {
    format!("{pod}-{volume}")
}
/// An init container that keeps running beside the main ones.
pub fn is_sidecar(init: &Container) -> bool {
    init.restart_policy.as_deref() == Some("Always")
}

/// Amounts by resource name. cpu is in thousandths, all else in whole units (bytes, pods, devices).
pub type Amounts = BTreeMap<String, i64>;

/// What a pod asks of its node: the larger of what its containers take together and what any init
/// container takes on top of the sidecars started before it, plus overhead.
/// <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers>
pub fn requests(spec: &PodSpec) -> Amounts {
    of_side(spec, |r| r.requests.as_ref())
}

/// What a pod may take of its node at most, by the same rule. Containers without a limit add nothing: whether all have one
/// is the caller's to ask.
pub fn limits(spec: &PodSpec) -> Amounts {
    of_side(spec, |r| r.limits.as_ref())
}

/// What a pod takes of its node in fact: of what its containers ask for and what they were given or still have the larger,
/// and where they cannot get what they ask for, the latter alone. Containers that nobody has told of count as they ask.
/// <https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/>
pub fn requests_in_fact(pod: &Pod) -> Amounts {
    let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else {
        return pod.spec.as_ref().map(requests).unwrap_or_default();
    };
    let pending = conditions::find(status.conditions.as_ref(), "PodResizePending");
    let infeasible = pending.is_some_and(|condition| condition.reason.as_deref() == Some("Infeasible"));
    let asked = |resources: Option<&ResourceRequirements>| amounts(resources.and_then(|r| r.requests.as_ref()));
    let in_fact = |asked: Amounts, runs: &ResourceRequirements, given: Option<&BTreeMap<String, Wire>>| {
        let mut all = if infeasible { Amounts::new() } else { asked };
        sums::raise(&mut all, &amounts(runs.requests.as_ref()));
        sums::raise(&mut all, &amounts(given));
        all
    };
    let statuses = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let statuses: HashMap<&str, &ContainerStatus> = statuses.map(|status| (status.name.as_str(), status)).collect();
    let of = |c: &Container| {
        let told = statuses.get(c.name.as_str());
        match told.and_then(|status| Some((status, status.resources.as_ref()?))) {
            Some((told, runs)) => in_fact(asked(c.resources.as_ref()), runs, told.allocated_resources.as_ref()),
            None => asked(c.resources.as_ref()),
        }
    };
    let mut whole = asked(spec.resources.as_ref());
    if let Some(runs) = &status.resources {
        let of_pod = in_fact(whole.clone(), runs, status.allocated_resources.as_ref());
        whole.iter_mut().for_each(|(name, n)| *n = of_pod.get(name).copied().unwrap_or(*n));
    }
    together(spec, of, whole)
}

type Side = fn(&ResourceRequirements) -> Option<&BTreeMap<String, Wire>>;

fn of_side(spec: &PodSpec, side: Side) -> Amounts {
    let of = |c: &Container| amounts(c.resources.as_ref().and_then(side));
    together(spec, of, amounts(spec.resources.as_ref().and_then(side)))
}

/// `of`: what a container counts as. `whole`: what the pod is given as a whole, where it is: it stands for the sum of the
/// containers'.
fn together(spec: &PodSpec, of: impl Fn(&Container) -> Amounts, whole: Amounts) -> Amounts {
    let mut all = sums::of_containers(spec, &of, &of);
    all.extend(whole);
    sums::add(&mut all, &amounts(spec.overhead.as_ref()));
    all
}

/// What the containers of a pod request together, and what they may take: without what is given to the pod as a whole, and
/// without its overhead.
pub fn of_containers(spec: &PodSpec) -> (Amounts, Amounts) {
    let (containers, init_containers) = (spec.containers.clone(), spec.init_containers.clone());
    let alone = PodSpec { containers, init_containers, ..PodSpec::default() };
    (requests(&alone), limits(&alone))
}

/// Whether a pod can be given this as a whole.
pub fn is_of_whole_pods(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory") || resource.starts_with("hugepages-")
}

/// A resource list in plain numbers. Amounts that do not parse are left out: validation refuses them.
pub fn amounts(list: Option<&BTreeMap<String, Wire>>) -> Amounts {
    let parsed = list.into_iter().flatten().filter_map(|(name, q)| {
        let q = Quantity::from_wire(q).ok()?;
        Some((name.clone(), if name == "cpu" { q.millis() } else { q.units() }))
    });
    parsed.collect()
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Qos {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
    /// What the pod is given as a whole, where anything is, stands for what its containers are given.
    pub fn of(spec: &PodSpec) -> Self {
        if let Some(whole) = spec.resources.as_ref().filter(|whole| says_something(whole)) {
            return Self::of_all([Some(whole)].into_iter());
        }
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        Self::of_all(containers.map(|c| c.resources.as_ref()))
    }
    fn of_all<'a>(all: impl Iterator<Item = Option<&'a ResourceRequirements>>) -> Self {
        let mut guaranteed = true;
        let mut any = false;
        for resources in all {
            let (requests, limits) = compute_amounts(resources);
            any |= !requests.is_empty() || !limits.is_empty();
            // A missing request counts as its limit.
            guaranteed &= ["cpu", "memory"]
                .iter()
                .all(|r| limits.get(*r).is_some_and(|limit| requests.get(*r).is_none_or(|request| request == limit)));
        }
        match (any, guaranteed) {
            (false, _) => Self::BestEffort,
            (true, true) => Self::Guaranteed,
            (true, false) => Self::Burstable,
        }
    }
}

fn says_something(whole: &ResourceRequirements) -> bool {
    [&whole.requests, &whole.limits].into_iter().flatten().flat_map(BTreeMap::keys).any(|name| is_of_whole_pods(name))
}

/// cpu and memory of (requests, limits) that are more than nothing.
fn compute_amounts(resources: Option<&ResourceRequirements>) -> (Amounts, Amounts) {
    let positive = |list: Option<&BTreeMap<String, Wire>>| {
        let mut found = amounts(list);
        found.retain(|name, n| *n > 0 && (name == "cpu" || name == "memory"));
        found
    };
    let requests = positive(resources.and_then(|r| r.requests.as_ref()));
    let limits = positive(resources.and_then(|r| r.limits.as_ref()));
    (requests, limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(cpu_request: &str, cpu_limit: &str, memory_limit: &str) -> Container {
        let list = |pairs: &[(&str, &str)]| {
            Some(pairs.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| ((*k).into(), Wire((*v).into()))).collect())
        };
        let resources = ResourceRequirements {
            requests: list(&[("cpu", cpu_request)]),
            limits: list(&[("cpu", cpu_limit), ("memory", memory_limit)]),
            ..Default::default()
        };
        Container { resources: Some(resources), ..Default::default() }
    }

    #[test]
    fn an_empty_node_name_is_none() {
        let named = |name: Option<&str>| Pod {
            spec: Some(PodSpec { node_name: name.map(str::to_owned), ..PodSpec::default() }),
            ..Pod::default()
        };
        for (name, expected) in [(None, None), (Some(""), None), (Some("n1"), Some("n1"))] {
            assert_eq!(node_name(&named(name)), expected);
        }
    }

    fn with_status(status: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({"status": status})).unwrap()
    }

    #[test]
    fn phases_table() {
        for (phase_name, terminal) in
            [("Pending", false), ("Running", false), ("Succeeded", true), ("Failed", true), ("Unknown", false)]
        {
            let pod = with_status(serde_json::json!({"phase": phase_name}));
            assert_eq!((phase(&pod), is_terminal(&pod)), (phase_name, terminal));
        }
        assert_eq!(phase(&Pod::default()), "Pending", "nobody has said anything of it yet");
    }

    /// `minReadySeconds` decides when a rollout goes on.
    #[test]
    fn a_pod_is_available_when_it_was_ready_long_enough() {
        let since = |status: &str, since: Option<&str>| {
            let ready = serde_json::json!({"type": "Ready", "status": status, "lastTransitionTime": since});
            with_status(serde_json::json!({"conditions": [ready]}))
        };
        let at_100 = Some("1970-01-01T00:01:40Z");
        let cases = [
            ("not ready", since("False", at_100), 10, 1000, (false, false)),
            ("ready, and that is enough", since("True", at_100), 0, 100, (true, true)),
            ("less than nothing is asked", since("True", at_100), -1, 100, (true, true)),
            ("a second too short", since("True", at_100), 10, 109, (true, false)),
            ("just long enough", since("True", at_100), 10, 110, (true, true)),
            ("one second is asked", since("True", at_100), 1, 100, (true, false)),
            ("nobody knows since when", since("True", None), 10, 1000, (true, false)),
            ("nobody knows, nor asks", since("True", None), 0, 1000, (true, true)),
            ("no status", Pod::default(), 0, 1000, (false, false)),
        ];
        for (why, pod, min_ready_secs, now_secs, expected) in cases {
            assert_eq!((is_ready(&pod), is_available(&pod, min_ready_secs, now_secs)), expected, "{why}");
        }
    }

    #[test]
    fn a_mirror_is_known_by_its_annotation() {
        let annotated = |key: &str| {
            let mut pod = Pod::default();
            pod.metadata.annotations = Some([(key.to_owned(), "hash".to_owned())].into());
            pod
        };
        assert!(is_mirror(&annotated(MIRROR_ANNOTATION)) && !is_mirror(&annotated(CONFIG_SOURCE_ANNOTATION)));
        assert!(!is_mirror(&Pod::default()));
    }

    #[test]
    fn qos_table() {
        let gpu = |amount: &str| {
            let mut c = container("", "", "");
            let list = Some([("nvidia.com/gpu".to_owned(), Wire(amount.into()))].into());
            c.resources = Some(ResourceRequirements { limits: list, ..Default::default() });
            c
        };
        let cases = [
            ("a zero is nothing", vec![container("0", "0", "0")], Qos::BestEffort),
            ("other resources do not count", vec![gpu("1")], Qos::BestEffort),
            ("a request alone", vec![container("1", "", "")], Qos::Burstable),
            ("nothing asked", vec![container("", "", "")], Qos::BestEffort),
            ("limits only", vec![container("", "1", "1Gi")], Qos::Guaranteed),
            ("request below limit", vec![container("500m", "1", "1Gi")], Qos::Burstable),
            ("one of two without", vec![container("", "1", "1Gi"), container("", "", "")], Qos::Burstable),
        ];
        for (why, containers, expected) in cases {
            let qos = Qos::of(&PodSpec { containers, ..Default::default() });
            assert_eq!((qos, qos.as_str()), (expected, format!("{expected:?}").as_str()), "{why}");
        }
    }

    #[test]
    fn what_a_pod_is_given_as_a_whole_decides_its_quality_of_service() {
        let whole = |cpu_request, cpu, memory| container(cpu_request, cpu, memory).resources;
        let cases = [
            ("limits alone", whole("", "1", "1Gi"), container("", "", ""), Qos::Guaranteed),
            ("a request below the limit", whole("500m", "1", "1Gi"), container("", "1", "1Gi"), Qos::Burstable),
            ("a request alone", whole("500m", "", ""), container("", "", ""), Qos::Burstable),
            ("a limit of one of the two", whole("", "1", ""), container("", "1", "1Gi"), Qos::Burstable),
            ("nothing, in so many words", whole("", "", ""), container("", "1", "1Gi"), Qos::Guaranteed),
            ("nothing at all", Some(ResourceRequirements::default()), container("1", "", ""), Qos::Burstable),
        ];
        for (why, resources, of_container, expected) in cases {
            let spec = PodSpec { containers: vec![of_container], resources, ..Default::default() };
            assert_eq!(Qos::of(&spec), expected, "{why}");
        }
    }

    #[test]
    fn requests_take_the_peak_of_init_and_running() {
        let mut sidecar = container("200m", "", "");
        sidecar.restart_policy = Some("Always".into());
        let spec = PodSpec {
            containers: vec![container("100m", "", "")],
            init_containers: Some(vec![sidecar, container("1", "", "")]),
            ..Default::default()
        };
        assert_eq!(requests(&spec)["cpu"], 1200, "the second init container runs beside the sidecar");
    }

    #[test]
    fn a_pod_that_is_resized_takes_the_larger_of_what_it_asks_for_and_what_it_has() {
        let infeasible = serde_json::json!([{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]);
        let none = serde_json::json!([]);
        let cases = [
            ("it has what it asks for", "1", "1", "1", &none, 1000),
            ("it still has more", "1", "2", "1", &none, 2000),
            ("it was given more, and does not have it yet", "1", "1", "3", &none, 3000),
            ("it asks for more", "4", "1", "1", &none, 4000),
            ("it cannot get more", "4", "2", "1", &infeasible, 2000),
        ];
        for (why, asks, runs, given, conditions, expected) in cases {
            let cpu = |cpu: &str| serde_json::json!({ "cpu": cpu });
            let status = serde_json::json!([{"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "resources": {"requests": cpu(runs)}, "allocatedResources": cpu(given)}]);
            let container = serde_json::json!({"name": "a", "resources": {"requests": cpu(asks)}});
            let pod = serde_json::json!({"spec": {"containers": [container, {"name": "b"}]},
                "status": {"containerStatuses": status, "conditions": conditions}});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            assert_eq!(requests_in_fact(&pod)["cpu"], expected, "{why}");
            let untold = Pod { status: None, ..pod };
            assert_eq!(requests_in_fact(&untold), requests(untold.spec.as_ref().unwrap()), "{why}");
        }
        let whole = serde_json::json!({"spec": {"containers": [], "resources": {"requests": {"cpu": "1"}}},
            "status": {"resources": {"requests": {"cpu": "2"}}, "allocatedResources": {"cpu": "1", "memory": "1Gi"}}});
        let whole: Pod = serde_json::from_value(whole).unwrap();
        assert_eq!(requests_in_fact(&whole), Amounts::from([("cpu".into(), 2000)]));
    }

    #[test]
    fn limits_are_added_by_the_same_rule_and_those_of_the_whole_pod_stand_for_the_sum() {
        let mut spec = PodSpec {
            containers: vec![container("100m", "1", "1Gi"), container("100m", "500m", "")],
            overhead: Some([("cpu".to_owned(), Wire("50m".into()))].into()),
            ..Default::default()
        };
        assert_eq!(limits(&spec), Amounts::from([("cpu".into(), 1550), ("memory".into(), 1 << 30)]));
        spec.resources = container("2", "3", "").resources;
        assert_eq!((requests(&spec)["cpu"], limits(&spec)["cpu"]), (2050, 3050));
    }
}
