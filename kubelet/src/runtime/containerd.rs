//! containerd behind the runtime port, over its own gRPC services. Nothing outside this module names `containerd-client`.

mod attach;
mod capabilities;
mod container;
mod events;
mod exits;
mod host;
mod inventory;
mod oci;
mod pause;
mod process;
mod record;
mod resize;
pub(crate) mod rpc;
mod sandbox;
mod seccomp;
mod session;
mod shared;
mod stall;
mod stdio;
pub(crate) mod store;
mod sweep;
mod sysctls;
mod user;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use containerd_client::services::v1::PluginsRequest;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore, broadcast};

use self::host::Host;
use self::rpc::Rpc;
use super::{
    ContainerSpec, Event, ExecSpec, Exit, Inventory, Resources, Runtime, RuntimeError, SandboxSpec, Session, Stats,
    Version,
};
use crate::cgroup::Hierarchy;

/// Events kept for a slow reader before it gets a `Resync` instead.
const EVENTS_KEPT: usize = 1024;

#[derive(Clone, Debug)]
pub struct Config {
    /// `--containerd`.
    pub socket: PathBuf,
    /// For the pods' namespaces and shared memory, exec's FIFOs and the pause program; not on a file system mounted `noexec`.
    pub state_dir: PathBuf,
    /// The program that is started as [`crate::logs::logger`]: our own, usually `/proc/self/exe` resolved.
    pub logger: PathBuf,
}

/// Cheap to clone; clones share one connection.
#[derive(Clone)]
pub struct Containerd {
    inner: Arc<Inner>,
}

struct Inner {
    rpc: Rpc,
    config: Config,
    pause_root: PathBuf,
    host: Host,
    hierarchy: Hierarchy,
    snapshotter: OnceCell<&'static str>,
    events: broadcast::Sender<Event>,
    /// What exists, as far as this process has seen: for events, which carry only ids. Never more than containerd holds.
    known: Mutex<HashMap<String, Known>>,
    settling: Semaphore,
}

#[derive(Clone, Debug)]
struct Known {
    pod_uid: String,
    is_sandbox: bool,
    cgroup: String,
    started_at: Option<Timestamp>,
    /// Its container object or its process is not there yet, and this is not a failure.
    being_made: bool,
    /// How it ended, or that it could not be started.
    exit: Option<Exit>,
    is_settling: bool,
    /// Held by who takes its task away.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Its process as we made it, or found it; `None` until then.
    pid: Option<u32>,
    /// When it was noticed that its process is gone, though nobody saw it end.
    missed_at: Option<Timestamp>,
}

impl Known {
    fn new(pod_uid: &str, is_sandbox: bool, cgroup: String) -> Self {
        Self {
            pod_uid: pod_uid.into(),
            is_sandbox,
            cgroup,
            started_at: None,
            being_made: false,
            exit: None,
            is_settling: false,
            turn: Arc::default(),
            pid: None,
            missed_at: None,
        }
    }
}

impl Containerd {
    /// Needs a tokio runtime. containerd need not answer yet: calls fail until it does.
    pub fn new(config: Config) -> Result<Self, RuntimeError> {
        let io = |doing, path: &std::path::Path, source| RuntimeError::Io {
            doing,
            path: path.display().to_string(),
            source,
        };
        std::fs::create_dir_all(&config.state_dir).map_err(|e| io("making", &config.state_dir, e))?;
        let pause_root =
            pause::install(&config.state_dir).map_err(|e| io("writing the pause program in", &config.state_dir, e))?;
        let hierarchy = Hierarchy::detect().map_err(RuntimeError::internal("looking for the cgroup hierarchy"))?;
        let inner = Arc::new(Inner {
            rpc: Rpc::new(&config.socket)?,
            config,
            pause_root,
            host: host::look()?,
            hierarchy,
            snapshotter: OnceCell::new(),
            events: broadcast::channel(EVENTS_KEPT).0,
            known: Mutex::default(),
            settling: Semaphore::new(exits::SETTLED_AT_ONCE),
        });
        tokio::spawn(events::watch(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// For [`crate::images`]: what of containerd an image needs.
    pub fn store(&self) -> store::Store {
        store::Store::new(self.clone())
    }

    fn rpc(&self) -> &Rpc {
        &self.inner.rpc
    }

    /// overlayfs where the host's file system allows it, else plain copies.
    async fn snapshotter(&self) -> Result<&'static str, RuntimeError> {
        let look = || async {
            let request = PluginsRequest { filters: vec!["type==io.containerd.snapshotter.v1,id==overlayfs".into()] };
            let mut client = self.rpc().client().introspection();
            let found = self.rpc().ask("asking for snapshotters", "", client.plugins(Rpc::request(request))).await?;
            let works = found.plugins.iter().any(|p| p.init_err.is_none());
            Ok(if works { "overlayfs" } else { "native" })
        };
        self.inner.snapshotter.get_or_try_init(look).await.copied()
    }
}

#[async_trait]
impl Runtime for Containerd {
    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<String, RuntimeError> {
        self.make_sandbox(spec).await
    }
    async fn stop_sandbox(&self, sandbox_id: &str) -> Result<(), RuntimeError> {
        self.kill_sandbox(sandbox_id).await
    }
    async fn remove_sandbox(&self, sandbox_id: &str) -> Result<(), RuntimeError> {
        self.forget_sandbox(sandbox_id).await
    }
    async fn create_container(&self, sandbox_id: &str, spec: &ContainerSpec) -> Result<String, RuntimeError> {
        self.make_container(sandbox_id, spec).await
    }
    async fn start_container(&self, container_id: &str) -> Result<(), RuntimeError> {
        self.run_container(container_id).await
    }
    async fn signal(&self, container_id: &str, signal: u32) -> Result<(), RuntimeError> {
        self.kill(container_id, "", signal).await
    }
    async fn update_container(
        &self,
        container_id: &str,
        resources: &Resources,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), RuntimeError> {
        self.resize_container(container_id, resources, labels).await
    }
    async fn remove_container(&self, container_id: &str) -> Result<(), RuntimeError> {
        self.forget(container_id).await
    }
    async fn list(&self) -> Result<Inventory, RuntimeError> {
        self.inventory().await
    }
    async fn exec(&self, container_id: &str, spec: &ExecSpec) -> Result<Session, RuntimeError> {
        self.exec_session(container_id, spec).await
    }
    async fn attach(&self, container_id: &str) -> Result<Session, RuntimeError> {
        self.attach_session(container_id).await
    }
    async fn sweep(&self) -> Result<(), RuntimeError> {
        self.sweep_leftovers().await
    }
    async fn stats(&self) -> Result<Vec<Stats>, RuntimeError> {
        let known = self.inner.known.lock().clone();
        let containers = known.into_iter().filter(|(_, k)| !k.is_sandbox);
        let stats = |(container_id, known): (String, Known)| {
            let usage = self.inner.hierarchy.usage(&known.cgroup)?;
            Some(Stats { container_id, started_at: known.started_at, usage })
        };
        Ok(containers.filter_map(stats).collect())
    }
    async fn version(&self) -> Result<Version, RuntimeError> {
        let mut client = self.rpc().client().version();
        let found = self.rpc().ask("asking for the version", "", client.version(Rpc::request(()))).await?;
        Ok(Version { name: "containerd".into(), version: found.version })
    }
    fn events(&self) -> BoxStream<'static, Event> {
        super::events_of(self.inner.events.subscribe()).boxed()
    }
}

#[cfg(test)]
mod tests;
