//! ResourceSlice: the devices that a driver has, on a node or on many.

mod capacity;
mod counters;
mod device;

use corten_api::Problems;
use k8s_openapi::api::resource::v1::{Device, ResourcePool, ResourceSlice, ResourceSliceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::lists::{bounded, unique};
use super::{names, taints};
use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, SelectableField, WriteContext, cells, check, node_selector};

const DEVICES_MAX: usize = 128;
/// If any of them has taints or consumes counters.
const INTRICATE_DEVICES_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;
const UNSET_OR_TRUE: &str = "must be either unset or set to true";
const ONE_WAY: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Node", "The one node that the devices are on"),
    cells::text("Driver", "Who manages the devices"),
    cells::text("Pool", "What the devices are part of"),
    cells::AGE,
];

impl Kind for ResourceSlice {
    const SINGULAR: &'static str = "resourceslice";
    const STORE_PREFIX: &'static str = "resourceslices";
    const DELETE_RETURNS_OBJECT: bool = true;
    const HAS_GENERATION: bool = true;
    const FIELDS: &'static [SelectableField] = &[
        SelectableField::new("spec.driver", "spec.driver", ""),
        SelectableField::new("spec.nodeName", "spec.nodeName", ""),
        SelectableField::new("spec.pool.name", "spec.pool.name", ""),
    ];

    strategy!(spec);
    fn prepare_create(&mut self, context: &WriteContext<'_>) {
        prepare(&mut self.spec, &context.now);
    }
    fn prepare_update(&mut self, _old: &Self, context: &WriteContext<'_>) {
        prepare(&mut self.spec, &context.now);
    }
    fn validate(&self, problems: &mut Problems) {
        validate(&self.spec, &Path::root("spec"), problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        let at = Path::root("spec");
        let (new, old) = (&self.spec, &old.spec);
        check::immutable(problems, &at.field("pool").field("name"), &new.pool.name, &old.pool.name);
        check::immutable(problems, &at.field("driver"), &new.driver, &old.driver);
        check::immutable(problems, &at.field("nodeName"), &new.node_name, &old.node_name);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        vec![
            cells::name(&self.metadata),
            Cell::text(check::text(self.spec.node_name.as_ref()).to_owned()),
            Cell::text(self.spec.driver.clone()),
            Cell::text(self.spec.pool.name.clone()),
            cells::age(&self.metadata, now_secs),
        ]
    }
}

/// Dates taints, and drops what is behind gates that are off.
fn prepare(spec: &mut ResourceSliceSpec, now: &Time) {
    spec.partition_type_attribute = None;
    spec.skip_node_operations = None;
    for device in spec.devices.iter_mut().flatten() {
        device.taints.iter_mut().flatten().for_each(|taint| taints::date(taint, now));
        device::drop_disabled(device);
    }
}

fn validate(spec: &ResourceSliceSpec, at: &Path<'_>, problems: &mut Problems) {
    names::driver(&spec.driver, &at.field("driver"), problems);
    pool(&spec.pool, &at.field("pool"), problems);
    nodes(spec, at, problems);
    if spec.shared_counters.is_some() && spec.devices.is_some() {
        problems.invalid(at, "", "only one of `sharedCounters` or `devices` is allowed");
    }
    let per_device = spec.per_device_node_selection == Some(true);
    let (list, max) = (at.field("devices"), devices_max(spec.devices.as_deref().unwrap_or_default()));
    let devices = bounded(spec.devices.as_ref(), max, &list, problems);
    for (i, one) in devices.iter().enumerate() {
        device::validate(one, per_device, &list.index(i), problems);
    }
    unique(devices, |device| &device.name, &list, problems);
    let list = at.field("sharedCounters");
    let sets = bounded(spec.shared_counters.as_ref(), COUNTER_SETS_MAX, &list, problems);
    for (i, set) in sets.iter().enumerate() {
        counters::set(set, &list.index(i), problems);
    }
    unique(sets, |set| &set.name, &list, problems);
}

fn devices_max(devices: &[Device]) -> usize {
    let intricate = |device: &Device| {
        let taints = device.taints.as_ref().map_or(0, Vec::len);
        taints + device.consumes_counters.as_ref().map_or(0, Vec::len) > 0
    };
    if devices.iter().any(intricate) { INTRICATE_DEVICES_MAX } else { DEVICES_MAX }
}

fn pool(pool: &ResourcePool, at: &Path<'_>, problems: &mut Problems) {
    names::pool(&pool.name, &at.field("name"), problems);
    if pool.resource_slice_count <= 0 {
        problems.invalid(at.field("resourceSliceCount"), pool.resource_slice_count, "must be greater than zero");
    }
    if pool.generation < 0 {
        problems.invalid(at.field("generation"), pool.generation, "must be greater than or equal to zero");
    }
}

/// Which nodes can reach the devices is said in exactly one way.
fn nodes(spec: &ResourceSliceSpec, at: &Path<'_>, problems: &mut Problems) {
    let mut ways = Vec::new();
    match spec.node_name.as_deref() {
        None => {}
        Some("") => {
            problems.invalid(at.field("nodeName"), "", "must be either unset or set to a non-empty string");
        }
        Some(name) => {
            ways.push("`nodeName`");
            check::dns_subdomain(problems, &at.field("nodeName"), name);
        }
    }
    if let Some(selector) = &spec.node_selector {
        ways.push("`nodeSelector`");
        let at = at.field("nodeSelector");
        node_selector::validate(selector, &at, problems);
        if selector.node_selector_terms.len() != 1 {
            let why = "must have exactly one node selector term";
            problems.invalid(at.field("nodeSelectorTerms"), &selector.node_selector_terms, why);
        }
    }
    let flags = [
        ("allNodes", "`allNodes`", spec.all_nodes),
        ("perDeviceNodeSelection", "`perDeviceNodeSelection`", spec.per_device_node_selection),
    ];
    for (field, quoted, flag) in flags {
        match flag {
            Some(true) => ways.push(quoted),
            Some(false) => problems.invalid(at.field(field), false, UNSET_OR_TRUE),
            None => {}
        }
    }
    match &ways[..] {
        [] => problems.required(at, ONE_WAY),
        [_] => {}
        many => {
            let why = format!("{ONE_WAY}, but multiple fields are set");
            problems.invalid(at, format!("{{{}}}", many.join(", ")), &why);
        }
    }
}

#[cfg(test)]
mod tests;
