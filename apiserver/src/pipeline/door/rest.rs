//! REST's head: everything stands in method, path and query. A refusal is a `Status`.

use std::time::Duration;

use http::{Request, Response};
use percent_encoding::percent_decode_str;

use super::AUDIT_ID;
use crate::connect;
use crate::registry::Registry;
use crate::request::delegated::{self, About};
use crate::request::{self, Asked, RequestError, Target, Verb};
use crate::request_info::{Door, Lasts, Question, Read, RequestId, RequestInfo, Subject, Walked};
use crate::rest::body::Body;
use crate::rest::query::Query;
use crate::rest::receive::Unread;
use crate::rest::respond;
use corten_api::selector::FieldSelector;
use corten_api::{ApiError, duration};

/// As metrics have what is below no group and version, and what makes no sense.
const OTHERS: &str = "get";
const CONNECT: &str = "connect";

pub(super) fn info(door: Door, request: &Request<Unread>, registry: &Registry) -> RequestInfo {
    let id = RequestId::new(request.headers().get(AUDIT_ID));
    let query = Query::parse(request.uri().query());
    if let Some((verb, lasts, question)) = delegated(request, &query, registry) {
        return RequestInfo::new(id, door, verb, lasts, Read::Question(question)).with_timeout(timeout(&query));
    }
    let asked = request::parse(request.method(), request.uri().path(), query.flag("watch"));
    let (verb, lasts, read) = match asked {
        Ok(Asked::Resource { verb, target }) => of_resource(verb, target, &query, registry),
        Ok(Asked::Proxied { verb, target, path }) => {
            let resource = registry.find(&target.group, &target.version, &target.resource);
            let question = Question { resource, ..Question::about(Subject::Proxied { verb, target, path }) };
            (CONNECT, Lasts::Open, Read::Question(question))
        }
        Ok(Asked::Path(path)) => {
            let verb = request.method().as_str().to_ascii_lowercase();
            (OTHERS, Lasts::Short, Read::Question(Question::about(Subject::Path { verb, path })))
        }
        Err(why) => (OTHERS, Lasts::Short, Read::Fault(fault(why))),
    };
    RequestInfo::new(id, door, verb, lasts, read).with_timeout(timeout(&query))
}

/// What another server is asked, if it is one that answers.
fn delegated(
    request: &Request<Unread>,
    query: &Query<'_>,
    registry: &Registry,
) -> Option<(&'static str, Lasts, Question)> {
    let routes = registry.routes();
    if routes.is_empty() {
        return None;
    }
    // What is no UTF-8 is refused below, whoever would answer it.
    let path = percent_decode_str(request.uri().path()).decode_utf8().ok()?;
    let (group, version) = delegated::group_version(&path)?;
    let to = routes.find(group, version)?.clone();
    let asked = delegated::parse(request.method(), path.into_owned(), query.flag("watch"))?;
    let fields = query.get("fieldSelector").filter(|_| asked.reads_selector);
    let fields = fields.and_then(|text| FieldSelector::parse(text).ok()).unwrap_or_default();
    let (verb, lasts) = match &asked.about {
        // Whatever its headers ask for: a client does not choose to take no turn.
        _ if asked.is_long() => (CONNECT, Lasts::Open),
        About::Resource(_) if asked.verb == Verb::Watch.as_str() => (asked.verb, Lasts::Watch),
        About::Resource(_) if !asked.verb.is_empty() => (asked.verb, Lasts::Short),
        About::Resource(_) | About::Path(_) => (OTHERS, Lasts::Short),
    };
    Some((verb, lasts, Question { fields, ..Question::about(Subject::Delegated { asked, to }) }))
}

/// `timeout`: how long the client waits, as upstream's language writes lengths of time. Less than nothing is none.
fn timeout(query: &Query<'_>) -> Result<Option<Duration>, ApiError> {
    let Some(text) = query.get("timeout") else { return Ok(None) };
    match duration::parse(text) {
        Ok(length) => Ok(Duration::try_from(length).ok()),
        Err(err) => Err(ApiError::bad_request(format!("invalid timeout specified in the request URL - {err}"))),
    }
}

fn of_resource(verb: Verb, target: Target, query: &Query<'_>, registry: &Registry) -> (&'static str, Lasts, Read) {
    let resource = registry.find(&target.group, &target.version, &target.resource);
    let fields = query.get("fieldSelector").and_then(|text| FieldSelector::parse(text).ok()).unwrap_or_default();
    let begins_with_all = verb == Verb::List || verb == Verb::Watch && query.flag("sendInitialEvents");
    let walks = begins_with_all.then(|| Walked {
        selects_labels: query.get("labelSelector").is_some(),
        limit: query.get("limit").and_then(|text| text.parse().ok()).filter(|limit| *limit > 0),
    });
    let (lasts, subject) = match verb {
        Verb::Watch => (Lasts::Watch, Subject::Resource { verb, target }),
        _ if connect::is_connect(&target) => (Lasts::Open, Subject::Container { verb, target }),
        _ => (Lasts::Short, Subject::Resource { verb, target }),
    };
    (verb.as_str(), lasts, Read::Question(Question { subject, resource, fields, walks }))
}

fn fault(why: RequestError) -> ApiError {
    match why {
        RequestError::Method => respond::method_not_allowed(),
        RequestError::NoSuchPath => respond::no_such_path(),
        RequestError::NotUtf8 => ApiError::bad_request(why.to_string()),
    }
}

pub(super) fn refusal(prefers_protobuf: bool, why: &ApiError) -> Response<Body> {
    respond::encoded(prefers_protobuf, respond::error(why))
}
