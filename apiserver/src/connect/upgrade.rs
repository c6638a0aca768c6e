//! Requests that become connections: which protocol the client wants, and the answer that switches to it.

use bytes::Bytes;
use corten_api::{ApiError, Reason};
use futures::{SinkExt, StreamExt};
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::codec::{BytesCodec, FramedWrite};
use tokio_util::io::StreamReader;

use super::spdy::session::Session;
use super::websocket::{self, Socket};
use crate::rest::body::Body;

const SPDY: &str = "SPDY/3.1";
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// How the client's streams travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The subprotocol; `None`: the client names none.
    WebSocket(Option<&'static str>),
    Spdy(&'static str),
}

/// The best protocol that both sides know. Both lists begin with what we like most.
pub fn choose(headers: &HeaderMap, websocket: &[&'static str], spdy: &[&'static str]) -> Result<Protocol, ApiError> {
    if websocket::is_upgrade(headers) {
        let offers = headers.contains_key(http::header::SEC_WEBSOCKET_PROTOCOL);
        let chosen = websocket::subprotocol(headers, websocket);
        return match chosen {
            None if offers => Err(refused(websocket)),
            chosen => Ok(Protocol::WebSocket(chosen)),
        };
    }
    if websocket::lists(headers, &CONNECTION, "upgrade") && websocket::lists(headers, &UPGRADE, SPDY) {
        let chosen = spdy.iter().copied().find(|p| websocket::lists(headers, &STREAM_PROTOCOL, p));
        return chosen.map(Protocol::Spdy).ok_or_else(|| refused(spdy));
    }
    Err(ApiError::bad_request("Upgrade request required"))
}

fn refused(ours: &[&str]) -> ApiError {
    ApiError::new(Reason::Forbidden, format!("unable to negotiate a protocol: the server knows {}", ours.join(", ")))
}

/// The response that switches to `protocol`, and the connection that will be there once it is sent.
pub fn accept(mut request: Request<Incoming>, protocol: Protocol) -> Result<(Response<Body>, OnUpgrade), ApiError> {
    let version = match protocol {
        Protocol::WebSocket(subprotocol) => return websocket::accept(request, subprotocol),
        Protocol::Spdy(version) => version,
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(SPDY));
    headers.insert(STREAM_PROTOCOL, HeaderValue::from_static(version));
    Ok((response, hyper::upgrade::on(&mut request)))
}

/// SPDY on the bare connection.
pub async fn spdy(upgrade: OnUpgrade) -> Result<Session, hyper::Error> {
    let (reader, writer) = tokio::io::split(TokioIo::new(upgrade.await?));
    Ok(Session::start(reader, FramedWrite::new(writer, BytesCodec::new()), |frame| frame, None))
}

/// SPDY inside a WebSocket's binary messages.
pub fn spdy_inside(socket: Socket) -> Session {
    let (sink, stream) = socket.split();
    let bytes = stream.filter_map(|message| {
        std::future::ready(match message {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(_) => None,
            Err(err) => Some(Err(io::Error::other(err))),
        })
    });
    let reader = StreamReader::new(Box::pin(bytes));
    let farewell = Message::Close(Some(websocket::normal_close()));
    Session::start(reader, sink.sink_map_err(io::Error::other), |frame: Bytes| Message::Binary(frame), Some(farewell))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn protocols() {
        let up = ("connection", "Upgrade");
        let cases = [
            (
                headers(&[up, ("upgrade", "websocket"), ("sec-websocket-protocol", "v4, v5")]),
                Ok(Protocol::WebSocket(Some("v5"))),
            ),
            (headers(&[up, ("upgrade", "websocket")]), Ok(Protocol::WebSocket(None))),
            (headers(&[up, ("upgrade", "websocket"), ("sec-websocket-protocol", "v1")]), Err(403)),
            (headers(&[up, ("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v4")]), Ok(Protocol::Spdy("v4"))),
            (headers(&[up, ("upgrade", "SPDY/3.1")]), Err(403)),
            (headers(&[up]), Err(400)),
            (headers(&[]), Err(400)),
        ];
        for (headers, expected) in cases {
            let have = choose(&headers, &["v5", "v4"], &["v4"]).map_err(|e| e.code());
            assert_eq!(have, expected, "{headers:?}");
        }
    }
}
