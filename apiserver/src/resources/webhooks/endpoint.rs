//! Which of a Service's endpoints are asked, and in which order.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::Mutex;

/// Of one Service: with more of them none is better than another.
const ENDPOINTS_MAX: usize = 1000;
/// Tried before a Service counts as not to be reached.
const CANDIDATES_MAX: usize = 3;
/// Ports of Services whose endpoints are kept.
const KEPT_MAX: usize = 256;

/// The name that the Service stands for, if it is of that type.
pub(super) fn external_name(service: &Service) -> Option<&str> {
    let spec = service.spec.as_ref().filter(|spec| spec.type_.as_deref() == Some("ExternalName"))?;
    spec.external_name.as_deref()
}

/// Whether it has a port of its own, whatever leads to it from elsewhere.
pub(super) fn is_cluster_ip(service: &Service) -> bool {
    let named = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
    named.is_none_or(|named| named == "ClusterIP")
}

/// The name of the Service's port of this number.
pub(super) fn port_name(service: &Service, number: u16) -> Option<&str> {
    let mut ports = service.spec.as_ref()?.ports.iter().flatten();
    let port = ports.find(|port| port.port == i32::from(number))?;
    Some(port.name.as_deref().unwrap_or_default())
}

/// The family that the Service prefers; empty: none.
pub(crate) fn family(service: &Service) -> &str {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref());
    families.and_then(|all| all.first()).map_or("", String::as_str)
}

/// One that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint<'a> {
    pub(crate) address: SocketAddr,
    /// The pod of its namespace that it is said to be.
    pub(crate) pod: Option<&'a str>,
    /// It is not of the family that its Service prefers.
    is_other_family: bool,
}

/// Those of a Service's port, as they stand; no more than [`ENDPOINTS_MAX`].
fn of_port<'a>(slices: &'a [EndpointSlice], port: &str, family: &str) -> Vec<Endpoint<'a>> {
    let mut found = Vec::new();
    for slice in slices {
        let port = slice.ports.iter().flatten().find(|one| one.name.as_deref().unwrap_or_default() == port);
        let Some(port) = port.and_then(|port| u16::try_from(port.port?).ok()) else { continue };
        let is_other_family = !family.is_empty() && slice.address_type != family;
        for endpoint in slice.endpoints.iter().flatten().take(ENDPOINTS_MAX - found.len()) {
            let is_ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
            let target = endpoint.target_ref.as_ref();
            let is_own = target.and_then(|of| of.namespace.as_deref()) == slice.metadata.namespace.as_deref();
            let pod = target.and_then(|of| of.name.as_deref()).filter(|_| is_own);
            let ip = endpoint.addresses.first().filter(|_| is_ready).and_then(|ip| ip.parse().ok());
            found.extend(ip.map(|ip| Endpoint { address: SocketAddr::new(ip, port), pod, is_other_family }));
        }
    }
    found
}

/// Those of a Service's port, in the order of trying: of the Service's first family first, and else from some point on, which
/// `turn` chooses.
pub(crate) fn endpoints<'a>(slices: &'a [EndpointSlice], port: &str, family: &str, turn: u32) -> Vec<Endpoint<'a>> {
    let mut found = of_port(slices, port, family);
    turned(&mut found, turn, |endpoint| endpoint.is_other_family);
    found
}

fn turned<T>(found: &mut [T], turn: u32, is_other_family: impl Fn(&T) -> bool) {
    if !found.is_empty() {
        found.rotate_left(turn as usize % found.len());
    }
    found.sort_by_key(|one| is_other_family(one));
}

/// Where a port of a Service is, as long as neither it nor its slices are others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// Elsewhere, under this name.
    Name(String),
    /// Whether each is of another family than the Service prefers.
    At(Vec<(bool, SocketAddr)>),
    NoPort,
}

impl Placed {
    pub(super) fn of(service: &Service, slices: &[EndpointSlice], port: u16) -> Self {
        if let Some(name) = external_name(service) {
            return Self::Name(name.to_owned());
        }
        let Some(name) = port_name(service, port) else { return Self::NoPort };
        let found = of_port(slices, name, family(service));
        Self::At(found.iter().map(|endpoint| (endpoint.is_other_family, endpoint.address)).collect())
    }
    /// `host:port` of each that is worth a try, the one that `turn` chooses first. `None`: it has no such port.
    pub(super) fn candidates(&self, port: u16, turn: u32) -> Option<Vec<String>> {
        match self {
            Self::Name(name) => Some(vec![format!("{name}:{port}")]),
            Self::At(found) => {
                let mut found = found.clone();
                turned(&mut found, turn, |(is_other_family, _)| *is_other_family);
                Some(found.into_iter().take(CANDIDATES_MAX).map(|(_, address)| address.to_string()).collect())
            }
            Self::NoPort => None,
        }
    }
}

/// What was found of the Services that are asked for, by namespace, name and port: to read all slices of a Service for each call
/// takes longer than the call.
#[derive(Debug, Default)]
pub(in crate::resources) struct Kept(Mutex<HashMap<Key, Found>>);

/// Namespace, name and port.
type Key = (String, String, u16);
/// Read at these revisions.
type Found = (Vec<i64>, Arc<Placed>);

impl Kept {
    /// `revisions`: of all that `find` reads.
    pub(super) fn get<E>(
        &self,
        (namespace, name, port): (&str, &str, u16),
        revisions: Vec<i64>,
        find: impl FnOnce() -> Result<Placed, E>,
    ) -> Result<Arc<Placed>, E> {
        let key = (namespace.to_owned(), name.to_owned(), port);
        if let Some((_, placed)) = self.0.lock().get(&key).filter(|(of, _)| *of == revisions) {
            return Ok(placed.clone());
        }
        let placed = Arc::new(find()?);
        let mut kept = self.0.lock();
        if kept.len() >= KEPT_MAX && !kept.contains_key(&key) {
            kept.clear();
        }
        kept.insert(key, (revisions, placed.clone()));
        Ok(placed)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn ready_endpoints_of_the_port_are_tried() {
        let slice = |family: &str, port: Value, endpoints: Value| -> EndpointSlice {
            let json =
                json!({"metadata": {"name": "s"}, "addressType": family, "ports": [port], "endpoints": endpoints});
            serde_json::from_value(json).unwrap()
        };
        let https = json!({"name": "https", "port": 8443});
        let v4 = json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}, {"addresses": ["10.0.0.2"]},
            {"addresses": ["10.0.0.3"], "conditions": {"ready": false}}]);
        let slices = [
            slice("IPv6", https.clone(), json!([{"addresses": ["fd00::1"]}])),
            slice("IPv4", https, v4),
            slice("IPv4", json!({"name": "other", "port": 1}), json!([{"addresses": ["10.0.0.9"]}])),
            slice("FQDN", json!({"name": "https", "port": 1}), json!([{"addresses": ["a.b"]}])),
        ];
        let tried = |port: &str, family: &str, turn| -> Vec<String> {
            endpoints(&slices, port, family, turn).iter().map(|endpoint| endpoint.address.to_string()).collect()
        };
        assert_eq!(tried("https", "IPv4", 0), ["10.0.0.1:8443", "10.0.0.2:8443", "[fd00::1]:8443"]);
        assert_eq!(tried("https", "IPv4", 2)[0], "10.0.0.2:8443");
        assert_eq!(tried("https", "IPv6", 1)[0], "[fd00::1]:8443");
        assert_eq!(tried("https", "", 1)[0], "10.0.0.1:8443");
        assert_eq!(tried("other", "IPv6", 0), ["10.0.0.9:1"], "better than none");
        assert!(tried("none", "", 0).is_empty());
    }

    #[test]
    fn what_was_found_is_kept_as_long_as_nothing_of_it_changes() {
        let (kept, found) = (Kept::default(), std::cell::Cell::new(0));
        let get = |name: &str, revisions: &[i64]| {
            let find = || {
                found.set(found.get() + 1);
                Ok::<_, ()>(Placed::NoPort)
            };
            kept.get(("n", name, 443), revisions.to_vec(), find).unwrap();
            found.get()
        };
        assert_eq!([get("a", &[1, 2]), get("a", &[1, 2]), get("b", &[1, 2])], [1, 1, 2]);
        assert_eq!([get("a", &[1, 3]), get("a", &[1]), get("a", &[1])], [3, 4, 4]);
        for i in 0..2 * KEPT_MAX {
            get(&i.to_string(), &[1]);
        }
        assert!(kept.0.lock().len() <= KEPT_MAX);
    }

    #[test]
    fn a_service_has_ports_and_may_stand_for_a_name() {
        let service = |spec: Value| -> Service { serde_json::from_value(json!({ "spec": spec })).unwrap() };
        let own = service(json!({"ports": [{"port": 443}, {"name": "b", "port": 8443}], "ipFamilies": ["IPv6"]}));
        assert_eq!([443, 8443, 1].map(|port| port_name(&own, port)), [Some(""), Some("b"), None]);
        assert_eq!((family(&own), external_name(&own)), ("IPv6", None));
        let other = service(json!({"type": "ExternalName", "externalName": "a.b"}));
        assert_eq!((family(&other), external_name(&other)), ("", Some("a.b")));
    }
}
