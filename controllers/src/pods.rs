//! What the controllers remember of a Pod: one small record, kept once for all of them.

pub mod of_job;

use std::borrow::Cow;

use corten_api::k8s_openapi::Resource;
use corten_api::k8s_openapi::api::core::v1::{ObjectReference, Pod, PodSpec, PodStatus, Toleration, Volume};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use corten_api::{Key, Object, conditions, pod};
use corten_client::{IndexBy, Labelled, SharedLabels};
use jiff::Timestamp;

use of_job::OfJob;

pub use corten_api::selector::Labels;

/// `status.reason` of a pod that the kubelet evicted.
const EVICTED: &str = "Evicted";
const DEFAULT_PROTOCOL: &str = "TCP";
/// A kubelet says within this time of a pod's start that it is not ready yet.
const FIRST_REPORT: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);
/// The condition that says that a pod is about to be disrupted.
pub const DISRUPTION_TARGET: &str = "DisruptionTarget";
/// Its reason when a kubelet says so: it may end the pod as late as it wants.
const TERMINATION_BY_KUBELET: &str = "TerminationByKubelet";

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase>, in the order in which a scale-down
/// takes pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    #[default]
    Pending,
    Unknown,
    Running,
    Succeeded,
    Failed,
}

/// A container port that a Service may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPort {
    pub name: String,
    pub protocol: String,
    pub port: i32,
}

/// A claim that a pod has a volume of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedClaim {
    pub name: String,
    /// It is made for the pod, and goes with it.
    pub ephemeral: bool,
}

/// Finds the pods of a namespace that use a claim, by its name.
#[derive(Debug)]
pub struct ByClaim;

impl IndexBy<SeenPod> for ByClaim {
    fn values(pod: &SeenPod) -> Vec<Cow<'_, str>> {
        pod.claims.iter().map(|claim| claim.name.as_str().into()).collect()
    }
}

/// A Pod without all that no controller reads (most of its spec, its volumes, its managed fields).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeenPod {
    pub key: Key,
    pub uid: String,
    pub revision: i64,
    pub created: Option<Timestamp>,
    pub deleting: Option<Timestamp>,
    pub deletion_grace_secs: Option<i64>,
    pub labels: SharedLabels,
    pub owners: Vec<OwnerReference>,
    pub finalizers: Vec<String>,
    /// `controller.kubernetes.io/pod-deletion-cost`; cheaper pods are deleted first.
    pub deletion_cost: i32,
    pub phase: Phase,
    /// Failed because its node needed what it used.
    pub evicted: bool,
    pub node: Option<String>,
    /// Since when the pod has been Ready; `None` while it is not.
    pub ready_since: Option<Timestamp>,
    /// Whether the pod is ready, or was at some time before.
    pub was_ready: bool,
    pub restarts: i32,
    pub started: Option<Timestamp>,
    pub ips: Vec<String>,
    pub hostname: String,
    pub subdomain: String,
    pub ports: Vec<NamedPort>,
    pub tolerations: Vec<Toleration>,
    /// The kubelet's copy of a file on the node; deleting it deletes nothing.
    pub mirror: bool,
    /// The one node that it may go to, if it says so by the node's name and is not there yet.
    pub aimed_at: Option<Box<str>>,
    /// Of Jobs' pods only.
    pub of_job: Option<Box<OfJob>>,
    /// The claims that its volumes are of.
    pub claims: Vec<UsedClaim>,
    /// Since when somebody other than its kubelet has said that the pod is about to be disrupted.
    pub disruption_target_since: Option<Timestamp>,
}

impl Labelled for SeenPod {
    fn name(&self) -> &str {
        &self.key.name
    }
    fn labels(&self) -> &SharedLabels {
        &self.labels
    }
    fn is_orphan(&self) -> bool {
        self.controller().is_none()
    }
}

impl SeenPod {
    /// Takes the parts that are kept out of `pod`.
    pub fn of(mut pod: Pod) -> Self {
        let key = pod.key();
        let revision = pod.revision();
        let mirror = pod::is_mirror(&pod);
        let of_job = OfJob::of(&pod);
        let phase = phase(&pod);
        let node = pod::node_name(&pod).map(str::to_owned);
        let deletion_cost = pod::annotations::deletion_cost(pod.metadata.annotations.as_ref()).unwrap_or(0);
        let status = pod.status.take().unwrap_or_default();
        let spec = pod.spec.take().unwrap_or_default();
        let aimed_at = if node.is_none() { aimed_at(&spec) } else { None };
        let meta = pod.metadata;
        let claims = claims(&key.name, spec.volumes.as_deref().unwrap_or_default());
        let ports = spec.containers.iter().chain(spec.init_containers.iter().flatten().filter(|c| pod::is_sidecar(c)));
        let ports = ports.flat_map(|c| c.ports.iter().flatten()).filter_map(|p| {
            let protocol = p.protocol.clone().unwrap_or_else(|| DEFAULT_PROTOCOL.into());
            Some(NamedPort { name: p.name.clone()?, protocol, port: p.container_port })
        });
        Self {
            key,
            revision,
            mirror,
            of_job,
            phase,
            node,
            deletion_cost,
            aimed_at,
            was_ready: was_ready(&status, phase),
            claims,
            ports: ports.collect(),
            ready_since: ready_since(&status, meta.creation_timestamp.as_ref().map(|t| t.0)),
            restarts: restarts(&status),
            started: status.start_time.as_ref().map(|t| t.0),
            disruption_target_since: disruption_target_since(&status),
            evicted: phase == Phase::Failed && status.reason.as_deref() == Some(EVICTED),
            ips: ips(status),
            uid: meta.uid.unwrap_or_default(),
            created: meta.creation_timestamp.map(|t| t.0),
            deleting: meta.deletion_timestamp.map(|t| t.0),
            deletion_grace_secs: meta.deletion_grace_period_seconds,
            labels: meta.labels.unwrap_or_default().into(),
            owners: meta.owner_references.unwrap_or_default(),
            finalizers: meta.finalizers.unwrap_or_default(),
            hostname: spec.hostname.unwrap_or_default(),
            subdomain: spec.subdomain.unwrap_or_default(),
            tolerations: spec.tolerations.unwrap_or_default(),
        }
    }

    /// For events and `involvedObject`.
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(Pod::API_VERSION.into()),
            kind: Some(Pod::KIND.into()),
            name: Some(self.key.name.clone()),
            namespace: Some(self.key.namespace.clone()),
            uid: Some(self.uid.clone()),
            resource_version: Some(self.revision.to_string()),
            field_path: None,
        }
    }
    /// The one owner that manages this pod.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owners.iter().find(|o| o.controller == Some(true))
    }
    pub fn is_controlled_by(&self, uid: &str) -> bool {
        self.controller().is_some_and(|o| o.uid == uid)
    }
    /// Succeeded or Failed: no container will ever run again.
    pub fn is_terminal(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }
    /// Neither ended nor on its way out: counts as one of its owner's replicas.
    pub fn is_active(&self) -> bool {
        !self.is_terminal() && self.deleting.is_none()
    }
    pub fn is_ready(&self) -> bool {
        self.ready_since.is_some()
    }
    /// As StatefulSets count: one that has ended may still say that it is ready.
    pub fn is_running_and_ready(&self) -> bool {
        self.phase == Phase::Running && self.is_ready()
    }
    /// When the pod has been ready for long enough to count as available; `None` while it is not ready.
    pub fn available_at(&self, min_ready_secs: i32) -> Option<Timestamp> {
        let wait = jiff::SignedDuration::from_secs(i64::from(min_ready_secs.max(0)));
        self.ready_since.map(|since| since.checked_add(wait).unwrap_or(Timestamp::MAX))
    }
    pub fn is_available(&self, min_ready_secs: i32, now: Timestamp) -> bool {
        self.available_at(min_ready_secs).is_some_and(|at| at <= now)
    }
}

fn phase(pod: &Pod) -> Phase {
    match pod::phase(pod) {
        "Running" => Phase::Running,
        "Succeeded" => Phase::Succeeded,
        "Failed" => Phase::Failed,
        "Unknown" => Phase::Unknown,
        _ => Phase::Pending,
    }
}

fn ready_since(status: &PodStatus, created: Option<Timestamp>) -> Option<Timestamp> {
    let ready = conditions::find(status.conditions.as_ref(), "Ready").filter(|c| c.status == "True")?;
    // A condition without a time was written by someone careless; the pod is not ready for longer than it exists.
    ready.last_transition_time.as_ref().map(|t| t.0).or(created).or(Some(Timestamp::UNIX_EPOCH))
}

/// A pod that is not ready says since when it is not. If that is since its start, it never was.
fn was_ready(status: &PodStatus, phase: Phase) -> bool {
    let Some(ready) = conditions::find(status.conditions.as_ref(), "Ready") else { return false };
    if ready.status == "True" {
        return true;
    }
    let (Some(since), Some(started)) = (&ready.last_transition_time, &status.start_time) else { return false };
    phase != Phase::Pending && since.0.duration_since(started.0) > FIRST_REPORT
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/#how-daemon-pods-are-scheduled>
fn aimed_at(spec: &PodSpec) -> Option<Box<str>> {
    let near = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &near.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    let mut named = fields.filter(|field| field.key == "metadata.name" && field.operator == "In");
    match named.next()?.values.as_deref()? {
        [node] => Some(node.as_str().into()),
        _ => None,
    }
}

fn claims(pod: &str, volumes: &[Volume]) -> Vec<UsedClaim> {
    let of = |volume: &Volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(UsedClaim { name: claim.claim_name.clone(), ephemeral: false }),
        (None, Some(_)) => Some(UsedClaim { name: ephemeral_claim_name(pod, &volume.name), ephemeral: true }),
        (None, None) => None,
    };
    volumes.iter().filter_map(of).collect()
}

/// The claim that is made for a pod's volume.
/// <https://kubernetes.io/docs/concepts/storage/ephemeral-volumes/#persistentvolumeclaim-naming>
pub fn ephemeral_claim_name(pod: &str, volume: &str) -> String {
    format!("{pod}-{volume}")
}

fn disruption_target_since(status: &PodStatus) -> Option<Timestamp> {
    let told = conditions::find(status.conditions.as_ref(), DISRUPTION_TARGET).filter(|c| c.status == "True")?;
    let by_kubelet = told.reason.as_deref() == Some(TERMINATION_BY_KUBELET);
    // A condition without a time has been there for nobody knows how long.
    let since = told.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |t| t.0);
    (!by_kubelet).then_some(since)
}

/// The most restarts of any one container.
fn restarts(status: &PodStatus) -> i32 {
    let all = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    all.map(|c| c.restart_count).max().unwrap_or(0)
}

fn ips(status: PodStatus) -> Vec<String> {
    let mut ips: Vec<String> = status.pod_ips.into_iter().flatten().map(|ip| ip.ip).collect();
    if let Some(first) = status.pod_ip.filter(|ip| !ip.is_empty() && !ips.contains(ip)) {
        ips.insert(0, first);
    }
    ips
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn seen(pod: Value) -> SeenPod {
        SeenPod::of(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_pod_was_ready_if_it_ceased_to_be_later_than_it_began() {
        let status = |phase: &str, ready: &str, since: &str| {
            let conditions = json!([{"type": "Ready", "status": ready, "lastTransitionTime": since}]);
            seen(json!({"status": {"phase": phase, "startTime": "2030-01-01T00:00:00Z", "conditions": conditions}}))
        };
        let cases = [
            ("it is", status("Running", "True", "2030-01-01T00:00:01Z"), true),
            ("not since its start", status("Running", "False", "2030-01-01T00:00:01Z"), false),
            ("not for a while", status("Running", "False", "2030-01-01T00:01:00Z"), true),
            ("its containers have not begun", status("Pending", "False", "2030-01-01T00:01:00Z"), false),
            ("no kubelet has seen it", seen(json!({})), false),
        ];
        for (why, pod, expected) in cases {
            assert_eq!(pod.was_ready, expected, "{why}");
        }
    }

    #[test]
    fn a_pod_is_aimed_at_the_node_that_its_affinity_names() {
        let field = |key: &str, operator: &str, values: &[&str]| json!([{"matchFields": [{"key": key, "operator": operator, "values": values}]}]);
        let pod = |node: Option<&str>, terms: Value| {
            let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
            seen(json!({"spec": {"containers": [], "nodeName": node, "affinity": {"nodeAffinity": required}}}))
        };
        let cases = [
            ("by name", pod(None, field("metadata.name", "In", &["n1"])), Some("n1")),
            ("it is there", pod(Some("n1"), field("metadata.name", "In", &["n1"])), None),
            ("one of two", pod(None, field("metadata.name", "In", &["n1", "n2"])), None),
            ("not that one", pod(None, field("metadata.name", "NotIn", &["n1"])), None),
            ("another field", pod(None, field("metadata.uid", "In", &["n1"])), None),
            ("anywhere", seen(json!({"spec": {"containers": []}})), None),
        ];
        for (why, pod, expected) in cases {
            assert_eq!(pod.aimed_at.as_deref(), expected, "{why}");
        }
    }
}
