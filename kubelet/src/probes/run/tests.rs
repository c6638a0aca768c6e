//! GETs of probes and of hooks, which take different answers for a success.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(30);
/// What a TLS connection begins with.
const HANDSHAKE: u8 = 0x16;

/// A server without TLS that says the same to everybody; what it was asked is in the answer of the task.
async fn server(status: &'static str, connections: usize) -> (Target, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let asked = tokio::spawn(async move {
        let mut asked = Vec::new();
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 4096];
            let read = stream.read(&mut bytes).await.unwrap();
            let is_plain = bytes[0] != HANDSHAKE;
            asked.push(if is_plain { String::from_utf8_lossy(&bytes[..read]).into_owned() } else { "TLS".into() });
            let status = if is_plain { status } else { "400 Bad Request" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    let headers = vec![("Authorization".to_owned(), "Bearer secret".to_owned())];
    (Target { tls: false, ip: at.ip(), host: None, port: at.port(), path: "/".into(), headers }, asked)
}

#[tokio::test]
async fn a_hook_was_told_whatever_is_answered_and_a_probe_was_not() {
    for (status, healthy) in [("200 OK", true), ("302 Found", true), ("404 Not Found", false), ("500 Oh", false)] {
        let (target, asked) = server(status, 2).await;
        assert_eq!(http_get(&target, TIMEOUT).await.is_ok(), healthy, "{status}");
        assert_eq!(http_hook(&target, TIMEOUT).await, Ok(()), "{status}");
        let asked = asked.await.unwrap();
        assert!(asked[0].contains("kube-probe") && asked[1].contains("kube-lifecycle"), "{asked:?}");
    }
    let nobody = server("200 OK", 0).await;
    nobody.1.await.unwrap();
    assert!(http_hook(&nobody.0, TIMEOUT).await.unwrap_err().contains("connection refused"));
}

#[tokio::test]
async fn a_hook_goes_without_tls_where_the_server_has_none_and_tells_no_secret_there() {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let (target, asked) = server("404 Not Found", 2).await;
    let target = Target { tls: true, ..target };
    assert_eq!(http_hook(&target, TIMEOUT).await, Ok(()));
    let asked = asked.await.unwrap();
    assert_eq!(asked[0], "TLS");
    assert!(asked[1].starts_with("GET / ") && !asked[1].contains("secret"), "{asked:?}");

    let (target, _asked) = server("200 OK", 1).await;
    let why = http_get(&Target { tls: true, ..target }, TIMEOUT).await.unwrap_err();
    assert!(why.ends_with("server gave HTTP response to HTTPS client"), "{why}");
}
