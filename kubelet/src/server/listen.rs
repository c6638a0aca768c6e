//! Accepts connections: TLS, who it is, then gRPC or plain HTTPS by what the request is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use corten_proto::node::node_server::NodeServer;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::handshakes::{Handshake, Handshakes};
use super::node::{NodeService, STREAMS_MAX};
use super::strangers::{Stranger, Strangers};
use super::{Server, ServerError, health, metrics, stats, tls};
use crate::runtime::RuntimeError;

/// Of those that may call: more are closed as they come.
const CONNECTIONS_MAX: usize = 256;
const HTTP2_STREAMS_MAX: u32 = STREAMS_MAX + STREAMS_SPARE;
/// For short calls and refusals, when all else is taken.
const STREAMS_SPARE: u32 = 64;
/// What a client may send ahead of its reader in one stream.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// An HTTP/2 connection that is silent is asked whether its other end still lives.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_DEADLINE: Duration = Duration::from_secs(15);

/// Serves until `stop` is cancelled. Returns early only when it cannot listen at all.
pub async fn serve(server: Server, stop: CancellationToken) -> Result<(), ServerError> {
    // Bad files are an error now, not at the first connection.
    tls::config(&server)?;
    let address = server.listen;
    let listener = TcpListener::bind(address).await.map_err(|source| ServerError::Listen { address, source })?;
    tracing::info!(%address, "serving logs, exec, attach, port-forward and statistics");
    let server = Arc::new(server);
    let door = Door {
        router: router(&server),
        tls: Arc::new(move || tls::config(&server)),
        handshakes: Handshakes::default(),
        places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        strangers: Strangers::default(),
        stop,
    };
    door.accept(listener).await;
    Ok(())
}

type TlsConfig = dyn Fn() -> Result<Arc<rustls::ServerConfig>, ServerError> + Send + Sync;

/// What each connection needs.
#[derive(Clone)]
struct Door {
    router: Router,
    /// Asked for every connection: gives the same until the files change.
    tls: Arc<TlsConfig>,
    handshakes: Handshakes,
    places: Arc<Semaphore>,
    strangers: Strangers,
    stop: CancellationToken,
}

impl Door {
    async fn accept(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(handshake) = self.handshakes.begin(peer.ip()) else {
                        tracing::warn!(%peer, "closed at once: too many connections are being made");
                        continue;
                    };
                    tokio::spawn(self.clone().connection(stream, peer.ip(), handshake));
                }
                // Out of descriptors, or the client went away before we came.
                Err(why) => {
                    tracing::warn!(%why, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    async fn connection(self, stream: TcpStream, peer: IpAddr, handshake: Handshake) {
        let Some(stream) = self.shake_hands(stream, &handshake).await else { return };
        let certificates = stream.get_ref().1.peer_certificates();
        let allowed = certificates.and_then(|all| all.first()).is_some_and(tls::may_call);
        let Some(place) = self.place(peer, allowed) else {
            return tracing::warn!(%peer, allowed, "closed: too many connections are open");
        };
        drop(handshake);
        let router = if allowed { self.router } else { Router::new().fallback(forbidden) };
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_MAX);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL).keep_alive_timeout(PING_DEADLINE);
        // What is over the limit of streams is to be refused with a reason: HTTP/2's own limit would leave it waiting.
        builder.http2().max_concurrent_streams(HTTP2_STREAMS_MAX);
        builder.http2().initial_stream_window_size(STREAM_WINDOW_BYTES);
        if allowed {
            // Room for all streams at once, so that one that nobody reads holds up no other.
            builder.http2().initial_connection_window_size(STREAM_WINDOW_BYTES * HTTP2_STREAMS_MAX);
        }
        let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(router));
        tokio::select! {
            served = serving => if let Err(why) = served {
                tracing::debug!(why = %why, "a connection ended badly");
            },
            () = place.over() => tracing::debug!("a client that may not call was told so and stayed"),
            () = self.stop.cancelled() => {}
        }
    }

    fn place(&self, peer: IpAddr, allowed: bool) -> Option<Place> {
        if allowed {
            self.places.clone().try_acquire_owned().ok().map(Place::Caller)
        } else {
            self.strangers.open(peer).map(Place::Stranger)
        }
    }

    async fn shake_hands(&self, stream: TcpStream, handshake: &Handshake) -> Option<TlsStream<TcpStream>> {
        // Terminals are typed at: small packets go at once. Where they cannot, they go all the same.
        let _ = stream.set_nodelay(true);
        let shaking = async {
            // Whoever says nothing is told from those who do, and costs no reading of certificates.
            stream.peek(&mut [0]).await?;
            handshake.speaks();
            let config = (self.tls)().map_err(|why| {
                tracing::error!(%why, "the server's files cannot be used any more");
                std::io::Error::other(why)
            })?;
            TlsAcceptor::from(config).accept(stream).await
        };
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(HANDSHAKE_MAX, shaking) => shaken,
            () = handshake.evicted() => return None,
        };
        match shaken {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(why)) => {
                tracing::debug!(%why, "a client without a certificate of ours");
                None
            }
            Err(_) => None,
        }
    }
}

/// What a connection is counted to until it ends.
enum Place {
    Caller(#[expect(dead_code, reason = "held, not looked at")] OwnedSemaphorePermit),
    Stranger(Stranger),
}

impl Place {
    /// Done when the connection has to end though its client goes on.
    async fn over(&self) {
        match self {
            Self::Caller(_) => std::future::pending().await,
            Self::Stranger(stranger) => stranger.over().await,
        }
    }
}

async fn forbidden() -> Response {
    (StatusCode::FORBIDDEN, "Forbidden: only the apiserver and system:masters may ask a kubelet\n").into_response()
}

fn router(server: &Arc<Server>) -> Router {
    let plain = Router::new()
        .route("/healthz", get(healthz))
        .route("/pods", get(pods))
        .route("/stats/summary", get(summary))
        .route("/metrics", get(own_metrics))
        .route("/metrics/resource", get(resource_metrics))
        .route("/metrics/cadvisor", get(cadvisor_metrics))
        .with_state(server.clone());
    tonic::service::Routes::from(plain)
        .add_service(NodeServer::new(NodeService::new(server.clone())))
        .into_axum_router()
}

async fn healthz(State(server): State<Arc<Server>>) -> Response {
    match health::check(server.pods.as_ref(), server.runtime.as_ref()).await {
        Ok(()) => "ok".into_response(),
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")).into_response(),
    }
}

async fn pods(State(server): State<Arc<Server>>) -> Response {
    ([(CONTENT_TYPE, "application/json")], server.pods.pod_list_json()).into_response()
}

async fn summary(State(server): State<Arc<Server>>) -> Response {
    match stats::summary(&server).await {
        Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")).into_response(),
    }
}

async fn own_metrics(State(server): State<Arc<Server>>) -> Response {
    exposition(Ok(metrics::own(&server)))
}

async fn resource_metrics(State(server): State<Arc<Server>>) -> Response {
    exposition(metrics::resource(&server).await)
}

async fn cadvisor_metrics(State(server): State<Arc<Server>>) -> Response {
    exposition(metrics::cadvisor(&server).await)
}

fn exposition(text: Result<String, RuntimeError>) -> Response {
    match text {
        Ok(text) => ([(CONTENT_TYPE, metrics::TEXT_FORMAT)], text).into_response(),
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests;
