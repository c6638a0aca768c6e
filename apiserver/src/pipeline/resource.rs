//! Where the stack ends: what may be is done, by REST's handlers or gRPC's services.

use std::sync::Arc;
use std::task::{Context, Poll};

use corten_api::ApiError;
use http::{Request, Response};
use tonic::service::Routes;
use tower::Service;

use super::door::grpc::Services;
use super::{Answer, Answering, Permitted, Pipeline, ready};
use crate::request_info::{self, Door};
use crate::rest::Front;
use crate::rest::body::Body;

pub(super) struct Resource {
    front: Arc<Front>,
    services: Services,
}

impl Resource {
    pub(super) fn new(front: Arc<Front>, routes: Routes, messages: Arc<dyn Pipeline>) -> Self {
        Self { front, services: Services { routes, messages } }
    }

    async fn serve(&self, request: Request<Permitted>) -> Answer {
        let info = request_info::of(&request)?;
        match info.door {
            Door::Grpc => info.told.of(self.services.serve(&self.front, &info, request)).await,
            Door::Rest { .. } => {
                let (parts, Permitted { body, seat, may }) = request.into_parts();
                let may = may.ok_or_else(|| ApiError::internal("a request of REST without a proof"))?;
                info.told.of(self.front.serve(&info, may, seat, Request::from_parts(parts, body))).await
            }
        }
    }
}

impl<'a> Service<Request<Permitted>> for &'a Resource {
    type Response = Response<Body>;
    type Error = ApiError;
    type Future = Answering<'a>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        ready()
    }

    fn call(&mut self, request: Request<Permitted>) -> Answering<'a> {
        Box::pin(self.serve(request))
    }
}
