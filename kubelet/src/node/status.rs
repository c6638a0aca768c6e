//! The node's status, worked out from what was seen. Pure.

use std::collections::BTreeMap;

use corten_api::quantity::{Format, Quantity};
use corten_api::resource_names::is_extended;
use corten_api::version;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeFeatures, NodeStatus,
    NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use super::Identity;
use super::facts::{Machine, Pressure};
use crate::images::ImageInfo;
use crate::pod::status::whole_second;

/// Images and names of each that a status lists; upstream's bounds.
const IMAGES_MAX: usize = 50;
const NAMES_MAX: usize = 5;

/// What was seen in one look.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// `containerd://1.6.20`, or why there is no answer.
    pub(super) runtime: Result<String, String>,
    pub(super) network: Result<(), String>,
    /// `None`: nobody could say; what was known stands.
    pub(super) images: Option<Vec<ImageInfo>>,
    pub(super) pressure: Pressure,
}

pub(super) fn of(
    identity: &Identity,
    machine: &Machine,
    seen: &Seen,
    old: Option<&NodeStatus>,
    now: Timestamp,
) -> NodeStatus {
    let address = |kind: &str, address: String| NodeAddress { type_: kind.into(), address };
    let mut addresses: Vec<_> = identity.addresses.iter().map(|ip| address("InternalIP", ip.to_string())).collect();
    addresses.push(address("Hostname", identity.name.clone()));
    let own = quantities(&machine.capacity);
    let list = |of: fn(&NodeStatus) -> Option<&BTreeMap<String, Wire>>| {
        let mut all = own.clone();
        all.extend(extended(old.and_then(of)));
        Some(all)
    };
    NodeStatus {
        addresses: Some(addresses),
        capacity: list(|status| status.capacity.as_ref()),
        allocatable: list(|status| status.allocatable.as_ref()),
        conditions: Some(conditions(seen, old, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(identity.port) }),
        }),
        features: Some(NodeFeatures { supplemental_groups_policy: Some(true) }),
        images: match seen.images.as_deref() {
            // The server keeps no empty list, and what it keeps is compared with this.
            Some([]) => None,
            Some(seen) => Some(images(seen)),
            None => old.and_then(|o| o.images.clone()),
        },
        node_info: Some(NodeSystemInfo {
            architecture: machine.architecture.clone(),
            boot_id: machine.boot_id.clone(),
            container_runtime_version: seen.runtime.clone().unwrap_or_else(|_| {
                old.and_then(|o| o.node_info.as_ref()).map(|i| i.container_runtime_version.clone()).unwrap_or_default()
            }),
            kernel_version: machine.kernel_version.clone(),
            kube_proxy_version: String::new(),
            kubelet_version: version::GIT.into(),
            machine_id: machine.machine_id.clone(),
            operating_system: "linux".into(),
            os_image: machine.os_image.clone(),
            system_uuid: machine.system_uuid.clone(),
            ..Default::default()
        }),
        ..old.cloned().unwrap_or_default()
    }
}

/// What others tell of this node, which is theirs to take back.
/// <https://kubernetes.io/docs/tasks/administer-cluster/extended-resource-node/>
fn extended(list: Option<&BTreeMap<String, Wire>>) -> impl Iterator<Item = (String, Wire)> {
    let all = list.into_iter().flatten().filter(|(name, _)| is_extended(name));
    all.map(|(name, quantity)| (name.clone(), quantity.clone()))
}

fn quantities(amounts: &BTreeMap<String, i64>) -> BTreeMap<String, Wire> {
    let one = |(name, n): (&String, &i64)| {
        let quantity = match name.as_str() {
            "cpu" => Quantity::from_millis(*n),
            "pods" => Quantity::from_units(*n, Format::DecimalSi),
            _ => Quantity::from_units(*n, Format::BinarySi),
        };
        (name.clone(), quantity.to_wire())
    };
    amounts.iter().map(one).collect()
}

fn images(seen: &[ImageInfo]) -> Vec<ContainerImage> {
    let mut sorted: Vec<&ImageInfo> = seen.iter().collect();
    sorted.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.id.cmp(&b.id)));
    let one = |i: &ImageInfo| ContainerImage {
        names: Some(i.names.iter().take(NAMES_MAX).cloned().collect()),
        size_bytes: i64::try_from(i.size_bytes).ok(),
    };
    sorted.into_iter().take(IMAGES_MAX).map(one).collect()
}

fn conditions(seen: &Seen, old: Option<&NodeStatus>, now: Timestamp) -> Vec<NodeCondition> {
    let p = seen.pressure;
    let pressures = [
        (
            "MemoryPressure",
            p.memory,
            ["KubeletHasSufficientMemory", "KubeletHasInsufficientMemory"],
            ["kubelet has sufficient memory available", "kubelet has insufficient memory available"],
        ),
        (
            "DiskPressure",
            p.disk,
            ["KubeletHasNoDiskPressure", "KubeletHasDiskPressure"],
            ["kubelet has no disk pressure", "kubelet has disk pressure"],
        ),
        (
            "PIDPressure",
            p.pids,
            ["KubeletHasSufficientPID", "KubeletHasInsufficientPID"],
            ["kubelet has sufficient PID available", "kubelet has insufficient PID available"],
        ),
    ];
    let mut list = old.and_then(|o| o.conditions.clone()).unwrap_or_default();
    for (kind, pressed, reasons, messages) in pressures {
        let at = usize::from(pressed);
        put(&mut list, kind, pressed, reasons[at], messages[at].to_owned(), now);
    }
    let (ready, reason, message) = match (&seen.runtime, &seen.network) {
        (Err(why), _) => (false, "KubeletNotReady", format!("container runtime is down: {why}")),
        (Ok(_), Err(why)) => (
            false,
            "KubeletNotReady",
            format!(
                "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:{why}"
            ),
        ),
        (Ok(_), Ok(())) => (true, "KubeletReady", "kubelet is posting ready status".to_owned()),
    };
    put(&mut list, "Ready", ready, reason, message, now);
    list
}

fn put(list: &mut Vec<NodeCondition>, kind: &str, holds: bool, reason: &str, message: String, now: Timestamp) {
    let condition = NodeCondition {
        type_: kind.into(),
        status: if holds { "True" } else { "False" }.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_heartbeat_time: Some(whole_second(now)),
        last_transition_time: None,
    };
    corten_api::conditions::set(list, condition, &whole_second(now));
}

/// Whether a status says more than that time has passed.
pub(super) fn differs(old: Option<&NodeStatus>, new: &NodeStatus) -> bool {
    let Some(old) = old else { return true };
    let timeless = |status: &NodeStatus| {
        let mut status = status.clone();
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = None;
        }
        status
    };
    timeless(old) != timeless(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(runtime: Result<&str, &str>, network: Result<(), &str>) -> Seen {
        Seen {
            runtime: runtime.map(String::from).map_err(String::from),
            network: network.map_err(String::from),
            images: Some(vec![]),
            pressure: Pressure::default(),
        }
    }
    fn identity() -> Identity {
        Identity {
            name: "n1".into(),
            addresses: vec!["10.0.0.1".parse().unwrap()],
            labels: BTreeMap::new(),
            taints: vec![],
            port: 10250,
        }
    }

    #[test]
    fn ready_needs_runtime_and_network() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let cases = [
            ("both", seen(Ok("containerd://1"), Ok(())), "True", "kubelet is posting ready status"),
            ("no runtime", seen(Err("gone"), Ok(())), "False", "container runtime is down: gone"),
            (
                "no network",
                seen(Ok("containerd://1"), Err("no podCIDR")),
                "False",
                "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:no podCIDR",
            ),
        ];
        for (why, seen, status, message) in cases {
            let got = of(&identity(), &Machine::default(), &seen, None, now);
            let ready = corten_api::conditions::find(got.conditions.as_ref(), "Ready").unwrap();
            assert_eq!((ready.status.as_str(), ready.message.as_deref()), (status, Some(message)), "{why}");
        }
    }

    #[test]
    fn images_stay_known_while_the_runtime_is_away() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let image = ImageInfo { id: "i".into(), names: vec!["img".into()], size_bytes: 1 };
        let fine = Seen { images: Some(vec![image]), ..seen(Ok("containerd://1"), Ok(())) };
        let first = of(&identity(), &Machine::default(), &fine, None, now);
        let away = Seen { images: None, ..seen(Err("gone"), Ok(())) };
        assert_eq!(of(&identity(), &Machine::default(), &away, Some(&first), now).images, first.images);
        let none = seen(Ok("containerd://1"), Ok(()));
        assert_eq!(
            of(&identity(), &Machine::default(), &none, Some(&first), now).images,
            None,
            "as the server keeps it"
        );
    }

    #[test]
    fn what_others_tell_of_the_node_stays() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let machine = Machine { capacity: [("cpu".to_owned(), 2000)].into(), ..Machine::default() };
        let fine = seen(Ok("containerd://1"), Ok(()));
        let list = |pairs: &[(&str, &str)]| -> BTreeMap<String, Wire> {
            pairs.iter().map(|(name, n)| ((*name).to_owned(), Wire((*n).to_owned()))).collect()
        };
        let old = NodeStatus {
            capacity: Some(list(&[("cpu", "64"), ("hugepages-1Gi", "1"), ("x.com/gpu", "4")])),
            allocatable: Some(list(&[("x.com/gpu", "3")])),
            ..NodeStatus::default()
        };
        let new = of(&identity(), &machine, &fine, Some(&old), now);
        assert_eq!(new.capacity, Some(list(&[("cpu", "2"), ("x.com/gpu", "4")])));
        assert_eq!(new.allocatable, Some(list(&[("cpu", "2"), ("x.com/gpu", "3")])));
    }

    #[test]
    fn time_alone_is_no_difference() {
        let at = |s: &str| s.parse().unwrap();
        let fine = seen(Ok("containerd://1"), Ok(()));
        let first = of(&identity(), &Machine::default(), &fine, None, at("2026-01-01T00:00:00Z"));
        let later = of(&identity(), &Machine::default(), &fine, Some(&first), at("2026-01-01T00:01:00Z"));
        assert!(!differs(Some(&first), &later));
        let down = seen(Err("gone"), Ok(()));
        let broken = of(&identity(), &Machine::default(), &down, Some(&first), at("2026-01-01T00:01:00Z"));
        assert!(differs(Some(&first), &broken));
    }
}
