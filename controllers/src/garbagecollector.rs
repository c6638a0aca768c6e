//! Garbage collection: what nobody owns any more goes; what goes waits for, takes along or lets go what it owns.

pub mod apply;
pub mod decide;
pub mod index;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use corten_api::{ApiError, Reason};
use corten_client::{Client, MetadataClient, Next, WorkQueue};
use parking_lot::Mutex;

use crate::context::Context;
use crate::controller::{Controller, Loop, Setup};
use crate::metadata::SeenMeta;
use crate::monitors::{KindId, MetaChange, Monitors, ObjectId};
use decide::{Dependent, FOREGROUND, Observed, OwnerState};
use index::{Absent, Dependents};

/// As upstream: the pods of a large ReplicaSet go one by one.
const WORKERS: usize = 20;
/// Owners of one object that the apiserver is asked for at one look, of those that no cache shows. Anybody may write thousands of
/// names that stand for nothing.
const LOOKUPS_MAX: usize = 50;
/// At an object of whose kind not all has been seen that was there when the term began.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Collector {
    context: Context,
    monitors: Monitors,
    queue: WorkQueue<ObjectId>,
    dependents: Arc<Mutex<Dependents>>,
    absent: Arc<Mutex<Absent>>,
    /// What waits until every kind has been seen. Bounded by the objects that there are.
    waiting: Arc<Mutex<HashSet<ObjectId>>>,
}

/// Its items are objects of all kinds.
pub fn controller(setup: &Setup) -> Loop {
    let (monitors, dependents) = (setup.monitors.clone(), Arc::<Mutex<Dependents>>::default());
    let this = Controller::new(setup).workers(WORKERS);
    let (queue, absent, waiting) = (this.queue(), Arc::default(), Arc::default());
    let (of_changes, index) = (monitors.clone(), Arc::clone(&dependents));
    let collector = move |context| Collector {
        context,
        monitors: monitors.clone(),
        queue: queue.clone(),
        dependents: Arc::clone(&dependents),
        absent: Arc::clone(&absent),
        waiting: Arc::clone(&waiting),
    };
    let beside = collector.clone();
    this.source(move |stop, queue| {
        let (reader, own, index) = (of_changes.clone(), queue.clone(), Arc::clone(&index));
        of_changes.owned_by(stop).subscribe(move |change| on_change(&reader, &own, &index, &change));
    })
    .beside(move |context| {
        let (stop, this) = (context.stop.clone(), beside(context));
        async move { stop.run_until_cancelled(this.wake_when_synced()).await.unwrap_or(()) }
    })
    .run(move |context, id| {
        let this = collector(context);
        async move { this.sync(&id).await }
    })
}

/// Keeps the index, and queues whom the change may concern: the object, its owners, its dependents.
fn on_change(monitors: &Monitors, queue: &WorkQueue<ObjectId>, index: &Mutex<Dependents>, change: &MetaChange) {
    let (old, new) = (change.old.as_ref(), change.new.as_ref());
    let mut index = index.lock();
    index.update(&change.id, old, new);
    let owners = |meta: Option<&SeenMeta>| meta.map(|m| m.owners.clone()).unwrap_or_default();
    let same = match (old, new) {
        (Some(old), Some(new)) => {
            old.owners == new.owners
                && old.finalizers == new.finalizers
                && old.deleting == new.deleting
                && old.uid == new.uid
        }
        _ => false,
    };
    if same {
        return;
    }
    let has_work = |m: &&SeenMeta| !m.owners.is_empty() || m.deleting && !m.finalizers.is_empty();
    if new.filter(has_work).is_some() {
        queue.add(change.id.clone());
    }
    let is_gone = |old: &&SeenMeta| new.is_none_or(|new| new.uid != old.uid);
    if let Some(old) = old.filter(is_gone) {
        index.of(&old.uid).into_iter().for_each(|dependent| queue.add(dependent));
    }
    drop(index);
    // An owner may wait for just this one to go, or to be let go.
    if old.is_some() && owners(old) != owners(new) {
        let waiting =
            owners(old).iter().filter_map(|o| monitors.resolve(&change.id.key.namespace, o)).collect::<Vec<_>>();
        waiting.into_iter().for_each(|owner| queue.add(owner));
    }
}

impl Collector {
    async fn wake_when_synced(&self) {
        self.monitors.synced().await;
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.into_iter().for_each(|id| self.queue.add(id));
    }

    /// Looks at the object again once every kind has been seen.
    fn wait_for_caches(&self, id: &ObjectId) {
        self.waiting.lock().insert(id.clone());
        // It may have become so while this was decided: then nobody wakes it any more.
        if self.monitors.are_synced() && self.waiting.lock().remove(id) {
            self.queue.add(id.clone());
        }
    }

    async fn sync(&self, id: &ObjectId) -> Result<Next, ApiError> {
        let Some(object) = self.monitors.get(id) else { return Ok(Next::Done) };
        if !self.monitors.is_synced(id.kind) {
            // Its owners may be others by now.
            return Ok(Next::After(LOOK_AGAIN_AFTER));
        }
        // Before the look at the dependents: what comes between the two is only seen as not complete.
        let complete = self.monitors.are_synced();
        let dependents = self.dependents_of(&object.uid);
        let in_circle = object.deleting && decide::is_in_circle(id, |id| self.awaited(id));
        let mut owners = Vec::new();
        // A deleting object's owners make no difference any more.
        if !object.deleting {
            let mut lookups_left = LOOKUPS_MAX;
            for owner in &object.owners {
                let state = match self.known(&object, id, owner) {
                    Known::Is(state) => state,
                    Known::Ask(_) if lookups_left == 0 => OwnerState::Unknown,
                    Known::Ask(at) => {
                        lookups_left -= 1;
                        self.asked(&object, &at, owner).await?
                    }
                };
                owners.push((owner.clone(), state));
            }
        }
        let action = decide::decide(&Observed { object: &object, owners, dependents, in_circle, complete });
        self.apply(id, &object, action).await
    }

    /// Objects that block this one and wait for others themselves.
    fn awaited(&self, id: &ObjectId) -> Vec<ObjectId> {
        let Some(object) = self.monitors.get(id) else { return Vec::new() };
        let dependents = self.dependents_of(&object.uid).into_iter();
        dependents.filter(|d| d.blocks && d.waits).map(|d| d.id).collect()
    }

    fn dependents_of(&self, uid: &str) -> Vec<Dependent> {
        let ids = self.dependents.lock().of(uid);
        let named = ids.into_iter().filter_map(|id| {
            let meta = self.monitors.get(&id)?;
            let reference = meta.owners.iter().find(|o| o.uid == uid)?;
            let blocks = reference.block_owner_deletion == Some(true);
            let waits = meta.deleting && meta.has_finalizer(FOREGROUND);
            Some(Dependent { id, blocks, waits })
        });
        named.collect()
    }

    /// Calls for the objects of a kind. One that is not served is as one whose objects are not there.
    fn objects(&self, kind: KindId, client: &Client) -> Result<MetadataClient, ApiError> {
        let resource = self.monitors.resource(kind).ok_or_else(ApiError::no_such_path)?;
        Ok(MetadataClient::new(client, &resource))
    }

    /// What the caches say of an owner. Only the apiserver may say that one is not there.
    fn known(&self, object: &SeenMeta, id: &ObjectId, owner: &OwnerReference) -> Known {
        let Some(at) = self.monitors.resolve(&object.key.namespace, owner) else { return Known::Is(OwnerState::Solid) };
        let is_namespaced = |id: &ObjectId| self.monitors.resource(id.kind).is_some_and(|r| r.is_namespaced);
        if is_namespaced(&at) && !is_namespaced(id) {
            // Invalid: such an owner cannot be looked up. Nothing is deleted for a mistake.
            return Known::Is(OwnerState::Solid);
        }
        if let Some(seen) = self.monitors.get(&at).filter(|seen| seen.uid == owner.uid) {
            return Known::Is(state_of(&seen));
        }
        if self.absent.lock().contains(&object.key.namespace, &owner.uid) {
            return Known::Is(OwnerState::Absent);
        }
        Known::Ask(at)
    }

    /// What the apiserver says of an owner. That one is absent is remembered.
    async fn asked(&self, object: &SeenMeta, at: &ObjectId, owner: &OwnerReference) -> Result<OwnerState, ApiError> {
        match self.objects(at.kind, &self.context.client)?.get(&at.key).await.map(|o| SeenMeta::of(&o.metadata)) {
            Ok(live) if live.uid == owner.uid => Ok(state_of(&live)),
            // Its whole kind is not served, by this apiserver at least: nothing is deleted for that.
            Err(err) if err.is_no_such_path() => Ok(OwnerState::Solid),
            Err(err) if !err.is(Reason::NotFound) => Err(err),
            // Gone, or there is another of its name.
            _ => {
                self.absent.lock().add(&object.key.namespace, &owner.uid);
                Ok(OwnerState::Absent)
            }
        }
    }
}

/// What can be said of an owner without asking anybody.
enum Known {
    Is(OwnerState),
    /// The apiserver has to be asked for this object.
    Ask(ObjectId),
}

fn state_of(seen: &SeenMeta) -> OwnerState {
    let waits = seen.deleting && seen.has_finalizer(FOREGROUND);
    if waits { OwnerState::WaitsForDependents } else { OwnerState::Solid }
}
