//! Manifests that many stories use, in JSON, which `kubectl apply` takes as YAML. Stories change them by index.

use serde_json::{Value, json};

/// A BusyBox container called `main` that runs a shell command.
pub fn container(command: &str) -> Value {
    json!({"name": "main", "image": "busybox:latest", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", command]})
}

/// A pod with the label `app: <name>`. It is given no grace, as shells ignore TERM, unless the spec says otherwise.
pub fn pod(name: &str, spec: &Value) -> String {
    let mut pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec});
    if pod["spec"]["terminationGracePeriodSeconds"].is_null() {
        pod["spec"]["terminationGracePeriodSeconds"] = json!(0);
    }
    pod.to_string()
}

/// A Deployment of pods that sleep, with the label `app: <name>`.
pub fn deployment(name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container("exec sleep 3600")]},
            },
        },
    })
}
