//! The REST API: one request in, one response out. Routes by our own reading of the path; there is no router to walk.

pub mod accept;
pub mod aside;
pub mod body;
pub mod gzip;
mod impersonation;
pub mod logs;
pub mod openapi;
pub mod paths;
pub mod query;
pub mod read;
pub mod receive;
pub mod respond;
pub mod review;
mod usage;
pub mod watch;
pub mod write;

use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_api::ApiError;
use corten_api::selector::FieldSelector;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Request, Response};
use hyper::body::Incoming;

use self::body::Body;
use self::query::Query;
use self::read::Read;
use self::receive::{Arriving, SlowBodies};
use crate::authz::Attributes;
use crate::connect::proxy::{self, Proxy};
use crate::connect::{self, Kubelets};
use crate::decode::MAX_BODY_BYTES;
use crate::discovery::Discovery;
use crate::flowcontrol::work::{self, Walk};
use crate::flowcontrol::{Classified, FlowControl, seat::Seat};
use crate::health::Health;
use crate::metrics::{Metrics, RequestLabels};
use crate::openapi::Documents;
use crate::registry::ApiResource;
use crate::request::{self, Asked, RequestError, Target, User, Verb};
use crate::resources::{Allowed, AuthorizedPath, Resources, to};
use crate::usage::collector::Collector;
use crate::usage::find as find_usage;

/// A request that is not done by then is told so. Watches and connections to containers last as long as they like.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What requests are answered from. One for the process.
#[derive(Debug)]
pub struct Front {
    pub resources: Resources,
    pub discovery: Discovery,
    pub openapi: Arc<Documents>,
    pub kubelets: Kubelets,
    pub usage: Collector,
    pub proxy: Proxy,
    pub health: Health,
    pub metrics: Metrics,
    pub flow: FlowControl,
    pub slow_bodies: SlowBodies,
}

/// A resource request on its way through.
#[derive(Clone, Copy)]
struct Asking<'a> {
    user: &'a Arc<User>,
    verb: Verb,
    target: &'a Target,
    query: &'a Query<'a>,
    /// The field selector. One that is malformed is told of later, to those who may ask.
    fields: &'a FieldSelector,
}

fn field_selector(query: &Query<'_>) -> FieldSelector {
    query.get("fieldSelector").and_then(|text| FieldSelector::parse(text).ok()).unwrap_or_default()
}

impl Front {
    /// Answers a REST request that `caller` sent, or nobody who is to be believed. Every outcome is a response.
    pub async fn answer(
        self: &Arc<Self>,
        caller: Result<Arc<User>, ApiError>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let began = Instant::now();
        let raw_query = request.uri().query().map(str::to_owned);
        let query = Query::parse(raw_query.as_deref());
        let asked = request::parse(request.method(), request.uri().path(), query.flag("watch"));
        let result = match asked {
            Ok(Asked::Path(path)) => self.path(caller, &path, &query, &request).await,
            Ok(Asked::Resource { verb, target }) => {
                let asked = Attributes::Resource { verb: verb.as_str(), target: &target };
                match self.counted_as(caller, request.headers(), asked).await {
                    Ok(user) => {
                        let fields = &field_selector(&query);
                        let asking = Asking { user: &user, verb, target: &target, query: &query, fields };
                        return self.resource(asking, request, began).await;
                    }
                    Err(err) => Err(err),
                }
            }
            Ok(Asked::Proxied { verb, target, path }) => {
                let asked = Attributes::Resource { verb, target: &target };
                match self.counted_as(caller, request.headers(), asked).await {
                    Ok(user) => {
                        let asked = proxy::Asked { verb, target: &target, path: &path };
                        return self.proxied(&user, asked, request).await;
                    }
                    Err(err) => Err(err),
                }
            }
            Err(RequestError::Method) => Err(respond::method_not_allowed()),
            Err(RequestError::NoSuchPath) => Err(respond::no_such_path()),
            Err(err @ RequestError::NotUtf8) => Err(ApiError::bad_request(err.to_string())),
        };
        let response = result.unwrap_or_else(|err| respond::error(&err));
        self.count("get", None, response.status().as_u16(), Some(began.elapsed()));
        let (parts, body) = request.into_parts();
        receive::discard_unread(&parts, body).await;
        response
    }

    async fn path(
        &self,
        caller: Result<Arc<User>, ApiError>,
        path: &str,
        query: &Query<'_>,
        request: &Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let headers = request.headers();
        let verb = request.method().as_str().to_ascii_lowercase();
        let asked = Attributes::Path { verb: &verb, path };
        let user = self.counted_as(caller, headers, asked).await?;
        let flow = self.flow.classify(&user, asked);
        let answered = async {
            let _seat = flow.admit(1).await?;
            let may = AuthorizedPath::ask(self.resources.authorizer(), &user, &verb, path)?;
            if !matches!(may.verb(), "get" | "head") {
                return Err(respond::method_not_allowed());
            }
            self.serve_path(&may, query, headers).await
        };
        let mut response = answered.await.unwrap_or_else(|err| respond::error(&err));
        flow.tell(response.headers_mut());
        Ok(response)
    }

    async fn resource(
        self: &Arc<Self>,
        asking: Asking<'_>,
        request: Request<Incoming>,
        began: Instant,
    ) -> Response<Body> {
        let (verb, target) = (asking.verb, asking.target);
        let resource = self.resources.registry().find(&target.group, &target.version, &target.resource);
        let resource = resource.as_ref();
        let long_running = is_long_running(verb, target);
        let flow = self.flow.classify(asking.user, Attributes::Resource { verb: verb.as_str(), target });
        let result = if long_running {
            self.long(asking, &flow, resource, request).await
        } else {
            let (parts, incoming) = request.into_parts();
            let mut body = Some(incoming);
            let answered =
                tokio::time::timeout(REQUEST_TIMEOUT, self.short(asking, &flow, resource, &parts.headers, &mut body))
                    .await;
            if let Some(unread) = body {
                receive::discard_unread(&parts, unread).await;
            }
            let answered = answered.unwrap_or_else(|_| Err(respond::timed_out()));
            let response = answered.unwrap_or_else(|err| respond::error(&err));
            Ok(gzip::compress(&parts.headers, respond::encoded(&parts.headers, response)))
        };
        let mut response = result.unwrap_or_else(|err| respond::error(&err));
        if let Some(text) = resource.and_then(|resource| resource.deprecation()) {
            respond::add_warnings(&mut response, &[text.to_owned()]);
        }
        // What lasts and is no watch takes no turn.
        if !long_running || verb == Verb::Watch {
            flow.tell(response.headers_mut());
        }
        let took = (!long_running).then(|| began.elapsed());
        self.count(verb.as_str(), resource, response.status().as_u16(), took);
        response
    }

    /// Whatever is behind: it answers as it likes, for as long as it likes.
    async fn proxied(
        self: &Arc<Self>,
        user: &Arc<User>,
        asked: proxy::Asked<'_>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let Target { group, version, resource, .. } = asked.target;
        let resource = self.resources.registry().find(group, version, resource);
        let answered = proxy::answer(self, user, asked, request).await;
        let response = answered.unwrap_or_else(|err| respond::error(&err));
        self.count("connect", resource.as_ref(), response.status().as_u16(), None);
        response
    }

    /// Counts an answer, of whichever door. `took`: none for what lasts.
    pub(crate) fn count(
        &self,
        verb: &'static str,
        resource: Option<&Arc<ApiResource>>,
        code: u16,
        took: Option<Duration>,
    ) {
        let names = resource.map(|resource| resource.names());
        let group = names.map(|names| names.group.clone()).unwrap_or_default();
        let resource = names.map(|names| names.plural.clone()).unwrap_or_default();
        self.metrics.answered(RequestLabels { verb, group, resource, code }, took);
    }

    /// Waits for the request's turn, before it is asked whether it may be, and before its body is read.
    async fn turn(&self, asking: Asking<'_>, flow: &Classified<'_>) -> Result<Seat, ApiError> {
        let Asking { verb, target, query, fields, .. } = asking;
        let walk = Walk {
            fields,
            selects_labels: query.get("labelSelector").is_some(),
            limit: query.get("limit").and_then(|text| text.parse().ok()).filter(|limit| *limit > 0),
        };
        let seats = match verb {
            Verb::List => work::of_list(walk, || self.resources.stored(target)),
            Verb::Watch if query.flag("sendInitialEvents") => work::of_list(walk, || self.resources.stored(target)),
            _ => 1,
        };
        flow.admit(seats).await
    }

    async fn long(
        self: &Arc<Self>,
        asking: Asking<'_>,
        flow: &Classified<'_>,
        resource: Option<&Arc<ApiResource>>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        if asking.verb == Verb::Watch {
            let started =
                tokio::time::timeout(REQUEST_TIMEOUT, self.start_watch(asking, flow, resource, request.headers()));
            let watch = started.await.unwrap_or_else(|_| Err(respond::timed_out()))?;
            return if connect::websocket::is_upgrade(request.headers()) {
                connect::websocket::serve_watch(request, watch)
            } else {
                Ok(watch.into_response())
            };
        }
        let Asking { user, verb, target, query, .. } = asking;
        let may = self.resources.authorize_connect(user, verb.as_str(), target).await?;
        self.resources.fitting(verb, target)?;
        connect::serve(self, &may, query, request, self.flow.enter_long(user)?).await
    }

    /// A watch holds seats while it begins, and none while it lasts.
    async fn start_watch(
        &self,
        asking: Asking<'_>,
        flow: &Classified<'_>,
        resource: Option<&Arc<ApiResource>>,
        headers: &HeaderMap,
    ) -> Result<watch::Watch, ApiError> {
        let _seat = self.turn(asking, flow).await?;
        let Asking { user, verb, target, query, fields } = asking;
        let may = self.resources.authorize_to::<to::Watch>(user, target.clone(), fields).await?;
        let Some(resource) = resource else {
            let is_usage = find_usage(target).is_some();
            return Err(if is_usage { respond::method_not_allowed() } else { respond::no_such_path() });
        };
        self.resources.fitting(verb, target)?;
        let counted = self.flow.enter_long(user)?;
        let wanted = accept::wanted(headers)?;
        watch::start(&Read { resources: &self.resources, resource, query, headers, wanted }, &may, counted).await
    }

    /// What of the body is not received stays in `body`.
    async fn short(
        &self,
        asking: Asking<'_>,
        flow: &Classified<'_>,
        resource: Option<&Arc<ApiResource>>,
        headers: &HeaderMap,
        body: &mut Option<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let mut seat = self.turn(asking, flow).await?;
        let Asking { user, verb, target, query, fields } = asking;
        let resources = &self.resources;
        let may = resources.authorize(user, verb, target, fields).await?;
        let mut arriving = || {
            let incoming = body.take().ok_or_else(|| ApiError::internal("the body was taken before"))?;
            Ok::<_, ApiError>(Arriving::new(headers, incoming, MAX_BODY_BYTES))
        };
        let Some(resource) = resource else {
            if let Some(kind) = find_usage(target) {
                return self.usage(kind, &may, asking, headers).await;
            }
            let question = review::find(target).ok_or_else(respond::no_such_path)?;
            let arriving = arriving()?;
            let body = self.slow_bodies.receive(&user.name, &mut seat, arriving).await?;
            let content_type = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
            let is_large = body.len() > aside::LARGE_BODY_BYTES;
            let answer = review::answer(resources, question, &may, query, content_type, body);
            return aside::aside(&user.name, is_large, answer).await;
        };
        resources.fitting(verb, target)?;
        let wanted = accept::wanted(headers)?;
        let read = Read { resources, resource, query, headers, wanted };
        match &may {
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
        let body = self.slow_bodies.receive(&user.name, &mut seat, arriving()?).await?;
        let is_large = body.len() > aside::LARGE_BODY_BYTES;
        let write = write::Write { resources, resource, query, headers, wanted, body };
        let written = tokio::time::timeout(REQUEST_TIMEOUT, Self::write(&may, write));
        aside::aside(&user.name, is_large, written).await.unwrap_or_else(|_| Err(respond::timed_out()))
    }

    async fn write(may: &Allowed, write: write::Write<'_>) -> Result<Response<Body>, ApiError> {
        match may {
            Allowed::Create(may) => write::create(write, may).await,
            Allowed::Update(may) => write::update(write, may).await,
            Allowed::Patch(may) => write::patch(write, may).await,
            Allowed::Delete(may) => write::delete(write, may).await,
            Allowed::DeleteCollection(may) => write::delete_collection(write, may).await,
            Allowed::Get(_) | Allowed::List(_) | Allowed::Watch(_) => Err(respond::method_not_allowed()),
        }
    }
}

fn is_long_running(verb: Verb, target: &Target) -> bool {
    verb == Verb::Watch || connect::is_connect(target)
}
