//! What the scheduler watches of the cluster, and which of it changed since it looked last.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use corten_api::selector::{Labels, Selector};
use corten_api::{Key, Object};
use corten_client::{Cache, CancellationToken, Client, Watch};
use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{
    Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController, Service,
};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::{CSINode, StorageClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::warn;

use crate::core::Core;
use crate::pod::{Classes, PodInfo};
use crate::snapshot::Budget;
use crate::snapshot::volumes::{self, Claim, Class, Limits, Volume};

/// Bounded by what exists.
#[derive(Debug)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct Cluster {
    pods: Cache<PodInfo>,
    nodes: Cache<Node>,
    namespaces: Cache<Labels>,
    budgets: Cache<Option<Budget>>,
    claims: Cache<Claim>,
    volumes: Cache<Volume>,
    storage_classes: Cache<Class>,
    csi_nodes: Cache<Limits>,
    services: Cache<Option<Labels>>,
    replica_sets: Cache<Option<Selector>>,
    stateful_sets: Cache<Option<Selector>>,
    replication_controllers: Cache<Option<Selector>>,
    changes: Arc<Changes>,
}

/// In the order in which their changes are taken in: what decisions on a pod depend on comes before the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Namespace,
    Budget,
    StorageClass,
    CsiNode,
    Volume,
    Claim,
    Service,
    ReplicaSet,
    StatefulSet,
    ReplicationController,
    Node,
    Pod,
}

#[derive(Debug, Default)]
struct Changes {
    dirty: Mutex<Dirty>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Dirty {
    keys: HashSet<(Kind, Key)>,
    /// Who stands by notes nothing: at the beginning of a term all is looked at, and until then what goes again would gather.
    leads: bool,
    /// Whether changes were ever taken in. Until the cluster is known they wait for good reason.
    begun: bool,
    /// When the first of these changes came, since the scheduler has begun.
    since: Option<tokio::time::Instant>,
}

impl Changes {
    fn mark(&self, kind: Kind, key: &Key) {
        let mut dirty = self.dirty.lock();
        if !dirty.leads {
            return;
        }
        dirty.keys.insert((kind, key.clone()));
        if dirty.begun {
            dirty.since.get_or_insert_with(tokio::time::Instant::now);
        }
        drop(dirty);
        self.notify.notify_one();
    }
    fn take(&self) -> Dirty {
        let mut dirty = self.dirty.lock();
        let next = Dirty { leads: dirty.leads, begun: true, ..Dirty::default() };
        std::mem::replace(&mut *dirty, next)
    }
    /// From now on changes are noted, or not any more; those of before are forgotten.
    fn lead(&self, leads: bool) {
        *self.dirty.lock() = Dirty { leads, ..Dirty::default() };
    }
    fn mark_all<T>(&self, kind: Kind, cache: &Cache<T>) {
        cache.keys().iter().for_each(|key| self.mark(kind, key));
    }
    fn waiting_since(&self) -> Option<tokio::time::Instant> {
        self.dirty.lock().since
    }
}

/// What the watches have in common.
struct Watches<'a> {
    client: &'a Client,
    stop: &'a CancellationToken,
    changes: &'a Arc<Changes>,
}

impl Watches<'_> {
    fn of<K: Object, T: Send + Sync + 'static>(
        &self,
        kind: Kind,
        reduce: impl Fn(K) -> T + Send + 'static,
    ) -> Cache<T> {
        let changes = Arc::clone(self.changes);
        Watch::<K>::all(self.client).start_reduced(self.stop, reduce, move |change| {
            if let Some(key) = change.key() {
                changes.mark(kind, key);
            }
        })
    }
}

impl Cluster {
    pub(crate) fn watch(client: &Client, stop: &CancellationToken) -> Self {
        let changes = Arc::new(Changes::default());
        let watches = Watches { client, stop, changes: &changes };
        let classes = Classes::default();
        Self {
            pods: watches.of(Kind::Pod, move |pod: Pod| PodInfo::of(&pod, &classes)),
            nodes: watches.of(Kind::Node, without_bulk),
            namespaces: watches.of(Kind::Namespace, |ns: Namespace| ns.metadata.labels.unwrap_or_default()),
            budgets: watches.of(Kind::Budget, budget),
            claims: watches.of(Kind::Claim, |claim: PersistentVolumeClaim| Claim::of(&claim)),
            volumes: watches.of(Kind::Volume, |volume: PersistentVolume| Volume::of(&volume)),
            storage_classes: watches.of(Kind::StorageClass, |class: StorageClass| Class::of(&class)),
            csi_nodes: watches.of(Kind::CsiNode, |node: CSINode| volumes::limits(&node)),
            services: watches.of(Kind::Service, |service: Service| service.spec.and_then(|s| s.selector)),
            replica_sets: watches.of(Kind::ReplicaSet, |rs: ReplicaSet| selector(&rs, Some(&rs.spec.selector))),
            stateful_sets: watches.of(Kind::StatefulSet, |set: StatefulSet| selector(&set, Some(&set.spec.selector))),
            replication_controllers: watches.of(Kind::ReplicationController, |rc: ReplicationController| {
                Some(Selector::from_labels(rc.spec.and_then(|spec| spec.selector).as_ref()))
            }),
            changes,
        }
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.pods.is_synced()
            && self.nodes.is_synced()
            && self.namespaces.is_synced()
            && self.budgets.is_synced()
            && self.claims.is_synced()
            && self.volumes.is_synced()
            && self.storage_classes.is_synced()
            && self.csi_nodes.is_synced()
            && self.services.is_synced()
            && self.replica_sets.is_synced()
            && self.stateful_sets.is_synced()
            && self.replication_controllers.is_synced()
    }
    /// The kinds that have not seen `revision` yet.
    pub(crate) fn lagging(&self, revision: i64) -> Vec<&'static str> {
        let all = [
            ("Pod", self.pods.revision()),
            ("Node", self.nodes.revision()),
            ("Namespace", self.namespaces.revision()),
            ("PodDisruptionBudget", self.budgets.revision()),
            ("PersistentVolumeClaim", self.claims.revision()),
            ("PersistentVolume", self.volumes.revision()),
            ("StorageClass", self.storage_classes.revision()),
            ("CSINode", self.csi_nodes.revision()),
            ("Service", self.services.revision()),
            ("ReplicaSet", self.replica_sets.revision()),
            ("StatefulSet", self.stateful_sets.revision()),
            ("ReplicationController", self.replication_controllers.revision()),
        ];
        all.into_iter().filter(|(_, seen)| *seen < revision).map(|(kind, _)| kind).collect()
    }
    /// Returns once everything has seen `revision`, which is there already.
    pub(crate) async fn catch_up(&self, revision: i64) {
        tokio::join!(
            self.pods.catch_up(revision),
            self.nodes.catch_up(revision),
            self.namespaces.catch_up(revision),
            self.budgets.catch_up(revision),
            self.claims.catch_up(revision),
            self.volumes.catch_up(revision),
            self.storage_classes.catch_up(revision),
            self.csi_nodes.catch_up(revision),
            self.services.catch_up(revision),
            self.replica_sets.catch_up(revision),
            self.stateful_sets.catch_up(revision),
            self.replication_controllers.catch_up(revision),
        );
    }
    /// A term begins: all that is there counts as changed, for a core that knows nothing yet, and what changes from now on.
    /// Ends when what this returns is dropped.
    pub(crate) fn lead(self: &Arc<Self>) -> Leads {
        // Before the look at what is there: nothing falls between the two.
        self.changes.lead(true);
        self.changes.mark_all(Kind::Namespace, &self.namespaces);
        self.changes.mark_all(Kind::Budget, &self.budgets);
        self.changes.mark_all(Kind::StorageClass, &self.storage_classes);
        self.changes.mark_all(Kind::CsiNode, &self.csi_nodes);
        self.changes.mark_all(Kind::Volume, &self.volumes);
        self.changes.mark_all(Kind::Claim, &self.claims);
        self.changes.mark_all(Kind::Service, &self.services);
        self.changes.mark_all(Kind::ReplicaSet, &self.replica_sets);
        self.changes.mark_all(Kind::StatefulSet, &self.stateful_sets);
        self.changes.mark_all(Kind::ReplicationController, &self.replication_controllers);
        self.changes.mark_all(Kind::Node, &self.nodes);
        self.changes.mark_all(Kind::Pod, &self.pods);
        Leads(Arc::clone(self))
    }

    pub(crate) fn pod(&self, key: &Key) -> Option<Arc<PodInfo>> {
        self.pods.get(key)
    }
    /// Returns when something has changed since the changes were last taken.
    pub(crate) async fn changed(&self) {
        self.changes.notify.notified().await;
    }
    pub(crate) fn waiting_since(&self) -> Option<tokio::time::Instant> {
        self.changes.waiting_since()
    }

    /// Tells the core of everything that changed.
    pub(crate) fn take_changes(&self, core: &mut Core, now: Instant) {
        let mut keys: Vec<(Kind, Key)> = self.changes.take().keys.into_iter().collect();
        keys.sort_unstable();
        for (kind, key) in keys {
            match kind {
                Kind::Namespace => core.namespace_changed(&key.name, self.namespaces.get(&key).as_deref()),
                Kind::Budget => {
                    core.budget_changed(&key, self.budgets.get(&key).as_deref().and_then(Option::as_ref));
                }
                Kind::StorageClass => core.storage_class_changed(&key.name, self.storage_classes.get(&key).as_deref()),
                Kind::CsiNode => core.volume_limits_changed(&key.name, self.csi_nodes.get(&key).as_deref()),
                Kind::Volume => core.volume_changed(&key.name, self.volumes.get(&key).as_deref()),
                Kind::Claim => core.claim_changed(&key, self.claims.get(&key).as_deref()),
                Kind::Service => {
                    core.service_changed(&key, self.services.get(&key).as_deref().and_then(Option::as_ref));
                }
                Kind::ReplicaSet => tell_of_controller(core, "ReplicaSet", &key, &self.replica_sets),
                Kind::StatefulSet => tell_of_controller(core, "StatefulSet", &key, &self.stateful_sets),
                Kind::ReplicationController => {
                    tell_of_controller(core, "ReplicationController", &key, &self.replication_controllers);
                }
                Kind::Node => core.node_changed(&key.name, self.nodes.get(&key).as_deref()),
                Kind::Pod => core.pod_changed(&key, self.pods.get(&key).as_deref(), now),
            }
        }
    }
}

/// A term in which changes are noted, until this is dropped.
pub(crate) struct Leads(Arc<Cluster>);

impl Drop for Leads {
    fn drop(&mut self) {
        self.0.changes.lead(false);
    }
}

fn tell_of_controller(core: &mut Core, kind: &str, key: &Key, cache: &Cache<Option<Selector>>) {
    core.controller_changed(kind, key, cache.get(key).as_deref().and_then(Option::as_ref));
}

/// The apiserver refuses a selector that does not mean anything: nobody is spread by one, or protected.
fn selector<K: Object>(of: &K, selector: Option<&LabelSelector>) -> Option<Selector> {
    match Selector::from_label_selector(selector) {
        Ok(selector) => Some(selector),
        Err(err) => {
            warn!(kind = K::KIND, key = %of.key(), %err, "its selector is not valid");
            None
        }
    }
}

fn budget(budget: PodDisruptionBudget) -> Option<Budget> {
    let selector = selector(&budget, budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()))?;
    let status = budget.status.unwrap_or_default();
    let disrupted = status.disrupted_pods.unwrap_or_default().into_keys().collect();
    Some(Budget { selector, disruptions_allowed: status.disruptions_allowed.unwrap_or(0).into(), disrupted })
}

/// A Node without what no plugin looks at: it is kept for as long as the node lives.
fn without_bulk(mut node: Node) -> Node {
    node.metadata.managed_fields = None;
    node.metadata.annotations = None;
    if let Some(status) = &mut node.status {
        status.conditions = None;
        status.node_info = None;
    }
    node
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::cycle::Decision;

    const NODES: usize = 1_500;
    const PODS_OF_NODE: usize = 100;

    #[test]
    fn kinds_that_were_never_seen_lag_behind_every_revision() {
        let cluster = Cluster::default();
        assert_eq!(cluster.lagging(0), Vec::<&str>::new());
        assert_eq!((cluster.lagging(1).len(), cluster.lagging(1)[0]), (12, "Pod"));
    }

    /// The nodes are full with the pods that the leader before has placed, and one more waits.
    fn full_cluster() -> Cluster {
        let node = |n: usize| {
            let (name, allocatable) = (format!("n{n}"), json!({"pods": PODS_OF_NODE.to_string()}));
            let node = json!({"metadata": {"name": name}, "status": {"allocatable": allocatable}});
            (Key::cluster(name), serde_json::from_value::<Node>(node).unwrap())
        };
        let open = json!({"metadata": {"name": "open", "namespace": "ns", "uid": "open"},
            "spec": {"schedulerName": "me", "containers": [{"name": "c"}]}});
        let open = PodInfo::of(&serde_json::from_value(open).unwrap(), &Classes::default());
        let placed = |n: usize| {
            let (key, node) = (Key::new("ns", format!("p{n}")), Some(format!("n{}", n % NODES)));
            PodInfo { uid: key.name.clone(), key, node, pending: None, ..open.clone() }
        };
        let pods = (0..NODES * PODS_OF_NODE).map(placed).chain([open.clone()]);
        Cluster {
            pods: Cache::holding(pods.map(|pod| (pod.key.clone(), pod))),
            nodes: Cache::holding((0..NODES).map(node)),
            ..Cluster::default()
        }
    }

    #[test]
    fn each_term_begins_with_all_that_the_caches_have() {
        let cluster = Arc::new(full_cluster());
        for _term in 0..2 {
            let leads = cluster.lead();
            let (mut core, now) = (Core::named("me"), Instant::now());
            cluster.take_changes(&mut core, now);
            let open = core.next(now).unwrap();
            let decision = core.decide(&open, cluster.pod(&open).as_deref(), now);
            assert!(matches!(decision, Some(Decision::Refuse { .. })), "{decision:?}");
            drop(leads);
            assert!(cluster.changes.take().keys.is_empty(), "another leads");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn changes_wait_since_the_first_of_them_once_the_scheduler_has_begun() {
        let (changes, start) = (Changes::default(), tokio::time::Instant::now());
        let turn = || tokio::time::advance(Duration::from_secs(1));
        let mark = |name| changes.mark(Kind::Pod, &Key::new("default", name));
        mark("before");
        changes.lead(true);
        mark("a");
        assert_eq!(changes.waiting_since(), None, "the cluster is not known yet");
        turn().await;
        assert_eq!(changes.take().keys.len(), 1);
        assert_eq!(changes.waiting_since(), None);
        turn().await;
        mark("b");
        turn().await;
        mark("c");
        assert_eq!(changes.waiting_since(), Some(start + Duration::from_secs(2)));
        assert_eq!(changes.take().keys.len(), 2);
        assert_eq!(changes.waiting_since(), None, "all are taken up");
        mark("d");
        changes.lead(false);
        mark("e");
        assert_eq!((changes.waiting_since(), changes.take().keys.len()), (None, 0), "another leads");
    }
}
