//! What a kubelet does for a pod: environment, volumes, probes, restarts, limits, grace, logs.

use std::time::{Duration, Instant};

use corten_e2e::{Cluster, SOON, eventually};
use serde_json::{Value, json};

fn pod(name: &str, spec: &Value) -> String {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec})
        .to_string()
}
fn container(command: &str) -> Value {
    json!({"name": "main", "image": "busybox:latest", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", command]})
}

#[test]
fn a_killed_process_is_restarted_and_its_end_is_told() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("restart");
    ns.apply(&pod("crash", &json!({"containers": [container("sleep 1; exit 7")]})));
    eventually("a second start with the first's exit code", SOON, || {
        let pod = ns.json(&["pod", "crash"]).unwrap_or_default();
        let status = &pod["status"]["containerStatuses"][0];
        let told = status["lastState"]["terminated"]["exitCode"] == 7 && status["restartCount"].as_u64() >= Some(1);
        if told { Ok(()) } else { Err(status.to_string()) }
    });
    eventually("it to back off", SOON, || {
        let reason = ns.field(&["pod", "crash"], "/status/containerStatuses/0/state/waiting/reason");
        if reason == "CrashLoopBackOff" { Ok(()) } else { Err(reason) }
    });
    let events = ns.run(&["describe", "pod", "crash"]).text();
    assert!(events.contains("Back-off restarting failed container"), "{events}");
}

#[test]
fn a_pod_that_never_restarts_ends_as_its_containers_did() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("ends");
    ns.apply(&pod("good", &json!({"restartPolicy": "Never", "containers": [container("echo done")]})));
    ns.apply(&pod("bad", &json!({"restartPolicy": "Never", "containers": [container("exit 3")]})));
    ns.wait_field(&["pod", "good"], "/status/phase", "Succeeded", SOON);
    ns.wait_field(&["pod", "bad"], "/status/phase", "Failed", SOON);
    assert_eq!(ns.field(&["pod", "bad"], "/status/containerStatuses/0/state/terminated/exitCode"), "3");
    assert_eq!(ns.run(&["logs", "good"]).text(), "done\n");
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
    eventually("the log", SOON, || {
        let log = ns.run(&["logs", "steps"]).text();
        if log == "first\nsecond\n" { Ok(()) } else { Err(log) }
    });
}

#[test]
fn config_and_secrets_come_as_environment_and_files_and_files_follow_changes() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("config");
    ns.run(&["create", "configmap", "settings", "--from-literal=colour=blue", "--from-literal=size=10"]).text();
    ns.run(&["create", "secret", "generic", "keys", "--from-literal=password=hunter2"]).text();
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
            "terminationGracePeriodSeconds": 0,
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
    ns.apply(&pod("waits", &json!({"terminationGracePeriodSeconds": 0, "containers": [main]})));
    let reason = "/status/containerStatuses/0/state/waiting/reason";
    ns.wait_field(&["pod", "waits"], reason, "CreateContainerConfigError", SOON);
    ns.run(&["create", "configmap", "later", "--from-literal=x=1"]).text();
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
    ns.apply(&pod("probed", &json!({"terminationGracePeriodSeconds": 0, "containers": [main]})));
    ns.run(&["expose", "pod", "probed", "--port=80"]).text();
    ns.pod_is_ready("probed");
    let ready_endpoints = || ns.field(&["endpoints", "probed"], "/subsets/0/addresses/0/ip");
    eventually("it among the endpoints", SOON, || if ready_endpoints().is_empty() { Err("no".into()) } else { Ok(()) });
    ns.sh("probed", "rm /ready").text();
    eventually("it not among the endpoints", SOON, || {
        if ready_endpoints().is_empty() { Ok(()) } else { Err("still".into()) }
    });
    ns.sh("probed", "touch /dead").text();
    eventually("a restart", SOON, || {
        let restarts = ns.field(&["pod", "probed"], "/status/containerStatuses/0/restartCount");
        if restarts == "1" { Ok(()) } else { Err(restarts) }
    });
    ns.pod_is_ready("probed");
}

#[test]
fn http_and_tcp_probes_ask_the_pod() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("httpprobe");
    ns.apply(&pod(
        "web",
        &json!({"terminationGracePeriodSeconds": 0, "containers": [{
            "name": "main", "image": "nginx:latest", "ports": [{"name": "http", "containerPort": 80}],
            "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
            "livenessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 1},
        }]}),
    ));
    ns.pod_is_ready("web");
    assert_eq!(ns.field(&["pod", "web"], "/status/containerStatuses/0/restartCount"), "0");
}

#[test]
fn a_container_over_its_memory_limit_is_oom_killed() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("oom");
    let mut main = container("head -c 200000000 /dev/zero | tail > /dev/null; sleep 1");
    main["command"] = json!(["sh", "-c", "exec tail /dev/zero"]);
    main["resources"] = json!({"limits": {"memory": "32Mi"}});
    ns.apply(&pod("hungry", &json!({"restartPolicy": "Never", "containers": [main]})));
    ns.wait_field(&["pod", "hungry"], "/status/phase", "Failed", SOON);
    let ended = "/status/containerStatuses/0/state/terminated";
    assert_eq!(ns.field(&["pod", "hungry"], &format!("{ended}/reason")), "OOMKilled");
    assert_eq!(ns.field(&["pod", "hungry"], &format!("{ended}/exitCode")), "137");
}

#[test]
fn a_deleted_pod_has_its_grace_to_end_and_not_more() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("grace");
    let polite = container("trap 'echo bye > /proc/1/fd/1; exit 0' TERM; echo up; while true; do sleep 0.1; done");
    ns.apply(&pod("polite", &json!({"containers": [polite]})));
    ns.pod_is_ready("polite");
    let start = Instant::now();
    ns.run(&["delete", "pod", "polite"]).text();
    assert!(start.elapsed() < Duration::from_secs(20), "it ended by itself long before its 30 s");
    let deaf = container("trap '' TERM; echo up; while true; do sleep 0.1; done");
    ns.apply(&pod("deaf", &json!({"terminationGracePeriodSeconds": 2, "containers": [deaf]})));
    ns.pod_is_ready("deaf");
    let start = Instant::now();
    ns.run(&["delete", "pod", "deaf"]).text();
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn limits_are_set_in_the_containers_cgroup() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("limits");
    let mut main = container("sleep 3600");
    main["resources"] = json!({"limits": {"memory": "64Mi", "cpu": "500m"}});
    ns.apply(&pod("limited", &json!({"terminationGracePeriodSeconds": 0, "containers": [main]})));
    ns.pod_is_ready("limited");
    assert_eq!(ns.field(&["pod", "limited"], "/status/qosClass"), "Guaranteed");
    let limit = ns
        .sh("limited", "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes")
        .text();
    assert_eq!(limit.trim(), (64 << 20).to_string());
}

#[test]
fn logs_follow_and_show_the_container_before() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("logs");
    ns.apply(&pod(
        "talks",
        &json!({"terminationGracePeriodSeconds": 0, "containers": [
        container("i=0; while [ $i -lt 5 ]; do echo line $i; i=$((i+1)); sleep 0.2; done; test -e /again || exit 1")]}),
    ));
    let follow = eventually("logs to follow", SOON, || {
        let first = ns.run(&["logs", "talks"]);
        if first.ok { Ok(ns.start(&["logs", "-f", "talks"])) } else { Err(first.stderr) }
    });
    follow.line("the last line", SOON, |line| line == "line 4");
    eventually("the previous container's log", SOON, || {
        let previous = ns.run(&["logs", "talks", "--previous", "--tail=1"]);
        if previous.ok && previous.stdout == "line 4\n" { Ok(()) } else { Err(format!("{previous:?}")) }
    });
}
