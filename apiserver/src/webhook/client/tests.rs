//! A webhook's client against servers over real TLS, good ones and bad ones.

use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::super::testing::{At, install};
use super::*;

const WITHIN: Duration = Duration::from_secs(10);
const BOUNDS: Bounds = Bounds { calls: 8, bulk_calls: 1, answer_bytes: 3 << 20 };

/// How a server shows itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    SignedByAnAuthority,
    AsItsOwnAuthority,
}

struct Server {
    port: u16,
    ca: Vec<u8>,
    connections: Arc<AtomicUsize>,
}

/// Answers each request of each connection with these bytes, and closes the connection after an answer without a length.
async fn serve(names: &[&str], shown: Shown, answer: &'static [u8]) -> Server {
    install();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let (certificate, ca) = if shown == Shown::AsItsOwnAuthority {
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).unwrap();
        (own.der().clone(), own.pem())
    } else {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&ca_key).unwrap();
        let signed = CertificateParams::new(names).unwrap().signed_by(&key, &Issuer::from_params(&params, &ca_key));
        (signed.unwrap().der().clone(), ca.pem())
    };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                let mut request = vec![0; 4096];
                while tls.read(&mut request).await.is_ok_and(|read| read > 0) {
                    if answer.is_empty() {
                        continue;
                    }
                    if tls.write_all(answer).await.is_err() || !answer.windows(8).any(|bytes| bytes == b"length: ") {
                        break;
                    }
                }
                // The other side has gone, or is to see that this one has.
                let _gone = tls.shutdown().await;
            });
        }
    });
    Server { port, ca: ca.into_bytes(), connections }
}

fn client(server: &Server, url: &str) -> HookClient {
    let port = server.port;
    let address = match url {
        "" => Address::Service { namespace: "n".into(), name: "s".into(), port: 443, path: "/p".into() },
        host => Address::Url { host: host.into(), port, authority: format!("{host}:{port}"), path: "/p".into() },
    };
    HookClient::new(&Place { address, ca_bundle: server.ca.clone() }, BOUNDS).unwrap()
}

/// What comes back, or why nothing does, without ports.
async fn posted(client: &HookClient, server: &Server, within: Duration) -> String {
    let at = At(Some(format!("127.0.0.1:{}", server.port)));
    let done = client.post(&at, || Ok(Bytes::from_static(b"{}")), (Share::All, within)).await;
    let text = done.map_or_else(|failure| failure.why, |body| String::from_utf8_lossy(&body).into_owned());
    text.replace(&server.port.to_string(), "PORT")
}

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

#[tokio::test]
async fn a_service_is_known_by_its_own_name_wherever_it_is_and_its_connection_is_kept() {
    let server = serve(&["s.n.svc"], Shown::SignedByAnAuthority, GOOD).await;
    let client = client(&server, "");
    for _ in 0..3 {
        assert_eq!(posted(&client, &server, WITHIN).await, "{}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let nowhere = client.post(&At(None), || Ok(Bytes::new()), (Share::All, WITHIN)).await.unwrap_err();
    let why = r#"Post "https://s.n.svc:443/p?timeout=10s": no endpoints available for service "s""#;
    assert_eq!((nowhere.why.as_str(), nowhere.code), (why, 503));
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_counts_where_it_is_given_itself() {
    let server = serve(&["localhost"], Shown::AsItsOwnAuthority, GOOD).await;
    assert_eq!(posted(&client(&server, "localhost"), &server, WITHIN).await, "{}");
    let other = posted(&client(&server, ""), &server, WITHIN).await;
    assert!(other.contains("x509: certificate is valid for localhost, not s.n.svc"), "{other}");
}

#[tokio::test]
async fn strangers_are_asked_nothing() {
    let (server, other) = tokio::join!(
        serve(&["localhost"], Shown::SignedByAnAuthority, GOOD),
        serve(&["localhost"], Shown::SignedByAnAuthority, GOOD)
    );
    let misled = Server { ca: other.ca, ..server };
    let told = posted(&client(&misled, "localhost"), &misled, WITHIN).await;
    let why = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert_eq!(told, format!(r#"Post "https://localhost:PORT/p?timeout=10s": {why}"#));
    let place = Place { address: client(&misled, "").address.clone(), ca_bundle: b"no certificate".to_vec() };
    let why = "unable to load root certificates: unable to parse bytes as PEM block";
    assert_eq!(HookClient::new(&place, BOUNDS).unwrap_err(), why);
}

#[tokio::test]
async fn what_is_no_answer_is_told_of() {
    let mut huge = b"HTTP/1.1 200 OK\r\ncontent-length: 4000000\r\n\r\n".to_vec();
    huge.resize(4_000_200, b' ');
    let post = r#"Post "https://localhost:PORT/p?timeout=1s": "#;
    let cases: &[(&str, &'static [u8], String)] = &[
        ("hangs", b"", format!("{post}context deadline exceeded")),
        ("closes", b"HTTP/1.1 200", format!("{post}EOF")),
        ("closes half way", b"HTTP/1.1 200 OK\r\ncontent-length:9\r\n\r\n{", format!("{post}unexpected EOF")),
        ("is too large", Vec::leak(huge), format!("{post}the response is larger than 3145728 bytes")),
        (
            "leads elsewhere",
            b"HTTP/1.1 302 Found\r\nlocation: https://localhost/\r\ncontent-length: 0\r\n\r\n",
            "the server responded with the status code 302 but did not return more information".into(),
        ),
        (
            "is a server's error",
            b"HTTP/1.1 500 Oops\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nboom",
            r#"an error on the server ("boom") has prevented the request from succeeding"#.into(),
        ),
    ];
    for (why, answer, expected) in cases {
        let server = serve(&["localhost"], Shown::SignedByAnAuthority, answer).await;
        let told = posted(&client(&server, "localhost"), &server, Duration::from_secs(1)).await;
        assert_eq!(told, *expected, "{why}");
    }
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let ca = serve(&["localhost"], Shown::SignedByAnAuthority, GOOD).await.ca;
    let gone = Server { port: gone, ca, connections: Arc::default() };
    let told = posted(&client(&gone, "127.0.0.1"), &gone, WITHIN).await;
    assert!(told.ends_with("dial tcp 127.0.0.1:PORT: connect: connection refused"), "{told}");
}

#[tokio::test]
async fn a_server_that_ends_no_handshake_is_left_in_time() {
    install();
    // Connections stand in its backlog, and nobody says a word.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ca = serve(&["localhost"], Shown::SignedByAnAuthority, GOOD).await.ca;
    let tls = TlsConnector::from(Arc::new(tls::config(&ca, &[HTTP1]).unwrap()));
    let name = ServerName::try_from("localhost").unwrap();
    let connector = Connector { tls, name, lookups: Arc::new(Semaphore::new(1)) };
    let port = mute.local_addr().unwrap().port();
    let connected = connector.connect("127.0.0.1".into(), port, Duration::from_millis(200)).await;
    assert_eq!(connected.err().unwrap().to_string(), "net/http: TLS handshake timeout");
}

#[tokio::test]
async fn names_that_nobody_answers_for_keep_a_bounded_number_of_threads() {
    let (own, all) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(1)));
    let found = addresses("localhost", 443, &own, &all).await.unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
    assert_eq!((own.available_permits(), all.available_permits()), (1, 1), "both are given back");

    let others = all.clone().try_acquire_owned().unwrap();
    let full = addresses("localhost", 443, &own, &all).await.unwrap_err().to_string();
    assert_eq!(full, "dial tcp: lookup localhost: too many names are being looked up");
    assert_eq!(addresses("::1", 443, &own, &all).await.unwrap(), ["[::1]:443".parse().unwrap()], "no name");
    drop(others);
    let slow = own.clone().try_acquire_owned().unwrap();
    let mut next = Box::pin(addresses("localhost", 443, &own, &all));
    assert!(futures::poll!(next.as_mut()).is_pending(), "one webhook's own wait for each other");
    drop(slow);
    next.await.unwrap();
}

struct OneOf(Vec<String>);

impl Resolve for OneOf {
    fn resolve<'a>(&'a self, _: &'a str, _: &'a str, _: u16) -> BoxFuture<'a, Result<String, corten_api::ApiError>> {
        Box::pin(async { Ok(self.0[0].clone()) })
    }
    fn candidates<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: u16,
    ) -> BoxFuture<'a, Result<Vec<String>, corten_api::ApiError>> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

#[tokio::test]
async fn where_one_endpoint_cannot_be_reached_the_next_is_asked() {
    let server = serve(&["s.n.svc"], Shown::SignedByAnAuthority, GOOD).await;
    let client = client(&server, "");
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let there = format!("127.0.0.1:{}", server.port);
    let body = || Ok(Bytes::from_static(b"{}"));
    let found = client.post(&OneOf(vec![gone.clone(), there.clone()]), body, (Share::All, WITHIN)).await;
    assert_eq!(found.as_deref().map_err(|failure| failure.why.as_str()), Ok(&b"{}"[..]));
    let told = client.post(&OneOf(vec![there, gone.clone()]), body, (Share::All, WITHIN)).await;
    assert!(told.is_ok(), "the first is there");
    let told = client.post(&OneOf(vec![gone.clone(), gone]), body, (Share::All, WITHIN)).await.unwrap_err().why;
    assert!(told.ends_with("connect: connection refused"), "{told}");
}

#[test]
fn codes_have_words() {
    assert_eq!(refused_call(404, "x"), "the server could not find the requested resource");
    assert_eq!(refused_call(403, " no \n"), "no");
    let unknown = "an error on the server (\"boom\") has prevented the request from succeeding";
    assert_eq!(refused_call(500, "boom\n"), unknown);
    let redirect = "the server responded with the status code 302 but did not return more information";
    assert_eq!(refused_call(302, ""), redirect);
}

#[tokio::test]
async fn calls_in_bulk_leave_places_to_others() {
    let server = serve(&["localhost"], Shown::SignedByAnAuthority, b"").await;
    let client = client(&server, "localhost");
    let post = async |share, millis| {
        let body = || Ok(Bytes::from_static(b"{}"));
        client.post(&At(None), body, (share, Duration::from_millis(millis))).await.unwrap_err().why
    };
    let others = async { tokio::join!(post(Share::Bulk, 500), post(Share::All, 500)) };
    tokio::select! {
        // The first has the place before the others ask for one.
        biased;
        why = post(Share::Bulk, 10_000) => panic!("{why}"),
        (bulk, single) = others => assert!(bulk.contains(TOO_LATE) && single.contains(TOO_LATE), "{bulk} {single}"),
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 2, "the second in bulk has found no place");
}
