//! Ports forwarded over a WebSocket without SPDY: for the n-th port in the query, channel 2n carries data and 2n+1 an
//! error text; each begins with a message that holds the port's number. One connection for each port.

use bytes::{BufMut, Bytes, BytesMut};
use corten_api::ApiError;
use corten_proto::node::PortForwardInput;
use futures::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::{Pod, data, kubelets};
use crate::connect::websocket::{self, Socket};
use crate::rest::query::Query;

/// Channel numbers are bytes, two for each port.
const MAX_PORTS: usize = 127;
/// Messages that wait for the socket.
const OUT_QUEUE: usize = 16;

pub(super) fn ports(query: &Query<'_>) -> Result<Vec<u16>, ApiError> {
    let bad = |text: &str| ApiError::bad_request(format!("unable to parse {text:?} as a port"));
    let texts = query.all("ports").flat_map(|v| v.split(','));
    let ports: Vec<u16> =
        texts.map(|t| t.parse().ok().filter(|p| *p != 0).ok_or_else(|| bad(t))).collect::<Result<_, _>>()?;
    if ports.is_empty() || ports.len() > MAX_PORTS {
        return Err(ApiError::bad_request(format!("query parameter \"ports\" needs 1 to {MAX_PORTS} ports")));
    }
    Ok(ports)
}

pub(super) async fn run(socket: Socket, pod: Pod, ports: Vec<u16>) {
    let (mut sink, mut stream) = socket.split();
    let (out, mut queue) = mpsc::channel::<Bytes>(OUT_QUEUE);
    let mut inputs: Vec<mpsc::Sender<Bytes>> = Vec::new();
    let mut connections = JoinSet::new();
    for (channel, port) in (0_u8..).step_by(2).zip(ports) {
        let (input, incoming) = mpsc::channel(super::INPUT_QUEUE);
        inputs.push(input);
        connections.spawn(forward(pod.clone(), port, channel, incoming, out.clone()));
    }
    drop(out);
    let incoming = async {
        while let Some(Ok(message)) = stream.next().await {
            let Message::Binary(bytes) = message else { continue };
            let Some(number) = bytes.first().filter(|n| **n % 2 == 0) else { continue };
            if let Some(input) = inputs.get(usize::from(*number / 2))
                && input.send(bytes.slice(1..)).await.is_err()
            {
                tracing::trace!("data for a forwarded connection that has ended");
            }
        }
    };
    let outgoing = async {
        while let Some(bytes) = queue.recv().await {
            if sink.send(Message::Binary(bytes)).await.is_err() {
                return;
            }
        }
        // All connections are done. A client that is gone needs no goodbye.
        let _told = sink.send(Message::Close(Some(websocket::normal_close()))).await;
    };
    tokio::select! {
        () = incoming => return,
        () = outgoing => {}
    }
    websocket::wait_for_close(stream).await;
}

async fn forward(pod: Pod, port: u16, channel: u8, mut incoming: mpsc::Receiver<Bytes>, out: mpsc::Sender<Bytes>) {
    for number in [channel, channel + 1] {
        if out.send(on(number, &port.to_le_bytes())).await.is_err() {
            return;
        }
    }
    let joined = async {
        let (input, mut output) = pod.connect(port).await?;
        let outward = pump(&mut incoming, input);
        let inward = async {
            loop {
                match output.message().await {
                    Ok(Some(message)) if out.send(on(channel, &message.data)).await.is_ok() => {}
                    Ok(_) => return Ok(()),
                    Err(status) => return Err(kubelets::error_of(&pod.address.node, &status)),
                }
            }
        };
        tokio::select! {
            () = outward => Ok(()),
            result = inward => result,
        }
    };
    let result: Result<(), ApiError> = joined.await;
    if let Err(err) = result
        && out.send(on(channel + 1, err.message().as_bytes())).await.is_err()
    {
        tracing::trace!("a forwarded connection failed after its client had gone: {err}");
    }
}

/// Ends with the node; a client of this protocol has no way to close one direction.
async fn pump(incoming: &mut mpsc::Receiver<Bytes>, input: mpsc::Sender<PortForwardInput>) {
    while let Some(bytes) = incoming.recv().await {
        if input.send(data(bytes)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn on(channel: u8, data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1 + data.len());
    bytes.put_u8(channel);
    bytes.put_slice(data);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_a_query() {
        let read = |query: &'static str| ports(&Query::parse(Some(query))).ok();
        assert_eq!(read("ports=80,443&ports=8080"), Some(vec![80, 443, 8080]));
        for bad in ["", "ports=", "ports=0", "ports=70000", "ports=http"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
