//! The REST API behind the pipeline: a request that may be in, its response out. The path has been read ([`RequestInfo`]); there is
//! no router to walk.

pub mod accept;
pub mod body;
mod frames;
pub mod gzip;
pub mod logs;
pub mod openapi;
pub mod paths;
pub mod query;
pub mod read;
pub mod receive;
pub mod respond;
pub mod review;
pub mod unfinished;
mod usage;
pub mod watch;
pub mod write;

use std::sync::Arc;

use corten_api::ApiError;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;

use self::body::Body;
use self::query::Query;
use self::read::Read;
use self::receive::Unread;
use self::unfinished::Unfinished;
use crate::aside;
use crate::connect::aggregated::forward;
use crate::connect::aggregated::reach::Reach;
use crate::connect::proxy::{self, Proxy};
use crate::connect::{self, Kubelets};
use crate::discovery::Discovery;
use crate::flowcontrol::FlowControl;
use crate::flowcontrol::seat::Seat;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::openapi::Documents;
use crate::registry::ApiResource;
use crate::request::{Target, Verb};
use crate::request_info::{REQUEST_TIMEOUT, RequestInfo, Subject};
use crate::resources::{Allowed, Authorized, Permit, Resources, to};
use crate::usage::collector::Collector;
use crate::usage::find as find_usage;

/// What requests are answered from. One for the process.
#[derive(Debug)]
pub struct Front {
    pub resources: Resources,
    pub discovery: Discovery,
    pub openapi: Arc<Documents>,
    pub kubelets: Kubelets,
    pub usage: Collector,
    pub proxy: Proxy,
    /// How other servers are reached that answer for group versions.
    pub reach: Reach,
    pub health: Health,
    pub metrics: Arc<Metrics>,
    pub flow: FlowControl,
    pub unfinished: Arc<Unfinished>,
}

/// A resource request on its way through.
#[derive(Clone, Copy)]
struct Asking<'a> {
    verb: Verb,
    target: &'a Target,
    /// None of our own names, and of what is not served.
    resource: Option<&'a Arc<ApiResource>>,
    query: &'a Query<'a>,
    headers: &'a HeaderMap,
}

/// A body, and the seats that are held while it comes.
struct Inbound {
    body: Unread,
    seat: Seat,
}

impl Front {
    /// Answers a request that may be. Of its body nothing is read that its handler does not ask for.
    ///
    /// What takes much room while it is at work is boxed, here and below: a get must not pay for what a write needs.
    pub async fn serve(
        self: &Arc<Self>,
        info: &RequestInfo,
        may: Permit,
        seat: Option<Seat>,
        request: Request<Unread>,
    ) -> Result<Response<Body>, ApiError> {
        let raw_query = request.uri().query().map(str::to_owned);
        let query = &Query::parse(raw_query.as_deref());
        let question = info.question()?;
        match (may, &question.subject) {
            (Permit::Path(_) | Permit::Connection(_), Subject::Delegated { asked, to }) => {
                Box::pin(forward::answer(self, info, forward::Passed { asked, to }, seat, request)).await
            }
            (Permit::Path(may), _) => {
                if !matches!(may.verb(), "get" | "head") {
                    return Err(respond::method_not_allowed());
                }
                Box::pin(self.serve_path(&may, query, request.headers())).await
            }
            (Permit::Connection(may), Subject::Container { verb, target }) => {
                self.resources.fitting(*verb, target)?;
                let counted = self.flow.enter_long(may.user())?;
                Box::pin(connect::serve(self, &may, query, whole(request)?, counted)).await
            }
            (Permit::Connection(may), Subject::Proxied { target, path, .. }) => {
                Box::pin(proxy::answer(self, &may, proxy::Asked { target, path }, request)).await
            }
            (Permit::Resource(may), Subject::Resource { verb, target }) => {
                let (parts, body) = request.into_parts();
                let resource = question.resource.as_ref();
                let asking = Asking { verb: *verb, target, resource, query, headers: &parts.headers };
                if let Allowed::Watch(may) = &may {
                    let watch = Box::pin(self.watch(asking, may)).await?;
                    drop(seat);
                    return begun(parts, body, watch);
                }
                let seat = seat.ok_or_else(|| ApiError::internal("a request that has waited for no seat"))?;
                let response = self.short(asking, &may, Inbound { body, seat }).await?;
                let prefers_protobuf = accept::prefers_protobuf(&parts.headers);
                let left = respond::left_to_encode(prefers_protobuf, &response);
                let is_large = left.is_some_and(|json| json.len() > aside::LARGE_BODY_BYTES);
                let encoded = async { respond::encoded(prefers_protobuf, response) };
                Ok(gzip::compress(&parts.headers, aside::aside(&may.user().name, is_large, encoded).await))
            }
            (Permit::Connection(_) | Permit::Resource(_), _) => {
                Err(ApiError::internal("what was allowed is not what is asked"))
            }
        }
    }

    /// A watch holds seats while it begins, and none while it lasts.
    async fn watch(&self, asking: Asking<'_>, may: &Authorized<to::Watch>) -> Result<watch::Watch, ApiError> {
        let Asking { verb, target, resource, query, headers } = asking;
        let Some(resource) = resource else {
            let is_usage = find_usage(target).is_some();
            return Err(if is_usage { respond::method_not_allowed() } else { respond::no_such_path() });
        };
        self.resources.fitting(verb, target)?;
        let counted = self.flow.enter_long(may.user())?;
        let wanted = accept::wanted(headers)?.of(resource);
        watch::start(&Read { resources: &self.resources, resource, query, headers, wanted }, may, counted).await
    }

    async fn short(&self, asking: Asking<'_>, may: &Allowed, inbound: Inbound) -> Result<Response<Body>, ApiError> {
        let Asking { verb, target, resource, query, headers } = asking;
        let resources = &self.resources;
        let Some(resource) = resource else {
            if let Some(kind) = find_usage(target) {
                return Box::pin(self.usage(kind, may, asking)).await;
            }
            let question = review::find(target).ok_or_else(respond::no_such_path)?;
            accept::wanted_without_tables(headers)?;
            let (body, _seat) = self.receive(may, inbound).await?;
            let content_type = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
            let is_large = body.len() > aside::LARGE_BODY_BYTES;
            let answer = Box::pin(review::answer(resources, question, may, query, content_type, body));
            return aside::aside(&may.user().name, is_large, answer).await;
        };
        resources.fitting(verb, target)?;
        // What a subresource answers that is made by a POST (a token, a Status) is no row of any table.
        let is_answer = matches!(may, Allowed::Create(_)) && !target.subresource.is_empty();
        let wanted = if is_answer { accept::wanted_without_tables(headers)? } else { accept::wanted(headers)? };
        let wanted = wanted.of(resource);
        let read = Read { resources, resource, query, headers, wanted };
        match may {
            Allowed::Get(may) => return read::get(read, may).await,
            Allowed::List(may) => return read::list(read, may).await,
            // What is left writes; watches last, and do not come here.
            Allowed::Watch(_)
            | Allowed::Create(_)
            | Allowed::Update(_)
            | Allowed::Patch(_)
            | Allowed::Delete(_)
            | Allowed::DeleteCollection(_) => {}
        }
        let (body, _seat) = self.receive(may, inbound).await?;
        let is_large = resources.is_large(may, body.len());
        let write = write::Write { resources, resource, query, headers, wanted, body };
        let written = tokio::time::timeout(REQUEST_TIMEOUT, Self::write(may, write));
        aside::aside(&may.user().name, is_large, written).await.unwrap_or_else(|_| Err(respond::timed_out()))
    }

    /// The body, and the seats: they are held until the request is done.
    async fn receive(&self, may: &Allowed, inbound: Inbound) -> Result<(bytes::Bytes, Seat), ApiError> {
        let Inbound { body, mut seat } = inbound;
        let body = receive::whole(&self.unfinished, &may.user().name, &mut seat, body.take()?).await?;
        Ok((body, seat))
    }

    async fn write(may: &Allowed, write: write::Write<'_>) -> Result<Response<Body>, ApiError> {
        match may {
            Allowed::Create(may) => Box::pin(write::create(write, may)).await,
            Allowed::Update(may) => Box::pin(write::update(write, may)).await,
            Allowed::Patch(may) => Box::pin(write::patch(write, may)).await,
            Allowed::Delete(may) => Box::pin(write::delete(write, may)).await,
            Allowed::DeleteCollection(may) => Box::pin(write::delete_collection(write, may)).await,
            Allowed::Get(_) | Allowed::List(_) | Allowed::Watch(_) => Err(respond::method_not_allowed()),
        }
    }
}

/// With its body as it comes, for whoever passes it on.
fn whole(request: Request<Unread>) -> Result<Request<Incoming>, ApiError> {
    let (parts, body) = request.into_parts();
    Ok(Request::from_parts(parts, body.take()?.into_incoming()?))
}

/// A watch in whichever way its client takes it.
fn begun(parts: Parts, body: Unread, watch: watch::Watch) -> Result<Response<Body>, ApiError> {
    if connect::websocket::is_upgrade(&parts.headers) {
        connect::websocket::serve_watch(Request::from_parts(parts, body), watch)
    } else {
        Ok(watch.into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Asked = (&'static Arc<Front>, &'static RequestInfo, Permit, Request<Unread>);

    fn size_of_future<F>(_: impl FnOnce(Asked) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_request_takes_little_room_whatever_it_is() {
        let bytes = size_of_future(|(front, info, may, request)| front.serve(info, may, None, request));
        assert!(bytes < 16 * 1024, "{bytes}");
    }
}
