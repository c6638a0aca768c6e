//! What a load balancer sees on a Service's health check port.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const DEADLINE: Duration = Duration::from_secs(30);

fn service() -> Key {
    Key::new("shop", "web")
}

/// A port that nobody has.
async fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port()
}

/// The whole answer, or `None` where nobody listens.
async fn ask(port: u16, request: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    // Whoever is cut off for what it sends may find out while it sends.
    let _ = stream.write_all(request).await;
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    Some(String::from_utf8(text).unwrap().to_lowercase())
}

/// Asks until the answer is as wanted.
async fn until(port: u16, what: &str, wanted: impl Fn(Option<&str>) -> bool) -> Option<String> {
    let mut seen = Vec::new();
    let asking = async {
        loop {
            let answer = ask(port, b"GET / HTTP/1.1\r\nHost: node\r\n\r\n").await;
            if wanted(answer.as_deref()) {
                return answer;
            }
            seen.push(answer);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(DEADLINE, asking).await;
    found.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}, last {:?}", seen.last()))
}

#[tokio::test]
async fn a_port_says_how_many_endpoints_are_here_and_is_open_as_long_as_its_service_has_it() {
    let (port, other) = (free_port().await, free_port().await);
    let mut checks = HealthChecks::at(Ipv4Addr::LOCALHOST);
    checks.set(&service(), Some((port, 2)));
    let answer = until(port, "two endpoints", |a| a.is_some()).await.unwrap();
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    assert!(answer.contains("x-load-balancing-endpoint-weight: 2\r\n"), "{answer}");
    assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
    let body = r#"{"service":{"namespace":"shop","name":"web"},"localendpoints":2,"serviceproxyhealthy":true}"#;
    assert!(answer.ends_with(body), "{answer}");

    checks.set_well(false);
    let answer = ask(port, b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(answer.contains(" 503 ") && answer.ends_with(r#""serviceproxyhealthy":false}"#), "{answer}");
    checks.set_well(true);
    checks.set(&service(), Some((port, 0)));
    let answer = ask(port, b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(answer.contains(" 503 ") && answer.contains("-weight: 0\r\n"), "{answer}");

    checks.set(&service(), Some((other, 1)));
    until(other, "the other port", |a| a.is_some()).await;
    until(port, "the first port closes", |a| a.is_none()).await;
    checks.set(&service(), None);
    until(other, "all ports close", |a| a.is_none()).await;
}

#[tokio::test]
async fn a_port_that_another_service_has_just_left_is_opened() {
    let port = free_port().await;
    let mut checks = HealthChecks::at(Ipv4Addr::LOCALHOST);
    checks.set(&Key::new("shop", "old"), Some((port, 1)));
    until(port, "the first", |a| a.is_some()).await;
    checks.set(&service(), Some((port, 1)));
    checks.set(&Key::new("shop", "old"), None);
    until(port, "the second", |a| a.is_some_and(|a| a.contains("\"web\""))).await;
}

#[tokio::test]
async fn who_sends_too_many_headers_gets_no_answer() {
    let port = free_port().await;
    let mut checks = HealthChecks::at(Ipv4Addr::LOCALHOST);
    checks.set(&service(), Some((port, 1)));
    until(port, "open", |a| a.is_some()).await;
    let long = [b'a'; 4 * HEADER_BYTES_MAX];
    let endless = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &long, b"\r\n\r\n"].concat();
    let answer = tokio::time::timeout(DEADLINE, ask(port, &endless)).await.expect("it ends").unwrap();
    assert!(!answer.contains(" 200 "), "{answer}");
}

#[tokio::test]
async fn the_silent_hold_no_place_for_long() {
    let port = free_port().await;
    let mut checks = HealthChecks::at(Ipv4Addr::LOCALHOST);
    checks.set(&service(), Some((port, 1)));
    until(port, "open", |a| a.is_some()).await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_PER_PORT {
        silent.push(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap());
    }
    const ITS_TURN: Duration = Duration::from_secs(15);
    let answer = tokio::time::timeout(ITS_TURN, ask(port, b"GET / HTTP/1.0\r\n\r\n")).await.expect("its turn comes");
    assert!(answer.unwrap().contains(" 200 "));
    drop(silent);
}
