//! Whether containers, pods and claims are within their bounds; and if not, each bound that they break, in words.

use std::cell::LazyCell;

use corten_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{LimitRangeItem, PersistentVolumeClaim, Pod};

use crate::admission::pod_resources::{Side, of_spec};
use crate::registry::limitrange::validate::{CLAIM, CONTAINER, POD};
use crate::registry::quantities::{List, Ratio, Wires, parsed};

/// What something asks for, and what it may have.
struct Asked {
    requests: List,
    limits: List,
}

pub(super) fn pod(pod: &Pod, items: &[LimitRangeItem]) -> Vec<String> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    // Read once, however many items there are.
    let containers = LazyCell::new(|| {
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let asked = containers.map(|container| {
            let side = |side: Side| parsed(side.of(container.resources.as_ref()));
            Asked { requests: side(Side::Requests), limits: side(Side::Limits) }
        });
        asked.collect::<Vec<_>>()
    });
    let whole = LazyCell::new(|| Asked { requests: of_spec(pod, Side::Requests), limits: of_spec(pod, Side::Limits) });
    let mut found = Vec::new();
    for item in items {
        match item.type_.as_str() {
            CONTAINER => containers.iter().for_each(|asked| all(item, asked, &mut found)),
            POD => all(item, &whole, &mut found),
            _ => {}
        }
    }
    each_once(found)
}

/// A claim has requests only.
pub(super) fn claim(claim: &PersistentVolumeClaim, items: &[LimitRangeItem]) -> Vec<String> {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let asked = Asked { requests: parsed(resources.and_then(|r| r.requests.as_ref())), limits: List::new() };
    let mut found = Vec::new();
    for item in items.iter().filter(|item| item.type_ == CLAIM) {
        found.extend(quantities(&item.min).filter_map(|(name, min)| minimum(CLAIM, name, min, &asked)));
        found.extend(quantities(&item.max).filter_map(|(name, max)| {
            let Some(request) = asked.requests.get(name) else {
                return Some(format!("maximum {name} usage per {CLAIM} is {max}.  No request is specified"));
            };
            above("request", name, CLAIM, max, *request)
        }));
    }
    each_once(found)
}

fn all(item: &LimitRangeItem, asked: &Asked, found: &mut Vec<String>) {
    let kind = item.type_.as_str();
    found.extend(quantities(&item.min).filter_map(|(name, min)| minimum(kind, name, min, asked)));
    found.extend(quantities(&item.max).filter_map(|(name, max)| maximum(kind, name, max, asked)));
    let ratios = quantities(&item.max_limit_request_ratio);
    found.extend(ratios.filter_map(|(name, most)| ratio(kind, name, most, asked)));
}

fn quantities(list: &Option<Wires>) -> impl Iterator<Item = (&str, Quantity)> {
    list.iter().flatten().filter_map(|(name, wire)| Some((name.as_str(), Quantity::from_wire(wire).ok()?)))
}

fn minimum(kind: &str, name: &str, min: Quantity, asked: &Asked) -> Option<String> {
    let Some(request) = asked.requests.get(name) else {
        return Some(format!("minimum {name} usage per {kind} is {min}.  No request is specified"));
    };
    let below = |what: &str, amount: Quantity| {
        (amount < min).then(|| format!("minimum {name} usage per {kind} is {min}, but {what} is {amount}"))
    };
    below("request", *request).or_else(|| below("limit", *asked.limits.get(name)?))
}

fn maximum(kind: &str, name: &str, max: Quantity, asked: &Asked) -> Option<String> {
    let Some(limit) = asked.limits.get(name) else {
        return Some(format!("maximum {name} usage per {kind} is {max}.  No limit is specified"));
    };
    above("limit", name, kind, max, *limit).or_else(|| above("request", name, kind, max, *asked.requests.get(name)?))
}

fn above(what: &str, name: &str, kind: &str, max: Quantity, amount: Quantity) -> Option<String> {
    (amount > max).then(|| format!("maximum {name} usage per {kind} is {max}, but {what} is {amount}"))
}

fn ratio(kind: &str, name: &str, most: Quantity, asked: &Asked) -> Option<String> {
    let start = format!("{name} max limit to request ratio per {kind} is {most}, but");
    let some = |list: &List| list.get(name).copied().filter(|amount| !amount.is_zero());
    let Some(request) = some(&asked.requests) else {
        return Some(format!("{start} no request is specified or request is 0"));
    };
    let Some(limit) = some(&asked.limits) else {
        return Some(format!("{start} no limit is specified or limit is 0"));
    };
    let ratio = Ratio::of(limit, request)?;
    ratio.against(most).is_gt().then(|| format!("{start} provided ratio is {ratio}"))
}

/// Two containers may break a bound in the same words.
fn each_once(mut found: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    found.retain(|text| seen.insert(text.clone()));
    found
}
