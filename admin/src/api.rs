//! Asks one apiserver, as an administrator: a request, its whole answer, and the connection is closed.
//!
//! HTTP/1.0, so that an answer ends where the connection does.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::pki::Pki;

const TIMEOUT: Duration = Duration::from_secs(5);
/// One object is smaller.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
const NOT_FOUND: u16 = 404;

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("cannot read the certificates of {user} for the apiserver")]
    Certificates { user: String, source: rustls::pki_types::pem::Error },
    #[error("the certificates of {user} cannot be used")]
    Tls { user: String, source: rustls::Error },
    #[error("the apiserver at {address} does not answer")]
    Unreachable { address: SocketAddr, source: std::io::Error },
    #[error("{request}: {status}: {said}")]
    Refused { request: String, status: u16, said: String },
    #[error("{request}: the answer is none that HTTP/1 has")]
    Answer { request: String },
    #[error("{request}: the answer is no JSON")]
    Json { request: String, source: serde_json::Error },
}

pub struct Api {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

impl Api {
    /// `user` is the stem of a certificate in `pki`.
    pub fn new(address: SocketAddr, pki: &Pki, user: &str) -> Result<Self, ApiError> {
        let unreadable = |source| ApiError::Certificates { user: user.to_owned(), source };
        let unusable = |source| ApiError::Tls { user: user.to_owned(), source };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(pki.cert("ca")).map_err(unreadable)?).map_err(unusable)?;
        let cert = CertificateDer::from_pem_file(pki.cert(user)).map_err(unreadable)?;
        let key = PrivateKeyDer::from_pem_file(pki.key(user)).map_err(unreadable)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![cert], key)
            .map_err(unusable)?;
        Ok(Self { address, tls: Arc::new(tls) })
    }

    /// None: there is no such thing. What is no JSON is its text.
    pub fn get(&self, path: &str) -> Result<Option<Value>, ApiError> {
        let request = format!("GET {path}");
        let (status, body) = self.send(&request, "application/json", "")?;
        match status {
            200..=299 => Ok(Some(serde_json::from_str(&body).unwrap_or(Value::String(body)))),
            NOT_FOUND => Ok(None),
            _ => Err(ApiError::Refused { request, status, said: body }),
        }
    }

    pub fn patch(&self, path: &str, patch: &Value) -> Result<(), ApiError> {
        let request = format!("PATCH {path}");
        let (status, said) = self.send(&request, "application/strategic-merge-patch+json", &patch.to_string())?;
        if (200..=299).contains(&status) { Ok(()) } else { Err(ApiError::Refused { request, status, said }) }
    }

    fn send(&self, request: &str, content_type: &str, body: &str) -> Result<(u16, String), ApiError> {
        let text = format!(
            "{request} HTTP/1.0\r\nHost: {}\r\nAccept: application/json\r\nContent-Type: {content_type}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let answer = self.exchange(&text).map_err(|source| ApiError::Unreachable { address: self.address, source })?;
        let answer = String::from_utf8_lossy(&answer);
        parse(&answer).ok_or_else(|| ApiError::Answer { request: request.to_owned() })
    }

    fn exchange(&self, request: &str) -> std::io::Result<Vec<u8>> {
        let tcp = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        tcp.set_read_timeout(Some(TIMEOUT))?;
        tcp.set_write_timeout(Some(TIMEOUT))?;
        let name = ServerName::IpAddress(self.address.ip().into());
        let connection = ClientConnection::new(Arc::clone(&self.tls), name).map_err(std::io::Error::other)?;
        let mut stream = StreamOwned::new(connection, tcp);
        stream.write_all(request.as_bytes())?;
        stream.flush()?;
        let mut answer = Vec::new();
        match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer) {
            // A server that closes without TLS's goodbye has said all the same what it had to: its length is checked.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && !answer.is_empty() => Ok(answer),
            Err(error) => Err(error),
            Ok(_) => Ok(answer),
        }
    }
}

/// Status and body; none where it is no answer, or not a whole one.
fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let whole = length.is_none_or(|length| body.len() == length);
    whole.then(|| (status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use jiff::Timestamp;
    use rustls::{ServerConfig, ServerConnection};

    use super::*;
    use crate::pki::ClusterPlan;

    #[test]
    fn answers_are_taken_apart() {
        let cases = [
            ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", Some((200, "ok"))),
            ("HTTP/1.1 404 Not Found\r\n\r\n", Some((404, ""))),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\ncut", None),
            ("HTTP/1.0 200 OK\r\n", None),
            ("SSH-2.0\r\n\r\n", None),
            ("", None),
        ];
        for (answer, expected) in cases {
            assert_eq!(parse(answer), expected.map(|(status, body)| (status, body.to_owned())), "{answer:?}");
        }
    }

    /// A server that answers one request after the other with what it is given, and says what it was asked.
    fn server(pki: &Pki, answers: Vec<&'static str>) -> (SocketAddr, std::thread::JoinHandle<Vec<String>>) {
        let cert = CertificateDer::from_pem_file(pki.cert("apiserver")).unwrap();
        let key = PrivateKeyDer::from_pem_file(pki.key("apiserver")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![cert], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let serve = |answer: &str| {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(connection, listener.accept().unwrap().0);
                let mut asked = vec![0; 4096];
                let length = stream.read(&mut asked).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                stream.conn.send_close_notify();
                stream.flush().unwrap();
                String::from_utf8_lossy(&asked[..length]).lines().next().unwrap_or_default().to_owned()
            };
            answers.into_iter().map(serve).collect()
        });
        (address, thread)
    }

    #[test]
    fn an_apiserver_is_asked_over_tls() {
        let dir = std::env::temp_dir().join(format!("cortenadm-api-{}", std::process::id()));
        let pki = Pki::new(&dir, Timestamp::now());
        pki.init(&ClusterPlan::default()).unwrap();
        let answers = vec![
            "HTTP/1.0 200 OK\r\n\r\nok",
            "HTTP/1.0 200 OK\r\n\r\n{\"kind\":\"Node\"}",
            "HTTP/1.0 404 Not Found\r\n\r\n{}",
            "HTTP/1.0 503 Service Unavailable\r\n\r\nnot yet",
            "HTTP/1.0 200 OK\r\n\r\n{}",
        ];
        let (address, thread) = server(&pki, answers);
        let api = Api::new(address, &pki, "admin").unwrap();
        assert_eq!(api.get("/readyz").unwrap(), Some("ok".into()));
        assert_eq!(api.get("/api/v1/nodes/a").unwrap().unwrap()["kind"], "Node");
        assert_eq!(api.get("/api/v1/nodes/b").unwrap(), None);
        assert!(api.get("/readyz").unwrap_err().to_string().contains("503: not yet"));
        api.patch("/api/v1/nodes/a", &serde_json::json!({})).unwrap();
        let asked = thread.join().unwrap();
        assert_eq!((asked[0].as_str(), asked[4].as_str()), ("GET /readyz HTTP/1.0", "PATCH /api/v1/nodes/a HTTP/1.0"));
        // Nobody listens there any more.
        assert!(api.get("/readyz").unwrap_err().to_string().contains("does not answer"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
