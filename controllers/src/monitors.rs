//! The metadata of all objects of all kinds, from caches that are there anyway where there are such.

use std::sync::Arc;

use corten_api::{Key, Object};
use corten_client::{CancellationToken, Change, Client};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::caches::{Caches, Shared};
use crate::kinds::{self, Kind, SeenMeta};
use crate::pods::SeenPod;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// A kind's place in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KindId(pub usize);

/// An object, whatever it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectId {
    pub kind: KindId,
    pub key: Key,
}

/// A change of an object's metadata.
#[derive(Debug)]
pub struct MetaChange {
    pub id: ObjectId,
    pub old: Option<SeenMeta>,
    /// `None`: it is gone.
    pub new: Option<SeenMeta>,
}

type Listener = Box<dyn FnMut(MetaChange) + Send>;

/// Any cache, seen as one of metadata.
trait MetaCache: Send + Sync {
    fn get(&self, key: &Key) -> Option<SeenMeta>;
    fn in_namespace(&self, namespace: &str) -> Vec<SeenMeta>;
    fn subscribe(&self, owner: &CancellationToken, kind: KindId, listener: Listener);
    fn is_synced(&self) -> bool;
    fn synced(&self) -> BoxFuture<'_, ()>;
}

struct View<T> {
    shared: Shared<T>,
    meta: fn(&T) -> SeenMeta,
}

impl<T: Send + Sync + 'static> MetaCache for View<T> {
    fn get(&self, key: &Key) -> Option<SeenMeta> {
        self.shared.get(key).map(|object| (self.meta)(&object))
    }
    fn in_namespace(&self, namespace: &str) -> Vec<SeenMeta> {
        self.shared.in_namespace(namespace).iter().map(|object| (self.meta)(object)).collect()
    }
    fn subscribe(&self, owner: &CancellationToken, kind: KindId, mut listener: Listener) {
        let meta = self.meta;
        self.shared.owned_by(owner).subscribe(move |change| {
            let (key, old, new) = match change {
                Change::Set { key, old, new } => (*key, old.map(|o| meta(o)), Some(meta(new))),
                Change::Removed { key, old } => (*key, Some(meta(old)), None),
                Change::Synced => return,
            };
            listener(MetaChange { id: ObjectId { kind, key: key.clone() }, old, new });
        });
    }
    fn is_synced(&self) -> bool {
        self.shared.is_synced()
    }
    fn synced(&self) -> BoxFuture<'_, ()> {
        self.shared.synced().boxed()
    }
}

struct Monitor {
    kind: Box<dyn Kind>,
    cache: Box<dyn MetaCache>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Monitors {
    all: Arc<[Monitor]>,
    /// Who subscribes through this handle.
    owner: CancellationToken,
}

impl Monitors {
    /// Begins to watch the kinds that `caches` does not have.
    pub fn start(client: &Client, stop: &CancellationToken, caches: &Caches) -> Self {
        let all = kinds::all().into_iter().map(|kind| {
            let cache = shared(kind.kind(), caches)
                .unwrap_or_else(|| Box::new(View { shared: kind.watch(client, stop), meta: SeenMeta::clone }));
            Monitor { kind, cache }
        });
        Self { all: all.collect(), owner: stop.clone() }
    }

    /// A handle whose listeners hear until `owner` is cancelled.
    #[must_use]
    pub fn owned_by(&self, owner: &CancellationToken) -> Self {
        Self { all: Arc::clone(&self.all), owner: owner.clone() }
    }

    pub fn ids(&self) -> impl Iterator<Item = KindId> + use<> {
        (0..self.all.len()).map(KindId)
    }
    pub fn kind(&self, id: KindId) -> &dyn Kind {
        self.all[id.0].kind.as_ref()
    }
    pub fn get(&self, id: &ObjectId) -> Option<SeenMeta> {
        self.all[id.kind.0].cache.get(&id.key)
    }
    pub fn in_namespace(&self, kind: KindId, namespace: &str) -> Vec<SeenMeta> {
        self.all[kind.0].cache.in_namespace(namespace)
    }
    /// A kind that the apiserver does not serve is complete, and empty.
    pub fn is_synced(&self, kind: KindId) -> bool {
        self.all[kind.0].cache.is_synced()
    }
    /// Whether the state of every kind is complete: who looks for an object's dependents before that misses some.
    pub fn are_synced(&self) -> bool {
        self.all.iter().all(|monitor| monitor.cache.is_synced())
    }
    /// Returns once the state of every kind is complete.
    pub async fn synced(&self) {
        for monitor in self.all.iter() {
            monitor.cache.synced().await;
        }
    }
    /// Tells `listener` of every object of every kind, and then of every change.
    pub fn subscribe(&self, listener: impl FnMut(MetaChange) + Send + Clone + 'static) {
        for (n, monitor) in self.all.iter().enumerate() {
            monitor.cache.subscribe(&self.owner, KindId(n), Box::new(listener.clone()));
        }
    }
    /// Where the object that a reference names would be; `None` for a kind that is not in the table.
    pub fn resolve(&self, namespace: &str, owner: &OwnerReference) -> Option<ObjectId> {
        let same = |m: &Monitor| m.kind.kind() == owner.kind && m.kind.api_version() == owner.api_version;
        let at = self.all.iter().position(same)?;
        let key = match self.all[at].kind.scope() {
            corten_api::Scope::Cluster => Key::cluster(owner.name.as_str()),
            corten_api::Scope::Namespaced => Key::new(namespace, owner.name.as_str()),
        };
        Some(ObjectId { kind: KindId(at), key })
    }
}

fn shared(kind: &str, caches: &Caches) -> Option<Box<dyn MetaCache>> {
    fn view<K: Object>(shared: &Shared<K>) -> Option<Box<dyn MetaCache>> {
        Some(Box::new(View { shared: shared.clone(), meta: |object: &K| SeenMeta::of(object.metadata()) }))
    }
    match kind {
        "Pod" => Some(Box::new(View { shared: Shared::clone(&caches.pods), meta: of_pod })),
        "ReplicaSet" => view(&caches.replica_sets),
        "ReplicationController" => view(&caches.replication_controllers),
        "Deployment" => view(&caches.deployments),
        "Service" => view(&caches.services),
        "Endpoints" => view(&caches.endpoints),
        "EndpointSlice" => view(&caches.endpoint_slices),
        "Namespace" => view(&caches.namespaces),
        "ServiceAccount" => view(&caches.service_accounts),
        "Node" => view(&caches.nodes),
        _ => None,
    }
}

fn of_pod(pod: &SeenPod) -> SeenMeta {
    SeenMeta {
        key: pod.key.clone(),
        uid: pod.uid.clone(),
        revision: pod.revision,
        owners: pod.owners.clone(),
        finalizers: pod.finalizers.clone(),
        deleting: pod.deleting.is_some(),
    }
}
