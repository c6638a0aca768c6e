//! What only the Job controller reads of a Pod: its index, how it ended, and why. Kept of Jobs' pods alone.

use corten_api::k8s_openapi::Resource;
use corten_api::k8s_openapi::api::batch::v1::Job;
use corten_api::k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use corten_api::{Object, conditions, pod};
use jiff::{SignedDuration, Timestamp};

use super::SeenPod;

/// Holds a pod until its Job has counted it.
pub const TRACKING_FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Annotation and label: which of the indexes of an Indexed Job the pod works on.
pub const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Annotation, with backoffLimitPerIndex: how many pods of the same index have failed before.
pub const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// The same of failures that a podFailurePolicy says to ignore.
pub const INDEX_IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// A container that has ended with another code than 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    pub container: String,
    pub code: i32,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct OfJob {
    pub index: Option<i32>,
    pub index_failures: i32,
    pub index_ignored_failures: i32,
    /// The best that is known of when it ended.
    pub finished: Option<Timestamp>,
    /// Of all its containers together.
    pub restarts: i32,
    /// Of containers, then of init containers.
    pub exits: Vec<Exit>,
    /// Type and status, of pods that have ended or are to end: by these a podFailurePolicy may tell why.
    pub conditions: Vec<(String, String)>,
}

impl OfJob {
    /// `None`: it is no Job's pod.
    pub(super) fn of(pod: &Pod) -> Option<Box<Self>> {
        let by_job =
            pod.controller().is_some_and(|owner| owner.kind == Job::KIND && owner.api_version == Job::API_VERSION);
        let held = pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == TRACKING_FINALIZER);
        if !by_job && !held {
            return None;
        }
        let none = PodStatus::default();
        let status = pod.status.as_ref().unwrap_or(&none);
        let ends = pod::is_terminal(pod) || pod.is_deleting();
        let conditions = status.conditions.iter().flatten().filter(|_| ends);
        Some(Box::new(Self {
            index: pod.annotation(COMPLETION_INDEX).and_then(|text| text.parse().ok()).filter(|index| *index >= 0),
            index_failures: count(pod, INDEX_FAILURES),
            index_ignored_failures: count(pod, INDEX_IGNORED_FAILURES),
            finished: finished(pod, status),
            restarts: all(status).map(|container| container.restart_count).sum(),
            exits: all(status).filter_map(exit).collect(),
            conditions: conditions.map(|c| (c.type_.clone(), c.status.clone())).collect(),
        }))
    }
}

impl SeenPod {
    /// Whether it is held until its Job has counted it.
    pub fn is_tracked(&self) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == TRACKING_FINALIZER)
    }
    pub fn completion_index(&self) -> Option<i32> {
        self.of_job.as_ref()?.index
    }
    /// When it ended, as well as is known.
    pub fn finished(&self) -> Option<Timestamp> {
        self.of_job.as_ref()?.finished
    }
}

fn all(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
}

/// What anybody may have written there counts only if it is a number that can be.
fn count(pod: &Pod, annotation: &str) -> i32 {
    pod.annotation(annotation).and_then(|text| text.parse().ok()).filter(|count| *count >= 0).unwrap_or(0)
}

fn exit(container: &ContainerStatus) -> Option<Exit> {
    let ended = container.state.as_ref()?.terminated.as_ref()?;
    (ended.exit_code != 0).then(|| Exit { container: container.name.clone(), code: ended.exit_code })
}

/// When its last container ended. Where a kubelet never said so: when it ceased to be ready, when it was deleted, when it was
/// made, whichever is known.
fn finished(pod: &Pod, status: &PodStatus) -> Option<Timestamp> {
    let unready = || {
        let ready = conditions::find(status.conditions.as_ref(), "Ready").filter(|ready| ready.status == "False")?;
        Some(ready.last_transition_time.as_ref()?.0)
    };
    let deleted = || {
        let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
        pod.metadata.deletion_timestamp.as_ref()?.0.checked_sub(grace).ok()
    };
    last_end(pod, status).or_else(unready).or_else(deleted).or_else(|| pod.created().map(|time| time.0))
}

/// `None` while one of them still runs. Sidecars end last.
fn last_end(pod: &Pod, status: &PodStatus) -> Option<Timestamp> {
    let is_sidecar = |name: &str| {
        let inits = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        inits.filter(|init| pod::is_sidecar(init)).any(|init| init.name == name)
    };
    let sidecars = status.init_container_statuses.iter().flatten().filter(|init| is_sidecar(&init.name));
    let ends = status.container_statuses.iter().flatten().chain(sidecars);
    let ends = ends.map(|c| Some(c.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0));
    ends.collect::<Option<Vec<_>>>()?.into_iter().max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn seen(pod: Value) -> SeenPod {
        SeenPod::of(serde_json::from_value(pod).unwrap())
    }
    fn at(text: &str) -> Option<Timestamp> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn nothing_is_kept_of_pods_that_are_no_jobs() {
        let owner = |kind: &str, version: &str| json!([{"apiVersion": version, "kind": kind, "name": "o", "uid": "u", "controller": true}]);
        for (why, meta, kept) in [
            ("nobody's", json!({}), false),
            ("a ReplicaSet's", json!({"ownerReferences": owner("ReplicaSet", "apps/v1")}), false),
            ("another group's Job's", json!({"ownerReferences": owner("Job", "example.com/v1")}), false),
            ("a Job's", json!({"ownerReferences": owner("Job", "batch/v1")}), true),
            ("one that a Job held", json!({"finalizers": [TRACKING_FINALIZER]}), true),
        ] {
            assert_eq!(seen(json!({"metadata": meta})).of_job.is_some(), kept, "{why}");
        }
    }

    #[test]
    fn numbers_that_cannot_be_do_not_count() {
        for (text, index, failures) in
            [("3", Some(3), 3), ("-1", None, 0), ("x", None, 0), ("99999999999", None, 0), ("", None, 0)]
        {
            let notes = json!({COMPLETION_INDEX: text, INDEX_FAILURES: text, INDEX_IGNORED_FAILURES: text});
            let pod = seen(json!({"metadata": {"finalizers": [TRACKING_FINALIZER], "annotations": notes}}));
            let of_job = pod.of_job.unwrap();
            let got = (of_job.index, of_job.index_failures, of_job.index_ignored_failures);
            assert_eq!(got, (index, failures, failures), "{text}");
        }
    }

    #[test]
    fn when_a_pod_ended_table() {
        let ended =
            |name: &str, at: &str| json!({"name": name, "state": {"terminated": {"exitCode": 1, "finishedAt": at}}});
        let (two, five, nine) = ("2026-01-01T00:00:02Z", "2026-01-01T00:00:05Z", "2026-01-01T00:00:09Z");
        let running = json!({"name": "b", "state": {"running": {}}});
        let unready = json!([{"type": "Ready", "status": "False", "lastTransitionTime": five}]);
        let sidecar =
            json!({"initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "i"}], "containers": []});
        let cases = [
            ("the last container", json!({"containerStatuses": [ended("a", five), ended("b", two)]}), five),
            (
                "a sidecar ends later; an init container does not count",
                json!({"containerStatuses": [ended("a", two)], "initContainerStatuses": [ended("s", five), ended("i", nine)]}),
                five,
            ),
            (
                "one still runs: since when it is not ready",
                json!({"containerStatuses": [ended("a", two), running], "conditions": unready}),
                five,
            ),
            ("nobody says so: its deletion, less the grace", json!({}), "2025-12-31T23:59:30Z"),
        ];
        for (why, status, expected) in cases {
            let meta = json!({
                "finalizers": [TRACKING_FINALIZER], "creationTimestamp": "2025-01-01T00:00:00Z",
                "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30,
            });
            assert_eq!(
                seen(json!({"metadata": meta, "spec": sidecar, "status": status})).finished(),
                at(expected),
                "{why}"
            );
        }
        let meta = json!({"finalizers": [TRACKING_FINALIZER], "creationTimestamp": two});
        assert_eq!(seen(json!({"metadata": meta})).finished(), at(two), "or when it was made");
    }
}
