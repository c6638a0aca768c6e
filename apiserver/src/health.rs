//! /healthz, /livez, /readyz: is the process alive, is it of use.
//!
//! <https://kubernetes.io/docs/reference/using-api/health-checks/>.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Response, StatusCode};

use crate::rest::body::Body;
use crate::rest::respond;
use crate::storage::Storage;

/// A store that takes longer than this is not of use.
const STORE_DEADLINE: Duration = Duration::from_secs(2);

/// What health is asked of.
#[derive(Clone, Debug)]
pub struct Health {
    storage: Arc<dyn Storage>,
    draining: Arc<AtomicBool>,
}

/// One check's name and what it found; `None`: fine.
type Found = (&'static str, Option<String>);

impl Health {
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage, draining: Arc::new(AtomicBool::new(false)) }
    }
    /// From now on /readyz fails, so that clients and balancers go elsewhere.
    pub fn begin_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// `/readyz`, `/readyz/etcd`, …; `None` for paths that are not about health. `excluded`: checks to leave out.
    pub async fn serve(&self, path: &str, verbose: bool, excluded: &[&str]) -> Option<Response<Body>> {
        let (endpoint, one) = path.strip_prefix('/')?.split_once('/').map_or((&path[1..], None), |(e, c)| (e, Some(c)));
        let names: &[&'static str] = match endpoint {
            "livez" => &["ping"],
            "healthz" => &["ping", "etcd"],
            "readyz" => &["ping", "etcd", "shutdown"],
            _ => return None,
        };
        let mut found: Vec<Found> = Vec::new();
        for name in names.iter().filter(|n| one.is_none_or(|o| o == **n) && !excluded.contains(*n)) {
            found.push((name, self.check(name).await));
        }
        if found.is_empty() && one.is_some() {
            return None;
        }
        Some(report(endpoint, &found, verbose))
    }

    async fn check(&self, name: &str) -> Option<String> {
        match name {
            "etcd" => match tokio::time::timeout(STORE_DEADLINE, self.storage.current_revision()).await {
                Ok(Ok(_)) => None,
                Ok(Err(err)) => Some(err.to_string()),
                Err(_) => Some(format!("no answer within {STORE_DEADLINE:?}")),
            },
            "shutdown" if self.is_draining() => Some("process is shutting down".to_owned()),
            _ => None,
        }
    }
}

fn report(endpoint: &str, found: &[Found], verbose: bool) -> Response<Body> {
    let healthy = found.iter().all(|(_, fault)| fault.is_none());
    if healthy && !verbose {
        return respond::text(StatusCode::OK, "ok");
    }
    let mut text = String::new();
    for (name, fault) in found {
        text += &match fault {
            None => format!("[+]{name} ok\n"),
            Some(why) => format!("[-]{name} failed: {why}\n"),
        };
    }
    text += &format!("{endpoint} check {}\n", if healthy { "passed" } else { "failed" });
    respond::text(if healthy { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports() {
        let fine: [Found; 1] = [("ping", None)];
        assert_eq!(report("livez", &fine, false).status(), 200);
        let bad: [Found; 2] = [("ping", None), ("etcd", Some("gone".into()))];
        let response = report("readyz", &bad, false);
        assert_eq!(response.status(), 500);
        let Body::Whole(Some(text)) = response.into_body() else { panic!("a whole body") };
        assert_eq!(text, "[+]ping ok\n[-]etcd failed: gone\nreadyz check failed\n");
    }
}
