//! `pods/exec` and `pods/attach`: the client's streams and a process on the node, joined.

mod dialect;
pub mod ending;
mod over_spdy;
mod over_websocket;

use std::sync::Arc;
use std::time::Duration;

use corten_api::pod::phase;
use corten_api::{ApiError, Object, Problems};
use corten_proto::node::exec_input::Input;
use corten_proto::node::{ExecInput, ExecOutput, ExecStart, TerminalSize};
use http::{Request, Response};
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use self::dialect::Dialect;
use super::upgrade::{self, Protocol};
use super::{kubelets, log, pod, websocket};
use crate::flowcontrol::long_running::LongRunning;
use crate::resources::{Authorized, to};
use crate::rest::Front;
use crate::rest::body::Body;
use crate::rest::query::Query;

/// From the request to the node's answer that the process runs.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// Pieces of input on their way to the node.
const INPUT_QUEUE: usize = 8;
const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";
/// Best first. A client that names none speaks the first binary one.
const WEBSOCKET: &[&str] = &[V5, V4, "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io"];

/// A process on a node, as the streams to and from it.
struct Process {
    input: mpsc::Sender<ExecInput>,
    output: Streaming<ExecOutput>,
    start: ExecStart,
}

/// Which of a container's streams the client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wanted {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

pub async fn serve(
    front: &Arc<Front>,
    may: &Authorized<to::Connect>,
    query: &Query<'_>,
    request: Request<Incoming>,
    counted: LongRunning,
) -> Result<Response<Body>, ApiError> {
    let attaches = may.target().subresource == "attach";
    let wanted = wanted(query, if attaches { "PodAttachOptions" } else { "PodExecOptions" })?;
    let command: Vec<String> = query.all("command").map(str::to_owned).collect();
    if !attaches && command.is_empty() {
        return Err(missing_command());
    }
    let pod = pod::read_pod(&front.resources, may).await?;
    let container = pod::choose_container(&pod, query.get("container"))?;
    if matches!(phase(&pod), "Succeeded" | "Failed") {
        let what = if attaches { "attach to" } else { "exec into" };
        let text = format!("cannot {what} a container in a completed pod; current phase is {}", phase(&pod));
        return Err(ApiError::bad_request(text));
    }
    let protocol = upgrade::choose(request.headers(), WEBSOCKET, &[V4])?;
    let address = pod::kubelet_of(&front.resources, &pod).await?;
    let target = log::target_of(&pod, container);
    tracing::debug!(pod = pod.name(), ?command, "a process is started");
    let Wanted { stdin, stdout, stderr, tty } = wanted;
    let start = ExecStart { target: Some(target), command, stdin, stdout, stderr, tty };
    let begin = Begin { front: front.clone(), address, start, attaches };
    match protocol {
        // SPDY clients read no stream before they have opened all: what fails can be told as an HTTP error.
        Protocol::Spdy(_) => {
            let process = begin.run().await?;
            let (response, switched) = upgrade::accept(request, protocol)?;
            tokio::spawn(taken_up(counted, async move {
                over_spdy::run(upgrade::spdy(switched).await?, process).await;
                Ok(())
            }));
            Ok(response)
        }
        // kubectl up to 1.32 loses messages that come before it has made its streams, which it does after the
        // upgrade: so the process starts then, and what fails is told on the error channel, as upstream does.
        Protocol::WebSocket(version) => {
            let (response, switched) = upgrade::accept(request, protocol)?;
            let dialect = Dialect::of(version);
            tokio::spawn(taken_up(counted, async move {
                let socket = websocket::open(switched).await?;
                match begin.run().await {
                    Ok(process) => over_websocket::run(socket, process, dialect).await,
                    Err(err) => over_websocket::refuse(socket, err, dialect).await,
                }
                Ok(())
            }));
            Ok(response)
        }
    }
}

async fn taken_up(counted: LongRunning, session: impl Future<Output = Result<(), hyper::Error>>) {
    if let Err(err) = session.await {
        tracing::debug!("a client did not take up its connection: {err}");
    }
    drop(counted);
}

fn missing_command() -> ApiError {
    let mut problems = Problems::default();
    problems.required("command", "");
    ApiError::invalid("", "PodExecOptions", "", problems)
}

fn wanted(query: &Query<'_>, kind: &str) -> Result<Wanted, ApiError> {
    let flag = |name| query.flag(name);
    let wanted = Wanted { stdin: flag("stdin"), stdout: flag("stdout"), stderr: flag("stderr"), tty: flag("tty") };
    if !wanted.stdin && !wanted.stdout && !wanted.stderr {
        return Err(ApiError::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    if wanted.tty && wanted.stderr {
        // A terminal has one output.
        let mut problems = Problems::default();
        problems.invalid("tty", true, "stderr cannot be had apart from stdout with a terminal");
        return Err(ApiError::invalid("", kind, "", problems));
    }
    Ok(wanted)
}

/// All that is needed to start the process on its node.
struct Begin {
    front: Arc<Front>,
    address: kubelets::KubeletAddress,
    start: ExecStart,
    attaches: bool,
}

impl Begin {
    async fn run(self) -> Result<Process, ApiError> {
        let Self { front, address, start, attaches } = self;
        let (input, queue) = mpsc::channel(INPUT_QUEUE);
        let first = ExecInput { input: Some(Input::Start(start.clone())) };
        input.try_send(first).map_err(ApiError::internal)?;
        let mut client = front.kubelets.client(&address)?;
        let call = async {
            let queue = ReceiverStream::new(queue);
            if attaches { client.attach(queue).await } else { client.exec(queue).await }
        };
        let lost = |status: tonic::Status| {
            if status.code() == tonic::Code::Unavailable {
                front.kubelets.forget(&address);
            }
            kubelets::error_of(&address.node, &status)
        };
        let output = tokio::time::timeout(START_DEADLINE, call)
            .await
            .map_err(|_| lost(tonic::Status::unavailable("the kubelet does not answer")))?
            .map_err(lost)?
            .into_inner();
        Ok(Process { input, output, start })
    }
}

/// A terminal's size, as clients send it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u32,
    height: u32,
}

impl From<Size> for ExecInput {
    fn from(size: Size) -> Self {
        Self { input: Some(Input::Resize(TerminalSize { width: size.width, height: size.height })) }
    }
}

fn input(input: Input) -> ExecInput {
    ExecInput { input: Some(input) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_streams() {
        let read = |query: &'static str| wanted(&Query::parse(Some(query)), "PodExecOptions");
        let all = Wanted { stdin: true, stdout: true, stderr: false, tty: true };
        assert_eq!(read("stdin=true&stdout=1&tty=true").unwrap(), all);
        assert_eq!(read("").unwrap_err().message(), "you must specify at least 1 of stdin, stdout, stderr");
        assert_eq!(read("stdout=1&stderr=1&tty=1").unwrap_err().code(), 422);
    }
}
