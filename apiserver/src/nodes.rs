//! Which nodes are connected to this apiserver, as a hint for those who look after nodes: a machine that dies says no
//! goodbye, but answers no pings either.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use corten_api::{ApiError, Reason};
use corten_proto::api::nodes_server::{self, NodesServer};
use corten_proto::api::{LostConnections, WatchConnectionsRequest};
use corten_proto::status;
use futures::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::authn::Identity;
use crate::authz::{authorize_resource, node_name};
use crate::request::{Target, User};

/// Lost nodes that a slow listener has not been told of; it misses the oldest.
const UNTOLD_MAX: usize = 8192;
/// Nodes in one message.
const TOLD_AT_ONCE_MAX: usize = 500;
/// The leader of the controllers listens, and for a moment its predecessor.
const LISTENERS_MAX: usize = 16;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeConnections {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// How many connections each node has. Bounded by the connections that there may be.
    open: Mutex<HashMap<String, usize>>,
    lost: broadcast::Sender<String>,
}

impl Default for NodeConnections {
    fn default() -> Self {
        let (lost, _) = broadcast::channel(UNTOLD_MAX);
        Self { shared: Arc::new(Shared { open: Mutex::default(), lost }) }
    }
}

/// A node's connection; dropped when it ends.
#[derive(Debug)]
pub struct NodeConnection {
    node: String,
    shared: Arc<Shared>,
}

impl NodeConnections {
    /// Counts a connection, if it is a kubelet's.
    pub fn opened(&self, identity: &Identity) -> Option<NodeConnection> {
        let Identity::Known { user, .. } = identity else { return None };
        let node = node_name(user)?.to_owned();
        *self.shared.open.lock().entry(node.clone()).or_default() += 1;
        Some(NodeConnection { node, shared: Arc::clone(&self.shared) })
    }
}

impl Drop for NodeConnection {
    fn drop(&mut self) {
        let mut open = self.shared.open.lock();
        let left = open.get_mut(&self.node).map_or(0, |count| {
            *count -= 1;
            *count
        });
        if left == 0 {
            open.remove(&self.node);
            // Nobody listens: nobody needs to know.
            self.shared.lost.send(std::mem::take(&mut self.node)).ok();
        }
    }
}

/// The gRPC service. `drained`: its streams end with it.
pub fn service(connections: NodeConnections, drained: CancellationToken) -> NodesServer<Service> {
    NodesServer::new(Service { connections, drained })
}

#[derive(Clone, Debug)]
pub struct Service {
    connections: NodeConnections,
    drained: CancellationToken,
}

#[tonic::async_trait]
impl nodes_server::Nodes for Service {
    type WatchConnectionsStream = Pin<Box<dyn Stream<Item = Result<LostConnections, Status>> + Send + 'static>>;

    async fn watch_connections(
        &self,
        request: Request<WatchConnectionsRequest>,
    ) -> Result<Response<Self::WatchConnectionsStream>, Status> {
        allow(&request).map_err(|err| refused(&err))?;
        if self.connections.shared.lost.receiver_count() >= LISTENERS_MAX {
            return Err(refused(&ApiError::new(Reason::TooManyRequests, "too many listen to nodes' connections")));
        }
        let told = stream::unfold(self.connections.shared.lost.subscribe(), |mut lost| async move {
            let nodes = next(&mut lost).await?;
            Some((Ok(LostConnections { nodes }), lost))
        });
        Ok(Response::new(told.take_until(self.drained.clone().cancelled_owned()).boxed()))
    }
}

/// Who may watch nodes may know which of them are connected.
fn allow<T>(request: &Request<T>) -> Result<(), ApiError> {
    let user = request.extensions().get::<Arc<User>>();
    let user = user.ok_or_else(|| ApiError::new(Reason::Unauthorized, "Unauthorized"))?;
    let nodes = Target { version: "v1".into(), resource: "nodes".into(), ..Target::default() };
    authorize_resource(user, "watch", &nodes)
}

fn refused(err: &ApiError) -> Status {
    match serde_json::to_vec(err.status()) {
        Ok(json) => status::to_grpc(err.code(), err.message(), json),
        Err(unprintable) => Status::internal(unprintable.to_string()),
    }
}

/// The nodes that were lost since, at least one; `None` at the end.
async fn next(lost: &mut broadcast::Receiver<String>) -> Option<Vec<String>> {
    let mut nodes = Vec::new();
    while nodes.is_empty() {
        match lost.recv().await {
            Ok(node) => nodes.push(node),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
    while nodes.len() < TOLD_AT_ONCE_MAX
        && let Ok(node) = lost.try_recv()
    {
        nodes.push(node);
    }
    Some(nodes)
}

#[cfg(test)]
mod tests {
    use corten_proto::api::nodes_server::Nodes as _;

    use super::*;
    use crate::authn::{NODE_PREFIX, NODES_GROUP};

    fn user(name: &str, group: &str) -> Arc<User> {
        Arc::new(User { name: name.into(), uid: String::new(), groups: vec![group.into()] })
    }

    fn kubelet(node: &str) -> Identity {
        Identity::Known { user: user(&format!("{NODE_PREFIX}{node}"), NODES_GROUP), until_secs: i64::MAX }
    }

    fn asked_by(user: Arc<User>) -> Request<WatchConnectionsRequest> {
        let mut request = Request::new(WatchConnectionsRequest {});
        request.extensions_mut().insert(user);
        request
    }

    #[tokio::test]
    async fn the_end_of_a_nodes_last_connection_is_told_to_who_listens() {
        let (connections, drained) = (NodeConnections::default(), CancellationToken::new());
        let service = Service { connections: connections.clone(), drained: drained.clone() };
        let admin = || user("admin", "system:masters");
        let mut told = service.watch_connections(asked_by(admin())).await.unwrap().into_inner();
        let (first, second) = (connections.opened(&kubelet("n1")), connections.opened(&kubelet("n1")));
        let other = Identity::Known { user: admin(), until_secs: i64::MAX };
        assert!(connections.opened(&other).is_none(), "not a node");
        drop(first);
        drop(connections.opened(&kubelet("n2")));
        assert_eq!(told.next().await.unwrap().unwrap().nodes, ["n2"], "n1 has another connection");
        drop(second);
        assert_eq!(told.next().await.unwrap().unwrap().nodes, ["n1"]);
        assert!(connections.shared.open.lock().is_empty());
        drained.cancel();
        assert!(told.next().await.is_none(), "it ends with the server");
    }

    #[tokio::test]
    async fn only_who_may_watch_nodes_hears_of_them() {
        let service = Service { connections: NodeConnections::default(), drained: CancellationToken::new() };
        let refused = service.watch_connections(asked_by(user("jane", "dev"))).await.err().unwrap();
        assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{refused}");
        assert!(service.watch_connections(asked_by(user("admin", "system:masters"))).await.is_ok());
    }
}
