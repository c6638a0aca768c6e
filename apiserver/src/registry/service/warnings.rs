//! What users are told of a Service that is good and yet may not do what they expect.

use k8s_openapi::api::core::v1::Service;

use crate::registry::check;
use crate::registry::path::Path;
use crate::registry::warnings::Warnings;

const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";

pub(super) fn service(service: &Service) -> Vec<String> {
    let mut warnings = Warnings::default();
    if service.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(TOPOLOGY_HINTS)) {
        let instead = "please use service.kubernetes.io/topology-mode instead";
        warnings.say(format_args!("annotation {TOPOLOGY_HINTS} is deprecated, {instead}"));
    }
    let Some(spec) = &service.spec else { return warnings.into_vec() };
    let at = Path::root("spec");
    let kind = check::text(spec.type_.as_ref());
    let external = spec.external_ips.as_deref().unwrap_or_default();
    let balancer = check::text(spec.load_balancer_ip.as_ref());
    let is_headless = kind == "ClusterIP" && check::text(spec.cluster_ip.as_ref()) == "None";
    for (i, ip) in spec.cluster_ips.iter().flatten().enumerate().filter(|_| !is_headless) {
        warnings.ip(&at.field("clusterIPs").index(i), ip);
    }
    if is_headless {
        let has_affinity = !matches!(check::text(spec.session_affinity.as_ref()), "" | "None");
        for (is_said, field) in [
            (!balancer.is_empty(), "loadBalancerIP"),
            (!external.is_empty(), "externalIPs"),
            (has_affinity, "SessionAffinity"),
        ] {
            if is_said {
                warnings.say(format_args!("spec.{field} is ignored for headless services"));
            }
        }
    }
    for (i, ip) in external.iter().enumerate() {
        warnings.ip(&at.field("externalIPs").index(i), ip);
    }
    warnings.ip(&at.field("loadBalancerIP"), balancer);
    if kind == "ExternalName" && !external.is_empty() {
        warnings.say(r#"spec.externalIPs is ignored when spec.type is "ExternalName""#);
    } else if !external.is_empty() {
        warnings.push(&at.field("externalIPs"), "deprecated in v1.36+");
    }
    if kind != "ExternalName" && !check::text(spec.external_name.as_ref()).is_empty() {
        warnings.say(r#"spec.externalName is ignored when spec.type is not "ExternalName""#);
    }
    warnings.into_vec()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_may_surprise() {
        for (metadata, spec, expected) in [
            (json!({}), json!({"type": "ClusterIP", "clusterIPs": ["10.0.0.1"]}), vec![]),
            (
                json!({"annotations": {TOPOLOGY_HINTS: "auto"}}),
                json!({"type": "ClusterIP"}),
                vec![
                    "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead",
                ],
            ),
            (
                json!({}),
                json!({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "sessionAffinity": "ClientIP"}),
                vec!["spec.SessionAffinity is ignored for headless services"],
            ),
            (
                json!({}),
                json!({"type": "ExternalName", "externalName": "a.example", "externalIPs": ["203.0.113.1"]}),
                vec![r#"spec.externalIPs is ignored when spec.type is "ExternalName""#],
            ),
            (
                json!({}),
                json!({"type": "NodePort", "externalName": "a.example", "externalIPs": ["203.0.113.1"]}),
                vec![
                    "spec.externalIPs: deprecated in v1.36+",
                    r#"spec.externalName is ignored when spec.type is not "ExternalName""#,
                ],
            ),
        ] {
            let of = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
            assert_eq!(service(&of), expected, "{spec}");
        }
    }
}
