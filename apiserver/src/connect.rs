//! What is served by a pod's own node: its logs, and connections into its containers. And HTTP to what pods, Services and nodes
//! serve themselves.

pub mod aggregated;
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
use serde_json::{Map, Value};

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
    // A look at a log is no connection in webhooks' eyes.
    if may.target().subresource != "log" {
        let options = options(&may.target().subresource, query)?;
        front.resources.admit_connection(may, options).await?;
    }
    match may.target().subresource.as_str() {
        "log" => log::serve(front, may, query, request, counted).await,
        "exec" | "attach" => exec::serve(front, may, query, request, counted).await,
        "portforward" => portforward::serve(front, may, query, request, counted).await,
        _ => Err(respond::no_such_path()),
    }
}

/// What a connection is to be, as an object: what webhooks are told.
fn options(subresource: &str, query: &Query<'_>) -> Result<Value, ApiError> {
    let mut options = Map::new();
    match subresource {
        "exec" | "attach" => {
            for stream in ["stdin", "stdout", "stderr", "tty"].into_iter().filter(|stream| query.flag(stream)) {
                options.insert(stream.into(), true.into());
            }
            if let Some(container) = query.get("container") {
                options.insert("container".into(), container.into());
            }
            let command: Vec<&str> = query.all("command").collect();
            if subresource == "exec" && !command.is_empty() {
                options.insert("command".into(), command.into());
            }
        }
        "portforward" => {
            let ports: Vec<i64> =
                query.all("ports").flat_map(|all| all.split(',')).filter_map(|port| port.parse().ok()).collect();
            if !ports.is_empty() {
                options.insert("ports".into(), ports.into());
            }
        }
        _ => return Err(respond::no_such_path()),
    }
    Ok(options.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_connection_is_told_of_as_its_options() {
        let told = |subresource: &str, query| options(subresource, &Query::parse(Some(query))).ok();
        let exec = json!({"stdin": true, "tty": true, "container": "c", "command": ["sh", "-c"]});
        assert_eq!(told("exec", "stdin=true&tty=1&stdout=false&container=c&command=sh&command=-c"), Some(exec));
        assert_eq!(told("attach", "stdout=true&command=x"), Some(json!({"stdout": true})));
        assert_eq!(told("portforward", "ports=80,81&ports=82"), Some(json!({"ports": [80, 81, 82]})));
        assert_eq!(told("resize", "h=1"), None, "nobody knows what it would be");
    }
}
