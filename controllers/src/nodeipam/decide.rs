//! Which network each node without one gets. What is given out is read from the Nodes; there is no other memory.

use std::collections::HashSet;

use ipnet::IpNet;
use jiff::Timestamp;

/// Everything the decision may look at.
#[derive(Clone, Debug)]
pub struct Observed {
    pub cluster: IpNet,
    pub mask: u8,
    pub nodes: Vec<SeenNode>,
}

#[derive(Clone, Debug)]
pub struct SeenNode {
    pub name: String,
    pub created: Option<Timestamp>,
    pub networks: Vec<IpNet>,
    pub deleting: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    pub assign: Vec<(String, IpNet)>,
    /// Nodes for which nothing is left.
    pub refused: Vec<String>,
}

/// The lowest free networks go to the oldest nodes.
pub fn decide(seen: &Observed) -> Decision {
    let taken: Vec<IpNet> = seen.nodes.iter().flat_map(|n| n.networks.iter().map(IpNet::trunc)).collect();
    let exact: HashSet<IpNet> = taken.iter().copied().filter(|n| n.prefix_len() == seen.mask).collect();
    // Networks of another size, from a time when the flag was another: few, so looked through one by one.
    let odd: Vec<IpNet> = taken.into_iter().filter(|n| n.prefix_len() != seen.mask).collect();
    let overlaps = |net: &IpNet| exact.contains(net) || odd.iter().any(|o| o.contains(net) || net.contains(o));
    let mut free = seen.cluster.subnets(seen.mask).into_iter().flatten().filter(|net| !overlaps(net));

    let mut without: Vec<&SeenNode> = seen.nodes.iter().filter(|n| n.networks.is_empty() && !n.deleting).collect();
    without.sort_by_key(|n| (n.created, n.name.as_str()));
    let mut decision = Decision::default();
    for node in without {
        match free.next() {
            Some(network) => decision.assign.push((node.name.clone(), network)),
            None => decision.refused.push(node.name.clone()),
        }
    }
    decision
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, networks: &[&str]) -> SeenNode {
        let networks = networks.iter().map(|n| n.parse().unwrap()).collect();
        SeenNode { name: name.into(), created: None, networks, deleting: false }
    }

    #[test]
    fn networks_table() {
        let leaving = SeenNode { deleting: true, ..node("z", &["10.244.0.0/24"]) };
        let cases = [
            ("the first", "10.244.0.0/16", 24, vec![node("a", &[])], "a=10.244.0.0/24"),
            (
                "two at once get two",
                "10.244.0.0/16",
                24,
                vec![node("b", &[]), node("a", &[])],
                "a=10.244.0.0/24 b=10.244.1.0/24",
            ),
            (
                "a gap is filled",
                "10.244.0.0/16",
                24,
                vec![node("a", &["10.244.0.0/24"]), node("c", &["10.244.2.0/24"]), node("b", &[])],
                "b=10.244.1.0/24",
            ),
            ("who has one keeps it", "10.244.0.0/16", 24, vec![node("a", &["10.9.0.0/24"])], ""),
            ("a leaving node's is still in use", "10.244.0.0/16", 24, vec![leaving, node("a", &[])], "a=10.244.1.0/24"),
            (
                "a larger old network counts whole",
                "10.244.0.0/16",
                24,
                vec![node("a", &["10.244.0.0/23"]), node("b", &[])],
                "b=10.244.2.0/24",
            ),
            (
                "a smaller old network counts too",
                "10.244.0.0/16",
                24,
                vec![node("a", &["10.244.0.128/25"]), node("b", &[])],
                "b=10.244.1.0/24",
            ),
            (
                "nothing left",
                "10.244.0.0/24",
                25,
                vec![node("a", &[]), node("b", &[]), node("c", &[])],
                "a=10.244.0.0/25 b=10.244.0.128/25 c=none",
            ),
            ("IPv6", "fd00::/48", 64, vec![node("a", &["fd00::/64"]), node("b", &[])], "b=fd00:0:0:1::/64"),
        ];
        for (why, cluster, mask, nodes, expected) in cases {
            let got = decide(&Observed { cluster: cluster.parse().unwrap(), mask, nodes });
            let mut lines: Vec<String> = got.assign.iter().map(|(n, net)| format!("{n}={net}")).collect();
            lines.extend(got.refused.iter().map(|n| format!("{n}=none")));
            assert_eq!(lines.join(" "), expected, "{why}");
        }
    }
}
