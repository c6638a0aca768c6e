//! Bad pods and what is said of them.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::registry::check::testing;

pub(super) fn found(spec: Value) -> Vec<String> {
    testing::found::<Pod>(&json!({ "spec": spec }).to_string())
}
/// What is said of an update's new pod.
pub(super) fn found_later(spec: Value) -> Vec<String> {
    testing::found::<Pod>(&json!({"metadata": {"resourceVersion": "1"}, "spec": spec}).to_string())
}
/// A pod whose one container has these fields too.
pub(super) fn container(more: Value) -> Value {
    let mut container = json!({"name": "a", "image": "x"});
    for (field, value) in more.as_object().unwrap() {
        container[field] = value.clone();
    }
    json!({ "containers": [container] })
}
/// A good pod with these fields too.
pub(super) fn pod(more: Value) -> Value {
    let mut spec = container(json!({}));
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    spec
}
pub(super) fn check(cases: Vec<(Value, &str)>) {
    for (spec, expected) in cases {
        let found = found(spec.clone());
        let expected: &[&str] = if expected.is_empty() { &[] } else { &[expected] };
        assert_eq!(found, expected, "{spec}");
    }
}

#[test]
fn containers() {
    check(vec![
        (container(json!({})), ""),
        (json!({}), "spec.containers: Required value"),
        (json!({"containers": [{"name": "a"}]}), "spec.containers[0].image: Required value"),
        (
            container(json!({"image": " x"})),
            r#"spec.containers[0].image: Invalid value: " x": must not have leading or trailing whitespace"#,
        ),
        (container(json!({"name": ""})), "spec.containers[0].name: Required value"),
        (
            json!({"containers": [{"name": "a", "image": "x"}], "initContainers": [{"name": "a", "image": "x"}]}),
            r#"spec.initContainers[0].name: Duplicate value: "a""#,
        ),
        (
            container(json!({"imagePullPolicy": "Sometimes"})),
            r#"spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never""#,
        ),
        (
            pod(
                json!({"initContainers": [{"name": "i", "image": "x", "livenessProbe": {"exec": {"command": ["a"]}}}]}),
            ),
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
        (
            pod(json!({"initContainers": [{"name": "i", "image": "x", "restartPolicy": "Always",
                "livenessProbe": {"exec": {"command": ["a"]}}}]})),
            "",
        ),
        (
            pod(json!({"ephemeralContainers": [{"name": "e", "image": "x"}]})),
            "spec.ephemeralContainers: Forbidden: cannot be set on create",
        ),
    ]);
    let bad_name = found(container(json!({"name": "A_b"})));
    assert!(bad_name[0].starts_with(r#"spec.containers[0].name: Invalid value: "A_b": a lowercase RFC 1123 label"#));
}

#[test]
fn restart_rules() {
    let rules = |list: Value| container(json!({"restartPolicy": "Never", "restartPolicyRules": list}));
    let rule = |action: &str, operator: &str, values: usize| json!({"action": action, "exitCodes": {"operator": operator, "values": vec![3; values]}});
    let good = rule("Restart", "In", 1);
    check(vec![
        (container(json!({"restartPolicy": "OnFailure"})), ""),
        (
            container(json!({"restartPolicy": "Sometimes"})),
            r#"spec.containers[0].restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure""#,
        ),
        (rules(json!([good, rule("RestartAllContainers", "NotIn", 255)])), ""),
        (
            pod(
                json!({"initContainers": [{"name": "i", "image": "x", "restartPolicy": "Always", "restartPolicyRules": [good]}]}),
            ),
            "spec.initContainers[0].restartPolicyRules: Forbidden: restartPolicyRules are not allowed for init containers with restart policy Always",
        ),
        (
            pod(
                json!({"initContainers": [{"name": "i", "image": "x", "restartPolicy": "Never", "restartPolicyRules": [good]}]}),
            ),
            "",
        ),
        (
            container(json!({"restartPolicyRules": [good]})),
            "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
        ),
        (
            rules(json!(vec![good.clone(); 21])),
            "spec.containers[0].restartPolicyRules: Too many: 21: must have at most 20 items",
        ),
        (
            rules(json!([rule("Stop", "In", 1)])),
            r#"spec.containers[0].restartPolicyRules[0].action: Unsupported value: "Stop": supported values: "Restart", "RestartAllContainers""#,
        ),
        (
            rules(json!([{"action": "Restart"}])),
            "spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified",
        ),
        (
            rules(json!([rule("Restart", "", 1)])),
            r#"spec.containers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: "": supported values: "In", "NotIn""#,
        ),
        (
            rules(json!([rule("Restart", "In", 256)])),
            "spec.containers[0].restartPolicyRules[0].exitCodes.values: Too many: 256: must have at most 255 items",
        ),
    ]);
}

#[test]
fn long_lists_are_looked_at_in_time_that_grows_with_them() {
    let began = std::time::Instant::now();
    let policies: Vec<Value> =
        (0..60_000).map(|n| json!({"resourceName": format!("r{n}"), "restartPolicy": "NotRequired"})).collect();
    let unknown = found(container(json!({ "resizePolicy": policies })));
    assert!(unknown.iter().all(|text| text.contains("Unsupported value")), "{}", unknown[0]);
    let spread: Vec<Value> = (0..60_000)
        .map(|n| json!({"maxSkew": 1, "topologyKey": format!("k{n}"), "whenUnsatisfiable": "DoNotSchedule"}))
        .collect();
    let many = "spec.topologySpreadConstraints: Too many: 60000: must have at most 256 items";
    assert_eq!(found(pod(json!({ "topologySpreadConstraints": spread }))), [many]);
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_mirror_pod_has_a_node() {
    let pod = |node: &str| {
        let annotations = json!({"kubernetes.io/config.mirror": "x"});
        let spec = json!({"nodeName": node, "containers": [{"name": "a", "image": "x"}]});
        testing::found::<Pod>(&json!({"metadata": {"annotations": annotations}, "spec": spec}).to_string())
    };
    assert_eq!(pod("n1"), Vec::<String>::new());
    let expected = "metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"x\": must set spec.nodeName if mirror pod annotation is set";
    assert_eq!(pod(""), [expected]);
}

#[test]
fn ports() {
    let ports = |list: Value| container(json!({ "ports": list }));
    check(vec![
        (ports(json!([{"containerPort": 80, "name": "http"}])), ""),
        (ports(json!([{"containerPort": 0}])), "spec.containers[0].ports[0].containerPort: Required value"),
        (
            ports(json!([{"containerPort": 70000}])),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            ports(json!([{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}])),
            r#"spec.containers[0].ports[1].name: Duplicate value: "a""#,
        ),
        (
            ports(json!([{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}])),
            r#"spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//9""#,
        ),
        (
            json!({"hostNetwork": true, "containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 1, "hostPort": 9}]}]}),
            "spec.containers[0].ports[0].containerPort: Invalid value: 1: must match `hostPort` when `hostNetwork` is true",
        ),
    ]);
}

#[test]
fn environment() {
    let env = |var: Value| container(json!({ "env": [var] }));
    let file = |volume: &str, key: &str, path: &str| {
        let source = json!({"fileKeyRef": {"volumeName": volume, "key": key, "path": path}});
        let mut spec = env(json!({"name": "A", "valueFrom": source}));
        spec["volumes"] = json!([{"name": "v"}, {"name": "map", "configMap": {"name": "m"}}]);
        spec
    };
    check(vec![
        (env(json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}})), ""),
        (env(json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}})), ""),
        (env(json!({"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}})), ""),
        (env(json!({"name": ""})), "spec.containers[0].env[0].name: Required value"),
        (
            env(json!({"name": "A=B"})),
            r#"spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII characters other than '='"#,
        ),
        (
            env(json!({"name": "A", "value": "x", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}})),
            r#"spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty"#,
        ),
        (
            env(json!({"name": "A", "valueFrom": {"configMapKeyRef": {"name": "", "key": "k"}}})),
            "spec.containers[0].env[0].valueFrom.configMapKeyRef.name: Required value",
        ),
        (file("v", "A", "dir/f"), ""),
        (file("w", "A", "f"), r#"spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Not found: "w""#),
        (
            file("map", "A", "f"),
            r#"spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Invalid value: "map": referenced volume must be of type emptyDir"#,
        ),
        (
            file("v", "A=", "f"),
            r#"spec.containers[0].env[0].valueFrom.fileKeyRef.key: Invalid value: "A=": a valid environment variable name must consist only of printable ASCII characters other than '='"#,
        ),
        (
            file("v", "A", "../f"),
            r#"spec.containers[0].env[0].valueFrom.fileKeyRef.path: Invalid value: "../f": must not contain '..'"#,
        ),
        (
            container(json!({"envFrom": [{}]})),
            r#"spec.containers[0].envFrom[0]: Invalid value: "": must specify one of: `configMapRef` or `secretRef`"#,
        ),
    ]);
    let unknown = found(env(json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}})));
    assert!(
        unknown[0].contains(r#"fieldPath: Unsupported value: "spec.x": supported values: "metadata.name""#),
        "{unknown:?}"
    );
}

#[test]
fn probes() {
    let probe = |probe: Value| container(json!({ "livenessProbe": probe }));
    check(vec![
        (probe(json!({"httpGet": {"port": "http"}})), ""),
        (probe(json!({})), "spec.containers[0].livenessProbe: Required value: must specify a handler type"),
        (
            probe(json!({"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}})),
            "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
        ),
        (probe(json!({"exec": {}})), "spec.containers[0].livenessProbe.exec.command: Required value"),
        (
            probe(json!({"tcpSocket": {"port": 0}})),
            "spec.containers[0].livenessProbe.tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            probe(json!({"tcpSocket": {"port": 1}, "periodSeconds": -1})),
            "spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            probe(json!({"tcpSocket": {"port": 1}, "successThreshold": 2})),
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (container(json!({"lifecycle": {"preStop": {"sleep": {"seconds": 30}}}})), ""),
        (
            container(json!({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}})),
            "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
        ),
        (
            container(json!({"lifecycle": {"postStart": {"sleep": {"seconds": -1}}}})),
            "spec.containers[0].lifecycle.postStart.sleep: Invalid value: -1: must be non-negative and less than terminationGracePeriodSeconds (30)",
        ),
        (
            container(json!({"lifecycle": {"preStop": {}}})),
            "spec.containers[0].lifecycle.preStop: Required value: must specify a handler type",
        ),
    ]);
}

#[test]
fn resources() {
    let resources = |r: Value| container(json!({ "resources": r }));
    check(vec![
        (resources(json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1000m"}})), ""),
        (
            resources(json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})),
            r#"spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1"#,
        ),
        (
            resources(json!({"requests": {"memory": "-1"}})),
            r#"spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0"#,
        ),
        (
            resources(json!({"requests": {"storage": "1"}})),
            r#"spec.containers[0].resources.requests[storage]: Invalid value: "storage": must be a standard resource for containers"#,
        ),
        (
            resources(json!({"requests": {"x.com/gpu": "1"}})),
            "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
        ),
        (
            resources(json!({"requests": {"cpu": "lots"}})),
            r#"spec.containers[0].resources.requests[cpu]: Invalid value: "lots": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"#,
        ),
    ]);
}

#[test]
fn volumes_and_mounts() {
    let mount = |mount: Value| json!({"volumes": [{"name": "v"}], "containers": [{"name": "a", "image": "x", "volumeMounts": [mount]}]});
    check(vec![
        (mount(json!({"name": "v", "mountPath": "/a", "subPath": "b/c"})), ""),
        (mount(json!({"name": "w", "mountPath": "/a"})), r#"spec.containers[0].volumeMounts[0].name: Not found: "w""#),
        (mount(json!({"name": "v", "mountPath": ""})), "spec.containers[0].volumeMounts[0].mountPath: Required value"),
        (
            mount(json!({"name": "v", "mountPath": "/a", "subPath": "../b"})),
            r#"spec.containers[0].volumeMounts[0].subPath: Invalid value: "../b": must not contain '..'"#,
        ),
        (
            mount(json!({"name": "v", "mountPath": "/a", "mountPropagation": "Bidirectional"})),
            "spec.containers[0].volumeMounts[0].mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
        ),
        (pod(json!({"volumes": [{"name": "v"}, {"name": "v"}]})), r#"spec.volumes[1].name: Duplicate value: "v""#),
        (
            pod(json!({"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]})),
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (pod(json!({"volumes": [{"name": "v", "configMap": {}}]})), "spec.volumes[0].configMap.name: Required value"),
        (pod(json!({"volumes": [{"name": "v", "secret": {}}]})), "spec.volumes[0].secret.secretName: Required value"),
        (
            pod(
                json!({"volumes": [{"name": "v", "secret": {"secretName": "s", "items": [{"key": "k", "path": "/p"}]}}]}),
            ),
            r#"spec.volumes[0].secret.items[0].path: Invalid value: "/p": must be a relative path"#,
        ),
        (
            pod(json!({"volumes": [{"name": "v", "secret": {"secretName": "s", "defaultMode": 512}}]})),
            "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
        ),
        (
            pod(json!({"volumes": [{"name": "v", "projected": {"sources": [
                {"configMap": {"name": "a", "items": [{"key": "k", "path": "p"}]}},
                {"secret": {"name": "a", "items": [{"key": "k", "path": "p"}]}}]}}]})),
            r#"spec.volumes[0].projected.sources[1]: Invalid value: "p": conflicting duplicate paths"#,
        ),
    ]);
}

#[test]
fn placement_and_setting() {
    check(vec![
        (pod(json!({"tolerations": [{"operator": "Exists"}], "nodeSelector": {"a/b": "c"}})), ""),
        (
            pod(json!({"restartPolicy": "Maybe"})),
            r#"spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "Never", "OnFailure""#,
        ),
        (
            pod(json!({"dnsPolicy": "None"})),
            "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None",
        ),
        (
            pod(json!({"tolerations": [{"operator": "Equal", "value": "x"}]})),
            r#"spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys""#,
        ),
        (
            pod(json!({"tolerations": [{"key": "a", "tolerationSeconds": 5, "effect": "NoSchedule"}]})),
            r#"spec.tolerations[0].effect: Invalid value: "NoSchedule": effect must be 'NoExecute' when `tolerationSeconds` is set"#,
        ),
        (
            pod(
                json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]}),
            ),
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
        ),
        (
            pod(
                json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": ""}]}}}),
            ),
            "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty",
        ),
        (
            pod(json!({"activeDeadlineSeconds": 0})),
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        (
            pod(json!({"securityContext": {"runAsUser": -1}})),
            "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
        (
            pod(json!({"hostAliases": [{"ip": "x"}]})),
            r#"spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#,
        ),
        (
            pod(json!({"nodeName": "n", "schedulingGates": [{"name": "g"}]})),
            "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
        ),
    ]);
}
