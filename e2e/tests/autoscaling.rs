//! HorizontalPodAutoscalers: words where nothing can be measured.

use corten_e2e::manifest::deployment;
use corten_e2e::{Cluster, SOON, eventually};
use serde_json::json;

#[test]
fn an_autoscaler_without_metrics_says_why_and_leaves_its_target_alone() {
    let ns = Cluster::running().namespace("unmeasured");
    ns.apply(&deployment("web", 2).to_string());
    ns.ok("autoscale deployment web --min=1 --max=5 --cpu-percent=50");
    // The event is told before the condition is written.
    eventually("a condition and an event to say why", SOON, || {
        let told = ns.ok("describe hpa web");
        let is_told = told.contains("FailedGetResourceMetric") && told.contains("ScalingActive");
        if is_told { Ok(()) } else { Err(told) }
    });
    assert_eq!(ns.field("deployment web", "/spec/replicas"), "2");
    ns.ok("delete hpa web");
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "nobody"});
    let spec = json!({"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 5});
    let hpa = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "nobody"}, "spec": spec});
    ns.apply(&hpa.to_string());
    let told = ns.shows("describe hpa nobody", "FailedGetScale");
    assert!(told.contains("deployments.apps \"nobody\" not found"), "{told}");
}
