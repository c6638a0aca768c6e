//! From here on it is known what is asked. REST's head has said it; of a gRPC call the beginning of its message is read, and not
//! more. A head that makes no sense is told so here: not before it is known who asks.

mod beginning;

use std::sync::Arc;
use std::task::{Context, Poll};

use corten_api::ApiError;
use corten_api::selector::{FieldSelector, FieldTerm};
use http::{HeaderMap, Request, Response};
use tower::{Layer, Service};

use self::beginning::Beginning;
use super::door::grpc::verb_of;
use super::{Answering, Inner, Means, Pipeline, ready, refused};
use crate::registry::Registry;
use crate::request::Verb;
use crate::request_info::{self, Question, RequestInfo, Subject, Walked};
use crate::rest::body::Body;
use crate::rest::receive::Unread;
use crate::rest::unfinished::Unfinished;

#[derive(Clone, Debug)]
pub(super) struct ReadSubject {
    registry: Registry,
    unfinished: Arc<Unfinished>,
}

impl ReadSubject {
    pub(super) fn new(means: &Means) -> Self {
        Self { registry: means.resources.registry().clone(), unfinished: means.unfinished.clone() }
    }
}

pub(super) struct WithSubject {
    reader: ReadSubject,
    inner: Inner<Unread>,
}

impl<S: Pipeline<Unread> + 'static> Layer<S> for ReadSubject {
    type Service = WithSubject;

    fn layer(&self, inner: S) -> WithSubject {
        WithSubject { reader: self.clone(), inner: Box::new(inner) }
    }
}

impl<'a> Service<Request<Unread>> for &'a WithSubject {
    type Response = Response<Body>;
    type Error = ApiError;
    type Future = Answering<'a>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        ready()
    }

    fn call(&mut self, request: Request<Unread>) -> Answering<'a> {
        let WithSubject { reader, inner } = *self;
        let next = &**inner;
        let info = match request_info::of(&request) {
            Ok(info) => info,
            Err(err) => return refused(err),
        };
        if let Some(why) = info.fault() {
            return refused(why.clone());
        }
        if info.asked().is_some() {
            return next.answer(request);
        }
        Box::pin(async move {
            reader.read(&info, &request).await?;
            next.answer(request).await
        })
    }
}

impl ReadSubject {
    async fn read(&self, info: &RequestInfo, request: &Request<Unread>) -> Result<(), ApiError> {
        let verb = verb_of(request.uri().path()).ok_or_else(|| ApiError::internal("a call of no verb"))?;
        let sender = info.sender().ok_or_else(|| ApiError::internal("a call of nobody"))?;
        let selects = matches!(verb, Verb::List | Verb::Watch);
        let mut arriving = request.body().take()?;
        // From here on it holds what has come until it is whole, and has not waited for its turn yet.
        let mut share = self.unfinished.share(&sender.name);
        let head_bytes = head_bytes(request.headers());
        let beginning = loop {
            share.grow(head_bytes + arriving.seen().len())?;
            let seen = beginning::read(arriving.seen(), selects);
            match seen.map_err(|err| ApiError::bad_request(err.to_string()))? {
                Some(beginning) => break beginning,
                None if arriving.more().await? => {}
                None => return Err(ApiError::bad_request("the message breaks off")),
            }
        };
        arriving.holds(share);
        request.body().put_back(arriving);
        info.is_about(question(verb, beginning, &self.registry))
    }
}

fn head_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

fn question(verb: Verb, beginning: Beginning, registry: &Registry) -> Question {
    let Beginning { target, field_selector, selects_labels, resumes } = beginning;
    let (selects, walks) = match verb {
        Verb::List => (true, true),
        Verb::Watch => (true, !resumes),
        _ => (false, false),
    };
    let fields = if selects { asked_fields(&field_selector, &target.name) } else { FieldSelector::default() };
    let walks = walks.then_some(Walked { selects_labels, limit: None });
    let resource = registry.find(&target.group, &target.version, &target.resource);
    Question { subject: Subject::Resource { verb, target }, resource, fields, walks }
}

/// By which fields a list or watch selects, for the question whether it may be. A selector that is malformed is told of later, to
/// those who may ask.
pub(crate) fn asked_fields(fields: &str, name: &str) -> FieldSelector {
    named(FieldSelector::parse(fields).unwrap_or_default(), name)
}

/// Who lists or watches one name selects by it.
pub(crate) fn named(mut fields: FieldSelector, name: &str) -> FieldSelector {
    if !name.is_empty() {
        fields.0.push(FieldTerm { field: "metadata.name".into(), value: name.into(), negated: false });
    }
    fields
}
