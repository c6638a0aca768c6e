//! What a group has used, read from the files of v1 and v2.

use std::path::Path;
use std::time::Duration;

use super::hierarchy::{Hierarchy, field};

/// What a group has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu: Duration,
    pub memory_bytes: u64,
    /// Without the page cache that the kernel would drop first.
    pub memory_working_set_bytes: u64,
    /// Anonymous memory.
    pub memory_rss_bytes: u64,
    /// `None`: as much as the machine has.
    pub memory_limit_bytes: Option<u64>,
    pub page_faults: u64,
    /// Those that had to wait for a disk.
    pub major_page_faults: u64,
    pub pids: u64,
}

impl Usage {
    /// What both have used together; limited only where each of them is.
    pub fn and(&self, other: &Self) -> Self {
        let limits = self.memory_limit_bytes.zip(other.memory_limit_bytes);
        Self {
            cpu: self.cpu + other.cpu,
            memory_bytes: self.memory_bytes + other.memory_bytes,
            memory_working_set_bytes: self.memory_working_set_bytes + other.memory_working_set_bytes,
            memory_rss_bytes: self.memory_rss_bytes + other.memory_rss_bytes,
            memory_limit_bytes: limits.map(|(a, b)| a + b),
            page_faults: self.page_faults + other.page_faults,
            major_page_faults: self.major_page_faults + other.major_page_faults,
            pids: self.pids + other.pids,
        }
    }
}

/// cgroup v1 has a number for "no limit": the largest of whole pages.
const UNLIMITED_V1_BYTES: u64 = 1 << 62;

impl Hierarchy {
    /// `None`: the group does not exist.
    pub fn usage(&self, path: &str) -> Option<Usage> {
        self.usage_of(path, Path::new("/proc/meminfo"))
    }

    fn usage_of(&self, path: &str, meminfo: &Path) -> Option<Usage> {
        match self {
            Self::V1 { .. } => self.usage_v1(path),
            Self::V2 { .. } => self.usage_v2(path, meminfo),
        }
    }

    fn usage_v1(&self, path: &str) -> Option<Usage> {
        let stat = self.read("memory", path, "memory.stat")?;
        let memory = self.number("memory", path, "memory.usage_in_bytes")?;
        let inactive = field(&stat, "total_inactive_file").unwrap_or(0);
        Some(Usage {
            cpu: Duration::from_nanos(self.number("cpuacct", path, "cpuacct.usage").unwrap_or(0)),
            memory_bytes: memory,
            memory_working_set_bytes: memory.saturating_sub(inactive),
            memory_rss_bytes: field(&stat, "total_rss").unwrap_or(0),
            memory_limit_bytes: self
                .number("memory", path, "memory.limit_in_bytes")
                .filter(|bytes| *bytes < UNLIMITED_V1_BYTES),
            page_faults: field(&stat, "total_pgfault").unwrap_or(0),
            major_page_faults: field(&stat, "total_pgmajfault").unwrap_or(0),
            pids: self.number("pids", path, "pids.current").unwrap_or(0),
        })
    }

    fn usage_v2(&self, path: &str, meminfo: &Path) -> Option<Usage> {
        let cpu = self.read("", path, "cpu.stat")?;
        let stat = self.read("", path, "memory.stat").unwrap_or_default();
        let is_root = path.trim_matches('/').is_empty();
        let memory = match self.number("", path, "memory.current") {
            Some(bytes) => bytes,
            // The kernel keeps no such file for the machine as a whole.
            None if is_root => in_use(&std::fs::read_to_string(meminfo).ok()?)?,
            None => 0,
        };
        Some(Usage {
            cpu: Duration::from_micros(field(&cpu, "usage_usec").unwrap_or(0)),
            memory_bytes: memory,
            memory_working_set_bytes: memory.saturating_sub(field(&stat, "inactive_file").unwrap_or(0)),
            memory_rss_bytes: field(&stat, "anon").unwrap_or(0),
            // `max` is no number.
            memory_limit_bytes: self.number("", path, "memory.max"),
            page_faults: field(&stat, "pgfault").unwrap_or(0),
            major_page_faults: field(&stat, "pgmajfault").unwrap_or(0),
            pids: self.number("", path, "pids.current").unwrap_or(0),
        })
    }
}

/// Bytes of memory that are not free, of a text in the form of /proc/meminfo.
fn in_use(meminfo: &str) -> Option<u64> {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    Some((kib("MemTotal")?.saturating_sub(kib("MemFree")?)).saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       1000 kB\nMemFree:         600 kB\nMemAvailable:    900 kB\n";

    #[test]
    fn what_was_used_is_read_from_both_kinds_of_cgroups() {
        let v1 = &[
            (
                "memory/a/memory.stat",
                "rss 1\ninactive_file 2\ntotal_rss 300\ntotal_inactive_file 200\ntotal_pgfault 9\ntotal_pgmajfault 4\n",
            ),
            ("memory/a/memory.usage_in_bytes", "1000\n"),
            ("memory/a/memory.limit_in_bytes", "5000\n"),
            ("cpuacct/a/cpuacct.usage", "5000000000\n"),
            ("pids/a/pids.current", "7\n"),
        ][..];
        let v2 = &[
            ("a/cpu.stat", "usage_usec 5000000\nuser_usec 1\nsystem_usec 2\n"),
            ("a/memory.current", "1000\n"),
            ("a/memory.stat", "anon 300\nfile 500\ninactive_anon 9\ninactive_file 200\npgfault 9\npgmajfault 4\n"),
            ("a/memory.max", "5000\n"),
            ("a/pids.current", "7\n"),
        ][..];
        let root = &[
            ("cgroup.controllers", "cpu memory pids\n"),
            ("cpu.stat", "usage_usec 5000000\n"),
            ("memory.stat", "anon 300\ninactive_file 200\n"),
        ][..];
        let no_memory = &[("a/cpu.stat", "usage_usec 5000000\n")][..];
        let unlimited = &[
            ("memory/a/memory.stat", ""),
            ("memory/a/memory.usage_in_bytes", "1000\n"),
            ("memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
            ("cpuacct/a/cpuacct.usage", "5000000000\n"),
        ][..];
        let some = |memory_bytes, memory_working_set_bytes, memory_rss_bytes, pids| {
            let cpu = Duration::from_secs(5);
            Usage { cpu, memory_bytes, memory_working_set_bytes, memory_rss_bytes, pids, ..Usage::default() }
        };
        let all = |a, b, c, d| Some(some(a, b, c, d));
        let counted =
            |usage| Some(Usage { memory_limit_bytes: Some(5000), page_faults: 9, major_page_faults: 4, ..usage });
        let cases = [
            ("v1", true, v1, "/a", counted(some(1000, 800, 300, 7))),
            ("v1 without a limit", true, unlimited, "/a", all(1000, 1000, 0, 0)),
            ("v1, gone", true, v1, "/b", None),
            ("v2", false, v2, "/a", counted(some(1000, 800, 300, 7))),
            ("v2, gone", false, v2, "/b", None),
            ("v2, the machine", false, root, "/", all(409_600, 409_400, 300, 0)),
            ("v2, memory is not counted here", false, no_memory, "/a", all(0, 0, 0, 0)),
        ];
        for (why, is_v1, files, path, expected) in cases {
            let dir = tempfile::tempdir().unwrap();
            let meminfo = dir.path().join("meminfo");
            std::fs::write(&meminfo, MEMINFO).unwrap();
            for (name, text) in files {
                let file = dir.path().join(name);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, text).unwrap();
            }
            let mount = dir.path().to_owned();
            let hierarchy = match is_v1 {
                true => Hierarchy::V1 { mount, controllers: vec!["memory", "cpuacct", "pids"] },
                false => Hierarchy::V2 { mount },
            };
            assert_eq!(hierarchy.usage_of(path, &meminfo), expected, "{why}");
        }
    }
}
