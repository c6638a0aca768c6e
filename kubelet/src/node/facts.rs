//! The machine under the node: what it has, and how pressed it is.

use std::collections::BTreeMap;
use std::path::Path;

use nix::sys::statvfs::Statvfs;

use super::eviction::EvictionHard;
use crate::images::platform::Platform;

/// Pods on one node, as upstream's default.
const PODS_MAX: i64 = 110;

/// What does not change while we run.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// `amd64`, `arm64`: Go's names.
    pub architecture: String,
    pub boot_id: String,
    pub machine_id: String,
    pub system_uuid: String,
    pub kernel_version: String,
    pub os_image: String,
    pub hostname: String,
    /// cpu in thousandths, all else in whole units.
    pub capacity: BTreeMap<String, i64>,
}

impl Machine {
    /// What cannot be found out stays empty.
    pub fn read(root_dir: &Path) -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let machine_id = text("/etc/machine-id");
        let uuid = text("/sys/class/dmi/id/product_uuid");
        let cpus = std::thread::available_parallelism().map_or(1, |n| i64::try_from(n.get()).unwrap_or(i64::MAX));
        let memory = meminfo("MemTotal").unwrap_or(0);
        let disk = nix::sys::statvfs::statvfs(root_dir).map(|s| s.blocks() * s.fragment_size()).unwrap_or(0);
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let capacity = [
            ("cpu", cpus.saturating_mul(1000)),
            ("memory", whole(memory)),
            ("pods", PODS_MAX),
            ("ephemeral-storage", whole(disk)),
        ];
        Self {
            architecture: Platform::of_this_machine().architecture().into(),
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
            machine_id,
            kernel_version: text("/proc/sys/kernel/osrelease"),
            os_image: os_image(),
            hostname: text("/proc/sys/kernel/hostname"),
            capacity: capacity.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        }
    }
}

fn os_image() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map(|n| n.trim_matches('"').to_owned()).unwrap_or_default()
}

/// A line of /proc/meminfo, in bytes.
fn meminfo(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Which resources are nearly used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pressure {
    pub memory: bool,
    pub disk: bool,
    pub pids: bool,
}

impl Pressure {
    /// What cannot be read is not pressed.
    pub(super) fn read(root_dir: &Path, least: &EvictionHard) -> Self {
        let disk = nix::sys::statvfs::statvfs(root_dir);
        let is_low = |s: Statvfs| {
            least.disk.is_crossed(s.blocks_available() * s.fragment_size(), s.blocks() * s.fragment_size())
        };
        let memory = meminfo("MemAvailable").zip(meminfo("MemTotal"));
        Self {
            memory: memory.is_some_and(|(free, all)| least.memory.is_crossed(free, all)),
            disk: disk.is_ok_and(is_low),
            pids: free_pids().is_some_and(|(free, all)| least.pids.is_crossed(free, all)),
        }
    }
}

/// (free, all) process ids.
fn free_pids() -> Option<(u64, u64)> {
    let max: u64 = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok()?.trim().parse().ok()?;
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let used: u64 = load.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    Some((max.saturating_sub(used), max))
}
