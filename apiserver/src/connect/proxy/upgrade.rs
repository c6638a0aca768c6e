//! Connections that become something else (WebSocket, SPDY): joined with one to what is behind, byte for byte.

use std::time::Duration;

use corten_api::ApiError;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::dial::Connection;
use super::relay::{Download, Open};
use super::{headers, relay};
use crate::flowcontrol::long_running::LongRunning;
use crate::rest::body::Body;

/// When one side has said all, the other has so long to say what is left.
const HALF_CLOSED_MAX: Duration = Duration::from_secs(30);

/// Sends a request that asks for another protocol, and joins the connections once both sides have switched. What refuses is
/// shown as it is.
pub async fn serve(
    connection: Connection,
    request: Request<Incoming>,
    switched: OnUpgrade,
    patience: Duration,
    counted: LongRunning,
) -> Result<Response<Body>, ApiError> {
    let sent = relay::send(connection, request, patience).await;
    let (mut response, open) = sent.map_err(|why| ApiError::internal(format!("error dialing backend: {why}")))?;
    match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => {}
        code if code.as_u16() < 400 => {
            return Err(ApiError::internal(format!("invalid upgrade response: status code {}", code.as_u16())));
        }
        _ => {
            let (mut parts, body) = response.into_parts();
            parts.headers = headers::of_response(parts.headers);
            let body = Body::relayed(Download::new(body, open, counted));
            let mut refused = Response::new(body);
            (*refused.status_mut(), *refused.headers_mut()) = (parts.status, parts.headers);
            return Ok(refused);
        }
    }
    let behind = hyper::upgrade::on(&mut response);
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = std::mem::take(response.headers_mut());
    tokio::spawn(async move {
        let _counted = counted;
        joined(switched, behind, open).await;
    });
    Ok(answer)
}

async fn joined(client: OnUpgrade, behind: OnUpgrade, open: Open) {
    match tokio::try_join!(client, behind) {
        Ok((client, behind)) => join(TokioIo::new(client), TokioIo::new(behind)).await,
        Err(err) => tracing::debug!("a client did not take up its connection: {err}"),
    }
    drop(open);
}

async fn join<A, B>(client: A, behind: B)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (from_client, to_client) = tokio::io::split(client);
    let (from_behind, to_behind) = tokio::io::split(behind);
    let mut up = std::pin::pin!(copy(from_client, to_behind));
    let mut down = std::pin::pin!(copy(from_behind, to_client));
    tokio::select! {
        whole = &mut up => if whole { rest(down).await },
        whole = &mut down => if whole { rest(up).await },
    }
}

/// The other half, once one has ended well.
async fn rest(other: impl Future<Output = bool>) {
    if tokio::time::timeout(HALF_CLOSED_MAX, other).await.is_err() {
        tracing::debug!("one side of a proxied connection has closed, and the other does not");
    }
}

/// Until the end, which is passed on. Whether it was one: a connection that broke has no other half.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> bool {
    // Eight kilobytes at a time: nothing more is read before those are written.
    let copied = async {
        tokio::io::copy(&mut from, &mut to).await?;
        to.shutdown().await
    };
    let ended = copied.await;
    if let Err(err) = &ended {
        tracing::debug!("a proxied connection broke: {err}");
    }
    ended.is_ok()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_one_side_says_the_other_hears_and_so_with_ends() {
        let (mut client, ours) = tokio::io::duplex(16);
        let (theirs, mut behind) = tokio::io::duplex(16);
        let joined = tokio::spawn(join(ours, theirs));
        client.write_all(b"a question that is longer than sixteen").await.unwrap();
        client.shutdown().await.unwrap();
        let mut heard = String::new();
        behind.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "a question that is longer than sixteen");
        behind.write_all(b"its answer").await.unwrap();
        drop(behind);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "its answer", "what comes after the client's end is not lost");
        joined.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_stays_silent_after_the_others_end_is_cut_off() {
        let (client, ours) = tokio::io::duplex(16);
        let (theirs, behind) = tokio::io::duplex(16);
        drop(client);
        let began = tokio::time::Instant::now();
        join(ours, theirs).await;
        assert!(began.elapsed() >= HALF_CLOSED_MAX);
        drop(behind);
    }
}
