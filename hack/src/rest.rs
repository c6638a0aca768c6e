//! A small HTTPS client with a client certificate: enough to ask an apiserver, and to load it.
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub(crate) type Body = Full<Bytes>;
pub(crate) type Sender = http1::SendRequest<Body>;

/// Who we are and where we go.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    tls: TlsConnector,
    /// Whom it acts as, if not as itself.
    user: Option<String>,
}

impl Client {
    /// `pki` is a directory that `cortenadm pki init` made; `stem` names the certificate in it.
    pub(crate) fn new(address: SocketAddr, pki: &Path, stem: &str) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(cert(&pki.join("ca.crt"))?)?;
        let key_file = pki.join(format!("{stem}.key"));
        let key =
            PrivateKeyDer::from_pem_file(&key_file).with_context(|| format!("cannot read {}", key_file.display()))?;
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![cert(&pki.join(format!("{stem}.crt")))?], key)?;
        Ok(Self { address, tls: TlsConnector::from(Arc::new(config)), user: None })
    }

    /// The same way, as another user of the group of administrators: what is counted by user is then counted as theirs.
    #[must_use]
    pub(crate) fn acting_as(&self, user: &str) -> Self {
        Self { user: Some(user.into()), ..self.clone() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens one HTTP/1.1 connection; a task drives it until it is dropped.
    pub(crate) async fn connect(&self) -> anyhow::Result<Sender> {
        let tcp = TcpStream::connect(self.address).await.with_context(|| format!("cannot reach {}", self.address))?;
        tcp.set_nodelay(true)?;
        let tls = self.tls.connect(ServerName::IpAddress(self.address.ip().into()), tcp).await;
        let tls = tls.with_context(|| format!("no TLS with {}", self.address))?;
        let (sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
        // How a connection ended is seen by whoever waits for its answer.
        tokio::spawn(async move { connection.await.ok() });
        Ok(sender)
    }

    /// One request on a connection of its own; the whole body.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut sender = self.connect().await?;
        answer(&mut sender, self.request(method, path, content_type, body)?).await
    }

    /// The JSON at a path; anything but success is an error with the server's words.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let (status, body) = self.send(Method::GET, path, "application/json", Bytes::new()).await?;
        if !status.is_success() {
            bail!("GET {path}: {status}: {}", String::from_utf8_lossy(&body));
        }
        serde_json::from_slice(&body).with_context(|| format!("GET {path} did not answer with JSON"))
    }

    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> anyhow::Result<Request<Body>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("accept", "application/json")
            .header("content-type", content_type);
        if let Some(user) = &self.user {
            request = request.header("impersonate-user", user).header("impersonate-group", "system:masters");
        }
        Ok(request.body(Full::new(body))?)
    }
}

/// Sends on an open connection and reads the whole answer.
pub(crate) async fn answer(sender: &mut Sender, request: Request<Body>) -> anyhow::Result<(StatusCode, Bytes)> {
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

fn cert(path: &Path) -> anyhow::Result<CertificateDer<'static>> {
    CertificateDer::from_pem_file(path).with_context(|| format!("cannot read {}", path.display()))
}
