//! Who asked for what, and what became of it: told to whoever keeps it, also of what is refused on the way, and of what its
//! client did not wait for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use corten_api::ApiError;
use http::{Request, Response};
use tower::{Layer, Service};

use super::{Answering, Inner, Means, Pipeline, door, ready, refused};
use crate::authz::Attributes;
use crate::request_info::{self, RequestInfo};
use crate::rest::body::Body;
use crate::rest::receive::Unread;
use crate::told::Shows;

/// A request that is over: upstream's stage `ResponseComplete`; of what lasts, `ResponseStarted`.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// With what is told of it: its annotations.
    pub request: &'a RequestInfo,
    /// HTTP's. None: nobody has waited for the answer. What it was to write may be written.
    pub code: Option<u16>,
}

/// Who keeps events. Called on the request's way: it must not wait.
pub trait Audit: Send + Sync + fmt::Debug {
    /// Whether it wants events now. Without, they cost nothing.
    fn is_on(&self) -> bool;
    fn tell(&self, event: Event<'_>);
}

/// In the server's own log, for those who want that much of it (`corten_apiserver::audit=debug`).
#[derive(Clone, Copy, Debug)]
pub struct Log;

const TARGET: &str = "corten_apiserver::audit";

impl Audit for Log {
    fn is_on(&self) -> bool {
        tracing::enabled!(target: TARGET, tracing::Level::DEBUG)
    }
    fn tell(&self, Event { request, code }: Event<'_>) {
        let id = request.id.header();
        let id = id.as_ref().map(|id| id.as_bytes()).unwrap_or_default();
        let name = |user: Option<&Arc<crate::request::User>>| user.map(|user| user.name.clone());
        let (sender, user) = (name(request.sender()), name(request.counts_as()));
        let asked = request.asked().and_then(|asked| asked.attributes());
        let (verb, about) = match &asked {
            Some(Attributes::Resource { verb, target }) => (*verb, Some(*target)),
            Some(Attributes::Path { verb, .. }) => (*verb, None),
            None => (request.verb, None),
        };
        let path = match asked {
            Some(Attributes::Path { path, .. }) => Some(path),
            _ => None,
        };
        let id = String::from_utf8_lossy(id);
        let level = request.sorted().map(|sorted| sorted.priority_level());
        // As upstream's level Metadata: nothing that a body may hold.
        let told = request.told.annotations();
        let told: BTreeMap<&str, &str> = told
            .iter()
            .filter(|(_, annotation)| annotation.shows == Shows::Metadata)
            .map(|(key, annotation)| (key.as_str(), annotation.value.as_str()))
            .collect();
        tracing::debug!(target: TARGET, %id, sender, user, verb, ?about, path, level, code, annotations = ?told, "answered");
    }
}

#[derive(Clone, Debug)]
pub(super) struct Record {
    audit: Arc<dyn Audit>,
}

impl Record {
    pub(super) fn new(means: &Means) -> Self {
        Self { audit: means.audit.clone() }
    }
}

pub(super) struct Recording {
    audit: Arc<dyn Audit>,
    inner: Inner<Unread>,
}

impl<S: Pipeline<Unread> + 'static> Layer<S> for Record {
    type Service = Recording;

    fn layer(&self, inner: S) -> Recording {
        Recording { audit: self.audit.clone(), inner: Box::new(inner) }
    }
}

impl<'a> Service<Request<Unread>> for &'a Recording {
    type Response = Response<Body>;
    type Error = ApiError;
    type Future = Answering<'a>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        ready()
    }

    fn call(&mut self, request: Request<Unread>) -> Answering<'a> {
        let Recording { audit, inner } = *self;
        let next = &**inner;
        if !audit.is_on() {
            return next.answer(request);
        }
        let info = match request_info::of(&request) {
            Ok(info) => info,
            Err(err) => return refused(err),
        };
        let answering = next.answer(request);
        Box::pin(async move {
            let mut recorded = Recorded { audit: &**audit, info: &info, code: None };
            let answer = answering.await;
            recorded.code = Some(door::code(info.door, &answer));
            drop(recorded);
            answer
        })
    }
}

/// A request that is told of when it is over, however it ends.
struct Recorded<'a> {
    audit: &'a dyn Audit,
    info: &'a RequestInfo,
    code: Option<u16>,
}

impl Drop for Recorded<'_> {
    fn drop(&mut self) {
        let code = self.code.or_else(|| std::thread::panicking().then_some(500));
        self.audit.tell(Event { request: self.info, code });
    }
}
