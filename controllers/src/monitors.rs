//! The metadata of all objects of all kinds, from caches that are there anyway where there are such.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use corten_api::{Key, Scope};
use corten_client::kinds::{ServedKinds, watch_kinds};
use corten_client::{ApiResource, CancellationToken, Client, MetadataClient};
use futures::future::join_all;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::caches::{Caches, Kept, MetaCache, Shared};
use crate::metadata::SeenMeta;

/// A kind's place among all that were ever served.
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

/// A kind, and the metadata of its objects.
struct Monitor {
    resource: ApiResource,
    /// `None`: the kind is not served any more.
    cache: Option<Arc<dyn MetaCache>>,
    /// Ends its watch, where it has one of its own.
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    /// A kind keeps its place, also while it is not served.
    monitors: Vec<Monitor>,
    /// All kinds that are served, in all versions, and whose objects they are.
    served: Vec<(ApiResource, KindId)>,
    /// The kinds that are served are known.
    is_known: bool,
}

/// Who is told of the changes of all kinds, also of those that come later. Locked before all else while kinds or subscribers
/// come: each then hears of each kind once. Listeners look into the state, so nothing is told while that is locked.
type Subscribers = Arc<Mutex<Vec<Subscriber>>>;

struct Subscriber {
    owner: CancellationToken,
    listener: Box<dyn Fn() -> Listener + Send>,
}

impl Subscriber {
    fn hear(&self, id: KindId, cache: &dyn MetaCache) {
        let mut listener = (self.listener)();
        let tell =
            move |key: &Key, old, new| listener(MetaChange { id: ObjectId { kind: id, key: key.clone() }, old, new });
        cache.subscribe(&self.owner, Box::new(tell));
    }
    fn hear_gone(&self, id: KindId, objects: &[SeenMeta]) {
        let mut listener = (self.listener)();
        for object in objects {
            let id = ObjectId { kind: id, key: object.key.clone() };
            listener(MetaChange { id, old: Some(object.clone()), new: None });
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Monitors {
    state: Arc<RwLock<State>>,
    subscribers: Subscribers,
    tell: Arc<watch::Sender<u64>>,
    /// Rises whenever the kinds that are served are told anew.
    told: watch::Receiver<u64>,
    /// What has to be seen of a kind for its state to count as complete.
    needed: Arc<AtomicI64>,
    /// Who subscribes through this handle.
    owner: CancellationToken,
}

impl Monitors {
    /// To which no kind is known yet.
    pub fn new(owner: &CancellationToken) -> Self {
        let (tell, told) = watch::channel(0);
        let (state, subscribers, needed) = (Arc::default(), Arc::default(), Arc::default());
        Self { state, subscribers, tell: Arc::new(tell), told, needed, owner: owner.clone() }
    }

    /// Watches whatever kinds are served, where `caches` do not have them: kinds come and go. To be called once, when all
    /// who need a whole kind have asked for it.
    pub fn begin(&self, client: &Client, stop: &CancellationToken, caches: &Caches) {
        let follower = Follower {
            state: self.state.clone(),
            subscribers: self.subscribers.clone(),
            client: client.clone(),
            caches: caches.clone(),
            stop: stop.clone(),
            tell: Arc::clone(&self.tell),
        };
        let kinds = watch_kinds(client, stop);
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(follower.follow(kinds)).await });
    }

    /// A handle whose listeners hear until `owner` is cancelled.
    #[must_use]
    pub fn owned_by(&self, owner: &CancellationToken) -> Self {
        Self { owner: owner.clone(), ..self.clone() }
    }

    /// The kinds that are served now.
    pub fn ids(&self) -> Vec<KindId> {
        let state = self.state.read();
        let served = state.monitors.iter().enumerate().filter(|(_, monitor)| monitor.cache.is_some());
        served.map(|(n, _)| KindId(n)).collect()
    }
    /// `None`: no such kind was ever served.
    pub fn resource(&self, id: KindId) -> Option<ApiResource> {
        self.state.read().monitors.get(id.0).map(|monitor| monitor.resource.clone())
    }
    /// The kinds whose objects live in namespaces.
    pub fn namespaced(&self) -> Vec<(KindId, ApiResource)> {
        let named = self.ids().into_iter().filter_map(|id| Some((id, self.resource(id)?)));
        named.filter(|(_, resource)| resource.is_namespaced).collect()
    }
    /// Events: too many to watch, and they own nothing.
    pub fn events(&self) -> Option<ApiResource> {
        self.state.read().served.iter().map(|(resource, _)| resource).find(|r| is_event(r)).cloned()
    }
    pub fn get(&self, id: &ObjectId) -> Option<SeenMeta> {
        self.cache(id.kind)?.get(&id.key)
    }
    pub fn in_namespace(&self, kind: KindId, namespace: &str) -> Vec<SeenMeta> {
        self.cache(kind).map(|cache| cache.in_namespace(namespace)).unwrap_or_default()
    }
    fn cache(&self, id: KindId) -> Option<Arc<dyn MetaCache>> {
        self.state.read().monitors.get(id.0)?.cache.clone()
    }
    /// From now on no kind's state counts as complete that has not seen `revision`: a term begins. One kind that cannot be
    /// watched must not hold up who does not need it, so nobody waits here.
    pub fn at_least(&self, revision: i64) {
        self.needed.fetch_max(revision, Ordering::SeqCst);
    }
    fn needed(&self) -> i64 {
        self.needed.load(Ordering::SeqCst).max(1)
    }
    /// Whether the state of this kind is complete. Until it is, objects may be shown as a leader before us found them.
    pub fn is_synced(&self, id: KindId) -> bool {
        self.cache(id).is_none_or(|cache| cache.revision() >= self.needed())
    }
    /// Whether the state of every kind is complete: who looks for an object's dependents before that misses some. A kind that
    /// is not served is complete, and empty.
    pub fn are_synced(&self) -> bool {
        let (state, needed) = (self.state.read(), self.needed());
        state.is_known && state.monitors.iter().filter_map(|m| m.cache.as_ref()).all(|cache| cache.revision() >= needed)
    }
    /// Returns once the state of every kind is complete.
    pub async fn synced(&self) {
        let mut told = self.told.clone();
        loop {
            told.borrow_and_update();
            let (is_known, caches) = {
                let state = self.state.read();
                (state.is_known, state.monitors.iter().filter_map(|m| m.cache.clone()).collect::<Vec<_>>())
            };
            tokio::select! {
                _ = join_all(caches.iter().map(|cache| cache.catch_up(self.needed()))), if is_known => return,
                // Other kinds are served now.
                Ok(()) = told.changed() => {}
                // Nobody tells any more: the program ends.
                else => std::future::pending().await,
            }
        }
    }
    /// Tells `listener` of every object of every kind, and then of every change.
    pub fn subscribe(&self, listener: impl FnMut(MetaChange) + Send + Clone + 'static) {
        let subscriber =
            Subscriber { owner: self.owner.clone(), listener: Box::new(move || Box::new(listener.clone())) };
        let mut subscribers = self.subscribers.lock();
        subscribers.retain(|subscriber| !subscriber.owner.is_cancelled());
        for id in self.ids() {
            if let Some(cache) = self.cache(id) {
                subscriber.hear(id, &*cache);
            }
        }
        subscribers.push(subscriber);
    }
    /// Where the object that a reference names would be; `None` for a kind that is not served.
    pub fn resolve(&self, namespace: &str, owner: &OwnerReference) -> Option<ObjectId> {
        let (resource, kind) = self.find(&owner.api_version, &owner.kind)?;
        let key = match resource.scope() {
            Scope::Cluster => Key::cluster(owner.name.as_str()),
            Scope::Namespaced => Key::new(namespace, owner.name.as_str()),
        };
        Some(ObjectId { kind, key })
    }
    /// The kind that an object names another's by, if it is served in any version.
    pub fn served(&self, api_version: &str, kind: &str) -> Option<ApiResource> {
        self.find(api_version, kind).map(|(resource, _)| resource)
    }
    /// Whether somebody has told which kinds are served.
    pub fn are_kinds_known(&self) -> bool {
        self.state.read().is_known
    }
    /// The kind that has this plural, if it is served in any version.
    pub fn named(&self, group: &str, plural: &str) -> Option<(ApiResource, KindId)> {
        let state = self.state.read();
        let mut served = state.served.iter();
        served.find(|(resource, _)| *resource.plural == *plural && *resource.group == *group).cloned()
    }
    /// All objects of the kind, once they are known as of `revision` or later. `None`: nobody watches them.
    pub async fn all_at(&self, id: KindId, revision: i64) -> Option<Vec<SeenMeta>> {
        let cache = self.cache(id)?;
        cache.catch_up(revision.max(self.needed())).await;
        Some(cache.all())
    }
    /// A kind is the same in whatever version it is named.
    fn find(&self, api_version: &str, kind: &str) -> Option<(ApiResource, KindId)> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let state = self.state.read();
        let mut served = state.served.iter();
        served.find(|(resource, _)| *resource.kind == *kind && *resource.group == *group).cloned()
    }
}

fn is_event(resource: &ApiResource) -> bool {
    &*resource.plural == "events" && matches!(&*resource.group, "" | "events.k8s.io")
}

/// Begins and ends monitors as kinds come and go.
struct Follower {
    state: Arc<RwLock<State>>,
    subscribers: Subscribers,
    client: Client,
    caches: Caches,
    stop: CancellationToken,
    tell: Arc<watch::Sender<u64>>,
}

/// A kind that came or went.
type Turned = (KindId, Arc<dyn MetaCache>);

impl Follower {
    async fn follow(self, mut kinds: watch::Receiver<ServedKinds>) {
        loop {
            let served = kinds.borrow_and_update().clone();
            if let Some(served) = served {
                self.take(&served);
                self.tell.send_modify(|times| *times += 1);
            }
            if kinds.changed().await.is_err() {
                return;
            }
        }
    }

    /// Watches what is served now, and no more than that.
    fn take(&self, served: &[ApiResource]) {
        let mut subscribers = self.subscribers.lock();
        subscribers.retain(|subscriber| !subscriber.owner.is_cancelled());
        let (begun, gone) = self.turn(served);
        for subscriber in subscribers.iter() {
            begun.iter().for_each(|(id, cache)| subscriber.hear(*id, &**cache));
            gone.iter().for_each(|(id, cache)| subscriber.hear_gone(*id, &cache.all()));
        }
    }

    fn turn(&self, served: &[ApiResource]) -> (Vec<Turned>, Vec<Turned>) {
        let mut state = self.state.write();
        let State { monitors, served: known, is_known } = &mut *state;
        (*is_known, *known) = (true, Vec::new());
        let mut begun = Vec::new();
        for resource in served {
            // Objects that are served in several versions are watched in the first.
            let at = monitors.iter().position(|m| m.resource.stored_as == resource.stored_as).unwrap_or_else(|| {
                let stop = CancellationToken::new();
                monitors.push(Monitor { resource: resource.clone(), cache: None, stop });
                monitors.len() - 1
            });
            known.push((resource.clone(), KindId(at)));
            if monitors[at].cache.is_none() && !is_event(resource) {
                let (cache, stop) = self.begin(resource);
                begun.push((KindId(at), cache.clone()));
                monitors[at] = Monitor { resource: resource.clone(), cache: Some(cache), stop };
            }
        }
        let mut gone = Vec::new();
        for (at, monitor) in monitors.iter_mut().enumerate() {
            if !known.iter().any(|(_, id)| id.0 == at)
                && let Some(cache) = monitor.cache.take()
            {
                monitor.stop.cancel();
                gone.push((KindId(at), cache));
            }
        }
        (begun, gone)
    }

    fn begin(&self, resource: &ApiResource) -> (Arc<dyn MetaCache>, CancellationToken) {
        let stop = self.stop.child_token();
        let cache = self.caches.metadata(&resource.group, &resource.kind).unwrap_or_else(|| {
            let watch = MetadataClient::new(&self.client, resource).watch();
            Arc::new(Shared::watch(watch, &stop, SeenMeta::keep))
        });
        (cache, stop)
    }
}
