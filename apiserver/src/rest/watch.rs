//! Watches: events as lines of chunked JSON, or as WebSocket messages.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corten_api::{ApiError, Reason};
use futures::{Stream, StreamExt};
use http::{Response, StatusCode};
use tokio::time::Instant;

use super::accept::Form;
use super::body::{Body, BoxError};
use super::query::{self, Query};
use super::read::Read;
use super::{read, respond};
use crate::flowcontrol::long_running::LongRunning;
use crate::registry::ApiResource;
use crate::resources::{Authorized, Event, EventKind, WatchStream, to};
use crate::table::{self, Include, Tables};

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
    /// As chunked JSON lines.
    pub fn into_response(self) -> Response<Body> {
        let chunks = self.into_stream().map(Ok::<_, BoxError>).boxed();
        respond::with_type(StatusCode::OK, respond::JSON, Body::Stream(chunks))
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

    /// One event and its newline; `None` at the end.
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
                    return Some(error_line(&err));
                }
            }
        }
    }
}

fn error_line(err: &ApiError) -> Bytes {
    wrapped("ERROR", &respond::status_json(err))
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
    include: Include,
    columns_sent: bool,
}

impl Renderer {
    fn line(&mut self, event: &Event) -> Bytes {
        if self.form == Form::Object {
            return event.frame();
        }
        match self.rendered(event) {
            Ok(object) => wrapped(event.kind.as_str(), &object),
            Err(err) => error_line(&err),
        }
    }
    fn rendered(&mut self, event: &Event) -> Result<Bytes, ApiError> {
        if self.form == Form::Metadata {
            return table::metadata_only(&event.object());
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
