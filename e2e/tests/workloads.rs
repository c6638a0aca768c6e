//! Deployments, ReplicaSets, owners and namespaces: what controllers promise.

use corten_e2e::manifest::deployment;
use corten_e2e::{Cluster, Namespace, SOON, eventually};

/// A Deployment `web` in a namespace of its own, all its pods available.
fn web(story: &str, replicas: u32) -> Namespace {
    let ns = Cluster::running().namespace(story);
    ns.apply(&deployment("web", replicas).to_string());
    ns.ok("rollout status deployment/web --timeout=60s");
    ns
}

#[test]
fn a_deleted_pod_of_a_deployment_is_replaced() {
    let ns = web("replace", 2);
    let victim = ns.list("pods -l app=web")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    ns.ok(&format!("delete pod {victim}"));
    eventually("two ready pods without the deleted one", SOON, || {
        let names: Vec<String> = ns.list("pods -l app=web").iter().map(|p| p["metadata"]["name"].to_string()).collect();
        let ready = ns.field("deployment web", "/status/readyReplicas");
        let gone = !names.iter().any(|n| n.contains(&victim));
        if gone && ready == "2" { Ok(()) } else { Err(format!("{ready} ready of {names:?}")) }
    });
}

#[test]
fn a_bad_image_never_takes_the_old_pods_down_and_undo_repairs_it() {
    let ns = web("rollout", 3);
    ns.ok("set image deployment/web main=no-such-image:latest");
    eventually("the new pod to say why it waits", SOON, || {
        let reasons: Vec<String> = ns
            .list("pods -l app=web")
            .iter()
            .map(|p| p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].to_string())
            .collect();
        let pulling = reasons.iter().any(|r| r.contains("ErrImagePull") || r.contains("ImagePullBackOff"));
        if pulling { Ok(()) } else { Err(format!("{reasons:?}")) }
    });
    assert_eq!(ns.field("deployment web", "/status/availableReplicas"), "3", "all old pods still serve");
    ns.ok("rollout undo deployment/web");
    ns.ok("rollout status deployment/web --timeout=60s");
    let history = ns.ok("rollout history deployment/web");
    assert!(history.contains('3') && !history.contains("\n1 "), "revision 1 became 3: {history}");
}

#[test]
fn a_rolling_update_ends_with_only_new_pods() {
    let ns = web("update", 3);
    ns.ok("set env deployment/web COLOUR=green");
    ns.ok("rollout status deployment/web --timeout=90s");
    eventually("three pods, all green", SOON, || {
        let all = ns.list("pods -l app=web");
        let green = all.iter().filter(|p| p["spec"]["containers"][0]["env"][0]["value"] == "green").count();
        if (all.len(), green) == (3, 3) { Ok(()) } else { Err(format!("{green} of {}", all.len())) }
    });
}

#[test]
fn deleting_a_deployment_takes_its_replicasets_and_pods_with_it() {
    let ns = web("owned", 2);
    ns.ok("delete deployment web");
    eventually("nothing of it to be left", SOON, || {
        let left = ns.ok("get replicasets,pods -o name");
        if left.trim().is_empty() { Ok(()) } else { Err(left) }
    });
}

#[test]
fn an_orphaning_delete_leaves_the_pods() {
    let ns = web("orphan", 1);
    ns.ok("delete deployment web --cascade=orphan");
    eventually("a ReplicaSet without an owner", SOON, || {
        let sets = ns.json("replicasets").unwrap_or_default();
        let first = &sets["items"][0]["metadata"];
        let free = first["name"].is_string() && first["ownerReferences"].is_null();
        if free { Ok(()) } else { Err(first.to_string()) }
    });
    assert_eq!(ns.list("pods -l app=web").len(), 1);
}

#[test]
fn a_selector_that_does_not_match_its_template_is_refused() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("selector");
    let wrong =
        deployment("web", 1).to_string().replace(r#""matchLabels":{"app":"web"}"#, r#""matchLabels":{"app":"x"}"#);
    let refusal = ns.apply_refused(&wrong);
    assert!(refusal.contains("is invalid") && refusal.contains("spec.template.metadata.labels"), "{refusal}");
    assert!(ns.json("deployment web").is_none());
}

#[test]
fn deleting_a_namespace_empties_it_and_then_it_is_gone() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("emptied");
    ns.apply(&deployment("web", 2).to_string());
    ns.ok("create configmap settings --from-literal=a=b");
    ns.ok("rollout status deployment/web --timeout=60s");
    cluster.kubectl().ok(&format!("delete namespace {} --timeout=60s", ns.name));
    assert!(cluster.kubectl().json(&format!("namespace {}", ns.name)).is_none());
    let refusal = ns.refused("create configmap late");
    assert!(refusal.contains("not found"), "{refusal}");
}

#[test]
fn scaling_to_zero_and_up_again_works_by_scale_and_by_edit() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("scale");
    ns.apply(&deployment("web", 1).to_string());
    ns.ok("scale deployment web --replicas=0");
    eventually("no pods", SOON, || match ns.list("pods -l app=web").len() {
        0 => Ok(()),
        n => Err(format!("{n} pods")),
    });
    ns.ok(r#"patch deployment web -p {"spec":{"replicas":2}}"#);
    ns.becomes("deployment web", "/status/readyReplicas", "2");
}

#[test]
fn a_rollout_can_pause_go_on_start_again_and_go_back_to_any_revision() {
    let ns = web("revisions", 1);
    let colour = || ns.field("deployment web", "/spec/template/spec/containers/0/env/0/value");
    ns.ok("rollout pause deployment/web");
    ns.ok("set env deployment/web COLOUR=green");
    ns.becomes("deployment web", "/status/observedGeneration", &ns.field("deployment web", "/metadata/generation"));
    assert_eq!(ns.list("replicasets").len(), 1, "nothing is rolled out meanwhile");
    ns.ok("rollout resume deployment/web");
    ns.ok("rollout status deployment/web --timeout=60s");
    ns.ok("set env deployment/web COLOUR=red");
    ns.ok("rollout status deployment/web --timeout=60s");
    assert_eq!(ns.list("replicasets").len(), 3);
    let second = ns.ok("rollout history deployment/web --revision=2");
    assert!(second.contains("COLOUR:\tgreen"), "{second}");
    ns.ok("rollout undo deployment/web --to-revision=2");
    ns.ok("rollout status deployment/web --timeout=60s");
    assert_eq!(colour(), "green");
    assert_eq!(ns.list("replicasets").len(), 3, "the old ReplicaSet is used again");
    let before = ns.list("pods -l app=web")[0]["metadata"]["uid"].clone();
    ns.ok("rollout restart deployment/web");
    ns.ok("rollout status deployment/web --timeout=60s");
    eventually("only a new pod", SOON, || {
        let pods = ns.list("pods -l app=web");
        if pods.len() == 1 && pods[0]["metadata"]["uid"] != before {
            Ok(())
        } else {
            Err(format!("{} pods", pods.len()))
        }
    });
}

#[test]
fn a_recreated_deployment_never_has_old_and_new_pods_at_once() {
    let ns = Cluster::running().namespace("recreate");
    let mut manifest = deployment("web", 2);
    manifest["spec"]["strategy"] = serde_json::json!({"type": "Recreate"});
    ns.apply(&manifest.to_string());
    ns.ok("rollout status deployment/web --timeout=60s");
    let columns = r#"jsonpath={.type}{"/"}{.object.metadata.name}{"\n"}"#;
    let watch = ns.start(&format!("get pods -l app=web -w --output-watch-events -o {columns}"));
    let mut alive = std::collections::BTreeSet::new();
    let mut next = |count: usize| {
        watch.line(&format!("{count} pods"), |line| {
            let (kind, name) = line.split_once('/').unwrap_or_default();
            _ = if kind == "DELETED" { alive.remove(name) } else { alive.insert(name.to_owned()) };
            assert!(alive.len() <= 2, "{alive:?}");
            alive.len() == count
        });
    };
    next(2);
    ns.ok("set env deployment/web COLOUR=green");
    next(0);
    next(2);
    ns.ok("rollout status deployment/web --timeout=60s");
}

#[test]
fn a_rolling_update_keeps_within_its_surge_and_its_unavailable() {
    let ns = web("bounds", 3);
    let bounds = r#"{"spec":{"minReadySeconds":1,"strategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":0}}}}"#;
    ns.ok(&format!("patch deployment web -p {bounds}"));
    // Pods that have been ready for less than the second are not available. The ReplicaSet is told of that after the
    // Deployment has said that it saw the change, so the Deployment's own word is not enough.
    eventually("its pods to be available by the new measure", SOON, || {
        let sets = ns.list("replicasets -l app=web");
        let [set] = sets.as_slice() else { return Err(format!("{} ReplicaSets", sets.len())) };
        let seen = set["status"]["observedGeneration"] == set["metadata"]["generation"];
        let measured = set["spec"]["minReadySeconds"] == 1 && seen && set["status"]["availableReplicas"] == 3;
        if measured { Ok(()) } else { Err(set.to_string()) }
    });
    ns.becomes("deployment web", "/status/availableReplicas", "3");
    ns.ok("set env deployment/web COLOUR=green");
    eventually("the update to be through", SOON, || {
        let status = ns.json("deployment web").unwrap_or_default()["status"].clone();
        let number = |field: &str| status[field].as_u64().unwrap_or_default();
        assert!(number("replicas") <= 4 && number("availableReplicas") >= 3, "{status}");
        if number("updatedReplicas") == 3 && number("replicas") == 3 { Ok(()) } else { Err(status.to_string()) }
    });
}

#[test]
fn a_foreground_delete_waits_for_what_it_owns() {
    let ns = Cluster::running().namespace("foreground");
    let mut manifest = deployment("web", 1);
    manifest["spec"]["template"]["metadata"]["finalizers"] = serde_json::json!(["example.com/hold"]);
    ns.apply(&manifest.to_string());
    ns.ok("rollout status deployment/web --timeout=60s");
    let pod = ns.ok("get pods -l app=web -o name").trim().to_owned();
    ns.ok("delete deployment web --cascade=foreground --wait=false");
    eventually("its pod to end", SOON, || {
        let stamp = ns.field(&pod, "/metadata/deletionTimestamp");
        if stamp.is_empty() { Err("it has no deletionTimestamp".into()) } else { Ok(()) }
    });
    assert_eq!(ns.field("deployment web", "/metadata/finalizers/0"), "foregroundDeletion");
    ns.ok(&format!(r#"patch {pod} --type=merge -p {{"metadata":{{"finalizers":null}}}}"#));
    eventually("all to be gone", SOON, || {
        let left = ns.ok("get deployments,replicasets,pods -o name");
        if left.trim().is_empty() { Ok(()) } else { Err(left) }
    });
}

#[test]
fn a_replicaset_scales_and_takes_pods_that_match_it() {
    let ns = Cluster::running().namespace("adopts");
    ns.run_pod("orphan", "busybox:latest", "exec sleep 3600");
    let mut set = deployment("orphan", 1);
    set["kind"] = "ReplicaSet".into();
    ns.apply(&set.to_string());
    ns.becomes("pod orphan", "/metadata/ownerReferences/0/kind", "ReplicaSet");
    ns.becomes("replicaset orphan", "/status/readyReplicas", "1");
    assert_eq!(ns.list("pods -l app=orphan").len(), 1, "it needs no other");
    ns.ok("scale replicaset orphan --replicas=2");
    ns.becomes("replicaset orphan", "/status/readyReplicas", "2");
    ns.ok("label pod orphan app=free --overwrite");
    ns.becomes("pod orphan", "/metadata/ownerReferences", "");
    ns.becomes("replicaset orphan", "/status/readyReplicas", "2");
    assert_eq!(ns.list("pods").len(), 3, "one was let go and replaced");
}

#[test]
fn a_namespaces_service_account_and_root_certificate_come_back() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("accounts");
    let uid = ns.field("serviceaccount default", "/metadata/uid");
    ns.ok("delete serviceaccount default");
    eventually("another default account", SOON, || {
        let now = ns.field("serviceaccount default", "/metadata/uid");
        if !now.is_empty() && now != uid { Ok(()) } else { Err(now) }
    });
    ns.ok("delete configmap kube-root-ca.crt");
    ns.shows("get configmap kube-root-ca.crt -o yaml", "BEGIN CERTIFICATE");
    let names = cluster.kubectl().ok("get namespaces -o name");
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        assert!(names.contains(&format!("namespace/{name}\n")), "{names}");
    }
}
