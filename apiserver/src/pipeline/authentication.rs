//! Who sent a request: 401 for whoever is not whom he says.

mod caller;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use corten_api::ApiError;
use http::{Request, Response};
use tower::{Layer, Service};

use super::{Answering, Inner, Means, Pipeline, ready, refused};
use crate::authn::front_proxy::{self, Rules};
use crate::authn::{AUTHENTICATED_GROUP, Identity, unauthorized};
use crate::request::User;
use crate::request_info::{self, Door, RequestInfo};
use crate::resources::Resources;
use crate::rest::body::Body;
use crate::rest::receive::Unread;

/// What a request's connection has shown: stands in its extensions.
pub struct Connection {
    /// Of its owner, as it counts now.
    pub identity: Box<dyn Fn() -> Arc<Identity> + Send + Sync>,
    /// What front proxies' requests are read by, whether or not this is one's.
    pub front_proxy: Option<Arc<Rules>>,
    /// Called when a request shows whose connection it is, again and again.
    pub authenticated: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("identity", &(self.identity)()).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Authenticate {
    resources: Resources,
}

impl Authenticate {
    pub(super) fn new(means: &Means) -> Self {
        Self { resources: means.resources.clone() }
    }
}

pub(super) struct Authentication {
    resources: Resources,
    inner: Inner<Unread>,
}

impl<S: Pipeline<Unread> + 'static> Layer<S> for Authenticate {
    type Service = Authentication;

    fn layer(&self, inner: S) -> Authentication {
        Authentication { resources: self.resources.clone(), inner: Box::new(inner) }
    }
}

impl<'a> Service<Request<Unread>> for &'a Authentication {
    type Response = Response<Body>;
    type Error = ApiError;
    type Future = Answering<'a>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        ready()
    }

    fn call(&mut self, mut request: Request<Unread>) -> Answering<'a> {
        let Authentication { resources, inner } = *self;
        let next = &**inner;
        let shown = request_info::of(&request).and_then(|info| {
            let connection = request.extensions().get::<Arc<Connection>>().cloned();
            Ok((info, connection.ok_or_else(|| ApiError::internal("a request of no connection"))?))
        });
        let (info, connection) = match shown {
            Ok(shown) => shown,
            Err(err) => return refused(err),
        };
        let identity = (connection.identity)();
        let named = caller::proxied(&identity, request.headers());
        if let Some(user) = named.or_else(|| caller::certified(&identity).cloned()) {
            front_proxy::take_out(connection.front_proxy.as_deref(), request.headers_mut());
            return match is_of(&info, &connection, user) {
                Ok(()) => next.answer(request),
                Err(err) => refused(err),
            };
        }
        Box::pin(async move {
            let user = caller::shown(resources, &identity, request.headers()).await?;
            front_proxy::take_out(connection.front_proxy.as_deref(), request.headers_mut());
            is_of(&info, &connection, user)?;
            next.answer(request).await
        })
    }
}

fn is_of(info: &RequestInfo, connection: &Connection, user: Arc<User>) -> Result<(), ApiError> {
    if user.in_group(AUTHENTICATED_GROUP) {
        (connection.authenticated)();
    } else if info.door == Door::Grpc {
        // Our own programs all show who they are. What a call is about stands in its message: of nobody's not a byte is read, and
        // no stream of his is kept.
        return Err(unauthorized());
    }
    info.is_sent_by(user)
}
