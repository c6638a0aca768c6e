//! The gRPC service `corten.node.v1.Node`: requests become calls of the ports, streams become streams.

use std::pin::Pin;
use std::sync::Arc;

use corten_proto::node::node_server::Node;
use corten_proto::node::{
    ExecInput, ExecOutput, ExecStart, LogChunk, LogsRequest, PortForwardInput, PortForwardOutput, StatsReply,
    StatsRequest, Target, exec_input, exec_output, port_forward_input,
};
use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{ContainerView, Instance, PodView, Server, forward, stats};
use crate::logs::{self, LogError, LogOptions, Stream as LogStream};
use crate::runtime::{ExecSpec, RuntimeError, SESSION_QUEUE, Session, SessionInput, SessionOutput};

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
const REPLIES_WAITING: usize = 16;

/// Logs that are followed, sessions and forwarded ports at a time, of all clients together.
pub const STREAMS_MAX: u32 = 1024;

pub(super) struct NodeService {
    server: Arc<Server>,
    streams: Arc<Semaphore>,
}

impl NodeService {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self { server, streams: Arc::new(Semaphore::new(STREAMS_MAX as usize)) }
    }

    /// A place among the streams, held until the client has its last reply.
    fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        let full = |_| Status::resource_exhausted(format!("{STREAMS_MAX} streams to this node are open: close some"));
        Arc::clone(&self.streams).try_acquire_owned().map_err(full)
    }

    fn pod(&self, target: Option<Target>) -> Result<(PodView, String), Status> {
        let target = target.ok_or_else(|| Status::invalid_argument("the request names no pod"))?;
        let found = self.server.pods.find(&target.namespace, &target.pod, &target.uid);
        let pod = found.ok_or_else(|| Status::not_found(format!("pods \"{}\" not found", target.pod)))?;
        let container = if target.container.is_empty() { pod.default_container.clone() } else { target.container };
        Ok((pod, container))
    }

    fn container(&self, target: Option<Target>) -> Result<(PodView, ContainerView), Status> {
        let (pod, name) = self.pod(target)?;
        let found = pod.containers.iter().find(|c| c.name == name).cloned();
        let missing = || Status::invalid_argument(format!("container {name} is not valid for pod {}", pod.name));
        Ok((pod.clone(), found.ok_or_else(missing)?))
    }

    fn running(&self, target: Option<Target>) -> Result<Instance, Status> {
        let (_, container) = self.container(target)?;
        let missing =
            || Status::failed_precondition(format!("container not found (\"{}\"): it is not running", container.name));
        container.current.clone().filter(|c| c.running).ok_or_else(missing)
    }

    async fn session(
        &self,
        mut requests: Streaming<ExecInput>,
        exec: bool,
    ) -> Result<Response<Replies<ExecOutput>>, Status> {
        let place = self.place()?;
        let first = requests.message().await?.and_then(|m| m.input);
        let Some(exec_input::Input::Start(start)) = first else {
            return Err(Status::invalid_argument("the first message must be `start`"));
        };
        let instance = self.running(start.target.clone())?;
        let opened = match exec {
            true => self.server.runtime.exec(&instance.id, &exec_spec(&start)).await,
            false => self.server.runtime.attach(&instance.id).await,
        };
        let Session { input, output } = opened.map_err(runtime_status)?;
        tokio::spawn(feed(requests, input, start.stdin));
        let wanted = move |output: &SessionOutput| match output {
            SessionOutput::Stdout(_) => start.stdout,
            SessionOutput::Stderr(_) => start.stderr,
            SessionOutput::Exited(_) => true,
        };
        let started = ExecOutput { output: Some(exec_output::Output::Started(true)) };
        let rest = ReceiverStream::new(output).filter(move |o| futures::future::ready(wanted(o))).map(|o| Ok(reply(o)));
        Ok(Response::new(holding(place, futures::stream::once(async { Ok(started) }).chain(rest))))
    }
}

fn holding<T: 'static>(
    place: OwnedSemaphorePermit,
    replies: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> Replies<T> {
    Box::pin(replies.inspect(move |_| {
        let _held = &place;
    }))
}

fn exec_spec(start: &ExecStart) -> ExecSpec {
    ExecSpec {
        command: start.command.clone(),
        stdin: start.stdin,
        stdout: start.stdout,
        stderr: start.stderr,
        tty: start.tty,
    }
}

fn reply(output: SessionOutput) -> ExecOutput {
    let output = match output {
        SessionOutput::Stdout(bytes) => exec_output::Output::Stdout(bytes),
        SessionOutput::Stderr(bytes) => exec_output::Output::Stderr(bytes),
        SessionOutput::Exited(code) => exec_output::Output::ExitCode(code),
    };
    ExecOutput { output: Some(output) }
}

/// Ends with the client's stream; dropping `input` then closes the process's standard input.
async fn feed(mut requests: Streaming<ExecInput>, input: mpsc::Sender<SessionInput>, stdin: bool) {
    loop {
        let message = tokio::select! {
            message = requests.message() => message,
            () = input.closed() => return,
        };
        let Ok(Some(message)) = message else { return };
        let message = match message.input {
            Some(exec_input::Input::Stdin(bytes)) if stdin => SessionInput::Stdin(bytes),
            Some(exec_input::Input::Resize(size)) => SessionInput::Resize { width: size.width, height: size.height },
            Some(exec_input::Input::CloseStdin(true)) => SessionInput::CloseStdin,
            Some(exec_input::Input::Stdin(_) | exec_input::Input::CloseStdin(false) | exec_input::Input::Start(_))
            | None => continue,
        };
        if input.send(message).await.is_err() {
            return;
        }
    }
}

fn runtime_status(error: RuntimeError) -> Status {
    let message = corten_api::error::with_causes(&error);
    match error {
        RuntimeError::NotFound { .. } => Status::not_found(message),
        RuntimeError::NotRunning { .. } => Status::failed_precondition(message),
        RuntimeError::Unavailable { .. } => Status::unavailable(message),
        RuntimeError::BadSpec(_) => Status::invalid_argument(message),
        _ => Status::internal(message),
    }
}

fn log_options(request: &LogsRequest) -> Result<LogOptions, Status> {
    let stream = match request.stream.as_str() {
        "" | "All" => None,
        "Stdout" => Some(LogStream::Stdout),
        "Stderr" => Some(LogStream::Stderr),
        other => return Err(Status::invalid_argument(format!("stream {other:?}: want All, Stdout or Stderr"))),
    };
    let since =
        (request.since_unix_nanos != 0).then(|| jiff::Timestamp::from_nanosecond(request.since_unix_nanos.into()));
    let since = since.transpose().map_err(|e| Status::invalid_argument(e.to_string()))?;
    Ok(LogOptions {
        tail_lines: u64::try_from(request.tail_lines).ok(),
        since,
        timestamps: request.timestamps,
        limit_bytes: u64::try_from(request.limit_bytes).ok().filter(|n| *n > 0),
        stream,
        follow: request.follow && !request.previous,
    })
}

#[tonic::async_trait]
impl Node for NodeService {
    type LogsStream = Replies<LogChunk>;
    type ExecStream = Replies<ExecOutput>;
    type AttachStream = Replies<ExecOutput>;
    type PortForwardStream = Replies<PortForwardOutput>;

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let place = self.place()?;
        let request = request.into_inner();
        let options = log_options(&request)?;
        let (pod, container) = self.container(request.target)?;
        let name = container.name.clone();
        let instance = if request.previous {
            let none = || format!("previous terminated container \"{name}\" in pod \"{}\" not found", pod.name);
            container.previous.ok_or_else(|| Status::invalid_argument(none()))?
        } else {
            let waiting = || format!("container \"{name}\" in pod \"{}\" is waiting to start", pod.name);
            container.current.ok_or_else(|| Status::failed_precondition(waiting()))?
        };
        let (lines_tx, lines) = mpsc::channel(SESSION_QUEUE);
        let (errors_tx, errors) = mpsc::channel(1);
        let pods = self.server.pods.clone();
        tokio::spawn(async move {
            // The same container as now: one that replaced it has a log of its own.
            let is_running = || {
                let now = pods.find(&pod.namespace, &pod.name, &pod.uid);
                let current =
                    now.and_then(|p| p.containers.into_iter().find(|c| c.name == name)).and_then(|c| c.current);
                current.is_some_and(|c| c.id == instance.id && c.running)
            };
            if let Err(why) = logs::read(&instance.log_path, options, is_running, &lines_tx).await {
                let status = match why {
                    LogError::Missing => Status::failed_precondition(why.to_string()),
                    LogError::Io { .. } => Status::internal(corten_api::error::with_causes(&why)),
                };
                // The client is gone: nobody to tell.
                let _ = errors_tx.send(Err(status)).await;
            }
        });
        let chunks = ReceiverStream::new(lines).map(|(_, data)| Ok(LogChunk { data }));
        Ok(Response::new(holding(place, chunks.chain(ReceiverStream::new(errors)))))
    }

    async fn exec(&self, request: Request<Streaming<ExecInput>>) -> Result<Response<Self::ExecStream>, Status> {
        self.session(request.into_inner(), true).await
    }

    async fn attach(&self, request: Request<Streaming<ExecInput>>) -> Result<Response<Self::AttachStream>, Status> {
        self.session(request.into_inner(), false).await
    }

    async fn port_forward(
        &self,
        request: Request<Streaming<PortForwardInput>>,
    ) -> Result<Response<Self::PortForwardStream>, Status> {
        let place = self.place()?;
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|m| m.input);
        let Some(port_forward_input::Input::Start(start)) = first else {
            return Err(Status::invalid_argument("the first message must be `start`"));
        };
        let port = u16::try_from(start.port).ok().filter(|p| *p > 0);
        let port = port.ok_or_else(|| Status::invalid_argument(format!("{} is no port", start.port)))?;
        let (pod, _) = self.pod(start.target)?;
        let down =
            || Status::failed_precondition(format!("pod {} is not running: there is no port to forward", pod.name));
        let network = pod.network.clone().ok_or_else(down)?;
        let socket = forward::connect(network, port).await.map_err(|why| {
            Status::unavailable(format!("failed to connect to localhost:{port} inside pod {}: {why}", pod.name))
        })?;
        let (tx, rx) = mpsc::channel(REPLIES_WAITING);
        tokio::spawn(forward::copy(socket, requests, tx));
        Ok(Response::new(holding(place, ReceiverStream::new(rx))))
    }

    async fn stats(&self, _: Request<StatsRequest>) -> Result<Response<StatsReply>, Status> {
        let json = stats::summary(&self.server).await.map_err(runtime_status)?;
        Ok(Response::new(StatsReply { summary_json: json.into() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::BadSpec;
    use tonic::Code;

    #[test]
    fn only_what_the_client_asked_wrongly_is_called_its_mistake() {
        let internal = RuntimeError::Internal { doing: "writing the summary", source: "no memory".into() };
        let cases = [
            (RuntimeError::BadSpec(BadSpec::NoExecCommand), Code::InvalidArgument),
            (internal, Code::Internal),
            (RuntimeError::TooLarge { id: "sha256:1".into(), max_bytes: 1 }, Code::Internal),
            (RuntimeError::NotFound { id: "c".into() }, Code::NotFound),
            (RuntimeError::NotRunning { id: "c".into() }, Code::FailedPrecondition),
            (RuntimeError::Unavailable { address: "a".into(), source: "gone".into() }, Code::Unavailable),
        ];
        for (error, code) in cases {
            let said = error.to_string();
            assert_eq!(runtime_status(error).code(), code, "{said}");
        }
    }
}
