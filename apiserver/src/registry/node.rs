//! Node: a machine that runs pods. Its podCIDR and providerID are set once; taints keep pods away.

use std::collections::{BTreeSet, HashSet};

use corten_api::{Problems, conditions, node};
use k8s_openapi::api::core::v1::{Node, NodeSpec};

use super::path::Path;
use super::{Cell, Column, Kind, SelectableField, WriteContext, cells, check};

pub const TAINT_EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "PreferNoSchedule"];
const ROLE_LABEL_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";
/// Every proxy and every controller that looks at nodes goes through their addresses. No machine has as many.
const ADDRESSES_MAX: usize = 64;
/// As long as a DNS name.
const ADDRESS_BYTES_MAX: usize = 253;
const ADDRESS_TYPE_BYTES_MAX: usize = 63;
const MAY_CHANGE: &str = "node updates may only change labels, taints, or capacity";

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Status", "Whether the node is ready, and takes new pods"),
    cells::text("Roles", "From its labels"),
    cells::AGE,
    cells::text("Version", "Of the kubelet"),
    cells::wide("Internal-IP", "The node's address in the cluster"),
    cells::wide("External-IP", "The node's address outside"),
    cells::wide("OS-Image", "What the node's system calls itself"),
    cells::wide("Kernel-Version", "As uname shows it"),
    cells::wide("Container-Runtime", "The runtime and its version"),
];

impl Kind for Node {
    const SINGULAR: &'static str = "node";
    const SHORT_NAMES: &'static [&'static str] = &["no"];
    const STORE_PREFIX: &'static str = "minions";
    const SUBRESOURCES: &'static [&'static str] = &["proxy", "status"];
    const FIELDS: &'static [SelectableField] =
        &[SelectableField::new("spec.unschedulable", "spec.unschedulable", "false")];

    strategy!(spec, given status);
    fn fill_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        let first = spec.pod_cidrs.as_ref().and_then(|list| list.first());
        match (first, &spec.pod_cidr) {
            (None, Some(cidr)) if !cidr.is_empty() => spec.pod_cidrs = Some(vec![cidr.clone()]),
            (Some(first), None) => spec.pod_cidr = Some(first.clone()),
            _ => {}
        }
        if let Some(status) = &mut self.status
            && status.allocatable.is_none()
        {
            status.allocatable = status.capacity.clone();
        }
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        drop_unserved(self, None);
    }
    fn prepare_update(&mut self, old: &Self, _: &WriteContext<'_>) {
        drop_unserved(self, Some(old));
    }
    fn validate(&self, problems: &mut Problems) {
        validate_addresses(self, problems);
        let Some(spec) = &self.spec else { return };
        let at = Path::root("spec");
        validate_taints(spec, &at, problems);
        validate_pod_cidrs(spec, &at, problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        let (mut new, old) = (self.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
        if old.pod_cidrs.as_ref().is_some_and(|c| !c.is_empty()) && new.pod_cidrs != old.pod_cidrs {
            let why = r#"node updates may not change podCIDR except from "" to valid"#;
            problems.forbidden("spec.podCIDRs", why);
        }
        if !check::text(old.provider_id.as_ref()).is_empty() && new.provider_id != old.provider_id {
            let why = r#"node updates may not change providerID except from "" to valid"#;
            problems.forbidden("spec.providerID", why);
        }
        // What is left once the changeable fields are equal must be equal too.
        new.taints.clone_from(&old.taints);
        new.unschedulable = old.unschedulable;
        new.pod_cidr.clone_from(&old.pod_cidr);
        new.pod_cidrs.clone_from(&old.pod_cidrs);
        new.provider_id.clone_from(&old.provider_id);
        if new != old {
            problems.forbidden("spec", MAY_CHANGE);
        }
    }
    fn validate_status(&self, _old: &Self, problems: &mut Problems) {
        validate_addresses(self, problems);
    }
    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        const NO_ID: &str = "spec.externalID: this field is deprecated, and is unused by Kubernetes";
        let id = self.spec.as_ref().and_then(|spec| spec.external_id.as_ref());
        id.filter(|id| !id.is_empty()).map(|_| NO_ID.to_owned()).into_iter().collect()
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let info = self.status.as_ref().and_then(|s| s.node_info.as_ref());
        let address = |kind| Cell::text_or(node::address(self, kind), cells::NONE);
        let info_cell = |text: Option<&str>| Cell::text_or(text, cells::UNKNOWN);
        vec![
            cells::name(&self.metadata),
            Cell::text(status_text(self)),
            Cell::text(roles(self)),
            cells::age(&self.metadata, now_secs),
            Cell::text_or(info.map(|i| i.kubelet_version.as_str()), ""),
            address("InternalIP"),
            address("ExternalIP"),
            info_cell(info.map(|i| i.os_image.as_str())),
            info_cell(info.map(|i| i.kernel_version.as_str())),
            info_cell(info.map(|i| i.container_runtime_version.as_str())),
        ]
    }
}

/// Who may preempt pods on a node is not for the node to say yet.
fn drop_unserved(new: &mut Node, old: Option<&Node>) {
    let policy = |node: &Node| node.spec.as_ref().is_some_and(|spec| spec.pod_preemption_policy.is_some());
    if let Some(spec) = new.spec.as_mut().filter(|_| !old.is_some_and(policy)) {
        spec.pod_preemption_policy = None;
    }
}

fn validate_addresses(node: &Node, problems: &mut Problems) {
    let list = Path::root("status.addresses");
    let addresses = node.status.as_ref().and_then(|s| s.addresses.as_deref()).unwrap_or_default();
    if addresses.len() > ADDRESSES_MAX {
        return problems.too_many(list, addresses.len(), ADDRESSES_MAX);
    }
    let mut seen = HashSet::new();
    for (i, one) in addresses.iter().enumerate() {
        let at = list.index(i);
        for (field, text, max) in
            [("type", &one.type_, ADDRESS_TYPE_BYTES_MAX), ("address", &one.address, ADDRESS_BYTES_MAX)]
        {
            if text.len() > max {
                problems.too_long(at.field(field), max);
            }
        }
        if !seen.insert((&one.type_, &one.address)) {
            problems.duplicate(at, one);
        }
    }
}

fn validate_taints(spec: &NodeSpec, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("taints");
    let mut seen = HashSet::new();
    for (i, taint) in spec.taints.iter().flatten().enumerate() {
        let at = list.index(i);
        check::qualified_name(problems, &at.field("key"), &taint.key);
        if let Some(value) = &taint.value {
            check::label_value(problems, &at.field("value"), value);
        }
        check::word(problems, &at.field("effect"), Some(&taint.effect), TAINT_EFFECTS);
        if !seen.insert((&taint.key, &taint.effect)) {
            problems.duplicate(at, taint);
        }
    }
}

fn validate_pod_cidrs(spec: &NodeSpec, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("podCIDRs");
    let cidrs = spec.pod_cidrs.as_deref().unwrap_or_default();
    let mut families = (0, 0);
    for (i, cidr) in cidrs.iter().enumerate() {
        match cidr.parse::<ipnet::IpNet>() {
            Ok(ipnet::IpNet::V4(_)) => families.0 += 1,
            Ok(ipnet::IpNet::V6(_)) => families.1 += 1,
            Err(_) => {
                problems.invalid(
                    list.index(i),
                    cidr,
                    "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                );
            }
        }
    }
    if families.0 > 1 || families.1 > 1 {
        problems.invalid(list, cidrs, "may specify no more than one CIDR for each IP family");
    }
    if let (Some(first), Some(cidr)) = (cidrs.first(), &spec.pod_cidr)
        && first != cidr
    {
        problems.invalid(at.field("podCIDR"), cidr, "must be the first of podCIDRs");
    }
}

fn status_text(node: &Node) -> String {
    let list = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    let ready = match conditions::find(list, "Ready").map(|c| c.status.as_str()) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let closed = node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true);
    if closed { format!("{ready},SchedulingDisabled") } else { ready.to_owned() }
}

fn roles(node: &Node) -> String {
    let labels = node.metadata.labels.iter().flatten();
    let roles: BTreeSet<&str> = labels
        .filter_map(
            |(key, value)| {
                if key == ROLE_LABEL { Some(value.as_str()) } else { key.strip_prefix(ROLE_LABEL_PREFIX) }
            },
        )
        .filter(|role| !role.is_empty())
        .collect();
    if roles.is_empty() { cells::NONE.into() } else { roles.into_iter().collect::<Vec<_>>().join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Strategy;
    use crate::registry::check::testing::{defaulted, found, found_on_update, prepare, row, texts};

    #[test]
    fn a_node_is_made_with_the_status_that_its_maker_knows() {
        let mut node: Node = defaulted(r#"{"status":{"capacity":{"cpu":"4"}}}"#);
        prepare(Strategy::Create, &mut node);
        let status = node.status.unwrap();
        assert!(status.capacity.is_some_and(|capacity| capacity["cpu"].0 == "4"), "{:?}", status.allocatable);
        let mut bare: Node = defaulted("{}");
        prepare(Strategy::Create, &mut bare);
        assert!(bare.status.is_some());
    }

    #[test]
    fn bad_nodes() {
        let taints = |list: &str| format!(r#"{{"spec":{{"taints":[{list}]}}}}"#);
        let cases = [
            (taints(r#"{"key":"a/b","value":"c","effect":"NoSchedule"}"#), vec![]),
            (
                taints(r#"{"key":"a","effect":"No"}"#),
                vec![
                    r#"spec.taints[0].effect: Unsupported value: "No": supported values: "NoExecute", "NoSchedule", "PreferNoSchedule""#,
                ],
            ),
            (
                taints(r#"{"key":"a","effect":"NoExecute"},{"key":"a","effect":"NoExecute","value":"x"}"#),
                vec![r#"spec.taints[1]: Duplicate value: {"effect":"NoExecute","key":"a","value":"x"}"#],
            ),
            (
                r#"{"spec":{"podCIDR":"10.0.0.0"}}"#.into(),
                vec![
                    r#"spec.podCIDRs[0]: Invalid value: "10.0.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"#,
                ],
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(found::<Node>(&json), expected, "{json}");
        }
    }

    #[test]
    fn a_nodes_addresses_are_few_short_and_each_told_once() {
        let many = |n: usize| (0..n).map(|n| format!(r#"{{"type":"InternalIP","address":"10.0.0.{n}"}}"#)).collect();
        let all = |list: Vec<String>| format!(r#"{{"status":{{"addresses":[{}]}}}}"#, list.join(","));
        let one = |kind: &str, address: &str| format!(r#"{{"type":"{kind}","address":"{address}"}}"#);
        let same = vec![one("InternalIP", "10.0.0.1"), one("Hostname", "10.0.0.1"), one("InternalIP", "10.0.0.1")];
        let cases = [
            (all(many(64)), vec![]),
            (all(many(65)), vec!["status.addresses: Too many: 65: must have at most 64 items"]),
            (all(vec![one("Hostname", &"x".repeat(253))]), vec![]),
            (
                all(vec![one(&"t".repeat(64), &"x".repeat(254))]),
                vec![
                    "status.addresses[0].type: Too long: may not be more than 63 bytes",
                    "status.addresses[0].address: Too long: may not be more than 253 bytes",
                ],
            ),
            (all(same), vec![r#"status.addresses[2]: Duplicate value: {"address":"10.0.0.1","type":"InternalIP"}"#]),
        ];
        for (json, expected) in cases {
            let mut problems = Problems::default();
            defaulted::<Node>(&json).validate_status(&Node::default(), &mut problems);
            for found in [found::<Node>(&json), texts(&problems)] {
                assert_eq!(found, expected, "{json}");
            }
        }
    }

    #[test]
    fn what_an_update_may_change() {
        let cases = [
            ("{}", r#"{"spec":{"podCIDR":"10.244.1.0/24"}}"#, 0),
            (r#"{"spec":{"podCIDR":"10.244.1.0/24"}}"#, r#"{"spec":{"podCIDR":"10.244.2.0/24"}}"#, 1),
            ("{}", r#"{"spec":{"unschedulable":true,"taints":[{"key":"a","effect":"NoExecute"}]}}"#, 0),
            (r#"{"spec":{"providerID":"a"}}"#, r#"{"spec":{"providerID":"b"}}"#, 1),
        ];
        for (old, new, expected) in cases {
            assert_eq!(found_on_update::<Node>(old, new).len(), expected, "{old} → {new}");
        }
    }

    #[test]
    fn a_node_does_not_say_who_may_preempt_on_it() {
        let with = || -> Node { defaulted(r#"{"spec":{"podPreemptionPolicy":{}}}"#) };
        let (stored, mut new) = (with(), with());
        prepare(Strategy::Create, &mut new);
        assert_eq!(new.spec.as_ref().unwrap().pod_preemption_policy, None);
        for (old, kept) in [(stored, true), (new, false)] {
            let mut new = with();
            prepare(Strategy::Update(&old), &mut new);
            assert_eq!(new.spec.unwrap().pod_preemption_policy.is_some(), kept);
        }
    }

    #[test]
    fn one_cidr_is_given_in_both_fields() {
        let node: Node = defaulted(r#"{"spec":{"podCIDRs":["10.244.1.0/24"]}}"#);
        assert_eq!(node.spec.unwrap().pod_cidr.as_deref(), Some("10.244.1.0/24"));
    }

    #[test]
    fn columns() {
        let json = r#"{"metadata":{"name":"n1","creationTimestamp":"1970-01-01T00:00:00Z",
            "labels":{"node-role.kubernetes.io/control-plane":"","kubernetes.io/role":"a"}},
            "spec":{"unschedulable":true},"status":{"conditions":[{"type":"Ready","status":"True"}],
            "addresses":[{"type":"InternalIP","address":"10.0.0.1"}]}}"#;
        assert_eq!(
            row::<Node>(json, 130),
            "n1|Ready,SchedulingDisabled|a,control-plane|2m10s||10.0.0.1|<none>|<unknown>|<unknown>|<unknown>"
        );
        assert!(row::<Node>("{}", 0).starts_with("|Unknown|<none>|<unknown>|"));
    }
}
