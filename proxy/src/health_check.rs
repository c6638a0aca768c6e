//! Answers load balancers that ask whether this node has endpoints of a Service with `externalTrafficPolicy: Local`: one port
//! for each such Service (`spec.healthCheckNodePort`), open as long as the Service has it.
//!
//! <https://kubernetes.io/docs/tasks/access-application-cluster/create-external-load-balancer/#preserving-the-client-source-ip>

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use corten_api::Key;
use corten_client::CancellationToken;
use http::{HeaderValue, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

/// Ports that are listened on at once: as many as the node port range has by default, where they come from.
pub const PORTS_MAX: usize = 2768;
/// Connections to one of them at once. More wait.
pub const CONNECTIONS_PER_PORT: usize = 16;
/// Bytes of a request's line and headers; also the least that the HTTP library takes.
const HEADER_BYTES_MAX: usize = 8192;
/// From a connection to the end of its one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// A port that cannot be had, as its last owner has not closed it yet or somebody else has it, is tried again after so long,
/// then twice as long each time.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(60);
const WEIGHT: &str = "x-load-balancing-endpoint-weight";

/// What a Service's port answers.
#[derive(Debug)]
struct Answer {
    service: Key,
    local_endpoints: AtomicUsize,
    /// The rules are as they should be.
    well: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Open {
    port: u16,
    answer: Arc<Answer>,
    close: CancellationToken,
}

/// All open ports. They close with it.
#[derive(Debug)]
pub struct HealthChecks {
    address: Ipv4Addr,
    well: Arc<AtomicBool>,
    open: HashMap<Key, Open>,
}

impl Default for HealthChecks {
    /// On all addresses of the node.
    fn default() -> Self {
        Self::at(Ipv4Addr::UNSPECIFIED)
    }
}

impl HealthChecks {
    pub fn at(address: Ipv4Addr) -> Self {
        Self { address, well: Arc::new(AtomicBool::new(true)), open: HashMap::new() }
    }

    /// Whether the rules could be written: load balancers look for other nodes while they cannot.
    pub fn set_well(&self, well: bool) {
        self.well.store(well, Ordering::Relaxed);
    }

    /// Opens, closes or changes what a Service asks for: its port, and how many ready endpoints it has on this node. Needs a
    /// tokio runtime.
    pub fn set(&mut self, service: &Key, wanted: Option<(u16, usize)>) {
        let Some((port, local_endpoints)) = wanted else {
            self.open.remove(service);
            return;
        };
        if let Some(open) = self.open.get(service).filter(|open| open.port == port) {
            open.answer.local_endpoints.store(local_endpoints, Ordering::Relaxed);
            return;
        }
        self.open.remove(service);
        if self.open.len() >= PORTS_MAX {
            warn!(%service, port, "too many health check ports are open: this one stays closed");
            return;
        }
        let local_endpoints = AtomicUsize::new(local_endpoints);
        let answer = Arc::new(Answer { service: service.clone(), local_endpoints, well: Arc::clone(&self.well) });
        let close = CancellationToken::new();
        let serving = serve(SocketAddr::from((self.address, port)), Arc::clone(&answer));
        tokio::spawn(close.clone().run_until_cancelled_owned(serving));
        self.open.insert(service.clone(), Open { port, answer, close });
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close.cancel();
    }
}

async fn serve(address: SocketAddr, answer: Arc<Answer>) {
    let listener = listen(address, &answer.service).await;
    let places = Arc::new(Semaphore::new(CONNECTIONS_PER_PORT));
    loop {
        // Never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(err) => {
                debug!(%err, %address, "cannot accept");
                tokio::time::sleep(RETRY_FIRST).await;
                continue;
            }
        };
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |_| {
                let reply = reply(&answer);
                async move { Ok::<_, Infallible>(reply) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).keep_alive(false).max_buf_size(HEADER_BYTES_MAX);
            match tokio::time::timeout(ANSWER_TIMEOUT, http.serve_connection(TokioIo::new(stream), service)).await {
                Ok(Ok(())) => {}
                Ok(Err(err)) => debug!(%err, %address, "a health check's connection broke"),
                Err(_) => debug!(%address, "a health check took too long"),
            }
            drop(place);
        });
    }
}

async fn listen(address: SocketAddr, service: &Key) -> TcpListener {
    let mut wait = RETRY_FIRST;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(err) => warn!(%err, %address, %service, "the health check port cannot be listened on; will try again"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

fn reply(answer: &Answer) -> Response<String> {
    let (local, well) = (answer.local_endpoints.load(Ordering::Relaxed), answer.well.load(Ordering::Relaxed));
    // Names of the API need no escapes in JSON.
    let Key { namespace, name } = &answer.service;
    let body = format!(
        "{{\"service\":{{\"namespace\":\"{namespace}\",\"name\":\"{name}\"}},\"localEndpoints\":{local},\
         \"serviceProxyHealthy\":{well}}}"
    );
    let mut reply = Response::new(body);
    *reply.status_mut() = if local > 0 && well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(WEIGHT, HeaderValue::from(local));
    reply
}

#[cfg(test)]
mod tests;
