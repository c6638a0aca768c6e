//! The volumes that are nobody's, by class and by the node that they are of: of thousands a node looks at its own, and at those
//! that may be had on several.

use std::collections::{BTreeSet, HashMap};

use corten_api::node::HOSTNAME_LABEL;
use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};

use super::{Volume, unlist};
use crate::snapshot::NodeSpec;

const NAME: &str = "metadata.name";

/// Bounded by the volumes that exist.
#[derive(Debug, Default)]
pub struct Free(HashMap<String, OfClass>);

#[derive(Debug, Default)]
struct OfClass {
    by_hostname: HashMap<String, BTreeSet<String>>,
    by_node: HashMap<String, BTreeSet<String>>,
    others: BTreeSet<String>,
}

/// What a node has that alone can have a volume. Others may not have it; whether this one does, its affinity says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pin<'a> {
    Hostname(&'a String),
    Node(&'a String),
}

impl Free {
    pub fn insert(&mut self, name: &str, volume: &Volume) {
        let class = self.0.entry(volume.offer.class.clone()).or_default();
        let names = match pin(volume.nodes.as_ref()) {
            Some(Pin::Hostname(host)) => class.by_hostname.entry(host.clone()).or_default(),
            Some(Pin::Node(node)) => class.by_node.entry(node.clone()).or_default(),
            None => &mut class.others,
        };
        names.insert(name.to_owned());
    }

    /// `volume`: as it was inserted.
    pub fn remove(&mut self, name: &str, volume: &Volume) {
        let Some(class) = self.0.get_mut(&volume.offer.class) else { return };
        match pin(volume.nodes.as_ref()) {
            Some(Pin::Hostname(host)) => unlist(&mut class.by_hostname, host, name),
            Some(Pin::Node(node)) => unlist(&mut class.by_node, node, name),
            None => {
                class.others.remove(name);
            }
        }
        if class.by_hostname.is_empty() && class.by_node.is_empty() && class.others.is_empty() {
            self.0.remove(&volume.offer.class);
        }
    }

    /// Those that can be had on no other node.
    pub fn of_node<'s>(&'s self, class: &str, node: &NodeSpec) -> impl Iterator<Item = &'s String> {
        let class = self.0.get(class);
        let hostname = node.labels.get(HOSTNAME_LABEL);
        let by_hostname = class.zip(hostname).and_then(|(class, hostname)| class.by_hostname.get(hostname));
        let by_node = class.and_then(|class| class.by_node.get(&node.name));
        by_hostname.into_iter().chain(by_node).flatten()
    }

    /// Those that are not of one node.
    pub fn of_several<'s>(&'s self, class: &str) -> impl Iterator<Item = &'s String> {
        self.0.get(class).into_iter().flat_map(|class| &class.others)
    }
}

/// `None`: several nodes may have it.
fn pin(nodes: Option<&NodeSelector>) -> Option<Pin<'_>> {
    let mut pins = nodes?.node_selector_terms.iter().map(pin_of_term);
    let first = pins.next()??;
    pins.all(|pin| pin == Some(first)).then_some(first)
}

fn pin_of_term(term: &NodeSelectorTerm) -> Option<Pin<'_>> {
    let hostname = term.match_expressions.iter().flatten().find_map(|one| only(one, HOSTNAME_LABEL)).map(Pin::Hostname);
    hostname.or_else(|| term.match_fields.iter().flatten().find_map(|one| only(one, NAME)).map(Pin::Node))
}

/// The only value that the key may have.
fn only<'a>(requirement: &'a NodeSelectorRequirement, key: &str) -> Option<&'a String> {
    let is_it = requirement.key == key && requirement.operator == "In";
    match requirement.values.as_deref() {
        Some([value]) if is_it => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::snapshot::Snapshot;
    use crate::snapshot::tests::labelled;

    fn volume(terms: Option<Value>) -> Volume {
        let affinity = terms.map(|terms| json!({"required": {"nodeSelectorTerms": terms}}));
        let spec = json!({"storageClassName": "static", "nodeAffinity": affinity});
        Volume::of(&serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap())
    }

    #[test]
    fn a_node_looks_at_its_own_volumes_and_at_those_of_several_nodes() {
        let host = |values: Value| json!({"key": HOSTNAME_LABEL, "operator": "In", "values": values});
        let by = |requirement: Value| json!({"matchExpressions": [requirement]});
        let field = |node: &str| json!({"matchFields": [{"key": NAME, "operator": "In", "values": [node]}]});
        let zone = json!({"key": "zone", "operator": "In", "values": ["a"]});
        // Why, the terms, and where it is listed: at h1, at h2, at all.
        let cases = [
            ("anywhere", None, [false, false, true]),
            ("no terms", Some(json!([])), [false, false, true]),
            ("of a host", Some(json!([by(host(json!(["h1"])))])), [true, false, false]),
            ("of another", Some(json!([by(host(json!(["h2"])))])), [false, true, false]),
            (
                "of a host in a zone",
                Some(json!([{"matchExpressions": [zone, host(json!(["h1"]))]}])),
                [true, false, false],
            ),
            ("of a node by its name", Some(json!([field("n2")])), [false, true, false]),
            ("of a host twice", Some(json!([by(host(json!(["h1"]))), by(host(json!(["h1"])))])), [true, false, false]),
            ("of two hosts", Some(json!([by(host(json!(["h1", "h2"])))])), [false, false, true]),
            ("of two in turn", Some(json!([by(host(json!(["h1"]))), by(host(json!(["h2"])))])), [false, false, true]),
            ("of a host or a zone", Some(json!([by(host(json!(["h1"]))), by(zone.clone())])), [false, false, true]),
            (
                "of all but one",
                Some(json!([by(json!({"key": HOSTNAME_LABEL, "operator": "NotIn", "values": ["h1"]}))])),
                [false, false, true],
            ),
        ];
        let mut snapshot = Snapshot::new();
        snapshot.set_node(&labelled("n1", &[(HOSTNAME_LABEL, "h1")]));
        snapshot.set_node(&labelled("n2", &[(HOSTNAME_LABEL, "h2")]));
        for (why, terms, expected) in cases {
            let (mut free, volume) = (Free::default(), volume(terms));
            free.insert("v", &volume);
            let mut listed: Vec<bool> =
                snapshot.nodes().map(|node| free.of_node("static", &node.spec).any(|name| name == "v")).collect();
            listed.push(free.of_several("static").any(|name| name == "v"));
            assert_eq!(listed, expected, "{why}");
            assert_eq!(free.of_several("other").count(), 0, "{why}");
            free.remove("v", &volume);
            assert!(free.0.is_empty(), "{why}");
        }
    }
}
