//! The pods of an autoscaler's target, and whether another autoscaler has the same.

use std::collections::HashMap;

use corten_api::conditions;
use corten_api::k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use corten_api::k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use corten_api::pod::is_sidecar;
use corten_api::selector::{Labels, Selector};
use corten_api::{ApiError, Key, Object};
use parking_lot::Mutex;

use super::decide::BadSelector;
use super::replicas::{Phase, PodFacts};
use crate::context::Context;

/// The condition.
const READY: &str = "Ready";

/// The pods of a target, [`reduced`].
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) pods: Vec<Pod>,
    pub(super) facts: Vec<PodFacts>,
}

/// What the targets of autoscalers select, as each was last looked at.
#[derive(Debug, Default)]
pub(super) struct Selectors(Mutex<HashMap<Key, Selector>>);

impl Selectors {
    pub(super) fn forget(&self, hpa: &Key) {
        self.0.lock().remove(hpa);
    }

    /// The pods that `selector` (in its query form) names in the autoscaler's namespace.
    pub(super) async fn select(
        &self,
        context: &Context,
        hpa: &HorizontalPodAutoscaler,
        selector: &str,
    ) -> Result<Result<Selected, BadSelector>, ApiError> {
        let parsed = match parse(selector) {
            Ok(parsed) => parsed,
            Err(bad) => {
                self.forget(&hpa.key());
                return Ok(Err(bad));
            }
        };
        self.0.lock().insert(hpa.key(), parsed);
        let pods = context.client.list_reduced(Some(hpa.namespace()), selector, reduced).await?.items;
        let rivals = self.rivals(hpa, &pods);
        if !rivals.is_empty() {
            return Ok(Err(ambiguous(selector, &hpa.key(), &rivals)));
        }
        let facts = pods.iter().map(facts).collect();
        Ok(Ok(Selected { pods, facts }))
    }

    /// Other autoscalers of the namespace whose targets have one of these pods.
    fn rivals(&self, hpa: &HorizontalPodAutoscaler, pods: &[Pod]) -> Vec<Key> {
        static NONE: Labels = Labels::new();
        let own = hpa.key();
        let has_one = |selector: &Selector| {
            pods.iter().any(|pod| selector.matches(pod.metadata.labels.as_ref().unwrap_or(&NONE)))
        };
        let selectors = self.0.lock();
        let others = selectors.iter().filter(|(key, _)| key.namespace == own.namespace && **key != own);
        let mut rivals: Vec<Key> =
            others.filter(|(_, selector)| has_one(selector)).map(|(key, _)| key.clone()).collect();
        rivals.sort();
        rivals
    }
}

fn parse(selector: &str) -> Result<Selector, BadSelector> {
    let invalid = "InvalidSelector";
    if selector.is_empty() {
        return Err(BadSelector {
            event: "SelectorRequired",
            reason: invalid,
            message: "selector is required".into(),
            condition: "the HPA target's scale is missing a selector".into(),
        });
    }
    Selector::parse(selector).map_err(|err| {
        let message = format!("couldn't convert selector into a corresponding internal selector object: {err}");
        BadSelector { event: invalid, reason: invalid, condition: message.clone(), message }
    })
}

fn ambiguous(selector: &str, own: &Key, rivals: &[Key]) -> BadSelector {
    let mut all: Vec<String> =
        rivals.iter().chain([own]).map(|key| format!("{}/{}", key.namespace, key.name)).collect();
    all.sort();
    let message = format!("pods by selector {selector} are controlled by multiple HPAs: [{}]", all.join(" "));
    let reason = "AmbiguousSelector";
    BadSelector { event: reason, reason, condition: message.clone(), message }
}

/// A pod with what is read of it alone: a target may have thousands, and each autoscaler looks at its own every few seconds.
fn reduced(pod: Pod) -> Pod {
    let container = |one: Container| Container {
        name: one.name,
        resources: one.resources,
        restart_policy: one.restart_policy,
        ..Container::default()
    };
    let spec = pod.spec.map(|spec| PodSpec {
        containers: spec.containers.into_iter().map(container).collect(),
        init_containers: spec.init_containers.map(|all| all.into_iter().filter(is_sidecar).map(container).collect()),
        resources: spec.resources,
        ..PodSpec::default()
    });
    let status = pod.status.map(|status| PodStatus {
        phase: status.phase,
        start_time: status.start_time,
        conditions: status.conditions.map(|all| all.into_iter().filter(|one| one.type_ == READY).collect()),
        ..PodStatus::default()
    });
    let metadata = ObjectMeta {
        name: pod.metadata.name,
        namespace: pod.metadata.namespace,
        labels: pod.metadata.labels,
        deletion_timestamp: pod.metadata.deletion_timestamp,
        ..ObjectMeta::default()
    };
    Pod { metadata, spec, status }
}

fn facts(pod: &Pod) -> PodFacts {
    let status = pod.status.as_ref();
    let ready = conditions::find(status.and_then(|status| status.conditions.as_ref()), READY);
    let since = |time: &corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time| time.0;
    PodFacts {
        name: pod.name().to_owned(),
        deleting: pod.is_deleting(),
        phase: match status.and_then(|status| status.phase.as_deref()).unwrap_or_default() {
            "Pending" | "" => Phase::Pending,
            "Running" => Phase::Running,
            "Failed" => Phase::Failed,
            _ => Phase::Other,
        },
        started: status.and_then(|status| status.start_time.as_ref()).map(since),
        ready: ready.and_then(|ready| Some((ready.status != "False", ready.last_transition_time.as_ref().map(since)?))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_pod_nothing_is_kept_but_what_is_read() {
        let requests = json!({"requests": {"cpu": "1"}});
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let pod = json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"a": "b"}, "annotations": {"large": "x"},
                "managedFields": [{"manager": "m"}], "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "containers": [{"name": "c", "image": "i", "env": [{"name": "E", "value": "x"}], "resources": requests}],
                "initContainers": [
                    {"name": "s", "restartPolicy": "Always", "image": "i", "resources": requests},
                    {"name": "i", "resources": requests},
                ],
                "volumes": [{"name": "v", "emptyDir": {}}], "resources": requests, "nodeName": "n1",
            },
            "status": {"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "podIP": "10.0.0.1",
                "conditions": [ready, {"type": "Initialized", "status": "True"}]},
        });
        let expected = json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"a": "b"}, "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "containers": [{"name": "c", "resources": requests}],
                "initContainers": [{"name": "s", "restartPolicy": "Always", "resources": requests}],
                "resources": requests,
            },
            "status": {"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "conditions": [ready]},
        });
        let of = |pod: serde_json::Value| serde_json::from_value::<Pod>(pod).unwrap();
        assert_eq!(reduced(of(pod.clone())), of(expected));
        assert_eq!(facts(&reduced(of(pod.clone()))), facts(&of(pod)));
    }
}
