//! The nodes as rules and routes have them, and what one node's change changes in these. Pure.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;

use crate::routes::desired::{self as routes, Way};
use crate::ruleset::diff::Edit;
use crate::ruleset::elements::{self, Value};
use crate::view::Node;

#[derive(Debug, Default)]
pub struct Nodes {
    known: HashMap<String, Arc<Node>>,
    /// How many nodes list an address: one may take over another's before that one is gone.
    addresses: HashMap<Ipv4Addr, u32>,
}

/// What follows from one node's change.
#[derive(Debug, Default, PartialEq)]
pub struct Consequences {
    pub edits: Vec<Edit>,
    pub routes: Vec<routes::Edit>,
    /// Its pods cannot be reached: it shares no link with this node.
    pub unreachable: bool,
}

impl Nodes {
    pub fn new(nodes: impl Iterator<Item = Arc<Node>>) -> Self {
        let mut all = Self::default();
        for node in nodes {
            all.set(&node.name.clone(), Some(node));
        }
        all
    }
    pub fn get(&self, name: &str) -> Option<&Arc<Node>> {
        self.known.get(name)
    }
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.known.values()
    }
    pub fn addresses(&self) -> BTreeSet<Ipv4Addr> {
        self.addresses.keys().copied().collect()
    }

    /// Takes a node in, or out. Costs the same however many nodes there are.
    pub fn set(&mut self, name: &str, node: Option<Arc<Node>>) -> Vec<Edit> {
        let before = match &node {
            Some(node) => self.known.insert(name.to_owned(), Arc::clone(node)),
            None => self.known.remove(name),
        };
        let listed = |node: Option<&Arc<Node>>| -> BTreeSet<Ipv4Addr> {
            node.into_iter().flat_map(|n| n.addresses.iter().copied()).collect()
        };
        let (old, new) = (listed(before.as_ref()), listed(node.as_ref()));
        let mut edits = Vec::new();
        for address in new.difference(&old) {
            let count = self.addresses.entry(*address).or_default();
            *count += 1;
            if *count == 1 {
                edits.push(Edit::Add(elements::node(*address), Value::Member));
            }
        }
        for address in old.difference(&new) {
            let Some(count) = self.addresses.get_mut(address) else { continue };
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(address);
                edits.push(Edit::Remove(elements::node(*address)));
            }
        }
        edits
    }

    /// As [`set`](Self::set), with the routes of a node other than this one. `links` are the networks of this node's links.
    pub fn change(&mut self, name: &str, node: Option<Arc<Node>>, links: &[Ipv4Net]) -> Consequences {
        let before = self.known.get(name).and_then(|node| routes::way(node, links));
        let after = node.as_ref().and_then(|node| routes::way(node, links));
        let edits = self.set(name, node);
        let unreachable = after == Some(Way::None);
        Consequences { edits, routes: routes::turn(before, after), unreachable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, last: u8) -> Arc<Node> {
        let (address, cidr) = (Ipv4Addr::new(192, 0, 2, last), format!("10.244.{last}.0/24"));
        Arc::new(Node { name: name.into(), addresses: vec![address], pod_cidr: cidr.parse().ok() })
    }

    #[test]
    fn a_change_of_one_of_five_thousand_nodes_changes_what_is_of_that_node() {
        let links = ["192.0.0.0/16".parse().unwrap()];
        let many = (0..5000u16).map(|n| {
            let [high, low] = n.to_be_bytes();
            let cidr = format!("10.{}.{low}.0/24", 100 + u16::from(high)).parse().ok();
            Arc::new(Node { name: format!("n{n}"), addresses: vec![[192, 0, high, low].into()], pod_cidr: cidr })
        });
        let mut nodes = Nodes::new(many);
        let (address, cidr) = (Ipv4Addr::new(192, 0, 200, 1), "10.200.0.0/24".parse().unwrap());
        let new = Node { name: "new".into(), addresses: vec![address], pod_cidr: Some(cidr) };
        let came = nodes.change("new", Some(Arc::new(new)), &links);
        let expected = Consequences {
            edits: vec![Edit::Add(elements::node(address), Value::Member)],
            routes: vec![routes::Edit::Set(cidr, address)],
            unreachable: false,
        };
        assert_eq!(came, expected);
        let gone = nodes.change("new", None, &links);
        let expected = Consequences {
            edits: vec![Edit::Remove(elements::node(address))],
            routes: vec![routes::Edit::Remove(cidr, address)],
            unreachable: false,
        };
        assert_eq!(gone, expected);
    }

    #[test]
    fn an_address_that_two_nodes_list_stays_until_both_are_gone() {
        let mut nodes = Nodes::new([node("old", 2)].into_iter());
        assert_eq!(nodes.set("new", Some(node("new", 2))), []);
        assert_eq!(nodes.set("old", None), []);
        assert_eq!(nodes.set("new", None).len(), 1);
        assert!(nodes.addresses().is_empty());
    }
}
