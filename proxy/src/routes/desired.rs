//! Which routes this node should have, and the edits that lead there. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::view::Node;

/// Pods of another node, by that node's address.
pub type Routes = BTreeMap<Ipv4Net, Ipv4Addr>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub routes: Routes,
    /// Nodes that share no link with this one: their pods cannot be reached over a direct route.
    pub unreachable: Vec<String>,
}

/// `links` are the networks that this node's own links are on.
pub fn desired<'a>(this_node: &str, nodes: impl Iterator<Item = &'a Node>, links: &[Ipv4Net]) -> Wanted {
    let mut wanted = Wanted::default();
    for node in nodes.filter(|n| n.name != this_node) {
        let Some(cidr) = node.pod_cidr else { continue };
        let neighbour = node.addresses.iter().find(|ip| links.iter().any(|link| link.contains(*ip)));
        match neighbour {
            Some(gateway) => drop(wanted.routes.insert(cidr, *gateway)),
            None => wanted.unreachable.push(node.name.clone()),
        }
    }
    wanted
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
        Node { name: name.into(), addresses: address.parse().into_iter().collect(), pod_cidr: cidr.parse().ok() }
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
            assert_eq!(desired("a", [&node].into_iter(), &links), Wanted { routes, unreachable }, "{why}");
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
