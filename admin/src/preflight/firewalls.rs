//! What on this machine throws packets away that it should pass on from pod to pod, and how that is changed.
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Firewall {
    Ufw,
    Firewalld,
    Docker,
    /// Rules of somebody whom they do not name.
    Other,
}

impl Firewall {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ufw => "ufw",
            Self::Firewalld => "firewalld",
            Self::Docker => "docker",
            Self::Other => "a rule of nftables or iptables",
        }
    }

    /// The commands that let packets of pods pass, and still do after a boot where that is theirs to say.
    pub(super) fn remedy(self, pods: &str, services: &str) -> String {
        match self {
            Self::Ufw => format!("ufw route allow from {pods} && ufw route allow to {pods}"),
            Self::Firewalld => format!(
                "firewall-cmd --permanent --zone=trusted --add-source={pods} --add-source={services} && firewall-cmd --reload"
            ),
            Self::Docker => {
                format!("iptables -I DOCKER-USER -s {pods} -j ACCEPT && iptables -I DOCKER-USER -d {pods} -j ACCEPT")
            }
            Self::Other => {
                format!(
                    "iptables -I FORWARD -s {pods} -j ACCEPT && iptables -I FORWARD -d {pods} -j ACCEPT, at each boot"
                )
            }
        }
    }
}

/// `nft`: what `nft list chains` says; `legacy`: what `iptables-legacy -S FORWARD` does.
pub(super) fn that_drop(nft: &str, legacy: &str) -> BTreeSet<Firewall> {
    let line_begins = |start: &str| nft.lines().any(|line| line.trim_start().starts_with(start));
    let drops = nft.lines().any(|line| line.contains("hook forward") && line.contains("policy drop"))
        || legacy.lines().any(|line| line.trim() == "-P FORWARD DROP");
    let mut found = BTreeSet::new();
    // Its policy is to accept; its last rule rejects.
    if line_begins("table inet firewalld ") {
        found.insert(Firewall::Firewalld);
    }
    if drops {
        let by_chain = [("chain ufw-", "ufw-", Firewall::Ufw), ("chain DOCKER-USER ", "DOCKER-USER", Firewall::Docker)];
        let known = by_chain.into_iter().filter(|(chain, jump, _)| line_begins(chain) || legacy.contains(jump));
        let known: Vec<Firewall> = known.map(|(_, _, firewall)| firewall).collect();
        found.extend(if known.is_empty() { vec![Firewall::Other] } else { known });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firewalls_are_known_by_what_they_drop() {
        let forward = |policy: &str, more: &str| {
            format!(
                "table ip filter {{\n\tchain FORWARD {{\n\t\ttype filter hook forward priority filter; policy {policy};\n\t}}\n\n\t{more}\n}}\n"
            )
        };
        let firewalld = "table inet firewalld {\n\tchain filter_FORWARD {\n\t\ttype filter hook forward priority filter + 10; policy accept;\n";
        let legacy = "-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n";
        let cases = [
            ("nothing", String::new(), "", vec![]),
            ("all is accepted", forward("accept", "chain DOCKER-USER {"), "-P FORWARD ACCEPT\n", vec![]),
            ("docker", forward("drop", "chain DOCKER-USER {"), "", vec![Firewall::Docker]),
            ("ufw", forward("drop", "chain ufw-before-forward {"), "", vec![Firewall::Ufw]),
            ("by hand", forward("drop", ""), "", vec![Firewall::Other]),
            ("firewalld", firewalld.to_owned(), "", vec![Firewall::Firewalld]),
            ("docker of old", String::new(), legacy, vec![Firewall::Docker]),
            ("by hand of old", String::new(), "-P FORWARD DROP\n", vec![Firewall::Other]),
            (
                "what comes in is dropped",
                "\t\ttype filter hook input priority filter; policy drop;\n".to_owned(),
                "",
                vec![],
            ),
        ];
        for (why, nft, legacy, expected) in cases {
            assert_eq!(that_drop(&nft, legacy).into_iter().collect::<Vec<_>>(), expected, "{why}");
        }
    }
}
