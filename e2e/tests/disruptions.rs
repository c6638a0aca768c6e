//! What PodDisruptionBudgets promise: evictions wait while too few pods are healthy. They drain nodes: they run alone.

use std::time::Duration;

use corten_e2e::manifest::deployment;
use corten_e2e::{Cluster, Namespace, SOON, eventually};
use serde_json::{Value, json};

/// kubectl asks again for an eviction that is refused each 5 s.
const DRAINED: Duration = Duration::from_secs(120);

fn budget(ns: &Namespace, spec: &Value) {
    let mut spec = spec.clone();
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    let metadata = json!({"name": "web"});
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec});
    ns.apply(&budget.to_string());
}

/// Waits until the budget's status has these counts: `currentHealthy/desiredHealthy of expectedPods: disruptionsAllowed`.
fn counts(ns: &Namespace, expected: &str) {
    eventually(&format!("the budget to say {expected}"), SOON, || {
        let status = ns.json("pdb web").unwrap_or_default()["status"].take();
        let of = |field: &str| status[field].to_string();
        let seen = format!(
            "{}/{} of {}: {}",
            of("currentHealthy"),
            of("desiredHealthy"),
            of("expectedPods"),
            of("disruptionsAllowed")
        );
        if seen == expected { Ok(()) } else { Err(status.to_string()) }
    });
}

/// Takes the mark off that keeps pods from a node, whatever happens.
struct Uncordon<'a>(&'a Cluster, &'a str);

impl Drop for Uncordon<'_> {
    fn drop(&mut self) {
        self.0.kubectl().attempt(&format!("uncordon {}", self.1));
    }
}

#[test]
fn a_drain_waits_for_a_budget_and_then_goes_on() {
    let cluster = Cluster::running();
    let (ns, kubectl) = (cluster.namespace("drain"), cluster.kubectl());
    ns.apply(&deployment("web", 2).to_string());
    ns.ok("rollout status deployment/web --timeout=60s");
    budget(&ns, &json!({"minAvailable": 2}));
    counts(&ns, "2/2 of 2: 0");
    let node = ns.list("pods -l app=web")[0]["spec"]["nodeName"].as_str().unwrap().to_owned();
    let _undo = Uncordon(&cluster, &node);
    let drain = format!("drain {node} --pod-selector=app=web --ignore-daemonsets");
    let refused = kubectl.refused(&format!("{drain} --timeout=8s"));
    assert!(refused.contains("Cannot evict pod as it would violate the pod's disruption budget."), "{refused}");
    assert_eq!(ns.field("deployment web", "/status/readyReplicas"), "2", "nobody was evicted");
    // A third pod elsewhere is one that may be spared.
    let drained = kubectl.start(&format!("{drain} --timeout={}s", DRAINED.as_secs()));
    ns.ok("scale deployment web --replicas=3");
    drained.line("the drain to end", |line| line.contains("drained"));
    let on_node = format!("pods -l app=web --field-selector spec.nodeName={node}");
    eventually("no pod to be left on the node", SOON, || match ns.list(&on_node).len() {
        0 => Ok(()),
        n => Err(format!("{n} pods")),
    });
    counts(&ns, "3/2 of 3: 1");
}

#[test]
fn a_budget_of_a_share_counts_the_replicas_of_the_deployment() {
    let ns = Cluster::running().namespace("share");
    ns.apply(&deployment("web", 3).to_string());
    ns.ok("rollout status deployment/web --timeout=60s");
    budget(&ns, &json!({"maxUnavailable": "34%"}));
    // 34 % of three, rounded up, are two.
    counts(&ns, "3/1 of 3: 2");
    ns.ok("scale deployment web --replicas=2");
    counts(&ns, "2/1 of 2: 1");
    let reason = ns.field("pdb web", "/status/conditions/0/reason");
    assert_eq!(reason, "SufficientPods");
}

#[test]
fn a_budget_whose_pods_nobody_owns_says_so() {
    let ns = Cluster::running().namespace("unmanaged");
    ns.run_pod("web", "busybox:latest", "exec sleep 3600");
    budget(&ns, &json!({"maxUnavailable": 1}));
    eventually("an UnmanagedPods event", SOON, || {
        let events = ns.ok("get events -o jsonpath={.items[*].reason}");
        if events.contains("UnmanagedPods") { Ok(()) } else { Err(events) }
    });
    counts(&ns, "1/0 of 0: 0");
}
