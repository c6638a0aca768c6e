//! Whether a NetworkPolicy makes sense: whom it is about, peers, ports.

use corten_api::Problems;
use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::registry::check;
use crate::registry::path::Path;

const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP"];
const TYPES: &[&str] = &["Ingress", "Egress"];

type Rule<'a> = (Option<&'a Vec<NetworkPolicyPort>>, Option<&'a Vec<NetworkPolicyPeer>>);

pub fn spec(spec: &NetworkPolicySpec, at: &Path<'_>, problems: &mut Problems) {
    if let Some(selector) = &spec.pod_selector {
        check::label_selector(problems, &at.field("podSelector"), selector);
    }
    let list = at.field("ingress");
    for (i, one) in spec.ingress.iter().flatten().enumerate() {
        rule((one.ports.as_ref(), one.from.as_ref()), "from", &list.index(i), problems);
    }
    let list = at.field("egress");
    for (i, one) in spec.egress.iter().flatten().enumerate() {
        rule((one.ports.as_ref(), one.to.as_ref()), "to", &list.index(i), problems);
    }
    let list = at.field("policyTypes");
    let types = spec.policy_types.as_deref().unwrap_or_default();
    if types.len() > TYPES.len() {
        return problems.invalid(list, types, "may not specify more than two policyTypes");
    }
    for (i, one) in types.iter().enumerate() {
        check::optional_word(problems, &list.index(i), Some(one), TYPES);
    }
}

/// `peers_field`: what a rule of this direction calls its peers.
fn rule((ports, peers): Rule<'_>, peers_field: &str, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("ports");
    for (i, one) in ports.into_iter().flatten().enumerate() {
        port(one, &list.index(i), problems);
    }
    let list = at.field(peers_field);
    for (i, one) in peers.into_iter().flatten().enumerate() {
        peer(one, &list.index(i), problems);
    }
}

fn port(port: &NetworkPolicyPort, at: &Path<'_>, problems: &mut Problems) {
    check::optional_word(problems, &at.field("protocol"), port.protocol.as_ref(), PROTOCOLS);
    let (port_at, end_at) = (at.field("port"), at.field("endPort"));
    match (&port.port, port.end_port) {
        (Some(IntOrString::Int(first)), end) => {
            check::port_number(problems, &port_at, *first);
            let Some(end) = end else { return };
            if end < *first {
                problems.invalid(end_at, end, "must be greater than or equal to `port`");
            }
            check::port_number(problems, &end_at, end);
        }
        (Some(IntOrString::String(name)), end) => {
            if let Some(end) = end {
                problems.invalid(end_at, end, "may not be specified when `port` is non-numeric");
            }
            check::port_name(problems, &port_at, name);
        }
        (None, Some(end)) => problems.invalid(end_at, end, "may not be specified when `port` is not specified"),
        (None, None) => {}
    }
}

fn peer(peer: &NetworkPolicyPeer, at: &Path<'_>, problems: &mut Problems) {
    let selectors = [("podSelector", &peer.pod_selector), ("namespaceSelector", &peer.namespace_selector)];
    for (field, selector) in selectors {
        if let Some(selector) = selector {
            check::label_selector(problems, &at.field(field), selector);
        }
    }
    let has_selector = selectors.iter().any(|(_, selector)| selector.is_some());
    match &peer.ip_block {
        None if !has_selector => problems.required(at, "must specify a peer"),
        None => {}
        Some(block) => {
            ip_block(block, &at.field("ipBlock"), problems);
            if has_selector {
                problems.forbidden(at, "may not specify both ipBlock and another peer");
            }
        }
    }
}

fn ip_block(block: &IPBlock, at: &Path<'_>, problems: &mut Problems) {
    if block.cidr.is_empty() {
        return problems.required(at.field("cidr"), "");
    }
    let Some(network) = check::cidr(problems, &at.field("cidr"), &block.cidr) else { return };
    let list = at.field("except");
    for (i, text) in block.except.iter().flatten().enumerate() {
        let at = list.index(i);
        let except = check::cidr(problems, &at, text);
        if except.is_some_and(|except| !is_part(&except, &network)) {
            problems.invalid(at, text, "must be a strict subset of `cidr`");
        }
    }
}

fn is_part(part: &IpNet, whole: &IpNet) -> bool {
    whole.contains(part) && whole.prefix_len() < part.prefix_len()
}
