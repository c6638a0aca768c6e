//! What a node's kernel has to have and to do.
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    pub name: &'static str,
    pub why: &'static str,
    /// There when the kernel has it, built in or loaded.
    pub seen_at: &'static str,
}

/// What is loaded at boot.
pub const MODULES: [Module; 2] = [
    Module {
        name: "br_netfilter",
        why: "Pod traffic over a bridge passes nftables only with it.",
        seen_at: "/proc/sys/net/bridge/bridge-nf-call-iptables",
    },
    Module { name: "overlay", why: "Containers' file systems are layers.", seen_at: "/sys/module/overlay" },
];

/// Files below /proc/sys, as sysctl names them, and what they must say.
pub const SYSCTLS: [(&str, &str); 2] = [("net.ipv4.ip_forward", "1"), ("net.bridge.bridge-nf-call-iptables", "1")];

/// A sysctl's file: `net.ipv4.ip_forward` is /proc/sys/net/ipv4/ip_forward.
pub fn sysctl_path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name.replace('.', "/"))
}

pub(super) fn modules_load() -> String {
    MODULES.map(|module| format!("# {}\n{}\n", module.why, module.name)).concat()
}

pub(super) fn sysctl_conf() -> String {
    SYSCTLS.map(|(name, value)| format!("{name} = {value}\n")).concat()
}
