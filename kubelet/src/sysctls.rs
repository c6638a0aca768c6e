//! Which sysctls a pod of this node may set: those that harm nobody else, and what the administrator allows besides. Pure.
//!
//! <https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/>

use k8s_openapi::api::core::v1::PodSpec;

/// Kept apart by namespaces, and without influence on other pods or the node. As upstream has them.
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];
const OF_NETWORK: &str = "net.";
const OF_IPC: [&str; 4] = ["fs.mqueue.", "kernel.msg", "kernel.sem", "kernel.shm"];

/// What keeps a sysctl apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Namespace {
    Network,
    Ipc,
}

impl Namespace {
    fn of(name: &str) -> Option<Self> {
        let is_ipc = |known: &&str| name.starts_with(*known) && (*known != "kernel.sem" || name == *known);
        match name {
            name if name.starts_with(OF_NETWORK) => Some(Self::Network),
            _ if OF_IPC.iter().any(is_ipc) => Some(Self::Ipc),
            _ => None,
        }
    }
}

/// With dots between its parts: the first separator of a name says which of the two it is written with, as sysctl(8) has it.
pub fn dotted(name: &str) -> String {
    let with_slashes = name.find(['.', '/']).is_some_and(|at| name[at..].starts_with('/'));
    if with_slashes { swapped(name) } else { name.to_owned() }
}

/// Dots for slashes and slashes for dots.
pub fn swapped(name: &str) -> String {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    name.chars().map(swap).collect()
}

/// One of `--allowed-unsafe-sysctls`: `net.core.somaxconn`, or `kernel.msg*` for all that begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    start: String,
    open: bool,
}

impl Pattern {
    /// No pod may have what belongs to the whole node.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (start, open) = text.strip_suffix('*').map_or((text, false), |start| (start, true));
        let start = dotted(start);
        if start.contains('*') {
            return Err(format!("{text:?} has a * before its end"));
        }
        if Namespace::of(&start).is_none() {
            return Err(format!("{text:?} is not known to be in a namespace of a pod's own"));
        }
        Ok(Self { start, open })
    }

    fn allows(&self, name: &str) -> bool {
        if self.open { name.starts_with(&self.start) } else { name == self.start }
    }
}

/// Why the pod's sysctls cannot be had here, if so: the message of `SysctlForbidden`.
pub fn refusal(spec: &PodSpec, allowed: &[Pattern]) -> Option<String> {
    let sysctls = spec.security_context.as_ref()?.sysctls.as_ref()?;
    let why = sysctls.iter().find_map(|sysctl| {
        let name = dotted(&sysctl.name);
        if !SAFE.contains(&name.as_str()) && !allowed.iter().any(|pattern| pattern.allows(&name)) {
            return Some(format!("{:?} not allowlisted", sysctl.name));
        }
        let shared = match Namespace::of(&name) {
            Some(Namespace::Network) if spec.host_network == Some(true) => "net",
            Some(Namespace::Ipc) if spec.host_ipc == Some(true) => "ipc",
            _ => return None,
        };
        Some(format!("{:?} not allowed with host {shared} enabled", sysctl.name))
    });
    why.map(|why| format!("forbidden sysctl: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pod_may_set() {
        let spec = |name: &str, shares: &str| -> PodSpec {
            let sysctls = [serde_json::json!({"name": name, "value": "1"})];
            let mut spec = serde_json::json!({"containers": [], "securityContext": {"sysctls": sysctls}});
            if !shares.is_empty() {
                spec[shares] = true.into();
            }
            serde_json::from_value(spec).unwrap()
        };
        let allowed: Vec<Pattern> =
            ["net.core.somaxconn", "kernel.msg*"].iter().map(|text| Pattern::parse(text).unwrap()).collect();
        let not = |name: &str| Some(format!("forbidden sysctl: {name:?} not allowlisted"));
        let shared =
            |name: &str, what: &str| Some(format!("forbidden sysctl: {name:?} not allowed with host {what} enabled"));
        let cases = [
            ("net.ipv4.tcp_syncookies", "", None),
            ("net/ipv4/tcp_rmem", "", None),
            ("kernel.shm_rmid_forced", "", None),
            ("net.core.somaxconn", "", None),
            ("net/core/somaxconn", "", None),
            ("kernel.msgmax", "", None),
            ("net.core.somaxconn2", "", not("net.core.somaxconn2")),
            ("net.ipv4.conf.all.accept_redirects", "", not("net.ipv4.conf.all.accept_redirects")),
            ("net.ipv4.tcp_syncookies.x", "", not("net.ipv4.tcp_syncookies.x")),
            ("kernel.shmall", "", not("kernel.shmall")),
            ("fs.mqueue.msg_max", "", not("fs.mqueue.msg_max")),
            ("kernel.panic", "", not("kernel.panic")),
            ("net.ipv4.tcp_syncookies", "hostNetwork", shared("net.ipv4.tcp_syncookies", "net")),
            ("kernel.msgmax", "hostIPC", shared("kernel.msgmax", "ipc")),
            ("kernel.msgmax", "hostNetwork", None),
        ];
        for (name, shares, expected) in cases {
            assert_eq!(refusal(&spec(name, shares), &allowed), expected, "{name} {shares}");
        }
    }

    #[test]
    fn only_what_a_namespace_keeps_apart_can_be_allowed() {
        let cases = [
            ("net.*", true),
            ("net/core/*", true),
            ("kernel.shm*", true),
            ("kernel.sem", true),
            ("fs.mqueue.msg_max", true),
            ("kernel.*", false),
            ("kernel.semantics", false),
            ("vm.swappiness", false),
            ("net*", false),
            ("net.*.x", false),
            ("*", false),
            ("", false),
        ];
        for (text, fine) in cases {
            assert_eq!(Pattern::parse(text).is_ok(), fine, "{text:?}");
        }
    }
}
