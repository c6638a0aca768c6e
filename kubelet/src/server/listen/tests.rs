//! The door of 10250 with real certificates: those who say nothing keep no apiserver from a node.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use corten_fuzz::one_byte_handshakes;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{Instant, timeout};
use tokio_rustls::{TlsConnector, client};

use super::super::handshakes::HANDSHAKES_MAX;
use super::super::strangers::STRANGERS_MAX;
use super::*;

/// An answer takes no longer, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(5);

struct Node {
    address: SocketAddr,
    ca: KeyPair,
    ca_params: CertificateParams,
    roots: Arc<RootCertStore>,
    stop: CancellationToken,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn issue(ca: &Issuer<'_, &KeyPair>, cn: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, cn);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    (certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

impl Node {
    async fn start() -> Self {
        // The second of one process finds it installed.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let mut ca_params = CertificateParams::default();
        ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = KeyPair::generate().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(ca_params.self_signed(&ca).unwrap().der().clone()).unwrap();
        let roots = Arc::new(roots);
        let (certificate, key) = issue(&Issuer::from_params(&ca_params, &ca), "node");
        let verifier = WebPkiClientVerifier::builder(roots.clone()).build().unwrap();
        let config = rustls::ServerConfig::builder().with_client_cert_verifier(verifier);
        let config = Arc::new(config.with_single_cert(vec![certificate], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let door = Door {
            router: Router::new().route("/healthz", get(|| async { "ok" })),
            tls: Arc::new(move || Ok(config.clone())),
            handshakes: Handshakes::default(),
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            strangers: Strangers::default(),
            stop: stop.clone(),
        };
        tokio::spawn(door.accept(listener));
        Self { address, ca, ca_params, roots, stop }
    }
    /// What `cn` connects with.
    fn client(&self, cn: &str) -> TlsConnector {
        let (certificate, key) = issue(&Issuer::from_params(&self.ca_params, &self.ca), cn);
        let config = ClientConfig::builder().with_root_certificates(self.roots.clone());
        TlsConnector::from(Arc::new(config.with_client_auth_cert(vec![certificate], key).unwrap()))
    }
    async fn connect(&self, client: &TlsConnector) -> std::io::Result<client::TlsStream<TcpStream>> {
        self.connect_from([127, 0, 0, 1], client).await
    }
    /// From another address of this machine.
    async fn connect_from(
        &self,
        from: [u8; 4],
        client: &TlsConnector,
    ) -> std::io::Result<client::TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let tcp = socket.connect(self.address).await?;
        client.connect(ServerName::try_from("localhost").unwrap(), tcp).await
    }
    /// The status line's code.
    async fn get(&self, cn: &str) -> String {
        self.get_from([127, 0, 0, 1], cn).await
    }
    async fn get_from(&self, from: [u8; 4], cn: &str) -> String {
        let asked = async {
            let mut tls = self.connect_from(from, &self.client(cn)).await.unwrap();
            tls.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            let mut answer = [0; 12];
            tls.read_exact(&mut answer).await.unwrap();
            String::from_utf8_lossy(&answer[9..]).into_owned()
        };
        timeout(SOON, asked).await.expect("the node does not answer")
    }
}

#[tokio::test]
async fn who_may_call_is_served_and_who_may_not_is_told() {
    let node = Node::start().await;
    assert_eq!(node.get("kube-apiserver-kubelet-client").await, "200");
    assert_eq!(node.get("system:node:other").await, "403");
}

#[tokio::test]
async fn silent_handshakes_keep_no_apiserver_from_a_node() {
    let node = Node::start().await;
    let mut silent = Vec::new();
    for _ in 0..4 * HANDSHAKES_MAX {
        silent.push(TcpStream::connect(node.address).await.unwrap());
    }
    assert_eq!(node.get("kube-apiserver-kubelet-client").await, "200");
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_one_byte_handshakes_of_one_address_keep_no_apiserver_at_another_from_a_node() {
    const THOUSANDS: usize = 4000;
    let node = Node::start().await;
    let made = Arc::new(AtomicUsize::new(0));
    let attack = tokio::spawn(one_byte_handshakes(node.address, [127, 0, 0, 2], 4 * HANDSHAKES_MAX, made.clone()));
    let deadline = Instant::now() + Duration::from_secs(60);
    while made.load(Ordering::Relaxed) < THOUSANDS {
        assert!(Instant::now() < deadline && !attack.is_finished(), "{made:?} were made");
        if made.load(Ordering::Relaxed) < 8 * HANDSHAKES_MAX {
            tokio::task::yield_now().await;
        } else {
            assert_eq!(node.get("kube-apiserver-kubelet-client").await, "200");
        }
    }
    attack.abort();
}

#[tokio::test]
async fn idle_connections_of_those_who_may_not_call_keep_no_apiserver_from_a_node() {
    let node = Node::start().await;
    let (stranger, mut idle) = (node.client("system:node:other"), Vec::new());
    for _ in 0..CONNECTIONS_MAX + 44 {
        idle.push(timeout(SOON, node.connect(&stranger)).await.expect("it waits"));
    }
    assert_eq!(node.get("kube-apiserver-kubelet-client").await, "200");
    drop(idle);
}

#[tokio::test]
async fn idle_connections_of_those_who_may_not_call_keep_none_of_another_address_from_being_told() {
    let node = Node::start().await;
    let (stranger, mut idle) = (node.client("system:node:other"), Vec::new());
    for _ in 0..2 * STRANGERS_MAX {
        let connected = timeout(SOON, node.connect_from([127, 0, 0, 2], &stranger)).await;
        idle.push(connected.expect("it waits").unwrap());
    }
    for from in 3..8 {
        assert_eq!(node.get_from([127, 0, 0, from], "system:node:another").await, "403");
    }
    drop(idle);
}

/// As many as there are places for those who may call, and more. Nobody reads a body of theirs, and who has a place is told
/// at once.
#[tokio::test]
async fn slow_posts_of_those_who_may_not_call_are_refused_unread_and_keep_no_apiserver_from_a_node() {
    let node = Node::start().await;
    let (stranger, mut slow) = (node.client("system:node:other"), Vec::new());
    for _ in 0..CONNECTIONS_MAX + 44 {
        let mut tls = timeout(SOON, node.connect(&stranger)).await.expect("it waits").unwrap();
        // One that is closed at once for lack of a place cannot be written to.
        let head = b"POST /run HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{";
        tls.write_all(head).await.ok();
        slow.push(tls);
    }
    assert_eq!(node.get("kube-apiserver-kubelet-client").await, "200");
    let mut answer = [0; 12];
    timeout(SOON, slow[0].read_exact(&mut answer)).await.expect("its body is waited for").unwrap();
    assert_eq!(String::from_utf8_lossy(&answer[9..]), "403");
}
