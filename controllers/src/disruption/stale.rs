//! Pods of which a condition says that they are about to be disrupted, and that nobody disrupts. Pure.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions>

use std::time::Duration;

use corten_api::Object;
use corten_api::k8s_openapi::api::core::v1::{Pod, PodCondition};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::pods::{DISRUPTION_TARGET, SeenPod};

/// A pod that is to be disrupted is deleted within this time, or not at all.
pub const STALE_AFTER: SignedDuration = SignedDuration::from_mins(2);

/// How long until the pod's DisruptionTarget condition is no longer true; `None`: it has none that could become so.
pub fn stale_in(pod: &SeenPod, now: Timestamp) -> Option<Duration> {
    let since = pod.disruption_target_since.filter(|_| pod.is_active())?;
    let stale_at = since.checked_add(STALE_AFTER).unwrap_or(Timestamp::MAX);
    Some(Duration::try_from(stale_at.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// What takes the condition back, if the pod is still as it was read.
pub fn no_longer(pod: &Pod, now: Timestamp) -> Value {
    let mut condition = json!(PodCondition {
        type_: DISRUPTION_TARGET.into(),
        status: "False".into(),
        last_transition_time: Some(Time(now)),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    });
    // What it said was why the pod was to go.
    for said in ["reason", "message"] {
        condition[said] = Value::Null;
    }
    json!({
        "metadata": {"uid": pod.uid(), "resourceVersion": pod.metadata.resource_version},
        "status": {"conditions": [condition]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_table() {
        let at = |secs| Timestamp::from_second(secs).unwrap();
        let pod = |since: Option<i64>| SeenPod { disruption_target_since: since.map(at), ..SeenPod::default() };
        let cases = [
            ("nobody wants to disrupt it", pod(None), None),
            ("told of just now", pod(Some(1000)), Some(120)),
            ("told of a while ago", pod(Some(900)), Some(20)),
            ("it was about to go, and has not", pod(Some(880)), Some(0)),
            ("long ago", pod(Some(0)), Some(0)),
            ("it is on its way", SeenPod { deleting: Some(at(1)), ..pod(Some(0)) }, None),
            ("it has ended", SeenPod { phase: crate::pods::Phase::Failed, ..pod(Some(0)) }, None),
        ];
        for (why, pod, expected) in cases {
            assert_eq!(stale_in(&pod, at(1000)), expected.map(Duration::from_secs), "{why}");
        }
    }

    #[test]
    fn the_condition_loses_what_it_said_and_only_of_the_pod_that_was_read() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": "u", "resourceVersion": "7", "generation": 3},
        }))
        .unwrap();
        let patch = no_longer(&pod, Timestamp::UNIX_EPOCH);
        assert_eq!(patch["metadata"], json!({"uid": "u", "resourceVersion": "7"}));
        let expected = json!([{
            "type": "DisruptionTarget", "status": "False", "observedGeneration": 3,
            "lastTransitionTime": "1970-01-01T00:00:00Z", "reason": null, "message": null,
        }]);
        assert_eq!(patch["status"]["conditions"], expected);
    }
}
