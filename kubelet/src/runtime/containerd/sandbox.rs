//! Sandboxes: a pause process that holds a pod's namespaces, and the pod's shared memory.

use std::path::PathBuf;

use containerd_client::services::v1::{
    Container as Object, CreateContainerRequest, CreateTaskRequest, ListContainersRequest,
    container::Runtime as ObjectRuntime,
};
use futures::future::try_join_all;
use jiff::Timestamp;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};

use super::record::{self, Record, SandboxRecord};
use super::rpc::Rpc;
use super::{Containerd, Known, RuntimeError, oci};
use crate::runtime::{SandboxSpec, sandbox_id};

pub(super) const RUNTIME: &str = "io.containerd.runc.v2";
pub(super) const SPEC_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
const SHM_OPTIONS: &str = "mode=1777,size=65536k";

impl Containerd {
    pub(super) async fn make_sandbox(&self, spec: &SandboxSpec) -> Result<String, RuntimeError> {
        let id = sandbox_id(&spec.pod_uid, spec.attempt);
        let record = SandboxRecord::of(spec);
        let known = Known {
            pod_uid: spec.pod_uid.clone(),
            is_sandbox: true,
            cgroup: format!("{}/{id}", spec.cgroup_parent),
            started_at: None,
            being_made: true,
            failed_at: None,
            pid: None,
            missed_at: None,
        };
        let object = Object {
            id: id.clone(),
            labels: record.to_labels(),
            runtime: Some(ObjectRuntime { name: RUNTIME.into(), options: None }),
            spec: Some(spec_any(&oci::sandbox(spec, &id, &self.inner.host))?),
            ..Object::default()
        };
        self.inner.known.lock().entry(id.clone()).or_insert(known.clone());
        match self.create_object(object.clone()).await {
            Err(RuntimeError::Exists { .. }) => {
                if self.running_pid(&id).await?.is_some() {
                    self.update_known(&id, |known| known.being_made = false);
                    return Ok(id);
                }
                self.forget(&id).await?;
                self.inner.known.lock().insert(id.clone(), known);
                self.create_object(object).await?;
            }
            other => other?,
        }
        if let Err(why) = self.run_pause(&id).await {
            self.clear_away(&id).await;
            return Err(why);
        }
        Ok(id)
    }

    async fn run_pause(&self, id: &str) -> Result<(), RuntimeError> {
        self.mount_shm(id)?;
        let rootfs = containerd_client::types::Mount {
            r#type: "bind".into(),
            source: self.inner.pause_root.display().to_string(),
            target: String::new(),
            options: vec!["rbind".into(), "ro".into()],
        };
        let request =
            CreateTaskRequest { container_id: id.into(), rootfs: vec![rootfs], ..CreateTaskRequest::default() };
        self.create_task(request).await?;
        let now = Timestamp::now();
        self.start_process(id, "").await?;
        if let Some(known) = self.inner.known.lock().get_mut(id) {
            known.started_at = Some(now);
            known.being_made = false;
        }
        Ok(())
    }

    pub(super) async fn kill_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        const SIGKILL: u32 = 9;
        let inside = self.containers_of(id).await?;
        try_join_all(inside.iter().map(|c| self.kill(&c.id, "", SIGKILL))).await?;
        self.kill(id, "", SIGKILL).await
    }

    pub(super) async fn forget_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        let inside = self.containers_of(id).await?;
        try_join_all(inside.iter().map(|c| self.forget(&c.id))).await?;
        self.forget(id).await
    }

    pub(super) async fn containers_of(&self, sandbox_id: &str) -> Result<Vec<Object>, RuntimeError> {
        self.objects(vec![format!("labels.\"{}\"=={sandbox_id}", record::SANDBOX)]).await
    }

    pub(super) async fn objects(&self, filters: Vec<String>) -> Result<Vec<Object>, RuntimeError> {
        let mut client = self.rpc().client().containers().max_decoding_message_size(super::rpc::MESSAGE_MAX_BYTES);
        let request = Rpc::request(ListContainersRequest { filters });
        Ok(self.rpc().ask("listing containers", "", client.list(request)).await?.containers)
    }

    pub(super) async fn create_object(&self, object: Object) -> Result<(), RuntimeError> {
        let id = object.id.clone();
        let mut client = self.rpc().client().containers();
        let request = Rpc::request(CreateContainerRequest { container: Some(object) });
        self.rpc().ask("making the container", &id, client.create(request)).await.map(drop)
    }

    /// The record of a sandbox and the pid of its process.
    pub(super) async fn running_sandbox(&self, id: &str) -> Result<(SandboxRecord, u32), RuntimeError> {
        let (object, pid) = tokio::try_join!(self.object(id), self.running_pid(id))?;
        let Some(Record::Sandbox(record)) = Record::from_labels(&object.labels) else {
            return Err(RuntimeError::NotFound { id: id.into() });
        };
        Ok((record, pid.ok_or_else(|| RuntimeError::NotRunning { id: id.into() })?))
    }

    pub(super) fn shm_path(&self, sandbox_id: &str) -> PathBuf {
        self.inner.config.state_dir.join("shm").join(sandbox_id)
    }

    fn mount_shm(&self, id: &str) -> Result<(), RuntimeError> {
        let path = self.shm_path(id);
        let failed = |source| RuntimeError::Io {
            doing: "making the pod's shared memory",
            path: path.display().to_string(),
            source,
        };
        self.unmount_shm(id)?;
        std::fs::create_dir_all(&path).map_err(failed)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        nix::mount::mount(Some("shm"), &path, Some("tmpfs"), flags, Some(SHM_OPTIONS)).map_err(|e| failed(e.into()))
    }

    /// Lazily: a container that is still going away may hold it. What is not there needs no undoing.
    pub(super) fn unmount_shm(&self, id: &str) -> Result<(), RuntimeError> {
        let path = self.shm_path(id);
        let failed = |source| RuntimeError::Io {
            doing: "removing the pod's shared memory",
            path: path.display().to_string(),
            source,
        };
        match nix::mount::umount2(&path, MntFlags::MNT_DETACH) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
        match std::fs::remove_dir(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(failed(source)),
            _ => Ok(()),
        }
    }
}

pub(super) fn spec_any(spec: &oci_spec::runtime::Spec) -> Result<prost_types::Any, RuntimeError> {
    let value = serde_json::to_vec(spec).map_err(|e| RuntimeError::BadSpec(e.to_string()))?;
    Ok(prost_types::Any { type_url: SPEC_TYPE.into(), value })
}
