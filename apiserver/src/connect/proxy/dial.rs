//! Connections to what is behind the proxy, one for each request.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use corten_api::error::with_causes;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::address::Scheme;
use super::locate::{Location, Trust};
use crate::authn::NODE_PREFIX;
use crate::connect::Kubelets;

/// HTTP/1.1 alone: it is what can be upgraded.
const PROTOCOL: &[u8] = b"http/1.1";

pub type Connection = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Why there is no connection, in the words of upstream's where it has some.
#[derive(Debug)]
pub enum DialError {
    TooSlow(SocketAddr),
    Tcp(SocketAddr, io::Error),
    Tls(io::Error),
    Files(String),
    /// The certificate shown is another one's.
    Stranger {
        node: String,
    },
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSlow(to) => write!(f, "dial tcp {to}: i/o timeout"),
            Self::Tcp(to, err) => write!(f, "dial tcp {to}: connect: {}", err.kind()),
            Self::Tls(err) => write!(f, "tls: {}", with_causes(err)),
            Self::Files(why) => f.write_str(why),
            Self::Stranger { node } => {
                write!(f, "tls: the certificate shown is not that of the kubelet of node {node:?}")
            }
        }
    }
}

/// `within`: for all of it, the TLS handshake too.
pub async fn dial(to: &Location, kubelets: &Kubelets, within: Duration) -> Result<Connection, DialError> {
    let connected = tokio::time::timeout(within, connect(to, kubelets)).await;
    connected.unwrap_or(Err(DialError::TooSlow(to.address)))
}

async fn connect(to: &Location, kubelets: &Kubelets) -> Result<Connection, DialError> {
    let stream = TcpStream::connect(to.address).await.map_err(|err| DialError::Tcp(to.address, err))?;
    // Without it small messages wait for each other, which changes nothing else.
    if let Err(err) = stream.set_nodelay(true) {
        tracing::debug!("TCP_NODELAY: {err}");
    }
    if to.scheme == Scheme::Http {
        return Ok(Either::Left(stream));
    }
    let config = match &to.trust {
        Trust::Anybody => ANYBODY.clone(),
        Trust::Kubelet(_) => {
            let mut config = kubelets.tls().map_err(|err| DialError::Files(err.message().to_owned()))?;
            config.alpn_protocols = vec![PROTOCOL.to_vec()];
            Arc::new(config)
        }
    };
    let name = ServerName::IpAddress(to.address.ip().into());
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(DialError::Tls)?;
    if let Trust::Kubelet(node) = &to.trust {
        let shown = stream.get_ref().1.peer_certificates().and_then(|all| all.first());
        // A node says itself where it is, and the apiserver's certificate opens much, another apiserver too: no request goes
        // by it to anybody but that node.
        if !shown.is_some_and(|certificate| is_of_node(certificate, node)) {
            return Err(DialError::Stranger { node: node.clone() });
        }
    }
    Ok(Either::Right(Box::new(stream)))
}

fn is_of_node(certificate: &CertificateDer<'_>, node: &str) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return false };
    let subject = parsed.subject();
    let mut names = subject.iter_common_name().filter_map(|cn| cn.as_str().ok());
    names.next().and_then(|cn| cn.strip_prefix(NODE_PREFIX)) == Some(node)
}

static ANYBODY: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let builder = ClientConfig::builder_with_protocol_versions(rustls::ALL_VERSIONS).dangerous();
    let builder = builder.with_custom_certificate_verifier(Arc::new(AnyCertificate));
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Arc::new(config)
});

/// Clients of the proxy cannot say which certificate they expect: upstream takes any, too.
#[derive(Debug)]
pub(crate) struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
