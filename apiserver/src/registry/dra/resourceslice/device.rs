//! One device: what it is, how much it has, who can reach it.

use corten_api::Problems;
use k8s_openapi::api::resource::v1::{Device, DeviceAttribute};

use super::{UNSET_OR_TRUE, capacity, counters};
use crate::registry::dra::{binding, lists, names, taints};
use crate::registry::path::Path;
use crate::registry::{check, node_selector};

/// Together.
const ATTRIBUTES_AND_CAPACITIES_MAX: usize = 32;
const TAINTS_MAX: usize = 16;
const VALUE_BYTES_MAX: usize = 64;
const ONE_VALUE: &str = "exactly one value must be specified";
const NOT_SEMANTIC: &str = "must be a string compatible with semver.org spec 2.0.0";
const ONE_WAY: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
const NO_WAY: &str = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";

/// What is behind gates that are off.
pub(super) fn drop_disabled(device: &mut Device) {
    device.node_allocatable_resources = None;
    for consumed in device.consumes_counters.iter_mut().flatten() {
        consumed.compatibility_groups = None;
    }
    for attribute in device.attributes.iter_mut().flat_map(|attributes| attributes.values_mut()) {
        let DeviceAttribute { bool, int, string, version, .. } = std::mem::take(attribute);
        *attribute = DeviceAttribute { bool, int, string, version, ..DeviceAttribute::default() };
    }
}

/// `per_device`: each device says itself which nodes can reach it.
pub(super) fn validate(device: &Device, per_device: bool, at: &Path<'_>, problems: &mut Problems) {
    check::dns_label(problems, &at.field("name"), &device.name);
    attributes_and_capacities(device, at, problems);
    let list = at.field("taints");
    for (i, taint) in lists::bounded(device.taints.as_ref(), TAINTS_MAX, &list, problems).iter().enumerate() {
        taints::validate(taint, &list.index(i), problems);
    }
    counters::consumed(device.consumes_counters.as_ref(), &at.field("consumesCounters"), problems);
    if per_device {
        nodes(device, at, problems);
    } else if device.node_name.is_some() || device.node_selector.is_some() || device.all_nodes.is_some() {
        problems.invalid(at, serde_json::Value::Null, NO_WAY);
    }
    let (conditions, failures) = (device.binding_conditions.as_ref(), device.binding_failure_conditions.as_ref());
    binding::validate(conditions, failures, at, problems);
}

fn attributes_and_capacities(device: &Device, at: &Path<'_>, problems: &mut Problems) {
    let attributes = device.attributes.iter().flatten();
    let capacities = device.capacity.iter().flatten();
    let count = attributes.clone().count() + capacities.clone().count();
    if count > ATTRIBUTES_AND_CAPACITIES_MAX {
        let max = ATTRIBUTES_AND_CAPACITIES_MAX;
        let why = format!("the total number of attributes and capacities must not exceed {max}");
        return problems.invalid(at, count, &why);
    }
    let map = at.field("attributes");
    for (name, value) in attributes {
        let shown = names::shown(name, names::QUALIFIED_BYTES_MAX);
        let at = map.key(&shown);
        names::qualified(name, &at, problems);
        attribute(value, &at, problems);
    }
    let map = at.field("capacity");
    for (name, value) in capacities {
        let shown = names::shown(name, names::QUALIFIED_BYTES_MAX);
        let at = map.key(&shown);
        names::qualified(name, &at, problems);
        capacity::validate(value, device.allow_multiple_allocations == Some(true), &at, problems);
    }
}

fn attribute(value: &DeviceAttribute, at: &Path<'_>, problems: &mut Problems) {
    if check::text(value.string.as_ref()).len() > VALUE_BYTES_MAX {
        problems.too_long(at.field("string"), VALUE_BYTES_MAX);
    }
    if let Some(version) = &value.version {
        let at = at.field("version");
        if !is_semantic(version) {
            problems.invalid(at, version, NOT_SEMANTIC);
        }
        if version.len() > VALUE_BYTES_MAX {
            problems.too_long(at, VALUE_BYTES_MAX);
        }
    }
    let given = [value.bool.is_some(), value.int.is_some(), value.string.is_some(), value.version.is_some()];
    match given.into_iter().filter(|given| *given).count() {
        0 => problems.invalid(at, "", ONE_VALUE),
        1 => {}
        _ => problems.invalid(at, value, ONE_VALUE),
    }
}

/// `1.2.3-alpha.1+build.5`
fn is_semantic(version: &str) -> bool {
    let word = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let number = |text: &str| digits(text) && (text == "0" || !text.starts_with('0'));
    let (rest, build) = match version.split_once('+') {
        Some((rest, build)) => (rest, Some(build)),
        None => (version, None),
    };
    let (numbers, before) = match rest.split_once('-') {
        Some((numbers, before)) => (numbers, Some(before)),
        None => (rest, None),
    };
    numbers.split('.').count() == 3
        && numbers.split('.').all(number)
        && before.is_none_or(|before| before.split('.').all(|part| number(part) || (word(part) && !digits(part))))
        && build.is_none_or(|build| build.split('.').all(word))
}

fn nodes(device: &Device, at: &Path<'_>, problems: &mut Problems) {
    let mut ways = Vec::new();
    match device.node_name.as_deref() {
        None => {}
        Some("") => problems.invalid(at.field("nodeName"), "", "must not be empty"),
        Some(name) => {
            ways.push("`nodeName`");
            check::dns_subdomain(problems, &at.field("nodeName"), name);
        }
    }
    if let Some(selector) = &device.node_selector {
        ways.push("`nodeSelector`");
        node_selector::validate(selector, &at.field("nodeSelector"), problems);
    }
    match device.all_nodes {
        Some(true) => ways.push("`allNodes`"),
        Some(false) => problems.invalid(at.field("allNodes"), false, UNSET_OR_TRUE),
        None => {}
    }
    match &ways[..] {
        [] => problems.required(at, ONE_WAY),
        [_] => {}
        many => problems.invalid(at, format!("{{{}}}", many.join(", ")), ONE_WAY),
    }
}

#[cfg(test)]
mod tests {
    use super::is_semantic;

    #[test]
    fn semantic_versions() {
        for good in ["0.0.0", "1.2.3", "1.2.3-alpha.1", "1.0.0-0a.x-y", "1.2.3+001.b-c", "10.20.30-rc.1+build.5"] {
            assert!(is_semantic(good), "{good}");
        }
        for bad in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "v1.2.3",
            "01.2.3",
            "1.2.x",
            "1.2.3-",
            "1.2.3-01",
            "1.2.3-a..b",
            "1.2.3+",
            "1.2.3+a+b",
        ] {
            assert!(!is_semantic(bad), "{bad}");
        }
    }
}
