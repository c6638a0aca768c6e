//! The REST API: one request in, one response out. Routes by our own reading of the path; there is no router to walk.

pub mod accept;
pub mod body;
pub mod gzip;
pub mod openapi;
pub mod paths;
pub mod query;
pub mod read;
pub mod receive;
pub mod respond;
pub mod review;
pub mod watch;
pub mod write;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use corten_api::ApiError;
use corten_api::selector::FieldSelector;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use http::{Request, Response};
use hyper::body::Incoming;

use self::body::Body;
use self::query::Query;
use self::read::Read;
use crate::authn::Identity;
use crate::authz::{self, Attributes};
use crate::connect::{self, Kubelets};
use crate::discovery::{Discovery, groups};
use crate::health::Health;
use crate::metrics::{Metrics, RequestLabels};
use crate::openapi::Documents;
use crate::overload::InFlight;
use crate::registry::Entry;
use crate::request::{self, Asked, RequestError, Target, User, Verb};
use crate::resources::{Grant, Resources};

/// A request that is not done by then is told so. Watches and connections to containers last as long as they like.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What requests are answered from. One for the process.
#[derive(Debug)]
pub struct Front {
    pub resources: Resources,
    pub discovery: Discovery,
    pub openapi: Arc<Documents>,
    pub kubelets: Kubelets,
    pub health: Health,
    pub metrics: Metrics,
    pub in_flight: InFlight,
}

/// A resource request on its way through.
struct Asking<'a> {
    user: &'a User,
    verb: Verb,
    target: &'a Target,
    query: &'a Query<'a>,
}

impl Front {
    /// Answers a REST request. Every outcome is a response.
    pub async fn answer(self: &Arc<Self>, identity: &Identity, request: Request<Incoming>) -> Response<Body> {
        let began = Instant::now();
        let raw_query = request.uri().query().map(str::to_owned);
        let query = Query::parse(raw_query.as_deref());
        let asked = request::parse(request.method(), request.uri().path(), query.flag("watch"));
        let result = match asked {
            Ok(Asked::Path(path)) => self.path(identity, &path, &query, &request).await,
            Ok(Asked::Resource { verb, target }) => {
                let user = self.user(identity, request.headers());
                match user {
                    Ok(user) => {
                        let asking = Asking { user: &user, verb, target: &target, query: &query };
                        return self.resource(asking, request, began).await;
                    }
                    Err(err) => Err(err),
                }
            }
            Err(RequestError::Method) => Err(respond::method_not_allowed()),
            Err(RequestError::NoSuchPath) => Err(respond::no_such_path()),
            Err(err @ RequestError::NotUtf8) => Err(ApiError::bad_request(err.to_string())),
        };
        let response = result.unwrap_or_else(|err| respond::error(&err));
        self.count("get", None, &response, Some(began.elapsed()));
        response
    }

    /// Who asks: the owner of the connection, or whom they may and want to be.
    fn user(&self, identity: &Identity, headers: &HeaderMap) -> Result<Arc<User>, ApiError> {
        let user = identity.user(SystemTime::now(), headers.contains_key(AUTHORIZATION))?;
        crate::authn::impersonated(user, headers)
    }

    async fn path(
        &self,
        identity: &Identity,
        path: &str,
        query: &Query<'_>,
        request: &Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let headers = request.headers();
        let user = self.user(identity, headers)?;
        let verb = request.method().as_str().to_ascii_lowercase();
        authz::authorize(&user, Attributes::Path { verb: &verb, path })?;
        if !matches!(verb.as_str(), "get" | "head") {
            return Err(respond::method_not_allowed());
        }
        self.serve_path(path, query, headers).await
    }

    async fn resource(
        self: &Arc<Self>,
        asking: Asking<'_>,
        request: Request<Incoming>,
        began: Instant,
    ) -> Response<Body> {
        let (verb, target) = (asking.verb, asking.target);
        let entry = self.resources.entries().find(&target.group, &target.version, &target.resource);
        let long_running = is_long_running(verb, target);
        // A malformed selector is told of later, to those who may ask.
        let fields = asking.query.get("fieldSelector").and_then(|text| FieldSelector::parse(text).ok());
        let fields = fields.unwrap_or_default();
        let result = match self.resources.authorize(asking.user, verb.as_str(), target, &fields).await {
            Err(err) => Err(err),
            Ok(grant) if long_running => self.long(asking, grant, entry, request).await,
            Ok(_) => match self.in_flight.enter(verb.is_write()) {
                Err(err) => Err(err),
                Ok(_place) => match tokio::time::timeout(REQUEST_TIMEOUT, self.short(asking, entry, request)).await {
                    Ok(result) => result,
                    Err(_) => Err(respond::timed_out()),
                },
            },
        };
        let response = result.unwrap_or_else(|err| respond::error(&err));
        self.count(verb.as_str(), entry, &response, (!long_running).then(|| began.elapsed()));
        response
    }

    fn count(&self, verb: &'static str, entry: Option<&dyn Entry>, response: &Response<Body>, took: Option<Duration>) {
        let (group, resource) = entry.map_or(("", ""), |e| (e.group(), e.plural()));
        let labels = RequestLabels { verb, group, resource, code: response.status().as_u16() };
        self.metrics.answered(labels, took);
    }

    async fn long(
        self: &Arc<Self>,
        asking: Asking<'_>,
        grant: Grant,
        entry: Option<&dyn Entry>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let entry = entry.ok_or_else(respond::no_such_path)?;
        check_path(entry, asking.verb, asking.target)?;
        let counted = self.in_flight.enter_long()?;
        if asking.verb != Verb::Watch {
            return connect::serve(self, asking.target, asking.query, request, counted).await;
        }
        let wanted = accept::wanted(request.headers())?;
        let read = Read {
            resources: &self.resources,
            entry,
            target: asking.target,
            query: asking.query,
            headers: request.headers(),
            wanted,
        };
        let watch = watch::start(&read, grant, counted).await?;
        if connect::websocket::is_upgrade(request.headers()) {
            return connect::websocket::serve_watch(request, watch);
        }
        Ok(watch.into_response())
    }

    async fn short(
        &self,
        asking: Asking<'_>,
        entry: Option<&dyn Entry>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let Asking { user, verb, target, query } = asking;
        let (parts, incoming) = request.into_parts();
        let headers = &parts.headers;
        let resources = &self.resources;
        let Some(entry) = entry else {
            let question = review::find(target).ok_or_else(respond::no_such_path)?;
            let body = receive::body(headers, incoming).await?;
            let content_type = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
            return review::answer(resources, question, verb, user, content_type, body).await;
        };
        check_path(entry, verb, target)?;
        let wanted = accept::wanted(headers)?;
        if !verb.is_write() {
            let read = Read { resources, entry, target, query, headers, wanted };
            return if verb == Verb::Get { read::get(read).await } else { read::list(read).await };
        }
        let body = receive::body(headers, incoming).await?;
        let write = write::Write { resources, user, entry, target, query, headers, wanted, body };
        match verb {
            Verb::Create => write::create(write).await,
            Verb::Update => write::update(write).await,
            Verb::Patch => write::patch(write).await,
            Verb::Delete => write::delete(write).await,
            Verb::DeleteCollection => write::delete_collection(write).await,
            Verb::Get | Verb::List | Verb::Watch => Err(respond::method_not_allowed()),
        }
    }
}

fn is_long_running(verb: Verb, target: &Target) -> bool {
    verb == Verb::Watch || connect::is_connect(target)
}

/// Whether the kind has what the path names, and the verb fits it.
fn check_path(entry: &dyn Entry, verb: Verb, target: &Target) -> Result<(), ApiError> {
    read::check_scope(entry, target)?;
    if !target.subresource.is_empty() {
        if !entry.subresources().contains(&target.subresource.as_str()) {
            return Err(respond::no_such_path());
        }
        let fits = groups::subresource_verbs(&target.subresource).contains(&verb.as_str());
        return if fits { Ok(()) } else { Err(respond::method_not_allowed()) };
    }
    let needs_namespace = entry.scope() == corten_api::Scope::Namespaced && target.namespace.is_empty();
    match verb {
        Verb::Create if !target.name.is_empty() || needs_namespace => Err(respond::method_not_allowed()),
        Verb::DeleteCollection if needs_namespace || !entry.has_delete_collection() => {
            Err(respond::method_not_allowed())
        }
        _ => Ok(()),
    }
}
