//! Where a lab's files are, and the file that says what was made.
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, statfs};
use serde::{Deserialize, Serialize};

use super::plan::{NodePlan, Plan, bad_name};

/// Where labs live unless CORTEN_LAB_ROOT says otherwise.
const ROOT: &str = "/var/lib/corten-lab";
const SHM_ROOT: &str = "/dev/shm/corten-lab";
/// Three nodes with the demo's images take half of this.
const TMPFS_BYTES_MIN: u64 = 2 * 1024 * 1024 * 1024;
/// A lab of three nodes with the demo takes about this.
const FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;
const STATE_FILE: &str = "state.json";

/// One lab, whether it runs or not.
pub(crate) struct Lab {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
}

/// What `up` set out to make. Names of namespaces, links and cgroups follow from the plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) plan: Plan,
    /// Fingerprint of the programs that run in it.
    pub(crate) programs: String,
    /// Everything was started once.
    pub(crate) complete: bool,
}

/// The directory that holds all labs. In a container, whose root is an overlay, it is on a tmpfs if there is a large one.
pub(crate) fn lab_root() -> PathBuf {
    if let Some(root) = std::env::var_os("CORTEN_LAB_ROOT") {
        return root.into();
    }
    let overlaid = is_overlay(Path::new("/var/lib")).unwrap_or(false);
    if overlaid && is_large_tmpfs(Path::new("/dev/shm")) { SHM_ROOT.into() } else { ROOT.into() }
}

impl Lab {
    /// The lab that CORTEN_LAB names; `corten` if it is not set.
    pub(crate) fn from_env() -> anyhow::Result<Self> {
        Self::named(&std::env::var("CORTEN_LAB").unwrap_or_else(|_| "corten".to_owned()))
    }

    pub(crate) fn named(name: &str) -> anyhow::Result<Self> {
        if let Some(problem) = bad_name(name) {
            bail!(problem);
        }
        Ok(Self { name: name.to_owned(), dir: lab_root().join(name) })
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    pub(crate) fn pki_dir(&self) -> PathBuf {
        self.dir.join("pki")
    }

    pub(crate) fn bin_dir(&self) -> PathBuf {
        self.dir.join("bin")
    }

    /// A node's disk, logs and settings.
    pub(crate) fn node_dir(&self, node: &str) -> PathBuf {
        self.dir.join("nodes").join(node)
    }

    pub(crate) fn log(&self, node: &str, daemon: &str) -> PathBuf {
        self.node_dir(node).join("logs").join(format!("{daemon}.log"))
    }

    /// Logs of the lab before this one, kept by `down`.
    pub(crate) fn last_logs_dir(&self) -> PathBuf {
        lab_root().join(format!("{}-last-logs", self.name))
    }

    /// What is on record, or nothing if no lab of this name was made.
    pub(crate) fn state(&self) -> anyhow::Result<Option<State>> {
        let path = self.dir.join(STATE_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(serde_json::from_str(&text).with_context(|| {
                format!("{} is not what `up` wrote: remove it by hand after you have looked at it", path.display())
            })?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Whole or not at all, so that a killed `up` leaves a file that can be read.
    pub(crate) fn save(&self, state: &State) -> anyhow::Result<()> {
        fs::create_dir_all(&self.dir).with_context(|| format!("cannot make {}", self.dir.display()))?;
        let path = self.dir.join(STATE_FILE);
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec_pretty(state)?)
            .and_then(|()| fs::rename(&new, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// For whoever makes or removes the lab: two at once would take each other's work down. Held until dropped.
    pub(crate) fn lock(&self) -> anyhow::Result<Flock<File>> {
        fs::create_dir_all(lab_root())
            .with_context(|| format!("cannot make {}: are you root?", lab_root().display()))?;
        let path = lab_root().join(format!("{}.lock", self.name));
        let file = File::create(&path).with_context(|| format!("cannot make {}: are you root?", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(lock),
            Err((file, Errno::EWOULDBLOCK)) => {
                say!("  Another hack/up or hack/down is at work on lab {}: this one waits for it.", self.name);
                Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| anyhow!("cannot wait: {error}"))
            }
            Err((_, error)) => Err(anyhow!("cannot lock {}: {error}", path.display())),
        }
    }

    /// The state of a lab that should be there.
    pub(crate) fn running(&self) -> anyhow::Result<State> {
        self.state()?.with_context(|| format!("lab {} does not run: start it with hack/up", self.name))
    }

    /// The state together with one of its nodes.
    pub(crate) fn running_node(&self, name: &str) -> anyhow::Result<(State, NodePlan)> {
        let state = self.running()?;
        let Some(node) = state.plan.node(name).cloned() else {
            let names: Vec<&str> = state.plan.nodes.iter().map(|node| node.name.as_str()).collect();
            bail!("lab {} has no node {name}: it has {}", self.name, names.join(", "));
        };
        Ok((state, node))
    }
}

/// Makes the lab root. containerd's snapshots cannot lie on an overlay file system.
pub(crate) fn prepare_root() -> anyhow::Result<()> {
    let root = lab_root();
    fs::create_dir_all(&root).with_context(|| format!("cannot make {}: are you root?", root.display()))?;
    if is_overlay(&root)? {
        bail!(
            "{} lies on an overlay file system (a container's root?), where containerd cannot work: set \
             CORTEN_LAB_ROOT to a directory on a disk or tmpfs, such as /dev/shm/corten-lab",
            root.display()
        );
    }
    let free = free_bytes(&root)?;
    if free < FREE_BYTES_MIN {
        bail!(
            "{} has {} MB of free space, and a lab takes about {} MB: make room, or set CORTEN_LAB_ROOT to a directory \
             on another disk",
            root.display(),
            free >> 20,
            FREE_BYTES_MIN >> 20
        );
    }
    Ok(())
}

fn free_bytes(path: &Path) -> anyhow::Result<u64> {
    let stat = statfs(path).with_context(|| format!("cannot look at the file system of {}", path.display()))?;
    Ok(stat.blocks_available() * u64::try_from(stat.block_size()).unwrap_or_default())
}

fn is_large_tmpfs(path: &Path) -> bool {
    let is_tmpfs = statfs(path).is_ok_and(|stat| stat.filesystem_type() == TMPFS_MAGIC);
    is_tmpfs && free_bytes(path).is_ok_and(|free| free >= TMPFS_BYTES_MIN)
}

fn is_overlay(path: &Path) -> anyhow::Result<bool> {
    let stat = statfs(path).with_context(|| format!("cannot look at the file system of {}", path.display()))?;
    Ok(stat.filesystem_type() == OVERLAYFS_SUPER_MAGIC)
}
