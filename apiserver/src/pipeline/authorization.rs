//! Whether it may be: 403, or the proof that handlers take. Nobody else asks for REST's requests and gRPC's calls.

use std::task::{Context, Poll};

use corten_api::ApiError;
use corten_api::selector::FieldSelector;
use http::{Request, Response};
use tower::{Layer, Service};

use super::{Answering, Inner, Means, Permitted, Pipeline, Seated, ready};
use crate::request::delegated::{About, Delegated};
use crate::request_info::{self, RequestInfo, Subject};
use crate::resources::{AuthorizedPath, Permit, Resources};
use crate::rest::body::Body;

#[derive(Clone, Debug)]
pub(super) struct Authorize {
    resources: Resources,
}

impl Authorize {
    pub(super) fn new(means: &Means) -> Self {
        Self { resources: means.resources.clone() }
    }
}

pub(super) struct Authorization {
    resources: Resources,
    inner: Inner<Permitted>,
}

impl<S: Pipeline<Permitted> + 'static> Layer<S> for Authorize {
    type Service = Authorization;

    fn layer(&self, inner: S) -> Authorization {
        Authorization { resources: self.resources.clone(), inner: Box::new(inner) }
    }
}

impl<'a> Service<Request<Seated>> for &'a Authorization {
    type Response = Response<Body>;
    type Error = ApiError;
    type Future = Answering<'a>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        ready()
    }

    fn call(&mut self, request: Request<Seated>) -> Answering<'a> {
        let Authorization { resources, inner } = *self;
        let next = &**inner;
        Box::pin(async move {
            let info = request_info::of(&request)?;
            let may = permit(resources, &info).await?;
            next.answer(request.map(|Seated { body, seat }| Permitted { body, seat, may })).await
        })
    }
}

async fn permit(resources: &Resources, info: &RequestInfo) -> Result<Option<Permit>, ApiError> {
    let (user, question) = (info.user()?, info.question()?);
    Ok(Some(match &question.subject {
        Subject::Resource { verb, target } => {
            Permit::Resource(resources.authorize(user, *verb, target, &question.fields).await?)
        }
        Subject::Container { verb, target } => Permit::Connection(
            resources.authorize_connect(user, verb.as_str(), target, &FieldSelector::default()).await?,
        ),
        Subject::Proxied { verb, target, .. } => {
            Permit::Connection(resources.authorize_connect(user, verb, target, &FieldSelector::default()).await?)
        }
        Subject::Delegated { asked: Delegated { verb, about, .. }, .. } => match about {
            About::Resource(target) => {
                Permit::Connection(resources.authorize_connect(user, verb, target, &question.fields).await?)
            }
            About::Path(path) => Permit::Path(AuthorizedPath::ask(resources.authorizer(), user, verb, path)?),
        },
        Subject::Path { verb, path } => Permit::Path(AuthorizedPath::ask(resources.authorizer(), user, verb, path)?),
        Subject::Messages => return Ok(None),
    }))
}
