//! Watches: events as lines of chunked JSON, or as WebSocket messages.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corten_api::{ApiError, Reason};
use futures::{Stream, StreamExt};
use http::{HeaderValue, Response, StatusCode};
use tokio::time::Instant;

use super::accept::{Encoding, Form};
use super::body::{Body, BoxError};
use super::frames::NEWEST;
use super::query::{self, Query};
use super::read::Read;
use super::{read, respond};
use crate::encode::protobuf;
use crate::flowcontrol::long_running::LongRunning;
use crate::registry::ApiResource;
use crate::resources::{Authorized, Event, EventKind, WatchStream, to};
use crate::table::{self, Include, Tables};

const FRAMES: HeaderValue = HeaderValue::from_static(protobuf::WATCH_MEDIA);
/// Events that wait together are joined into chunks of about this size.
const CHUNK_BYTES: usize = 64 * 1024;
/// A watch without `timeoutSeconds` ends after so many seconds, at random, so that clients do not come back at once.
const DEFAULT_SECS: std::ops::Range<u64> = 1800..3600;

/// A running watch, to be sent in whichever way the client takes it.
pub struct Watch {
    stream: WatchStream,
    waiting: VecDeque<Event>,
    ends: Instant,
    renderer: Renderer,
    _counted: LongRunning,
}

pub async fn start(read: &Read<'_>, may: &Authorized<to::Watch>, counted: LongRunning) -> Result<Watch, ApiError> {
    let (options, timeout) = query::watch_options(read.query, &may.target().name)?;
    let timeout = timeout.unwrap_or_else(|| Duration::from_secs(rand::random_range(DEFAULT_SECS)));
    let renderer = Renderer {
        resource: read.resource.clone(),
        form: read.wanted.form,
        is_protobuf: read.wanted.encoding == Encoding::Protobuf,
        include: Include::parse(read.query.get("includeObject"))?,
        columns_sent: false,
    };
    let stream = match read.resources.watch(may, options).await {
        // A watch that begins and ends with this error makes every client list again; some take an HTTP error for
        // something that passes, and come back with the same revision for ever.
        Err(err) if err.is(Reason::Expired) => futures::stream::iter([Err(err)]).boxed(),
        watched => watched?,
    };
    Ok(Watch { stream, waiting: VecDeque::new(), ends: Instant::now() + timeout, renderer, _counted: counted })
}

impl Watch {
    /// As chunked JSON lines, or frames of protobuf.
    pub fn into_response(self) -> Response<Body> {
        let content_type = if self.renderer.is_protobuf { FRAMES } else { respond::JSON };
        let chunks = self.into_stream().map(Ok::<_, BoxError>).boxed();
        respond::with_type(StatusCode::OK, content_type, Body::Stream(chunks))
    }
    fn into_stream(self) -> impl Stream<Item = Bytes> + Send {
        futures::stream::unfold(self, |mut watch| async { watch.next_chunk().await.map(|chunk| (chunk, watch)) })
    }

    /// Whole lines, as many as wait up to the bound; `None` at the end.
    pub async fn next_chunk(&mut self) -> Option<Bytes> {
        let first = self.next_line().await?;
        if self.waiting.is_empty() {
            return Some(first);
        }
        let mut chunk = BytesMut::from(first);
        while chunk.len() < CHUNK_BYTES {
            let Some(event) = self.waiting.pop_front() else { break };
            chunk.extend_from_slice(&self.renderer.line(&event));
        }
        Some(chunk.freeze())
    }

    /// Whether [`next_line`](Self::next_line) gives frames of protobuf.
    pub fn is_protobuf(&self) -> bool {
        self.renderer.is_protobuf
    }
    /// One event, as a line with its newline or as a frame; `None` at the end.
    pub async fn next_line(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(self.renderer.line(&event));
            }
            let batch = tokio::time::timeout_at(self.ends, self.stream.next()).await.ok()??;
            match batch {
                Ok(events) => self.waiting.extend(events),
                Err(err) => {
                    self.ends = Instant::now();
                    self.stream = futures::stream::empty().boxed();
                    return Some(self.renderer.error(&err));
                }
            }
        }
    }
}

fn wrapped(kind: &str, object: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + 40);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line.into()
}

/// Turns events into lines of the form that the watcher asked for.
struct Renderer {
    resource: Arc<ApiResource>,
    form: Form,
    is_protobuf: bool,
    include: Include,
    columns_sent: bool,
}

impl Renderer {
    fn line(&mut self, event: &Event) -> Bytes {
        if self.form == Form::Object && !self.is_protobuf {
            return event.frame();
        }
        // What is converted is made for each watcher anew, and cells tell the time.
        let is_same_for_all = self.form != Form::Table
            && self.resource.conversion().is_none()
            && !matches!(event.kind, EventKind::Bookmark { .. });
        let (form, is_protobuf) = (self.form, self.is_protobuf);
        let rendered = match is_same_for_all {
            true => NEWEST.shared(event, form, is_protobuf, || self.encoded(event)),
            false => self.encoded(event),
        };
        rendered.unwrap_or_else(|err| self.error(&err))
    }
    fn encoded(&mut self, event: &Event) -> Result<Bytes, ApiError> {
        let object = self.rendered(event)?;
        self.written(event.kind.as_str(), &object)
    }
    fn error(&self, err: &ApiError) -> Bytes {
        let status = respond::status_json(err);
        self.written("ERROR", &status).unwrap_or_else(|err| {
            tracing::error!(err = &err as &dyn std::error::Error, "a watch's error cannot be told in protobuf");
            Bytes::new()
        })
    }
    fn written(&self, kind: &str, object: &[u8]) -> Result<Bytes, ApiError> {
        Ok(if self.is_protobuf { protobuf::event(kind, object)? } else { wrapped(kind, object) })
    }
    fn rendered(&mut self, event: &Event) -> Result<Bytes, ApiError> {
        match self.form {
            Form::Object => return Ok(event.object()),
            Form::Metadata => return table::metadata_only(&event.object()),
            Form::Table => {}
        }
        let tables = Tables { include: self.include, ..read::tables(&self.resource, &Query::default())? };
        if matches!(event.kind, EventKind::Bookmark { .. }) {
            let mut out = tables.head(&table::list_meta(&event.revision().to_string(), None, None), false)?;
            out.extend_from_slice(Tables::TAIL);
            return Ok(out.into());
        }
        let columns = !std::mem::replace(&mut self.columns_sent, true);
        tables.single(&event.object(), columns)
    }
}
