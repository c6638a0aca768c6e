//! What a resize may change, and what is said of all else.

use serde_json::{Value, json};

use super::*;
use crate::registry::check::testing::{defaulted, prepare, texts};
use crate::registry::{Kind, Part, Strategy};

/// `requests/limits` of a container, each `cpu,memory` where given: `100m,64Mi/1`.
fn resources(text: &str) -> Value {
    let list = |text: &str| {
        let mut list = json!({});
        for (name, amount) in ["cpu", "memory", "ephemeral-storage"].into_iter().zip(text.split(',')) {
            if !amount.is_empty() {
                list[name] = json!(amount);
            }
        }
        list
    };
    let (requests, limits) = text.split_once('/').unwrap_or((text, ""));
    json!({"requests": list(requests), "limits": list(limits)})
}
fn container(text: &str) -> Value {
    json!({"name": "a", "image": "x", "resources": resources(text)})
}
fn pod(containers: Value, more: Value) -> Value {
    let mut spec = json!({"nodeName": "n", "containers": containers});
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    json!({"metadata": {"name": "p"}, "spec": spec, "status": {"qosClass": "Burstable"}})
}
fn found(old: &Value, new: &Value) -> Vec<String> {
    let (old, mut new): (Pod, Pod) = (defaulted(&old.to_string()), defaulted(&new.to_string()));
    prepare(Strategy::Part(Part::Resize, &old), &mut new);
    let mut problems = Problems::default();
    new.validate_part(Part::Resize, &old, &mut problems);
    texts(&problems)
}
fn with(mut pod: Value, pointer: &str, value: Value) -> Value {
    *pod.pointer_mut(pointer).unwrap() = value;
    pod
}

#[test]
fn cpu_and_memory_of_containers_change() {
    let qos = r#"spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing"#;
    let only = "spec: Forbidden: only cpu and memory resources are mutable";
    let cases = [
        ("nothing", "1,1Gi", "1,1Gi", ""),
        ("more", "1,1Gi/2,2Gi", "2,2Gi/3,3Gi", ""),
        ("the same amount in other words", "1,1Gi", "1000m,1Gi", ""),
        ("a limit appears", "1,1Gi", "1,1Gi/2", ""),
        ("a request appears", "1", "1,1Gi", ""),
        (
            "a request goes",
            "1,1Gi",
            "1",
            "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
        ),
        (
            "a limit goes",
            "1/2,2Gi",
            "1,2Gi/2",
            "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
        ),
        ("it becomes guaranteed", "1,1Gi/2,2Gi", "2,2Gi/2,2Gi", qos),
        ("another resource", "1,1Gi", "1,1Gi,1Gi", only),
    ];
    for (why, old, new, expected) in cases {
        let [old, new] = [old, new].map(|text| pod(json!([container(text)]), json!({})));
        let expected: &[&str] = if expected.is_empty() { &[] } else { &[expected] };
        assert_eq!(found(&old, &new), expected, "{why}");
    }
}

#[test]
fn containers_stay_those_that_they_are() {
    let old = pod(json!([container("1")]), json!({}));
    let two = pod(json!([container("1"), {"name": "b", "image": "x"}]), json!({}));
    assert_eq!(found(&old, &two), ["spec.containers: Forbidden: containers may not be added or removed on resize"]);
    let renamed = with(old.clone(), "/spec/containers/0/name", json!("b"));
    assert_eq!(
        found(&old, &renamed),
        ["spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize"]
    );
    let policy = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
    let mut restarting = old.clone();
    restarting["spec"]["containers"][0]["resizePolicy"] = policy;
    assert_eq!(found(&old, &restarting), ["spec: Forbidden: only cpu and memory resources are mutable"]);
    let image = with(old.clone(), "/spec/containers/0/image", json!("other"));
    assert_eq!(found(&old, &image), Vec::<String>::new(), "what is nobody's business here is left alone");
}

#[test]
fn init_containers_and_the_whole_pod_are_resized_too() {
    let inits = |text: &str, policy: Option<&str>| json!({"initContainers": [{"name": "i", "image": "x", "restartPolicy": policy, "resources": resources(text)}]});
    let only = "spec: Forbidden: only cpu and memory resources for sidecar containers are mutable";
    for (why, policy, new, expected) in [
        ("a sidecar", Some("Always"), "2", ""),
        ("one that ends", None, "2", ""),
        ("another resource of a sidecar", Some("Always"), "1,,1Gi", only),
    ] {
        let [old, new] = ["1", new].map(|text| pod(json!([container("1")]), inits(text, policy)));
        let expected: &[&str] = if expected.is_empty() { &[] } else { &[expected] };
        assert_eq!(found(&old, &new), expected, "{why}");
    }
    let whole = |text: &str| pod(json!([container("1")]), json!({"resources": resources(text)}));
    let removed = "spec.resources.requests: Forbidden: resource requests cannot be removed";
    for (why, old, new, expected) in [
        ("more", whole("2"), whole("3"), vec![]),
        ("the first", pod(json!([container("1")]), json!({})), whole("3"), vec![]),
        ("one less", whole("2,1Gi"), whole("2"), vec![removed]),
    ] {
        assert_eq!(found(&old, &new), expected, "{why}");
    }
}

#[test]
fn some_pods_are_not_resized_at_all() {
    let old = pod(json!([container("1")]), json!({}));
    let new = pod(json!([container("2")]), json!({}));
    let mut mirror = old.clone();
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    assert_eq!(found(&mirror, &new), [": Forbidden: static pods cannot be resized"]);
    let mut windows = old.clone();
    windows["spec"]["os"] = json!({"name": "windows"});
    assert_eq!(found(&windows, &new), [": Forbidden: windows pods cannot be resized"]);
    let running = |resources: Value| {
        let status = json!({"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {}}, "resources": resources});
        with(old.clone(), "/status", json!({"qosClass": "Burstable", "containerStatuses": [status]}))
    };
    let refused = "spec: Forbidden: Pod running on node without support for resize";
    assert_eq!(found(&running(Value::Null), &new), [refused]);
    assert_eq!(found(&running(resources("1")), &new), Vec::<String>::new());
}
