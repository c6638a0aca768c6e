//! Ports that stand twice in a pod, or nearly.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{ContainerPort, PodSpec};

use super::each_container;
use crate::registry::check;
use crate::registry::path::Path;
use crate::registry::warnings::Warnings;

/// Pairs of ports that are compared. Real pods have few; nobody reads warnings about thousands.
const PAIRS_MAX: usize = 100_000;

pub(super) fn all(spec: &PodSpec, at: &Path<'_>, warnings: &mut Warnings) {
    let mut known: HashMap<(i32, String), Vec<(String, ContainerPort)>> = HashMap::new();
    let mut pairs = 0;
    each_container(spec, at, &mut |container, at| {
        let list = at.field("ports");
        for (i, port) in container.ports.iter().flatten().enumerate() {
            if warnings.is_full() {
                return;
            }
            let at = list.index(i);
            if !check::text(port.host_ip.as_ref()).is_empty() && port.host_port.unwrap_or(0) == 0 {
                warnings.push(&at, format_args!("hostIP set without hostPort: {}", shown(port)));
            }
            let same = known.entry((port.container_port, check::text(port.protocol.as_ref()).to_owned())).or_default();
            pairs += same.len();
            if pairs > PAIRS_MAX {
                return;
            }
            for (other_at, other) in &*same {
                if let Some(why) = clash(port, other) {
                    warnings.push(&at, format_args!("{why} port definition with {other_at}"));
                }
            }
            same.push((at.to_string(), port.clone()));
        }
    });
    let mut names: HashMap<String, String> = HashMap::new();
    each_container(spec, at, &mut |container, at| {
        let list = at.field("ports");
        for (i, port) in container.ports.iter().flatten().enumerate() {
            let Some(name) = port.name.as_ref().filter(|name| !name.is_empty()) else { continue };
            let at = list.index(i);
            match names.get(name) {
                Some(other) => {
                    let why = format!("services and probes that select ports by name will use {other}");
                    warnings.push(&at, format_args!("duplicate port name {name:?} with {other}, {why}"));
                }
                None => drop(names.insert(name.clone(), at.to_string())),
            }
        }
    });
}

/// How two definitions of one port and protocol stand to each other; `None`: side by side.
fn clash(one: &ContainerPort, other: &ContainerPort) -> Option<&'static str> {
    let host_port = |port: &ContainerPort| port.host_port.unwrap_or(0);
    let (ip, other_ip) = (check::text(one.host_ip.as_ref()), check::text(other.host_ip.as_ref()));
    if ip == other_ip && host_port(one) == host_port(other) {
        Some("duplicate")
    } else if host_port(one) == 0 || host_port(other) == 0 {
        Some("overlapping")
    } else if host_port(one) == host_port(other) && ip.is_empty() != other_ip.is_empty() {
        // Which of the two gets what comes in nobody knows.
        Some("dangerously ambiguous")
    } else {
        None
    }
}

fn shown(port: &ContainerPort) -> String {
    format!(
        "{{Name:{} HostPort:{} ContainerPort:{} Protocol:{} HostIP:{}}}",
        check::text(port.name.as_ref()),
        port.host_port.unwrap_or(0),
        port.container_port,
        check::text(port.protocol.as_ref()),
        check::text(port.host_ip.as_ref()),
    )
}
