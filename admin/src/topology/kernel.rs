//! What a node's kernel has to have and to do.

/// A module that is loaded at boot, and why.
pub const MODULES: [(&str, &str); 2] = [
    ("br_netfilter", "pod traffic over a bridge passes nftables only with it"),
    ("overlay", "containers' file systems are layers"),
];

/// Files below /proc/sys, as sysctl names them, and what they must say.
pub const SYSCTLS: [(&str, &str); 2] = [("net.ipv4.ip_forward", "1"), ("net.bridge.bridge-nf-call-iptables", "1")];

/// A sysctl's file: `net.ipv4.ip_forward` is /proc/sys/net/ipv4/ip_forward.
pub fn sysctl_path(name: &str) -> std::path::PathBuf {
    std::path::Path::new("/proc/sys").join(name.replace('.', "/"))
}

pub(super) fn modules_load() -> String {
    let lines = MODULES.map(|(module, why)| format!("# {why}\n{module}\n"));
    lines.concat()
}

pub(super) fn sysctl_conf() -> String {
    SYSCTLS.map(|(name, value)| format!("{name} = {value}\n")).concat()
}
