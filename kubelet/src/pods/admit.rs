//! Whether this node takes a pod: the last check, where the scheduler was passed over or the node changed. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_api::node::{selector, untolerated};
use corten_api::pod::{is_mirror, is_sidecar, requests};
use k8s_openapi::api::core::v1::Pod;

use crate::node_facts::NodeFacts;
use crate::sysctls;

/// Reason and message, if the pod cannot be here.
pub(super) fn refusal(pod: &Pod, others: &[Arc<Pod>], node: &NodeFacts) -> Option<(String, String)> {
    let spec = pod.spec.as_ref()?;
    if let Some(message) = sysctls::refusal(spec, &node.allowed_unsafe_sysctls) {
        return Some(("SysctlForbidden".into(), message));
    }
    if let Some(os) = &spec.os
        && os.name != "linux"
    {
        return Some(("PodOSNotSupported".into(), "Failed to admit pod as the OS field doesn't match node OS".into()));
    }
    if !selector::selects(spec, &node.name, |key| node.label(key)) {
        let message = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        return Some(("NodeAffinity".into(), message.into()));
    }
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    if !is_mirror(pod) && untolerated(&node.taints, tolerations, &["NoExecute"]).is_some() {
        return Some(("TaintToleration".into(), "Predicate TaintToleration failed".into()));
    }
    if others.iter().any(|other| shares_host_port(pod, other)) {
        let message = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        return Some(("NodePorts".into(), message.into()));
    }
    too_big(pod, others, node)
}

/// Reason and message, if what the pod asks for is not left on the node.
pub(super) fn too_big(pod: &Pod, others: &[Arc<Pod>], node: &NodeFacts) -> Option<(String, String)> {
    let refuse = |resource: &str, requested: i64, used: i64, capacity: i64| {
        let message = format!(
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        );
        Some((format!("OutOf{resource}"), message))
    };
    if let Some(capacity) = node.allocatable.get("pods") {
        let used = i64::try_from(others.len()).unwrap_or(i64::MAX);
        if used + 1 > *capacity {
            return refuse("pods", 1, used, *capacity);
        }
    }
    let wanted = requests(pod.spec.as_ref()?);
    let used = others.iter().filter_map(|p| p.spec.as_ref()).map(requests).fold(BTreeMap::new(), |mut sum, of| {
        of.into_iter().for_each(|(name, n)| *sum.entry(name).or_insert(0) += n);
        sum
    });
    for (resource, requested) in wanted.iter().filter(|(name, n)| **n > 0 && node.counts(name)) {
        let used = used.get(resource).copied().unwrap_or(0);
        let capacity = node.allocatable.get(resource).copied().unwrap_or(0);
        if requested + used > capacity {
            return refuse(resource, *requested, used, capacity);
        }
    }
    None
}

fn shares_host_port(pod: &Pod, other: &Pod) -> bool {
    let ports = |pod: &Pod| -> Vec<(String, i32, String)> {
        // Sidecars keep their ports as long as the others do.
        let sidecars = pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten()).filter(|c| is_sidecar(c));
        let containers = pod.spec.iter().flat_map(|s| s.containers.iter()).chain(sidecars);
        let all = containers.flat_map(|c| c.ports.iter().flatten());
        all.filter_map(|p| {
            let port = p.host_port.filter(|p| *p > 0)?;
            let protocol = p.protocol.clone().unwrap_or_else(|| "TCP".into());
            Some((protocol, port, p.host_ip.clone().unwrap_or_default()))
        })
        .collect()
    };
    let everywhere = |ip: &str| ip.is_empty() || ip == "0.0.0.0" || ip == "::";
    let taken = ports(other);
    ports(pod).iter().any(|(protocol, port, ip)| {
        taken
            .iter()
            .any(|(p, n, have)| p == protocol && n == port && (ip == have || everywhere(ip) || everywhere(have)))
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Container, ContainerPort, Node, PodSpec, ResourceRequirements};
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    use super::*;

    fn pod(cpu: &str, host_port: Option<i32>, selector: &[(&str, &str)]) -> Pod {
        let requests = [("cpu".to_owned(), Quantity(cpu.into()))].into();
        let container = Container {
            resources: Some(ResourceRequirements { requests: Some(requests), ..Default::default() }),
            ports: Some(vec![ContainerPort { host_port, container_port: 80, ..Default::default() }]),
            ..Default::default()
        };
        let node_selector = selector.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Pod {
            spec: Some(PodSpec {
                containers: vec![container],
                node_selector: Some(node_selector),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn admission_table() {
        let told: Node = serde_json::from_value(serde_json::json!({
            "metadata": {"labels": {"disk": "ssd"}},
            "status": {"allocatable": {"cpu": "64", "x.com/gpu": "1"}},
        }))
        .unwrap();
        let own = [("cpu".to_owned(), 1000), ("pods".to_owned(), 2)].into();
        let node = NodeFacts::of(Some(&told), "n1", &own, &[]);
        let there = [Arc::new(pod("600m", Some(8080), &[]))];
        let two = [Arc::clone(&there[0]), Arc::new(pod("0", None, &[]))];
        let with_sysctl = |name: &str| {
            let mut pod = pod("0", None, &[]);
            let context = serde_json::json!({"sysctls": [{"name": name, "value": "1"}]});
            pod.spec.as_mut().unwrap().security_context = serde_json::from_value(context).unwrap();
            pod
        };
        let sidecar = |restart: &str| {
            let mut pod = pod("0", Some(8080), &[]);
            let spec = pod.spec.as_mut().unwrap();
            let inits = std::mem::replace(&mut spec.containers, vec![Container::default()]);
            let policy = Some(restart.to_owned());
            spec.init_containers =
                Some(inits.into_iter().map(|c| Container { restart_policy: policy.clone(), ..c }).collect());
            pod
        };
        let of_devices = |name: &str| {
            let mut pod = pod("0", None, &[]);
            let requests =
                pod.spec.as_mut().unwrap().containers[0].resources.as_mut().unwrap().requests.as_mut().unwrap();
            requests.insert(name.into(), Quantity("1".into()));
            pod
        };
        let holder = [Arc::new(of_devices("x.com/gpu"))];
        let cases = [
            ("the one device is free", of_devices("x.com/gpu"), &[][..], None),
            ("it is not", of_devices("x.com/gpu"), &holder[..], Some("OutOfx.com/gpu")),
            ("who placed it knows of such devices", of_devices("x.com/fpga"), &[][..], None),
            ("a resource that every node would have", of_devices("hugepages-2Mi"), &[][..], Some("OutOfhugepages-2Mi")),
            ("it fits", pod("400m", None, &[]), &there[..], None),
            ("no cpu left", pod("500m", None, &[]), &there[..], Some("OutOfcpu")),
            ("no place left", pod("0", None, &[]), &two[..], Some("OutOfpods")),
            ("the port is taken", pod("0", Some(8080), &[]), &there[..], Some("NodePorts")),
            ("a sidecar's port is taken", sidecar("Always"), &there[..], Some("NodePorts")),
            ("an init container's is free again", sidecar("Never"), &there[..], None),
            ("another port", pod("0", Some(8081), &[]), &there[..], None),
            ("a sysctl that is not safe", with_sysctl("net.core.somaxconn"), &there[..], Some("SysctlForbidden")),
            ("a safe one", with_sysctl("net.ipv4.tcp_syncookies"), &there[..], None),
            ("it wants this node", pod("0", None, &[("disk", "ssd")]), &there[..], None),
            ("it wants another", pod("0", None, &[("disk", "hdd")]), &there[..], Some("NodeAffinity")),
        ];
        for (why, pod, others, expected) in cases {
            let got = refusal(&pod, others, &node).map(|(reason, _)| reason);
            assert_eq!(got.as_deref(), expected, "{why}");
        }
    }
}
