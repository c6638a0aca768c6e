//! Port-forward: a TCP connection to a port of the pod, opened from inside its network namespace.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use corten_proto::node::{PortForwardInput, PortForwardOutput, port_forward_input};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::network::netns;
use crate::runtime::Network;

const CONNECT_MAX: Duration = Duration::from_secs(10);
const CHUNK_BYTES: usize = 32 * 1024;

/// To the pod's own loopback, as its containers see it.
pub(super) async fn connect(network: Network, port: u16) -> io::Result<TcpStream> {
    let open = move || {
        let connect = || {
            let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            std::net::TcpStream::connect_timeout(&v4, CONNECT_MAX).or_else(|why| {
                std::net::TcpStream::connect_timeout(&(Ipv6Addr::LOCALHOST, port).into(), CONNECT_MAX).map_err(|_| why)
            })
        };
        match network {
            Network::Pod { netns } => netns::inside(&netns, connect),
            // By definition a pod of the host network has the node's loopback.
            Network::Host => connect(),
        }
    };
    let socket = tokio::task::spawn_blocking(open).await.map_err(io::Error::from)??;
    socket.set_nonblocking(true)?;
    let socket = TcpStream::from_std(socket)?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Both ways until the pod has closed its side, or the client is gone.
pub(super) async fn copy(
    socket: TcpStream,
    mut requests: Streaming<PortForwardInput>,
    replies: mpsc::Sender<Result<PortForwardOutput, Status>>,
) {
    let (mut from_pod, mut to_pod) = socket.into_split();
    let up = async {
        while let Ok(Some(message)) = requests.message().await {
            match message.input {
                Some(port_forward_input::Input::Data(data)) => to_pod.write_all(&data).await?,
                Some(port_forward_input::Input::Close(true)) => break,
                Some(port_forward_input::Input::Start(_) | port_forward_input::Input::Close(false)) | None => {}
            }
        }
        to_pod.shutdown().await
    };
    let down = async {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = from_pod.read(&mut chunk).await?;
            if count == 0 {
                return Ok::<_, io::Error>(());
            }
            let data = Bytes::copy_from_slice(&chunk[..count]);
            if replies.send(Ok(PortForwardOutput { data })).await.is_err() {
                return Ok(());
            }
        }
    };
    // A client that has said all may still listen: the pod's end is the end, or a failure either way.
    let up_fails = async {
        match up.await {
            Ok(()) => std::future::pending().await,
            Err(err) => Err::<(), io::Error>(err),
        }
    };
    tokio::select! {
        _ = down => {}
        _ = up_fails => {}
        () = replies.closed() => {}
    }
}
