//! The constant part of our table as nft's text, and the one place that runs `nft`. Rules here never grow with
//! the number of Services: they look things up in maps.
//!
//! A packet's way: the `screen` chains drop what comes from where a front may not be used from, refuse what has no endpoint, and
//! drop more questions to DNS than one address's share; the `nat` chains send a front to a pick chain,
//! which takes an end from `endpoints` by a random index; `nat-postrouting` puts the node's address on what would
//! not come back otherwise; the `remember` chains note which end a sticky client got.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::NftError;
use crate::ruleset::Place;
use crate::ruleset::elements::Chain;

/// Our table, in the family `ip`. Everything in it is ours, and nothing outside it.
pub const TABLE: &str = "corten";
/// Bit of the connection mark that says "sent to an end by Corten".
pub const BALANCED_MARK: u32 = 0x4000;
/// How many client addresses are remembered at once; further clients are balanced anew each time.
pub const AFFINITY_ENTRIES_MAX: u32 = 65_536;

/// The maps and sets, as `elements.rs` fills them. The index in `endpoints` is called a mark for its size: nft has no
/// name for a plain number in a concatenation.
const MAPS: &str = "
add map ip corten endpoints { type mark . ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
add map ip corten frontends { type ipv4_addr . inet_proto . inet_service : verdict; }
add map ip corten outside { type ipv4_addr . inet_proto . inet_service : verdict; }
add map ip corten refused { type ipv4_addr . inet_proto . inet_service : verdict; }
add map ip corten refused-outside { type ipv4_addr . inet_proto . inet_service : verdict; }
add map ip corten remember { type ipv4_addr . inet_proto . inet_service : verdict; }
add set ip corten hairpin { type ipv4_addr . ipv4_addr; }
add set ip corten nodes { type ipv4_addr; }
add set ip corten limited { type ipv4_addr . inet_proto . inet_service; }
add set ip corten sources { type ipv4_addr . inet_proto . inet_service . ipv4_addr; flags interval; }
";

/// Questions to cluster DNS that one address may send over UDP each second; more are dropped before they fill the one queue
/// that all share.
pub const DNS_QUESTIONS_PER_SEC: u32 = 5000;
/// So many may come at once.
pub const DNS_QUESTIONS_BURST: u32 = 1000;
/// TCP connections to cluster DNS that one address may have open.
pub const DNS_CONNECTIONS_PER_SOURCE: u32 = 32;
/// Addresses that are counted, far more than a node has pods. Further ones are not answered: else whoever comes under many
/// addresses would not be limited at all.
pub const DNS_SOURCES_MAX: u32 = 4096;

/// nft 1.0.6 knows no name for -100 in the output hook, so all priorities are numbers: refusals come
/// just before translation (-100), remembering just before masquerading (100).
const CHAINS: &[(&str, &str)] = &[
    ("foreign-loopback", "type filter hook prerouting priority -300; policy accept;"),
    ("invalid", "type filter hook forward priority 0; policy accept;"),
    ("screen-prerouting", "type filter hook prerouting priority -110; policy accept;"),
    ("screen-output", "type filter hook output priority -110; policy accept;"),
    ("nat-prerouting", "type nat hook prerouting priority -100; policy accept;"),
    ("nat-output", "type nat hook output priority -100; policy accept;"),
    ("nat-postrouting", "type nat hook postrouting priority 100; policy accept;"),
    ("remember-input", "type filter hook input priority 50; policy accept;"),
    ("remember-postrouting", "type filter hook postrouting priority 50; policy accept;"),
    ("balanced", ""),
    ("note", ""),
    ("refuse", ""),
    ("discard", ""),
];

const FRONT: &str = "ip daddr . meta l4proto . th dport";

fn rules(place: &Place) -> Vec<(&'static str, String)> {
    let cluster = place.cluster_cidr;
    let outside = format!("ip saddr != {cluster} fib saddr type != local {FRONT}");
    let ours = format!("ct mark and {BALANCED_MARK:#x} == {BALANCED_MARK:#x}");
    let dns = place.cluster_dns;
    // Nearly all fronts are for everybody: the ranges are searched for those that are not.
    let limited = format!("ct state new {FRONT} @limited {FRONT} . ip saddr != @sources drop");
    let mut rules = vec![
        // hostPorts on 127.0.0.1 need a kernel that lets such packets through the pods' bridge (`routes/switches.rs`): none
        // that comes from a pod or another machine is the machine's own.
        ("foreign-loopback", "iifname != \"lo\" ip daddr 127.0.0.0/8 drop".into()),
        ("foreign-loopback", "iifname != \"lo\" ip saddr 127.0.0.0/8 drop".into()),
        (
            "screen-prerouting",
            format!(
                "ip daddr {dns} udp dport 53 update @dns-askers {{ ip saddr limit rate \
                 {DNS_QUESTIONS_PER_SEC}/second burst {DNS_QUESTIONS_BURST} packets }} return"
            ),
        ),
        ("screen-prerouting", format!("ip daddr {dns} udp dport 53 drop")),
        (
            "screen-prerouting",
            format!(
                "ip daddr {dns} tcp dport 53 ct state new add @dns-clients {{ ip saddr ct count \
                 {DNS_CONNECTIONS_PER_SOURCE} }} return"
            ),
        ),
        ("screen-prerouting", format!("ip daddr {dns} tcp dport 53 ct state new reject with tcp reset")),
        ("screen-prerouting", limited.clone()),
        ("screen-prerouting", format!("ct state new {outside} vmap @refused-outside")),
        ("screen-prerouting", format!("ct state new {FRONT} vmap @refused")),
        ("screen-output", limited),
        ("screen-output", format!("ct state new {FRONT} vmap @refused")),
        ("nat-prerouting", format!("{outside} vmap @outside")),
        ("nat-prerouting", format!("{FRONT} vmap @frontends")),
        ("nat-output", format!("{FRONT} vmap @frontends")),
        ("nat-postrouting", "oifname \"lo\" return".into()),
        ("nat-postrouting", format!("{ours} jump balanced")),
        ("balanced", "ip saddr 127.0.0.0/8 masquerade fully-random".into()),
        ("balanced", "ip saddr . ip daddr @hairpin masquerade fully-random".into()),
        ("refuse", "reject".into()),
        ("discard", "drop".into()),
    ];
    if place.drop_invalid {
        rules.push(("invalid", format!("ct state invalid ip saddr {cluster} drop")));
        rules.push(("invalid", format!("ct state invalid ip daddr {cluster} drop")));
    }
    for chain in ["remember-input", "remember-postrouting"] {
        rules.push((chain, format!("ct state new {ours} jump note")));
    }
    // The original port has a type only where the protocol is known, hence one rule for each.
    for protocol in ["tcp", "udp", "sctp"] {
        let original = "ct original ip daddr . meta l4proto . ct original proto-dst";
        rules.push(("note", format!("meta l4proto {protocol} {original} vmap @remember")));
    }
    let Some(pods) = place.pod_cidr else {
        rules.push(("balanced", format!("ip saddr != {cluster} masquerade fully-random")));
        return rules;
    };
    if !place.bridge_sees_ip {
        rules.push(("balanced", format!("ip saddr {pods} ip daddr {pods} masquerade fully-random")));
    }
    // Answers to a client elsewhere from an end elsewhere would not come back through this node.
    rules.push(("balanced", format!("ip saddr != {pods} ip daddr != {pods} masquerade fully-random")));
    let leaves = format!("ip saddr {pods} ip daddr != {cluster} ip daddr != 224.0.0.0/4 ip daddr != @nodes");
    rules.push(("nat-postrouting", format!("{leaves} masquerade fully-random")));
    rules
}

/// The whole base as one nft transaction. Run again it changes nothing, and mends rules that were altered.
pub fn script(place: &Place) -> String {
    let mut text = format!("add table ip {TABLE}\n{}", MAPS.trim_start());
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "add map ip {TABLE} affinity {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service : ipv4_addr . \
         inet_service; flags dynamic,timeout; size {AFFINITY_ENTRIES_MAX}; }}"
    );
    let _ = writeln!(
        text,
        "add set ip {TABLE} dns-askers {{ type ipv4_addr; size {DNS_SOURCES_MAX}; flags dynamic,timeout; timeout 1m; }}\n\
         add set ip {TABLE} dns-clients {{ type ipv4_addr; size {DNS_SOURCES_MAX}; flags dynamic; }}"
    );
    for (chain, hook) in CHAINS {
        let _ = match *hook {
            "" => writeln!(text, "add chain ip {TABLE} {chain}"),
            hook => writeln!(text, "add chain ip {TABLE} {chain} {{ {hook} }}"),
        };
        let _ = writeln!(text, "flush chain ip {TABLE} {chain}");
    }
    for (chain, rule) in rules(place) {
        let _ = writeln!(text, "add rule ip {TABLE} {chain} {rule}");
    }
    text
}

/// The chain that notes which end a client got, for one timeout.
pub fn remember_script(chain: Chain) -> String {
    let Chain::Remember { secs } = chain else { return String::new() };
    let mut text = format!("add chain ip {TABLE} {chain}\nflush chain ip {TABLE} {chain}\n");
    for protocol in ["tcp", "udp", "sctp"] {
        let _ = writeln!(
            text,
            "add rule ip {TABLE} {chain} meta l4proto {protocol} update @affinity {{ ct original ip saddr . ct original ip \
             daddr . meta l4proto . ct original proto-dst timeout {secs}s : ip daddr . th dport }}"
        );
    }
    text
}

/// Takes our table away, if it is there.
pub fn removal_script() -> String {
    format!("add table ip {TABLE}\ndelete table ip {TABLE}\n")
}

/// Runs one script as one transaction.
pub fn run(script: &str) -> Result<(), NftError> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(NftError::NoNft)?;
    let written = nft.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(script.as_bytes()));
    let output = nft.wait_with_output().map_err(NftError::NoNft)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(NftError::Refused { said: said.lines().take(3).collect::<Vec<_>>().join(" ") });
    }
    written.map_err(NftError::NoNft)
}
