//! Puts the server together: what must be there first, and what each failure tells the one who started it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use corten_api::ApiError;
use tokio::net::TcpListener;

use crate::admission::Chain;
use crate::authn::Tokens;
use crate::authn::key_files::{KeyFileError, KeyFiles};
use crate::config::Config;
use crate::connect::aggregated::reach::{FrontProxyTls, Reach};
use crate::connect::proxy::Proxy;
use crate::connect::{KubeletTls, Kubelets};
use crate::discovery::Discovery;
use crate::flowcontrol::{FlowControl, bootstrap, keeper};
use crate::health::Health;
use crate::openapi::Documents;
use crate::pipeline::audit::Log;
use crate::registry::Registry;
use crate::resources::{Resources, Settings, Trust};
use crate::rest::Front;
use crate::serve::connections::{Bounds, ConnectionLimiter};
use crate::serve::limits::take_files;
use crate::serve::responses::SEND_DEADLINE;
use crate::serve::{Server, TlsError, TlsFiles, TlsKeeper};
use crate::storage::etcd::{self, Etcd};
use crate::storage::{Storage, StorageError};
use crate::usage::collector::Collector;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: stop what serves there, or choose another --listen")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    #[error("cannot read {} for {flag}: give a PEM file", path.display())]
    File {
        flag: &'static str,
        path: std::path::PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "etcd does not answer at {urls}: start it, or change --etcd (and --etcd-ca-file, --etcd-cert-file, --etcd-key-file)"
    )]
    Etcd {
        urls: String,
        #[source]
        source: StorageError,
    },
    #[error("the state in etcd cannot be read")]
    State(#[source] ApiError),
}

/// A server that is about to serve, its port, and the keys that it is to keep.
pub struct Started {
    pub server: Server,
    pub listener: TcpListener,
    pub tokens: Arc<Tokens>,
    pub key_files: KeyFiles,
}

/// The port first: it is what most often fails, and a second server must not touch etcd. Then files, then etcd.
pub async fn start(config: &Config) -> Result<Started, StartError> {
    let listener = listen(config.listen).await?;
    check_readable("--kubelet-client-cert-file", &config.kubelet_client_cert_file)?;
    check_readable("--kubelet-client-key-file", &config.kubelet_client_key_file)?;
    check_readable("--kubelet-ca-file", config.kubelet_ca())?;
    if let Some(FrontProxyTls { cert, key }) = &config.front_proxy_tls() {
        check_readable("--proxy-client-cert-file", cert)?;
        check_readable("--proxy-client-key-file", key)?;
    }
    let tls = TlsKeeper::open(TlsFiles {
        cert: config.tls_cert_file.clone(),
        key: config.tls_key_file.clone(),
        client_ca: config.client_ca_file.clone(),
        front_proxy: config.front_proxy_trust(),
        front_proxy_client: config.front_proxy_tls(),
    })?;
    let key_files = config.key_files();
    let endpoints = etcd::Endpoints { urls: config.etcd.clone(), tls: etcd_tls(config) };
    let refused = |source| StartError::Etcd { urls: config.etcd.join(", "), source };
    let storage: Arc<dyn Storage> = Arc::new(Etcd::connect(&endpoints).await.map_err(refused)?);
    let settings = Settings {
        service_cidr: config.service_cidr,
        node_ports: config.node_port_range.clone(),
        advertise: config.advertised(),
        tokens: Arc::new(Tokens::new(config.token_rules(), key_files.load()?)),
        admission: Chain::default(),
    };
    let tokens = settings.tokens.clone();
    let kubelets = KubeletTls {
        cert: config.kubelet_client_cert_file.clone(),
        key: config.kubelet_client_key_file.clone(),
        ca: config.kubelet_ca().clone(),
    };
    let seats = config.max_requests_inflight.saturating_add(config.max_mutating_requests_inflight);
    let flow = FlowControl::new(seats, bootstrap::configuration());
    let server = assemble(storage, settings, kubelets, tls, flow).await.map_err(StartError::State)?;
    Ok(Started { server, listener, tokens, key_files })
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

fn check_readable(flag: &'static str, path: &std::path::Path) -> Result<(), StartError> {
    let unreadable = |source| StartError::File { flag, path: path.to_owned(), source };
    std::fs::File::open(path).map(drop).map_err(unreadable)
}

fn etcd_tls(config: &Config) -> Option<etcd::TlsFiles> {
    Some(etcd::TlsFiles {
        ca: config.etcd_ca_file.clone()?,
        cert: config.etcd_cert_file.clone()?,
        key: config.etcd_key_file.clone()?,
    })
}

/// The server over any storage: tests put it together over memory.
pub async fn assemble(
    storage: Arc<dyn Storage>,
    settings: Settings,
    kubelets: KubeletTls,
    tls: TlsKeeper,
    flow: FlowControl,
) -> Result<Server, ApiError> {
    let registry = Registry::default();
    let address = settings.advertise.map(|a| a.to_string()).unwrap_or_default();
    let discovery = Discovery::new(registry.clone(), &address);
    let openapi = Arc::new(Documents::new(registry.clone()));
    let resources = Resources::start(storage.clone(), registry.clone(), settings).await?;
    keeper::start(&resources, &flow).await;
    let front_proxy = tls.front_proxy().cloned();
    resources.publish_trust(Trust { client_ca: tls.client_ca_file().to_owned(), front_proxy }).await;
    let nodes = crate::nodes::NodeConnections::default();
    let authorizer = resources.authorizer().clone();
    let kubelets = Kubelets::new(kubelets);
    let usage = Collector::new(resources.clone(), kubelets.clone());
    let grpc = tonic::service::Routes::new(crate::grpc::service(resources.clone(), flow.clone(), usage.clone()))
        .add_service(crate::nodes::service(nodes.clone(), authorizer.clone(), resources.drained()))
        .add_service(crate::kinds::service(registry, flow.clone(), authorizer, resources.drained()));
    let mut metrics = crate::metrics::Metrics::new(&flow);
    metrics.count_unreadable(resources.unreadable());
    metrics.register(|registry| resources.count_webhooks(registry));
    let front = Front {
        health: Health::new(storage, resources.clone()),
        discovery,
        openapi,
        usage,
        resources,
        kubelets,
        proxy: Proxy::default(),
        reach: Reach::new(tls.front_proxy_client().cloned()),
        metrics: Arc::new(metrics),
        flow,
        unfinished: Arc::default(),
    };
    let connections = ConnectionLimiter::new(Bounds::of(take_files()));
    let (front, audit, tls) = (Arc::new(front), Arc::new(Log), Arc::new(tls));
    Ok(Server { front, grpc, audit, tls, nodes, connections, send_deadline: SEND_DEADLINE })
}
