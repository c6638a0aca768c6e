//! How one probe is made: a command in the container, an HTTP GET, a TCP connection, a gRPC health check.
//!
//! Network probes come from the node to the pod's address, as upstream's do.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corten_api::version;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;

use crate::runtime::{Runtime, RuntimeError};

/// What is read of an HTTP probe's body.
const BODY_MAX_BYTES: usize = 10 * 1024;
/// Redirects followed, on the same host only.
const REDIRECTS_MAX: usize = 10;
/// What of a failure's output the event shows.
const OUTPUT_SHOWN_BYTES: usize = 1024;

/// Where an HTTP probe goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub tls: bool,
    pub ip: IpAddr,
    /// A name instead of the address, if the spec gives one.
    pub host: Option<String>,
    pub port: u16,
    /// With query.
    pub path: String,
    pub headers: Vec<(String, String)>,
}

impl Target {
    /// `None`: the port is a name that the container does not have.
    pub fn http(get: &HTTPGetAction, container: &Container, ip: IpAddr) -> Option<Self> {
        let path = get.path.clone().unwrap_or_default();
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        let headers = get.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect();
        Some(Self {
            tls: get.scheme.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("https")),
            ip,
            host: get.host.clone().filter(|h| !h.is_empty()),
            port: port(&get.port, container)?,
            path,
            headers,
        })
    }
    fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
    }
    fn authority(&self) -> String {
        match &self.host {
            Some(host) => format!("{host}:{}", self.port),
            None => SocketAddr::new(self.ip, self.port).to_string(),
        }
    }
}

fn port(port: &IntOrString, container: &Container) -> Option<u16> {
    match port {
        IntOrString::Int(n) => u16::try_from(*n).ok(),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|p| p.name.as_deref() == Some(name));
            named.map_or_else(|| name.parse().ok(), |p| u16::try_from(p.container_port).ok())
        }
    }
}

/// Why a probe did not succeed. The texts are for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHealthy {
    /// The container said no, or nothing.
    #[error("probe failed: {0}")]
    Failed(String),
    /// The probe could not be made: this says nothing about the container, and must not end it.
    #[error("probe errored and resulted in unknown state: {0}")]
    Unknown(String),
}

/// Makes the probe once.
pub async fn probe(
    probe: &Probe,
    timeout: Duration,
    container: &Container,
    id: &str,
    ip: Option<IpAddr>,
    runtime: &Arc<dyn Runtime>,
) -> Result<(), NotHealthy> {
    let unknown = |why: &str| NotHealthy::Unknown(why.to_owned());
    if let Some(exec) = &probe.exec {
        let command = exec.command.clone().unwrap_or_default();
        return exec_probe(runtime.as_ref(), id, &command, timeout).await;
    }
    let ip = ip.ok_or_else(|| unknown("the pod has no address yet"))?;
    let no_port = || unknown("the probe's port is not a port of the container");
    let answer = if let Some(get) = &probe.http_get {
        let target = Target::http(get, container, ip).ok_or_else(no_port)?;
        http_get(&target, timeout).await.map(drop)
    } else if let Some(tcp) = &probe.tcp_socket {
        let port = port(&tcp.port, container).ok_or_else(no_port)?;
        let host = tcp.host.clone().filter(|h| !h.is_empty()).unwrap_or_else(|| ip.to_string());
        connect(&host, port, timeout).await.map(drop)
    } else if let Some(grpc) = &probe.grpc {
        let port = u16::try_from(grpc.port).map_err(|_| no_port())?;
        grpc_health(ip, port, grpc.service.as_deref().unwrap_or_default(), timeout).await
    } else {
        return Err(unknown("the probe names nothing to do"));
    };
    answer.map_err(NotHealthy::Failed)
}

async fn exec_probe(runtime: &dyn Runtime, id: &str, command: &[String], timeout: Duration) -> Result<(), NotHealthy> {
    match runtime.exec_sync(id, command, timeout).await {
        Ok(done) if done.exit_code == 0 => Ok(()),
        Ok(done) => Err(NotHealthy::Failed(shown(&done.output))),
        Err(RuntimeError::Timeout { .. }) => Err(NotHealthy::Failed(format!(
            "command timed out: {:?} timed out after {}s",
            command.join(" "),
            timeout.as_secs()
        ))),
        Err(err) => Err(NotHealthy::Unknown(err.to_string())),
    }
}

fn shown(output: &[u8]) -> String {
    String::from_utf8_lossy(&output[..output.len().min(OUTPUT_SHOWN_BYTES)]).into_owned()
}

async fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(err)) => {
            let why = if err.kind() == std::io::ErrorKind::ConnectionRefused {
                "connect: connection refused".to_owned()
            } else {
                err.to_string()
            };
            Err(format!("dial tcp {}: {why}", join(host, port)))
        }
        Err(_) => Err(format!("dial tcp {}: i/o timeout", join(host, port))),
    }
}

fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Why there was no answer to a GET. The texts are for the user.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("http: server gave HTTP response to HTTPS client")]
    NotTls,
    #[error("{0}")]
    Failed(String),
}

/// A GET that succeeds on 200 to 399; returns the code. Redirects on the same host are followed.
pub async fn http_get(target: &Target, timeout: Duration) -> Result<u16, String> {
    match in_time(target, timeout, answer(target, timeout)).await? {
        code @ 200..400 => Ok(code),
        code => Err(format!("HTTP probe failed with statuscode: {code}")),
    }
}

/// A GET for a hook: whatever is answered, it was told. A server that does not speak TLS is told without, as upstream does.
pub async fn http_hook(target: &Target, timeout: Duration) -> Result<(), String> {
    let mut target = target.clone();
    if !target.has_header("user-agent") {
        target.headers.push(("user-agent".into(), format!("kube-lifecycle/1.{}", version::MINOR)));
    }
    let told = async {
        match answer(&target, timeout).await {
            Err(NoAnswer::NotTls) => {
                let mut plain = Target { tls: false, ..target.clone() };
                // What was meant for an encrypted connection goes over no other.
                plain.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
                answer(&plain, timeout).await
            }
            answered => answered,
        }
    };
    in_time(&target, timeout, told).await.map(drop)
}

async fn in_time(
    target: &Target,
    timeout: Duration,
    answer: impl Future<Output = Result<u16, NoAnswer>>,
) -> Result<u16, String> {
    let scheme = if target.tls { "https" } else { "http" };
    let url = format!("{scheme}://{}{}", target.authority(), target.path);
    match tokio::time::timeout(timeout, answer).await {
        Ok(answered) => answered.map_err(|why| format!("Get {url:?}: {why}")),
        Err(_) => {
            Err(format!("Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"))
        }
    }
}

/// The code of what is answered in the end. A redirect elsewhere counts as an answer.
async fn answer(target: &Target, timeout: Duration) -> Result<u16, NoAnswer> {
    let mut target = target.clone();
    for _ in 0..=REDIRECTS_MAX {
        let (code, location) = one_get(&target, timeout).await?;
        match location.and_then(|l| same_host_path(&l, &target)) {
            Some(path) if (300..400).contains(&code) => target.path = path,
            _ => return Ok(code),
        }
    }
    Err(NoAnswer::Failed(format!("stopped after {REDIRECTS_MAX} redirects")))
}

/// The path of a redirect that stays on the host.
fn same_host_path(location: &str, target: &Target) -> Option<String> {
    if location.starts_with('/') && !location.starts_with("//") {
        return Some(location.to_owned());
    }
    let uri: http::Uri = location.parse().ok()?;
    let same = uri.authority()?.as_str() == target.authority();
    same.then(|| uri.path_and_query().map_or("/", |p| p.as_str()).to_owned())
}

async fn one_get(target: &Target, timeout: Duration) -> Result<(u16, Option<String>), NoAnswer> {
    let host = target.host.clone().unwrap_or_else(|| target.ip.to_string());
    let stream = connect(&host, target.port, timeout).await.map_err(NoAnswer::Failed)?;
    let mut request = http::Request::get(&target.path);
    let named = |name: &str| target.has_header(name);
    if !named("host") {
        request = request.header("host", target.authority());
    }
    if !named("user-agent") {
        request = request.header("user-agent", format!("kube-probe/1.{}", version::MINOR));
    }
    if !named("accept") {
        request = request.header("accept", "*/*");
    }
    for (name, value) in &target.headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|err| NoAnswer::Failed(err.to_string()))?;
    let sent = if target.tls {
        let stream = tls::connect(stream, &host).await?;
        send(TokioIo::new(stream), request).await
    } else {
        send(TokioIo::new(stream), request).await
    };
    sent.map_err(NoAnswer::Failed)
}

async fn send<S>(io: S, request: http::Request<Empty<Bytes>>) -> Result<(u16, Option<String>), String>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(|err| err.to_string())?;
    let driver = tokio::spawn(connection);
    let reply = sender.send_request(request).await.map_err(|err| err.to_string());
    let result = match reply {
        Ok(reply) => {
            let code = reply.status().as_u16();
            let location = reply.headers().get("location").and_then(|l| l.to_str().ok()).map(str::to_owned);
            // The body is read so that the server is not cut off; what is in it does not matter.
            let _ = Limited::new(reply.into_body(), BODY_MAX_BYTES).collect().await;
            Ok((code, location))
        }
        Err(why) => Err(why),
    };
    driver.abort();
    result
}

/// `grpc.health.v1.Health/Check`.
async fn grpc_health(ip: IpAddr, port: u16, service: &str, timeout: Duration) -> Result<(), String> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct CheckRequest {
        #[prost(string, tag = "1")]
        service: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct CheckReply {
        #[prost(int32, tag = "1")]
        status: i32,
    }
    const SERVING: i32 = 1;
    let address = format!("http://{}", SocketAddr::new(ip, port));
    let whole = async {
        let endpoint = tonic::transport::Endpoint::from_shared(address).map_err(|err| err.to_string())?;
        let channel = endpoint.connect().await.map_err(|_| {
            format!("timeout: failed to connect service {:?} within {timeout:?}", join(&ip.to_string(), port))
        })?;
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.map_err(|err| err.to_string())?;
        let codec = tonic_prost::ProstCodec::<CheckRequest, CheckReply>::default();
        let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
        let request = tonic::Request::new(CheckRequest { service: service.into() });
        let reply = client.unary(request, path, codec).await.map_err(|status| match status.code() {
            tonic::Code::Unimplemented => {
                "this server does not implement the grpc health protocol (grpc.health.v1.Health)".to_owned()
            }
            _ => format!("health rpc probe failed: {status}"),
        })?;
        match reply.into_inner().status {
            SERVING => Ok(()),
            other => Err(format!("service unhealthy (responded with {other:?})")),
        }
    };
    tokio::time::timeout(timeout, whole)
        .await
        .unwrap_or_else(|_| Err(format!("timeout: health rpc did not complete within {timeout:?}")))
}

/// TLS for probes: any certificate will do, as upstream's probes accept any.
mod tls {
    use std::sync::{Arc, LazyLock};

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, Error, InvalidMessage, SignatureScheme};
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    use super::NoAnswer;

    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let builder = ClientConfig::builder().dangerous();
        Arc::new(builder.with_custom_certificate_verifier(Arc::new(AnyCertificate)).with_no_client_auth())
    });

    pub(super) async fn connect(stream: TcpStream, host: &str) -> Result<TlsStream<TcpStream>, NoAnswer> {
        let name = ServerName::try_from(host.to_owned()).map_err(|err| NoAnswer::Failed(err.to_string()))?;
        let connected = TlsConnector::from(Arc::clone(&CONFIG)).connect(name, stream).await;
        connected.map_err(|err| if is_plain(&err) { NoAnswer::NotTls } else { NoAnswer::Failed(err.to_string()) })
    }

    /// What came was no TLS record at all.
    fn is_plain(err: &std::io::Error) -> bool {
        let cause = err.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
        matches!(cause, Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)))
    }

    #[derive(Debug)]
    struct AnyCertificate;

    impl ServerCertVerifier for AnyCertificate {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
        }
    }
}

#[cfg(test)]
mod tests;
