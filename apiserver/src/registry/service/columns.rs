//! What `kubectl get services` shows.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

use crate::registry::{Cell, Column, cells, check};

pub const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Type", "How the Service is reached"),
    cells::text("Cluster-IP", "Its address inside of the cluster"),
    cells::text("External-IP", "Its addresses outside"),
    cells::text("Port(s)", "Its ports, with the nodes' ports that lead to them"),
    cells::AGE,
    cells::SELECTOR,
];

pub fn row(service: &Service, now_secs: i64) -> Vec<Cell> {
    let none = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&none);
    let ports: Vec<String> = spec.ports.iter().flatten().map(shown_port).collect();
    let cluster_ip = spec.cluster_ips.as_ref().and_then(|ips| ips.first()).or(spec.cluster_ip.as_ref());
    vec![
        cells::name(&service.metadata),
        Cell::text_or(spec.type_.as_deref(), ""),
        Cell::text_or(cluster_ip.map(String::as_str), cells::NONE),
        Cell::text(external_ip(service, spec)),
        Cell::text_or(Some(&ports.join(",")), cells::NONE),
        cells::age(&service.metadata, now_secs),
        cells::labels(spec.selector.as_ref()),
    ]
}

fn shown_port(port: &ServicePort) -> String {
    let protocol = port.protocol.as_deref().unwrap_or_default();
    match port.node_port.filter(|n| *n > 0) {
        Some(node_port) => format!("{}:{node_port}/{protocol}", port.port),
        None => format!("{}/{protocol}", port.port),
    }
}

fn external_ip(service: &Service, spec: &ServiceSpec) -> String {
    let ips = spec.external_ips.as_deref().unwrap_or_default();
    let or = |list: &[String], otherwise: &str| if list.is_empty() { otherwise.to_owned() } else { list.join(",") };
    match check::text(spec.type_.as_ref()) {
        "ClusterIP" | "NodePort" => or(ips, cells::NONE),
        "LoadBalancer" => {
            let ingress = service.status.iter().filter_map(|s| s.load_balancer.as_ref()?.ingress.as_ref()).flatten();
            let mut all: Vec<String> = ingress.filter_map(|i| i.ip.clone().or_else(|| i.hostname.clone())).collect();
            all.extend(ips.iter().cloned());
            or(&all, "<pending>")
        }
        "ExternalName" => check::text(spec.external_name.as_ref()).to_owned(),
        _ => cells::UNKNOWN.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing;

    #[test]
    fn one_row_of_each_type() {
        let ports = r#""ports":[{"port":80,"nodePort":31080,"protocol":"TCP"},{"port":53,"protocol":"UDP"}]"#;
        let cases = [
            (
                format!(r#"{{"spec":{{"type":"NodePort","clusterIP":"10.96.0.9",{ports},"selector":{{"a":"b"}}}}}}"#),
                "|NodePort|10.96.0.9|<none>|80:31080/TCP,53/UDP|<unknown>|a=b",
            ),
            (
                r#"{"spec":{"type":"ClusterIP","clusterIP":"None"}}"#.into(),
                "|ClusterIP|None|<none>|<none>|<unknown>|<none>",
            ),
            (
                r#"{"spec":{"type":"ExternalName","externalName":"a.b"}}"#.into(),
                "|ExternalName|<none>|a.b|<none>|<unknown>|<none>",
            ),
            (
                r#"{"spec":{"type":"LoadBalancer","clusterIPs":["10.96.0.9"]}}"#.into(),
                "|LoadBalancer|10.96.0.9|<pending>|<none>|<unknown>|<none>",
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(testing::row::<Service>(&json, 0), expected, "{json}");
        }
    }
}
