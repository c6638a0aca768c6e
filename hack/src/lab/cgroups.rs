//! The lab's own cgroups, one per node in every hierarchy, v1 and v2. Whatever is in them belongs to the lab.
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

/// The parent of all labs in every hierarchy.
const PARENT: &str = "corten-lab";
/// The cgroup of what runs for the lab on the host: its registry.
pub(crate) const HOST: &str = "host";
/// v2: where a node keeps its daemons, as a cgroup that hands controllers down may have no processes itself.
pub(crate) const DAEMONS: &str = "daemons";
/// Killed processes are gone from their cgroups within this.
const BUSY_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const CPUSET_FILES: [&str; 2] = ["cpuset.mems", "cpuset.cpus"];

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) mount_point: PathBuf,
    /// v1: the mount options that name its controllers; v2: none.
    pub(crate) v1_options: Option<String>,
}

/// All hierarchies of this machine.
pub(crate) fn hierarchies() -> anyhow::Result<Vec<Hierarchy>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    Ok(parse(&mounts))
}

/// `mountinfo` lines look like `36 25 0:31 / /sys/fs/cgroup/memory rw,… - cgroup cgroup rw,memory`.
fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    let line = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mount_point = PathBuf::from(before.split(' ').nth(4)?);
        let mut after = after.split(' ');
        let (kind, _source, options) = (after.next()?, after.next()?, after.next().unwrap_or_default());
        let controllers = options.split(',').filter(|option| *option != "rw" && *option != "ro");
        match kind {
            "cgroup2" => Some(Hierarchy { mount_point, v1_options: None }),
            "cgroup" => Some(Hierarchy { mount_point, v1_options: Some(controllers.collect::<Vec<_>>().join(",")) }),
            _ => None,
        }
    };
    mountinfo.lines().filter_map(line).collect()
}

/// The `cgroup.procs` files that a process writes itself into.
#[derive(Debug, Default)]
pub(crate) struct Entrances {
    /// To be in the cgroup.
    pub(crate) procs: Vec<PathBuf>,
    /// v2: to move on to the leaf for daemons, once the cgroup is the root of a namespace.
    pub(crate) leaves: Vec<PathBuf>,
}

/// Makes `corten-lab/<lab>/<node>` everywhere.
pub(crate) fn make(lab: &str, node: &str) -> anyhow::Result<Entrances> {
    let mut made = Entrances::default();
    for hierarchy in hierarchies()? {
        let mut dir = hierarchy.mount_point.clone();
        for part in [PARENT, lab, node] {
            if hierarchy.v1_options.is_none() {
                delegate(&dir)?;
            }
            let parent = dir.clone();
            dir.push(part);
            make_dir(&dir)?;
            inherit_cpuset(&parent, &dir)?;
        }
        made.procs.push(dir.join("cgroup.procs"));
        if hierarchy.v1_options.is_none() && node != HOST {
            let leaf = dir.join(DAEMONS);
            make_dir(&leaf)?;
            made.leaves.push(leaf.join("cgroup.procs"));
        }
    }
    Ok(made)
}

fn make_dir(dir: &Path) -> anyhow::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot make the cgroup {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// v2: children may only use controllers that the parent hands down.
pub(crate) fn delegate(dir: &Path) -> anyhow::Result<()> {
    let read = |name| fs::read_to_string(dir.join(name)).unwrap_or_default();
    let (has, given) = (read("cgroup.controllers"), read("cgroup.subtree_control"));
    let given: BTreeSet<&str> = given.split_whitespace().collect();
    for controller in has.split_whitespace().filter(|controller| !given.contains(controller)) {
        // One that cannot be handed down (hugetlb with pages in use, say) is one that pods do without.
        fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}")).ok();
    }
    Ok(())
}

/// v1: a new cpuset is empty and takes no process until it is filled.
fn inherit_cpuset(parent: &Path, dir: &Path) -> anyhow::Result<()> {
    for file in CPUSET_FILES {
        let (from, to) = (parent.join(file), dir.join(file));
        let Ok(now) = fs::read_to_string(&to) else { continue };
        let is_v1 = !dir.join("cgroup.controllers").exists();
        if is_v1 && now.trim().is_empty() {
            let value = fs::read_to_string(&from).with_context(|| format!("cannot read {}", from.display()))?;
            fs::write(&to, value).with_context(|| format!("cannot write {}", to.display()))?;
        }
    }
    Ok(())
}

/// Every process of one node, or with `None` of the whole lab.
pub(crate) fn processes(lab: &str, node: Option<&str>) -> anyhow::Result<BTreeSet<i32>> {
    let mut found = BTreeSet::new();
    for dir in dirs(lab, node)? {
        for below in tree(&dir) {
            let text = fs::read_to_string(below.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
    }
    Ok(found)
}

/// Removes the cgroups of a node or of the whole lab; the parent too once no lab is left. `end_all` ends what is in them: a
/// shell that had just been started, by an `up` that was killed, can come in when all others have ended.
pub(crate) fn remove(lab: &str, node: Option<&str>, end_all: impl Fn() -> anyhow::Result<usize>) -> anyhow::Result<()> {
    for dir in dirs(lab, node)? {
        for below in tree(&dir).into_iter().rev() {
            remove_one(&below, &end_all).with_context(|| format!("cannot remove the cgroup {}", below.display()))?;
        }
        if node.is_none()
            && let Some(parent) = dir.parent()
        {
            // Not empty while another lab runs.
            fs::remove_dir(parent).ok();
        }
    }
    Ok(())
}

/// A process that was killed leaves its cgroup a moment after it is gone from the list.
fn remove_one(dir: &Path, end_all: &impl Fn() -> anyhow::Result<usize>) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ResourceBusy && started.elapsed() < BUSY_MAX => {
                end_all()?;
                std::thread::sleep(LOOK_EVERY);
            }
            other => return Ok(other?),
        }
    }
}

/// The cgroup directories that exist for a node or lab.
pub(crate) fn dirs(lab: &str, node: Option<&str>) -> anyhow::Result<Vec<PathBuf>> {
    let dir = |hierarchy: Hierarchy| {
        let lab_dir = hierarchy.mount_point.join(PARENT).join(lab);
        node.map_or_else(|| lab_dir.clone(), |node| lab_dir.join(node))
    };
    Ok(hierarchies()?.into_iter().map(dir).filter(|dir| dir.is_dir()).collect())
}

/// A directory and all below it, parents first.
fn tree(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    let mut next = 0;
    while next < found.len() {
        let entries = fs::read_dir(&found[next]).into_iter().flatten().flatten();
        let below: Vec<PathBuf> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        found.extend(below);
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn hierarchies_are_read_from_mountinfo() {
        let mountinfo = "\
            25 1 0:22 / /proc rw - proc proc rw\n\
            36 25 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
            37 25 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
            38 25 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found: Vec<_> = parse(mountinfo)
            .into_iter()
            .map(|hierarchy| (hierarchy.mount_point.display().to_string(), hierarchy.v1_options))
            .collect();
        let expected = [
            ("/sys/fs/cgroup/cpu,cpuacct".to_owned(), Some("cpu,cpuacct".to_owned())),
            ("/sys/fs/cgroup/systemd".to_owned(), Some("name=systemd".to_owned())),
            ("/sys/fs/cgroup/unified".to_owned(), None),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn who_comes_into_a_cgroup_late_does_not_keep_it() {
        let lab = format!("htlate{}", std::process::id());
        let Ok(entrances) = make(&lab, HOST) else {
            eprintln!("skipped: no cgroup can be made here");
            return;
        };
        let mut late = Command::new("sleep").arg("60").spawn().unwrap();
        for procs in &entrances.procs {
            fs::write(procs, late.id().to_string()).unwrap();
        }
        let removed = remove(&lab, None, || super::super::process::end_all(&lab, None));
        late.kill().unwrap();
        late.wait().unwrap();
        removed.unwrap();
        assert_eq!(dirs(&lab, None).unwrap(), Vec::<PathBuf>::new());
    }
}
