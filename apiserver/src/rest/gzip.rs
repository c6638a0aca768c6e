//! Large responses are compressed for those who ask.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue, VARY};

use super::body::{Body, BoxError};

/// Smaller bodies cost more to compress than to send. Upstream's number.
const MIN_BYTES: usize = 128 * 1024;
/// Bytes that one step compresses before it lets others run: about half a millisecond's work.
const STEP_BYTES: usize = 64 * 1024;

/// Compresses the body of `response` if it is worth it and `asked` (the request's headers) accepts it.
pub fn compress(asked: &HeaderMap, mut response: http::Response<Body>) -> http::Response<Body> {
    if response.body().known_len().is_none_or(|len| len < MIN_BYTES) || !accepts_gzip(asked) {
        return response;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    response.map(|body| match body {
        Body::Whole(bytes) => stream(pieces(bytes.unwrap_or_default())),
        Body::Joined(joined) => stream(joined),
        other => other,
    })
}

pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let listed = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    listed.map(str::trim).any(|coding| {
        let (name, params) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim() == "gzip" && params.replace(' ', "") != "q=0"
    })
}

fn pieces(mut bytes: Bytes) -> impl Iterator<Item = Bytes> + Send + 'static {
    std::iter::from_fn(move || (!bytes.is_empty()).then(|| bytes.split_to(bytes.len().min(STEP_BYTES))))
}

fn stream(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Body {
    // Level 1, as upstream: the network between nodes is fast, CPU is what is short.
    let encoder = GzEncoder::new(Vec::with_capacity(STEP_BYTES), Compression::fast());
    let steps = futures::stream::unfold(Some((encoder, pieces)), |state| async {
        let (mut encoder, mut pieces) = state?;
        let Some(piece) = pieces.next() else {
            let rest = encoder.finish().map_err(BoxError::from).map(Bytes::from);
            return Some((rest, None));
        };
        if let Err(err) = encoder.write_all(&piece) {
            return Some((Err(err.into()), None));
        }
        let done = Bytes::from(std::mem::take(encoder.get_mut()));
        tokio::task::yield_now().await;
        Some((Ok(done), Some((encoder, pieces))))
    });
    Body::Stream(steps.filter(|step| std::future::ready(!matches!(step, Ok(bytes) if bytes.is_empty()))).boxed())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn large_bodies_shrink_and_come_back_whole() {
        let text = Bytes::from("0123456789".repeat(100_000));
        for (asked, compressed) in [("gzip, deflate", true), ("br", false), ("gzip;q=0", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, asked.parse().unwrap());
            let response = compress(&headers, http::Response::new(Body::whole(text.clone())));
            assert_eq!(response.headers().contains_key(CONTENT_ENCODING), compressed, "{asked}");
            let sent = response.into_body().collect().await.unwrap().to_bytes();
            let mut read = Vec::new();
            if compressed {
                flate2::read::GzDecoder::new(sent.as_ref()).read_to_end(&mut read).unwrap();
            } else {
                read = sent.to_vec();
            }
            assert_eq!(read, text, "{asked}");
        }
    }
}
