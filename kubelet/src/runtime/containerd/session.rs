//! Sessions of exec: a process run inside a container and talked to over FIFOs, to its end.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use containerd_client::services::v1::{ExecProcessRequest, ResizePtyRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::rpc::Rpc;
use super::stdio::{self, Fifos};
use super::{Containerd, RuntimeError};
use crate::runtime::{BadSpec, ExecSpec, SESSION_QUEUE, Session, SessionInput, SessionOutput, State};

const PROCESS_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
const SIGKILL: u32 = 9;
const CHUNK_BYTES: usize = 32 * 1024;
/// A process left in the background may hold the output open; its parent's exit is reported after this all the same.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// While containerd is away a process runs on; its end is asked for again.
const WAIT_RETRY: Duration = Duration::from_millis(200);
const WAIT_RETRIES_MAX: usize = 50;

impl Containerd {
    pub(super) async fn exec_session(&self, id: &str, spec: &ExecSpec) -> Result<Session, RuntimeError> {
        if spec.command.is_empty() {
            return Err(BadSpec::NoExecCommand.into());
        }
        let process = self.exec_process(id, spec).await?;
        let exec_id = uuid::Uuid::new_v4().simple().to_string();
        let fifos = Fifos::make(&self.fifo_dir(&exec_id))?;
        let started = self.start_exec(id, &exec_id, spec, process, &fifos).await;
        let Pipes { stdin, stdout, stderr } = match started {
            Ok(pipes) => pipes,
            Err(why) => {
                // A start that failed leaves a process object behind.
                self.delete_process(id, &exec_id).await?;
                let _ = std::fs::remove_dir_all(&fifos.dir);
                return Err(why);
            }
        };
        let (input, input_rx) = mpsc::channel(SESSION_QUEUE);
        let (output_tx, output) = mpsc::channel(SESSION_QUEUE);
        let exec = Exec { runtime: self.clone(), id: id.into(), exec_id, fifos };
        tokio::spawn(exec.run(stdout, stderr, stdin, input_rx, output_tx));
        Ok(Session { input, output })
    }

    async fn start_exec(
        &self,
        id: &str,
        exec_id: &str,
        spec: &ExecSpec,
        process: prost_types::Any,
        fifos: &Fifos,
    ) -> Result<Pipes, RuntimeError> {
        let text = |path: &PathBuf, wanted: bool| if wanted { path.display().to_string() } else { String::new() };
        let request = ExecProcessRequest {
            container_id: id.into(),
            stdin: text(&fifos.stdin, spec.stdin),
            stdout: text(&fifos.stdout, true),
            stderr: text(&fifos.stderr, !spec.tty),
            terminal: spec.tty,
            spec: Some(process),
            exec_id: exec_id.into(),
        };
        // Before the process begins: one that runs without the input that was asked for does something else.
        let stdin = spec.stdin.then(|| stdio::open_input(&fifos.stdin)).transpose()?;
        let [stdout, stderr] = fifos.open_outputs()?;
        let mut client = self.rpc().client().tasks();
        self.rpc().ask("making the process", id, client.exec(Rpc::request(request))).await?;
        self.start_process(id, exec_id).await?;
        let receiver = |file: File| {
            let opened = pipe::Receiver::from_file(file);
            opened.map_err(|source| RuntimeError::Io {
                doing: "reading",
                path: fifos.dir.display().to_string(),
                source,
            })
        };
        let stderr = if spec.tty { None } else { Some(receiver(stderr)?) };
        Ok(Pipes { stdin, stdout: receiver(stdout)?, stderr })
    }

    /// The container's own process with another command.
    async fn exec_process(&self, id: &str, spec: &ExecSpec) -> Result<prost_types::Any, RuntimeError> {
        let (object, pid) = tokio::try_join!(self.object(id), self.running_pid(id))?;
        if pid.is_none() {
            return Err(RuntimeError::NotRunning { id: id.into() });
        }
        let spec_of_container = object.spec.unwrap_or_default().value;
        let whole: oci_spec::runtime::Spec = serde_json::from_slice(&spec_of_container)
            .map_err(RuntimeError::internal("reading the container's spec"))?;
        let mut process = whole.process().clone().unwrap_or_default();
        process.set_args(Some(spec.command.clone())).set_terminal(Some(spec.tty));
        if spec.tty
            && let Some(env) = process.env_mut()
            && !env.iter().any(|e| e.starts_with("TERM="))
        {
            env.push("TERM=xterm".into());
        }
        let value = serde_json::to_vec(&process).map_err(RuntimeError::internal("writing the spec of the process"))?;
        Ok(prost_types::Any { type_url: PROCESS_TYPE.into(), value })
    }

    /// `None`: nobody knows how it ended.
    pub(super) async fn wait_to_the_end(&self, id: &str, exec_id: &str) -> Option<i32> {
        for _ in 0..WAIT_RETRIES_MAX {
            match self.wait(id, exec_id).await {
                Ok(code) => return Some(code.cast_signed()),
                Err(RuntimeError::NotFound { .. }) => return self.listed_exit(id).await,
                Err(_) => tokio::time::sleep(WAIT_RETRY).await,
            }
        }
        None
    }

    async fn listed_exit(&self, id: &str) -> Option<i32> {
        let containers = self.inventory().await.ok()?.containers;
        containers.into_iter().find(|c| c.id == id).and_then(|c| match c.state {
            State::Exited(exit) => Some(exit.exit_code),
            State::Created | State::Running { .. } => None,
        })
    }

    pub(super) async fn resize(&self, id: &str, exec_id: &str, width: u32, height: u32) {
        let request = ResizePtyRequest { container_id: id.into(), exec_id: exec_id.into(), width, height };
        // A terminal that is gone, or none at all, has no size.
        let _ = self.rpc().client().tasks().resize_pty(Rpc::request(request)).await;
    }
}

/// Our sides of a process's standard input and outputs; a terminal has one output.
struct Pipes {
    stdin: Option<pipe::Sender>,
    stdout: pipe::Receiver,
    stderr: Option<pipe::Receiver>,
}

/// A started exec.
struct Exec {
    runtime: Containerd,
    id: String,
    exec_id: String,
    fifos: Fifos,
}

impl Exec {
    async fn run(
        self,
        stdout: pipe::Receiver,
        stderr: Option<pipe::Receiver>,
        stdin: Option<pipe::Sender>,
        input: mpsc::Receiver<SessionInput>,
        output: mpsc::Sender<SessionOutput>,
    ) {
        let out = tokio::spawn(copy(stdout, output.clone(), SessionOutput::Stdout));
        let err = stderr.map(|pipe| tokio::spawn(copy(pipe, output.clone(), SessionOutput::Stderr)));
        let feed = self.feed(stdin, input);
        let end = self.runtime.wait_to_the_end(&self.id, &self.exec_id);
        tokio::pin!(feed, end);
        let (mut fed, mut starved, mut abandoned) = (false, false, false);
        let code = loop {
            tokio::select! {
                code = &mut end => break code,
                done = &mut feed, if !fed => {
                    fed = true;
                    if let Err(why) = done {
                        starved = true;
                        let why = corten_api::error::with_causes(&why);
                        tracing::warn!(container = self.id, why, "a command cannot be given its input: it is ended");
                        self.kill().await;
                    }
                }
                () = output.closed(), if !abandoned => {
                    abandoned = true;
                    self.kill().await;
                }
            }
        };
        let drained = async {
            for task in [Some(out), err].into_iter().flatten() {
                // A reader that failed has nothing more to give.
                let _ = task.await;
            }
        };
        // Past the bound only a background process still writes.
        let _ = tokio::time::timeout(DRAIN_MAX, drained).await;
        if let Err(why) = self.runtime.delete_process(&self.id, &self.exec_id).await {
            tracing::debug!(container = self.id, %why, "the process of a finished command stays until the container goes");
        }
        let _ = std::fs::remove_dir_all(&self.fifos.dir);
        // How a command without its whole input ended is no answer to the client: for it the session is lost.
        if let Some(code) = code.filter(|_| !starved) {
            // The client is gone: nobody asks.
            let _ = output.send(SessionOutput::Exited(code)).await;
        }
    }

    async fn kill(&self) {
        if let Err(why) = self.runtime.kill(&self.id, &self.exec_id, SIGKILL).await {
            tracing::warn!(container = self.id, %why, "a command that nobody waits for could not be killed");
        }
    }

    async fn feed(
        &self,
        mut stdin: Option<pipe::Sender>,
        mut input: mpsc::Receiver<SessionInput>,
    ) -> Result<(), RuntimeError> {
        while let Some(message) = input.recv().await {
            match message {
                SessionInput::Stdin(bytes) => {
                    if let Some(pipe) = &mut stdin {
                        pipe.write_all(&bytes).await.map_err(|source| RuntimeError::Io {
                            doing: "writing to",
                            path: self.fifos.stdin.display().to_string(),
                            source,
                        })?;
                    }
                }
                SessionInput::CloseStdin => self.close(&mut stdin).await?,
                SessionInput::Resize { width, height } => {
                    self.runtime.resize(&self.id, &self.exec_id, width, height).await
                }
            }
        }
        self.close(&mut stdin).await
    }

    async fn close(&self, stdin: &mut Option<pipe::Sender>) -> Result<(), RuntimeError> {
        match stdin.take() {
            Some(_) => self.runtime.close_stdin(&self.id, &self.exec_id).await,
            None => Ok(()),
        }
    }
}

async fn copy(mut pipe: pipe::Receiver, output: mpsc::Sender<SessionOutput>, wrap: fn(Bytes) -> SessionOutput) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
        if output.send(wrap(Bytes::copy_from_slice(&chunk[..count]))).await.is_err() {
            return;
        }
    }
}
