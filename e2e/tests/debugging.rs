//! Pods that are looked into and resized while they run.

use corten_e2e::manifest::{container, pod};
use corten_e2e::{Cluster, Namespace};
use serde_json::{Value, json};

#[test]
fn every_kubectl_debugs_a_running_pod_and_sees_its_targets_processes() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("debug");
    let mut main = container("exec sleep 535353");
    main["name"] = "main".into();
    ns.apply(&pod("web", &json!({"containers": [main]})));
    ns.pod_is_ready("web");
    let started = ns.field("pod web", "/status/containerStatuses/0/state/running/startedAt");
    for (at, (version, kubectl)) in ns.every_version().into_iter().enumerate() {
        let name = format!("debugger-{at}");
        let words = format!(
            "debug web -i --target=main --container={name} --image=busybox:latest --image-pull-policy=IfNotPresent --"
        );
        // Its standard input outlives who is attached: a shell alone would wait for more.
        let script = "read line; cat /proc/1/cmdline | tr '\\0' ' '";
        let args: Vec<&str> = words.split(' ').chain(["sh", "-c", script]).collect();
        let done = kubectl.run_with_input(&args, "go\n");
        assert!(done.ok, "{version}: {done:?}");
        // What comes before the stream stands is in the log alone.
        ns.shows(&format!("logs web -c {name}"), "sleep 535353");
        let told = format!("/status/ephemeralContainerStatuses/{at}/state/terminated/exitCode");
        ns.becomes("pod web", &told, "0");
    }
    assert_eq!(ns.field("pod web", "/status/containerStatuses/0/restartCount"), "0");
    assert_eq!(ns.field("pod web", "/status/containerStatuses/0/state/running/startedAt"), started);
    ns.shows("describe pod web", "Ephemeral Containers:");
}

/// Puts the pod through one of its subresources. Kubectls before 1.32 know `--subresource` for status and scale alone.
fn put(ns: &Namespace, subresource: &str, pod: &Value) -> corten_e2e::Output {
    let path = format!("/api/v1/namespaces/{}/pods/web/{subresource}", ns.name);
    ns.run_with_input(&["replace", "--raw", &path, "-f", "-"], &pod.to_string())
}

#[test]
fn a_debugger_is_execed_into_and_stays_as_it_is() {
    let ns = Cluster::running().namespace("debug-stays");
    ns.run_pod("web", "busybox:latest", "sleep 3600");
    let mut with = ns.json("pod web").unwrap_or_default();
    with["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "busybox:latest",
        "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}]);
    put(&ns, "ephemeralcontainers", &with).text();
    ns.becomes("pod web", "/metadata/generation", "2");
    ns.shows("get pod web -o jsonpath={.status.ephemeralContainerStatuses[0].state}", "running");
    assert_eq!(ns.ok("exec web -c d -- echo inside"), "inside\n");
    let mut without = ns.json("pod web").unwrap_or_default();
    without["spec"]["ephemeralContainers"] = json!([]);
    let refused = put(&ns, "ephemeralcontainers", &without).refusal();
    assert!(refused.contains("may not be removed"), "{refused}");
}

#[test]
fn a_pods_cpu_changes_without_a_restart() {
    let ns = Cluster::running().namespace("resize");
    let mut main = container("sleep 3600");
    main["resources"] = json!({"requests": {"cpu": "50m"}, "limits": {"cpu": "100m"}});
    ns.apply(&pod("web", &json!({"containers": [main]})));
    ns.pod_is_ready("web");
    // One file or the other: as the node's cgroups are.
    let quota = "cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || true";
    ns.sh_until("web", quota, |said| said.starts_with("10000"));
    let mut larger = ns.json("pod web").unwrap_or_default();
    larger["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}});
    put(&ns, "resize", &larger).text();
    ns.sh_until("web", quota, |said| said.starts_with("20000"));
    ns.becomes("pod web", "/status/containerStatuses/0/resources/limits/cpu", "200m");
    ns.becomes("pod web", "/status/containerStatuses/0/allocatedResources/cpu", "100m");
    assert_eq!(ns.field("pod web", "/status/containerStatuses/0/restartCount"), "0");

    let mut huge = ns.json("pod web").unwrap_or_default();
    huge["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1000"}, "limits": {"cpu": "2000"}});
    let refused = put(&ns, "resize", &huge).refusal();
    assert!(refused.contains("Node didn't have enough allocatable resources: cpu"), "{refused}");
    let mut other = ns.json("pod web").unwrap_or_default();
    other["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!("300m");
    let plain = ns.run_with_input(&["replace", "-f", "-"], &other.to_string()).refusal();
    assert!(plain.contains("pod updates may not change fields other than"), "{plain}");
}
