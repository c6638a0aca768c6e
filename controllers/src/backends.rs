//! Which pods stand behind a Service, on which ports, and whether they take traffic. Pure; for both forms of it.

use std::sync::Arc;

use corten_api::Object;
use corten_api::k8s_openapi::api::core::v1::{ObjectReference, Service, ServicePort, ServiceSpec};
use corten_api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use corten_api::selector::Selector;

use crate::caches::Selects;
use crate::pods::{Labels, SeenPod};

/// On a Service (and on what is made for it) without a cluster IP.
pub const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(ip: &str) -> Self {
        if ip.contains(':') { Self::V6 } else { Self::V4 }
    }
    pub fn of_type(address_type: &str) -> Self {
        if address_type == "IPv6" { Self::V6 } else { Self::V4 }
    }
    /// The `addressType` of an EndpointSlice.
    pub fn address_type(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// A Service's port on one pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    pub name: String,
    pub protocol: String,
    pub number: i32,
    pub app_protocol: Option<String>,
}

/// One pod behind a Service.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend<'a> {
    pub pod: &'a Arc<SeenPod>,
    pub ip: &'a str,
    pub ports: Vec<Port>,
    /// Its name in DNS below the Service's, if it has one.
    pub hostname: Option<&'a str>,
}

impl Backend<'_> {
    /// Takes traffic as far as it says itself.
    pub fn serving(&self) -> bool {
        self.pod.is_ready()
    }
    pub fn terminating(&self) -> bool {
        self.pod.deleting.is_some()
    }
    pub fn target(&self) -> ObjectReference {
        ObjectReference {
            kind: Some("Pod".into()),
            namespace: Some(self.pod.key.namespace.clone()),
            name: Some(self.pod.key.name.clone()),
            uid: Some(self.pod.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

/// What a Service selects by whose endpoints are ours to write: others are written by their users.
pub fn selected_labels(service: &Service) -> Option<&Labels> {
    let spec = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName"))?;
    spec.selector.as_ref().filter(|labels| !labels.is_empty())
}

impl Selects for Service {
    fn selects_by(&self) -> Option<Selector> {
        selected_labels(self).map(|labels| Selector::from_labels(Some(labels)))
    }
}

pub fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ip.as_deref() == Some("None")
}

/// The address families that the Service is to have endpoints in, the first one first.
pub fn families(spec: &ServiceSpec) -> Vec<Family> {
    let named: Vec<Family> =
        spec.ip_families.iter().flatten().map(|f| if f == "IPv6" { Family::V6 } else { Family::V4 }).collect();
    match spec.cluster_ip.as_deref() {
        _ if !named.is_empty() => named,
        Some(ip) if ip.contains(':') => vec![Family::V6],
        _ => vec![Family::V4],
    }
}

/// The pods of `pods` that have an address in `family` and have not ended, in the order of their names. One may lack some of
/// the Service's ports, or all.
pub fn backends<'a>(service: &'a Service, family: Family, pods: &'a [Arc<SeenPod>]) -> Vec<Backend<'a>> {
    let mut found: Vec<Backend<'a>> = pods
        .iter()
        .filter(|pod| !pod.is_terminal())
        .filter_map(|pod| {
            let ip = pod.ips.iter().find(|ip| Family::of(ip) == family)?;
            let named = !pod.hostname.is_empty() && pod.subdomain == service.name();
            Some(Backend { pod, ip, ports: ports(service, pod), hostname: named.then_some(pod.hostname.as_str()) })
        })
        .collect();
    found.sort_by(|a, b| a.pod.key.cmp(&b.pod.key));
    found
}

/// Ports that the pod has: a named targetPort is looked up in its containers, and left out where none has the name.
fn ports(service: &Service, pod: &SeenPod) -> Vec<Port> {
    let all = service.spec.iter().flat_map(|s| s.ports.iter().flatten());
    let mut ports: Vec<Port> = all
        .filter_map(|port| {
            Some(Port {
                name: port.name.clone().unwrap_or_default(),
                protocol: protocol(port).to_owned(),
                number: number(port, pod)?,
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect();
    ports.sort();
    ports
}

fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

fn number(port: &ServicePort, pod: &SeenPod) -> Option<i32> {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            pod.ports.iter().find(|p| p.name == *name && p.protocol == protocol(port)).map(|p| p.port)
        }
    }
}
