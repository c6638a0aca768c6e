//! Keeps pods from sending under their neighbours' addresses: a table of the family `bridge`, which sees every frame that a pod
//! sends, also to a neighbour.
//!
//! The kubelet makes each pod's link with the hardware address that belongs to the pod's IP address, and locks the bridge's
//! port to it; what is looked at here is that both go together. A pod's link from before that has a hardware address by chance
//! and passes. Frames of other kinds than IPv4 and ARP have no use on this bridge: with IPv6 a pod could announce itself as
//! its neighbours' router.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use corten_api::hardware_address;
use ipnet::Ipv4Net;

use super::base::TABLE;

const CHAIN: &str = "antispoof";

/// The whole table as one nft transaction, run again without harm. Without a podCIDR there are no pods yet.
pub fn script(pod_cidr: Option<Ipv4Net>) -> String {
    let Some(cidr) = pod_cidr else { return removal_script() };
    let mut text = format!(
        "add table bridge {TABLE}\n\
         add set bridge {TABLE} pods {{ type ether_addr . ipv4_addr; }}\n\
         flush set bridge {TABLE} pods\n\
         add chain bridge {TABLE} {CHAIN} {{ type filter hook prerouting priority -300; policy accept; }}\n\
         flush chain bridge {TABLE} {CHAIN}\n"
    );
    let (network, mask) = (colons(hardware_address::of(cidr.network().into())), colons(mask(cidr)));
    let hosts: Vec<String> = cidr.hosts().map(|ip| format!("{} . {ip}", mac(ip))).collect();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "add element bridge {TABLE} pods {{ {} }}", hosts.join(", "));
    for rule in [
        format!("ether saddr & {mask} != {network} accept"),
        "ether type ip ether saddr . ip saddr @pods accept".into(),
        "ether type arp ether saddr . arp saddr ip @pods arp saddr ether . arp saddr ip @pods accept".into(),
        "counter drop".into(),
    ] {
        let _ = writeln!(text, "add rule bridge {TABLE} {CHAIN} {rule}");
    }
    text
}

/// Takes the table away, if it is there.
pub fn removal_script() -> String {
    format!("add table bridge {TABLE}\ndelete table bridge {TABLE}\n")
}

/// The bits that the hardware addresses of all pods of this node have in common.
fn mask(cidr: Ipv4Net) -> [u8; 6] {
    let [a, b, c, d] = cidr.netmask().octets();
    [0xff, 0xff, a, b, c, d]
}
fn mac(address: Ipv4Addr) -> String {
    colons(hardware_address::of(address.into()))
}
fn colons(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}
