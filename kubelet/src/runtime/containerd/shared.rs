//! What the containers of a pod share without any process: UTS and IPC namespaces and shared memory, held open by mounts.

use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use nix::sched::{CloneFlags, setns, unshare};

use super::RuntimeError;
use super::record::SandboxRecord;
use super::sysctls::{self, Separate};
use crate::network::netns;
use crate::runtime::{Network, SandboxSpec};

const SHM_OPTIONS: &str = "mode=1777,size=65536k";
const DIR_MODE: u32 = 0o700;

/// The directory of one sandbox, and what is mounted in it. It is there as long as the sandbox is up.
pub(super) struct Shared {
    dir: PathBuf,
}

impl Shared {
    pub(super) fn new(state_dir: &Path, sandbox_id: &str) -> Self {
        Self { dir: state_dir.join("sandboxes").join(sandbox_id) }
    }

    pub(super) fn uts(&self) -> PathBuf {
        self.dir.join("uts")
    }

    pub(super) fn ipc(&self) -> PathBuf {
        self.dir.join("ipc")
    }

    /// What the containers have as `/dev/shm`.
    pub(super) fn shm(&self) -> PathBuf {
        self.dir.join("shm")
    }

    /// Whether all is there that such a sandbox holds. A reboot takes the mounts away and leaves the directory.
    pub(super) fn is_held(&self, sandbox: &SandboxRecord) -> bool {
        let network = match &sandbox.network {
            Network::Host => true,
            Network::Pod { netns } => netns::is_held(netns) && netns::is_held(&self.uts()),
        };
        network && self.dir.is_dir() && (sandbox.host_ipc || netns::is_held(&self.ipc()))
    }

    /// Makes the namespaces that the pod does not share with the node. Blocks.
    pub(super) fn make(&self, spec: &SandboxSpec) -> Result<(), RuntimeError> {
        let sysctls = sysctls::of(spec)?;
        self.hold(spec, &sysctls).map_err(|source| RuntimeError::Io {
            doing: "making the pod's namespaces in",
            path: self.dir.display().to_string(),
            source,
        })
    }

    fn hold(&self, spec: &SandboxSpec, sysctls: &[(PathBuf, String)]) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(&self.dir)?;
        let separate = Separate::of(spec);
        if separate.ipc {
            std::fs::create_dir(self.shm())?;
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            nix::mount::mount(Some("shm"), &self.shm(), Some("tmpfs"), flags, Some(SHM_OPTIONS))?;
        }
        netns::on_own_thread(|| {
            if let Network::Pod { netns } = &spec.network {
                setns(File::open(netns)?, CloneFlags::CLONE_NEWNET)?;
                unshare(CloneFlags::CLONE_NEWUTS)?;
                nix::unistd::sethostname(&spec.hostname)?;
            }
            if separate.ipc {
                unshare(CloneFlags::CLONE_NEWIPC)?;
            }
            // The kernel gives each thread the values of its own namespaces.
            for (path, value) in sysctls {
                std::fs::write(path, value)
                    .map_err(|e| io::Error::new(e.kind(), format!("writing {value:?} to {}: {e}", path.display())))?;
            }
            // Last of all: what is held is whole, however early we are cut off.
            if separate.network {
                hold_open("uts", &self.uts())?;
            }
            if separate.ipc {
                hold_open("ipc", &self.ipc())?;
            }
            Ok(())
        })
    }

    /// Lets all of it go; what still uses it keeps it. What is gone is fine, and half of it too.
    pub(super) fn release(&self) -> Result<(), RuntimeError> {
        let failed = |source| RuntimeError::Io {
            doing: "releasing the pod's namespaces in",
            path: self.dir.display().to_string(),
            source,
        };
        for path in [self.uts(), self.ipc(), self.shm()] {
            match nix::mount::umount2(&path, MntFlags::MNT_DETACH) {
                // Not mounted, or not there.
                Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
                Err(e) => return Err(failed(e.into())),
            }
        }
        match std::fs::remove_dir_all(&self.dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed(e)),
            _ => Ok(()),
        }
    }
}

/// Holds the thread's own namespace of that kind open at `path`.
fn hold_open(kind: &str, path: &Path) -> io::Result<()> {
    File::create(path)?;
    let namespace = format!("/proc/thread-self/ns/{kind}");
    Ok(nix::mount::mount(Some(namespace.as_str()), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}
