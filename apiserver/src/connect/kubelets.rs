//! Channels to kubelets' gRPC services, one for each node, made when first needed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use corten_api::ApiError;
use corten_api::error::with_causes;
use corten_proto::node::node_client::NodeClient;
use parking_lot::Mutex;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_DEADLINE: Duration = Duration::from_secs(10);
/// Channels kept; when there are more, all are let go and made anew as needed.
const MAX_CHANNELS: usize = 5000;
/// What a kubelet may send ahead of its reader in one stream.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// As many as a kubelet serves at a time. All share one connection, whose window has room for each: a client that does not
/// read its log must not hold up the others.
const STREAMS_MAX: u32 = 1024;
/// One message of a kubelet: a piece of a log or of output.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// The certificate shown to kubelets, and the CA of theirs. Files: read for every new channel, so renewals count.
#[derive(Clone, Debug)]
pub struct KubeletTls {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
}

/// Where a kubelet serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KubeletAddress {
    pub node: String,
    /// An IP address.
    pub host: String,
    pub port: u16,
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Kubelets {
    tls: KubeletTls,
    channels: Arc<Mutex<HashMap<KubeletAddress, Channel>>>,
}

impl Kubelets {
    pub fn new(tls: KubeletTls) -> Self {
        Self { tls, channels: Arc::default() }
    }

    /// A client of the node's kubelet. Connects with the first call, and again by itself when a connection is lost.
    pub fn client(&self, address: &KubeletAddress) -> Result<NodeClient<Channel>, ApiError> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(address) {
            return Ok(client_of(channel.clone()));
        }
        let channel = self.open(address)?;
        if channels.len() >= MAX_CHANNELS {
            channels.clear();
        }
        channels.insert(address.clone(), channel.clone());
        Ok(client_of(channel))
    }

    /// Lets a channel go whose calls failed in transport: the next call reads the certificate files again.
    pub fn forget(&self, address: &KubeletAddress) {
        self.channels.lock().remove(address);
    }

    /// How a kubelet is spoken to over TLS: with our certificate, and one of its CA. Reads the files.
    pub fn tls(&self) -> Result<ClientConfig, ApiError> {
        let unreadable = |path: &PathBuf, err: pem::Error| ApiError::internal(format!("{}: {err}", path.display()));
        let all = |path: &PathBuf| -> Result<Vec<CertificateDer<'static>>, ApiError> {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            read.map_err(|err| unreadable(path, err))
        };
        let mut roots = RootCertStore::empty();
        for certificate in all(&self.tls.ca)? {
            roots.add(certificate).map_err(ApiError::internal)?;
        }
        let key = PrivateKeyDer::from_pem_file(&self.tls.key).map_err(|err| unreadable(&self.tls.key, err))?;
        let config = ClientConfig::builder().with_root_certificates(roots);
        config.with_client_auth_cert(all(&self.tls.cert)?, key).map_err(ApiError::internal)
    }

    fn open(&self, address: &KubeletAddress) -> Result<Channel, ApiError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|err| ApiError::internal(format!("cannot read {}: {err}", path.display())))
        };
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(&self.tls.ca)?))
            .identity(Identity::from_pem(read(&self.tls.cert)?, read(&self.tls.key)?));
        let host = if address.host.contains(':') { format!("[{}]", address.host) } else { address.host.clone() };
        let unusable = |err: tonic::transport::Error| {
            ApiError::internal(format!("node {} cannot be dialled: {}", address.node, with_causes(&err)))
        };
        let endpoint = Endpoint::from_shared(format!("https://{host}:{}", address.port))
            .and_then(|endpoint| endpoint.tls_config(tls))
            .map_err(unusable)?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_DEADLINE)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_DEADLINE)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(STREAM_WINDOW_BYTES * STREAMS_MAX);
        Ok(endpoint.connect_lazy())
    }
}

fn client_of(channel: Channel) -> NodeClient<Channel> {
    NodeClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// A kubelet's error as our own: its Status if it sent one, else what happened on the way to it.
pub fn error_of(node: &str, status: &tonic::Status) -> ApiError {
    if let Ok(status) = serde_json::from_slice(corten_proto::status::of_grpc(status)) {
        return ApiError::from_status(status);
    }
    match status.code() {
        tonic::Code::InvalidArgument | tonic::Code::FailedPrecondition => ApiError::bad_request(status.message()),
        tonic::Code::NotFound => ApiError::new(corten_api::Reason::NotFound, status.message()),
        _ => ApiError::internal(format!("error dialing backend: node {node}: {}", with_causes(status))),
    }
}
