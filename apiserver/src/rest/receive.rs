//! Request bodies, received within their bounds.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corten_api::{ApiError, Reason};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::decode::MAX_BODY_BYTES;

/// Of a body that is too large, so much more is taken and thrown away: a client that is cut off while it still writes
/// sees a broken connection instead of the answer.
const MAX_DISCARDED_BYTES: usize = 16 * 1024 * 1024;
const DISCARD_DEADLINE: Duration = Duration::from_secs(5);

pub async fn body(headers: &HeaderMap, mut incoming: Incoming) -> Result<Bytes, ApiError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|len| len > MAX_BODY_BYTES) {
        discard(&mut incoming).await;
        return Err(too_large());
    }
    let mut first: Option<Bytes> = None;
    let mut joined = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|err| ApiError::bad_request(format!("the body could not be read: {err}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if joined.len() + first.as_ref().map_or(0, Bytes::len) + data.len() > MAX_BODY_BYTES {
            discard(&mut incoming).await;
            return Err(too_large());
        }
        // Most bodies come in one piece and need no copy.
        match first.take() {
            None if joined.is_empty() => first = Some(data),
            before => {
                joined.reserve(announced.unwrap_or(0).saturating_sub(joined.len()));
                joined.extend_from_slice(&before.unwrap_or_default());
                joined.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| joined.freeze()))
}

fn too_large() -> ApiError {
    ApiError::new(Reason::RequestEntityTooLarge, format!("Request entity too large: limit is {MAX_BODY_BYTES}"))
}

async fn discard(incoming: &mut Incoming) {
    let mut left = MAX_DISCARDED_BYTES;
    let swallow = async {
        while let Some(Ok(frame)) = incoming.frame().await {
            let len = frame.data_ref().map_or(0, Bytes::len);
            if len > left {
                break;
            }
            left -= len;
        }
    };
    // A client that is slow to send what nobody wants is cut off.
    let _in_time = tokio::time::timeout(DISCARD_DEADLINE, swallow).await;
}
