//! The image registry of a lab: Debian's docker-registry on the host's lab address, over storage shared by all labs.
use std::fs::{self, OpenOptions};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use super::ready::wait_until;

const READY_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const CONNECT_WITHIN: Duration = Duration::from_millis(500);

/// Starts a registry and writes the shell's process id into the given cgroup files first.
const ENTER: &str = "config=$1; shift; for procs in \"$@\"; do echo $$ > \"$procs\" || exit 1; done; \
    exec docker-registry serve \"$config\"";

/// A registry process.
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    child: Child,
}

/// Images are made once and kept here between labs.
pub(crate) fn storage_dir() -> PathBuf {
    std::env::var_os("CORTEN_LAB_CACHE").map_or_else(|| "/var/cache/corten-lab".into(), PathBuf::from)
}

impl Registry {
    /// Starts it with its files in `dir`; `procs` are the cgroups it shall be in.
    pub(crate) fn start(dir: &Path, address: SocketAddr, procs: &[PathBuf]) -> anyhow::Result<Self> {
        let storage = storage_dir().join("registry");
        fs::create_dir_all(&storage).with_context(|| format!("cannot make {}", storage.display()))?;
        fs::create_dir_all(dir)?;
        let config = dir.join("registry.yml");
        fs::write(&config, config_yml(&storage, address))?;
        let log = OpenOptions::new().create(true).append(true).open(dir.join("registry.log"))?;
        let mut command = Command::new("sh");
        command.args(["-c", ENTER, "sh"]).arg(&config).args(procs).current_dir("/");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().context("cannot run sh")?;
        Ok(Self { address, child })
    }

    pub(crate) fn wait_ready(&self) -> anyhow::Result<()> {
        let what = format!("the image registry answers on {}", self.address);
        wait_until(&what, READY_WITHIN, LOOK_EVERY, || {
            Ok(TcpStream::connect_timeout(&self.address, CONNECT_WITHIN).ok().map(drop))
        })
    }

    /// Ends it; for one that serves a single command.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().context("cannot end the registry")?;
        self.child.wait().map(drop).context("cannot wait for the registry")
    }
}

fn config_yml(storage: &Path, address: SocketAddr) -> String {
    format!(
        "version: 0.1\n\
         log: {{level: warn, accesslog: {{disabled: true}}}}\n\
         storage:\n  filesystem: {{rootdirectory: \"{}\"}}\n  delete: {{enabled: true}}\n  \
         maintenance: {{uploadpurging: {{enabled: false}}}}\n\
         http: {{addr: \"{address}\"}}\n",
        storage.display()
    )
}
