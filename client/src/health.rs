//! /healthz, /readyz and /metrics of a component, over plain HTTP on an address that only operators reach.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{panics, runner};

const CONNECTIONS_MAX: usize = 32;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What a component says of itself. Cheap to clone.
#[derive(Clone, Default)]
pub struct Health {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    live: Mutex<Vec<(&'static str, Check)>>,
    ready: Mutex<Vec<(&'static str, Check)>>,
    metrics: Mutex<Registry>,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Health")
    }
}

impl Health {
    /// With what every component has: the metrics of work queues and panics, and that no worker of a queue hangs.
    pub fn new() -> Self {
        let health = Self::default();
        health.metrics(panics::register);
        health.metrics(runner::register);
        health.metrics(crate::events::register);
        health.metrics(crate::lease::register);
        health.live_when("workers", runner::check);
        health
    }
    /// Adds a condition of life: `Err` says what stands still, and `/healthz` fails.
    pub fn live_when(&self, name: &'static str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.shared.live.lock().push((name, Box::new(check)));
    }
    /// Adds a condition of readiness: `Err` says what is missing.
    pub fn ready_when(&self, name: &'static str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.shared.ready.lock().push((name, Box::new(check)));
    }
    /// Registers metrics.
    pub fn metrics(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.shared.metrics.lock());
    }

    /// Serves until `stop`. Fails only when the address cannot be taken.
    pub async fn serve(&self, address: SocketAddr, stop: &CancellationToken) -> Result<(), std::io::Error> {
        let listener = TcpListener::bind(address).await?;
        let (health, stop) = (self.clone(), stop.clone());
        tokio::spawn(async move { stop.run_until_cancelled_owned(health.accept(listener)).await });
        Ok(())
    }

    async fn accept(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(err) => {
                    debug!(%err, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let health = self.clone();
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request| {
                    let reply = health.reply(&request);
                    async move { Ok::<_, Infallible>(reply) }
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
                if let Err(err) = http.serve_connection(TokioIo::new(stream), service).await {
                    debug!(%err, "a health connection broke");
                }
                drop(place);
            });
        }
    }

    fn reply<B>(&self, request: &Request<B>) -> Response<String> {
        if request.method() != Method::GET {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
        }
        match request.uri().path() {
            "/healthz" | "/livez" => all_hold(&self.shared.live.lock(), StatusCode::INTERNAL_SERVER_ERROR),
            "/readyz" => all_hold(&self.shared.ready.lock(), StatusCode::SERVICE_UNAVAILABLE),
            "/metrics" => {
                let mut text = String::new();
                match prometheus_client::encoding::text::encode(&mut text, &self.shared.metrics.lock()) {
                    Ok(()) => plain(StatusCode::OK, text),
                    Err(err) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{err}\n")),
                }
            }
            _ => plain(StatusCode::NOT_FOUND, "not found: try /healthz, /readyz, /metrics\n".into()),
        }
    }
}

/// "ok", or which of the checks fail, with this status.
fn all_hold(checks: &[(&'static str, Check)], failed: StatusCode) -> Response<String> {
    let mut lines = String::new();
    let mut status = StatusCode::OK;
    for (name, check) in checks {
        match check() {
            Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
            Err(why) => {
                status = failed;
                lines.push_str(&format!("[-]{name} failed: {why}\n"));
            }
        }
    }
    if status == StatusCode::OK { plain(status, "ok".into()) } else { plain(status, lines) }
}

fn plain(status: StatusCode, body: String) -> Response<String> {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn healthz_and_readyz_say_what_fails() {
        let asked = |health: &Health, path: &str| {
            let reply = health.reply(&Request::get(path).body(()).unwrap());
            (reply.status().as_u16(), reply.into_body())
        };
        let health = Health::new();
        assert_eq!(asked(&health, "/healthz"), (200, "ok".into()));
        health.live_when("well", || Ok(()));
        health.live_when("loop", || Err("it stands still".into()));
        let said = "[+]workers ok\n[+]well ok\n[-]loop failed: it stands still\n";
        assert_eq!(asked(&health, "/healthz"), (500, said.into()));
        assert_eq!(asked(&health, "/readyz"), (200, "ok".into()), "another question");
        panics::catch::<()>("of-health", || panic!("on purpose")).unwrap_err();
        let metrics = asked(&health, "/metrics").1;
        assert!(metrics.contains(r#"controller_panics_total{controller="of-health"} 1"#), "{metrics}");
    }
}
