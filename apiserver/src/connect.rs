//! What is served by a pod's own node: its logs, and connections into its containers. And HTTP to what pods, Services and nodes
//! serve themselves.

pub mod exec;
pub mod kubelets;
pub mod log;
pub mod pod;
pub mod portforward;
pub mod proxy;
pub mod spdy;
pub mod upgrade;
pub mod websocket;

use std::sync::Arc;

use corten_api::ApiError;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::flowcontrol::long_running::LongRunning;
use crate::request::Target;
use crate::resources::{Authorized, to};
use crate::rest::body::Body;
use crate::rest::query::Query;
use crate::rest::{Front, respond};
pub use kubelets::{KubeletTls, Kubelets};

/// Whether the request is for a node to answer, and lasts.
pub fn is_connect(target: &Target) -> bool {
    target.resource == "pods"
        && target.group.is_empty()
        && matches!(target.subresource.as_str(), "log" | "exec" | "attach" | "portforward")
}

/// Answers a request for which [`is_connect`] holds.
pub async fn serve(
    front: &Arc<Front>,
    may: &Authorized<to::Connect>,
    query: &Query<'_>,
    request: Request<Incoming>,
    counted: LongRunning,
) -> Result<Response<Body>, ApiError> {
    match may.target().subresource.as_str() {
        "log" => log::serve(front, may, query, request, counted).await,
        "exec" | "attach" => exec::serve(front, may, query, request, counted).await,
        "portforward" => portforward::serve(front, may, query, request, counted).await,
        _ => Err(respond::no_such_path()),
    }
}
