//! `pods/log`: the kubelet's stream as a plain-text response, or as WebSocket messages.

mod over_websocket;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use corten_api::{ApiError, Object, Problems};
use corten_proto::node::{self, LogsRequest};
use futures::StreamExt;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;

use super::{kubelets, pod};
use crate::flowcontrol::long_running::LongRunning;
use crate::resources::{Authorized, to};
use crate::rest::body::{Body, BoxError};
use crate::rest::query::Query;
use crate::rest::{Front, respond};

/// From the request to the kubelet's first word: a node that is gone must not hold the client.
const FIRST_ANSWER: Duration = Duration::from_secs(15);

pub async fn serve(
    front: &Arc<Front>,
    may: &Authorized<to::Connect>,
    query: &Query<'_>,
    request: Request<Incoming>,
    counted: LongRunning,
) -> Result<Response<Body>, ApiError> {
    let mut wanted = options(query, SystemTime::now())?;
    let upgrade = over_websocket::wanted(request.headers())?;
    let pod = pod::read_pod(&front.resources, may).await?;
    let container = pod::choose_container(&pod, query.get("container"))?;
    pod::check_has_logs(&pod, &container, wanted.previous)?;
    let address = pod::kubelet_of(&front.resources, &pod).await?;
    wanted.target = Some(target_of(&pod, container));
    let mut client = front.kubelets.client(&address)?;
    let lost = |status: tonic::Status| {
        front.kubelets.forget(&address);
        kubelets::error_of(&address.node, &status)
    };
    let stream = tokio::time::timeout(FIRST_ANSWER, client.logs(wanted))
        .await
        .map_err(|_| lost(tonic::Status::deadline_exceeded("the kubelet does not answer")))?
        .map_err(lost)?
        .into_inner();
    if let Some(subprotocol) = upgrade {
        return over_websocket::serve(request, subprotocol, stream, counted);
    }
    let chunks = stream.map(move |chunk| {
        // Held here so that it is counted for as long as it streams.
        let _streaming = &counted;
        chunk.map(|c| c.data).map_err(BoxError::from)
    });
    Ok(respond::with_type(StatusCode::OK, respond::TEXT, Body::Stream(chunks.boxed())))
}

pub(super) fn target_of(pod: &k8s_openapi::api::core::v1::Pod, container: String) -> node::Target {
    node::Target { namespace: pod.namespace().into(), pod: pod.name().into(), uid: pod.uid().into(), container }
}

/// PodLogOptions. <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-read-log-of-the-specified-pod>
fn options(query: &Query<'_>, now: SystemTime) -> Result<LogsRequest, ApiError> {
    let mut problems = Problems::default();
    let tail = query.int("tailLines")?;
    if tail.is_some_and(|n| n < 0) {
        problems.invalid("tailLines", tail, "must be greater than or equal to 0");
    }
    let limit = query.int("limitBytes")?;
    if limit.is_some_and(|n| n < 1) {
        problems.invalid("limitBytes", limit, "must be greater than 0");
    }
    let since_secs = query.int("sinceSeconds")?;
    if since_secs.is_some_and(|n| n < 1) {
        problems.invalid("sinceSeconds", since_secs, "must be greater than 0");
    }
    if since_secs.is_some() && query.get("sinceTime").is_some() {
        problems.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified");
    }
    let stream = query.get("stream").unwrap_or_default();
    if !matches!(stream, "" | "All" | "Stdout" | "Stderr") {
        problems.unsupported("stream", stream, &["All", "Stderr", "Stdout"]);
    }
    if !problems.is_empty() {
        return Err(ApiError::invalid("", "PodLogOptions", "", problems));
    }
    Ok(LogsRequest {
        target: None,
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        tail_lines: tail.unwrap_or(-1),
        since_unix_nanos: since(query, since_secs, now)?,
        limit_bytes: limit.unwrap_or(0),
        stream: stream.to_owned(),
    })
}

fn since(query: &Query<'_>, secs: Option<i64>, now: SystemTime) -> Result<i64, ApiError> {
    let nanos = match (secs, query.get("sinceTime")) {
        (Some(secs), _) => {
            let now = Timestamp::try_from(now).map_err(ApiError::internal)?.as_nanosecond();
            now - i128::from(secs) * 1_000_000_000
        }
        (None, Some(text)) => {
            let parsed: Timestamp = text
                .parse()
                .map_err(|err| ApiError::bad_request(format!("sinceTime: {text:?} is not an RFC 3339 time: {err}")))?;
            parsed.as_nanosecond()
        }
        (None, None) => 0,
    };
    Ok(i64::try_from(nanos.max(0)).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_options() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let read = |query: &'static str| options(&Query::parse(Some(query)), now);
        let all = read("follow=true&previous=1&timestamps&tailLines=5&limitBytes=9").unwrap();
        assert!(all.follow && all.previous && all.timestamps);
        assert_eq!((all.tail_lines, all.limit_bytes, all.since_unix_nanos), (5, 9, 0));
        assert_eq!(read("").unwrap().tail_lines, -1);
        assert_eq!(read("sinceSeconds=10").unwrap().since_unix_nanos, 990_000_000_000);
        assert_eq!(read("sinceTime=1970-01-01T00:00:02Z").unwrap().since_unix_nanos, 2_000_000_000);
        for (query, code) in [
            ("tailLines=-1", 422),
            ("tailLines=x", 400),
            ("limitBytes=0", 422),
            ("sinceSeconds=0", 422),
            ("sinceSeconds=1&sinceTime=1970-01-01T00:00:02Z", 422),
            ("sinceTime=yesterday", 400),
            ("stream=Both", 422),
        ] {
            assert_eq!(read(query).unwrap_err().code(), code, "{query}");
        }
    }
}
