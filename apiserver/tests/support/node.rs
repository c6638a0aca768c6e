//! A kubelet's gRPC service with made-up containers: what the apiserver's connections lead to in tests.

use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use corten_proto::node::exec_input::Input;
use corten_proto::node::exec_output::Output;
use corten_proto::node::node_server::{Node, NodeServer};
use corten_proto::node::port_forward_input::Input as Forwarded;
use corten_proto::node::{
    ExecInput, ExecOutput, LogChunk, LogsRequest, PortForwardInput, PortForwardOutput, StatsReply, StatsRequest,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

struct FakeNode;

type Out<T> = BoxStream<'static, Result<T, Status>>;

/// `cat` echoes its input, `fail` ends with 3, `size` tells the terminal's size, `missing` cannot be started.
async fn exec(mut input: Streaming<ExecInput>) -> Result<Response<Out<ExecOutput>>, Status> {
    let first = input.message().await?.and_then(|m| m.input);
    let Some(Input::Start(start)) = first else { return Err(Status::invalid_argument("no start")) };
    let program = start.command.first().cloned().unwrap_or_else(|| "cat".to_owned());
    if program == "missing" {
        return Err(Status::invalid_argument("exec: \"missing\": executable file not found in $PATH"));
    }
    let (out, queue) = mpsc::channel(4);
    tokio::spawn(async move {
        let say = |output: Output| out.send(Ok(ExecOutput { output: Some(output) }));
        if program == "fail" {
            say(Output::Stderr("oops\n".into())).await?;
            return say(Output::ExitCode(3)).await;
        }
        while let Ok(Some(message)) = input.message().await {
            match message.input {
                Some(Input::Stdin(data)) => say(Output::Stdout(data)).await?,
                Some(Input::Resize(size)) if program == "size" => {
                    say(Output::Stdout(format!("{}x{}\n", size.width, size.height).into())).await?;
                    break;
                }
                Some(Input::CloseStdin(_)) => break,
                _ => {}
            }
        }
        say(Output::ExitCode(0)).await
    });
    Ok(Response::new(ReceiverStream::new(queue).boxed()))
}

#[tonic::async_trait]
impl Node for FakeNode {
    type LogsStream = Out<LogChunk>;
    type ExecStream = Out<ExecOutput>;
    type AttachStream = Out<ExecOutput>;
    type PortForwardStream = Out<PortForwardOutput>;

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let container = request.into_inner().target.unwrap_or_default().container;
        let lines = ["one\n".to_owned(), format!("two of {container}\n")];
        Ok(Response::new(futures::stream::iter(lines.map(|l| Ok(LogChunk { data: l.into() }))).boxed()))
    }
    async fn exec(&self, request: Request<Streaming<ExecInput>>) -> Result<Response<Self::ExecStream>, Status> {
        exec(request.into_inner()).await
    }
    async fn attach(&self, request: Request<Streaming<ExecInput>>) -> Result<Response<Self::AttachStream>, Status> {
        exec(request.into_inner()).await
    }
    /// Port 80 echoes; nothing listens on the others.
    async fn port_forward(
        &self,
        request: Request<Streaming<PortForwardInput>>,
    ) -> Result<Response<Self::PortForwardStream>, Status> {
        let mut input = request.into_inner();
        let first = input.message().await?.and_then(|m| m.input);
        let Some(Forwarded::Start(start)) = first else { return Err(Status::invalid_argument("no start")) };
        if start.port != 80 {
            return Err(Status::invalid_argument(format!("connection refused to port {}", start.port)));
        }
        let echoes = input.map(|message| match message?.input {
            Some(Forwarded::Data(data)) => Ok(Some(PortForwardOutput { data })),
            _ => Ok(None),
        });
        let echoes = echoes.take_while(|m| std::future::ready(!matches!(m, Ok(None))));
        let echoes = echoes.filter_map(|m| std::future::ready(m.transpose()));
        Ok(Response::new(echoes.boxed()))
    }
    /// Half a core and 512Mi on the node, a quarter core and 64Mi in the pod `default/web`; and it tells of a pod of another
    /// node.
    async fn stats(&self, _request: Request<StatsRequest>) -> Result<Response<StatsReply>, Status> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now = jiff::Timestamp::try_from(SystemTime::UNIX_EPOCH + since).unwrap().to_string();
        let nanos = u64::try_from(since.as_nanos()).unwrap();
        let used = |name: &str, part: u64, mebibytes: u64| {
            json!({
                "name": name,
                "startTime": "1970-01-01T00:00:00Z",
                "cpu": {"time": now, "usageCoreNanoSeconds": nanos / part},
                "memory": {"time": now, "workingSetBytes": mebibytes << 20},
            })
        };
        let pod = |name: &str| {
            let pod_ref = json!({"name": name, "namespace": "default", "uid": name});
            json!({"podRef": pod_ref, "containers": [used("c", 4, 64)]})
        };
        let summary = json!({"node": used("n1", 2, 512), "pods": [pod("web"), pod("elsewhere")]});
        Ok(Response::new(StatsReply { summary_json: summary.to_string().into() }))
    }
}

/// Serves until the test's runtime ends.
pub(crate) async fn serve(cert: &Path, key: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let identity = Identity::from_pem(std::fs::read(cert).unwrap(), std::fs::read(key).unwrap());
    let mut server = Server::builder().tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
    let server = server.add_service(NodeServer::new(FakeNode));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}
