//! HorizontalPodAutoscalers under load that is real: more replicas, fewer, and words where nothing can be measured.

use std::time::Duration;

use corten_e2e::manifest::{container, deployment};
use corten_e2e::{Cluster, eventually};
use serde_json::json;

/// Usage is measured over a quarter of a minute, and looked at as often.
const MEASURED: Duration = Duration::from_secs(180);
/// Busy while the file is there. Its limit keeps it from hindering others.
const WORK: &str = "trap exit TERM; while :; do if [ -e /tmp/busy ]; then i=0; while [ $i -lt 500 ]; do i=$((i+1)); done; \
                    else sleep 0.2; fi; done";

#[test]
fn an_autoscaler_follows_the_load_up_and_down() {
    let ns = Cluster::running().namespace("autoscale");
    let mut web = deployment("web", 1);
    let mut main = container(WORK);
    main["resources"] = json!({"requests": {"cpu": "20m"}, "limits": {"cpu": "40m"}});
    web["spec"]["template"]["spec"]["containers"] = json!([main]);
    ns.apply(&web.to_string());
    ns.ok("rollout status deployment web --timeout=60s");
    let at_once = json!({"stabilizationWindowSeconds": 0});
    let target = json!({"type": "Utilization", "averageUtilization": 50});
    let hpa = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1, "maxReplicas": 3, "behavior": {"scaleDown": at_once},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    });
    ns.apply(&hpa.to_string());
    let pods = || -> Vec<String> {
        let names = ns.ok("get pods -l app=web -o jsonpath={.items[*].metadata.name}");
        names.split_whitespace().map(str::to_owned).collect()
    };
    let replicas = |wanted: &str| {
        eventually(&format!("{wanted} replicas"), MEASURED, || {
            let seen = ns.ok("get hpa web -o wide");
            let now = ns.field("deployment web", "/spec/replicas");
            if now == wanted { Ok(()) } else { Err(seen) }
        });
    };
    for pod in pods() {
        ns.sh(&pod, "touch /tmp/busy").text();
    }
    replicas("3");
    assert!(ns.ok("describe hpa web").contains("cpu resource utilization (percentage of request) above target"));
    for pod in pods() {
        ns.attempt(&format!("exec {pod} -- rm -f /tmp/busy"));
    }
    replicas("1");
    assert!(ns.ok("describe hpa web").contains("All metrics below target"));
}

#[test]
fn an_autoscaler_without_metrics_says_why_and_leaves_its_target_alone() {
    let ns = Cluster::running().namespace("unmeasured");
    ns.apply(&deployment("web", 2).to_string());
    ns.ok("autoscale deployment web --min=1 --max=5 --cpu-percent=50");
    let told = ns.shows("describe hpa web", "FailedGetResourceMetric");
    assert!(told.contains("ScalingActive"), "{told}");
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
