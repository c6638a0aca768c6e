//! Kernel switches under /proc/sys that forwarding between pods, nodes and Services needs.

use std::io;
use std::path::Path;

#[derive(Debug, thiserror::Error)]
#[error("cannot set {path} to {value}: packets would not be forwarded; run the proxy as root, with /proc/sys writable")]
pub struct SwitchError {
    path: &'static str,
    value: &'static str,
    source: io::Error,
}

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
/// Answers of a Service may come from where no route of the asking address leads: strict source checks drop them.
const SOURCE_CHECK: &str = "/proc/sys/net/ipv4/conf/all/rp_filter";
const LOOSE: &str = "2";
const BRIDGE_SEES_IP: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// Sets what must be set. Returns whether bridges show frames to IP, which wants the br_netfilter module.
pub fn set() -> Result<bool, SwitchError> {
    write(FORWARD, "1")?;
    // 1 is strict; 0 and 2 let answers through.
    if read(SOURCE_CHECK).as_deref() == Some("1") {
        write(SOURCE_CHECK, LOOSE)?;
    }
    if !Path::new(BRIDGE_SEES_IP).exists() {
        return Ok(false);
    }
    write(BRIDGE_SEES_IP, "1")?;
    Ok(true)
}

const LIBERAL_TCP: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal";

/// Whether conntrack takes TCP packets that fit no window for part of their connection.
pub fn is_tcp_liberal() -> bool {
    read(LIBERAL_TCP).is_some_and(|value| value != "0")
}

/// Lets packets from 127.0.0.1 through a link, which a hostPort on that address takes to its pod. Only after the table is
/// there that keeps out what comes from elsewhere under such an address. A link that is not there yet is none to let through.
pub fn let_loopback_through(link: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/ipv4/conf/{link}/route_localnet");
    match read(&path).as_deref() {
        None | Some("1") => Ok(()),
        Some(_) => std::fs::write(path, "1"),
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|s| s.trim().to_owned())
}

/// Writes only what differs, so that a read-only /proc/sys that is right already will do.
fn write(path: &'static str, value: &'static str) -> Result<(), SwitchError> {
    if read(path).as_deref() == Some(value) {
        return Ok(());
    }
    std::fs::write(path, value).map_err(|source| SwitchError { path, value, source })
}
