//! /healthz, /livez, /readyz: is the process alive, is it of use. As upstream, a server that cannot reach etcd is neither.
//!
//! <https://kubernetes.io/docs/reference/using-api/health-checks/>.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Response, StatusCode};

use crate::resources::Resources;
use crate::rest::body::Body;
use crate::rest::respond;
use crate::storage::Storage;

/// A store, or a cache, that takes longer than this is not of use.
const CHECK_DEADLINE: Duration = Duration::from_secs(2);

/// What health is asked of.
#[derive(Clone, Debug)]
pub struct Health {
    storage: Arc<dyn Storage>,
    resources: Resources,
    draining: Arc<AtomicBool>,
    /// Whether all APIServices of what is built in have been there: what users do with them later is theirs.
    is_registered: Arc<AtomicBool>,
}

/// One check's name and what it found; `None`: fine.
type Found = (&'static str, Option<String>);

impl Health {
    pub fn new(storage: Arc<dyn Storage>, resources: Resources) -> Self {
        Self { storage, resources, draining: Arc::default(), is_registered: Arc::default() }
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
            "livez" | "healthz" => &["ping", "etcd", "watch-cache-feed"],
            "readyz" => &["ping", "etcd", "watch-cache-feed", "watch-cache", "autoregister-completion", "shutdown"],
            _ => return None,
        };
        let mut found: Vec<Found> = Vec::new();
        for name in names.iter().filter(|n| one.is_none_or(|o| o == **n) && !excluded.contains(*n)) {
            found.push((name, self.check(name).await));
        }
        if found.is_empty() && one.is_some() {
            return None;
        }
        let strangers: Vec<&str> = excluded.iter().copied().filter(|e| !names.contains(e)).collect();
        Some(report(endpoint, &found, &strangers, verbose))
    }

    async fn check(&self, name: &str) -> Option<String> {
        match name {
            "etcd" => in_time(self.storage.current_revision()).await,
            // One that only a restart helps.
            "watch-cache-feed" => self.resources.is_dead().then(|| "the feed of the watch cache has ended".to_owned()),
            // A cache that stands still while etcd goes on serves nobody.
            "watch-cache" => in_time(self.resources.catch_up()).await,
            "autoregister-completion" => self.unregistered(),
            "shutdown" if self.is_draining() => Some("process is shutting down".to_owned()),
            _ => None,
        }
    }

    fn unregistered(&self) -> Option<String> {
        if self.is_registered.load(Ordering::Acquire) {
            return None;
        }
        let why = missing(&self.resources.missing_api_services());
        self.is_registered.store(why.is_none(), Ordering::Release);
        why
    }
}

/// Names of what is built in and has no APIService yet.
fn missing(names: &[String]) -> Option<String> {
    if names.is_empty() { None } else { Some(format!("missing APIService: [{}]", names.join(" "))) }
}

async fn in_time<T, E: std::fmt::Display>(asked: impl Future<Output = Result<T, E>>) -> Option<String> {
    match tokio::time::timeout(CHECK_DEADLINE, asked).await {
        Ok(Ok(_)) => None,
        Ok(Err(err)) => Some(err.to_string()),
        Err(_) => Some(format!("no answer within {CHECK_DEADLINE:?}")),
    }
}

/// `strangers`: what was excluded and is no check.
fn report(endpoint: &str, found: &[Found], strangers: &[&str], verbose: bool) -> Response<Body> {
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
    if !strangers.is_empty() {
        let quoted: Vec<String> = strangers.iter().map(|s| format!("{s:?}")).collect();
        text += &format!("warn: some health checks cannot be excluded: no matches for {}\n", quoted.join(","));
    }
    text += &format!("{endpoint} check {}\n", if healthy { "passed" } else { "failed" });
    respond::text(if healthy { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::registry::Registry;
    use crate::resources::testing::settings;
    use crate::storage::Write;
    use crate::storage::flaky::Flaky;

    #[tokio::test]
    async fn readiness_tells_of_a_store_that_is_away_and_of_a_cache_that_stands_still() {
        let store = Arc::new(Flaky::default());
        let settings = settings();
        let resources = Resources::start(store.clone(), Registry::default(), settings).await.unwrap();
        let health = Health::new(store.clone(), resources);
        let ready = async || {
            let response = health.serve("/readyz", true, &[]).await.unwrap();
            let code = response.status().as_u16();
            let Body::Whole(Some(text)) = response.into_body() else { panic!("a whole body") };
            (code, String::from_utf8(text.to_vec()).unwrap())
        };
        let names = ["ping", "etcd", "watch-cache-feed", "watch-cache", "autoregister-completion", "shutdown"];
        let fine: String = names.iter().map(|name| format!("[+]{name} ok\n")).collect();
        assert_eq!(ready().await, (200, format!("{fine}readyz check passed\n")));
        store.set_away(true);
        let (code, text) = ready().await;
        assert!(code == 500 && text.contains("[-]etcd failed: the store does not answer"), "{text}");
        let alive = async |excluded: &[&str]| health.serve("/livez", false, excluded).await.unwrap().status().as_u16();
        assert_eq!((alive(&[]).await, alive(&["etcd"]).await), (500, 200), "as upstream");
        store.set_away(false);
        store.cut();
        let key = "/registry/configmaps/default/x".to_owned();
        let value = r#"{"metadata":{"name":"x"}}"#.into();
        store.commit(vec![Write::Create { key, value, ttl_secs: None }]).await.unwrap();
        let (code, text) = ready().await;
        assert!(code == 500 && text.contains("[+]etcd ok\n[+]watch-cache-feed ok\n[-]watch-cache failed"), "{text}");
        assert_eq!(alive(&[]).await, 200, "a restart would not help");
        store.mend();
        health.begin_draining();
        assert!(ready().await.1.contains("[-]shutdown failed: process is shutting down"));
    }

    #[test]
    fn what_has_no_apiservice_yet_is_named() {
        assert_eq!(missing(&[]), None);
        let names = ["v1.apps".to_owned(), "v1.batch".to_owned()];
        assert_eq!(missing(&names).as_deref(), Some("missing APIService: [v1.apps v1.batch]"));
    }

    #[tokio::test]
    async fn liveness_tells_of_a_feed_that_has_ended() {
        let store = Arc::new(Flaky::default());
        let settings = settings();
        let resources = Resources::start(store.clone(), Registry::default(), settings).await.unwrap();
        let health = Health::new(store.clone(), resources.clone());
        store.panic_when_watched();
        store.cut();
        let ended = async {
            while !resources.is_dead() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the feed ends");
        for endpoint in ["/livez", "/healthz", "/readyz", "/livez/watch-cache-feed"] {
            let response = health.serve(endpoint, false, &[]).await.unwrap();
            assert_eq!(response.status(), 500, "{endpoint}");
        }
        assert_eq!(health.serve("/livez/ping", false, &[]).await.unwrap().status(), 200);
    }

    #[test]
    fn reports() {
        let fine: [Found; 1] = [("ping", None)];
        assert_eq!(report("livez", &fine, &[], false).status(), 200);
        let verbose = report("readyz", &fine, &["etdc"], true);
        let Body::Whole(Some(text)) = verbose.into_body() else { panic!("a whole body") };
        let warned = "warn: some health checks cannot be excluded: no matches for \"etdc\"";
        assert_eq!(text, format!("[+]ping ok\n{warned}\nreadyz check passed\n"));
        let bad: [Found; 2] = [("ping", None), ("etcd", Some("gone".into()))];
        let response = report("readyz", &bad, &[], false);
        assert_eq!(response.status(), 500);
        let Body::Whole(Some(text)) = response.into_body() else { panic!("a whole body") };
        assert_eq!(text, "[+]ping ok\n[-]etcd failed: gone\nreadyz check failed\n");
    }
}
