//! Whether a Service makes sense. What is in use already (addresses, node ports) the allocator says.

use std::collections::HashSet;
use std::net::IpAddr;

use corten_api::Problems;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::defaults::{
    HEADLESS, externally_accessible, is_headless, needs_cluster_ip, needs_health_check_port, needs_node_ports,
};
use crate::registry::path::Path;
use crate::registry::{check, endpoints};

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const TRAFFIC_POLICIES: &[&str] = &["Cluster", "Local"];
const DISTRIBUTIONS: &[&str] = &["PreferClose", "PreferSameNode", "PreferSameZone"];
const FAMILY_POLICIES: &[&str] = &["PreferDualStack", "RequireDualStack", "SingleStack"];
const AFFINITY_SECS_MAX: i32 = 86_400;
/// The kubelet's port: a load balancer that led there would open every node.
const KUBELET_PORT: i32 = 10_250;
const LOAD_BALANCER_ONLY: &str = "may only be used when `type` is 'LoadBalancer'";

pub fn service(service: &Service, problems: &mut Problems) {
    let at = Path::root("spec");
    let Some(spec) = &service.spec else { return problems.required(at, "") };
    let kind = check::text(spec.type_.as_ref());
    if spec.ports.as_ref().is_none_or(Vec::is_empty) && !is_headless(spec) && kind != "ExternalName" {
        problems.required(at.field("ports"), "");
    }
    for_type(spec, kind, &at, problems);
    ports(spec, &at, problems);
    check::selector(problems, &at.field("selector"), spec.selector.as_ref());
    affinity(spec, &at, problems);
    addresses(spec, &at, problems);
    check::word(problems, &at.field("type"), spec.type_.as_ref(), TYPES);
    node_ports(spec, &at, problems);
    traffic(spec, &at, problems);
}

fn for_type(spec: &ServiceSpec, kind: &str, at: &Path<'_>, problems: &mut Problems) {
    if matches!(kind, "LoadBalancer" | "NodePort") && is_headless(spec) {
        let why = format!("may not be set to 'None' for {kind} services");
        problems.invalid(at.field("clusterIPs").index(0), HEADLESS, &why);
    }
    if kind == "LoadBalancer" {
        let list = at.field("ports");
        for (i, _) in spec.ports.iter().flatten().enumerate().filter(|(_, p)| p.port == KUBELET_PORT) {
            let why = "may not expose port 10250 externally since it is used by kubelet";
            problems.invalid(list.index(i).field("port"), KUBELET_PORT, why);
        }
    } else {
        if spec.allocate_load_balancer_node_ports.is_some() {
            problems.forbidden(at.field("allocateLoadBalancerNodePorts"), LOAD_BALANCER_ONLY);
        }
        if spec.load_balancer_class.is_some() {
            problems.forbidden(at.field("loadBalancerClass"), LOAD_BALANCER_ONLY);
        }
        if spec.load_balancer_source_ranges.as_ref().is_some_and(|r| !r.is_empty()) {
            problems.forbidden(at.field("loadBalancerSourceRanges"), LOAD_BALANCER_ONLY);
        }
    }
    if kind == "ExternalName" {
        if spec.cluster_ips.as_ref().is_some_and(|ips| !ips.is_empty()) || spec.cluster_ip.is_some() {
            problems.forbidden(at.field("clusterIPs"), "may not be set for ExternalName services");
        }
        match check::text(spec.external_name.as_ref()) {
            "" => problems.required(at.field("externalName"), ""),
            name => check::dns_subdomain(problems, &at.field("externalName"), name.strip_suffix('.').unwrap_or(name)),
        }
    }
}

fn ports(spec: &ServiceSpec, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("ports");
    let ports = spec.ports.as_deref().unwrap_or_default();
    let mut names = HashSet::new();
    let mut seen = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let at = list.index(i);
        match check::text(port.name.as_ref()) {
            "" if ports.len() > 1 => problems.required(at.field("name"), ""),
            "" => {}
            name => {
                check::dns_label(problems, &at.field("name"), name);
                if !names.insert(name) {
                    problems.duplicate(at.field("name"), name);
                }
            }
        }
        one_port(port, &at, problems);
        if !seen.insert((port.port, check::text(port.protocol.as_ref()))) {
            problems.duplicate(at, json!({"port": port.port, "protocol": port.protocol}));
        }
    }
}

fn one_port(port: &ServicePort, at: &Path<'_>, problems: &mut Problems) {
    check::port_number(problems, &at.field("port"), port.port);
    check::word(problems, &at.field("protocol"), port.protocol.as_ref(), check::PROTOCOLS);
    match &port.target_port {
        Some(IntOrString::Int(number)) => check::port_number(problems, &at.field("targetPort"), *number),
        Some(IntOrString::String(name)) => check::port_name(problems, &at.field("targetPort"), name),
        None => {}
    }
    if let Some(app) = &port.app_protocol {
        check::qualified_name(problems, &at.field("appProtocol"), app);
    }
}

fn node_ports(spec: &ServiceSpec, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("ports");
    let kind = check::text(spec.type_.as_ref());
    let mut seen = HashSet::new();
    for (i, port) in spec.ports.iter().flatten().enumerate() {
        let Some(number) = port.node_port.filter(|n| *n != 0) else { continue };
        let at = list.index(i);
        if !needs_node_ports(spec) && kind != "LoadBalancer" {
            problems.forbidden(at.field("nodePort"), &format!("may not be used when `type` is '{kind}'"));
        } else if !seen.insert((check::text(port.protocol.as_ref()), number)) {
            problems.duplicate(at.field("nodePort"), number);
        }
    }
}

fn affinity(spec: &ServiceSpec, at: &Path<'_>, problems: &mut Problems) {
    check::word(problems, &at.field("sessionAffinity"), spec.session_affinity.as_ref(), &["ClientIP", "None"]);
    let config_at = at.field("sessionAffinityConfig");
    let seconds = spec.session_affinity_config.as_ref().map(|c| c.client_ip.as_ref().and_then(|c| c.timeout_seconds));
    match (spec.session_affinity.as_deref(), seconds) {
        (Some("None"), Some(_)) => problems.forbidden(config_at, "must not be set when session affinity is None"),
        (Some("ClientIP"), Some(Some(secs))) if !(1..=AFFINITY_SECS_MAX).contains(&secs) => {
            let why = format!("must be greater than 0 and less than {AFFINITY_SECS_MAX}");
            problems.invalid(config_at.field("clientIP").field("timeoutSeconds"), secs, &why);
        }
        _ => {}
    }
}

fn addresses(spec: &ServiceSpec, at: &Path<'_>, problems: &mut Problems) {
    if needs_cluster_ip(spec) {
        cluster_ips(spec, &at.field("clusterIPs"), problems);
    }
    let list = at.field("externalIPs");
    for (i, ip) in spec.external_ips.iter().flatten().enumerate() {
        endpoints::endpoint_ip(ip, &list.index(i), problems);
    }
    let list = at.field("ipFamilies");
    let mut seen = HashSet::new();
    for (i, family) in spec.ip_families.iter().flatten().enumerate() {
        check::word(problems, &list.index(i), Some(family), &["IPv4", "IPv6"]);
        if !seen.insert(family) {
            problems.duplicate(list.index(i), family);
        }
    }
    check::optional_word(problems, &at.field("ipFamilyPolicy"), spec.ip_family_policy.as_ref(), FAMILY_POLICIES);
    let list = at.field("loadBalancerSourceRanges");
    for (i, range) in spec.load_balancer_source_ranges.iter().flatten().enumerate() {
        check::cidr(problems, &list.index(i), range.trim());
    }
}

fn cluster_ips(spec: &ServiceSpec, list: &Path<'_>, problems: &mut Problems) {
    let ips = spec.cluster_ips.as_deref().unwrap_or_default();
    match (check::text(spec.cluster_ip.as_ref()), ips.first()) {
        ("", Some(_)) => problems.invalid(list, ips, "must be empty when `clusterIP` is not specified"),
        (ip, Some(first)) if ip != first => problems.invalid(list, ips, "first value must match `clusterIP`"),
        _ => {}
    }
    if ips.len() > 2 {
        problems.invalid(list, ips, "may only hold up to 2 values");
    }
    for (i, ip) in ips.iter().enumerate() {
        match (i, ip.as_str()) {
            (0, HEADLESS) if ips.len() == 1 => {}
            (_, HEADLESS) => problems.invalid(list.index(i), ip, "'None' must be the first and only value"),
            _ => {
                check::ip(problems, &list.index(i), ip);
            }
        }
    }
}

fn traffic(spec: &ServiceSpec, at: &Path<'_>, problems: &mut Problems) {
    let external_at = at.field("externalTrafficPolicy");
    if externally_accessible(spec) {
        check::word(problems, &external_at, spec.external_traffic_policy.as_ref(), TRAFFIC_POLICIES);
    } else if let Some(policy) = spec.external_traffic_policy.as_ref().filter(|p| !p.is_empty()) {
        problems.invalid(external_at, policy, "may only be set for externally-accessible services");
    }
    let internal_at = at.field("internalTrafficPolicy");
    check::optional_word(problems, &internal_at, spec.internal_traffic_policy.as_ref(), TRAFFIC_POLICIES);
    check::optional_word(problems, &at.field("trafficDistribution"), spec.traffic_distribution.as_ref(), DISTRIBUTIONS);
    if let Some(port) = spec.health_check_node_port.filter(|p| *p != 0 && !needs_health_check_port(spec)) {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        problems.invalid(at.field("healthCheckNodePort"), port, why);
    }
}

/// What a load balancer says of itself.
pub fn status(service: &Service, problems: &mut Problems) {
    let balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let ingress = balancer.and_then(|b| b.ingress.as_deref()).unwrap_or_default();
    let list = Path::root("status.loadBalancer.ingress");
    let kind = service.spec.as_ref().and_then(|s| s.type_.as_deref());
    if kind != Some("LoadBalancer") && !ingress.is_empty() {
        return problems.forbidden(list, "may only be used when `spec.type` is 'LoadBalancer'");
    }
    for (i, ingress) in ingress.iter().enumerate() {
        let at = list.index(i);
        let (ip, name) = (check::text(ingress.ip.as_ref()), check::text(ingress.hostname.as_ref()));
        let mode_at = at.field("ipMode");
        if !ip.is_empty() {
            check::ip(problems, &at.field("ip"), ip);
        }
        match &ingress.ip_mode {
            None if !ip.is_empty() => problems.required(mode_at, "must be specified when `ip` is set"),
            Some(_) if ip.is_empty() => problems.forbidden(mode_at, "may not be specified when `ip` is not set"),
            mode => check::optional_word(problems, &mode_at, mode.as_ref(), &["Proxy", "VIP"]),
        }
        if name.parse::<IpAddr>().is_ok() {
            problems.invalid(at.field("hostname"), name, "must be a DNS name, not an IP address");
        } else if !name.is_empty() {
            check::dns_subdomain(problems, &at.field("hostname"), name);
        }
    }
}

/// An address, once given, is kept; to lose it a Service must become an ExternalName.
pub fn update(new: &Service, old: &Service, problems: &mut Problems) {
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
    if needs_health_check_port(new) && needs_health_check_port(old) {
        let (new, old) = (&new.health_check_node_port, &old.health_check_node_port);
        check::immutable(problems, &Path::root("spec.healthCheckNodePort"), new, old);
    }
    if !needs_cluster_ip(new) || !needs_cluster_ip(old) {
        return;
    }
    let list = Path::root("spec.clusterIPs");
    let old_ips = old.cluster_ips.as_deref().unwrap_or_default();
    let new_ips = new.cluster_ips.as_deref().unwrap_or_default();
    for (i, old_ip) in old_ips.iter().enumerate() {
        match new_ips.get(i) {
            Some(new_ip) if new_ip != old_ip => problems.invalid(list.index(i), new_ips, "may not change once set"),
            None if i == 0 => problems.invalid(list.index(0), new_ips, "primary clusterIP can not be unset"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::registry::check::testing;

    fn found(spec: Value) -> Vec<String> {
        testing::found::<Service>(&json!({"spec": spec}).to_string())
    }

    #[test]
    fn good_services() {
        for spec in [
            json!({"ports": [{"port": 33306, "targetPort": 3306}]}),
            json!({"type": "NodePort", "ports": [{"name": "http", "port": 80, "targetPort": "web", "nodePort": 31080}]}),
            json!({"clusterIP": "None"}),
            json!({"type": "ExternalName", "externalName": "db.example.com."}),
            json!({"ports": [{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}]}),
        ] {
            assert_eq!(found(spec.clone()), Vec::<String>::new(), "{spec}");
        }
    }

    #[test]
    fn bad_services() {
        let cases = [
            (json!({}), "spec.ports: Required value"),
            (
                json!({"ports": [{"port": 0, "targetPort": 80}]}),
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            (json!({"ports": [{"port": 1, "name": "a"}, {"port": 2}]}), "spec.ports[1].name: Required value"),
            (
                json!({"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]}),
                r#"spec.ports[1].name: Duplicate value: "a""#,
            ),
            (
                json!({"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]}),
                r#"spec.ports[1]: Duplicate value: {"port":1,"protocol":"TCP"}"#,
            ),
            (
                json!({"ports": [{"port": 1, "protocol": "tcp"}]}),
                r#"spec.ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP""#,
            ),
            (
                json!({"ports": [{"port": 1, "nodePort": 31000}]}),
                "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            ),
            (
                json!({"type": "Odd", "ports": [{"port": 1}]}),
                r#"spec.type: Unsupported value: "Odd": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort""#,
            ),
            (
                json!({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 1}]}),
                r#"spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for NodePort services"#,
            ),
            (
                json!({"clusterIP": "10.0.0", "ports": [{"port": 1}]}),
                r#"spec.clusterIPs[0]: Invalid value: "10.0.0": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#,
            ),
            (json!({"type": "ExternalName"}), "spec.externalName: Required value"),
            (
                json!({"ports": [{"port": 1}], "sessionAffinity": "ClientIP",
                    "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}}),
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400",
            ),
            (
                json!({"ports": [{"port": 1}], "externalIPs": ["127.0.0.1"]}),
                r#"spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)"#,
            ),
            (
                json!({"type": "NodePort", "ports": [{"port": 1, "name": "a", "nodePort": 31000}, {"port": 2, "name": "b", "nodePort": 31000}]}),
                "spec.ports[1].nodePort: Duplicate value: 31000",
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(found(spec.clone()), [expected], "{spec}");
        }
    }

    #[test]
    fn the_health_check_port_stays() {
        let of = |port: i32| json!({"spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": port, "ports": [{"port": 1}]}});
        let refused = testing::found_on_update::<Service>(&of(31500).to_string(), &of(31501).to_string());
        assert_eq!(refused, ["spec.healthCheckNodePort: Invalid value: 31501: field is immutable"]);
        assert!(testing::found_on_update::<Service>(&of(31500).to_string(), &of(0).to_string()).is_empty());
    }

    #[test]
    fn what_a_load_balancer_says_of_itself() {
        let found = |kind: &str, ingress: Value| {
            let object = json!({"spec": {"type": kind}, "status": {"loadBalancer": {"ingress": [ingress]}}});
            let mut problems = Problems::default();
            status(&testing::defaulted(&object.to_string()), &mut problems);
            testing::texts(&problems)
        };
        let at = "status.loadBalancer.ingress[0]";
        assert!(found("LoadBalancer", json!({"ip": "203.0.113.1"})).is_empty(), "a VIP by default");
        assert!(found("LoadBalancer", json!({"hostname": "a.example"})).is_empty());
        for (kind, ingress, expected) in [
            (
                "ClusterIP",
                json!({"ip": "203.0.113.1"}),
                "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"
                    .to_owned(),
            ),
            ("LoadBalancer", json!({"ip": "x"}), format!("{at}.ip: Invalid value: \"x\": {}", check::NOT_AN_IP)),
            (
                "LoadBalancer",
                json!({"ipMode": "VIP"}),
                format!("{at}.ipMode: Forbidden: may not be specified when `ip` is not set"),
            ),
            (
                "LoadBalancer",
                json!({"ip": "203.0.113.1", "ipMode": "Odd"}),
                format!("{at}.ipMode: Unsupported value: \"Odd\": supported values: \"Proxy\", \"VIP\""),
            ),
            (
                "LoadBalancer",
                json!({"hostname": "203.0.113.1"}),
                format!("{at}.hostname: Invalid value: \"203.0.113.1\": must be a DNS name, not an IP address"),
            ),
        ] {
            assert_eq!(found(kind, ingress), [expected]);
        }
    }

    #[test]
    fn the_address_stays() {
        let of = |ip: &str| json!({"spec": {"clusterIP": ip, "ports": [{"port": 1}]}}).to_string();
        assert_eq!(
            testing::found_on_update::<Service>(&of("10.96.0.1"), &of("10.96.0.2")),
            [r#"spec.clusterIPs[0]: Invalid value: ["10.96.0.2"]: may not change once set"#]
        );
        assert!(testing::found_on_update::<Service>(&of("10.96.0.1"), &of("")).is_empty());
    }
}
