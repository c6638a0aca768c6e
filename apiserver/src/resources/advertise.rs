//! The living apiservers are the endpoints of the `kubernetes` Service: each keeps a Lease for itself, and writes down
//! whom it finds alive.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use corten_api::ApiError;
use corten_api::selector::Selector;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::system::target;
use super::{Authorized, ListOptions, ReadAt, Resources, Weak, WriteOptions};
use crate::patch;

/// A Lease that has not changed for so long is that of a dead server.
const ALIVE_FOR: Duration = Duration::from_secs(15);
const RENEW_EVERY: Duration = Duration::from_secs(4);
/// A dead server's Lease is kept for a while, for people to look at.
const FORGET_AFTER: Duration = Duration::from_secs(3600);
const NAMESPACE: &str = "kube-system";
const LABEL: &str = "apiserver.kubernetes.io/identity";
const LABEL_VALUE: &str = "kube-apiserver";

pub(super) struct Advertised {
    resources: Weak,
    address: SocketAddr,
    drain: CancellationToken,
    seen: Seen,
}

/// When each server's Lease was last seen to change: by our own clock, as others' may differ.
type Seen = BTreeMap<String, (i64, Instant)>;

impl Resources {
    /// Whether no other server is written down as alive. What cannot be read does not say so.
    pub(super) fn is_alone(&self) -> bool {
        let Ok(place) = self.builtin("", "v1", "endpoints") else { return false };
        let Some(item) = place.cached.get("default/kubernetes") else { return true };
        serde_json::from_slice::<Endpoints>(&item.object()).is_ok_and(|endpoints| {
            let subsets = endpoints.subsets.iter().flatten();
            subsets.map(|subset| subset.addresses.iter().flatten().count()).sum::<usize>() <= 1
        })
    }
}

impl Advertised {
    pub(super) fn new(resources: Weak, address: SocketAddr, drain: CancellationToken) -> Self {
        Self { resources, address, drain, seen: Seen::new() }
    }

    pub(super) async fn run(mut self) {
        loop {
            let Some(resources) = self.resources.upgrade() else { return };
            let draining = self.drain.is_cancelled();
            let turn = if draining { self.withdraw(&resources).await } else { self.renew(&resources).await };
            if let Err(err) = turn {
                tracing::warn!(%err, "the endpoints of the kubernetes Service were not refreshed; again soon");
            }
            drop(resources);
            if draining {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(RENEW_EVERY) => {}
                () = self.drain.cancelled() => {}
            }
        }
    }

    fn lease_name(&self) -> String {
        let text = self.address.to_string();
        format!("apiserver-{}", text.replace(['.', ':', '[', ']'], "-").replace("--", "-"))
    }

    async fn renew(&mut self, resources: &Resources) -> Result<(), ApiError> {
        let now = Timestamp::now();
        let name = self.lease_name();
        let lease = json!({
            "metadata": {"name": name, "labels": {LABEL: LABEL_VALUE}},
            "spec": {
                "holderIdentity": self.address.to_string(),
                "leaseDurationSeconds": ALIVE_FOR.as_secs(),
                "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
            },
        });
        put(resources, "coordination.k8s.io", "leases", NAMESPACE, &lease).await?;
        self.publish(resources, None).await
    }

    /// Others need not wait until we are dead.
    async fn withdraw(&mut self, resources: &Resources) -> Result<(), ApiError> {
        self.publish(resources, Some(self.address)).await?;
        let lease = target("coordination.k8s.io", "leases", NAMESPACE, &self.lease_name());
        resources.delete(&Authorized::own(lease), DeleteOptions::default(), WriteOptions::default()).await.map(drop)
    }

    async fn publish(&mut self, resources: &Resources, without: Option<SocketAddr>) -> Result<(), ApiError> {
        let labels = Selector::parse(&format!("{LABEL}={LABEL_VALUE}")).map_err(ApiError::internal)?;
        let options = ListOptions { labels, at: ReadAt::Newest, ..ListOptions::default() };
        let leases = target("coordination.k8s.io", "leases", NAMESPACE, "");
        let rows = resources.list_items(&Authorized::own(leases), options).await?;
        let now = Instant::now();
        let mut alive = BTreeSet::new();
        for item in &rows.items {
            let (revision, since) = self.seen.entry(item.name().to_owned()).or_insert((item.revision, now));
            if *revision != item.revision {
                (*revision, *since) = (item.revision, now);
            }
            let quiet = now.duration_since(*since);
            if quiet > FORGET_AFTER {
                let lease = target("coordination.k8s.io", "leases", NAMESPACE, item.name());
                resources.delete(&Authorized::own(lease), DeleteOptions::default(), WriteOptions::default()).await?;
            } else if quiet <= ALIVE_FOR {
                let lease: Lease = serde_json::from_slice(&item.object()).map_err(ApiError::internal)?;
                alive.extend(lease.spec.and_then(|s| s.holder_identity).and_then(|a| a.parse::<SocketAddr>().ok()));
            }
        }
        self.seen.retain(|name, _| rows.items.iter().any(|i| i.name() == name));
        alive.retain(|address| Some(*address) != without);
        // With no server left, the last one stays written: a client that tries it loses nothing.
        if alive.is_empty() {
            return Ok(());
        }
        put(resources, "", "endpoints", "default", &endpoints(&alive)).await?;
        put(resources, "discovery.k8s.io", "endpointslices", "default", &slice(&alive, self.address.port())).await
    }
}

/// Makes it so; an equal object is not written.
async fn put(
    resources: &Resources,
    group: &str,
    plural: &str,
    namespace: &str,
    object: &Value,
) -> Result<(), ApiError> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let collection = target(group, plural, namespace, "");
    resources.make(&collection, object.clone()).await?;
    let json = Bytes::from(object.to_string());
    let one = target(group, plural, namespace, name);
    let done = resources.patch(&Authorized::own(one), patch::Kind::Merge, json, WriteOptions::default()).await;
    done.map(drop)
}

fn endpoints(alive: &BTreeSet<SocketAddr>) -> Value {
    let ports: BTreeSet<u16> = alive.iter().map(SocketAddr::port).collect();
    let subset = |port: &u16| {
        let addresses: Vec<Value> =
            alive.iter().filter(|a| a.port() == *port).map(|a| json!({"ip": a.ip().to_string()})).collect();
        json!({"addresses": addresses, "ports": [{"name": "https", "port": port, "protocol": "TCP"}]})
    };
    let subsets: Vec<Value> = ports.iter().map(subset).collect();
    let labels = json!({"endpointslice.kubernetes.io/skip-mirror": "true"});
    json!({"metadata": {"name": "kubernetes", "labels": labels}, "subsets": subsets})
}

/// One slice has one set of ports: servers that listen on others are in Endpoints alone.
fn slice(alive: &BTreeSet<SocketAddr>, port: u16) -> Value {
    let endpoint = |a: &SocketAddr| json!({"addresses": [a.ip().to_string()], "conditions": {"ready": true}});
    let endpoints: Vec<Value> = alive.iter().filter(|a| a.port() == port).map(endpoint).collect();
    json!({
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": if alive.iter().all(SocketAddr::is_ipv4) { "IPv4" } else { "IPv6" },
        "endpoints": endpoints,
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    })
}
