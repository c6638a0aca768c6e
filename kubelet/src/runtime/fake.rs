//! A runtime in memory, for tests of everything above the port. It keeps the same contract as containerd.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc};

use super::{
    Container, ContainerSpec, Event, ExecSpec, Exit, Inventory, Resources, Runtime, RuntimeError, SESSION_QUEUE,
    Sandbox, SandboxSpec, Session, SessionInput, SessionOutput, State, Stats, Version, container_id, sandbox_id,
};

const EVENTS_KEPT: usize = 256;

/// Cheap to clone; clones share one state.
#[derive(Clone)]
pub struct FakeRuntime {
    shared: Arc<Mutex<Shared>>,
    events: broadcast::Sender<Event>,
}

#[derive(Default)]
struct Shared {
    sandboxes: BTreeMap<String, Sandbox>,
    containers: BTreeMap<String, (Container, ContainerSpec)>,
    /// Every call that changed something, in order: `create web/0`, `signal web/0 15`.
    calls: Vec<String>,
    refuse: Vec<(&'static str, RuntimeError)>,
    panic: Vec<&'static str>,
    /// How often everything was listed.
    lists: usize,
    away: bool,
    /// Signals a process survives, as one that ignores SIGTERM does. SIGKILL always works.
    ignores_term: bool,
}

impl Default for FakeRuntime {
    fn default() -> Self {
        Self { shared: Arc::default(), events: broadcast::channel(EVENTS_KEPT).0 }
    }
}

impl FakeRuntime {
    /// The next `call` (such as `start_container`) fails with this message.
    pub fn refuse_next(&self, call: &'static str, message: &str) {
        self.fail_next(call, RuntimeError::Refused { doing: call, message: message.into() });
    }
    /// The next `call` fails so.
    pub fn fail_next(&self, call: &'static str, error: RuntimeError) {
        self.shared.lock().refuse.push((call, error));
    }
    /// How many of the refusals that were asked for are still to come.
    pub fn refusals_left(&self, call: &str) -> usize {
        self.shared.lock().refuse.iter().filter(|(refused, _)| *refused == call).count()
    }
    /// The next `call` panics.
    pub fn panic_next(&self, call: &'static str) {
        self.shared.lock().panic.push(call);
    }
    /// While it is away every call fails; coming back sends a `Resync`.
    pub fn set_away(&self, away: bool) {
        self.shared.lock().away = away;
        if !away {
            self.send(Event::Resync);
        }
    }
    pub fn set_ignores_term(&self, ignores: bool) {
        self.shared.lock().ignores_term = ignores;
    }
    pub fn calls(&self) -> Vec<String> {
        self.shared.lock().calls.clone()
    }
    pub fn lists(&self) -> usize {
        self.shared.lock().lists
    }
    pub fn spec(&self, container_id: &str) -> Option<ContainerSpec> {
        self.shared.lock().containers.get(container_id).map(|(_, spec)| spec.clone())
    }
    /// The container's process ends by itself.
    pub fn exit(&self, container_id: &str, exit_code: i32, oom_killed: bool) {
        let mut shared = self.shared.lock();
        let Some((container, _)) = shared.containers.get_mut(container_id) else { return };
        let State::Running { started_at, .. } = container.state else { return };
        let exit = Exit { exit_code, started_at, finished_at: Timestamp::now(), oom_killed, unseen: false };
        container.state = State::Exited(exit.clone());
        let event =
            Event::ContainerExited { pod_uid: container.pod_uid.clone(), container_id: container_id.into(), exit };
        drop(shared);
        self.send(event);
    }
    /// The sandbox goes down; its containers live on, as they do in a pod without a shared pid namespace.
    pub fn kill_sandbox(&self, sandbox_id: &str) {
        let mut shared = self.shared.lock();
        let Some(sandbox) = shared.sandboxes.get_mut(sandbox_id) else { return };
        if !std::mem::take(&mut sandbox.is_up) {
            return;
        }
        let at = Timestamp::now();
        let event = Event::SandboxExited { pod_uid: sandbox.pod_uid.clone(), sandbox_id: sandbox_id.into(), at };
        drop(shared);
        self.send(event);
    }

    fn send(&self, event: Event) {
        // Nobody listens: nothing to tell.
        let _ = self.events.send(event);
    }
    fn enter(&self, call: &'static str, what: String) -> Result<parking_lot::MutexGuard<'_, Shared>, RuntimeError> {
        let mut shared = self.shared.lock();
        if shared.away {
            return Err(RuntimeError::Unavailable { address: "fake".into(), source: "away".into() });
        }
        if let Some(at) = shared.panic.iter().position(|panics| *panics == call) {
            shared.panic.remove(at);
            panic!("{call} was to panic");
        }
        if let Some(at) = shared.refuse.iter().position(|(refused, _)| *refused == call) {
            return Err(shared.refuse.remove(at).1);
        }
        if !what.is_empty() {
            shared.calls.push(what);
        }
        Ok(shared)
    }
}

fn is_running(state: &State) -> bool {
    matches!(state, State::Running { .. })
}

#[async_trait]
impl Runtime for FakeRuntime {
    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<String, RuntimeError> {
        let id = sandbox_id(&spec.pod_uid, spec.attempt);
        let mut shared = self.enter("create_sandbox", format!("sandbox {}/{}", spec.name, spec.attempt))?;
        if shared.sandboxes.get(&id).is_some_and(|s| s.is_up) {
            return Ok(id);
        }
        let now = Timestamp::now();
        let sandbox = Sandbox {
            id: id.clone(),
            pod_uid: spec.pod_uid.clone(),
            namespace: spec.namespace.clone(),
            name: spec.name.clone(),
            attempt: spec.attempt,
            network: spec.network.clone(),
            cgroup_parent: spec.cgroup_parent.clone(),
            is_up: true,
            created_at: now,
            labels: spec.labels.clone(),
        };
        shared.sandboxes.insert(id.clone(), sandbox);
        Ok(id)
    }

    async fn stop_sandbox(&self, sandbox_id: &str) -> Result<(), RuntimeError> {
        let shared = self.enter("stop_sandbox", format!("stop_sandbox {sandbox_id}"))?;
        let inside = shared.containers.values().filter(|(c, _)| c.sandbox_id == sandbox_id && is_running(&c.state));
        let inside: Vec<String> = inside.map(|(c, _)| c.id.clone()).collect();
        drop(shared);
        inside.iter().for_each(|id| self.exit(id, 137, false));
        self.kill_sandbox(sandbox_id);
        Ok(())
    }

    async fn remove_sandbox(&self, sandbox_id: &str) -> Result<(), RuntimeError> {
        self.stop_sandbox(sandbox_id).await?;
        let mut shared = self.enter("remove_sandbox", format!("remove_sandbox {sandbox_id}"))?;
        shared.containers.retain(|_, (c, _)| c.sandbox_id != sandbox_id);
        shared.sandboxes.remove(sandbox_id);
        Ok(())
    }

    async fn create_container(&self, sandbox_id: &str, spec: &ContainerSpec) -> Result<String, RuntimeError> {
        let mut shared = self.enter("create_container", format!("create {}/{}", spec.name, spec.attempt))?;
        let sandbox = shared.sandboxes.get(sandbox_id).ok_or(RuntimeError::NotFound { id: sandbox_id.into() })?;
        if !sandbox.is_up {
            return Err(RuntimeError::NotRunning { id: sandbox_id.into() });
        }
        let container = Container {
            id: container_id(&sandbox.pod_uid, &spec.name, spec.attempt),
            sandbox_id: sandbox_id.into(),
            pod_uid: sandbox.pod_uid.clone(),
            namespace: sandbox.namespace.clone(),
            pod_name: sandbox.name.clone(),
            name: spec.name.clone(),
            attempt: spec.attempt,
            image: spec.image.name.clone(),
            image_id: spec.image.repo_digest.clone(),
            log_path: spec.log_path.clone(),
            state: State::Created,
            created_at: Timestamp::now(),
            labels: spec.labels.clone(),
        };
        let id = container.id.clone();
        if shared.containers.get(&id).is_some_and(|(c, _)| is_running(&c.state)) {
            return Err(RuntimeError::Refused { doing: "making a container", message: format!("{id} runs already") });
        }
        shared.containers.insert(id.clone(), (container, spec.clone()));
        Ok(id)
    }

    async fn start_container(&self, container_id: &str) -> Result<(), RuntimeError> {
        let mut shared = self.enter("start_container", format!("start {container_id}"))?;
        let found =
            shared.containers.get_mut(container_id).ok_or(RuntimeError::NotFound { id: container_id.into() })?;
        found.0.state = State::Running { pid: 2, started_at: Timestamp::now() };
        Ok(())
    }

    async fn signal(&self, container_id: &str, signal: u32) -> Result<(), RuntimeError> {
        const KILL: u32 = 9;
        let shared = self.enter("signal", format!("signal {container_id} {signal}"))?;
        let ends = signal == KILL || !shared.ignores_term;
        let code = i32::try_from(signal).unwrap_or_default() + 128;
        drop(shared);
        if ends {
            self.exit(container_id, code, false);
        }
        Ok(())
    }

    async fn update_container(
        &self,
        container_id: &str,
        resources: &Resources,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), RuntimeError> {
        let mut shared = self.enter("update_container", format!("update {container_id}"))?;
        let found =
            shared.containers.get_mut(container_id).ok_or(RuntimeError::NotFound { id: container_id.into() })?;
        if !is_running(&found.0.state) {
            return Err(RuntimeError::NotRunning { id: container_id.into() });
        }
        found.1.resources = resources.clone();
        found.0.labels.extend(labels.clone());
        Ok(())
    }

    async fn remove_container(&self, container_id: &str) -> Result<(), RuntimeError> {
        let shared = self.enter("remove_container", format!("remove {container_id}"))?;
        drop(shared);
        self.exit(container_id, 137, false);
        self.shared.lock().containers.remove(container_id);
        Ok(())
    }

    async fn list(&self) -> Result<Inventory, RuntimeError> {
        let mut shared = self.enter("list", String::new())?;
        shared.lists += 1;
        Ok(Inventory {
            sandboxes: shared.sandboxes.values().cloned().collect(),
            containers: shared.containers.values().map(|(c, _)| c.clone()).collect(),
        })
    }

    /// `["exit", "3"]` ends with 3, `["echo", …]` prints its words, `["cat"]` repeats its input; all else ends with 127.
    async fn exec(&self, container_id: &str, spec: &ExecSpec) -> Result<Session, RuntimeError> {
        let shared = self.enter("exec", format!("exec {container_id} {}", spec.command.join(" ")))?;
        let (container, _) =
            shared.containers.get(container_id).ok_or(RuntimeError::NotFound { id: container_id.into() })?;
        if !is_running(&container.state) {
            return Err(RuntimeError::NotRunning { id: container_id.into() });
        }
        drop(shared);
        let (input, mut input_rx) = mpsc::channel(SESSION_QUEUE);
        let (output_tx, output) = mpsc::channel(SESSION_QUEUE);
        let command = spec.command.clone();
        tokio::spawn(async move {
            let code = match command.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["exit", code] => code.parse().unwrap_or(127),
                ["echo", words @ ..] => {
                    let line = format!("{}\n", words.join(" "));
                    // The reader is gone: so is the process.
                    let _ = output_tx.send(SessionOutput::Stdout(line.into())).await;
                    0
                }
                ["cat"] => {
                    while let Some(SessionInput::Stdin(bytes)) = input_rx.recv().await {
                        let _ = output_tx.send(SessionOutput::Stdout(bytes)).await;
                    }
                    0
                }
                _ => 127,
            };
            let _ = output_tx.send(SessionOutput::Exited(code)).await;
        });
        Ok(Session { input, output })
    }

    async fn attach(&self, container_id: &str) -> Result<Session, RuntimeError> {
        let spec = ExecSpec { command: vec!["cat".into()], ..ExecSpec::default() };
        let session = self.exec(container_id, &spec).await?;
        // A closed reader is the test's business.
        let _ = session.input.send(SessionInput::Stdin(Bytes::from_static(b"attached\n"))).await;
        Ok(session)
    }

    async fn sweep(&self) -> Result<(), RuntimeError> {
        self.enter("sweep", "sweep".into()).map(drop)
    }

    async fn stats(&self) -> Result<Vec<Stats>, RuntimeError> {
        let shared = self.enter("stats", String::new())?;
        let running = shared.containers.values().filter(|(c, _)| is_running(&c.state));
        Ok(running.map(|(c, _)| Stats { container_id: c.id.clone(), ..Stats::default() }).collect())
    }

    async fn version(&self) -> Result<Version, RuntimeError> {
        drop(self.enter("version", String::new())?);
        Ok(Version { name: "fake".into(), version: "0".into() })
    }

    fn events(&self) -> BoxStream<'static, Event> {
        super::events_of(self.events.subscribe()).boxed()
    }
}
