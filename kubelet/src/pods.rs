//! The pods of this node: which workers there are, what each is told, and what is taken over at the start.

mod admit;
mod allocation;
mod allocations;
mod mirrors;
mod resize;
mod sweep;
mod table;
mod tiers;
mod watched;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use corten_api::{Key, Object as _};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::mpsc;
use tokio::task::{self, JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::place::Place;
use crate::pod::size::Share;
use crate::pod::step::FoundPod;
use crate::pod::worker::{self, Beginning, Handle, Msg};
use crate::pod::{inventory, status};
use crate::runtime::{Event, Inventory};
use crate::static_pods;

pub use table::Table;

/// How often everything is compared with the runtime, in case an event was missed.
pub(crate) const COMPARE_EVERY: Duration = Duration::from_secs(60);
/// Between tries to list what the runtime holds, at the start.
const RUNTIME_RETRY: Duration = Duration::from_millis(100);
/// Orders to the manager that wait.
const INBOX: usize = 1024;

/// What the manager is told.
pub enum News {
    /// The pod of the API as it is now, `None` if it is gone.
    Api { key: Key, pod: Option<Arc<Pod>> },
    /// All pods that the API has for this node are known now.
    ApiSynced,
    /// All pods of the API, after changes could not be told one by one. What is not among them is gone.
    ApiAll(Vec<(Key, Arc<Pod>)>),
    /// The pods of the static pod directory, all of them.
    Static(Vec<Pod>),
    /// A ConfigMap or Secret changed.
    SourceChanged { namespace: String, reference: crate::sources::SourceRef },
}

/// What the manager takes up next.
enum Woken {
    Runtime(Event),
    News(News),
    WorkerEnded(Result<(task::Id, ()), task::JoinError>),
    Compare,
}

/// Where pods come from. Until all of them have spoken nobody can say that a pod is wanted by none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodSources {
    Api,
    ApiAndFiles,
}

/// Starts the manager. It ends only with `stop`: if it does so otherwise, the
/// kubelet must start anew.
pub fn start(
    place: &Arc<Place>,
    table: &Table,
    sources: PodSources,
    stop: &CancellationToken,
) -> (mpsc::Sender<News>, JoinHandle<()>) {
    let (tx, rx) = mpsc::channel(INBOX);
    let manager = Manager {
        place: Arc::clone(place),
        table: table.clone(),
        found: BTreeMap::new(),
        api: HashMap::new(),
        statics: HashMap::new(),
        api_unheard: true,
        statics_unheard: sources == PodSources::ApiAndFiles,
        workers: JoinSet::new(),
        uids: HashMap::new(),
        died: BTreeSet::new(),
        allocations: allocations::Allocations::default(),
        waiting: HashMap::new(),
        waited: 0,
        watched: watched::Watched::new(&tx),
        tiers: tiers::Tiers::start(place),
    };
    let stop = stop.clone();
    let running = tokio::spawn(async move {
        stop.run_until_cancelled_owned(manager.run(rx)).await;
    });
    (tx, running)
}

struct Manager {
    place: Arc<Place>,
    table: Table,
    /// What the runtime held at the start and nobody has claimed yet, by uid.
    found: BTreeMap<String, inventory::Found>,
    /// The pods of the API, mirrors too.
    api: HashMap<Key, Arc<Pod>>,
    /// Static pods, by the key of their mirrors.
    statics: HashMap<Key, Arc<Pod>>,
    api_unheard: bool,
    statics_unheard: bool,
    /// The tasks of the workers: they end with the manager, and what runs goes on running.
    workers: JoinSet<()>,
    /// Whose task it is.
    uids: HashMap<task::Id, String>,
    /// Pods whose worker's task died. Until the next comparison they keep their place in the table.
    died: BTreeSet<String>,
    allocations: allocations::Allocations,
    /// Pods that ask for what they were not given, by uid.
    waiting: HashMap<String, resize::Waiting>,
    /// How often one had to wait.
    waited: u64,
    watched: watched::Watched,
    tiers: tiers::Tiers,
}

impl Manager {
    async fn run(mut self, mut news: mpsc::Receiver<News>) {
        // First the events, then the list: nothing is missed between them.
        let mut events = self.place.runtime.events();
        let beginning = self.table.begin_turn();
        self.found = inventory::by_pod(&self.list_patiently().await);
        self.fill_addresses().await;
        drop(beginning);
        let mut compare_at = Instant::now() + COMPARE_EVERY;
        loop {
            self.table.compares_at(compare_at);
            let woken = tokio::select! {
                Some(event) = events.next() => Woken::Runtime(event),
                told = news.recv() => match told {
                    Some(told) => Woken::News(told),
                    None => return,
                },
                Some(ended) = self.workers.join_next_with_id() => Woken::WorkerEnded(ended),
                () = tokio::time::sleep_until(compare_at) => Woken::Compare,
            };
            let _under_way = self.table.begin_turn();
            match woken {
                Woken::Runtime(event) => self.runtime_event(event).await,
                Woken::News(told) => self.take(told).await,
                Woken::WorkerEnded(ended) => {
                    self.task_ended(ended);
                    self.judge_again().await;
                }
                Woken::Compare => {
                    self.compare().await;
                    compare_at = Instant::now() + COMPARE_EVERY;
                }
            }
        }
    }

    async fn list_patiently(&self) -> Inventory {
        let mut said = false;
        loop {
            match self.place.runtime.list().await {
                Ok(inventory) => return inventory,
                Err(err) => {
                    if !said {
                        warn!(%err, "waiting for the runtime");
                        said = true;
                    }
                    tokio::time::sleep(RUNTIME_RETRY).await;
                }
            }
        }
    }

    /// The runtime does not know the addresses of what it holds; the network does.
    async fn fill_addresses(&mut self) {
        let attached = match self.place.network.list().await {
            Ok(list) => list,
            Err(err) => {
                warn!(%err, "cannot list the addresses of pods");
                Vec::new()
            }
        };
        for (uid, found) in &mut self.found {
            inventory::fill_addresses(&mut found.pod, uid, &attached, &self.place.facts.addresses);
        }
    }

    async fn take(&mut self, told: News) {
        match told {
            News::Api { key, pod } => self.api_pod(key, pod).await,
            News::ApiSynced => {
                let first = std::mem::take(&mut self.api_unheard);
                self.heard_of_all(first).await;
            }
            News::ApiAll(pods) => self.api_pods(pods).await,
            News::Static(pods) => {
                let first = std::mem::take(&mut self.statics_unheard);
                self.static_pods(pods).await;
                self.heard_of_all(first).await;
            }
            News::SourceChanged { namespace, reference } => {
                for handle in self.table.handles() {
                    let pod = Arc::clone(&handle.shared.pod.read());
                    if pod.namespace() == namespace && crate::sources::in_volumes(&pod).contains(&reference) {
                        tell(&handle, Msg::SourcesChanged).await;
                    }
                }
            }
        }
    }

    /// Once every source of pods has spoken, what is left of others can go.
    async fn heard_of_all(&mut self, first: bool) {
        if first && !self.api_unheard && !self.statics_unheard {
            self.stop_orphans();
            self.judge_again().await;
            let wanted: BTreeSet<String> = self.table.workers.read().keys().cloned().collect();
            // No pod begins meanwhile, or what is made for it could be taken for left over.
            sweep::sweep(&self.place, &wanted).await;
        }
    }

    async fn api_pods(&mut self, pods: Vec<(Key, Arc<Pod>)>) {
        let there: BTreeSet<Key> = pods.iter().map(|(key, _)| key.clone()).collect();
        let gone: Vec<Key> = self.api.keys().filter(|key| !there.contains(*key)).cloned().collect();
        for key in gone {
            self.api_pod(key, None).await;
        }
        for (key, pod) in pods {
            self.api_pod(key, Some(pod)).await;
        }
    }

    async fn api_pod(&mut self, key: Key, pod: Option<Arc<Pod>>) {
        let before = match &pod {
            Some(pod) => self.api.insert(key.clone(), Arc::clone(pod)),
            None => self.api.remove(&key),
        };
        // Another pod by that name: the one before is gone, even if nobody said so.
        if let Some(old) = &before
            && pod.as_ref().is_none_or(|new| new.uid() != old.uid())
        {
            if corten_api::pod::is_mirror(old) {
                self.mirror_gone(&key).await;
            } else if let Some(handle) = self.table.get(old.uid()) {
                tell(&handle, Msg::Removed { grace: None }).await;
            }
        }
        let Some(pod) = pod else { return };
        if corten_api::pod::is_mirror(&pod) {
            self.mirror_seen(&key, &pod).await;
            return;
        }
        self.place.statuses.saw(pod.uid(), &pod);
        match self.table.get(pod.uid()) {
            Some(handle) => {
                let is_resized = before.is_none_or(|before| before.spec != pod.spec);
                let (given, share) = self.judged(&pod);
                tell(&handle, Msg::Pod { pod: given, share }).await;
                if is_resized {
                    self.tiers.weigh(&self.those_who_run());
                }
                self.judge_again().await;
            }
            None => self.begin(pod),
        }
    }

    /// A pod that has no worker: admit it, or take over what runs.
    fn begin(&mut self, pod: Arc<Pod>) {
        let beginning = match self.found.remove(pod.uid()) {
            Some(found) => Beginning::Found(found.pod),
            None => Beginning::New,
        };
        let fresh = matches!(beginning, Beginning::New) && pod.status.as_ref().is_none_or(|s| s.start_time.is_none());
        let fate_is_sealed = corten_api::pod::is_terminal(&pod) && !pod.is_deleting();
        let nothing_runs = matches!(beginning, Beginning::New);
        if nothing_runs && fate_is_sealed && pod.status.as_ref().is_some_and(|s| s.container_statuses.is_none()) {
            // It was not admitted: there is nothing to do for it, and nothing to say of its containers.
            return;
        }
        if fresh && !pod.is_deleting() && !corten_api::pod::is_terminal(&pod) {
            // One that was admitted by a kubelet before this one has what that gave it.
            let dir = self.place.pod_dir(pod.uid());
            let given =
                self.allocations.recall(pod.uid(), &dir).map_or_else(|| Arc::clone(&pod), |have| have.given(&pod));
            let refusal = admit::refusal(&given, &self.those_who_stay(), &(self.place.node)());
            if let Some((reason, message)) = refusal {
                info!(pod = %pod.key(), reason, "the pod is not admitted");
                self.place.cluster.event(&pod.reference(), true, &reason, &message);
                self.place.statuses.report(pod.uid(), status::rejected(&pod, &reason, &message, Timestamp::now()));
                return;
            }
        }
        let (given, share) = self.admitted(&pod);
        self.start_worker(given, share, beginning);
    }

    /// Pods that hold a share of the node and whose share may not be given away. One that the API has forgotten is
    /// about to end: the scheduler counts on its share.
    fn those_who_stay(&self) -> Vec<Arc<Pod>> {
        let stays = |pod: &Arc<Pod>| {
            static_pods::is_static(pod) || self.api.get(&pod.key()).is_some_and(|known| known.uid() == pod.uid())
        };
        self.those_who_run().into_iter().filter(stays).collect()
    }

    /// Pods that hold a share of the node, with what they were given last: their workers may not know it yet.
    fn those_who_run(&self) -> Vec<Arc<Pod>> {
        let given = |pod: Arc<Pod>| self.allocations.get(pod.uid()).map(|have| have.given(&pod)).unwrap_or(pod);
        self.table.active().into_iter().map(given).collect()
    }

    fn start_worker(&mut self, pod: Arc<Pod>, share: Share, beginning: Beginning) {
        let uid = pod.uid().to_owned();
        let (handle, task) = worker::start(&self.place, pod, share, beginning, &mut self.workers);
        self.uids.insert(task, uid.clone());
        self.table.workers.write().insert(uid, handle);
        self.count_pods();
    }

    /// What depends on which pods there are.
    fn count_pods(&mut self) {
        let active = self.those_who_run();
        self.watched.follow(&active, self.place.cluster.as_ref());
        self.place.sources.keep_only(&active);
        self.tiers.weigh(&active);
    }

    /// A worker's task ends when its pod is gone. One that dies has left a pod that nobody looks after.
    fn task_ended(&mut self, ended: Result<(task::Id, ()), task::JoinError>) {
        let id = ended.as_ref().map_or_else(task::JoinError::id, |(id, ())| *id);
        let Some(uid) = self.uids.remove(&id) else { return };
        match ended {
            Ok(_) => self.worker_ended(&uid),
            Err(why) => {
                error!(uid, %why, "the worker of a pod died; another one begins with the next comparison");
                self.died.insert(uid);
            }
        }
    }

    /// Others take over what workers that died have left.
    async fn replace_dead_workers(&mut self, held: &mut BTreeMap<String, inventory::Found>) {
        if self.died.is_empty() {
            return;
        }
        let died = std::mem::take(&mut self.died);
        self.found.extend(died.iter().filter_map(|uid| held.remove_entry(uid)));
        self.fill_addresses().await;
        for uid in died {
            self.worker_ended(&uid);
            let known = self.api.values().find(|pod| pod.uid() == uid && !corten_api::pod::is_mirror(pod));
            if let Some(pod) = known.cloned() {
                self.begin(pod);
            }
        }
        if !self.api_unheard && !self.statics_unheard {
            self.stop_orphans();
        }
    }

    fn worker_ended(&mut self, uid: &str) {
        self.table.workers.write().remove(uid);
        self.allocations.forget(uid);
        self.count_pods();
        // A static pod whose file was written anew while the old one was ending.
        let waiting: Vec<_> = self.statics.values().filter(|p| self.table.get(p.uid()).is_none()).cloned().collect();
        for pod in waiting {
            self.begin_static(pod);
        }
    }

    /// What runs and belongs to no pod of the API or of a file: it was deleted while we were away.
    fn stop_orphans(&mut self) {
        for (uid, found) in std::mem::take(&mut self.found) {
            info!(uid, pod = found.name, "stopping a pod that was deleted while no kubelet ran");
            let grace = i64::try_from(found.grace.as_secs()).unwrap_or(i64::MAX);
            let metadata = ObjectMeta {
                name: Some(found.name.clone()),
                namespace: Some(found.namespace.clone()),
                uid: Some(uid),
                deletion_timestamp: Some(status::whole_second(Timestamp::now())),
                deletion_grace_period_seconds: Some(grace),
                ..Default::default()
            };
            let pod = Pod { metadata, spec: Some(found.spec(grace)), status: None };
            self.start_worker(Arc::new(pod), Share::default(), Beginning::Found(found.pod));
        }
    }

    async fn runtime_event(&mut self, event: Event) {
        let uid = match &event {
            Event::ContainerExited { pod_uid, .. } | Event::SandboxExited { pod_uid, .. } => pod_uid.clone(),
            Event::Resync => {
                self.compare().await;
                return;
            }
        };
        match self.table.get(&uid) {
            Some(handle) => tell(&handle, Msg::Runtime(event)).await,
            // Not claimed yet: the next look at the runtime finds it as it is.
            None => {
                if self.found.contains_key(&uid)
                    && let Ok(now) = self.place.runtime.list().await
                    && let Some(found) = inventory::by_pod(&now).remove(&uid)
                {
                    self.found.insert(uid, found);
                    self.fill_addresses().await;
                }
            }
        }
    }

    async fn compare(&mut self) {
        // Nobody says so when the last container of a pod has ended for good.
        self.tiers.weigh(&self.those_who_run());
        self.judge_again().await;
        let asked_at = std::time::Instant::now();
        // The runtime is away: nothing can be said about what runs.
        let Ok(inventory) = self.place.runtime.list().await else { return };
        let mut by_pod = inventory::by_pod(&inventory);
        self.replace_dead_workers(&mut by_pod).await;
        let workers: Vec<(String, Handle)> =
            self.table.workers.read().iter().map(|(uid, h)| (uid.clone(), h.clone())).collect();
        for (uid, handle) in workers {
            let found = by_pod.remove(&uid).map_or_else(FoundPod::default, |f| f.pod);
            tell(&handle, Msg::Found { found, asked_at }).await;
            let unwatched = self.watched.misses(&handle.shared.pod.read());
            if unwatched {
                tell(&handle, Msg::SourcesChanged).await;
            }
        }
    }
}

async fn tell(handle: &Handle, message: Msg) {
    // A worker that has ended needs no news; it is about to be taken out of the table.
    let _ = handle.tx.send(message).await;
}

#[cfg(test)]
mod tests;
