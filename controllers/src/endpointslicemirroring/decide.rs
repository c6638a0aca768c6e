//! Which EndpointSlices mirror an Endpoints object: one for each set of ports and address family.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#endpointslice-mirroring>

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use corten_api::Object;
use corten_api::k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use corten_api::k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::backends::{Family, Port};
use crate::endpointslice::decide::{Action, MANAGED_BY_LABEL, SERVICE_LABEL, ports_of, wire_ports};
use crate::pods::Labels;

pub const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// On Endpoints whose slices somebody else writes.
const SKIP_LABEL: &str = "endpointslice.kubernetes.io/skip-mirror";
/// On Endpoints that are nothing but a lock.
const LEADER_ANNOTATION: &str = "control-plane.alpha.kubernetes.io/leader";
const NOT_COPIED: &[&str] =
    &["kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time"];
/// Addresses of one subset that are mirrored; upstream's bound, too.
const ADDRESSES_MAX: usize = 1000;

/// Everything the decision may look at.
pub struct Observed<'a> {
    pub service: Option<&'a Service>,
    pub endpoints: Option<&'a Endpoints>,
    /// The slices that we made for them.
    pub slices: &'a [Arc<EndpointSlice>],
}

type Groups = BTreeMap<(&'static str, Vec<Port>), Vec<Endpoint>>;

pub fn decide(seen: &Observed<'_>) -> Vec<Action> {
    let mirrored = seen.endpoints.filter(|endpoints| seen.service.is_some_and(|s| is_mirrored(s, endpoints)));
    let mut groups = mirrored.map(groups).unwrap_or_default();
    let mut actions = Vec::new();
    for slice in seen.slices {
        let key = (Family::of_type(&slice.address_type).address_type(), ports_of(slice));
        // A second slice of the same ports finds nothing left for it, and goes.
        match groups.remove(&key).zip(mirrored) {
            Some((list, endpoints)) => {
                let new = EndpointSlice { endpoints: Some(list), ..dressed(EndpointSlice::clone(slice), endpoints) };
                if new != **slice {
                    actions.push(Action::Update(new));
                }
            }
            None => actions.push(Action::Delete { key: slice.key(), uid: slice.uid().to_owned() }),
        }
    }
    let new = groups.into_iter().filter_map(|((address_type, ports), list)| {
        let empty = EndpointSlice {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-", mirrored?.name())),
                namespace: mirrored?.metadata.namespace.clone(),
                ..ObjectMeta::default()
            },
            address_type: address_type.into(),
            ports: Some(wire_ports(&ports)),
            endpoints: Some(list),
        };
        Some(Action::Create(dressed(empty, mirrored?)))
    });
    // Clients see the new before the old goes.
    new.chain(actions).collect()
}

/// Services with a selector have slices of their own.
fn is_mirrored(service: &Service, endpoints: &Endpoints) -> bool {
    let selects = service.spec.as_ref().is_some_and(|s| s.selector.as_ref().is_some_and(|labels| !labels.is_empty()));
    !selects
        && !service.is_deleting()
        && !endpoints.is_deleting()
        && endpoints.label(SKIP_LABEL) != Some("true")
        && endpoints.annotation(LEADER_ANNOTATION).is_none()
}

fn groups(endpoints: &Endpoints) -> Groups {
    let mut groups = Groups::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ready = subset.addresses.iter().flatten().map(|a| (a, true));
        let unready = subset.not_ready_addresses.iter().flatten().map(|a| (a, false));
        for (address, ready) in ready.chain(unready).take(ADDRESSES_MAX) {
            // Validation lets no other text than an address through.
            let Ok(ip) = address.ip.parse::<IpAddr>() else { continue };
            let key = (Family::of(&address.ip).address_type(), ports(subset));
            groups.entry(key).or_default().push(endpoint(ip, address, ready));
        }
    }
    groups
}

fn endpoint(ip: IpAddr, address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn ports(subset: &EndpointSubset) -> Vec<Port> {
    let mut ports: Vec<Port> = subset
        .ports
        .iter()
        .flatten()
        .map(|p| Port {
            name: p.name.clone().unwrap_or_default(),
            protocol: p.protocol.clone().unwrap_or_else(|| "TCP".into()),
            number: p.port,
            app_protocol: p.app_protocol.clone(),
        })
        .collect();
    ports.sort();
    ports
}

/// With the labels, annotations and owner that the slice should have.
fn dressed(mut slice: EndpointSlice, endpoints: &Endpoints) -> EndpointSlice {
    let mut labels: Labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_LABEL.into(), endpoints.name().into());
    labels.insert(MANAGED_BY_LABEL.into(), MANAGER.into());
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|name, _| !NOT_COPIED.contains(&name.as_str()));
    slice.metadata.labels = Some(labels);
    slice.metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    slice.metadata.owner_references = Some(vec![endpoints.controller_reference()]);
    slice
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_api::k8s_openapi::api::core::v1::{EndpointPort, ServiceSpec};
    use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use jiff::Timestamp;

    fn service(selector: &[(&str, &str)]) -> Service {
        let selector: Labels = selector.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Service { spec: Some(ServiceSpec { selector: Some(selector), ..ServiceSpec::default() }), ..Service::default() }
    }
    fn subset(ready: &[&str], unready: &[&str], port: i32) -> EndpointSubset {
        let list = |ips: &[&str]| {
            let address = |ip: &&str| EndpointAddress { ip: (*ip).into(), ..EndpointAddress::default() };
            (!ips.is_empty()).then(|| ips.iter().map(address).collect())
        };
        EndpointSubset {
            addresses: list(ready),
            not_ready_addresses: list(unready),
            ports: Some(vec![EndpointPort { port, ..EndpointPort::default() }]),
        }
    }
    fn endpoints(labels: &[(&str, &str)], subsets: Vec<EndpointSubset>) -> Endpoints {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let metadata = ObjectMeta { name: Some("db".into()), labels: Some(labels), ..ObjectMeta::default() };
        Endpoints { metadata, subsets: Some(subsets) }
    }
    /// What is done, and the slices there are then.
    fn step(
        service: &Service,
        endpoints: &Endpoints,
        slices: &[Arc<EndpointSlice>],
    ) -> (String, Vec<Arc<EndpointSlice>>) {
        let (service, endpoints) = (Some(service), Some(endpoints));
        let (mut words, mut after) = (Vec::new(), slices.to_vec());
        for action in decide(&Observed { service, endpoints, slices }) {
            match action {
                Action::Create(mut slice) => {
                    slice.metadata.name = Some(format!("s{}", after.len()));
                    words.push(told("create", &slice));
                    after.push(Arc::new(slice));
                }
                Action::Update(slice) => {
                    words.push(told("update", &slice));
                    after.retain(|s| s.key() != slice.key());
                    after.push(Arc::new(slice));
                }
                Action::Delete { key, .. } => {
                    words.push(format!("delete {}", key.name));
                    after.retain(|s| s.key() != key);
                }
            }
        }
        (words.join("; "), after)
    }
    fn told(verb: &str, slice: &EndpointSlice) -> String {
        let ready = |e: &Endpoint| e.conditions.as_ref().and_then(|c| c.ready) == Some(true);
        let one = |e: &Endpoint| format!("{}{}", e.addresses[0], if ready(e) { "" } else { "!" });
        let list: Vec<String> = slice.endpoints.iter().flatten().map(one).collect();
        format!("{verb} {} {} :{}", slice.address_type, list.join(","), ports_of(slice)[0].number)
    }

    #[test]
    fn mirrors_table() {
        let free = service(&[]);
        let one = endpoints(&[("team", "x")], vec![subset(&["10.0.0.1"], &["10.0.0.2"], 80)]);
        let (did, slices) = step(&free, &one, &[]);
        assert_eq!(did, "create IPv4 10.0.0.1,10.0.0.2! :80");
        let label = |name| slices[0].label(name).unwrap_or_default().to_owned();
        assert_eq!(
            (label("team"), label(SERVICE_LABEL), label(MANAGED_BY_LABEL)),
            ("x".into(), "db".into(), MANAGER.into())
        );
        let cases = [
            ("the same again", free.clone(), one.clone(), ""),
            (
                "an address comes",
                free.clone(),
                endpoints(&[("team", "x")], vec![subset(&["10.0.0.1", "10.0.0.3"], &[], 80)]),
                "update IPv4 10.0.0.1,10.0.0.3 :80",
            ),
            (
                "a label changes",
                free.clone(),
                endpoints(&[("team", "y")], vec![subset(&["10.0.0.1"], &["10.0.0.2"], 80)]),
                "update IPv4 10.0.0.1,10.0.0.2! :80",
            ),
            (
                "another port",
                free.clone(),
                endpoints(&[], vec![subset(&["10.0.0.1"], &[], 81)]),
                "create IPv4 10.0.0.1 :81; delete s0",
            ),
            (
                "both families",
                free.clone(),
                endpoints(&[("team", "x")], vec![subset(&["10.0.0.1", "fd00::1"], &["10.0.0.2"], 80)]),
                "create IPv6 fd00::1 :80",
            ),
            ("nobody left", free.clone(), endpoints(&[], vec![]), "delete s0"),
            (
                "its slices are somebody else's",
                free,
                endpoints(&[(SKIP_LABEL, "true")], vec![subset(&["10.0.0.1"], &[], 80)]),
                "delete s0",
            ),
            ("the Service selects pods now", service(&[("app", "db")]), one, "delete s0"),
        ];
        for (why, service, endpoints, expected) in cases {
            assert_eq!(step(&service, &endpoints, &slices).0, expected, "{why}");
        }
    }

    #[test]
    fn what_is_gone_leaves_nothing() {
        let one = endpoints(&[], vec![subset(&["10.0.0.1"], &[], 80)]);
        let (_, slices) = step(&service(&[]), &one, &[]);
        let left = |service: Option<&Service>, endpoints: Option<&Endpoints>| {
            decide(&Observed { service, endpoints, slices: &slices }).len()
        };
        assert_eq!(left(None, Some(&one)), 1, "the Service");
        assert_eq!(left(Some(&service(&[])), None), 1, "the Endpoints");
        assert_eq!(decide(&Observed { service: None, endpoints: Some(&one), slices: &[] }), [], "no Service yet");
    }

    #[test]
    fn what_is_not_mirrored() {
        let mirrored = |service: &Service, endpoints: &Endpoints| !step(service, endpoints, &[]).0.is_empty();
        let one = || endpoints(&[(SKIP_LABEL, "false")], vec![subset(&["10.0.0.1"], &[], 80)]);
        assert!(mirrored(&service(&[]), &one()) && mirrored(&Service::default(), &one()));
        let time = Some(Time(Timestamp::UNIX_EPOCH));
        let mut going = service(&[]);
        going.metadata.deletion_timestamp = time.clone();
        assert!(!mirrored(&going, &one()), "the Service goes");
        let mut leaving = one();
        leaving.metadata.deletion_timestamp = time;
        assert!(!mirrored(&service(&[]), &leaving), "the Endpoints go");
        let mut lock = one();
        lock.metadata.annotations = Some([(LEADER_ANNOTATION.to_owned(), "{}".to_owned())].into());
        assert!(!mirrored(&service(&[]), &lock), "they are only a lock");
    }

    #[test]
    fn what_is_copied() {
        let mut one = endpoints(&[], vec![subset(&["10.0.0.1"], &[], 80), subset(&["10.0.0.2"], &[], 80)]);
        let notes = [("team", "x"), (NOT_COPIED[0], "{}"), (NOT_COPIED[1], "now")];
        one.metadata.annotations = Some(notes.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        one.metadata.namespace = Some("ns".into());
        one.metadata.uid = Some("e".into());
        let list = one.subsets.get_or_insert_default();
        let address = &mut list[0].addresses.get_or_insert_default()[0];
        (address.hostname, address.node_name) = (Some("a".into()), Some("n1".into()));
        for subset in list {
            let extra = |name: &str, port, protocol: Option<&str>| EndpointPort {
                name: Some(name.into()),
                port,
                protocol: protocol.map(str::to_owned),
                app_protocol: Some("h2c".into()),
            };
            subset.ports = Some(vec![extra("b", 81, Some("UDP")), extra("a", 80, None)]);
        }
        let (did, slices) = step(&service(&[]), &one, &[]);
        assert_eq!(did, "create IPv4 10.0.0.1,10.0.0.2 :80", "two subsets of the same ports are one");
        let slice = &slices[0];
        assert_eq!(slice.metadata.annotations, Some([("team".to_owned(), "x".to_owned())].into()));
        assert_eq!(slice.metadata.namespace.as_deref(), Some("ns"));
        assert_eq!(slice.metadata.generate_name.as_deref(), Some("db-"));
        assert!(slice.is_controlled_by("e"));
        let first = &slice.endpoints.as_ref().unwrap()[0];
        assert_eq!((first.hostname.as_deref(), first.node_name.as_deref()), (Some("a"), Some("n1")));
        let wire = slice.ports.as_ref().unwrap();
        let ports: Vec<_> = wire
            .iter()
            .map(|p| (p.name.as_deref().unwrap(), p.port.unwrap(), p.protocol.as_deref().unwrap()))
            .collect();
        assert_eq!(ports, [("a", 80, "TCP"), ("b", 81, "UDP")]);
        one.metadata.annotations = Some([(NOT_COPIED[0].to_owned(), "{}".to_owned())].into());
        let (_, slices) = step(&service(&[]), &one, &[]);
        assert_eq!(slices[0].metadata.annotations, None);
    }

    #[test]
    fn a_subset_is_mirrored_up_to_its_bound() {
        let ips: Vec<String> = (0..1200).map(|n| format!("10.0.{}.{}", n / 250, n % 250)).collect();
        let ips: Vec<&str> = ips.iter().map(String::as_str).collect();
        let (_, slices) = step(&service(&[]), &endpoints(&[], vec![subset(&ips, &["10.9.9.9"], 80)]), &[]);
        assert_eq!(slices[0].endpoints.as_ref().unwrap().len(), ADDRESSES_MAX);
    }
}
