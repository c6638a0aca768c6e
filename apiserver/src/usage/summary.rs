//! What of a kubelet's stats summary is looked at.
//!
//! <https://kubernetes.io/docs/reference/instrumentation/node-metrics/>.

use jiff::Timestamp;
use serde::Deserialize;

use super::samples::Point;

/// Of one node: far more than run on any. A summary with more is refused.
const PODS_MAX: usize = 5_000;
const CONTAINERS_OF_POD_MAX: usize = 500;

#[derive(Debug, Deserialize)]
pub struct Summary {
    pub node: Measured,
    #[serde(default)]
    pub pods: Vec<PodSummary>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSummary {
    pub pod_ref: PodRef,
    #[serde(default)]
    pub containers: Vec<Measured>,
}

#[derive(Debug, Deserialize)]
pub struct PodRef {
    pub name: String,
    pub namespace: String,
    pub uid: String,
}

/// A container, or the node. What is not known is left out.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    pub name: Option<String>,
    start_time: Option<Timestamp>,
    cpu: Option<Cpu>,
    memory: Option<Memory>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    time: Timestamp,
    usage_core_nano_seconds: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    working_set_bytes: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum SummaryError {
    #[error("the summary cannot be read")]
    Unreadable(#[from] serde_json::Error),
    #[error(
        "the summary tells of more than {PODS_MAX} pods, or of more than {CONTAINERS_OF_POD_MAX} containers of one"
    )]
    TooLarge,
}

impl Summary {
    pub fn parse(json: &[u8]) -> Result<Self, SummaryError> {
        let summary: Self = serde_json::from_slice(json)?;
        let is_large = |pod: &PodSummary| pod.containers.len() > CONTAINERS_OF_POD_MAX;
        if summary.pods.len() > PODS_MAX || summary.pods.iter().any(is_large) {
            return Err(SummaryError::TooLarge);
        }
        Ok(summary)
    }
}

impl Measured {
    /// `None`: one of the two was not measured.
    pub fn point(&self) -> Option<Point> {
        let (cpu, memory) = (self.cpu.as_ref()?, self.memory.as_ref()?);
        Some(Point {
            started: self.start_time,
            at: cpu.time,
            cpu_nanos: cpu.usage_core_nano_seconds?,
            memory_bytes: memory.working_set_bytes?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_a_point_and_what_is_not_is_none() {
        let full = r#"{"node": {"nodeName": "n", "startTime": null,
            "cpu": {"time": "2026-01-01T00:00:01.5Z", "usageNanoCores": 7, "usageCoreNanoSeconds": 9},
            "memory": {"time": "2026-01-01T00:00:01.5Z", "workingSetBytes": 11}},
            "pods": [{"podRef": {"name": "p", "namespace": "n", "uid": "u"}, "containers": [{"name": "c"}]}]}"#;
        let summary = Summary::parse(full.as_bytes()).unwrap();
        let point = summary.node.point().unwrap();
        assert_eq!((point.started, point.cpu_nanos, point.memory_bytes), (None, 9, 11));
        assert_eq!(point.at.to_string(), "2026-01-01T00:00:01.5Z");
        assert_eq!(summary.pods[0].containers[0].point(), None);
        assert!(matches!(Summary::parse(b"{}"), Err(SummaryError::Unreadable(_))));
        let pod = r#"{"podRef": {"name": "p", "namespace": "n", "uid": "u"}}"#;
        let pods = vec![pod; PODS_MAX + 1].join(",");
        let many = format!(r#"{{"node": {{}}, "pods": [{pods}]}}"#);
        assert!(matches!(Summary::parse(many.as_bytes()), Err(SummaryError::TooLarge)));
    }
}
