//! Connections to servers that answer for group versions: to an endpoint of their Service, with the front proxy's certificate.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use corten_api::error::with_causes;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;

use crate::connect::proxy::dial::{AnyCertificate, Connection};
use crate::registry::apiregistration::routes::Server;
use crate::webhook::{self, Resolve, tls};

/// HTTP/1.1 alone: it is what can be upgraded.
const PROTOCOL: &[u8] = b"http/1.1";
/// What connections are made with is made again after so long: a renewed certificate counts then.
const MADE_FOR: Duration = Duration::from_secs(10);
/// Of so many servers at once.
const MADE_MAX: usize = 256;

/// The certificate by which other servers know that a request was passed on by us.
#[derive(Clone, Debug)]
pub struct FrontProxyTls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Why a server is not reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// There is nothing to connect to.
    Nowhere(String),
    /// Of what is configured no connection can be made.
    Unusable(String),
    /// The last of the endpoints that were tried, `host:port`, and why it is not.
    Failed { at: String, why: String },
}

/// How servers are connected to.
#[derive(Debug)]
pub struct Reach {
    /// None: requests are passed on, and nobody believes whose they are.
    shown: Option<FrontProxyTls>,
    made: Mutex<HashMap<Arc<Server>, Made>>,
}

/// What connections to a server are made with.
#[derive(Clone, Debug)]
struct Made {
    at: Instant,
    config: Arc<ClientConfig>,
    /// Of the name that its Service may stand for.
    lookups: Arc<Semaphore>,
}

/// Bounds of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Within {
    /// Which addresses may be connected to.
    pub allows: fn(IpAddr) -> bool,
    /// For all of it, its TLS handshake included.
    pub time: Duration,
}

impl Reach {
    pub fn new(shown: Option<FrontProxyTls>) -> Self {
        Self { shown, made: Mutex::default() }
    }

    /// To an endpoint of its own choice, or another if nobody is there; `host:port` is told with it.
    pub async fn connect(
        &self,
        resolve: &dyn Resolve,
        server: &Arc<Server>,
        within: Within,
    ) -> Result<(Connection, String), Unreachable> {
        let found = resolve.candidates(&server.namespace, &server.service, server.port).await;
        let authorities = found.map_err(|err| Unreachable::Nowhere(err.message().to_owned()))?;
        let made = self.made(server).map_err(Unreachable::Unusable)?;
        let (deadline, mut left) = (Instant::now() + within.time, authorities.len());
        let mut failed = Unreachable::Nowhere("there is nobody to ask".to_owned());
        for authority in authorities {
            // One that does not answer leaves time for the others.
            let now = Instant::now();
            let due = now + deadline.saturating_duration_since(now) / u32::try_from(left.max(1)).unwrap_or(u32::MAX);
            left = left.saturating_sub(1);
            let why = match timeout_at(due, dial(server, &made, &authority, within.allows)).await {
                Ok(Ok(connection)) => return Ok((connection, authority)),
                Ok(Err(why)) => why,
                Err(_) => format!("dial tcp {authority}: i/o timeout"),
            };
            failed = Unreachable::Failed { at: authority, why };
        }
        Err(failed)
    }

    fn made(&self, server: &Arc<Server>) -> Result<Made, String> {
        let now = Instant::now();
        let before = self.made.lock().get(server).cloned();
        if let Some(made) = before.as_ref().filter(|made| now.duration_since(made.at) < MADE_FOR) {
            return Ok(made.clone());
        }
        let lookups = before.map_or_else(webhook::lookups_of_one, |before| before.lookups);
        let made = Made { at: now, config: Arc::new(self.make(server)?), lookups };
        let mut all = self.made.lock();
        if all.len() >= MADE_MAX && !all.contains_key(server) {
            all.clear();
        }
        all.insert(server.clone(), made.clone());
        Ok(made)
    }

    fn make(&self, server: &Server) -> Result<ClientConfig, String> {
        let verifier: Arc<dyn ServerCertVerifier> =
            if server.is_insecure { Arc::new(AnyCertificate) } else { tls::verifier(&server.ca_bundle)? };
        let builder = ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match &self.shown {
            None => builder.with_no_client_auth(),
            Some(FrontProxyTls { cert, key }) => {
                let unreadable = |path: &PathBuf, err| format!("{}: {err}", path.display());
                let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
                let chain = chain.map_err(|err| unreadable(cert, err))?;
                let private = PrivateKeyDer::from_pem_file(key).map_err(|err| unreadable(key, err))?;
                builder.with_client_auth_cert(chain, private).map_err(|err| with_causes(&err))?
            }
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(config)
    }
}

async fn dial(server: &Server, made: &Made, authority: &str, allows: fn(IpAddr) -> bool) -> Result<Connection, String> {
    let name = server.name();
    let name = ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} is no name of a server"))?;
    let (host, port) = authority.rsplit_once(':').ok_or_else(|| format!("address {authority}: missing port"))?;
    let port = port.parse().map_err(|_| format!("address {authority}: invalid port"))?;
    let addresses = webhook::look_up(host.trim_matches(['[', ']']), port, &made.lookups).await?;
    let mut failed = format!("dial tcp {authority}: the address is not allowed");
    for address in addresses.into_iter().filter(|address| allows(address.ip())) {
        let tcp = match TcpStream::connect(address).await {
            Ok(tcp) => tcp,
            Err(err) => {
                failed = format!("dial tcp {address}: connect: {}", err.kind());
                continue;
            }
        };
        // Without it small messages wait for each other, which changes nothing else.
        if let Err(err) = tcp.set_nodelay(true) {
            tracing::debug!("TCP_NODELAY: {err}");
        }
        let stream = TlsConnector::from(made.config.clone()).connect(name, tcp).await;
        return Ok(Either::Right(Box::new(stream.map_err(|err| tls::told(&err))?)));
    }
    Err(failed)
}
