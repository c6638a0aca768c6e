//! Who waits for whom, and what it all uses: priority and fairness by objects, and `kubectl top` with nothing installed.

use std::time::Duration;

use corten_e2e::{Cluster, SOON, eventually};

/// Two rounds of measuring, and the answer.
const MEASURED: Duration = Duration::from_secs(90);

#[test]
fn every_server_says_in_objects_how_requests_are_sorted_and_obeys_those_that_users_add() {
    let cluster = Cluster::running();
    let kubectl = cluster.kubectl();
    let listed = kubectl.ok("get flowschemas,prioritylevelconfigurations");
    for name in ["catch-all", "exempt", "system-leader-election", "workload-low"] {
        assert!(listed.contains(name), "{name}: {listed}");
    }
    kubectl.becomes("flowschema global-default", "/status/conditions/0/status", "False");
    let level = r#"{"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
        "metadata": {"name": "story"}, "spec": {"type": "Limited",
        "limited": {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}}}}"#;
    let schema = r#"{"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
        "metadata": {"name": "story"}, "spec": {"priorityLevelConfiguration": {"name": "story"},
        "matchingPrecedence": 70, "rules": [{"subjects": [{"kind": "User", "user": {"name": "story"}}],
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}]}]}}"#;
    kubectl.apply(schema);
    kubectl.becomes("flowschema story", "/status/conditions/0/status", "True");
    kubectl.apply(level);
    kubectl.becomes("flowschema story", "/status/conditions/0/status", "False");
    let queues = "get --raw /debug/api_priority_and_fairness/dump_priority_levels";
    eventually("the new level is at work", SOON, || {
        let text = kubectl.ok(queues);
        if text.lines().any(|line| line.starts_with("story,")) { Ok(()) } else { Err(text) }
    });
    kubectl.ok("delete flowschema story");
    kubectl.ok("delete prioritylevelconfiguration story");
    eventually("the level is gone", SOON, || {
        let text = kubectl.ok(queues);
        if text.lines().any(|line| line.starts_with("story,")) { Err(text) } else { Ok(()) }
    });
}

#[test]
fn top_tells_what_nodes_and_pods_use_with_nothing_installed() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("top");
    ns.run_pod("busy", "busybox:latest", "while true; do :; done");
    for (version, kubectl) in cluster.kubectl().every_version() {
        let nodes = eventually("nodes are measured", MEASURED, || {
            let out = kubectl.attempt("top nodes --no-headers");
            let rows = out.stdout.lines().count();
            if out.code == Some(0) && rows == cluster.nodes().len() { Ok(out.stdout) } else { Err(out.stderr) }
        });
        assert!(nodes.contains("master1"), "{version}: {nodes}");
        let own = kubectl.in_namespace(&ns.name);
        let millis = eventually("the pod is measured, at work", MEASURED, || {
            let out = own.attempt("top pods --containers --no-headers");
            let row = out.stdout.lines().find(|line| line.starts_with("busy"));
            let cpu = row.and_then(|row| row.split_whitespace().nth(2)?.strip_suffix('m')?.parse::<u64>().ok());
            cpu.filter(|millis| *millis > 0).ok_or(format!("{}{}", out.stdout, out.stderr))
        });
        assert!(millis > 0, "{version}");
    }
    let refused = cluster.kubectl_as("nodes/worker1/kubelet").refused("top nodes");
    assert!(refused.contains("Forbidden") || refused.contains("forbidden"), "{refused}");
}

#[test]
fn every_cluster_has_its_priority_classes_its_range_and_its_ca_where_others_look() {
    let kubectl = Cluster::running().kubectl();
    assert!(kubectl.ok("get priorityclasses").contains("system-node-critical"));
    kubectl.becomes("servicecidr kubernetes", "/status/conditions/0/status", "True");
    let ca = kubectl.field("configmap extension-apiserver-authentication -n kube-system", "/data/client-ca-file");
    assert!(ca.starts_with("-----BEGIN CERTIFICATE-----"), "{ca}");
    assert!(kubectl.ok("get ipaddresses").contains("services/default/kubernetes"));
}
