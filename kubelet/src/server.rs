//! The kubelet's own server on 10250: gRPC for the apiserver, plain HTTPS for those who watch the node.

mod forward;
mod handshakes;
mod health;
mod listen;
mod metrics;
mod node;
mod rates;
mod stats;
mod strangers;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use corten_client::pulse::Hang;
use jiff::Timestamp;

use crate::cgroup::Hierarchy;
use crate::runtime::{Network, Runtime};

pub use health::is_moving;
pub use listen::serve;
pub use node::STREAMS_MAX;
pub use rates::Rates;
pub use tls::Credentials;

/// A container of a pod as the server needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerView {
    pub name: String,
    /// As the status shows it.
    pub image: String,
    /// The newest container of this name; `None` while none was made.
    pub current: Option<Instance>,
    /// The one before it, while it is kept.
    pub previous: Option<Instance>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The runtime's id.
    pub id: String,
    pub running: bool,
    pub log_path: PathBuf,
}

/// A pod of this node as the server needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// The status's `startTime`.
    pub started_at: Option<Timestamp>,
    /// Where its loopback is; `None` while nothing of it is up, and then it must not be taken for the node's.
    pub network: Option<Network>,
    /// All kinds: init, main, ephemeral. The first main one is the default.
    pub containers: Vec<ContainerView>,
    pub default_container: String,
}

/// The pods of this node, kept by the pod workers. Answers come from memory: the calls do no I/O.
pub trait Pods: Send + Sync {
    /// A pod by name. Static pods are found by their mirror's name. With a `uid` that is not empty, only that pod.
    fn find(&self, namespace: &str, name: &str, uid: &str) -> Option<PodView>;

    /// Whether the manager of pods moves.
    fn is_moving(&self) -> Result<(), Hang>;

    /// All pods, for statistics.
    fn all(&self) -> Vec<PodView>;

    /// A v1 PodList as JSON, for `/pods`.
    fn pod_list_json(&self) -> Vec<u8>;
}

/// What the server listens on and answers from.
#[derive(Clone)]
pub struct Server {
    pub node_name: String,
    pub listen: SocketAddr,
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    /// Who clients' certificates must be signed by.
    pub client_ca_file: PathBuf,
    pub pods: Arc<dyn Pods>,
    pub runtime: Arc<dyn Runtime>,
    pub hierarchy: Hierarchy,
    /// `--cgroup-root`: what the node as a whole has used.
    pub cgroup_root: String,
    /// What was used when somebody last asked.
    pub rates: Rates,
    /// What was last made of the files above.
    pub credentials: Credentials,
}

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("reading {}: give a readable PEM file", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} holds no usable {what}", path.display())]
    Pem { path: PathBuf, what: &'static str },
    #[error("the server's certificate, key and client CA do not go together")]
    Tls(#[from] rustls::Error),
    #[error("the client CA cannot be used")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    #[error("listening on {address}: is another kubelet running?")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
}
