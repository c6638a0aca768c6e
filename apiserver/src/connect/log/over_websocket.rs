//! Logs over WebSocket: one message for each piece, as it is (binary.k8s.io, or no subprotocol) or in base64
//! (base64.binary.k8s.io). Browsers ask so.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use corten_api::ApiError;
use corten_proto::node::LogChunk;
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use tokio_tungstenite::tungstenite::{Error, Message};
use tonic::Streaming;

use crate::connect::upgrade::{self, Protocol};
use crate::connect::websocket::{self, Socket};
use crate::flowcontrol::long_running::LongRunning;
use crate::rest::body::Body;

const BINARY: &str = "binary.k8s.io";
const BASE64: &str = "base64.binary.k8s.io";

/// `None`: the client wants plain HTTP. Otherwise the subprotocol, if it names one.
pub(super) fn wanted(headers: &HeaderMap) -> Result<Option<Option<&'static str>>, ApiError> {
    if !websocket::is_upgrade(headers) {
        return Ok(None);
    }
    match upgrade::choose(headers, &[BINARY, BASE64], &[])? {
        Protocol::WebSocket(subprotocol) => Ok(Some(subprotocol)),
        Protocol::Spdy(_) => Ok(None),
    }
}

pub(super) fn serve(
    request: Request<Incoming>,
    subprotocol: Option<&'static str>,
    logs: Streaming<LogChunk>,
    counted: LongRunning,
) -> Result<Response<Body>, ApiError> {
    let (response, switched) = websocket::accept(request, subprotocol)?;
    tokio::spawn(async move {
        // Held for as long as it streams.
        let _counted = counted;
        match websocket::open(switched).await {
            Ok(socket) => run(socket, subprotocol == Some(BASE64), logs).await,
            Err(err) => tracing::debug!("a client did not take up its connection: {err}"),
        }
    });
    Ok(response)
}

async fn run(socket: Socket, base64: bool, mut logs: Streaming<LogChunk>) {
    let (mut sink, mut stream) = socket.split();
    let message = |data: Bytes| {
        if base64 { Message::Text(STANDARD.encode(data).into()) } else { Message::Binary(data) }
    };
    // The client has nothing to say but that it goes.
    let gone = async { while !matches!(stream.next().await, None | Some(Err(_) | Ok(Message::Close(_)))) {} };
    let told = async {
        // Tells the client that the connection stands, as upstream does.
        sink.send(message(Bytes::new())).await?;
        loop {
            match logs.message().await {
                Ok(Some(chunk)) => sink.send(message(chunk.data)).await?,
                Ok(None) => return Ok::<_, Error>(()),
                Err(status) => {
                    tracing::debug!("a node's log broke off: {status}");
                    return Ok(());
                }
            }
        }
    };
    tokio::select! {
        () = gone => return,
        result = told => if let Err(err) = result {
            return tracing::debug!("a reader of a log is gone: {err}");
        },
    }
    if sink.send(Message::Close(Some(websocket::normal_close()))).await.is_ok() {
        websocket::wait_for_close(stream).await;
    }
}
