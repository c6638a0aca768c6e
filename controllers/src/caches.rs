//! What all controllers watch, kept once, with as many listeners as there are controllers.

use std::fmt;
use std::sync::Arc;

use corten_api::k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use corten_api::k8s_openapi::api::core::v1::{
    Endpoints, Namespace, Node, Pod, ReplicationController, Service, ServiceAccount,
};
use corten_api::k8s_openapi::api::discovery::v1::EndpointSlice;
use corten_api::{Key, Object};
use corten_client::cache::IndexFunc;
use corten_client::{Cache, CancellationToken, Change, Client, Index, Watch, panics};
use parking_lot::Mutex;
use tracing::error;

use crate::pods::SeenPod;

type Tell<T> = Box<dyn FnMut(&Change<'_, T>) + Send>;

struct Listener<T> {
    /// Whose it is; once cancelled it is told nothing more.
    owner: CancellationToken,
    tell: Tell<T>,
}

type Listeners<T> = Arc<Mutex<Vec<Listener<T>>>>;

/// A cache that tells several listeners of its changes.
pub struct Shared<T> {
    cache: Cache<T>,
    listeners: Listeners<T>,
    /// Who subscribes through this handle.
    owner: CancellationToken,
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), listeners: Arc::clone(&self.listeners), owner: self.owner.clone() }
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({} objects)", self.cache.len())
    }
}

impl<T: Send + Sync + 'static> Shared<T> {
    /// Starts the watch with `reduce` making what is kept of each object.
    pub fn watch<K: Object>(
        watch: Watch<K>,
        stop: &CancellationToken,
        reduce: impl Fn(K) -> T + Send + 'static,
    ) -> Self {
        let (listeners, tell) = listeners(K::KIND);
        let cache = watch.start_reduced(stop, reduce, tell);
        Self { cache, listeners, owner: stop.clone() }
    }

    /// A handle whose listeners hear until `owner` is cancelled. One that panics cancels it: what it keeps is no
    /// longer true, so its controller has to begin anew.
    #[must_use]
    pub fn owned_by(&self, owner: &CancellationToken) -> Self {
        Self { owner: owner.clone(), ..self.clone() }
    }

    /// Tells `listener` of what is here, then of every change. It must be quick, and may hear of an object twice.
    pub fn subscribe(&self, mut listener: impl FnMut(&Change<'_, T>) + Send + 'static) {
        // No change gets past while the lock is held, so none falls between the two.
        let mut listeners = self.listeners.lock();
        for (key, new) in self.cache.entries() {
            listener(&Change::Set { key: &key, old: None, new: &new });
        }
        listeners.push(Listener { owner: self.owner.clone(), tell: Box::new(listener) });
    }
}

/// No listeners yet, and what tells them of the changes of a watch.
fn listeners<T: 'static>(kind: &'static str) -> (Listeners<T>, impl FnMut(Change<'_, T>) + Send + 'static) {
    let listeners = Listeners::default();
    let told = Arc::clone(&listeners);
    (listeners, move |change: Change<'_, T>| tell_all(kind, &mut told.lock(), &change))
}

/// Leaves out, and forgets, those whose owner is no more.
fn tell_all<T>(kind: &'static str, listeners: &mut Vec<Listener<T>>, change: &Change<'_, T>) {
    listeners.retain_mut(|listener| {
        if listener.owner.is_cancelled() {
            return false;
        }
        let told = panics::catch(kind, || (listener.tell)(change));
        if let Err(panicked) = &told {
            error!(kind, key = ?change.key(), %panicked, "a controller's listener; that controller begins anew");
            listener.owner.cancel();
        }
        told.is_ok()
    });
}

/// A cache that knows what each controller owns.
#[derive(Debug)]
pub struct ByController<T> {
    shared: Shared<T>,
    index: Index<T>,
}

impl<T> Clone for ByController<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), index: self.index.clone() }
    }
}

impl<T: Send + Sync + 'static> ByController<T> {
    /// As [`Shared::watch`]; `controller` is the uid of the owner that manages an object.
    pub fn watch<K: Object>(
        watch: Watch<K>,
        stop: &CancellationToken,
        reduce: impl Fn(K) -> T + Send + 'static,
        controller: IndexFunc<T>,
    ) -> Self {
        let (listeners, tell) = listeners(K::KIND);
        let (cache, index) = watch.start_indexed(stop, reduce, controller, tell);
        Self { shared: Shared { cache, listeners, owner: stop.clone() }, index }
    }

    /// See [`Shared::owned_by`].
    #[must_use]
    pub fn owned_by(&self, owner: &CancellationToken) -> Self {
        Self { shared: self.shared.owned_by(owner), index: self.index.clone() }
    }

    /// What this controller owns in the namespace.
    pub fn controlled_by(&self, namespace: &str, uid: &str) -> Vec<Arc<T>> {
        self.index.with(namespace, uid)
    }

    /// What this controller owns, and the orphans of the namespace, which it may adopt: all that it can be about.
    pub fn claimable_by(&self, namespace: &str, uid: &str) -> Vec<Arc<T>> {
        self.index.with_or_without(namespace, uid)
    }
}

impl<T> std::ops::Deref for ByController<T> {
    type Target = Shared<T>;
    fn deref(&self) -> &Shared<T> {
        &self.shared
    }
}

impl<T> std::ops::Deref for Shared<T> {
    type Target = Cache<T>;
    fn deref(&self) -> &Cache<T> {
        &self.cache
    }
}

/// The caches that more than one controller reads.
#[derive(Clone, Debug)]
pub struct Caches {
    pub pods: ByController<SeenPod>,
    pub replica_sets: ByController<ReplicaSet>,
    pub replication_controllers: Shared<ReplicationController>,
    pub deployments: Shared<Deployment>,
    pub services: Shared<Service>,
    pub endpoints: Shared<Endpoints>,
    pub endpoint_slices: Shared<EndpointSlice>,
    pub namespaces: Shared<Namespace>,
    pub service_accounts: Shared<ServiceAccount>,
    pub nodes: Shared<Node>,
}

impl Caches {
    pub fn start(client: &Client, stop: &CancellationToken) -> Self {
        fn whole<K: Object>(client: &Client, stop: &CancellationToken) -> Shared<K> {
            Shared::watch(Watch::<K>::all(client), stop, slim)
        }
        Self {
            pods: ByController::watch(Watch::<Pod>::all(client), stop, SeenPod::of, |pod| {
                pod.controller().map(|owner| owner.uid.as_str())
            }),
            replica_sets: ByController::watch(Watch::<ReplicaSet>::all(client), stop, slim, |set| {
                set.controller().map(|owner| owner.uid.as_str())
            }),
            replication_controllers: whole(client, stop),
            deployments: whole(client, stop),
            services: whole(client, stop),
            endpoints: whole(client, stop),
            endpoint_slices: whole(client, stop),
            namespaces: whole(client, stop),
            service_accounts: whole(client, stop),
            nodes: Shared::watch(Watch::<Node>::all(client), stop, |node| slim(without_images(node))),
        }
    }

    /// Handles whose listeners hear until `owner` is cancelled.
    #[must_use]
    pub fn owned_by(&self, owner: &CancellationToken) -> Self {
        Self {
            pods: self.pods.owned_by(owner),
            replica_sets: self.replica_sets.owned_by(owner),
            replication_controllers: self.replication_controllers.owned_by(owner),
            deployments: self.deployments.owned_by(owner),
            services: self.services.owned_by(owner),
            endpoints: self.endpoints.owned_by(owner),
            endpoint_slices: self.endpoint_slices.owned_by(owner),
            namespaces: self.namespaces.owned_by(owner),
            service_accounts: self.service_accounts.owned_by(owner),
            nodes: self.nodes.owned_by(owner),
        }
    }

    /// Whether all are complete.
    pub fn is_synced(&self) -> bool {
        self.pods.is_synced()
            && self.replica_sets.is_synced()
            && self.replication_controllers.is_synced()
            && self.deployments.is_synced()
            && self.services.is_synced()
            && self.endpoints.is_synced()
            && self.endpoint_slices.is_synced()
            && self.namespaces.is_synced()
            && self.service_accounts.is_synced()
            && self.nodes.is_synced()
    }

    /// Returns once all are complete: a controller that decides earlier would miss what is there.
    pub async fn synced(&self) {
        tokio::join!(
            self.pods.synced(),
            self.replica_sets.synced(),
            self.replication_controllers.synced(),
            self.deployments.synced(),
            self.services.synced(),
            self.endpoints.synced(),
            self.endpoint_slices.synced(),
            self.namespaces.synced(),
            self.service_accounts.synced(),
            self.nodes.synced(),
        );
    }
}

/// Without managed fields, which no controller reads and which are often the larger half of an object.
/// Never write such a copy back whole with `update` where others' managed fields matter: patch.
pub fn slim<K: Object>(mut object: K) -> K {
    object.metadata_mut().managed_fields = None;
    object
}

/// A node lists up to 50 images that only the scheduler is interested in.
fn without_images(mut node: Node) -> Node {
    if let Some(status) = &mut node.status {
        status.images = None;
    }
    node
}

/// The owner's key, if the controller of an object with these owners is a `K`.
pub fn owner_key<K: Object>(
    namespace: &str,
    controller: Option<&corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference>,
) -> Option<Key> {
    let owner = controller.filter(|o| o.kind == K::KIND && o.api_version == K::API_VERSION)?;
    Some(Key::new(namespace, owner.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_panics_ends_its_owner_alone() {
        let (bad, good, gone) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        gone.cancel();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listener = |name: &'static str, owner: &CancellationToken| {
            let heard = Arc::clone(&heard);
            let tell = move |_: &Change<'_, ()>| {
                heard.lock().push(name);
                assert_ne!(name, "bad", "on purpose");
            };
            Listener { owner: owner.clone(), tell: Box::new(tell) }
        };
        let mut listeners = vec![listener("bad", &bad), listener("gone", &gone), listener("good", &good)];
        for _ in 0..2 {
            tell_all("Test", &mut listeners, &Change::Synced);
        }
        assert_eq!(*heard.lock(), ["bad", "good", "good"]);
        assert!(bad.is_cancelled() && !good.is_cancelled());
    }
}
