//! One HTTP/2 connection to whichever apiserver answers; when it dies, to the next.
//!
//! Guarantee: a dead apiserver is left within [`KEEP_ALIVE`] + [`KEEP_ALIVE_TIMEOUT`]. Components start at a random
//! endpoint, so a fleet spreads evenly.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use corten_api::ApiError;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};

use crate::args::ConnectError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const KEEP_ALIVE: Duration = Duration::from_secs(1);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(1);
/// Large enough that a state of megabytes is not slowed by flow control on a local network.
const WINDOW_BYTES: u32 = 4 << 20;

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

/// The apiservers, and the connection in use.
#[derive(Debug)]
pub struct Endpoints {
    uris: Vec<Uri>,
    credentials: Credentials,
    active: ArcSwapOption<Connection>,
    /// Held while connecting: one at a time. The index is where to try next.
    connecting: tokio::sync::Mutex<usize>,
}

/// A channel that connected once. `Arc` identity tells one connection from the next.
#[derive(Debug)]
pub struct Connection {
    pub channel: Channel,
    pub uri: Uri,
}

impl Endpoints {
    pub fn new(urls: &[String], credentials: Credentials) -> Result<Self, ConnectError> {
        let parse = |given: &String| {
            let uri: Option<Uri> = given.parse().ok();
            uri.filter(|u| u.scheme_str() == Some("https") && u.host().is_some())
                .ok_or_else(|| ConnectError::Endpoint { given: given.clone() })
        };
        let uris: Vec<Uri> = urls.iter().map(parse).collect::<Result<_, _>>()?;
        if uris.is_empty() {
            return Err(ConnectError::NoEndpoint);
        }
        Ok(Self::to(uris, credentials))
    }

    /// The same apiservers and credentials, not connected yet.
    pub(crate) fn separate(&self) -> Self {
        Self::to(self.uris.clone(), self.credentials.clone())
    }

    fn to(uris: Vec<Uri>, credentials: Credentials) -> Self {
        let first = rand::random_range(0..uris.len());
        Self { uris, credentials, active: ArcSwapOption::empty(), connecting: tokio::sync::Mutex::new(first) }
    }

    /// The connection in use, or a new one to the first apiserver that answers.
    pub async fn connection(&self) -> Result<Arc<Connection>, ApiError> {
        if let Some(active) = self.active.load_full() {
            return Ok(active);
        }
        let mut next = self.connecting.lock().await;
        if let Some(active) = self.active.load_full() {
            return Ok(active);
        }
        let mut failures = Vec::new();
        for step in 0..self.uris.len() {
            let index = (*next + step) % self.uris.len();
            match self.connect(&self.uris[index]).await {
                Ok(connection) => {
                    *next = (index + 1) % self.uris.len();
                    let connection = Arc::new(connection);
                    self.active.store(Some(Arc::clone(&connection)));
                    return Ok(connection);
                }
                Err(why) => failures.push(format!("{}: {why}", self.uris[index])),
            }
        }
        Err(ApiError::unavailable(format!("no apiserver answers ({})", failures.join("; "))))
    }

    /// Says that `failed` is of no use any more, so that the next call connects anew.
    pub fn drop_connection(&self, failed: &Arc<Connection>) {
        let now = self.active.load();
        if now.as_ref().is_some_and(|active| Arc::ptr_eq(active, failed)) {
            self.active.compare_and_swap(&*now, None);
        }
    }

    async fn connect(&self, uri: &Uri) -> Result<Connection, String> {
        let tls = self.credentials.read().map_err(|e| e.to_string())?;
        let endpoint = Endpoint::from(uri.clone()).tls_config(tls).map_err(|e| chain(&e))?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .tcp_nodelay(true);
        // connect_timeout covers TCP only; a server that accepts and says nothing must not hold us either.
        match tokio::time::timeout(CONNECT_TIMEOUT * 2, endpoint.connect()).await {
            Ok(Ok(channel)) => Ok(Connection { channel, uri: uri.clone() }),
            Ok(Err(err)) => Err(chain(&err)),
            Err(_) => Err("TLS handshake timed out".into()),
        }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        let more = err.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = err.source();
    }
    text
}
