//! Containers that debug a pod: they have a name of their own, a target that is there, and nothing that a workload needs.

use std::collections::HashSet;

use corten_api::Problems;
use corten_api::pod::ephemeral::as_container;
use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::{Around, container};
use crate::registry::check;
use crate::registry::path::Path;

const NOT_HERE: &str = "cannot be set for an Ephemeral Container";

/// `list` is the path of the ephemeral containers.
pub(super) fn validate(spec: &PodSpec, around: &Around<'_>, list: &Path<'_>, problems: &mut Problems) {
    let debuggers = spec.ephemeral_containers.as_deref().unwrap_or_default();
    if debuggers.is_empty() {
        return;
    }
    let shaped: Vec<Container> = debuggers.iter().map(as_container).collect();
    let others = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let others: HashSet<&str> = others.map(|c| c.name.as_str()).collect();
    let mut names = others.clone();
    for (i, (debugger, shaped)) in debuggers.iter().zip(&shaped).enumerate() {
        let at = list.index(i);
        container::validate(shaped, around, &mut names, &at, problems);
        let target = check::text(debugger.target_container_name.as_ref());
        if !target.is_empty() && !others.contains(target) {
            problems.not_found(at.field("targetContainerName"), target);
        }
        nothing_of_a_workload(shaped, &at, problems);
    }
}

fn nothing_of_a_workload(container: &Container, at: &Path<'_>, problems: &mut Problems) {
    for (field, is_set) in [
        ("ports", container.ports.as_ref().is_some_and(|list| !list.is_empty())),
        ("resources", container.resources.as_ref().is_some_and(|resources| *resources != Default::default())),
        ("resizePolicy", container.resize_policy.as_ref().is_some_and(|list| !list.is_empty())),
        ("restartPolicy", container.restart_policy.is_some()),
        ("restartPolicyRules", container.restart_policy_rules.as_ref().is_some_and(|list| !list.is_empty())),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
        ("lifecycle", container.lifecycle.is_some()),
    ] {
        if is_set {
            problems.forbidden(at.field(field), NOT_HERE);
        }
    }
    // What is mounted below a volume stays mounted until the pod ends.
    let mounts = at.field("volumeMounts");
    for (i, mount) in container.volume_mounts.iter().flatten().enumerate() {
        for (field, path) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
            if !check::text(path.as_ref()).is_empty() {
                problems.forbidden(mounts.index(i).field(field), NOT_HERE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use crate::registry::check::testing;

    fn found(debuggers: &Value) -> Vec<String> {
        let spec = json!({"containers": [{"name": "a", "image": "x"}], "initContainers": [{"name": "i", "image": "x"}],
            "volumes": [{"name": "v", "emptyDir": {}}], "ephemeralContainers": debuggers});
        testing::found::<Pod>(&json!({"metadata": {"resourceVersion": "1"}, "spec": spec}).to_string())
    }

    #[test]
    fn what_a_debugger_may_be() {
        let refused = |field: &str| {
            format!("spec.ephemeralContainers[0].{field}: Forbidden: cannot be set for an Ephemeral Container")
        };
        let probe = json!({"exec": {"command": ["true"]}});
        let mount = |field: &str| json!({"volumeMounts": [{"name": "v", "mountPath": "/v", field: "below"}]});
        let cases = [
            (json!({}), None),
            (
                json!({"targetContainerName": "a", "stdin": true, "tty": true, "env": [{"name": "A", "value": "b"}]}),
                None,
            ),
            (json!({"targetContainerName": "i"}), None),
            (json!({"resources": {}, "ports": []}), None),
            (json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}), None),
            (
                json!({"targetContainerName": "b"}),
                Some(r#"spec.ephemeralContainers[0].targetContainerName: Not found: "b""#.to_owned()),
            ),
            (json!({"name": "a"}), Some(r#"spec.ephemeralContainers[0].name: Duplicate value: "a""#.to_owned())),
            (json!({"image": ""}), Some("spec.ephemeralContainers[0].image: Required value".to_owned())),
            (json!({"ports": [{"containerPort": 80}]}), Some(refused("ports"))),
            (json!({"resources": {"requests": {"cpu": "1"}}}), Some(refused("resources"))),
            (json!({"livenessProbe": probe}), Some(refused("livenessProbe"))),
            (json!({"readinessProbe": probe}), Some(refused("readinessProbe"))),
            (json!({"startupProbe": probe}), Some(refused("startupProbe"))),
            (json!({"lifecycle": {"preStop": probe}}), Some(refused("lifecycle"))),
            (json!({"restartPolicy": "Always"}), Some(refused("restartPolicy"))),
            (mount("subPath"), Some(refused("volumeMounts[0].subPath"))),
            (mount("subPathExpr"), Some(refused("volumeMounts[0].subPathExpr"))),
        ];
        for (more, expected) in cases {
            let mut debugger = json!({"name": "d", "image": "x"});
            for (field, value) in more.as_object().unwrap() {
                debugger[field] = value.clone();
            }
            assert_eq!(found(&json!([debugger])), expected.into_iter().collect::<Vec<_>>(), "{more}");
        }
        let twice = json!([{"name": "d", "image": "x"}, {"name": "d", "image": "x"}]);
        assert_eq!(found(&twice), [r#"spec.ephemeralContainers[1].name: Duplicate value: "d""#]);
    }
}
