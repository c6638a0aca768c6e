//! Containers: a writable snapshot of the image, a spec, a process and its logger.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use containerd_client::services::v1::snapshots::{PrepareSnapshotRequest, RemoveSnapshotRequest};
use containerd_client::services::v1::{
    Container as Object, CreateTaskRequest, GetContainerRequest, container::Runtime as ObjectRuntime,
};
use containerd_client::types::Mount;
use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::inventory::EXIT_NOT_STARTED;
use super::record::ContainerRecord;
use super::rpc::{Rpc, gone_is_fine};
use super::sandbox::{RUNTIME, spec_any};
use super::stdio::{self, Fifos};
use super::{Containerd, Known, RuntimeError, capabilities, host, oci, seccomp, user};
use crate::beneath;
use crate::logs::logger::QUERY_KEY;
use crate::runtime::{BadSpec, ContainerSpec, Exit, container_id};

/// Keeps a snapshot from containerd's garbage collector until we remove it ourselves.
const GC_ROOT: &str = "containerd.io/gc.root";
/// Marks our containers' snapshots among all others.
pub(super) const OURS: &str = "corten.io/runtime.snapshot";
/// `/etc/passwd` and `/etc/group` of images are read up to this.
const USER_FILE_MAX_BYTES: u64 = 1024 * 1024;

impl Containerd {
    pub(super) async fn make_container(&self, sandbox_id: &str, spec: &ContainerSpec) -> Result<String, RuntimeError> {
        let (sandbox, pause_pid) = self.raised_sandbox(sandbox_id).await?;
        let target_pid = match &spec.target {
            Some(target) if pause_pid.is_none() && !sandbox.host_pid => Some(self.pid_of_target(target).await?),
            _ => None,
        };
        let id = container_id(&sandbox.pod_uid, &spec.name, spec.attempt);
        let record = ContainerRecord::of(sandbox_id, &sandbox, spec, &id);
        let snapshotter = self.snapshotter().await?;
        let mut known = Known { being_made: true, ..Known::new(&sandbox.pod_uid, false, record.cgroup.clone()) };
        let before = {
            let mut all = self.inner.known.lock();
            // Whoever takes away what was there before does so before anything is made anew.
            known.turn = all.get(&id).map_or_else(|| known.turn.clone(), |before| before.turn.clone());
            all.insert(id.clone(), known.clone())
        };
        let root = match self.fresh_root(&id, &spec.image.chain_id, snapshotter, &known).await {
            Ok(root) => root,
            Err(why) => {
                // What was there is there still.
                match before {
                    Some(before) => drop(self.inner.known.lock().insert(id, before)),
                    None => drop(self.inner.known.lock().remove(&id)),
                }
                return Err(why);
            }
        };
        let made = async {
            let capabilities = capabilities::of(&spec.security, &self.inner.host.capabilities)?;
            let has = capabilities.bounding().iter().flatten().cloned().collect();
            let around = oci::Surroundings {
                host: &self.inner.host,
                sandbox_id,
                sandbox: &sandbox,
                pid_of: pause_pid.or(target_pid),
                shared: &self.shared(sandbox_id),
                identity: identity(spec, &root).await?,
                seccomp: seccomp::of(&spec.security, &has)?,
                capabilities,
                cgroup: &record.cgroup,
                devices: host::devices(spec),
            };
            let oci = oci::container(spec, &around)?;
            let object = Object {
                id: id.clone(),
                labels: record.to_labels(),
                image: spec.image.name.clone(),
                runtime: Some(ObjectRuntime { name: RUNTIME.into(), options: None }),
                spec: Some(spec_any(&oci)?),
                snapshotter: snapshotter.into(),
                snapshot_key: id.clone(),
                ..Object::default()
            };
            self.create_object(object).await?;
            self.create_process(&id, &record, root).await?;
            // Its number could have become another process's while this one was made.
            match spec.target.as_ref().filter(|_| target_pid.is_some()) {
                Some(target) if Some(self.pid_of_target(target).await?) != target_pid => {
                    Err(RuntimeError::NotRunning { id: target.clone() })
                }
                _ => Ok(()),
            }
        };
        if let Err(why) = made.await {
            self.clear_away(&id).await;
            return Err(why);
        }
        self.update_known(&id, |known| known.being_made = false);
        Ok(id)
    }

    async fn pid_of_target(&self, id: &str) -> Result<u32, RuntimeError> {
        self.running_pid(id).await?.ok_or_else(|| RuntimeError::NotRunning { id: id.into() })
    }

    async fn create_process(&self, id: &str, record: &ContainerRecord, rootfs: Vec<Mount>) -> Result<(), RuntimeError> {
        make_log_dir(&record.log_path)?;
        let logger = logger_address(&self.inner.config.logger, &record.log_path);
        let mut request = CreateTaskRequest {
            container_id: id.into(),
            rootfs,
            terminal: record.tty,
            stdout: logger.clone(),
            stderr: if record.tty { String::new() } else { logger },
            ..CreateTaskRequest::default()
        };
        if !record.stdin {
            return self.create_task(request).await.map(drop);
        }
        let fifos = Fifos::make(&self.fifo_dir(id))?;
        request.stdin = fifos.stdin.display().to_string();
        if record.tty {
            return self.create_task(request).await.map(drop);
        }
        // The shim gives a process with a `binary://` logger no standard input, so here the logger is ours to start.
        request.stdout = fifos.stdout.display().to_string();
        request.stderr = fifos.stderr.display().to_string();
        let outputs = fifos.open_outputs()?;
        self.create_task(request).await?;
        stdio::start_logger(&self.inner.config.logger, &record.log_path, outputs).await
    }

    pub(super) async fn run_container(&self, id: &str) -> Result<(), RuntimeError> {
        let now = Timestamp::now();
        // Before the start: an exit can be reported before the start is answered.
        self.update_known(id, |known| known.started_at = Some(now));
        let started = self.start_process(id, "").await;
        if started.as_ref().is_err_and(RuntimeError::is_refusal) {
            let (started_at, finished_at) = (now, now);
            let exit = Exit { exit_code: EXIT_NOT_STARTED, started_at, finished_at, oom_killed: false, unseen: false };
            let exit = self.note_exit(id, exit);
            self.put_on_record(id, &exit).await?;
            self.end_task(id).await?;
        }
        started.map(drop)
    }

    /// Takes away everything that carries this id: process, container object, snapshot, FIFOs, shared memory.
    pub(super) async fn forget(&self, id: &str) -> Result<(), RuntimeError> {
        let turn = self.turn(id);
        let _turn = match &turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        self.end_task(id).await?;
        self.delete_object(id).await?;
        let is_sandbox = self.inner.known.lock().get(id).is_some_and(|k| k.is_sandbox);
        if !is_sandbox {
            self.remove_snapshot(id).await?;
        }
        self.shared(id).release()?;
        self.remove_fifos(id)?;
        self.inner.known.lock().remove(id);
        Ok(())
    }

    /// After a failure, whose reason is what the caller wants to hear. What stays is replaced by the next attempt.
    pub(super) async fn clear_away(&self, id: &str) {
        if let Err(why) = self.forget(id).await {
            tracing::warn!(id, why = corten_api::error::with_causes(&why), "could not clear away what was half made");
        }
    }

    /// Only containers with standard input have any.
    fn remove_fifos(&self, id: &str) -> Result<(), RuntimeError> {
        let dir = self.fifo_dir(id);
        match std::fs::remove_dir_all(&dir) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(RuntimeError::Io { doing: "removing the FIFOs in", path: dir.display().to_string(), source })
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn object(&self, id: &str) -> Result<Object, RuntimeError> {
        let mut client = self.rpc().client().containers();
        let request = Rpc::request(GetContainerRequest { id: id.into() });
        let found = self.rpc().ask("asking for the container", id, client.get(request)).await?;
        found.container.ok_or_else(|| RuntimeError::NotFound { id: id.into() })
    }

    /// What an attempt that was cut off has left makes way; what runs stays.
    async fn fresh_root(
        &self,
        id: &str,
        chain_id: &str,
        snapshotter: &str,
        known: &Known,
    ) -> Result<Vec<Mount>, RuntimeError> {
        match self.prepare_root(id, chain_id, snapshotter).await {
            Err(RuntimeError::Exists { .. }) => {}
            other => return other,
        }
        if self.running_pid(id).await?.is_some() {
            return Err(RuntimeError::Exists { id: id.into() });
        }
        self.forget(id).await?;
        self.inner.known.lock().insert(id.into(), known.clone());
        self.prepare_root(id, chain_id, snapshotter).await
    }

    async fn prepare_root(&self, id: &str, chain_id: &str, snapshotter: &str) -> Result<Vec<Mount>, RuntimeError> {
        let request = PrepareSnapshotRequest {
            snapshotter: snapshotter.into(),
            key: id.into(),
            parent: chain_id.into(),
            labels: [(GC_ROOT, Timestamp::now().to_string()), (OURS, "root".to_owned())]
                .map(|(key, value)| (key.to_owned(), value))
                .into(),
        };
        let mut client = self.rpc().client().snapshots();
        match self.rpc().ask("preparing the root file system", id, client.prepare(Rpc::request(request))).await {
            Ok(prepared) => Ok(prepared.mounts),
            Err(RuntimeError::NotFound { .. }) => Err(RuntimeError::Refused {
                doing: "preparing the root file system",
                message: "the image was removed from the node meanwhile".into(),
            }),
            Err(e) => Err(e),
        }
    }

    async fn remove_snapshot(&self, key: &str) -> Result<(), RuntimeError> {
        let snapshotter = self.snapshotter().await?.to_owned();
        let mut client = self.rpc().client().snapshots();
        let request = Rpc::request(RemoveSnapshotRequest { snapshotter, key: key.into() });
        gone_is_fine(self.rpc().ask("removing the root file system", key, client.remove(request)).await)
    }

    pub(super) fn update_known(&self, id: &str, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.inner.known.lock().get_mut(id) {
            change(known);
        }
    }

    pub(super) fn fifo_dir(&self, id: &str) -> PathBuf {
        self.inner.config.state_dir.join("io").join(id)
    }
}

/// `binary:///path/to/logger?log=/path`; containerd allows one query key.
fn logger_address(logger: &Path, log: &Path) -> String {
    let query =
        form_urlencoded::Serializer::new(String::new()).append_pair(QUERY_KEY, &log.display().to_string()).finish();
    format!("binary://{}?{query}", logger.display())
}

fn make_log_dir(log: &Path) -> Result<(), RuntimeError> {
    crate::logs::place::make_dir_of(log).map_err(|source| RuntimeError::Io {
        doing: "making the directory of",
        path: log.display().to_string(),
        source,
    })
}

/// Looks into the image's own files only where a name has to be found, or groups of a user that is not root.
async fn identity(spec: &ContainerSpec, root: &[Mount]) -> Result<user::Identity, RuntimeError> {
    let image_user = spec.image.config.user.clone();
    let (wanted, layers) = (spec.user.clone(), layers(root));
    let is_root = image_user.is_empty() && wanted.uid.is_none_or(|uid| uid == 0);
    let resolve = move || {
        let read = |name| match is_root {
            true => Ok(String::new()),
            false => read_first(&layers, name).map_err(|source| BadSpec::UserFile { name, source }),
        };
        let (passwd, group) = (read("etc/passwd")?, read("etc/group")?);
        user::resolve(&wanted, &image_user, &passwd, &group)
    };
    let resolved = tokio::task::spawn_blocking(resolve).await;
    Ok(resolved.map_err(RuntimeError::internal("looking for the user in the image"))??)
}

/// The directories that make up a root file system, topmost first, without mounting it.
fn layers(root: &[Mount]) -> Vec<PathBuf> {
    let Some(mount) = root.first() else { return Vec::new() };
    if mount.r#type != "overlay" {
        return vec![mount.source.clone().into()];
    }
    let lower = mount.options.iter().find_map(|o| o.strip_prefix("lowerdir="));
    lower.into_iter().flat_map(|dirs| dirs.split(':')).map(PathBuf::from).collect()
}

/// The file as the container will see it; a file there is not is an empty one.
fn read_first(layers: &[PathBuf], name: &str) -> std::io::Result<String> {
    use std::io::Read;
    for dir in layers {
        let file = match find_in(dir, Path::new(name)) {
            Ok(file) => file,
            Err(Errno::ENOENT | Errno::ENOTDIR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        if is_whiteout(&file)? {
            break;
        }
        let mut bytes = Vec::new();
        let file = beneath::open_regular(&file, OFlag::O_RDONLY)?;
        file.take(USER_FILE_MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > USER_FILE_MAX_BYTES {
            let why = format!("it is larger than {USER_FILE_MAX_BYTES} bytes");
            return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why));
        }
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    Ok(String::new())
}

/// The layer's mark that the file was removed from those below: a device 0:0.
fn is_whiteout(held: &OwnedFd) -> nix::Result<bool> {
    let stat = nix::sys::stat::fstat(held)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    Ok(kind == SFlag::S_IFCHR && stat.st_rdev == 0)
}

/// Only a hold on the file (`O_PATH`): an image may bring devices. Links are followed within the layer, never on the node.
fn find_in(layer: &Path, name: &Path) -> nix::Result<OwnedFd> {
    use nix::fcntl::{OpenHow, ResolveFlag, openat2};
    let root = nix::fcntl::open(layer, OFlag::O_PATH | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())?;
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, name, how)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loggers_address_has_one_key_and_escapes_the_path() {
        let address = logger_address(Path::new("/usr/bin/corten-kubelet"), Path::new("/var/log/pods/a b&c/0.log"));
        assert_eq!(address, "binary:///usr/bin/corten-kubelet?log=%2Fvar%2Flog%2Fpods%2Fa+b%26c%2F0.log");
    }

    #[test]
    fn a_users_file_is_read_as_the_container_sees_it() {
        let image = tempfile::tempdir().unwrap();
        let layer = |name: &str| {
            let dir = image.path().join(name);
            std::fs::create_dir_all(dir.join("etc")).unwrap();
            dir
        };
        let (bottom, linked, outside, large) = (layer("bottom"), layer("linked"), layer("outside"), layer("large"));
        std::fs::write(bottom.join("etc/passwd"), "from the bottom").unwrap();
        std::fs::write(linked.join("users"), "behind a link").unwrap();
        std::os::unix::fs::symlink("/users", linked.join("etc/passwd")).unwrap();
        std::os::unix::fs::symlink("/proc/self/status", outside.join("etc/passwd")).unwrap();
        std::fs::write(large.join("etc/passwd"), vec![b'x'; 2 << 20]).unwrap();
        let (none, pipe, removed) = (layer("none"), layer("pipe"), layer("removed"));
        nix::unistd::mkfifo(&pipe.join("etc/passwd"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Only root may make this one.
        let mark = nix::sys::stat::mknod(&removed.join("etc/passwd"), SFlag::S_IFCHR, nix::sys::stat::Mode::empty(), 0);
        let removed = if mark.is_ok() { &removed } else { &none };
        let read = |layers: &[&PathBuf]| {
            let layers: Vec<PathBuf> = layers.iter().map(|dir| (*dir).clone()).collect();
            read_first(&layers, "etc/passwd").map_err(|why| why.kind())
        };
        let cases = [
            ("the first that has it", read(&[&none, &bottom]), Ok("from the bottom")),
            ("none has it", read(&[&none]), Ok("")),
            ("a link inside the image", read(&[&linked, &bottom]), Ok("behind a link")),
            ("a link to a file of the node leads nowhere", read(&[&outside]), Ok("")),
            (
                "a layer above removed it",
                read(&[removed, &bottom]),
                Ok(if mark.is_ok() { "" } else { "from the bottom" }),
            ),
            ("a pipe is not opened", read(&[&pipe]), Err(std::io::ErrorKind::InvalidInput)),
            ("cut off it would name other users", read(&[&large]), Err(std::io::ErrorKind::FileTooLarge)),
        ];
        for (why, got, expected) in cases {
            assert_eq!(got, expected.map(String::from), "{why}");
        }
    }

    #[test]
    fn layers_of_a_root() {
        let mount = |kind: &str, source: &str, options: &[&str]| Mount {
            r#type: kind.into(),
            source: source.into(),
            target: String::new(),
            options: options.iter().map(|o| (*o).to_owned()).collect(),
        };
        let overlay = mount("overlay", "overlay", &["workdir=/w", "upperdir=/u", "lowerdir=/2:/1"]);
        assert_eq!(layers(&[overlay]), [PathBuf::from("/2"), "/1".into()]);
        assert_eq!(layers(&[mount("bind", "/s/3", &["rbind"])]), [PathBuf::from("/s/3")]);
    }
}
