//! StatefulSets: pods with names, domains and claims of their own, made and replaced one after the other.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

use corten_e2e::manifest::container;
use corten_e2e::{Cluster, Namespace, SOON, eventually};
use serde_json::{Value, json};

/// A StatefulSet `db` and its headless Service. Its pods serve their host names.
fn db(replicas: u32) -> Value {
    let serve = "mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www";
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [container(serve)]});
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {
            "replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": spec},
        },
    })
}

/// A namespace with that StatefulSet, changed by `change`.
fn with_db(story: &str, replicas: u32, change: impl FnOnce(&mut Value)) -> Namespace {
    let ns = Cluster::running().namespace(story);
    let spec = json!({"clusterIP": "None", "selector": {"app": "db"}, "ports": [{"port": 80}]});
    ns.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"}, "spec": spec}).to_string());
    let mut set = db(replicas);
    change(&mut set);
    ns.apply(&set.to_string());
    ns
}

fn is_rolled_out(ns: &Namespace) {
    ns.ok("rollout status statefulset/db --timeout=120s");
}

/// The pods' names with a field of each.
fn pods(ns: &Namespace, pointer: &str) -> Vec<(String, String)> {
    let text = |pod: &Value, pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut all: Vec<_> =
        ns.list("pods -l app=db").iter().map(|pod| (text(pod, "/metadata/name"), text(pod, pointer))).collect();
    all.sort();
    all
}

fn names(ns: &Namespace) -> Vec<String> {
    pods(ns, "/metadata/name").into_iter().map(|(name, _)| name).collect()
}

fn become_pods(ns: &Namespace, expected: &[&str]) {
    eventually(&format!("the pods {expected:?}"), SOON, || {
        let seen = names(ns);
        if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

const COLOUR: &str = "/spec/containers/0/env/0/value";

#[test]
fn pods_come_one_after_the_other_and_go_in_reverse() {
    let ns = with_db("ordered", 3, |_| {});
    is_rolled_out(&ns);
    let all = ns.list("pods -l app=db");
    let when = |pod: &str, pointer: &str| {
        let found = all.iter().find(|each| each["metadata"]["name"] == pod).unwrap();
        let conditions = found["status"]["conditions"].as_array().unwrap();
        let ready = conditions.iter().find(|each| each["type"] == "Ready").unwrap();
        if pointer == "Ready" { ready["lastTransitionTime"].clone() } else { found["metadata"][pointer].clone() }
    };
    for (before, after) in [("db-0", "db-1"), ("db-1", "db-2")] {
        let (ready, made) = (when(before, "Ready").to_string(), when(after, "creationTimestamp").to_string());
        assert!(ready <= made, "{after} was made at {made}, before {before} was ready at {ready}");
    }
    let first = &all.iter().find(|pod| pod["metadata"]["name"] == "db-0").unwrap()["metadata"]["labels"];
    assert_eq!(first["statefulset.kubernetes.io/pod-name"], "db-0");
    assert_eq!(first["apps.kubernetes.io/pod-index"], "0");
    assert_eq!(first["controller-revision-hash"], ns.field("statefulset db", "/status/currentRevision").as_str());
    ns.ok("scale statefulset db --replicas=1");
    become_pods(&ns, &["db-0"]);
    let gone = |pod: &str| {
        let message = format!("Delete Pod {pod} in StatefulSet db successful");
        eventually(&message, SOON, || {
            let told = ns.list("events").into_iter().find(|event| event["message"] == message.as_str());
            let at = told.as_ref().and_then(|event| event["metadata"]["resourceVersion"].as_str());
            at.and_then(|revision| revision.parse::<u64>().ok()).ok_or_else(|| "not told yet".to_owned())
        })
    };
    assert!(gone("db-2") < gone("db-1"), "the highest goes first");
    ns.becomes("statefulset db", "/status/replicas", "1");
}

#[test]
fn a_pod_keeps_its_name_and_its_domain_when_it_comes_anew() {
    let ns = with_db("names", 2, |_| {});
    is_rolled_out(&ns);
    ns.run_pod("client", "busybox:latest", "sleep 3600");
    let ask = |pod: &str| {
        let name = format!("{pod}.db.{}.svc.cluster.local", ns.name);
        ns.sh_until("client", &format!("timeout 5 wget -q -O - http://{name}/"), |page| page == format!("{pod}\n"));
    };
    ask("db-0");
    ask("db-1");
    let before = ns.field("pod db-1", "/metadata/uid");
    ns.ok("delete pod db-1");
    eventually("another pod of that name", SOON, || {
        let now = ns.field("pod db-1", "/metadata/uid");
        if !now.is_empty() && now != before { Ok(()) } else { Err(now) }
    });
    ns.pod_is_ready("db-1");
    ask("db-1");
    assert_eq!(ns.sh("db-1", "hostname -f").stdout.trim(), format!("db-1.db.{}.svc.cluster.local", ns.name));
}

#[test]
fn an_update_stops_at_its_partition_and_undo_goes_back() {
    let ns = with_db("partition", 3, |set| {
        set["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    });
    is_rolled_out(&ns);
    let first = ns.field("statefulset db", "/status/currentRevision");
    ns.ok("set env statefulset/db COLOUR=green");
    let colours = |expected: [&str; 3]| {
        eventually(&format!("the colours {expected:?}"), SOON, || {
            let seen: Vec<String> = pods(&ns, COLOUR).into_iter().map(|(_, colour)| colour).collect();
            if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
        });
    };
    colours(["", "", "green"]);
    ns.pod_is_ready("db-2");
    assert_eq!(ns.field("statefulset db", "/status/currentRevision"), first);
    ns.ok("delete pod db-1");
    ns.pod_is_ready("db-1");
    colours(["", "", "green"]);
    ns.ok(r#"patch statefulset db -p {"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}"#);
    is_rolled_out(&ns);
    colours(["green", "green", "green"]);
    let history = ns.ok("rollout history statefulset/db");
    assert!(history.contains('1') && history.contains('2'), "{history}");
    let second = ns.ok("rollout history statefulset/db --revision=2");
    assert!(second.contains("COLOUR:\tgreen"), "{second}");
    ns.ok("rollout undo statefulset/db");
    is_rolled_out(&ns);
    colours(["", "", ""]);
    assert_eq!(ns.field("statefulset db", "/status/currentRevision"), first, "the first revision is used again");
    assert_eq!(ns.list("controllerrevisions").len(), 2);
}

#[test]
fn a_broken_revision_takes_one_pod_and_the_next_one_mends_it() {
    let ns = with_db("broken", 3, |_| {});
    is_rolled_out(&ns);
    ns.ok("set image statefulset/db main=no-such-image:latest");
    ns.becomes("pod db-2", "/spec/containers/0/image", "no-such-image:latest");
    ns.becomes("statefulset db", "/status/readyReplicas", "2");
    assert_eq!(pods(&ns, "/spec/containers/0/image")[1].1, "busybox:latest", "the others still serve");
    ns.ok("rollout undo statefulset/db");
    is_rolled_out(&ns);
    assert_eq!(ns.field("statefulset db", "/status/readyReplicas"), "3");
    assert_eq!(pods(&ns, "/spec/containers/0/image")[2].1, "busybox:latest", "nobody had to delete a pod");
}

#[test]
fn a_set_that_never_came_up_does_with_a_better_template() {
    let ns = with_db("stillborn", 2, |set| {
        set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("no-such-image:latest");
    });
    ns.becomes("pod db-0", "/spec/containers/0/image", "no-such-image:latest");
    ns.ok("set image statefulset/db main=busybox:latest");
    is_rolled_out(&ns);
    assert_eq!(names(&ns), ["db-0", "db-1"]);
}

#[test]
fn with_parallel_management_nobody_waits_for_anybody() {
    let ns = with_db("parallel", 3, |set| {
        set["spec"]["podManagementPolicy"] = json!("Parallel");
        set["spec"]["ordinals"] = json!({"start": 5});
        set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("no-such-image:latest");
    });
    become_pods(&ns, &["db-5", "db-6", "db-7"]);
    ns.ok("set image statefulset/db main=busybox:latest");
    is_rolled_out(&ns);
    ns.ok("scale statefulset db --replicas=0");
    become_pods(&ns, &[]);
}

#[test]
fn with_on_delete_only_who_deletes_gets_a_new_pod() {
    let ns = with_db("ondelete", 2, |set| set["spec"]["updateStrategy"] = json!({"type": "OnDelete"}));
    ns.becomes("statefulset db", "/status/readyReplicas", "2");
    ns.ok("set env statefulset/db COLOUR=green");
    ns.becomes("statefulset db", "/status/observedGeneration", "2");
    ns.ok("delete pod db-0");
    eventually("a green db-0 beside the old db-1", SOON, || {
        let seen: Vec<String> = pods(&ns, COLOUR).into_iter().map(|(_, colour)| colour).collect();
        if seen == ["green", ""] { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    ns.becomes("statefulset db", "/status/updatedReplicas", "1");
}

/// Its pods wait for volumes, which nobody provides here: the claims are there all the same.
#[test]
fn claims_are_made_for_each_pod_and_go_with_the_set_if_it_says_so() {
    let ns = with_db("claims", 2, |set| {
        let spec = json!({
            "accessModes": ["ReadWriteOnce"], "storageClassName": "none", "resources": {"requests": {"storage": "1Mi"}},
        });
        set["spec"]["podManagementPolicy"] = json!("Parallel");
        set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": spec}]);
        set["spec"]["persistentVolumeClaimRetentionPolicy"] = json!({"whenDeleted": "Delete", "whenScaled": "Retain"});
    });
    let claims = || {
        let mut names: Vec<String> =
            ns.list("pvc").iter().map(|claim| claim["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    eventually("two claims", SOON, || {
        if claims() == ["data-db-0", "data-db-1"] { Ok(()) } else { Err(format!("{:?}", claims())) }
    });
    ns.becomes("pvc data-db-0", "/metadata/ownerReferences/0/kind", "StatefulSet");
    ns.becomes("pod db-1", "/spec/volumes/0/persistentVolumeClaim/claimName", "data-db-1");
    ns.ok("scale statefulset db --replicas=1");
    become_pods(&ns, &["db-0"]);
    assert_eq!(claims(), ["data-db-0", "data-db-1"], "one that is scaled away leaves its claim");
    ns.ok("delete statefulset db");
    eventually("no claims", SOON, || if claims().is_empty() { Ok(()) } else { Err(format!("{:?}", claims())) });
}
