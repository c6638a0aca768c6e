//! `pods/proxy`, `services/proxy` and `nodes/proxy`: HTTP to what is behind a pod, a Service or a node.
//!
//! <https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls>.
//! - [`locate`]: the address that a path's name stands for, and [`address`]: which may be connected to
//! - [`dial`], [`relay`], [`upgrade`]: the connection, one request over it, and what becomes of one that is upgraded
//! - [`headers`], [`path`], [`page`] (over `links` and `html`): what is changed on the way

pub mod address;
pub mod dial;
pub mod headers;
pub mod html;
pub mod links;
pub mod locate;
pub mod page;
pub mod path;
pub mod relay;
pub mod upgrade;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use corten_api::ApiError;
use futures::TryStreamExt;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;

use self::dial::Connection;
use self::links::Links;
use self::locate::Location;
use self::page::Coding;
use self::relay::Download;
use crate::flowcontrol::long_running::LongRunning;
use crate::request::{Peer, Target};
use crate::resources::{Authorized, to};
use crate::rest::Front;
use crate::rest::body::Body;
use crate::rest::query::Query;
use crate::rest::receive::Unread;

/// How the server reaches what is behind it.
#[derive(Clone, Copy, Debug)]
pub struct Proxy {
    /// Which addresses may be connected to.
    pub allows: fn(IpAddr) -> bool,
    /// For a connection, its TLS handshake included.
    pub connect_deadline: Duration,
    /// From the last of a request, or of what its client has sent of it, to the head of the response. Long: a poll may
    /// wait for something to happen.
    pub head_deadline: Duration,
}

impl Default for Proxy {
    fn default() -> Self {
        let (connect_deadline, head_deadline) = (Duration::from_secs(30), Duration::from_secs(15 * 60));
        Self { allows: address::is_allowed, connect_deadline, head_deadline }
    }
}

/// What is asked of something behind the proxy.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub target: &'a Target,
    /// Behind `/proxy`: decoded, with a slash before it, or empty.
    pub path: &'a str,
}

/// Answers a request that may be.
pub async fn answer(
    front: &Arc<Front>,
    may: &Authorized<to::Connect>,
    asked: Asked<'_>,
    request: Request<Unread>,
) -> Result<Response<Body>, ApiError> {
    let (begun, counted) = begin(front, may, asked, &request).await?;
    let (parts, body) = request.into_parts();
    let mut request = Request::from_parts(parts, body.take()?.into_incoming()?);
    match begun {
        Begun::Redirected(response) => Ok(response),
        Begun::Upgrade(connection) => {
            let switched = hyper::upgrade::on(&mut request);
            let request = for_upgrade(asked, request)?;
            upgrade::serve(connection, request, switched, front.proxy.head_deadline, counted).await
        }
        Begun::Connected(connection, location) => relayed(front, asked, request, connection, &location, counted).await,
    }
}

/// What has become of a request whose body nobody has touched yet.
enum Begun {
    Redirected(Response<Body>),
    Upgrade(Connection),
    Connected(Connection, Location),
}

async fn begin(
    front: &Arc<Front>,
    may: &Authorized<to::Connect>,
    asked: Asked<'_>,
    request: &Request<Unread>,
) -> Result<(Begun, LongRunning), ApiError> {
    if Query::parse(request.uri().query()).get("dryRun").is_some() {
        return Err(ApiError::bad_request("dryRun is not supported"));
    }
    let counted = front.flow.enter_long(may.user())?;
    front.resources.admit_connection(may, serde_json::json!({ "path": asked.path })).await?;
    let location = locate::find(&front.resources, may, front.proxy.allows).await?;
    let is_upgrade = headers::is_upgrade(request.headers());
    // Links of a page at the root are relative to a directory.
    if !is_upgrade && asked.path.is_empty() && matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok((Begun::Redirected(to_directory(asked.target, request.uri().query())?), counted));
    }
    let dialled = dial::dial(&location, &front.kubelets, front.proxy.connect_deadline).await;
    let begun = match dialled {
        Ok(connection) if is_upgrade => Begun::Upgrade(connection),
        Ok(connection) => Begun::Connected(connection, location),
        Err(why) if is_upgrade => return Err(ApiError::internal(format!("error dialing backend: {why}"))),
        Err(why) => return Err(unreachable(&why)),
    };
    Ok((begun, counted))
}

fn unreachable(why: &impl std::fmt::Display) -> ApiError {
    ApiError::unavailable(format!("error trying to reach service: {why}"))
}

/// The path of the apiserver that leads to the root of what is behind; no slash at its end.
fn prefix(target: &Target) -> String {
    let Target { version, resource, namespace, name, .. } = target;
    let within = if namespace.is_empty() { String::new() } else { format!("namespaces/{namespace}/") };
    format!("/api/{version}/{within}{resource}/{name}/proxy")
}

fn to_directory(target: &Target, query: Option<&str>) -> Result<Response<Body>, ApiError> {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let to = HeaderValue::try_from(format!("{}/{query}", prefix(target))).map_err(ApiError::internal)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(LOCATION, to);
    Ok(response)
}

/// `/a%20b?c`, of what is behind.
fn behind(path: &str, query: Option<&str>) -> String {
    let path = path::escape(&path::clean(path));
    query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"))
}

pub(crate) fn peer(request: &http::request::Parts) -> Option<IpAddr> {
    request.extensions.get::<Peer>().map(|peer| peer.0)
}

/// A request for what is behind, with these headers.
pub(crate) fn rebuilt(
    parts: http::request::Parts,
    body: Incoming,
    uri: &str,
    headers: http::HeaderMap,
) -> Result<Request<Incoming>, ApiError> {
    let uri = uri.parse().map_err(ApiError::internal)?;
    let mut request = Request::new(body);
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (parts.method, uri, headers);
    Ok(request)
}

fn for_upgrade(asked: Asked<'_>, request: Request<Incoming>) -> Result<Request<Incoming>, ApiError> {
    let (mut parts, body) = request.into_parts();
    let uri = behind(asked.path, parts.uri.query());
    let headers = headers::of_upgrade(std::mem::take(&mut parts.headers), peer(&parts));
    rebuilt(parts, body, &uri, headers)
}

async fn relayed(
    front: &Front,
    asked: Asked<'_>,
    request: Request<Incoming>,
    connection: Connection,
    location: &Location,
    counted: LongRunning,
) -> Result<Response<Body>, ApiError> {
    let (mut parts, body) = request.into_parts();
    let uri = behind(asked.path, parts.uri.query());
    let there = prefix(asked.target);
    let forwarded = path::join(&there, &path::escape(&path::clean(asked.path)));
    let given = std::mem::take(&mut parts.headers);
    let mut headers = headers::of_request(given, peer(&parts), &forwarded, parts.uri.authority());
    let address = location.address.to_string();
    if !headers.contains_key(HOST) {
        headers.insert(HOST, HeaderValue::try_from(&address).map_err(ApiError::internal)?);
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let links = Links::new(&there, &address, host);
    let is_head = parts.method == Method::HEAD;
    let request = rebuilt(parts, body, &uri, headers)?;
    let sent = relay::send(connection, request, front.proxy.head_deadline).await;
    let (response, open) = sent.map_err(|why| unreachable(&why))?;
    let (mut parts, body) = response.into_parts();
    if parts.status.is_informational() {
        return Err(ApiError::internal("backend tried to switch protocol when none requested"));
    }
    parts.headers = headers::of_response(parts.headers);
    let coding = redirected(&mut parts.headers, &links)?.filter(|_| parts.status != StatusCode::NOT_MODIFIED);
    let body = Download::new(body, open, counted);
    let body = match coding {
        None => Body::relayed(body),
        Some(coding) => {
            // Of a page that will be longer.
            parts.headers.remove(CONTENT_LENGTH);
            if is_head || http_body::Body::is_end_stream(&body) {
                Body::relayed(body)
            } else {
                page(body, coding, links)
            }
        }
    };
    let mut response = Response::new(body);
    (*response.status_mut(), *response.headers_mut()) = (parts.status, parts.headers);
    Ok(response)
}

/// Changes where a redirect leads. Otherwise: how the links of the page are to be read, if it is one.
fn redirected(headers: &mut http::HeaderMap, links: &Links) -> Result<Option<Coding>, ApiError> {
    let Some(to) = headers.get(LOCATION).filter(|to| !to.is_empty()) else { return Ok(page::of(headers)) };
    let unreadable = || ApiError::internal("error trying to parse Location header");
    let to = std::str::from_utf8(to.as_bytes()).ok().and_then(|to| links.location(to)).ok_or_else(unreadable)?;
    headers.insert(LOCATION, HeaderValue::try_from(to).map_err(|_| unreadable())?);
    Ok(None)
}

fn page(body: Download, coding: Coding, links: Links) -> Body {
    let pieces = body.into_data_stream();
    Body::relayed(StreamBody::new(page::rewritten(pieces, coding, links).map_ok(Frame::data)))
}
