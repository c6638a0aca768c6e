//! Deployments, ReplicaSets, owners and namespaces: what controllers promise.

use corten_e2e::{Cluster, Namespace, SOON, eventually};
use serde_json::{Value, json};

fn deployment(name: &str, replicas: u32, image: &str) -> String {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "main", "image": image, "imagePullPolicy": "IfNotPresent",
                        "command": ["sh", "-c", "exec sleep 3600"]}],
                },
            },
        },
    })
    .to_string()
}

fn pods(ns: &Namespace, selector: &str) -> Vec<Value> {
    let list = ns.json(&["pods", "-l", selector]).unwrap_or_default();
    list["items"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_deleted_pod_of_a_deployment_is_replaced() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("replace");
    ns.apply(&deployment("web", 2, "busybox:latest"));
    ns.run(&["rollout", "status", "deployment/web", "--timeout=60s"]).text();
    let victim = pods(&ns, "app=web")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    ns.run(&["delete", "pod", &victim]).text();
    eventually("two ready pods without the deleted one", SOON, || {
        let names: Vec<String> = pods(&ns, "app=web").iter().map(|p| p["metadata"]["name"].to_string()).collect();
        let ready = ns.field(&["deployment", "web"], "/status/readyReplicas");
        let gone = !names.iter().any(|n| n.contains(&victim));
        if gone && ready == "2" { Ok(()) } else { Err(format!("{ready} ready of {names:?}")) }
    });
}

#[test]
fn a_bad_image_never_takes_the_old_pods_down_and_undo_repairs_it() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("rollout");
    ns.apply(&deployment("web", 3, "busybox:latest"));
    ns.run(&["rollout", "status", "deployment/web", "--timeout=60s"]).text();
    ns.run(&["set", "image", "deployment/web", "main=no-such-image:latest"]).text();
    eventually("the new pod to say why it waits", SOON, || {
        let reasons: Vec<String> = pods(&ns, "app=web")
            .iter()
            .map(|p| p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].to_string())
            .collect();
        let pulling = reasons.iter().any(|r| r.contains("ErrImagePull") || r.contains("ImagePullBackOff"));
        if pulling { Ok(()) } else { Err(format!("{reasons:?}")) }
    });
    assert_eq!(ns.field(&["deployment", "web"], "/status/availableReplicas"), "3", "all old pods still serve");
    ns.run(&["rollout", "undo", "deployment/web"]).text();
    ns.run(&["rollout", "status", "deployment/web", "--timeout=60s"]).text();
    let history = ns.run(&["rollout", "history", "deployment/web"]).text();
    assert!(history.contains('3') && !history.contains("\n1 "), "revision 1 became 3: {history}");
}

#[test]
fn a_rolling_update_ends_with_only_new_pods() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("update");
    ns.apply(&deployment("web", 3, "busybox:latest"));
    ns.run(&["rollout", "status", "deployment/web", "--timeout=60s"]).text();
    ns.run(&["set", "env", "deployment/web", "COLOUR=green"]).text();
    ns.run(&["rollout", "status", "deployment/web", "--timeout=90s"]).text();
    eventually("three pods, all green", SOON, || {
        let all = pods(&ns, "app=web");
        let green = all.iter().filter(|p| p["spec"]["containers"][0]["env"][0]["value"] == "green").count();
        if (all.len(), green) == (3, 3) { Ok(()) } else { Err(format!("{green} of {}", all.len())) }
    });
}

#[test]
fn deleting_a_deployment_takes_its_replicasets_and_pods_with_it() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("owned");
    ns.apply(&deployment("web", 2, "busybox:latest"));
    ns.run(&["rollout", "status", "deployment/web", "--timeout=60s"]).text();
    ns.run(&["delete", "deployment", "web"]).text();
    eventually("nothing of it to be left", SOON, || {
        let left = ns.run(&["get", "replicasets,pods", "-o", "name"]).text();
        if left.trim().is_empty() { Ok(()) } else { Err(left) }
    });
}

#[test]
fn an_orphaning_delete_leaves_the_pods() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("orphan");
    ns.apply(&deployment("web", 1, "busybox:latest"));
    ns.run(&["rollout", "status", "deployment/web", "--timeout=60s"]).text();
    ns.run(&["delete", "deployment", "web", "--cascade=orphan"]).text();
    eventually("a ReplicaSet without an owner", SOON, || {
        let sets = ns.json(&["replicasets"]).unwrap_or_default();
        let first = &sets["items"][0]["metadata"];
        let free = first["name"].is_string() && first["ownerReferences"].is_null();
        if free { Ok(()) } else { Err(first.to_string()) }
    });
    assert_eq!(pods(&ns, "app=web").len(), 1);
}

#[test]
fn a_selector_that_does_not_match_its_template_is_refused() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("selector");
    let wrong = deployment("web", 1, "busybox:latest")
        .replace(r#""matchLabels":{"app":"web"}"#, r#""matchLabels":{"app":"x"}"#);
    let refusal = ns.run_with_input(&["create", "-f", "-"], &wrong).refusal();
    assert!(refusal.contains("is invalid") && refusal.contains("spec.template.metadata.labels"), "{refusal}");
    assert!(ns.json(&["deployment", "web"]).is_none());
}

#[test]
fn deleting_a_namespace_empties_it_and_then_it_is_gone() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("emptied");
    ns.apply(&deployment("web", 2, "busybox:latest"));
    ns.run(&["create", "configmap", "settings", "--from-literal=a=b"]).text();
    ns.run(&["rollout", "status", "deployment/web", "--timeout=60s"]).text();
    cluster.kubectl().run(&["delete", "namespace", &ns.name, "--timeout=60s"]).text();
    assert!(cluster.kubectl().json(&["namespace", &ns.name]).is_none());
    let refusal = ns.run(&["create", "configmap", "late"]).refusal();
    assert!(refusal.contains("not found"), "{refusal}");
}

#[test]
fn scaling_to_zero_and_up_again_works_by_scale_and_by_edit() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("scale");
    ns.apply(&deployment("web", 1, "busybox:latest"));
    ns.run(&["scale", "deployment", "web", "--replicas=0"]).text();
    eventually("no pods", SOON, || match pods(&ns, "app=web").len() {
        0 => Ok(()),
        n => Err(format!("{n} pods")),
    });
    ns.run(&["patch", "deployment", "web", "-p", r#"{"spec":{"replicas":2}}"#]).text();
    ns.wait_field(&["deployment", "web"], "/status/readyReplicas", "2", SOON);
}
