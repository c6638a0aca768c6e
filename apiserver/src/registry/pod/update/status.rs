//! What a status write may say: the addresses are addresses, and a container that ended for good does not run again.

use std::collections::HashMap;

use corten_api::Problems;
use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, ContainerStatus, Pod, PodSpec, PodStatus};

use crate::registry::check;
use crate::registry::path::Path;

pub fn validate_status(new: &Pod, old: &Pod, problems: &mut Problems) {
    super::validate_annotations(new, old, problems);
    let Some(status) = &new.status else { return };
    if let Some(name) = status.nominated_node_name.as_ref().filter(|n| !n.is_empty()) {
        check::dns_subdomain(problems, &Path::root("status.nominatedNodeName"), name);
    }
    for (i, ip) in status.pod_ips.iter().flatten().enumerate() {
        check::ip(problems, &Path::root("status.podIPs").index(i), &ip.ip);
    }
    let (Some(spec), Some(was)) = (&old.spec, &old.status) else { return };
    validate_no_rebirth(spec, status, was, problems);
    validate_debuggers(status, was, problems);
}

/// A container that debugs runs once.
fn validate_debuggers(new: &PodStatus, old: &PodStatus, problems: &mut Problems) {
    let is_over = |status: &ContainerStatus| status.state.as_ref().is_some_and(|s| s.terminated.is_some());
    let over = old.ephemeral_container_statuses.iter().flatten().enumerate().filter(|(_, status)| is_over(status));
    for (i, old) in over {
        let mut now = new.ephemeral_container_statuses.iter().flatten();
        if now.any(|new| new.name == old.name && !is_over(new)) {
            let at = format!("status.ephemeralContainerStatuses[{i}].state");
            problems.forbidden(at, "may not be transitioned to non-terminated state");
        }
    }
}

/// Init containers are left out: they run again when the pod gets a new sandbox.
fn validate_no_rebirth(spec: &PodSpec, new: &PodStatus, old: &PodStatus, problems: &mut Problems) {
    let all = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    // A container with such a rule has all others begin anew.
    if all().any(|c| rules(c).any(|rule| rule.action == "RestartAllContainers")) {
        return;
    }
    let containers: HashMap<&str, &Container> = spec.containers.iter().map(|c| (c.name.as_str(), c)).collect();
    let places =
        new.container_statuses.iter().flatten().enumerate().map(|(i, status)| (status.name.as_str(), (i, status)));
    let places: HashMap<&str, (usize, &ContainerStatus)> = places.collect();
    for old in old.container_statuses.iter().flatten() {
        let Some(ended) = old.state.as_ref().and_then(|s| s.terminated.as_ref()) else { continue };
        let Some((index, new)) = places.get(old.name.as_str()) else { continue };
        let container = containers.get(old.name.as_str()).copied();
        let runs_again = new.state.as_ref().is_some_and(|s| s.terminated.is_none());
        if runs_again && !restarts(container, spec.restart_policy.as_deref(), ended.exit_code) {
            let at = format!("status.containerStatuses[{index}].state");
            problems.forbidden(at, "may not be transitioned to non-terminated state");
        }
    }
}

fn rules(container: &Container) -> impl Iterator<Item = &ContainerRestartRule> {
    container.restart_policy_rules.iter().flatten()
}

/// Whether a container that ended with this code begins again: by a rule of its own, by its own policy, or by the pod's.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-restart-rules>
fn restarts(container: Option<&Container>, of_pod: Option<&str>, exit_code: i32) -> bool {
    let mut codes = container.into_iter().flat_map(rules).filter_map(|rule| rule.exit_codes.as_ref());
    let fits = codes.any(|codes| {
        let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
        listed == (codes.operator == "In")
    });
    match container.and_then(|c| c.restart_policy.as_deref()).or(of_pod) {
        _ if fits => true,
        Some("Never") => false,
        Some("OnFailure") => exit_code != 0,
        // Always, which is the default.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::check::testing::{defaulted, texts};

    fn found(old: &Value, new: &Value) -> Vec<String> {
        let (old, new): (Pod, Pod) = (defaulted(&old.to_string()), defaulted(&new.to_string()));
        let mut problems = Problems::default();
        validate_status(&new, &old, &mut problems);
        texts(&problems)
    }

    #[test]
    fn a_debugger_runs_once() {
        let pod = |state: Value| {
            let statuses =
                json!([{"name": "d", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]);
            json!({"spec": {"containers": []}, "status": {"ephemeralContainerStatuses": statuses}})
        };
        let (running, ended) = (pod(json!({"running": {}})), pod(json!({"terminated": {"exitCode": 1}})));
        assert_eq!(found(&running, &ended), Vec::<String>::new());
        let refused =
            "status.ephemeralContainerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state";
        assert_eq!(found(&ended, &running), [refused]);
    }

    #[test]
    fn a_container_that_ended_for_good_does_not_run_again() {
        let rule = |operator: &str| json!([{"action": "Restart", "exitCodes": {"operator": operator, "values": [3]}}]);
        let all = json!([{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [9]}}]);
        let cases = [
            ("always", "Always", json!({}), 0, true),
            ("never", "Never", json!({}), 1, false),
            ("a failure, on failure", "OnFailure", json!({}), 1, true),
            ("a success, on failure", "OnFailure", json!({}), 0, false),
            ("its own policy says so", "Never", json!({"restartPolicy": "OnFailure"}), 1, true),
            ("its own policy forbids it", "Always", json!({"restartPolicy": "Never"}), 1, false),
            ("a rule fits", "Never", json!({"restartPolicy": "Never", "restartPolicyRules": rule("In")}), 3, true),
            ("no rule fits", "Never", json!({"restartPolicy": "Never", "restartPolicyRules": rule("In")}), 4, false),
            ("not in", "Never", json!({"restartPolicy": "Never", "restartPolicyRules": rule("NotIn")}), 4, true),
            ("another restarts all", "Never", json!({"restartPolicy": "Never", "restartPolicyRules": all}), 0, true),
        ];
        for (why, policy, more, exit_code, good) in cases {
            let mut container = json!({"name": "a", "image": "x"});
            for (field, value) in more.as_object().unwrap() {
                container[field] = value.clone();
            }
            let spec = json!({"restartPolicy": policy, "containers": [{"name": "other", "image": "x"}, container]});
            let pod = |state: Value| {
                let statuses = json!([{"name": "a", "state": state}]);
                json!({"spec": spec, "status": {"containerStatuses": statuses, "initContainerStatuses": statuses}})
            };
            let ended = pod(json!({"terminated": {"exitCode": exit_code}}));
            let refused =
                "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state";
            let expected: &[&str] = if good { &[] } else { &[refused] };
            assert_eq!(found(&ended, &pod(json!({"running": {}}))), expected, "{why}");
            assert_eq!(found(&ended, &ended), Vec::<String>::new(), "{why}");
        }
    }
}
