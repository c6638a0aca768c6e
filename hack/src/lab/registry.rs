//! The image registry of a lab: Debian's docker-registry on the host's lab address, over storage shared by all labs.
use std::fs::{self, OpenOptions};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use super::node::tail;
use super::ready::wait_until;

const READY_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const CONNECT_WITHIN: Duration = Duration::from_millis(500);
const LOG_TAIL_LINES: usize = 5;

/// Starts a registry and writes the shell's process id into the given cgroup files first.
const ENTER: &str = "config=$1; shift; for procs in \"$@\"; do echo $$ > \"$procs\" || exit 1; done; \
    exec docker-registry serve \"$config\"";

/// A registry process.
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    child: Child,
    log: PathBuf,
}

/// Images are made once and kept here between labs.
pub(crate) fn storage_dir() -> PathBuf {
    std::env::var_os("CORTEN_LAB_CACHE").map_or_else(|| "/var/cache/corten-lab".into(), PathBuf::from)
}

impl Registry {
    /// Starts it with its files in `dir`; `procs` are the cgroups it shall be in.
    pub(crate) fn start(dir: &Path, address: SocketAddr, procs: &[PathBuf]) -> anyhow::Result<Self> {
        // Whoever listens there would be taken for ours, and pods would get its images.
        TcpListener::bind(address).with_context(|| {
            format!(
                "the image registry cannot listen on {address}; `ss -ltnp 'sport = :{}'` says who does",
                address.port()
            )
        })?;
        let storage = storage_dir().join("registry");
        fs::create_dir_all(&storage).with_context(|| format!("cannot make {}", storage.display()))?;
        fs::create_dir_all(dir)?;
        let config = dir.join("registry.yml");
        fs::write(&config, config_yml(&storage, address))?;
        let log_path = dir.join("registry.log");
        let log = OpenOptions::new().create(true).append(true).open(&log_path)?;
        let mut command = Command::new("sh");
        command.args(["-c", ENTER, "sh"]).arg(&config).args(procs).current_dir("/");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().context("cannot run sh")?;
        Ok(Self { address, child, log: log_path })
    }

    /// Until it answers, or has ended.
    pub(crate) fn wait_ready(&mut self) -> anyhow::Result<()> {
        let what = format!("the image registry answers on {}", self.address);
        let (address, child) = (self.address, &mut self.child);
        let ended = wait_until(&what, READY_WITHIN, LOOK_EVERY, || {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(Some(status)));
            }
            Ok(TcpStream::connect_timeout(&address, CONNECT_WITHIN).ok().map(|_| None))
        })?;
        if let Some(status) = ended {
            bail!("the image registry ended ({status}); its log says:\n{}", tail(&self.log, LOG_TAIL_LINES));
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_said_before_anything_is_started() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let dir = std::env::temp_dir().join(format!("corten-registry-{}", std::process::id()));
        let error = Registry::start(&dir, address, &[]).err().unwrap().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("ss -ltnp"), "{error}");
        assert!(!dir.exists());
    }
}
