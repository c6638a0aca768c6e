//! The downward API: fields of the pod and resources of its containers, as text.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/>

use std::collections::BTreeMap;
use std::net::IpAddr;

use corten_api::quantity::{Format, Quantity};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FieldError {
    #[error("unsupported fieldPath: {path}")]
    Unsupported { path: String },
    #[error("container {name} not found")]
    NoContainer { name: String },
    #[error("unsupported container resource : {resource}")]
    Resource { resource: String },
    #[error("invalid divisor {divisor} of {resource}")]
    Divisor { resource: String, divisor: String },
}

/// A pod and what is known of it only here.
pub struct Downward<'a> {
    pub pod: &'a Pod,
    pub pod_addresses: &'a [IpAddr],
    pub node_addresses: &'a [IpAddr],
    /// What a container without a limit may use: the node's allocatable, by resource (cpu in thousandths).
    pub node_allocatable: &'a BTreeMap<String, i64>,
}

impl Downward<'_> {
    /// A single-valued field, as environment variables may name it.
    pub fn field(&self, path: &str) -> Result<String, FieldError> {
        let meta = &self.pod.metadata;
        let spec = self.pod.spec.as_ref();
        let text = |s: Option<&String>| s.cloned().unwrap_or_default();
        let join = |ips: &[IpAddr]| ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",");
        let first = |ips: &[IpAddr]| ips.first().map(IpAddr::to_string).unwrap_or_default();
        if let Some((list, key)) = subscript(path) {
            let map = match list {
                "metadata.labels" => meta.labels.as_ref(),
                "metadata.annotations" => meta.annotations.as_ref(),
                _ => return Err(FieldError::Unsupported { path: path.into() }),
            };
            return Ok(text(map.and_then(|m| m.get(key))));
        }
        Ok(match path {
            "metadata.name" => text(meta.name.as_ref()),
            "metadata.namespace" => text(meta.namespace.as_ref()),
            "metadata.uid" => text(meta.uid.as_ref()),
            "spec.nodeName" => text(spec.and_then(|s| s.node_name.as_ref())),
            "spec.serviceAccountName" => text(spec.and_then(|s| s.service_account_name.as_ref())),
            "status.hostIP" => first(self.node_addresses),
            "status.hostIPs" => join(self.node_addresses),
            "status.podIP" => first(self.pod_addresses),
            "status.podIPs" => join(self.pod_addresses),
            _ => return Err(FieldError::Unsupported { path: path.into() }),
        })
    }

    /// A field as a file of a volume: also whole maps, one `key="value"` to a line.
    pub fn file(&self, path: &str) -> Result<String, FieldError> {
        match path {
            "metadata.labels" => Ok(lines(self.pod.metadata.labels.as_ref())),
            "metadata.annotations" => Ok(lines(self.pod.metadata.annotations.as_ref())),
            _ => self.field(path),
        }
    }

    /// A resource of `of`, or of the container the selector names.
    pub fn resource(&self, selector: &ResourceFieldSelector, of: Option<&Container>) -> Result<String, FieldError> {
        let wanted = selector.container_name.as_deref().filter(|n| !n.is_empty());
        let container = match wanted {
            None => of.ok_or_else(|| FieldError::NoContainer { name: String::new() })?,
            Some(name) => self.container(name).ok_or_else(|| FieldError::NoContainer { name: name.into() })?,
        };
        let unsupported = || FieldError::Resource { resource: selector.resource.clone() };
        let (list, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
        if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !name.starts_with("hugepages-") {
            return Err(unsupported());
        }
        let resources = container.resources.as_ref();
        let stated = match list {
            "limits" => resources.and_then(|r| r.limits.as_ref()),
            "requests" => resources.and_then(|r| r.requests.as_ref()),
            _ => return Err(unsupported()),
        };
        let parsed = stated.and_then(|l| l.get(name)).and_then(|q| Quantity::from_wire(q).ok());
        let amount = parsed.filter(|q| !q.is_zero()).or_else(|| self.default_of(list, name));
        let amount = amount.unwrap_or_else(|| Quantity::from_units(0, Format::DecimalSi));
        let divisor = selector.divisor.as_ref().map_or("0", |d| d.0.as_str());
        divide(amount, name, divisor)
            .ok_or_else(|| FieldError::Divisor { resource: selector.resource.clone(), divisor: divisor.into() })
    }

    /// Without a limit a container may use what the node has. Requests default to nothing.
    fn default_of(&self, list: &str, name: &str) -> Option<Quantity> {
        let amount = *self.node_allocatable.get(name).filter(|_| list == "limits")?;
        Some(if name == "cpu" { Quantity::from_millis(amount) } else { Quantity::from_units(amount, Format::BinarySi) })
    }

    fn container(&self, name: &str) -> Option<&Container> {
        let spec = self.pod.spec.as_ref()?;
        spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|c| c.name == name)
    }
}

/// The amount in units of the divisor, rounded up; a divisor of 0 means 1.
fn divide(amount: Quantity, name: &str, divisor: &str) -> Option<String> {
    let parsed = Quantity::parse(divisor).ok()?;
    let (amount, divisor) =
        if name == "cpu" { (amount.millis(), parsed.millis()) } else { (amount.units(), parsed.units()) };
    let divisor = match divisor {
        0 if name == "cpu" => 1000,
        0 => 1,
        n => n,
    };
    (divisor > 0).then(|| (amount.div_euclid(divisor) + i64::from(amount.rem_euclid(divisor) > 0)).to_string())
}

/// `metadata.labels['app']` as (`metadata.labels`, `app`).
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (list, rest) = path.split_once("['")?;
    Some((list, rest.strip_suffix("']")?))
}

fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines = map.into_iter().flatten().map(|(k, v)| format!("{k}={v:?}"));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    #[test]
    fn fields_and_resources() {
        let limits = [("cpu".to_owned(), Wire("1500m".into()))].into();
        let resources = ResourceRequirements { limits: Some(limits), ..Default::default() };
        let container = Container { name: "c".into(), resources: Some(resources), ..Default::default() };
        let pod = Pod {
            metadata: ObjectMeta {
                name: Some("web".into()),
                labels: Some([("app".to_owned(), "x\"y".to_owned())].into()),
                ..Default::default()
            },
            spec: Some(PodSpec { containers: vec![container], ..Default::default() }),
            status: None,
        };
        let allocatable = [("memory".to_owned(), 1 << 30)].into();
        let ips = ["10.0.0.1".parse().unwrap()];
        let down = Downward { pod: &pod, pod_addresses: &ips, node_addresses: &ips, node_allocatable: &allocatable };
        assert_eq!(down.field("metadata.name").unwrap(), "web");
        assert_eq!(down.field("metadata.labels['app']").unwrap(), "x\"y");
        assert_eq!(down.field("metadata.labels['none']").unwrap(), "");
        assert_eq!(down.file("metadata.labels").unwrap(), "app=\"x\\\"y\"");
        assert_eq!(down.field("status.podIP").unwrap(), "10.0.0.1");
        assert!(down.field("spec.containers").is_err());
        let of = |resource: &str, divisor: &str| {
            let selector = ResourceFieldSelector {
                container_name: Some("c".into()),
                resource: resource.into(),
                divisor: Some(Wire(divisor.into())),
            };
            down.resource(&selector, None)
        };
        let cases = [
            ("cpu rounds up to whole ones", "limits.cpu", "0", "2"),
            ("cpu in thousandths", "limits.cpu", "1m", "1500"),
            ("no limit: the node's", "limits.memory", "1Mi", "1024"),
            ("no request: nothing", "requests.memory", "1", "0"),
        ];
        for (why, resource, divisor, expected) in cases {
            assert_eq!(of(resource, divisor).unwrap(), expected, "{why}");
        }
        assert!(of("limits.bananas", "1").is_err());
    }
}
