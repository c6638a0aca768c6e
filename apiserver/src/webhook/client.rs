//! Connections to one webhook: kept while they are used, each call within its own time, each answer of a bounded size.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use corten_api::error::with_causes;
use futures::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Address, Place, Resolve, tls};
use crate::registry::webhook_client::HTTPS_PORT;

/// Of an answer that refuses to be one, so much is told.
const TOLD_BYTES_MAX: usize = 1024;
/// Connections that nobody uses.
const IDLE_MAX: usize = 25;
const IDLE_FOR: Duration = Duration::from_secs(90);
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_DEADLINE: Duration = Duration::from_secs(15);
/// For a connection, from its name to the end of its handshake. One that somebody has waited for until another was free goes on
/// beside requests, and no longer than this.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Names that are looked up at once, for all webhooks. Each takes a thread for as long as the system's resolver does, whoever has
/// given up meanwhile; of those a runtime has no more than 512.
const LOOKUPS_MAX: usize = 64;
/// Of these one webhook's, whose others wait: a name that nobody answers for leaves places for the rest.
const LOOKUPS_OF_ONE_MAX: usize = 4;
/// Upstream's, whatever its webhooks are asked: one that knows its callers by it goes on to.
const AGENT: &str = "kube-apiserver-admission";
/// Why a call has failed that took too long, in Go's words.
const TOO_LATE: &str = "context deadline exceeded";
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

static LOOKUPS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(LOOKUPS_MAX)));

/// What calls of one webhook may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Calls under way. More wait, and count the time.
    pub(crate) calls: usize,
    /// Of these so many that are made in bulk, for who wants much: the others are for who wants one thing.
    pub(crate) bulk_calls: usize,
    /// Of one answer.
    pub(crate) answer_bytes: usize,
}

/// Of the calls that may be under way, which part one belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    All,
    Bulk,
}

/// A call that has failed: why, and the code that it is counted under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) why: String,
    pub(crate) code: u16,
}

pub(crate) struct HookClient {
    address: Address,
    client: Client<Connector, Full<Bytes>>,
    calls: Semaphore,
    bulk_calls: Semaphore,
    answer_bytes: usize,
}

impl fmt::Debug for HookClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HookClient").field(&self.address).finish()
    }
}

impl HookClient {
    pub(crate) fn new(place: &Place, bounds: Bounds) -> Result<Self, String> {
        let address = place.address.clone();
        let name = address.server_name();
        let name = ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} is no name of a server"))?;
        // Each call of a Service goes to an endpoint of its own choice, and its server is to see the Service's name as its own.
        let protocols: &[&[u8]] = match address {
            Address::Service { .. } => &[HTTP1],
            Address::Url { .. } => &[HTTP2, HTTP1],
        };
        let config = Arc::new(tls::config(&place.ca_bundle, protocols)?);
        let connector = Connector { tls: TlsConnector::from(config), name, lookups: lookups_of_one() };
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE_FOR)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_DEADLINE)
            .build(connector);
        let Bounds { calls, bulk_calls, answer_bytes } = bounds;
        let (calls, bulk_calls) = (Semaphore::new(calls), Semaphore::new(bulk_calls));
        Ok(Self { address, client, calls, bulk_calls, answer_bytes })
    }

    /// The body of the answer. `body`: is made once it is its turn, as it may be large and many may wait. `within`: for all of it,
    /// which the webhook is told.
    pub(crate) async fn post(
        &self,
        resolve: &dyn Resolve,
        body: impl FnOnce() -> Result<Bytes, serde_json::Error> + Send,
        (share, within): (Share, Duration),
    ) -> Result<Bytes, Failure> {
        let path = format!("{}?timeout={}s", self.address.path(), within.as_secs());
        let url = format!("https://{}{path}", self.address.authority());
        let told = |why: String| Failure { why: format!("Post {url:?}: {why}"), code: 503 };
        let asked = tokio::time::timeout(within, self.exchange(resolve, &path, body, share)).await;
        let (code, is_text, answer) = asked.map_err(|_| told(TOO_LATE.into()))?.map_err(told)?;
        if (200..=206).contains(&code) {
            return Ok(answer);
        }
        let text = String::from_utf8_lossy(answer.get(..TOLD_BYTES_MAX).unwrap_or(&answer));
        Err(Failure { why: refused_call(code, if is_text { &text } else { "unknown" }), code })
    }

    async fn exchange(
        &self,
        resolve: &dyn Resolve,
        path: &str,
        body: impl FnOnce() -> Result<Bytes, serde_json::Error>,
        share: Share,
    ) -> Result<(u16, bool, Bytes), String> {
        let _bulk_place = match share {
            Share::Bulk => Some(self.bulk_calls.acquire().await.map_err(|err| err.to_string())?),
            Share::All => None,
        };
        let _place = self.calls.acquire().await.map_err(|err| err.to_string())?;
        let body = body().map_err(|err| err.to_string())?;
        let authorities = match &self.address {
            Address::Service { namespace, name, port, .. } => {
                resolve.candidates(namespace, name, *port).await.map_err(|err| err.message().to_owned())?
            }
            Address::Url { .. } => vec![self.address.authority()],
        };
        let mut left = authorities.len();
        for authority in authorities {
            left -= 1;
            match self.send(&authority, path, body.clone()).await? {
                Ok(response) => return answer(response, self.answer_bytes).await,
                // Nobody has heard it: another may.
                Err(err) if err.is_connect() && left > 0 => tracing::debug!(authority, "{}", told(&err)),
                Err(err) => return Err(told(&err)),
            }
        }
        Err("there is nobody to ask".to_owned())
    }

    async fn send(
        &self,
        authority: &str,
        path: &str,
        body: Bytes,
    ) -> Result<Result<Response<Incoming>, legacy::Error>, String> {
        let mut request = Request::post(format!("https://{authority}{path}"))
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, */*")
            .header(USER_AGENT, AGENT)
            .body(Full::new(body))
            .map_err(|err| err.to_string())?;
        if let Address::Service { .. } = self.address {
            let host = HeaderValue::try_from(self.address.authority()).map_err(|err| err.to_string())?;
            request.headers_mut().insert(HOST, host);
        }
        Ok(self.client.request(request).await)
    }
}

/// The code, whether the body is text, and the body, of so many bytes at most.
async fn answer(response: Response<Incoming>, bytes_max: usize) -> Result<(u16, bool, Bytes), String> {
    let (code, is_text) = (response.status().as_u16(), is_text(&response));
    let answer = Limited::new(response.into_body(), bytes_max).collect().await;
    let answer = answer.map_err(|err| match err.downcast_ref::<LengthLimitError>() {
        Some(_) => format!("the response is larger than {bytes_max} bytes"),
        None => "unexpected EOF".to_owned(),
    })?;
    Ok((code, is_text, answer.to_bytes()))
}

/// What is told of an answer with such a code, in the words of upstream's client.
fn refused_call(code: u16, text: &str) -> String {
    let text = text.trim();
    match code {
        400 => "the server rejected our request for an unknown reason".into(),
        401 => "the server has asked for the client to provide credentials".into(),
        403 | 406 | 415 if !text.is_empty() => text.to_owned(),
        404 => "the server could not find the requested resource".into(),
        405 => "the server does not allow this method on the requested resource".into(),
        409 => "the server reported a conflict".into(),
        422 => "the server rejected our request due to an error in our request".into(),
        429 => "the server has received too many requests and has asked us to try again later".into(),
        503 => "the server is currently unable to handle the request".into(),
        504 => {
            "the server was unable to return a response in the time allotted, but may still be processing the request"
                .into()
        }
        500.. => format!("an error on the server ({text:?}) has prevented the request from succeeding"),
        _ => format!("the server responded with the status code {code} but did not return more information"),
    }
}

fn is_text(response: &Response<Incoming>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_none_or(|kind| kind.to_str().is_ok_and(|kind| kind.starts_with("text/")))
}

/// Why nothing came back.
fn told(err: &legacy::Error) -> String {
    let mut cause = std::error::Error::source(err);
    while let Some(one) = cause {
        if let Some(err) = one.downcast_ref::<ConnectError>() {
            return err.to_string();
        }
        if one.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return "EOF".into();
        }
        cause = one.source();
    }
    with_causes(err)
}

/// Why there is no connection, in Go's words where it has some.
#[derive(Debug)]
enum ConnectError {
    /// Too many look-ups wait for the resolver.
    Busy {
        host: String,
    },
    Late {
        host: String,
        port: u16,
        is_connected: bool,
    },
    Tcp {
        host: String,
        port: u16,
        err: io::Error,
    },
    Tls(io::Error),
}

impl std::error::Error for ConnectError {}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { host } => write!(f, "dial tcp: lookup {host}: too many names are being looked up"),
            Self::Late { is_connected: true, .. } => f.write_str("net/http: TLS handshake timeout"),
            Self::Late { host, port, .. } if host.contains(':') => write!(f, "dial tcp [{host}]:{port}: i/o timeout"),
            Self::Late { host, port, .. } => write!(f, "dial tcp {host}:{port}: i/o timeout"),
            // The system's resolver has no number for what went wrong.
            Self::Tcp { host, err, .. } if err.raw_os_error().is_none() => {
                write!(f, "dial tcp: lookup {host}: no such host")
            }
            Self::Tcp { host, port, err } if host.contains(':') => {
                write!(f, "dial tcp [{host}]:{port}: connect: {}", err.kind())
            }
            Self::Tcp { host, port, err } => write!(f, "dial tcp {host}:{port}: connect: {}", err.kind()),
            Self::Tls(err) => f.write_str(&tls::told(err)),
        }
    }
}

#[derive(Clone)]
struct Connector {
    tls: TlsConnector,
    /// That the certificate must be for, wherever it is shown.
    name: ServerName<'static>,
    /// This webhook's.
    lookups: Arc<Semaphore>,
}

impl Connector {
    async fn connect(self, host: String, port: u16, within: Duration) -> Result<Stream, ConnectError> {
        let Self { tls, name, lookups } = self;
        let deadline = Instant::now() + within;
        let failed = |err| ConnectError::Tcp { host: host.clone(), port, err };
        let late = |is_connected| ConnectError::Late { host: host.clone(), port, is_connected };
        let dial = async {
            let addresses = addresses(&host, port, &lookups, &LOOKUPS).await?;
            TcpStream::connect(addresses.as_slice()).await.map_err(failed)
        };
        let tcp = timeout_at(deadline, dial).await.map_err(|_| late(false))??;
        // Without it small messages wait for each other, which changes nothing else.
        if let Err(err) = tcp.set_nodelay(true) {
            tracing::debug!("TCP_NODELAY: {err}");
        }
        let stream = timeout_at(deadline, tls.connect(name, tcp)).await.map_err(|_| late(true))?;
        stream.map(Stream).map_err(ConnectError::Tls)
    }
}

/// Places for the look-ups of one who is called.
pub(crate) fn lookups_of_one() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(LOOKUPS_OF_ONE_MAX))
}

/// Where a host is, for calls of others than webhooks: their look-ups count among these. `own`: of [`lookups_of_one`].
pub(crate) async fn look_up(host: &str, port: u16, own: &Arc<Semaphore>) -> Result<Vec<SocketAddr>, String> {
    addresses(host, port, own, &LOOKUPS).await.map_err(|err| err.to_string())
}

/// Where a host is. `own`: of who asks; `all`: of all who do. Both are held until the resolver is done, whoever waits for it no more.
async fn addresses(
    host: &str,
    port: u16,
    own: &Arc<Semaphore>,
    all: &Arc<Semaphore>,
) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let busy = || ConnectError::Busy { host: host.to_owned() };
    let own = own.clone().acquire_owned().await.map_err(|_| busy())?;
    let all = all.clone().try_acquire_owned().map_err(|_| busy())?;
    let name = host.to_owned();
    let look_up = move || {
        let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
        drop((own, all));
        found
    };
    let found = tokio::task::spawn_blocking(look_up).await.map_err(io::Error::other).flatten();
    found.map_err(|err| ConnectError::Tcp { host: host.to_owned(), port, err })
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, uri: Uri) -> Self::Future {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(HTTPS_PORT);
        let connecting = self.clone().connect(host, port, CONNECT_WITHIN);
        Box::pin(async move { connecting.await.map(TokioIo::new) })
    }
}

/// A connection, which tells the pool what is spoken over it.
struct Stream(TlsStream<TcpStream>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.0.get_ref().1.alpn_protocol() == Some(HTTP2) { connected.negotiated_h2() } else { connected }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests;
