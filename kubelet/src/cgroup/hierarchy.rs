//! The mounted cgroup hierarchies, v1 and v2 alike: making groups, setting limits.

use std::io;
use std::path::{Path, PathBuf};

use super::{CPU_PERIOD_US, CgroupError, PodLimits, cpu_quota_us};

const MOUNT: &str = "/sys/fs/cgroup";
/// v2 controllers that pods are limited by.
const V2_CONTROLLERS: &[&str] = &["cpu", "memory", "pids", "cpuset", "io"];
/// v1 hierarchies in which a pod gets a group. runc makes the containers' groups in all of them.
const V1_CONTROLLERS: &[&str] =
    &["cpu", "cpuacct", "memory", "pids", "cpuset", "blkio", "devices", "freezer", "systemd"];

/// Which kind the node has, found once. Where both are mounted (hybrid), v1 is the one with the controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    V1 { mount: PathBuf, controllers: Vec<&'static str> },
    V2 { mount: PathBuf },
}

impl Hierarchy {
    pub fn detect() -> Result<Self, CgroupError> {
        Self::detect_at(Path::new(MOUNT))
    }

    fn detect_at(mount: &Path) -> Result<Self, CgroupError> {
        if mount.join("cgroup.controllers").is_file() {
            return Ok(Self::V2 { mount: mount.into() });
        }
        let there = |name: &&&str| mount.join(name).is_dir();
        let controllers: Vec<_> = V1_CONTROLLERS.iter().filter(there).copied().collect();
        if controllers.contains(&"memory") {
            Ok(Self::V1 { mount: mount.into(), controllers })
        } else {
            Err(CgroupError::NotMounted)
        }
    }

    /// Makes the group, and its parents, in every hierarchy. `path` is from the hierarchy's root.
    pub fn ensure(&self, path: &str) -> Result<(), CgroupError> {
        match self {
            Self::V1 { mount, controllers } => {
                controllers.iter().try_for_each(|controller| ensure_v1(&mount.join(controller), path))
            }
            Self::V2 { mount } => ensure_v2(mount, path),
        }
    }

    pub fn set_limits(&self, path: &str, limits: &PodLimits) -> Result<(), CgroupError> {
        let quota = limits.cpu_limit_millis.map(cpu_quota_us);
        match self {
            Self::V1 { .. } => {
                self.write("cpu", path, "cpu.shares", limits.cpu_shares.map(|s| s.to_string()))?;
                self.write("cpu", path, "cpu.cfs_period_us", quota.map(|_| CPU_PERIOD_US.to_string()))?;
                self.write("cpu", path, "cpu.cfs_quota_us", quota.map(|q| q.to_string()))?;
                self.write("memory", path, "memory.limit_in_bytes", limits.memory_limit_bytes.map(|b| b.to_string()))?;
                self.write("pids", path, "pids.max", limits.pids_limit.map(|n| n.to_string()))
            }
            Self::V2 { .. } => {
                self.write("", path, "cpu.weight", limits.cpu_shares.map(|s| v2_weight(s).to_string()))?;
                self.write("", path, "cpu.max", quota.map(|q| format!("{q} {CPU_PERIOD_US}")))?;
                self.write("", path, "memory.max", limits.memory_limit_bytes.map(|b| b.to_string()))?;
                self.write("", path, "pids.max", limits.pids_limit.map(|n| n.to_string()))
            }
        }
    }

    /// Removes a group and the groups below it. One that is gone is fine; one with processes inside is an error.
    pub fn remove(&self, path: &str) -> Result<(), CgroupError> {
        self.places(path).iter().try_for_each(|dir| {
            remove_tree(dir).map_err(|source| CgroupError::Io {
                doing: "removing the cgroup",
                path: dir.clone(),
                source,
            })
        })
    }

    /// The names of the groups directly below.
    pub fn children(&self, path: &str) -> Vec<String> {
        let Some(dir) = self.places(path).into_iter().next_back() else { return Vec::new() };
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let dirs = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
        dirs.filter_map(|e| e.file_name().into_string().ok()).collect()
    }

    /// How many processes of the group the kernel killed for want of memory. 0 where the group is gone.
    pub fn oom_kills(&self, path: &str) -> u64 {
        let text = match self {
            Self::V1 { .. } => self.read("memory", path, "memory.oom_control"),
            Self::V2 { .. } => self.read("", path, "memory.events"),
        };
        text.and_then(|t| field(&t, "oom_kill")).unwrap_or(0)
    }

    fn places(&self, path: &str) -> Vec<PathBuf> {
        match self {
            Self::V1 { mount, controllers } => controllers.iter().map(|c| below(&mount.join(c), path)).collect(),
            Self::V2 { mount } => vec![below(mount, path)],
        }
    }
    fn file(&self, controller: &str, path: &str, name: &str) -> PathBuf {
        match self {
            Self::V1 { mount, .. } => below(&mount.join(controller), path).join(name),
            Self::V2 { mount } => below(mount, path).join(name),
        }
    }
    pub(super) fn read(&self, controller: &str, path: &str, name: &str) -> Option<String> {
        std::fs::read_to_string(self.file(controller, path, name)).ok()
    }
    pub(super) fn number(&self, controller: &str, path: &str, name: &str) -> Option<u64> {
        self.read(controller, path, name)?.trim().parse().ok()
    }
    fn write(&self, controller: &str, path: &str, name: &str, value: Option<String>) -> Result<(), CgroupError> {
        let Some(value) = value else { return Ok(()) };
        let file = self.file(controller, path, name);
        std::fs::write(&file, value).map_err(|source| CgroupError::Io { doing: "setting", path: file, source })
    }
}

/// runc's own conversion, so that a pod and its containers weigh alike.
fn v2_weight(shares: u64) -> u64 {
    const SHARES: (u64, u64) = (2, 262_144);
    let shares = shares.clamp(SHARES.0, SHARES.1);
    1 + ((shares - 2) * 9999) / 262_142
}

fn below(mount: &Path, path: &str) -> PathBuf {
    mount.join(path.trim_start_matches('/'))
}

/// The number after `key ` at the beginning of a line.
pub(super) fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn make_dir(dir: &Path) -> Result<(), CgroupError> {
    match std::fs::create_dir(dir) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(CgroupError::Io { doing: "making the cgroup", path: dir.into(), source })
        }
        _ => Ok(()),
    }
}

fn steps(mount: &Path, path: &str) -> Vec<PathBuf> {
    let parts = path.split('/').filter(|p| !p.is_empty());
    parts
        .scan(mount.to_path_buf(), |dir, part| {
            dir.push(part);
            Some(dir.clone())
        })
        .collect()
}

fn ensure_v1(mount: &Path, path: &str) -> Result<(), CgroupError> {
    for dir in steps(mount, path) {
        make_dir(&dir)?;
        // A new cpuset group is empty and lets no process in until it has the parent's.
        for name in ["cpuset.cpus", "cpuset.mems"] {
            let (file, parent) = (dir.join(name), dir.with_file_name(name));
            let is_empty = std::fs::read_to_string(&file).is_ok_and(|text| text.trim().is_empty());
            if is_empty && let Ok(inherited) = std::fs::read_to_string(parent) {
                std::fs::write(&file, inherited.trim()).map_err(|source| CgroupError::Io {
                    doing: "setting",
                    path: file,
                    source,
                })?;
            }
        }
    }
    Ok(())
}

fn ensure_v2(mount: &Path, path: &str) -> Result<(), CgroupError> {
    let mut parent = mount.to_path_buf();
    for dir in steps(mount, path) {
        let available = std::fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
        let enabled = std::fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
        let has = |list: &str, name: &str| list.split_whitespace().any(|n| n == name);
        for name in V2_CONTROLLERS.iter().filter(|name| has(&available, name) && !has(&enabled, name)) {
            let file = parent.join("cgroup.subtree_control");
            std::fs::write(&file, format!("+{name}")).map_err(|source| CgroupError::Io {
                doing: "passing controllers down in",
                path: file,
                source,
            })?;
        }
        make_dir(&dir)?;
        parent = dir;
    }
    Ok(())
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        remove_tree(&entry.path())?;
    }
    match std::fs::remove_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        for (shares, weight) in [(2, 1), (1024, 39), (262_144, 10_000), (0, 1)] {
            assert_eq!(v2_weight(shares), weight, "{shares}");
        }
    }

    #[test]
    fn fields_are_found_by_whole_name() {
        let text = "total_rss_huge 5\ntotal_rss 7\noom_kill 1\n";
        assert_eq!((field(text, "total_rss"), field(text, "rss"), field(text, "oom_kill")), (Some(7), None, Some(1)));
    }

    #[test]
    fn neither_kind_mounted_is_an_error_that_says_so() {
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(Hierarchy::detect_at(empty.path()), Err(CgroupError::NotMounted)));
    }

    /// On the real kernel, where the tests may.
    #[test]
    fn a_pods_group_is_made_limited_and_removed() {
        let path = format!("/corten-test-{}/kubepods/burstable/podx", std::process::id());
        let top = path.split('/').take(2).collect::<Vec<_>>().join("/");
        let Ok(hierarchy) = Hierarchy::detect() else { return eprintln!("skipped: no cgroups here") };
        if let Err(why) = hierarchy.ensure(&path) {
            return eprintln!("skipped: cgroups are not ours to make: {why}");
        }
        hierarchy.ensure(&path).unwrap();
        let limits = PodLimits {
            cpu_shares: Some(512),
            cpu_limit_millis: Some(500),
            memory_limit_bytes: Some(64 << 20),
            pids_limit: Some(100),
        };
        hierarchy.set_limits(&path, &limits).unwrap();
        assert_eq!(hierarchy.usage(&path).unwrap().pids, 0);
        assert_eq!(hierarchy.oom_kills(&path), 0);
        assert_eq!(hierarchy.children(path.trim_end_matches("/podx")), ["podx"]);
        hierarchy.remove(&top).unwrap();
        hierarchy.remove(&top).unwrap();
        assert_eq!(hierarchy.usage(&path), None);
    }
}
