//! The runtime port: all the kubelet wants from a container runtime. containerd's types stop at `runtime/containerd`.

pub mod containerd;
mod error;
pub mod fake;
mod types;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use error::{BadSpec, RuntimeError};
pub use types::*;

/// Sandboxes and containers of pods.
///
/// Every call may be repeated: stopping what is stopped and removing what is gone succeed. No call outlives the runtime's
/// answer: while the runtime is away calls fail with [`RuntimeError::Unavailable`], and what runs keeps running.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Makes and starts a sandbox and returns its id. A dead one of the same id is replaced; a running one is kept.
    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<String, RuntimeError>;

    /// Kills what runs in the sandbox, containers too. Their exits are reported as events. The sandbox stays listed.
    async fn stop_sandbox(&self, sandbox_id: &str) -> Result<(), RuntimeError>;

    /// Stops the sandbox if it runs and forgets it and its containers. Its network namespace is left to
    /// [`crate::network::PodNetwork::detach`], its logs to the caller.
    async fn remove_sandbox(&self, sandbox_id: &str) -> Result<(), RuntimeError>;

    /// Makes a container, its root filesystem and its process (not yet running), and returns its id. A dead or
    /// half-made one of the same id is replaced.
    async fn create_container(&self, sandbox_id: &str, spec: &ContainerSpec) -> Result<String, RuntimeError>;

    /// Runs a made container. When this fails the container is left as exited with code 128 and can be removed.
    async fn start_container(&self, container_id: &str) -> Result<(), RuntimeError>;

    /// Sends a signal to the container's first process; `SIGKILL` (9) goes to all of its processes. To a container
    /// that does not run this is a success.
    async fn signal(&self, container_id: &str, signal: u32) -> Result<(), RuntimeError>;

    /// Makes a running container larger or smaller: cpu and memory of `resources`, of which what is `None` stays as it is.
    /// Then these labels are set on it. Nothing is done twice to its harm.
    async fn update_container(
        &self,
        container_id: &str,
        resources: &Resources,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), RuntimeError>;

    /// Forgets a container, killing it first if it runs. Its log stays.
    async fn remove_container(&self, container_id: &str) -> Result<(), RuntimeError>;

    /// Everything that exists, for a comparison with what should.
    async fn list(&self) -> Result<Inventory, RuntimeError>;

    /// Starts a command in a running container and talks to it.
    async fn exec(&self, container_id: &str, spec: &ExecSpec) -> Result<Session, RuntimeError>;

    /// Talks to the container's own process. Output begins with what is written from now on; standard input reaches
    /// the process only if the container was made with `stdin`.
    async fn attach(&self, container_id: &str) -> Result<Session, RuntimeError>;

    /// Removes what makings and removals that were cut off have left and [`Runtime::list`] does not show.
    async fn sweep(&self) -> Result<(), RuntimeError>;

    /// What each running container has used.
    async fn stats(&self) -> Result<Vec<Stats>, RuntimeError>;

    async fn version(&self) -> Result<Version, RuntimeError>;

    /// What happens from now on. Any number of readers; a reader that falls behind gets [`Event::Resync`]. Every stream
    /// begins with `Resync`: list after that, and nothing is missed.
    fn events(&self) -> BoxStream<'static, Event>;

    /// Runs a command to its end, for probes and hooks. The process is killed at the timeout
    /// ([`RuntimeError::Timeout`]).
    async fn exec_sync(
        &self,
        container_id: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecResult, RuntimeError> {
        let spec = ExecSpec { command: command.to_vec(), stdout: true, stderr: true, ..ExecSpec::default() };
        let whole = async {
            let mut session = self.exec(container_id, &spec).await?;
            let mut output = Vec::new();
            while let Some(message) = session.output.recv().await {
                match message {
                    SessionOutput::Stdout(bytes) | SessionOutput::Stderr(bytes) => {
                        let room = EXEC_OUTPUT_MAX_BYTES - output.len();
                        output.extend_from_slice(&bytes[..bytes.len().min(room)]);
                    }
                    SessionOutput::Exited(exit_code) => return Ok(ExecResult { exit_code, output }),
                }
            }
            Err(RuntimeError::SessionLost { id: container_id.into() })
        };
        tokio::time::timeout(timeout, whole).await.unwrap_or(Err(RuntimeError::Timeout { after: timeout }))
    }
}

/// The id of a pod's sandbox: the same for the same attempt, so that a repeated create cannot make two.
pub fn sandbox_id(pod_uid: &str, attempt: u32) -> String {
    id_of(&["sandbox", pod_uid, &attempt.to_string()])
}

/// The id of a container.
pub fn container_id(pod_uid: &str, name: &str, attempt: u32) -> String {
    id_of(&["container", pod_uid, name, &attempt.to_string()])
}

fn id_of(parts: &[&str]) -> String {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A reader's stream over a bounded broadcast: it begins with `Resync`, and what it missed becomes one.
fn events_of(receiver: tokio::sync::broadcast::Receiver<Event>) -> impl futures::Stream<Item = Event> {
    use futures::StreamExt;
    let missed_to_resync = |next: Result<Event, _>| next.unwrap_or(Event::Resync);
    let live = tokio_stream::wrappers::BroadcastStream::new(receiver).map(missed_to_resync);
    futures::stream::once(async { Event::Resync }).chain(live)
}
