//! Containers: a writable snapshot of the image, a spec, a process and its logger.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use containerd_client::services::v1::snapshots::{PrepareSnapshotRequest, RemoveSnapshotRequest};
use containerd_client::services::v1::{
    Container as Object, CreateTaskRequest, GetContainerRequest, container::Runtime as ObjectRuntime,
};
use containerd_client::types::Mount;
use jiff::Timestamp;

use super::record::ContainerRecord;
use super::rpc::{Rpc, gone_is_fine};
use super::sandbox::{RUNTIME, spec_any};
use super::stdio::{self, Fifos};
use super::{Containerd, Known, RuntimeError, host, oci, user};
use crate::logs::logger::QUERY_KEY;
use crate::runtime::{ContainerSpec, container_id};

/// Keeps a snapshot from containerd's garbage collector until we remove it ourselves.
const GC_ROOT: &str = "containerd.io/gc.root";
/// `/etc/passwd` and `/etc/group` of images are read up to this.
const USER_FILE_MAX_BYTES: u64 = 1024 * 1024;

impl Containerd {
    pub(super) async fn make_container(&self, sandbox_id: &str, spec: &ContainerSpec) -> Result<String, RuntimeError> {
        let (sandbox, sandbox_pid) = self.running_sandbox(sandbox_id).await?;
        let id = container_id(&sandbox.pod_uid, &spec.name, spec.attempt);
        let record = ContainerRecord::of(sandbox_id, &sandbox, spec, &id);
        let snapshotter = self.snapshotter().await?;
        let known = Known {
            pod_uid: sandbox.pod_uid.clone(),
            is_sandbox: false,
            cgroup: record.cgroup.clone(),
            started_at: None,
            being_made: true,
            failed_at: None,
        };
        let before = self.inner.known.lock().insert(id.clone(), known.clone());
        let root = match self.prepare_root(&id, &spec.image.chain_id, snapshotter).await {
            // Left from an attempt that was cut off, or running: the latter must stay.
            Err(RuntimeError::Exists { .. }) => {
                if self.running_pid(&id).await?.is_some() {
                    before.map(|before| self.inner.known.lock().insert(id.clone(), before));
                    return Err(RuntimeError::Exists { id });
                }
                self.forget(&id).await?;
                self.inner.known.lock().insert(id.clone(), known);
                self.prepare_root(&id, &spec.image.chain_id, snapshotter).await?
            }
            other => other?,
        };
        let made = async {
            let around = oci::Surroundings {
                host: &self.inner.host,
                sandbox_id,
                sandbox: &sandbox,
                sandbox_pid,
                shm: &self.shm_path(sandbox_id),
                identity: identity(spec, &root).await?,
                cgroup: &record.cgroup,
                devices: host::devices(spec)?,
            };
            let oci = oci::container(spec, &around).map_err(RuntimeError::BadSpec)?;
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
            self.create_process(&id, &record, root).await
        };
        if let Err(why) = made.await {
            self.forget(&id).await?;
            return Err(why);
        }
        self.update_known(&id, |known| known.being_made = false);
        Ok(id)
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
        if let Err(RuntimeError::Refused { .. }) = &started {
            self.update_known(id, |known| known.failed_at = Some(now));
            self.end_task(id).await?;
        }
        started.map(drop)
    }

    /// Takes away everything that carries this id: process, container object, snapshot, FIFOs, shared memory.
    pub(super) async fn forget(&self, id: &str) -> Result<(), RuntimeError> {
        self.end_task(id).await?;
        self.delete_object(id).await?;
        let is_sandbox = self.inner.known.lock().get(id).is_some_and(|k| k.is_sandbox);
        if !is_sandbox {
            self.remove_snapshot(id).await?;
        }
        self.unmount_shm_if_there(id);
        // Only containers with standard input have any.
        let _ = std::fs::remove_dir_all(self.fifo_dir(id));
        self.inner.known.lock().remove(id);
        Ok(())
    }

    pub(super) async fn object(&self, id: &str) -> Result<Object, RuntimeError> {
        let mut client = self.rpc().client().containers();
        let request = Rpc::request(GetContainerRequest { id: id.into() });
        let found = self.rpc().ask("asking for the container", id, client.get(request)).await?;
        found.container.ok_or_else(|| RuntimeError::NotFound { id: id.into() })
    }

    async fn prepare_root(&self, id: &str, chain_id: &str, snapshotter: &str) -> Result<Vec<Mount>, RuntimeError> {
        let request = PrepareSnapshotRequest {
            snapshotter: snapshotter.into(),
            key: id.into(),
            parent: chain_id.into(),
            labels: [(GC_ROOT.to_owned(), Timestamp::now().to_string())].into(),
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
    const LOG_DIR_MODE: u32 = 0o755;
    let Some(dir) = log.parent() else { return Err(RuntimeError::BadSpec("the log has no directory".into())) };
    let made = std::fs::DirBuilder::new().recursive(true).mode(LOG_DIR_MODE).create(dir);
    made.map_err(|source| RuntimeError::Io {
        doing: "making the log's directory",
        path: dir.display().to_string(),
        source,
    })
}

/// Looks into the image's own files only where a name has to be found, or groups of a user that is not root.
async fn identity(spec: &ContainerSpec, root: &[Mount]) -> Result<user::Identity, RuntimeError> {
    let image_user = spec.image.config.user.clone();
    let (wanted, layers) = (spec.user.clone(), layers(root));
    let is_root = image_user.is_empty() && wanted.uid.is_none_or(|uid| uid == 0);
    let resolve = move || {
        let (passwd, group) = match is_root {
            true => (String::new(), String::new()),
            false => (read_first(&layers, "etc/passwd"), read_first(&layers, "etc/group")),
        };
        user::resolve(&wanted, &image_user, &passwd, &group).map_err(RuntimeError::BadSpec)
    };
    let resolved = tokio::task::spawn_blocking(resolve).await;
    resolved.map_err(|e| RuntimeError::BadSpec(e.to_string()))?
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

fn read_first(layers: &[PathBuf], name: &str) -> String {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    // A link would be followed on the node and not in the image.
    let open = |dir: &PathBuf| {
        std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(dir.join(name))
            .ok()
    };
    let mut text = Vec::new();
    if let Some(file) = layers.iter().find_map(open) {
        // A file that cannot be read names no users.
        let _ = file.take(USER_FILE_MAX_BYTES).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
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
