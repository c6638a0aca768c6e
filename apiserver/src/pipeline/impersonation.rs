//! Whom a request counts as: its sender, or another whom he may be. 403 in the sender's name.

use std::sync::Arc;
use std::task::{Context, Poll};

use corten_api::ApiError;
use corten_api::selector::FieldSelector;
use http::{HeaderMap, Request, Response};
use tower::{Layer, Service};

use super::{Answering, Inner, Means, Pipeline, ready, refused};
use crate::authn::impersonate::{self, Mode};
use crate::authn::unauthorized;
use crate::authz::{self, Attributes};
use crate::request::{Target, User};
use crate::request_info::{self, RequestInfo};
use crate::resources::Resources;
use crate::rest::body::Body;
use crate::rest::receive::Unread;

#[derive(Clone, Debug)]
pub(super) struct Impersonate {
    resources: Resources,
}

impl Impersonate {
    pub(super) fn new(means: &Means) -> Self {
        Self { resources: means.resources.clone() }
    }
}

pub(super) struct Impersonation {
    senders: Senders,
    inner: Inner<Unread>,
}

impl<S: Pipeline<Unread> + 'static> Layer<S> for Impersonate {
    type Service = Impersonation;

    fn layer(&self, inner: S) -> Impersonation {
        Impersonation { senders: Senders { resources: self.resources.clone() }, inner: Box::new(inner) }
    }
}

impl<'a> Service<Request<Unread>> for &'a Impersonation {
    type Response = Response<Body>;
    type Error = ApiError;
    type Future = Answering<'a>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        ready()
    }

    fn call(&mut self, request: Request<Unread>) -> Answering<'a> {
        let Impersonation { senders, inner } = *self;
        let next = &**inner;
        let known = request_info::of(&request).and_then(|info| {
            let sender = info.sender().cloned();
            Ok((info, sender.ok_or_else(unauthorized)?))
        });
        let (info, sender) = match known {
            Ok(known) => known,
            Err(err) => return refused(err),
        };
        if !impersonate::is_wished(request.headers()) {
            return match info.is_to_count_as(sender) {
                Ok(()) => next.answer(request),
                Err(err) => refused(err),
            };
        }
        Box::pin(async move {
            let user = senders.counted_as(sender, request.headers(), &info).await?;
            info.is_to_count_as(user)?;
            next.answer(request).await
        })
    }
}

/// What senders are allowed is asked of the authorizer.
#[derive(Debug)]
struct Senders {
    resources: Resources,
}

impl Senders {
    async fn counted_as(
        &self,
        sender: Arc<User>,
        headers: &HeaderMap,
        info: &RequestInfo,
    ) -> Result<Arc<User>, ApiError> {
        let Some(wish) = impersonate::wish(headers)? else { return Ok(sender) };
        let Some(asked) = info.question()?.attributes() else {
            return Err(ApiError::bad_request(
                "who sends a stream of messages counts as himself: what is asked is not known yet",
            ));
        };
        let mut refusal = None;
        for mode in impersonate::modes(&wish, &sender) {
            match self.may_become(&sender, &mode, asked).await {
                Ok(()) => return Ok(Arc::new(mode.user)),
                // What the first way lacks is told, as upstream does.
                Err(err) => {
                    let _first = refusal.get_or_insert(err);
                }
            }
        }
        Err(refusal.unwrap_or_else(unauthorized))
    }

    async fn may_become(&self, sender: &User, mode: &Mode, asked: Attributes<'_>) -> Result<(), ApiError> {
        match asked {
            Attributes::Resource { verb, target } => {
                if let Some(on) = mode.verb_on(verb) {
                    self.may(sender, &on, target).await?;
                }
            }
            Attributes::Path { verb, path } => {
                if let Some(on) = mode.verb_on(verb) {
                    let asked = Attributes::Path { verb: &on, path };
                    self.resources.authorizer().authorize(sender, asked)?;
                }
            }
        }
        let verb = mode.verb();
        if let Some((target, why)) = &mode.never {
            return Err(authz::refusal(sender, Attributes::Resource { verb: &verb, target }, why));
        }
        for target in &mode.checks {
            self.may(sender, &verb, target).await?;
        }
        Ok(())
    }

    async fn may(&self, sender: &User, verb: &str, target: &Target) -> Result<(), ApiError> {
        self.resources.check(sender, verb, target, &FieldSelector::default()).await
    }
}
