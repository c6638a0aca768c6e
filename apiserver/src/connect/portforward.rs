//! `pods/portforward`: the client's streams and TCP connections to a pod's ports, joined.

mod channels;
mod over_spdy;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corten_api::ApiError;
use corten_proto::node::port_forward_input::Input;
use corten_proto::node::{PortForwardInput, PortForwardOutput, PortForwardStart, Target as NodeTarget};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::upgrade::{self, Protocol};
use super::{kubelets, log, pod, websocket};
use crate::flowcontrol::long_running::LongRunning;
use crate::resources::{Authorized, to};
use crate::rest::Front;
use crate::rest::body::Body;
use crate::rest::query::Query;

/// From a client's connection to the node's answer that the pod took it.
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);
/// Pieces of data on their way to the node.
const INPUT_QUEUE: usize = 8;
const PLAIN: &str = "portforward.k8s.io";
/// kubectl since 1.31.
const TUNNELLED: &str = "SPDY/3.1+portforward.k8s.io";
/// Ports named in the query: kube-rs and browsers.
const CHANNELS: &str = "v4.channel.k8s.io";

/// The pod that is forwarded to. Cheap to clone.
#[derive(Clone)]
struct Pod {
    front: Arc<Front>,
    address: kubelets::KubeletAddress,
    target: NodeTarget,
}

pub async fn serve(
    front: &Arc<Front>,
    may: &Authorized<to::Connect>,
    query: &Query<'_>,
    request: Request<Incoming>,
    counted: LongRunning,
) -> Result<Response<Body>, ApiError> {
    let found = pod::read_pod(&front.resources, may).await?;
    let protocol = upgrade::choose(request.headers(), &[TUNNELLED, CHANNELS], &[PLAIN])?;
    let ports = match protocol {
        Protocol::WebSocket(Some(TUNNELLED)) | Protocol::Spdy(_) => Vec::new(),
        Protocol::WebSocket(_) => channels::ports(query)?,
    };
    let address = pod::kubelet_of(&front.resources, &found).await?;
    let pod = Pod { front: front.clone(), address, target: log::target_of(&found, String::new()) };
    let (response, switched) = upgrade::accept(request, protocol)?;
    tokio::spawn(async move {
        let _counted = counted;
        if let Err(err) = join(switched, protocol, pod, ports).await {
            tracing::debug!("a client did not take up its connection: {err}");
        }
    });
    Ok(response)
}

async fn join(switched: OnUpgrade, protocol: Protocol, pod: Pod, ports: Vec<u16>) -> Result<(), hyper::Error> {
    match protocol {
        Protocol::Spdy(_) => over_spdy::run(upgrade::spdy(switched).await?, pod).await,
        Protocol::WebSocket(version) => {
            let socket = websocket::open(switched).await?;
            if version == Some(TUNNELLED) {
                over_spdy::run(upgrade::spdy_inside(socket), pod).await;
            } else {
                channels::run(socket, pod, ports).await;
            }
        }
    }
    Ok(())
}

impl Pod {
    /// One TCP connection to one port of the pod.
    async fn connect(
        &self,
        port: u16,
    ) -> Result<(mpsc::Sender<PortForwardInput>, Streaming<PortForwardOutput>), ApiError> {
        let (input, queue) = mpsc::channel(INPUT_QUEUE);
        let start = PortForwardStart { target: Some(self.target.clone()), port: u32::from(port) };
        let first = PortForwardInput { input: Some(Input::Start(start)) };
        input.try_send(first).map_err(ApiError::internal)?;
        let lost = |status: tonic::Status| {
            if status.code() == tonic::Code::Unavailable {
                self.front.kubelets.forget(&self.address);
            }
            kubelets::error_of(&self.address.node, &status)
        };
        let mut client = self.front.kubelets.client(&self.address)?;
        let output = tokio::time::timeout(CONNECT_DEADLINE, client.port_forward(ReceiverStream::new(queue)))
            .await
            .map_err(|_| lost(tonic::Status::unavailable("the kubelet does not answer")))?
            .map_err(lost)?;
        Ok((input, output.into_inner()))
    }
}

fn data(bytes: Bytes) -> PortForwardInput {
    PortForwardInput { input: Some(Input::Data(bytes)) }
}
fn close() -> PortForwardInput {
    PortForwardInput { input: Some(Input::Close(true)) }
}
