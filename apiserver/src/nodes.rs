//! Which nodes are connected to this apiserver, as a hint for those who look after nodes: a machine that dies says no
//! goodbye, but answers no pings either.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;

use corten_api::{ApiError, Reason};
use corten_proto::api::nodes_server::{self, NodesServer};
use corten_proto::api::{NodeConnections as Message, WatchConnectionsRequest};
use futures::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::authn::Identity;
use crate::authz::{Authorizer, node_name};
use crate::grpc::refused;
use crate::request::{Target, User};
use crate::resources::{Authorized, to};

/// Changes that a slow listener has not been told of; with one more it is cut off, and begins with the state again.
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
    /// Sent to while `open` is locked, so that changes come in order, and after the state that was read under the lock.
    changes: broadcast::Sender<Change>,
}

/// A node's first connection was made, or its last has ended.
#[derive(Clone, Debug)]
struct Change {
    node: String,
    is_connected: bool,
}

impl Default for NodeConnections {
    fn default() -> Self {
        let (changes, _) = broadcast::channel(UNTOLD_MAX);
        Self { shared: Arc::new(Shared { open: Mutex::default(), changes }) }
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
        let mut open = self.shared.open.lock();
        let count = open.entry(node.clone()).or_default();
        *count += 1;
        if *count == 1 {
            // Nobody listens: nobody needs to know. So below.
            self.shared.changes.send(Change { node: node.clone(), is_connected: true }).ok();
        }
        drop(open);
        Some(NodeConnection { node, shared: Arc::clone(&self.shared) })
    }

    /// Who is connected now, and what changes from then on.
    fn listen(&self, _may: &Authorized<to::Watch>) -> (Vec<String>, broadcast::Receiver<Change>) {
        let open = self.shared.open.lock();
        (open.keys().cloned().collect(), self.shared.changes.subscribe())
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
            let node = std::mem::take(&mut self.node);
            self.shared.changes.send(Change { node, is_connected: false }).ok();
        }
    }
}

/// The gRPC service. `drained`: its streams end with it.
pub fn service(
    connections: NodeConnections,
    authorizer: Authorizer,
    drained: CancellationToken,
) -> NodesServer<Service> {
    NodesServer::new(Service { connections, authorizer, drained })
}

#[derive(Clone, Debug)]
pub struct Service {
    connections: NodeConnections,
    authorizer: Authorizer,
    drained: CancellationToken,
}

#[tonic::async_trait]
impl nodes_server::Nodes for Service {
    type WatchConnectionsStream = Pin<Box<dyn Stream<Item = Result<Message, Status>> + Send + 'static>>;

    async fn watch_connections(
        &self,
        request: Request<WatchConnectionsRequest>,
    ) -> Result<Response<Self::WatchConnectionsStream>, Status> {
        let may = allow(&request, &self.authorizer).map_err(|err| refused(&err))?;
        if self.connections.shared.changes.receiver_count() >= LISTENERS_MAX {
            return Err(refused(&ApiError::new(Reason::TooManyRequests, "too many listen to nodes' connections")));
        }
        let (connected, changes) = self.connections.listen(&may);
        let state = stream::iter(state_messages(&connected).into_iter().map(Ok));
        let changed = stream::unfold(Some(changes), |changes| async move {
            let mut changes = changes?;
            match next(&mut changes).await? {
                Ok(message) => Some((Ok(message), Some(changes))),
                Err(err) => Some((Err(refused(&err)), None)),
            }
        });
        Ok(Response::new(state.chain(changed).take_until(self.drained.clone().cancelled_owned()).boxed()))
    }
}

/// At least one: that nobody is connected has to be told as well.
fn state_messages(connected: &[String]) -> Vec<Message> {
    let chunks = connected.chunks(TOLD_AT_ONCE_MAX);
    let mut messages: Vec<Message> =
        chunks.map(|nodes| Message { connected: nodes.to_vec(), ..Message::default() }).collect();
    if messages.is_empty() {
        messages.push(Message::default());
    }
    if let Some(last) = messages.last_mut() {
        last.state_complete = true;
    }
    messages
}

/// Who may watch nodes may know which of them are connected.
fn allow<T>(request: &Request<T>, authorizer: &Authorizer) -> Result<Authorized<to::Watch>, ApiError> {
    let user = request.extensions().get::<Arc<User>>();
    let user = user.ok_or_else(|| ApiError::new(Reason::Unauthorized, "Unauthorized"))?;
    let nodes = Target { version: "v1".into(), resource: "nodes".into(), ..Target::default() };
    Authorized::by_roles(authorizer, user, nodes)
}

/// What has changed since, for at least one node; `None`: at the end. Of a node that changed more than once the last counts.
async fn next(changes: &mut broadcast::Receiver<Change>) -> Option<Result<Message, ApiError>> {
    let too_slow = || ApiError::unavailable("the listener is too slow; begin with who is connected now");
    let mut newest = BTreeMap::new();
    match changes.recv().await {
        Ok(Change { node, is_connected }) => _ = newest.insert(node, is_connected),
        Err(RecvError::Lagged(_)) => return Some(Err(too_slow())),
        Err(RecvError::Closed) => return None,
    }
    while newest.len() < TOLD_AT_ONCE_MAX {
        match changes.try_recv() {
            Ok(Change { node, is_connected }) => _ = newest.insert(node, is_connected),
            Err(TryRecvError::Lagged(_)) => return Some(Err(too_slow())),
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    let mut message = Message::default();
    for (node, is_connected) in newest {
        if is_connected { message.connected.push(node) } else { message.lost.push(node) }
    }
    Some(Ok(message))
}

#[cfg(test)]
mod tests {
    use corten_proto::api::nodes_server::Nodes as _;

    use super::*;
    use crate::authn::{NODE_PREFIX, NODES_GROUP};

    fn user(name: &str, group: &str) -> Arc<User> {
        Arc::new(User { name: name.into(), groups: vec![group.into()], ..User::default() })
    }

    fn kubelet(node: &str) -> Identity {
        Identity::Known { user: user(&format!("{NODE_PREFIX}{node}"), NODES_GROUP), until_secs: i64::MAX }
    }

    fn asked_by(user: Arc<User>) -> Request<WatchConnectionsRequest> {
        let mut request = Request::new(WatchConnectionsRequest {});
        request.extensions_mut().insert(user);
        request
    }

    fn admin() -> Arc<User> {
        user("admin", "system:masters")
    }

    fn message(connected: &[&str], lost: &[&str], state_complete: bool) -> Message {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Message { connected: names(connected), lost: names(lost), state_complete }
    }

    #[tokio::test]
    async fn who_listens_is_told_who_is_connected_and_then_of_first_and_last_connections() {
        let (connections, drained) = (NodeConnections::default(), CancellationToken::new());
        let service = Service {
            connections: connections.clone(),
            authorizer: Authorizer::of_a_new_cluster(),
            drained: drained.clone(),
        };
        let first = connections.opened(&kubelet("n1"));
        let mut told = service.watch_connections(asked_by(admin())).await.unwrap().into_inner();
        assert_eq!(told.next().await.unwrap().unwrap(), message(&["n1"], &[], true));
        let second = connections.opened(&kubelet("n1"));
        let other = Identity::Known { user: admin(), until_secs: i64::MAX };
        assert!(connections.opened(&other).is_none(), "not a node");
        drop(first);
        let third = connections.opened(&kubelet("n2"));
        assert_eq!(told.next().await.unwrap().unwrap(), message(&["n2"], &[], false), "n1 has another connection");
        drop((second, third));
        let fourth = connections.opened(&kubelet("n2"));
        assert_eq!(told.next().await.unwrap().unwrap(), message(&["n2"], &["n1"], false), "n2 is back");
        drop(fourth);
        assert_eq!(told.next().await.unwrap().unwrap(), message(&[], &["n2"], false));
        assert!(connections.shared.open.lock().is_empty());
        drained.cancel();
        assert!(told.next().await.is_none(), "it ends with the server");
    }

    #[test]
    fn the_state_comes_in_messages_of_a_bounded_size_and_the_last_says_that_it_is_complete() {
        let cases = [(0, vec![0]), (1, vec![1]), (500, vec![500]), (501, vec![500, 1]), (1000, vec![500, 500])];
        for (count, expected) in cases {
            let nodes: Vec<String> = (0..count).map(|n| format!("n{n}")).collect();
            let messages = state_messages(&nodes);
            assert_eq!(messages.iter().map(|m| m.connected.len()).collect::<Vec<_>>(), expected, "{count}");
            let complete = messages.iter().filter(|m| m.state_complete).count();
            assert!(complete == 1 && messages.last().unwrap().state_complete, "{count}");
        }
    }

    #[tokio::test]
    async fn a_listener_that_is_too_slow_is_cut_off_and_can_begin_again() {
        let connections = NodeConnections::default();
        let service = Service {
            connections: connections.clone(),
            authorizer: Authorizer::of_a_new_cluster(),
            drained: CancellationToken::new(),
        };
        let mut told = service.watch_connections(asked_by(admin())).await.unwrap().into_inner();
        assert_eq!(told.next().await.unwrap().unwrap(), message(&[], &[], true));
        for _ in 0..=UNTOLD_MAX {
            drop(connections.opened(&kubelet("n1")));
        }
        assert_eq!(told.next().await.unwrap().unwrap_err().code(), tonic::Code::Unavailable);
        assert!(told.next().await.is_none());
        assert!(service.watch_connections(asked_by(admin())).await.is_ok());
    }

    #[tokio::test]
    async fn only_who_may_watch_nodes_hears_of_them() {
        let service = Service {
            connections: NodeConnections::default(),
            authorizer: Authorizer::of_a_new_cluster(),
            drained: CancellationToken::new(),
        };
        let refused = service.watch_connections(asked_by(user("jane", "dev"))).await.err().unwrap();
        assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{refused}");
        assert!(service.watch_connections(asked_by(user("admin", "system:masters"))).await.is_ok());
    }
}
