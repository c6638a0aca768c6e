//! Variables that tell a container where Services are, in Docker's link format.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;

/// The name of the Service that leads to the apiservers, in namespace `default`.
pub const KUBERNETES: &str = "kubernetes";

/// What is kept of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAddress {
    pub namespace: String,
    pub name: String,
    pub cluster_ip: String,
    pub ports: Vec<ServicePort>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    pub name: String,
    pub protocol: String,
    pub port: i32,
}

impl ServiceAddress {
    /// `None` for a Service without an address of its own (headless, ExternalName).
    pub fn of(service: &Service) -> Option<Self> {
        let spec = service.spec.as_ref()?;
        let cluster_ip = spec.cluster_ip.clone().filter(|ip| !ip.is_empty() && ip != "None")?;
        let ports = spec.ports.iter().flatten().map(|p| ServicePort {
            name: p.name.clone().unwrap_or_default(),
            protocol: p.protocol.clone().unwrap_or_else(|| "TCP".into()),
            port: p.port,
        });
        Some(Self {
            namespace: service.metadata.namespace.clone().unwrap_or_default(),
            name: service.metadata.name.clone().unwrap_or_default(),
            cluster_ip,
            ports: ports.collect(),
        })
    }
}

/// The variables for a pod of `namespace`: its namespace's Services if `links`, and `kubernetes` in any case.
pub fn variables<'a>(
    services: impl IntoIterator<Item = &'a ServiceAddress>,
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for service in services {
        let is_kubernetes = service.namespace == "default" && service.name == KUBERNETES;
        if is_kubernetes || links && service.namespace == namespace {
            add(service, &mut found);
        }
    }
    found
}

fn add(service: &ServiceAddress, into: &mut BTreeMap<String, String>) {
    let upper = |s: &str| s.to_uppercase().replace('-', "_");
    let name = upper(&service.name);
    let Some(first) = service.ports.first() else { return };
    let url = |p: &ServicePort| {
        let host = &service.cluster_ip;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        format!("{}://{host}:{}", p.protocol.to_lowercase(), p.port)
    };
    into.insert(format!("{name}_SERVICE_HOST"), service.cluster_ip.clone());
    into.insert(format!("{name}_SERVICE_PORT"), first.port.to_string());
    into.insert(format!("{name}_PORT"), url(first));
    for port in &service.ports {
        if !port.name.is_empty() {
            into.insert(format!("{name}_SERVICE_PORT_{}", upper(&port.name)), port.port.to_string());
        }
        let prefix = format!("{name}_PORT_{}_{}", port.port, port.protocol.to_uppercase());
        into.insert(prefix.clone(), url(port));
        into.insert(format!("{prefix}_PROTO"), port.protocol.to_lowercase());
        into.insert(format!("{prefix}_PORT"), port.port.to_string());
        into.insert(format!("{prefix}_ADDR"), service.cluster_ip.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(namespace: &str, name: &str) -> ServiceAddress {
        let ports = vec![ServicePort { name: "http-web".into(), protocol: "TCP".into(), port: 80 }];
        ServiceAddress { namespace: namespace.into(), name: name.into(), cluster_ip: "10.96.0.9".into(), ports }
    }

    #[test]
    fn a_service_becomes_link_variables() {
        let all = [service("default", "my-web"), service("other", "hidden"), service("default", KUBERNETES)];
        let vars = variables(&all, "default", true);
        let cases = [
            ("MY_WEB_SERVICE_HOST", "10.96.0.9"),
            ("MY_WEB_SERVICE_PORT", "80"),
            ("MY_WEB_SERVICE_PORT_HTTP_WEB", "80"),
            ("MY_WEB_PORT", "tcp://10.96.0.9:80"),
            ("MY_WEB_PORT_80_TCP", "tcp://10.96.0.9:80"),
            ("MY_WEB_PORT_80_TCP_PROTO", "tcp"),
            ("MY_WEB_PORT_80_TCP_PORT", "80"),
            ("MY_WEB_PORT_80_TCP_ADDR", "10.96.0.9"),
            ("KUBERNETES_SERVICE_HOST", "10.96.0.9"),
        ];
        for (name, expected) in cases {
            assert_eq!(vars.get(name).map(String::as_str), Some(expected), "{name}");
        }
        assert!(!vars.keys().any(|k| k.starts_with("HIDDEN")));
        let without_links = variables(&all, "other", false);
        assert!(without_links.contains_key("KUBERNETES_SERVICE_PORT") && without_links.len() == 8);
    }
}
