//! Which routes this node should have, and the edits that lead there. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::view::Node;

/// Pods of another node, by that node's address.
pub type Routes = BTreeMap<Ipv4Net, Ipv4Addr>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub routes: Routes,
    /// Nodes that share no link with this one: their pods cannot be reached over a direct route.
    pub unreachable: BTreeSet<String>,
}

/// How packets get to a node's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Via(Ipv4Net, Ipv4Addr),
    /// It shares no link with this node.
    None,
}

/// The way to a node's pods, once it has been given addresses for some. `links` are the networks that this node's own
/// links are on.
pub fn way(node: &Node, links: &[Ipv4Net]) -> Option<Way> {
    let cidr = node.pod_cidr?;
    let neighbour = node.addresses.iter().find(|ip| links.iter().any(|link| link.contains(*ip)));
    Some(neighbour.map_or(Way::None, |gateway| Way::Via(cidr, *gateway)))
}

pub fn desired<'a>(this_node: &str, nodes: impl Iterator<Item = &'a Node>, links: &[Ipv4Net]) -> Wanted {
    let mut wanted = Wanted::default();
    for node in nodes.filter(|n| n.name != this_node) {
        match way(node, links) {
            Some(Way::Via(cidr, gateway)) => drop(wanted.routes.insert(cidr, gateway)),
            Some(Way::None) => drop(wanted.unreachable.insert(node.name.clone())),
            None => {}
        }
    }
    wanted
}

/// The edits from one way to another of the same node. A route that leads elsewhere is removed by its gateway, so that
/// a podCIDR which another node has by now keeps that node's route.
pub fn turn(before: Option<Way>, after: Option<Way>) -> Vec<Edit> {
    if before == after {
        return Vec::new();
    }
    let mut edits = Vec::new();
    if let Some(Way::Via(old, via)) = before {
        let replaced = matches!(after, Some(Way::Via(new, _)) if new == old);
        edits.extend((!replaced).then_some(Edit::Remove(old, via)));
    }
    if let Some(Way::Via(cidr, via)) = after {
        edits.push(Edit::Set(cidr, via));
    }
    edits
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Adds the route, or leads it elsewhere.
    Set(Ipv4Net, Ipv4Addr),
    Remove(Ipv4Net, Ipv4Addr),
}

/// `have` are the routes that bear our mark.
pub fn diff(have: &Routes, want: &Routes) -> Vec<Edit> {
    let set = want.iter().filter(|(cidr, via)| have.get(cidr) != Some(via)).map(|(cidr, via)| Edit::Set(*cidr, *via));
    let gone = have.iter().filter(|(cidr, _)| !want.contains_key(cidr)).map(|(cidr, via)| Edit::Remove(*cidr, *via));
    set.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, address: &str, cidr: &str) -> Node {
        let addresses = address.parse().into_iter().collect();
        Node { name: name.into(), addresses, pod_cidr: cidr.parse().ok(), ..Node::default() }
    }

    #[test]
    fn desired_table() {
        let links = ["192.0.2.0/24".parse().unwrap()];
        let route = |cidr: &str, via: &str| Routes::from([(cidr.parse().unwrap(), via.parse().unwrap())]);
        let cases = [
            ("a neighbour", node("b", "192.0.2.2", "10.244.2.0/24"), route("10.244.2.0/24", "192.0.2.2"), vec![]),
            ("ourselves", node("a", "192.0.2.1", "10.244.1.0/24"), Routes::new(), vec![]),
            ("no podCIDR yet", node("b", "192.0.2.2", ""), Routes::new(), vec![]),
            ("elsewhere", node("far", "198.51.100.7", "10.244.3.0/24"), Routes::new(), vec!["far".to_owned()]),
        ];
        for (why, node, routes, unreachable) in cases {
            let unreachable = unreachable.into_iter().collect();
            assert_eq!(desired("a", [&node].into_iter(), &links), Wanted { routes, unreachable }, "{why}");
        }
    }

    #[test]
    fn a_node_that_moves_takes_its_route_along() {
        let links = ["192.0.2.0/24".parse().unwrap()];
        let way = |address: &str, cidr: &str| way(&node("b", address, cidr), &links);
        let (one, two): (Ipv4Net, Ipv4Net) = ("10.244.1.0/24".parse().unwrap(), "10.244.2.0/24".parse().unwrap());
        let (b, c) = (Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(192, 0, 2, 3));
        let at = way("192.0.2.2", "10.244.1.0/24");
        for (why, before, after, expected) in [
            ("came", None, at, vec![Edit::Set(one, b)]),
            ("same", at, at, vec![]),
            ("another address", at, way("192.0.2.3", "10.244.1.0/24"), vec![Edit::Set(one, c)]),
            ("other pods", at, way("192.0.2.2", "10.244.2.0/24"), vec![Edit::Remove(one, b), Edit::Set(two, b)]),
            ("out of reach", at, way("198.51.100.7", "10.244.1.0/24"), vec![Edit::Remove(one, b)]),
            ("gone", at, None, vec![Edit::Remove(one, b)]),
        ] {
            assert_eq!(turn(before, after), expected, "{why}");
        }
    }

    #[test]
    fn diff_table() {
        let (one, two): (Ipv4Net, Ipv4Net) = ("10.244.1.0/24".parse().unwrap(), "10.244.2.0/24".parse().unwrap());
        let (b, c) = (Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(192, 0, 2, 3));
        let cases = [
            ("new", Routes::new(), Routes::from([(one, b)]), vec![Edit::Set(one, b)]),
            ("same", Routes::from([(one, b)]), Routes::from([(one, b)]), vec![]),
            (
                "the node got another address",
                Routes::from([(one, b)]),
                Routes::from([(one, c)]),
                vec![Edit::Set(one, c)],
            ),
            ("gone", Routes::from([(one, b), (two, c)]), Routes::from([(two, c)]), vec![Edit::Remove(one, b)]),
        ];
        for (why, have, want, expected) in cases {
            assert_eq!(diff(&have, &want), expected, "{why}");
        }
    }
}
