//! The server's side of WebSockets on hyper's connections. RFC 6455.

use std::time::Duration;

use corten_api::ApiError;
use futures::{SinkExt, Stream, StreamExt};
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Request, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::authn::bearer;
use crate::rest::body::Body;
use crate::rest::watch::Watch;

/// What stands before a frame of a watch in protobuf.
const FRAME_LENGTH: usize = size_of::<u32>();
/// One message. kubectl sends at most 32 KiB at a time.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// For a client's answer to our close.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// Written before the socket is waited for.
const MAX_WRITE_BUFFER_BYTES: usize = 2 * MAX_MESSAGE_BYTES;

pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Whether `header` lists `token`, in any case.
pub fn lists(headers: &HeaderMap, header: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(header).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|t| t.trim().eq_ignore_ascii_case(token))
}

pub fn is_upgrade(headers: &HeaderMap) -> bool {
    lists(headers, &CONNECTION, "upgrade") && lists(headers, &UPGRADE, "websocket")
}

/// The first of `ours` that the client offers; `None` if it offers none of them.
pub fn subprotocol(headers: &HeaderMap, ours: &[&'static str]) -> Option<&'static str> {
    ours.iter().copied().find(|p| lists(headers, &SEC_WEBSOCKET_PROTOCOL, p))
}

/// The response that switches protocols, and the socket that will be there once it is sent.
pub fn accept<B>(
    request: Request<B>,
    subprotocol: Option<&'static str>,
) -> Result<(Response<Body>, OnUpgrade), ApiError> {
    switched(request, subprotocol.map(HeaderValue::from_static))
}

fn switched<B>(
    mut request: Request<B>,
    subprotocol: Option<HeaderValue>,
) -> Result<(Response<Body>, OnUpgrade), ApiError> {
    let headers = request.headers();
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|v| v != "13") {
        return Err(ApiError::bad_request("only version 13 of the WebSocket protocol is spoken here"));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or_else(|| ApiError::bad_request("Sec-WebSocket-Key is missing"))?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).map_err(ApiError::internal)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let out = response.headers_mut();
    out.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    out.insert(UPGRADE, HeaderValue::from_static("websocket"));
    out.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = subprotocol {
        out.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok((response, hyper::upgrade::on(&mut request)))
}

/// The socket, once the response that accepted it is sent.
pub async fn open(upgrade: OnUpgrade) -> Result<Socket, hyper::Error> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES);
    let io = TokioIo::new(upgrade.await?);
    Ok(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await)
}

/// The close that says all is well, code 1000: kubectl reports any other as an error.
pub fn normal_close() -> CloseFrame {
    CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() }
}

/// After our close: reads on until the client's, so that what was sent last is not lost to a reset.
pub async fn wait_for_close(mut messages: impl Stream<Item = Result<Message, Error>> + Unpin) {
    let ended = async { while let Some(Ok(_)) = messages.next().await {} };
    // One that does not answer is cut off.
    let _in_time = tokio::time::timeout(CLOSE_DEADLINE, ended).await;
}

/// A watch, one message for each event.
pub fn serve_watch<B>(request: Request<B>, mut watch: Watch) -> Result<Response<Body>, ApiError> {
    // Who sends a token as a subprotocol must be answered with another one.
    let other = bearer::offered_besides_token(request.headers()).and_then(|other| HeaderValue::try_from(other).ok());
    let (response, upgrade) = switched(request, other)?;
    tokio::spawn(async move {
        let mut socket = match open(upgrade).await {
            Ok(socket) => socket,
            Err(err) => return tracing::debug!("a WebSocket watch was not taken up: {err}"),
        };
        while let Some(line) = watch.next_line().await {
            if watch.is_protobuf() {
                // A message has its own length.
                if let Err(err) = socket.send(Message::Binary(line.slice(FRAME_LENGTH.min(line.len())..))).await {
                    return tracing::debug!("a WebSocket watch ended: {err}");
                }
                continue;
            }
            let text = Utf8Bytes::try_from(line.slice(..line.len().saturating_sub(1)));
            let sent = match text {
                Ok(text) => socket.send(Message::Text(text)).await,
                Err(err) => Err(Error::Utf8(err.to_string())),
            };
            if let Err(err) = sent {
                return tracing::debug!("a WebSocket watch ended: {err}");
            }
        }
        // The client may be gone already, and then there is nobody to tell.
        if socket.send(Message::Close(Some(normal_close()))).await.is_ok() {
            wait_for_close(socket).await;
        }
    });
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upgrades_and_subprotocols() {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, "keep-alive, Upgrade".parse().unwrap());
        headers.insert(UPGRADE, "WebSocket".parse().unwrap());
        headers.insert(SEC_WEBSOCKET_PROTOCOL, "v5.channel.k8s.io, v4.channel.k8s.io".parse().unwrap());
        assert!(is_upgrade(&headers));
        assert_eq!(subprotocol(&headers, &["v4.channel.k8s.io"]), Some("v4.channel.k8s.io"));
        assert_eq!(subprotocol(&headers, &["v5.channel.k8s.io", "v4.channel.k8s.io"]), Some("v5.channel.k8s.io"));
        assert_eq!(subprotocol(&headers, &["v1.channel.k8s.io"]), None);
        headers.insert(UPGRADE, "SPDY/3.1".parse().unwrap());
        assert!(!is_upgrade(&headers));
    }
}
