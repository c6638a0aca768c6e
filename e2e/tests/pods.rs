//! What a kubelet does for a pod: environment, volumes, probes, restarts, limits, grace, logs.

use std::time::{Duration, Instant};

use corten_e2e::manifest::{container, pod};
use corten_e2e::{Cluster, SOON, eventually};
use serde_json::json;

#[test]
fn a_killed_process_is_restarted_and_its_end_is_told() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("restart");
    ns.apply(&pod("crash", &json!({"containers": [container("sleep 1; exit 7")]})));
    eventually("a second start with the first's exit code", SOON, || {
        let pod = ns.json("pod crash").unwrap_or_default();
        let status = &pod["status"]["containerStatuses"][0];
        let told = status["lastState"]["terminated"]["exitCode"] == 7 && status["restartCount"].as_u64() >= Some(1);
        if told { Ok(()) } else { Err(status.to_string()) }
    });
    ns.becomes("pod crash", "/status/containerStatuses/0/state/waiting/reason", "CrashLoopBackOff");
    ns.shows("describe pod crash", "Back-off restarting failed container");
}

#[test]
fn a_process_killed_from_outside_is_restarted_with_its_signal_told() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("killed");
    // A number of its own, by which the process is found among all of its node.
    ns.apply(&pod("victim", &json!({"containers": [container("exec sleep 424242")]})));
    ns.pod_is_ready("victim");
    let node = ns.field("pod victim", "/spec/nodeName");
    cluster.node_sh(&node, "grep -lz '^424242$' /proc/[0-9]*/cmdline | grep -o '[0-9]*' | xargs kill -KILL");
    ns.becomes("pod victim", "/status/containerStatuses/0/restartCount", "1");
    assert_eq!(ns.field("pod victim", "/status/containerStatuses/0/lastState/terminated/exitCode"), "137");
    ns.pod_is_ready("victim");
}

#[test]
fn a_pod_that_never_restarts_ends_as_its_containers_did() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("ends");
    ns.apply(&pod("good", &json!({"restartPolicy": "Never", "containers": [container("echo done")]})));
    ns.apply(&pod("bad", &json!({"restartPolicy": "Never", "containers": [container("exit 3")]})));
    ns.becomes("pod good", "/status/phase", "Succeeded");
    ns.becomes("pod bad", "/status/phase", "Failed");
    assert_eq!(ns.field("pod bad", "/status/containerStatuses/0/state/terminated/exitCode"), "3");
    assert_eq!(ns.ok("logs good"), "done\n");
}

#[test]
fn init_containers_run_in_order_before_the_others() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("init");
    let step = |name: &str, text: &str| {
        let mut c = container(&format!("echo {text} >> /work/log"));
        c["name"] = name.into();
        c["volumeMounts"] = json!([{"name": "work", "mountPath": "/work"}]);
        c
    };
    let mut main = container("cat /work/log; sleep 3600");
    main["volumeMounts"] = json!([{"name": "work", "mountPath": "/work"}]);
    ns.apply(&pod(
        "steps",
        &json!({
            "volumes": [{"name": "work", "emptyDir": {}}],
            "initContainers": [step("one", "first"), step("two", "second")],
            "containers": [main],
        }),
    ));
    ns.pod_is_ready("steps");
    ns.shows("logs steps", "first\nsecond\n");
}

#[test]
fn config_and_secrets_come_as_environment_and_files_and_files_follow_changes() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("config");
    ns.ok("create configmap settings --from-literal=colour=blue --from-literal=size=10");
    ns.ok("create secret generic keys --from-literal=password=hunter2");
    let mut main = container("sleep 3600");
    main["env"] = json!([
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
        {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "GREETING", "value": "$(ME) is $(COLOUR)"},
    ]);
    main["envFrom"] = json!([{"prefix": "CFG_", "configMapRef": {"name": "settings"}}]);
    main["volumeMounts"] = json!([
        {"name": "settings", "mountPath": "/etc/settings"}, {"name": "keys", "mountPath": "/etc/keys", "readOnly": true},
    ]);
    ns.apply(&pod(
        "reader",
        &json!({
            "volumes": [{"name": "settings", "configMap": {"name": "settings"}},
                {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}}],
            "containers": [main],
        }),
    ));
    ns.pod_is_ready("reader");
    let env = ns.sh("reader", "echo $GREETING $PASSWORD $CFG_size").text();
    assert_eq!(env, "reader is blue hunter2 10\n");
    assert_eq!(ns.sh("reader", "cat /etc/settings/colour /etc/keys/password").text(), "bluehunter2");
    assert!(ns.sh("reader", "ls -lL /etc/keys/password").text().starts_with("-r--------"));
    ns.run(&["patch", "configmap", "settings", "-p", r#"{"data":{"colour":"red"}}"#]).text();
    eventually("the file to follow", Duration::from_secs(100), || {
        let text = ns.sh("reader", "cat /etc/settings/colour").text();
        if text == "red" { Ok(()) } else { Err(text) }
    });
}

#[test]
fn a_missing_configmap_is_said_and_waited_for() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("missing");
    let mut main = container("sleep 3600");
    main["env"] = json!([{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "x"}}}]);
    ns.apply(&pod("waits", &json!({"containers": [main]})));
    let reason = "/status/containerStatuses/0/state/waiting/reason";
    ns.becomes("pod waits", reason, "CreateContainerConfigError");
    ns.ok("create configmap later --from-literal=x=1");
    ns.pod_is_ready("waits");
}

#[test]
fn readiness_decides_who_gets_traffic_and_liveness_who_lives() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("probes");
    let mut main = container("touch /ready; sleep 3600");
    main["readinessProbe"] = json!({"exec": {"command": ["cat", "/ready"]}, "periodSeconds": 1, "failureThreshold": 1});
    main["livenessProbe"] =
        json!({"exec": {"command": ["sh", "-c", "! test -e /dead"]}, "periodSeconds": 1, "failureThreshold": 1});
    ns.apply(&pod("probed", &json!({"containers": [main]})));
    ns.ok("expose pod probed --port=80");
    ns.pod_is_ready("probed");
    let ready_endpoints = || ns.field("endpoints probed", "/subsets/0/addresses/0/ip");
    eventually("it among the endpoints", SOON, || if ready_endpoints().is_empty() { Err("no".into()) } else { Ok(()) });
    ns.sh("probed", "rm /ready").text();
    eventually("it not among the endpoints", SOON, || {
        if ready_endpoints().is_empty() { Ok(()) } else { Err("still".into()) }
    });
    ns.sh("probed", "touch /dead").text();
    ns.becomes("pod probed", "/status/containerStatuses/0/restartCount", "1");
    ns.pod_is_ready("probed");
}

#[test]
fn http_and_tcp_probes_ask_the_pod() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("httpprobe");
    ns.apply(&pod(
        "web",
        &json!({"containers": [{
            "name": "main", "image": "nginx:latest", "ports": [{"name": "http", "containerPort": 80}],
            "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
            "livenessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 1},
        }]}),
    ));
    ns.pod_is_ready("web");
    assert_eq!(ns.field("pod web", "/status/containerStatuses/0/restartCount"), "0");
}

#[test]
fn a_container_over_its_memory_limit_is_oom_killed() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("oom");
    let mut main = container("exec tail /dev/zero");
    main["resources"] = json!({"limits": {"memory": "32Mi"}});
    ns.apply(&pod("hungry", &json!({"restartPolicy": "Never", "containers": [main]})));
    ns.becomes("pod hungry", "/status/phase", "Failed");
    let ended = "/status/containerStatuses/0/state/terminated";
    assert_eq!(ns.field("pod hungry", &format!("{ended}/reason")), "OOMKilled");
    assert_eq!(ns.field("pod hungry", &format!("{ended}/exitCode")), "137");
}

#[test]
fn a_deleted_pod_has_its_grace_to_end_and_not_more() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("grace");
    let polite = container("trap 'echo bye > /proc/1/fd/1; exit 0' TERM; echo up; while true; do sleep 0.1; done");
    ns.apply(&pod("polite", &json!({"terminationGracePeriodSeconds": 30, "containers": [polite]})));
    ns.pod_is_ready("polite");
    let start = Instant::now();
    ns.ok("delete pod polite");
    assert!(start.elapsed() < Duration::from_secs(20), "it ended by itself long before its 30 s");
    let deaf = container("trap '' TERM; echo up; while true; do sleep 0.1; done");
    ns.apply(&pod("deaf", &json!({"terminationGracePeriodSeconds": 2, "containers": [deaf]})));
    ns.pod_is_ready("deaf");
    let start = Instant::now();
    ns.ok("delete pod deaf");
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn limits_are_set_in_the_containers_cgroup() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("limits");
    let mut main = container("sleep 3600");
    main["resources"] = json!({"limits": {"memory": "64Mi", "cpu": "500m"}});
    ns.apply(&pod("limited", &json!({"containers": [main]})));
    ns.pod_is_ready("limited");
    assert_eq!(ns.field("pod limited", "/status/qosClass"), "Guaranteed");
    let limit = ns
        .sh("limited", "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes")
        .text();
    assert_eq!(limit.trim(), (64 << 20).to_string());
    // v2 says "quota period", v1 has a file for each: half of one CPU.
    let quota =
        ns.sh("limited", "cat /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us").text();
    assert_eq!(quota.split_whitespace().next(), Some("50000"), "{quota}");
}
