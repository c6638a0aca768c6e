//! What containers get that do not say how much they ask for, or may have.

use corten_api::pod::Qos;
use k8s_openapi::api::core::v1::{Container, LimitRangeItem, Pod};

use crate::registry::limitrange::validate::CONTAINER;
use crate::registry::quantities::Wires;

/// Tells what was filled in.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

pub(super) fn pod(pod: &mut Pod, items: &[LimitRangeItem]) {
    let (mut requests, mut limits) = (Wires::new(), Wires::new());
    for item in items.iter().filter(|item| item.type_ == CONTAINER) {
        requests.extend(item.default_request.clone().unwrap_or_default());
        limits.extend(item.default.clone().unwrap_or_default());
    }
    let Some(spec) = &mut pod.spec else { return };
    let mut said = Vec::new();
    for one in &mut spec.containers {
        container(one, "container", &requests, &limits, &mut said);
    }
    for one in spec.init_containers.iter_mut().flatten() {
        container(one, "init container", &requests, &limits, &mut said);
    }
    if said.is_empty() {
        return;
    }
    if let Some(status) = &mut pod.status {
        // It was told before there was anything to tell it by.
        status.qos_class = Some(Qos::of(spec).as_str().into());
    }
    let text = format!("LimitRanger plugin set: {}", said.join("; "));
    pod.metadata.annotations.get_or_insert_default().insert(ANNOTATION.into(), text);
}

fn container(container: &mut Container, what: &str, requests: &Wires, limits: &Wires, said: &mut Vec<String>) {
    if requests.is_empty() && limits.is_empty() {
        return;
    }
    let resources = container.resources.get_or_insert_default();
    for (side, list, defaults) in
        [("request", &mut resources.requests, requests), ("limit", &mut resources.limits, limits)]
    {
        let missing = |name: &&String| list.as_ref().is_none_or(|list| !list.contains_key(*name));
        let names: Vec<&String> = defaults.keys().filter(missing).collect();
        if names.is_empty() {
            continue;
        }
        let list = list.get_or_insert_default();
        for name in &names {
            list.extend(defaults.get(*name).map(|amount| ((*name).clone(), amount.clone())));
        }
        let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
        said.push(format!("{} {side} for {what} {}", names.join(", "), container.name));
    }
}
