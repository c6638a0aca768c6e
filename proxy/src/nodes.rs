//! The nodes as routes have them, and what one node's change changes in these. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use ipnet::Ipv4Net;

use crate::routes::desired::{self as routes, Way};
use crate::view::Node;

#[derive(Debug, Default)]
pub struct Nodes {
    known: HashMap<String, Arc<Node>>,
}

/// What follows from one node's change.
#[derive(Debug, Default, PartialEq)]
pub struct Consequences {
    pub routes: Vec<routes::Edit>,
    /// Its pods cannot be reached: it shares no link with this node.
    pub unreachable: bool,
}

impl Nodes {
    pub fn new(nodes: impl Iterator<Item = Arc<Node>>) -> Self {
        Self { known: nodes.map(|node| (node.name.clone(), node)).collect() }
    }
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.known.values()
    }
    /// Takes a node in, or out.
    pub fn set(&mut self, name: &str, node: Option<Arc<Node>>) -> Option<Arc<Node>> {
        match node {
            Some(node) => self.known.insert(name.to_owned(), node),
            None => self.known.remove(name),
        }
    }

    /// As [`set`](Self::set), with the routes of a node other than this one. `links` are the networks of this node's links.
    /// Costs the same however many nodes there are.
    pub fn change(&mut self, name: &str, node: Option<Arc<Node>>, links: &[Ipv4Net]) -> Consequences {
        let after = node.as_ref().and_then(|node| routes::way(node, links));
        let before = self.set(name, node).and_then(|node| routes::way(&node, links));
        let unreachable = after == Some(Way::None);
        Consequences { routes: routes::turn(before, after), unreachable }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_change_of_one_of_five_thousand_nodes_changes_what_is_of_that_node() {
        let links = ["192.0.0.0/16".parse().unwrap()];
        let many = (0..5000u16).map(|n| {
            let [high, low] = n.to_be_bytes();
            let cidr = format!("10.{}.{low}.0/24", 100 + u16::from(high)).parse().ok();
            let addresses = vec![[192, 0, high, low].into()];
            Arc::new(Node { name: format!("n{n}"), addresses, pod_cidr: cidr, ..Node::default() })
        });
        let mut nodes = Nodes::new(many);
        let (address, cidr) = (Ipv4Addr::new(192, 0, 200, 1), "10.200.0.0/24".parse().unwrap());
        let new = Node { name: "new".into(), addresses: vec![address], pod_cidr: Some(cidr), ..Node::default() };
        let came = nodes.change("new", Some(Arc::new(new)), &links);
        let expected = Consequences { routes: vec![routes::Edit::Set(cidr, address)], unreachable: false };
        assert_eq!(came, expected);
        let gone = nodes.change("new", None, &links);
        let expected = Consequences { routes: vec![routes::Edit::Remove(cidr, address)], unreachable: false };
        assert_eq!(gone, expected);
    }
}
