//! Sandboxes: what a pod's containers share. Namespaces are held by mounts, so that no process stands between a pod and its
//! start; only a pod with `shareProcessNamespace` has a pause process, since a pid namespace ends with its first process.

use containerd_client::services::v1::{
    Container as Object, CreateContainerRequest, CreateTaskRequest, ListContainersRequest,
    container::Runtime as ObjectRuntime,
};
use containerd_client::types::v1::{Process, Status};
use futures::future::try_join_all;
use jiff::Timestamp;

use super::record::{self, Record, SandboxRecord};
use super::rpc::Rpc;
use super::shared::Shared;
use super::{Containerd, Known, RuntimeError, oci};
use crate::runtime::{Event, SandboxSpec, sandbox_id};

pub(super) const RUNTIME: &str = "io.containerd.runc.v2";
pub(super) const SPEC_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
const SIGKILL: u32 = 9;

impl Containerd {
    pub(super) async fn make_sandbox(&self, spec: &SandboxSpec) -> Result<String, RuntimeError> {
        let id = sandbox_id(&spec.pod_uid, spec.attempt);
        let record = SandboxRecord::of(spec);
        let cgroup = format!("{}/{id}", spec.cgroup_parent);
        let known = Known { being_made: true, ..Known::new(&spec.pod_uid, true, cgroup) };
        let object = Object {
            id: id.clone(),
            labels: record.to_labels(),
            runtime: Some(ObjectRuntime { name: RUNTIME.into(), options: None }),
            // containerd wants one, also where no process follows.
            spec: Some(spec_any(&oci::sandbox(spec, &id, &self.shared(&id), &self.inner.host))?),
            ..Object::default()
        };
        self.inner.known.lock().entry(id.clone()).or_insert(known.clone());
        match self.create_object(object.clone()).await {
            Err(RuntimeError::Exists { .. }) => {
                if self.sandbox_is_up(&id, &record, self.task(&id).await?.as_ref()) {
                    self.update_known(&id, |known| known.being_made = false);
                    return Ok(id);
                }
                self.forget(&id).await?;
                self.inner.known.lock().insert(id.clone(), known);
                self.create_object(object).await?;
            }
            other => other?,
        }
        if let Err(why) = self.raise(&id, spec, record.needs_pause()).await {
            self.clear_away(&id).await;
            return Err(why);
        }
        let now = Timestamp::now();
        self.update_known(&id, |known| (known.started_at, known.being_made) = (Some(now), false));
        Ok(id)
    }

    async fn raise(&self, id: &str, spec: &SandboxSpec, needs_pause: bool) -> Result<(), RuntimeError> {
        let (shared, spec) = (self.shared(id), spec.clone());
        let made = tokio::task::spawn_blocking(move || {
            // Of an attempt that was cut off, or from before a reboot.
            shared.release()?;
            shared.make(&spec)
        });
        made.await.map_err(RuntimeError::internal("making the pod's namespaces"))??;
        if needs_pause { self.run_pause(id).await } else { Ok(()) }
    }

    async fn run_pause(&self, id: &str) -> Result<(), RuntimeError> {
        let rootfs = containerd_client::types::Mount {
            r#type: "bind".into(),
            source: self.inner.pause_root.display().to_string(),
            target: String::new(),
            options: vec!["rbind".into(), "ro".into()],
        };
        let request =
            CreateTaskRequest { container_id: id.into(), rootfs: vec![rootfs], ..CreateTaskRequest::default() };
        self.create_task(request).await?;
        self.start_process(id, "").await.map(drop)
    }

    pub(super) async fn kill_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        let object = match self.object(id).await {
            Err(RuntimeError::NotFound { .. }) => return Ok(()),
            other => other?,
        };
        let Some(Record::Sandbox(record)) = Record::from_labels(&object.labels) else { return Ok(()) };
        let was_up = self.sandbox_is_up(id, &record, self.task(id).await?.as_ref());
        let inside = self.containers_of(id).await?;
        try_join_all(inside.iter().map(|c| self.kill(&c.id, "", SIGKILL))).await?;
        self.shared(id).release()?;
        if record.needs_pause() {
            return self.kill(id, "", SIGKILL).await;
        }
        if was_up {
            self.send(Event::SandboxExited { pod_uid: record.pod_uid, sandbox_id: id.into(), at: Timestamp::now() });
        }
        Ok(())
    }

    pub(super) fn sandbox_is_up(&self, id: &str, sandbox: &SandboxRecord, pause: Option<&Process>) -> bool {
        let pauses = pause.is_some_and(|p| p.status == Status::Running as i32);
        self.shared(id).is_held(sandbox) && (pauses || !sandbox.needs_pause())
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

    /// The record of a sandbox that is up, and the pid of its pause process if it has one.
    pub(super) async fn raised_sandbox(&self, id: &str) -> Result<(SandboxRecord, Option<u32>), RuntimeError> {
        let (object, pause) = tokio::try_join!(self.object(id), self.task(id))?;
        let Some(Record::Sandbox(record)) = Record::from_labels(&object.labels) else {
            return Err(RuntimeError::NotFound { id: id.into() });
        };
        if !self.sandbox_is_up(id, &record, pause.as_ref()) {
            return Err(RuntimeError::NotRunning { id: id.into() });
        }
        Ok((record, pause.map(|p| p.pid)))
    }

    pub(super) fn shared(&self, sandbox_id: &str) -> Shared {
        Shared::new(&self.inner.config.state_dir, sandbox_id)
    }
}

pub(super) fn spec_any(spec: &oci_spec::runtime::Spec) -> Result<prost_types::Any, RuntimeError> {
    let value = serde_json::to_vec(spec).map_err(RuntimeError::internal("writing the spec of the process"))?;
    Ok(prost_types::Any { type_url: SPEC_TYPE.into(), value })
}
