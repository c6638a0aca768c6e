//! What a Service gets where its author said nothing, and what an update keeps of the old one.

use std::collections::{HashMap, HashSet};

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec, ServiceStatus};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::registry::check;
use crate::registry::defaults::fill;

pub const HEADLESS: &str = "None";
const AFFINITY_SECS: i32 = 10_800;

/// What follows from a Service's type.
pub fn needs_cluster_ip(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() != Some("ExternalName")
}
pub fn needs_node_ports(spec: &ServiceSpec) -> bool {
    match spec.type_.as_deref() {
        Some("NodePort") => true,
        Some("LoadBalancer") => spec.allocate_load_balancer_node_ports != Some(false),
        _ => false,
    }
}
pub fn is_headless(spec: &ServiceSpec) -> bool {
    needs_cluster_ip(spec) && spec.cluster_ip.as_deref() == Some(HEADLESS)
}
/// A port of its own, where a load balancer asks whether the node has endpoints.
pub fn needs_health_check_port(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some("LoadBalancer") && spec.external_traffic_policy.as_deref() == Some("Local")
}
pub fn externally_accessible(spec: &ServiceSpec) -> bool {
    match spec.type_.as_deref() {
        Some("NodePort" | "LoadBalancer") => true,
        Some("ClusterIP") => spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty()),
        _ => false,
    }
}

pub fn service(spec: &mut ServiceSpec) {
    fill(&mut spec.type_, "ClusterIP");
    fill(&mut spec.session_affinity, "None");
    match spec.session_affinity.as_deref() {
        Some("None") => spec.session_affinity_config = None,
        Some("ClientIP") => {
            let config = spec.session_affinity_config.get_or_insert_default().client_ip.get_or_insert_default();
            config.timeout_seconds.get_or_insert(AFFINITY_SECS);
        }
        _ => {}
    }
    for port in spec.ports.iter_mut().flatten() {
        default_port(port);
    }
    if externally_accessible(spec) {
        fill(&mut spec.external_traffic_policy, "Cluster");
    }
    if needs_cluster_ip(spec) {
        fill(&mut spec.internal_traffic_policy, "Cluster");
        default_addresses(spec);
    }
    if spec.type_.as_deref() == Some("LoadBalancer") {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
}

/// Addresses of a load balancer are virtual ones unless it says otherwise.
pub fn ingress(status: Option<&mut ServiceStatus>) {
    let balancer = status.and_then(|s| s.load_balancer.as_mut());
    for ingress in balancer.and_then(|b| b.ingress.as_mut()).into_iter().flatten() {
        if !check::text(ingress.ip.as_ref()).is_empty() {
            ingress.ip_mode.get_or_insert_with(|| "VIP".into());
        }
    }
}

fn default_port(port: &mut ServicePort) {
    fill(&mut port.protocol, "TCP");
    let unset = match &port.target_port {
        None | Some(IntOrString::Int(0)) => true,
        Some(IntOrString::String(name)) => name.is_empty(),
        Some(IntOrString::Int(_)) => false,
    };
    if unset {
        port.target_port = Some(IntOrString::Int(port.port));
    }
}

/// The cluster has IPv4 addresses; an IPv6 address that is asked for says its own family.
fn default_addresses(spec: &mut ServiceSpec) {
    if spec.cluster_ips.as_ref().is_none_or(Vec::is_empty)
        && let Some(ip) = spec.cluster_ip.clone().filter(|ip| !ip.is_empty())
    {
        spec.cluster_ips = Some(vec![ip]);
    }
    let selects = spec.selector.as_ref().is_some_and(|s| !s.is_empty());
    // Nobody but its author knows which families the endpoints of such a Service have.
    let any_family = is_headless(spec) && !selects && spec.ip_families.is_none();
    if spec.ip_family_policy.is_none() {
        spec.ip_family_policy = Some(if any_family { "RequireDualStack" } else { "SingleStack" }.into());
    }
    if spec.ip_families.as_ref().is_none_or(Vec::is_empty) {
        let first = spec.cluster_ips.as_ref().and_then(|ips| ips.first());
        let v6 = first.is_some_and(|ip| ip.contains(':'));
        let families = match (any_family, v6) {
            (true, _) => vec!["IPv4".into(), "IPv6".into()],
            (_, true) => vec!["IPv6".into()],
            _ => vec!["IPv4".into()],
        };
        spec.ip_families = Some(families);
    }
}

/// An update that leaves out what was allocated keeps it; one that changes the type drops what the old type needed,
/// unless the author changed it himself.
pub fn carry_over(new: &mut ServiceSpec, old: &ServiceSpec) {
    if needs_cluster_ip(new) && needs_cluster_ip(old) {
        keep_cluster_ip(new, old);
    }
    if needs_cluster_ip(old) && !needs_cluster_ip(new) {
        if new.cluster_ip == old.cluster_ip && new.cluster_ips == old.cluster_ips {
            (new.cluster_ip, new.cluster_ips) = (None, None);
        }
        if new.ip_families == old.ip_families {
            new.ip_families = None;
        }
        if new.ip_family_policy == old.ip_family_policy {
            new.ip_family_policy = None;
        }
        new.internal_traffic_policy = None;
    }
    if needs_node_ports(new) && needs_node_ports(old) {
        keep_node_ports(new, old);
    }
    let node_ports = |spec: &ServiceSpec| -> Vec<Option<i32>> {
        spec.ports.iter().flatten().filter(|p| p.node_port.is_some_and(|n| n > 0)).map(|p| p.node_port).collect()
    };
    if needs_node_ports(old) && !needs_node_ports(new) && node_ports(new) == node_ports(old) {
        new.ports.iter_mut().flatten().for_each(|p| p.node_port = None);
    }
    match (needs_health_check_port(old), needs_health_check_port(new)) {
        (true, true) if new.health_check_node_port.unwrap_or(0) == 0 => {
            new.health_check_node_port = old.health_check_node_port;
        }
        (true, false) if new.health_check_node_port == old.health_check_node_port => new.health_check_node_port = None,
        _ => {}
    }
    if externally_accessible(old)
        && !externally_accessible(new)
        && new.external_traffic_policy == old.external_traffic_policy
    {
        new.external_traffic_policy = None;
    }
    if old.type_.as_deref() == Some("LoadBalancer") && new.type_.as_deref() != Some("LoadBalancer") {
        if new.allocate_load_balancer_node_ports == old.allocate_load_balancer_node_ports {
            new.allocate_load_balancer_node_ports = None;
        }
        if new.load_balancer_class == old.load_balancer_class {
            new.load_balancer_class = None;
        }
    }
}

fn keep_cluster_ip(new: &mut ServiceSpec, old: &ServiceSpec) {
    let changed = new.cluster_ip != old.cluster_ip;
    if check::text(new.cluster_ip.as_ref()).is_empty() {
        new.cluster_ip.clone_from(&old.cluster_ip);
        new.cluster_ips.clone_from(&old.cluster_ips);
    } else if changed && new.cluster_ips == old.cluster_ips {
        // Only the singular field was edited: the list follows it.
        new.cluster_ips = new.cluster_ip.clone().map(|ip| vec![ip]);
    }
}

fn keep_node_ports(new: &mut ServiceSpec, old: &ServiceSpec) {
    let taken: HashSet<i32> = new.ports.iter().flatten().filter_map(|p| p.node_port).collect();
    // A port is known by its name, whatever else of it changes.
    let name = |port: &ServicePort| port.name.clone().unwrap_or_default();
    let old: HashMap<String, i32> =
        old.ports.iter().flatten().filter_map(|port| Some((name(port), port.node_port?))).collect();
    for port in new.ports.iter_mut().flatten().filter(|p| p.node_port.unwrap_or(0) == 0) {
        port.node_port = old.get(&name(port)).copied().filter(|number| !taken.contains(number));
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::{Value, json};

    use crate::registry::Strategy;
    use crate::registry::check::testing::{defaulted, prepare};

    #[test]
    fn defaults() {
        let spec = |spec: Value| {
            let service: Service = defaulted(&json!({"spec": spec}).to_string());
            serde_json::to_value(service.spec).unwrap()
        };
        assert_eq!(
            spec(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 31080}]})),
            json!({"type": "NodePort", "sessionAffinity": "None", "externalTrafficPolicy": "Cluster",
                "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
                "ports": [{"port": 80, "nodePort": 31080, "protocol": "TCP", "targetPort": 80}]})
        );
        assert_eq!(
            spec(json!({"type": "ExternalName", "externalName": "a.b"})),
            json!({"type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None"})
        );
        let headless = spec(json!({"clusterIP": "None", "sessionAffinity": "ClientIP"}));
        assert_eq!(
            (&headless["clusterIPs"], &headless["ipFamilyPolicy"]),
            (&json!(["None"]), &json!("RequireDualStack"))
        );
        assert_eq!(headless["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10800);
    }

    #[test]
    fn the_health_check_port_stays_while_there_is_a_use_for_it() {
        let balancer = |more: Value| {
            let mut spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            defaulted::<Service>(&json!({"spec": spec}).to_string())
        };
        let old = balancer(json!({"healthCheckNodePort": 31500, "loadBalancerClass": "a.b/c"}));
        let update = |more: Value| {
            let mut new = balancer(more);
            prepare(Strategy::Update(&old), &mut new);
            new.spec.unwrap()
        };
        assert_eq!(update(json!({})).health_check_node_port, Some(31500), "left out");
        assert_eq!(update(json!({"healthCheckNodePort": 31501})).health_check_node_port, Some(31501), "for validation");
        assert_eq!(
            update(json!({"externalTrafficPolicy": "Cluster", "healthCheckNodePort": 31500})).health_check_node_port,
            None
        );
        let inside = update(json!({"type": "ClusterIP", "loadBalancerClass": "x.y/z"}));
        assert_eq!(inside.load_balancer_class.as_deref(), Some("x.y/z"), "what is changed too is for validation");
    }

    #[test]
    fn updates_keep_what_was_allocated() {
        let old = json!({"type": "NodePort", "clusterIP": "10.96.0.9", "ports": [{"port": 80, "nodePort": 31080}]});
        let update = |new: Value| {
            let of = |spec: &Value| defaulted::<Service>(&json!({"spec": spec}).to_string());
            let (old, mut new) = (of(&old), of(&new));
            prepare(Strategy::Update(&old), &mut new);
            serde_json::to_value(new.spec).unwrap()
        };
        let same = update(json!({"type": "NodePort", "ports": [{"port": 8080}, {"port": 81, "name": "b"}]}));
        assert_eq!((&same["clusterIP"], &same["clusterIPs"]), (&json!("10.96.0.9"), &json!(["10.96.0.9"])));
        assert_eq!((&same["ports"][0]["nodePort"], &same["ports"][1]["nodePort"]), (&json!(31080), &Value::Null));

        let inside = update(json!({"type": "ClusterIP", "externalTrafficPolicy": "Cluster",
            "clusterIP": "10.96.0.9", "ports": [{"port": 80, "nodePort": 31080}]}));
        assert_eq!((&inside["ports"][0]["nodePort"], &inside["externalTrafficPolicy"]), (&Value::Null, &Value::Null));

        let name = update(json!({"type": "ExternalName", "externalName": "a.b", "clusterIP": "10.96.0.9",
            "clusterIPs": ["10.96.0.9"], "ipFamilies": ["IPv4"]}));
        assert_eq!(
            (&name["clusterIP"], &name["clusterIPs"], &name["ipFamilies"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
    }
}
