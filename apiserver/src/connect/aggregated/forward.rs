//! A request passed on to the server that answers for its group version: as its user, over a connection of its own, both bodies as
//! fast as the slower side takes them.

use std::sync::Arc;
use std::time::Duration;

use corten_api::ApiError;
use http::header::{HOST, HeaderName, HeaderValue, LOCATION};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::identity;
use super::reach::{Unreachable, Within};
use crate::connect::proxy::dial::Connection;
use crate::connect::proxy::relay::{self, Download};
use crate::connect::proxy::{headers, path, peer, rebuilt, upgrade};
use crate::flowcontrol::long_running::LongRunning;
use crate::flowcontrol::seat::Seat;
use crate::registry::apiregistration::routes::Remote;
use crate::request::User;
use crate::request::delegated::{About, Delegated};
use crate::request_info::RequestInfo;
use crate::rest::body::Body;
use crate::rest::receive::Unread;
use crate::rest::{Front, respond};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
/// What there is of a group version, clients ask of all servers before anything else: one that hangs must not hold them up.
const DISCOVERY_WITHIN: Duration = Duration::from_secs(5);
const UNAVAILABLE: &str = "service unavailable";
const NO_SWITCH: &str = "backend tried to switch protocol when none requested";
const NO_REDIRECT: &str = "the backend attempted to redirect this request, which is not permitted";

/// Why nothing is passed on, as text: upstream answers so, and whoever reads an answer of another server's API knows nothing of ours.
struct Refused {
    code: StatusCode,
    why: String,
}

impl Refused {
    fn unavailable(why: impl Into<String>) -> Self {
        Self { code: StatusCode::SERVICE_UNAVAILABLE, why: why.into() }
    }
    fn not_reached(why: &str) -> Self {
        Self::unavailable(format!("error trying to reach service: {why}"))
    }
}

/// What is passed on, and to whom.
#[derive(Clone, Copy, Debug)]
pub struct Passed<'a> {
    pub asked: &'a Delegated,
    pub to: &'a Remote,
}

impl Passed<'_> {
    /// What roles were asked about, as a URL has it, and the query as it came.
    fn uri(&self, query: Option<&str>) -> String {
        let path = path::escape(&self.asked.path);
        query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"))
    }
}

/// Answers a request that may be. Its turn was its own: once it is passed on it holds no seats, as the other server may take its
/// time, and is counted as what lasts. What becomes another protocol holds them until it has.
pub async fn answer(
    front: &Arc<Front>,
    info: &RequestInfo,
    passed: Passed<'_>,
    seat: Option<Seat>,
    request: Request<Unread>,
) -> Result<Response<Body>, ApiError> {
    let answering = exchange(front, info, passed, seat, request);
    match &passed.asked.about {
        About::Resource(_) => answering.await,
        About::Path(_) => match timeout(DISCOVERY_WITHIN, answering).await {
            Ok(answered) => answered,
            Err(_) => Ok(told(&Refused::not_reached("context deadline exceeded"))),
        },
    }
}

async fn exchange(
    front: &Arc<Front>,
    info: &RequestInfo,
    passed: Passed<'_>,
    seat: Option<Seat>,
    request: Request<Unread>,
) -> Result<Response<Body>, ApiError> {
    let user = info.user()?;
    let counted = front.flow.enter_long(user)?;
    let is_upgrade = headers::is_upgrade(request.headers());
    let _held = seat.filter(|_| is_upgrade);
    let connection = match connect(front, passed.to, is_upgrade).await {
        Ok(connection) => connection,
        Err(refused) => return Ok(told(&refused)),
    };
    let (parts, body) = request.into_parts();
    let mut request = Request::from_parts(parts, body.take()?.into_incoming()?);
    let patience = front.proxy.head_deadline;
    if is_upgrade {
        let switched = hyper::upgrade::on(&mut request);
        let request = passed_on(request, user, info, passed, true)?;
        let switched = upgrade::serve(connection, request, switched, patience, counted).await;
        return Ok(switched.unwrap_or_else(|err| told(&Refused::unavailable(err.message()))));
    }
    let request = passed_on(request, user, info, passed, false)?;
    match relay::send(connection, request, patience).await {
        Ok((response, open)) => Ok(shown(response, open, counted)),
        Err(why) => Ok(told(&Refused::not_reached(&why))),
    }
}

async fn connect(front: &Front, remote: &Remote, is_upgrade: bool) -> Result<Connection, Refused> {
    if !remote.is_available {
        return Err(Refused::unavailable(UNAVAILABLE));
    }
    let within = Within { allows: front.proxy.allows, time: front.proxy.connect_deadline };
    let reached = front.reach.connect(&front.resources, &remote.server, within).await;
    let (connection, _) = reached.map_err(|why| match why {
        Unreachable::Nowhere(why) => {
            tracing::debug!(name = remote.name, "not reached: {why}");
            Refused::unavailable(UNAVAILABLE)
        }
        Unreachable::Unusable(why) => Refused { code: StatusCode::INTERNAL_SERVER_ERROR, why },
        Unreachable::Failed { why, .. } if is_upgrade => Refused::unavailable(format!("error dialing backend: {why}")),
        Unreachable::Failed { why, .. } => Refused::not_reached(&why),
    })?;
    Ok(connection)
}

fn told(Refused { code, why }: &Refused) -> Response<Body> {
    respond::text(*code, format!("{why}\n"))
}

fn passed_on(
    request: Request<Incoming>,
    user: &User,
    info: &RequestInfo,
    passed: Passed<'_>,
    is_upgrade: bool,
) -> Result<Request<Incoming>, ApiError> {
    let (mut parts, body) = request.into_parts();
    let uri = passed.uri(parts.uri.query());
    let headers = headers_of(&mut parts, user, info, passed, is_upgrade)?;
    rebuilt(parts, body, &uri, headers)
}

fn headers_of(
    parts: &mut Parts,
    user: &User,
    info: &RequestInfo,
    passed: Passed<'_>,
    is_upgrade: bool,
) -> Result<HeaderMap, ApiError> {
    let given = std::mem::take(&mut parts.headers);
    let mut headers = if is_upgrade {
        headers::of_upgrade(given, peer(parts))
    } else {
        headers::of_request(given, peer(parts), &path::escape(&passed.asked.path), None)
    };
    identity::say(user, &mut headers).map_err(ApiError::internal)?;
    headers.insert(HOST, HeaderValue::try_from(passed.to.server.name()).map_err(ApiError::internal)?);
    if let Some(id) = info.id.header() {
        headers.insert(AUDIT_ID, id);
    }
    Ok(headers)
}

fn shown(response: Response<Incoming>, open: relay::Open, counted: LongRunning) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if parts.status.is_informational() {
        return told(&Refused { code: StatusCode::BAD_GATEWAY, why: NO_SWITCH.into() });
    }
    // Whoever follows would show his credentials where another server says.
    if parts.status.is_redirection() && parts.headers.get(LOCATION).is_some_and(|to| !to.is_empty()) {
        return respond::text(StatusCode::BAD_GATEWAY, NO_REDIRECT);
    }
    parts.headers = headers::of_response(parts.headers);
    let mut response = Response::new(Body::relayed(Download::new(body, open, counted)));
    (*response.status_mut(), *response.headers_mut()) = (parts.status, parts.headers);
    response
}
