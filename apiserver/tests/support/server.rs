//! A real server with real certificates over the store in memory, and a plain HTTP client for it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use corten_apiserver::admission::Chain;
use corten_apiserver::authn::Tokens;
use corten_apiserver::authn::front_proxy::{self, FrontProxyTrust};
use corten_apiserver::authn::key_files::KeyFiles;
use corten_apiserver::authn::tokens::Rules;
use corten_apiserver::connect::KubeletTls;
use corten_apiserver::connect::aggregated::reach::FrontProxyTls;
use corten_apiserver::flowcontrol::FlowControl;
use corten_apiserver::resources::Settings;
use corten_apiserver::serve::{Server, TlsFiles, TlsKeeper};
use corten_apiserver::start;
use corten_apiserver::storage::Storage;
use corten_apiserver::storage::memory::Memory;
use http::{HeaderMap, HeaderName, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Of the server's tokens.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc";

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) dir: TempDir,
    _stop: oneshot::Sender<()>,
}

/// Writes `name.crt` and `name.key`, signed by the CA, for a client (CN, O) and a server on loopback, or behind a Service, alike.
fn issue(dir: &TempDir, ca: &Issuer<'_, &KeyPair>, name: &str, cn: &str, o: &str) {
    let names = ["127.0.0.1", "localhost", "other.default.svc"].map(str::to_owned);
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, cn);
    params.distinguished_name.push(DnType::OrganizationName, o);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let cert = params.signed_by(&key, ca).unwrap();
    std::fs::write(dir.path().join(format!("{name}.crt")), cert.pem()).unwrap();
    std::fs::write(dir.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

/// An authority, in `name.crt`.
fn authority(dir: &TempDir, name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, format!("test-{name}"));
    let key = KeyPair::generate().unwrap();
    std::fs::write(dir.path().join(format!("{name}.crt")), params.self_signed(&key).unwrap().pem()).unwrap();
    (params, key)
}

fn make_pki(dir: &TempDir) {
    let (params, key) = authority(dir, "front-proxy-ca");
    issue(dir, &Issuer::from_params(&params, &key), "front-proxy-client", "front-proxy-client", "corten");
    issue(dir, &Issuer::from_params(&params, &key), "another-proxy", "another-proxy", "corten");
    let (params, key) = authority(dir, "ca");
    let ca = Issuer::from_params(&params, &key);
    issue(dir, &ca, "server", "kube-apiserver", "corten");
    issue(dir, &ca, "admin", "kubernetes-admin", "system:masters");
    issue(dir, &ca, "jane", "jane", "dev");
    issue(dir, &ca, "manager", "system:kube-controller-manager", "corten");
    issue(dir, &ca, "node", "system:node:n1", "system:nodes");
}

fn front_proxy_rules() -> front_proxy::Rules {
    let header = |name| vec![HeaderName::from_static(name)];
    front_proxy::Rules {
        allowed_names: vec!["front-proxy-client".into()],
        username_headers: header("x-remote-user"),
        uid_headers: header("x-remote-uid"),
        group_headers: vec![HeaderName::from_static("x-remote-group"), HeaderName::from_static("x-corp-group")],
        extra_prefixes: vec!["x-remote-extra-".into()],
    }
}

impl TestServer {
    /// On what is in `storage`; most tests begin with an empty one.
    #[allow(dead_code, reason = "a test that wants another store says so")]
    pub(crate) async fn start(storage: Memory) -> Self {
        Self::start_over(Arc::new(storage), |_| {}).await
    }

    /// `change`: what is to be other than the product has it.
    pub(crate) async fn start_over(storage: Arc<dyn Storage>, change: impl FnOnce(&mut Server)) -> Self {
        // The second server of one test process finds it installed.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let dir = TempDir::new().unwrap();
        make_pki(&dir);
        let path = |name: &str| dir.path().join(name);
        let files = TlsFiles {
            cert: path("server.crt"),
            key: path("server.key"),
            client_ca: path("ca.crt"),
            front_proxy: Some(FrontProxyTrust { ca: path("front-proxy-ca.crt"), rules: Arc::new(front_proxy_rules()) }),
            front_proxy_client: Some(FrontProxyTls {
                cert: path("front-proxy-client.crt"),
                key: path("front-proxy-client.key"),
            }),
        };
        let tls = TlsKeeper::open(files).unwrap();
        // Any key of P-256 will do.
        let key_files = KeyFiles { signing: path("server.key"), verifying: Vec::new() };
        let rules = Rules {
            issuer: ISSUER.into(),
            other_issuers: Vec::new(),
            audiences: vec![ISSUER.into()],
            max_life_secs: None,
            extends_pods: true,
        };
        let settings = Settings {
            service_cidr: "10.96.0.0/16".parse().unwrap(),
            node_ports: 30000..=32767,
            advertise: None,
            tokens: Arc::new(Tokens::new(rules, key_files.load().unwrap())),
            admission: Chain::default(),
        };
        let kubelets = KubeletTls { cert: path("admin.crt"), key: path("admin.key"), ca: path("ca.crt") };
        let mut server = start::assemble(storage, settings, kubelets, tls, FlowControl::default()).await.unwrap();
        change(&mut server);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.run(listener, async move {
            // Dropped or sent: both mean the test is over.
            let _over = stopped.await;
        }));
        let server = Self { address, dir, _stop: stop };
        for path in ["/api/v1/namespaces", "/api/v1/namespaces/default/serviceaccounts"] {
            let object = r#"{"metadata":{"name":"default"}}"#;
            let (code, answer) = server.send("POST", path, "application/json", object.into()).await;
            // The server itself may have been quicker.
            assert!(matches!(code, 201 | 409), "{answer}");
        }
        server
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A request as the administrator, on a connection of its own.
    pub(crate) async fn send(&self, method: &str, path: &str, content_type: &str, body: Bytes) -> (u16, Value) {
        self.send_as(Some("admin"), method, path, content_type, body).await
    }

    /// `who`: whose certificate is shown, if any.
    pub(crate) fn tls_of(&self, who: Option<&str>) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.crt")).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots);
        match who {
            None => config.with_no_client_auth(),
            Some(who) => {
                let cert = CertificateDer::from_pem_file(self.path(&format!("{who}.crt"))).unwrap();
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{who}.key"))).unwrap();
                config.with_client_auth_cert(vec![cert], key).unwrap()
            }
        }
    }

    pub(crate) async fn connect(&self, who: Option<&str>) -> tokio_rustls::client::TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(self.tls_of(who))).connect(name, tcp).await.unwrap()
    }

    /// `who`: whose certificate is shown, if any. The answer's JSON, or its text as a JSON string.
    pub(crate) async fn send_as(
        &self,
        who: Option<&str>,
        method: &str,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> (u16, Value) {
        let (code, _, value) = self.send_with(who, method, path, &[("content-type", content_type)], body).await;
        (code, value)
    }

    /// As `send_as`, with these headers; those of the answer too.
    pub(crate) async fn send_with(
        &self,
        who: Option<&str>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> (u16, HeaderMap, Value) {
        let (code, headers, bytes) = self.send_raw(who, method, path, headers, body).await;
        let value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        (code, headers, value)
    }

    /// As `send_with`; the answer's bytes as they come.
    pub(crate) async fn send_raw(
        &self,
        who: Option<&str>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> (u16, HeaderMap, Bytes) {
        let tls = self.connect(who).await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(Full::new(body)).unwrap()).await.unwrap();
        let (code, headers): (StatusCode, HeaderMap) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        connection.abort();
        (code.as_u16(), headers, bytes)
    }
}
