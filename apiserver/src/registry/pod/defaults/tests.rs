//! The defaults of pods and templates.

use serde_json::{Value, json};

use super::*;
use crate::registry::check::testing::defaulted;

fn spec_of(spec: Value) -> Value {
    let pod: Pod = defaulted(&json!({"spec": spec}).to_string());
    serde_json::to_value(pod.spec).unwrap()
}

#[test]
fn the_smallest_pod() {
    let spec = spec_of(json!({"containers": [{"name": "a", "image": "nginx"}]}));
    let expected = json!({
        "containers": [{"name": "a", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
        "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
        "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
    });
    assert_eq!(spec, expected);
}

#[test]
fn images_are_pulled_by_tag() {
    let cases = [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("host:5000/a/nginx:1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
        ("nginx:latest@sha256:abc", "Always"),
    ];
    for (image, expected) in cases {
        assert_eq!(pull_policy(image), expected, "{image}");
    }
}

#[test]
fn requests_follow_limits_in_canonical_form() {
    let spec = spec_of(json!({"containers": [{"name": "a", "resources":
        {"limits": {"cpu": "0.5", "memory": "1024Mi"}, "requests": {"memory": "1Mi"}}}]}));
    let resources = &spec["containers"][0]["resources"];
    assert_eq!(resources["limits"], json!({"cpu": "500m", "memory": "1Gi"}));
    assert_eq!(resources["requests"], json!({"cpu": "500m", "memory": "1Mi"}));
}

#[test]
fn a_pod_requests_as_a_whole_what_its_containers_do() {
    let spec = spec_of(json!({"resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
        "containers": [{"name": "a", "resources": {"requests": {"cpu": "100m"}}}]}));
    assert_eq!(spec["resources"]["requests"], json!({"cpu": "100m", "memory": "1Gi"}));
}

#[test]
fn huge_pages_of_containers_are_a_pods_limit_as_a_whole() {
    let containers = json!([
        {"name": "a", "resources": {"limits": {"cpu": "1", "hugepages-2Mi": "2Mi"}}},
        {"name": "b", "resources": {"limits": {"cpu": "1", "hugepages-2Mi": "4Mi"}}}]);
    let of = |whole: serde_json::Value| spec_of(json!({"resources": whole, "containers": containers}));
    let given = of(json!({"limits": {"cpu": "3"}}));
    assert_eq!(given["resources"]["limits"], json!({"cpu": "3", "hugepages-2Mi": "6Mi"}));
    assert_eq!(given["resources"]["requests"], json!({"cpu": "2", "hugepages-2Mi": "6Mi"}));
    let own = of(json!({"limits": {"cpu": "3", "hugepages-2Mi": "8Mi"}}));
    assert_eq!(own["resources"]["limits"]["hugepages-2Mi"], "8Mi");
    assert_eq!(of(json!({}))["resources"], json!({}));
}

#[test]
fn a_pod_that_only_requests_as_a_whole_gets_no_more() {
    for given in [json!({}), json!({"requests": {"cpu": "1"}})] {
        let spec = spec_of(json!({"resources": given,
            "containers": [{"name": "a", "resources": {"requests": {"memory": "1Gi"}}}]}));
        assert_eq!(spec["resources"], given);
    }
}

#[test]
fn an_empty_text_is_filled_in_as_one_that_is_missing() {
    let empty = json!({"name": "a", "image": "nginx:1", "imagePullPolicy": "", "terminationMessagePath": "",
        "terminationMessagePolicy": "", "ports": [{"containerPort": 80, "protocol": ""}],
        "env": [{"name": "X", "valueFrom": {"fieldRef": {"apiVersion": "", "fieldPath": "metadata.name"}}}]});
    let spec = spec_of(json!({"containers": [empty], "initContainers": [empty], "ephemeralContainers": [empty]}));
    let expected = json!({"name": "a", "image": "nginx:1", "imagePullPolicy": "IfNotPresent", "resources": {},
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        "ports": [{"containerPort": 80, "protocol": "TCP"}],
        "env": [{"name": "X", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}]});
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        assert_eq!(spec[list][0], expected, "{list}");
    }
}

#[test]
fn a_spread_gets_no_policies_that_its_author_did_not_write() {
    let spread = json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]);
    let spec = spec_of(json!({"containers": [], "topologySpreadConstraints": spread}));
    assert_eq!(spec["topologySpreadConstraints"], spread);
}

#[test]
fn probes_ports_env_and_host_network() {
    let spec = spec_of(json!({"hostNetwork": true, "containers": [{"name": "a",
        "ports": [{"containerPort": 80}],
        "env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "livenessProbe": {"httpGet": {"port": 80}}, "readinessProbe": {"grpc": {"port": 1}, "periodSeconds": 3}}]}));
    let container = &spec["containers"][0];
    assert_eq!(container["ports"][0], json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"}));
    assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    assert_eq!(
        container["livenessProbe"],
        json!({"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
            "successThreshold": 1, "failureThreshold": 3})
    );
    assert_eq!(
        (&container["readinessProbe"]["grpc"]["service"], &container["readinessProbe"]["periodSeconds"]),
        (&json!(""), &json!(3))
    );
}

#[test]
fn volumes() {
    let spec = spec_of(json!({"containers": [], "volumes": [
        {"name": "a"}, {"name": "b", "configMap": {"name": "c"}}, {"name": "h", "hostPath": {"path": "/"}},
        {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}));
    let expected = json!([
        {"name": "a", "emptyDir": {}},
        {"name": "b", "configMap": {"name": "c", "defaultMode": 420}},
        {"name": "h", "hostPath": {"path": "/", "type": ""}},
        {"name": "p", "projected": {"defaultMode": 420,
            "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}]}},
    ]);
    assert_eq!(spec["volumes"], expected);
}

#[test]
fn the_account_has_two_names() {
    for field in ["serviceAccount", "serviceAccountName"] {
        let spec = spec_of(json!({"containers": [], field: "robot"}));
        assert_eq!(
            (&spec["serviceAccount"], &spec["serviceAccountName"]),
            (&json!("robot"), &json!("robot")),
            "{field}"
        );
    }
}
