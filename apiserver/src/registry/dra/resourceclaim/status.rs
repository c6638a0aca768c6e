//! What a claim got: which devices, for whom they are reserved, how they are.

use std::collections::HashSet;
use std::net::IpAddr;

use corten_api::{Object, Problems};
use k8s_openapi::api::resource::v1::{
    AllocatedDeviceStatus, AllocationResult, DeviceClaim, DeviceRequestAllocationResult, NetworkDeviceData,
    ResourceClaim, ResourceClaimConsumerReference, ResourceClaimStatus,
};

use crate::registry::dra::lists::{bounded, unique};
use crate::registry::dra::requests::{Names, REQUESTS_MAX};
use crate::registry::dra::{amounts, binding, config, names, taints};
use crate::registry::path::Path;
use crate::registry::{check, conditions, node_selector};

const RESERVATIONS_MAX: usize = 256;
/// As many for each request as there are of devices for one.
const RESULTS_MAX: usize = REQUESTS_MAX;
const CONFIGS_MAX: usize = 2 * config::CONFIGS_MAX;
const CONDITIONS_MAX: usize = 8;
const DATA_BYTES_MAX: usize = 10 * 1024;
const INTERFACE_BYTES_MAX: usize = 256;
const HARDWARE_ADDRESS_BYTES_MAX: usize = 128;
const IPS_MAX: usize = 16;
const NOT_A_CIDR: &str = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
const ENDED: &str = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";

/// One device, or one share of it: driver, pool, device, share.
type Id<'a> = [&'a str; 4];

fn id_of_result(result: &DeviceRequestAllocationResult) -> Id<'_> {
    [&result.driver, &result.pool, &result.device, check::text(result.share_id.as_ref())]
}
fn id_of_status(device: &AllocatedDeviceStatus) -> Id<'_> {
    [&device.driver, &device.pool, &device.device, check::text(device.share_id.as_ref())]
}
/// `driver/pool/device/share`, without what is not there.
fn shown(id: Id<'_>) -> String {
    id.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

fn results(status: &ResourceClaimStatus) -> &[DeviceRequestAllocationResult] {
    let devices = status.allocation.as_ref().and_then(|allocation| allocation.devices.as_ref());
    devices.and_then(|devices| devices.results.as_deref()).unwrap_or_default()
}
fn ids(status: &ResourceClaimStatus) -> HashSet<Id<'_>> {
    results(status).iter().map(id_of_result).collect()
}

pub(super) fn fill_defaults(allocation: &mut AllocationResult) {
    for result in allocation.devices.iter_mut().flat_map(|devices| devices.results.iter_mut().flatten()) {
        taints::tolerate(result.tolerations.as_mut());
    }
}

/// What is told of devices goes with them. Drops what is behind feature gates that are off, too.
pub(super) fn prepare(new: &mut ResourceClaimStatus, old: &ResourceClaimStatus) {
    let devices = new.allocation.iter_mut().flat_map(|allocation| &mut allocation.devices);
    for result in devices.flat_map(|devices| devices.results.iter_mut().flatten()) {
        result.skip_node_operations = None;
    }
    let is = ids(new);
    let gone: HashSet<Id<'_>> = ids(old).into_iter().filter(|id| !is.contains(id)).collect();
    let mut devices = new.devices.clone().unwrap_or_default();
    devices.retain(|device| !gone.contains(&id_of_status(device)));
    new.devices = (!devices.is_empty()).then_some(devices);
}

pub(super) fn validate(new: &ResourceClaim, old: &ResourceClaim, problems: &mut Problems) {
    let none = ResourceClaimStatus::default();
    let (status, before) = (new.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
    let at = Path::root("status");
    reservations(status, before, new.is_deleting(), &at.field("reservedFor"), problems);
    let list = at.field("devices");
    let devices = status.devices.as_deref().unwrap_or_default();
    let allocated = ids(status);
    for (i, one) in devices.iter().enumerate() {
        device(one, &allocated, &list.index(i), problems);
    }
    unique(devices, |device| shown(id_of_status(device)), &list, problems);
    let at = at.field("allocation");
    match (&status.allocation, &before.allocation) {
        (Some(new), Some(old)) if new != old => {
            problems.invalid(at, serde_json::Value::Null, "field cannot be modified once set");
        }
        (Some(allocation), None) => {
            let nothing = DeviceClaim::default();
            let claim = new.spec.as_ref().and_then(|spec| spec.devices.as_ref()).unwrap_or(&nothing);
            validate_allocation(allocation, &Names::of(claim), &at, problems);
        }
        _ => {}
    }
}

fn reservations(
    new: &ResourceClaimStatus,
    old: &ResourceClaimStatus,
    is_deleting: bool,
    list: &Path<'_>,
    problems: &mut Problems,
) {
    let consumers = bounded(new.reserved_for.as_ref(), RESERVATIONS_MAX, list, problems);
    for (i, consumer) in consumers.iter().enumerate() {
        let at = list.index(i);
        for (field, value) in [("resource", &consumer.resource), ("name", &consumer.name), ("uid", &consumer.uid)] {
            if value.is_empty() {
                problems.required(at.field(field), "");
            }
        }
    }
    unique(consumers, |consumer| &consumer.uid, list, problems);
    if consumers.is_empty() {
        return;
    }
    if new.allocation.is_none() {
        problems.forbidden(list, "may not be specified when `allocated` is not set");
        return;
    }
    // Consumers may still go, but none may come.
    let key = |c: &ResourceClaimConsumerReference| {
        [c.api_group.clone().unwrap_or_default(), c.resource.clone(), c.name.clone(), c.uid.clone()]
    };
    let before: HashSet<_> = old.reserved_for.iter().flatten().map(key).collect();
    if is_deleting && consumers.iter().any(|consumer| !before.contains(&key(consumer))) {
        problems.forbidden(list, ENDED);
    }
}

fn validate_allocation(allocation: &AllocationResult, names: &Names<'_>, at: &Path<'_>, problems: &mut Problems) {
    if let Some(selector) = &allocation.node_selector {
        node_selector::validate(selector, &at.field("nodeSelector"), problems);
    }
    let Some(devices) = &allocation.devices else { return };
    let at = at.field("devices");
    let list = at.field("results");
    for (i, one) in bounded(devices.results.as_ref(), RESULTS_MAX, &list, problems).iter().enumerate() {
        result(one, names, &list.index(i), problems);
    }
    let list = at.field("config");
    for (i, one) in bounded(devices.config.as_ref(), CONFIGS_MAX, &list, problems).iter().enumerate() {
        let at = list.index(i);
        check::word(problems, &at.field("source"), Some(&one.source), &["FromClaim", "FromClass"]);
        names.check_all(one.requests.as_ref(), &at.field("requests"), problems);
        config::validate(one.opaque.as_ref(), &at, problems);
    }
}

fn result(one: &DeviceRequestAllocationResult, names: &Names<'_>, at: &Path<'_>, problems: &mut Problems) {
    names.check(&one.request, &at.field("request"), problems);
    names::driver(&one.driver, &at.field("driver"), problems);
    names::pool(&one.pool, &at.field("pool"), problems);
    check::dns_label(problems, &at.field("device"), &one.device);
    taints::tolerations(one.tolerations.as_ref(), &at.field("tolerations"), problems);
    binding::validate(one.binding_conditions.as_ref(), one.binding_failure_conditions.as_ref(), at, problems);
    amounts::by_name(one.consumed_capacity.as_ref(), &at.field("consumedCapacity"), problems);
    if let Some(share) = &one.share_id {
        names::uuid(share, &at.field("shareID"), problems);
    }
}

fn device(one: &AllocatedDeviceStatus, allocated: &HashSet<Id<'_>>, at: &Path<'_>, problems: &mut Problems) {
    names::driver(&one.driver, &at.field("driver"), problems);
    names::pool(&one.pool, &at.field("pool"), problems);
    check::dns_label(problems, &at.field("device"), &one.device);
    if let Some(share) = &one.share_id {
        names::uuid(share, &at.field("shareID"), problems);
    }
    if !allocated.contains(&id_of_status(one)) {
        problems.invalid(at, shown(id_of_status(one)), "must be an allocated device in the claim");
    }
    let list = at.field("conditions");
    conditions::validate(bounded(one.conditions.as_ref(), CONDITIONS_MAX, &list, problems), &list, problems);
    if let Some(data) = one.data.as_ref().filter(|data| !data.0.is_null()) {
        config::raw(data, DATA_BYTES_MAX, &at.field("data"), problems);
    }
    if let Some(data) = &one.network_data {
        network(data, &at.field("networkData"), problems);
    }
}

fn network(data: &NetworkDeviceData, at: &Path<'_>, problems: &mut Problems) {
    for (field, value, max) in [
        ("interfaceName", &data.interface_name, INTERFACE_BYTES_MAX),
        ("hardwareAddress", &data.hardware_address, HARDWARE_ADDRESS_BYTES_MAX),
    ] {
        if check::text(value.as_ref()).len() > max {
            problems.too_long(at.field(field), max);
        }
    }
    let list = at.field("ips");
    let ips = bounded(data.ips.as_ref(), IPS_MAX, &list, problems);
    for (i, ip) in ips.iter().enumerate() {
        interface_address(ip, &list.index(i), problems);
    }
    unique(ips, |ip| ip, &list, problems);
}

/// An address with its prefix's length, written in the one way that there is.
fn interface_address(text: &str, at: &Path<'_>, problems: &mut Problems) {
    let parsed =
        text.split_once('/').and_then(|(ip, length)| Some((ip.parse::<IpAddr>().ok()?, length.parse::<u8>().ok()?)));
    let fits = |(ip, length): &(IpAddr, u8)| *length <= if ip.is_ipv4() { 32 } else { 128 };
    match parsed.filter(fits) {
        None => problems.invalid(at, text, NOT_A_CIDR),
        Some((ip, length)) if format!("{ip}/{length}") != text => {
            problems.invalid(at, text, &format!("must be in canonical form (\"{ip}/{length}\")"));
        }
        Some(_) => {}
    }
}
