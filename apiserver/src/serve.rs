//! One port for everything: TLS, then REST or gRPC, on HTTP/1.1 or HTTP/2; bounds on connections; a graceful end.

pub mod connections;
mod counted;
pub mod limits;
pub mod responses;
pub mod tls;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tonic::service::Routes;

use self::connections::{ConnectionLimiter, Handshake};
use self::counted::Counted;
use self::responses::Responses;
use self::tls::Owner;
use crate::aggregation::keeper;
use crate::authn::Identity;
use crate::grpc::bind::Binds;
use crate::pipeline::{self, Audit, Connection, Means, Pipeline};
use crate::request::Peer;
use crate::rest::Front;
pub use tls::{TlsError, TlsFiles, TlsKeeper};

const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// From a connection's (or the last response's) end to a request's complete head.
const HEADER_DEADLINE: Duration = Duration::from_secs(32);
const MAX_HTTP1_BUFFER_BYTES: usize = 64 * 1024;
const MAX_HEADER_BYTES: u32 = 64 * 1024;
/// A connection that is silent for so long is asked whether its other end still lives, then so often, so many times:
/// HTTP/1.1 has no pings, and a machine that lost its power says no goodbye.
const KEEPALIVE_AFTER_SECS: u32 = 60;
const KEEPALIVE_EVERY_SECS: u32 = 15;
const KEEPALIVE_PROBES: u32 = 4;
/// Of those whom a certificate names: a kubelet has a watch for each Secret and ConfigMap that its pods use.
const CERTIFIED: Http2Bounds =
    Http2Bounds { streams: 1000, stream_window_bytes: 256 * 1024, connection_window_bytes: 1024 * 1024 };
/// Of all others: with the handshake nobody knows yet whether they are anybody.
const UNCERTIFIED: Http2Bounds =
    Http2Bounds { streams: 250, stream_window_bytes: 64 * 1024, connection_window_bytes: 1024 * 1024 };
const PINGS: Pings = Pings { interval: Duration::from_secs(30), deadline: Duration::from_secs(15) };
/// Kubelets ping us every second: where nothing at all comes for so long, there is no node.
const NODE_PINGS: Pings = Pings { interval: Duration::from_secs(2), deadline: Duration::from_secs(1) };
/// After an accept that failed (no file handles left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between /readyz failing and watches ending: time for clients that look at it to go elsewhere.
const DRAIN_NOTICE: Duration = Duration::from_millis(300);
/// For requests at work, from the end of the watches on; what is left then is cut off.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// Everything a connection's task needs.
#[derive(Clone)]
pub struct Server {
    pub front: Arc<Front>,
    /// Our gRPC services. What lets a call in they find in its extensions; who sends a stream of messages, too, and that such
    /// may be they ask themselves.
    pub grpc: Routes,
    /// Who is told of every request.
    pub audit: Arc<dyn Audit>,
    pub tls: Arc<TlsKeeper>,
    pub nodes: crate::nodes::NodeConnections,
    /// Who may hold a connection; more are closed as they come.
    pub connections: ConnectionLimiter,
    /// How long a client may leave a response lying ([`responses::SEND_DEADLINE`]).
    pub send_deadline: Duration,
}

impl Server {
    /// Serves until `stop` is done, then drains.
    pub async fn run(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let pipeline = self.pipeline();
        keeper::start(&self.front);
        let graceful = GracefulShutdown::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                accepted = listener.accept() => self.accepted(accepted, graceful.watcher(), &pipeline).await,
                () = &mut stop => break,
            }
        }
        tracing::info!("draining: /readyz fails, watches end next");
        self.front.health.begin_draining();
        let notice = tokio::time::sleep(DRAIN_NOTICE);
        let mut notice = std::pin::pin!(notice);
        loop {
            tokio::select! {
                accepted = listener.accept() => self.accepted(accepted, graceful.watcher(), &pipeline).await,
                () = &mut notice => break,
            }
        }
        self.front.resources.drain();
        drop(listener);
        if tokio::time::timeout(DRAIN_DEADLINE, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests were not done within {DRAIN_DEADLINE:?} and are cut off");
        }
    }

    /// The way of all requests. Made once for all connections.
    pub fn pipeline(&self) -> Arc<dyn Pipeline> {
        let Front { resources, flow, metrics, unfinished, .. } = &*self.front;
        let (resources, flow, metrics) = (resources.clone(), flow.clone(), metrics.clone());
        let means = Means { resources, flow, metrics, audit: self.audit.clone(), unfinished: unfinished.clone() };
        let messages = pipeline::messages(&means, Binds::new(means.resources.clone()));
        pipeline::stack(&means, self.front.clone(), self.grpc.clone(), messages)
    }

    async fn accepted(
        &self,
        accepted: io::Result<(TcpStream, SocketAddr)>,
        watcher: Watcher,
        pipeline: &Arc<dyn Pipeline>,
    ) {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(err) => {
                tracing::warn!("accepting a connection failed: {err}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                return;
            }
        };
        let Some(handshake) = self.connections.handshake(peer.ip()) else {
            tracing::warn!(%peer, "closed at once: too many connections are being made");
            return;
        };
        let (server, pipeline) = (self.clone(), pipeline.clone());
        tokio::spawn(async move {
            let counted = server.front.metrics.connections.clone();
            counted.inc();
            server.connection(stream, peer, handshake, watcher, pipeline).await;
            counted.dec();
        });
    }

    async fn connection(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        handshake: Handshake,
        watcher: Watcher,
        pipeline: Arc<dyn Pipeline>,
    ) {
        if let Err(err) = prepare(&stream) {
            tracing::debug!(%peer, "the connection's options: {err}");
        }
        let current = self.tls.current();
        let shaking = async {
            // Whoever says nothing is told from those who do.
            stream.peek(&mut [0]).await?;
            handshake.speaks();
            tokio_rustls::TlsAcceptor::from(current.config.clone()).accept(stream).await
        };
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(HANDSHAKE_DEADLINE, shaking) => shaken,
            () = handshake.evicted() => return tracing::debug!(%peer, "closed in its TLS handshake: others wait"),
        };
        let stream = match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(err)) => return tracing::debug!(%peer, "TLS handshake failed: {err}"),
            Err(_) => return tracing::debug!(%peer, "TLS handshake took too long"),
        };
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let chain = chain.iter().map(|one| one.clone().into_owned()).collect();
        let owner = Owner::new(self.tls.clone(), current, chain);
        let identity = owner.identity();
        if let Identity::Refused(why) = identity.as_ref() {
            tracing::info!(%peer, "{why}");
        }
        let is_authenticated = identity.is_certified();
        let Some(place) = self.connections.open(peer.ip(), is_authenticated) else {
            return tracing::warn!(%peer, is_authenticated, "closed: too many connections are open, and all are in use");
        };
        drop(handshake);
        self.converse(stream, peer, Box::new(move || owner.identity()), place, watcher, pipeline).await;
    }

    /// Serves a connection over something else than TCP and TLS. `identity`: what a certificate would have shown.
    pub async fn serve_over<S>(self, stream: S, peer: SocketAddr, identity: Identity, pipeline: Arc<dyn Pipeline>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let is_authenticated = identity.is_certified();
        let Some(place) = self.connections.open(peer.ip(), is_authenticated) else { return };
        // Dropped while the connection lives it would end it.
        let graceful = GracefulShutdown::new();
        let identity = Arc::new(identity);
        let identity = Box::new(move || identity.clone());
        self.converse(stream, peer, identity, place, graceful.watcher(), pipeline).await;
    }

    /// From the first request of a connection to its end.
    async fn converse<S>(
        self,
        stream: S,
        peer: SocketAddr,
        identity: Box<dyn Fn() -> Arc<Identity> + Send + Sync>,
        place: connections::Connection,
        watcher: Watcher,
        pipeline: Arc<dyn Pipeline>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let began = identity();
        let is_authenticated = began.is_certified();
        let bounds = if is_authenticated { CERTIFIED } else { UNCERTIFIED };
        let (worker, evicted) = (place.worker(), place.evicted());
        let node = self.nodes.opened(&began);
        let pings = if node.is_some() { NODE_PINGS } else { PINGS };
        let (responses, send_deadline) = (Responses::default(), self.send_deadline);
        let sent = responses.clone();
        let authenticated = worker.clone();
        let front_proxy = self.tls.front_proxy().map(|trust| trust.rules.clone());
        let authenticated = Box::new(move || authenticated.authenticated());
        let shown = Arc::new(Connection { identity, front_proxy, authenticated });
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer.ip()));
            request.extensions_mut().insert(shown.clone());
            let (pipeline, busy, sent) = (pipeline.clone(), worker.begin(), sent.clone());
            async move {
                let response = pipeline::answer(&*pipeline, request).await;
                Ok::<_, Infallible>(response.map(|body| Counted::new(body, busy, &sent)))
            }
        });
        let connection =
            builder(pings, bounds).serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        tokio::select! {
            served = watcher.watch(connection) => if let Err(err) = served {
                tracing::debug!(%peer, "connection ended: {err}");
            },
            () = evicted => tracing::debug!(%peer, "closed: others wait"),
            () = responses.stalled(send_deadline) => tracing::info!(%peer, "closed: it does not take its responses"),
        }
        drop(node);
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE_AFTER_SECS)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &KEEPALIVE_EVERY_SECS)?;
    setsockopt(stream, sockopt::TcpKeepCount, &KEEPALIVE_PROBES)?;
    Ok(())
}

/// After which silence an HTTP/2 connection is asked whether its other end lives, and how long it has to answer.
#[derive(Clone, Copy)]
struct Pings {
    interval: Duration,
    deadline: Duration,
}

/// What one HTTP/2 connection may make the server hold.
#[derive(Clone, Copy)]
struct Http2Bounds {
    /// At once.
    streams: u32,
    /// Received on one stream before its handler reads. Bodies are small; the memory is ours.
    stream_window_bytes: u32,
    /// And on all together.
    connection_window_bytes: u32,
}

fn builder(pings: Pings, bounds: Http2Bounds) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        // Never with `pipeline_flush`: hyper would then take a body as fast as it comes, whether the client takes it or not.
        .max_buf_size(MAX_HTTP1_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(MAX_HEADER_BYTES)
        .initial_stream_window_size(bounds.stream_window_bytes)
        .initial_connection_window_size(bounds.connection_window_bytes)
        .keep_alive_interval(pings.interval)
        .keep_alive_timeout(pings.deadline);
    builder
}
