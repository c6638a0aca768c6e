//! How a connection to one apiserver is made: TLS with our identity, and pings that find a dead one.

use std::path::PathBuf;
use std::time::Duration;

use corten_api::error::with_causes;
use tonic::client::GrpcService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};

use super::{KEEP_ALIVE, KEEP_ALIVE_TIMEOUT};
use crate::args::ConnectError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const READY_TIMEOUT: Duration = Duration::from_secs(2);
/// Large enough that a state of megabytes is not slowed by flow control on a local network.
const WINDOW_BYTES: u32 = 4 << 20;

/// The port to the network. The product's are [`Credentials`]; tests have servers in memory.
#[tonic::async_trait]
pub trait Connect: Send + Sync + std::fmt::Debug + 'static {
    /// A channel that is connected, or why there is none.
    async fn connect(&self, uri: &Uri) -> Result<Channel, String>;
    /// Whether the server says that it can serve, by its `/readyz`: one that drains, or has no store, says so there.
    async fn is_ready(&self, channel: &Channel) -> bool {
        let mut channel = channel.clone();
        let asked = async {
            std::future::poll_fn(|cx| GrpcService::poll_ready(&mut channel, cx)).await.ok()?;
            let request = http::Request::get("/readyz").body(tonic::body::Body::empty()).ok()?;
            GrpcService::call(&mut channel, request).await.ok()
        };
        let answer = tokio::time::timeout(READY_TIMEOUT, asked).await;
        answer.is_ok_and(|response| response.is_some_and(|response| response.status().is_success()))
    }
}

/// What every connection has, whatever it goes over: pings, windows, and the time that it may take to be made.
pub fn pinged(uri: &Uri) -> Endpoint {
    Endpoint::from(uri.clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
}

/// A test's server: the one channel there is.
#[cfg(feature = "test-support")]
#[derive(Debug)]
pub(super) struct Only(pub(super) Channel);

#[cfg(feature = "test-support")]
#[tonic::async_trait]
impl Connect for Only {
    async fn connect(&self, _: &Uri) -> Result<Channel, String> {
        Ok(self.0.clone())
    }
    async fn is_ready(&self, _: &Channel) -> bool {
        true
    }
}

/// The files of our identity.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub ca_file: PathBuf,
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

impl Credentials {
    pub(crate) fn read(&self) -> Result<ClientTlsConfig, ConnectError> {
        let file = |flag: &'static str, path: &PathBuf| {
            std::fs::read(path).map_err(|source| ConnectError::File { flag, path: path.clone(), source })
        };
        let identity = Identity::from_pem(file("--cert-file", &self.cert_file)?, file("--key-file", &self.key_file)?);
        let ca = Certificate::from_pem(file("--ca-file", &self.ca_file)?);
        Ok(ClientTlsConfig::new().ca_certificate(ca).identity(identity))
    }
}

#[tonic::async_trait]
impl Connect for Credentials {
    async fn connect(&self, uri: &Uri) -> Result<Channel, String> {
        let tls = self.read().map_err(|e| e.to_string())?;
        let endpoint = pinged(uri).tls_config(tls).map_err(|e| with_causes(&e))?.tcp_nodelay(true);
        // connect_timeout covers TCP only; a server that accepts and says nothing must not hold us either.
        match tokio::time::timeout(CONNECT_TIMEOUT * 2, endpoint.connect()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(err)) => Err(with_causes(&err)),
            Err(_) => Err("TLS handshake timed out".into()),
        }
    }
}
