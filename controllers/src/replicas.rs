//! ReplicaSets and ReplicationControllers: as many pods as are wanted.

pub mod apply;
pub mod decide;
pub mod owners;

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_api::k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use corten_api::selector::{Selector, SelectorError};
use corten_api::{ApiError, Key, Object};
use corten_client::Next;
use jiff::Timestamp;
use tracing::warn;

use crate::adopt::{self, Settled, Target, decide::Candidate};
use crate::caches::{Selects, Shared, selector_of};
use crate::children::{Children, Owner};
use crate::context::Context;
use crate::controller::{Controller, Loop, Setup, maps};
use crate::pods::{Labels, SeenPod};
use crate::quotas::come_back_with_room;
use apply::pod_of;
use decide::{Counts, Observed};

/// Why pods could not be made or deleted: the ReplicaFailure condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: &'static str,
    pub message: String,
}

/// The two kinds that keep a count of pods.
pub trait ReplicaOwner: Object {
    fn wanted(&self) -> i32;
    fn min_ready_secs(&self) -> i32;
    fn selector(&self) -> Result<Selector, SelectorError>;
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// What its status says now.
    fn counts(&self) -> Counts;
    /// The message of the ReplicaFailure condition, if it is there.
    fn failure(&self) -> Option<&str>;
    /// `failure` is set as a condition; `None` takes it away.
    fn set_status(&mut self, counts: Counts, failure: Option<&Failure>, now: &Time);
}

/// Keeps all objects of one kind in shape. `neighbours`: pods on each node that a pod of this owner would double up with.
fn controller_of<K: ReplicaOwner + Selects>(
    setup: &Setup,
    neighbours: fn(&Context, &K) -> BTreeMap<String, usize>,
) -> Loop {
    let (name, owners) = (setup.name, setup.caches.of::<K>());
    // A pod needs nothing but its name to be made again.
    come_back_with_room::<()>(setup, Controller::new(setup))
        .reconciles(&owners)
        .watches(&setup.caches.of::<SeenPod>(), maps::owner_or_adopters(&owners))
        .run(move |context, key| {
            let children = context.under_way.of(name);
            let this = Replicas { owners: owners.clone(), children, neighbours, context };
            async move { this.sync(&key).await }
        })
}

struct Replicas<K> {
    context: Context,
    owners: Shared<K>,
    /// What is under way of the pods of each owner.
    children: Children<()>,
    neighbours: fn(&Context, &K) -> BTreeMap<String, usize>,
}

impl<K: ReplicaOwner + Selects> Replicas<K> {
    async fn sync(&self, key: &Key) -> Result<Next, ApiError> {
        let pods = &self.context.caches.of::<SeenPod>();
        let Some(owner) = self.owners.get(key) else {
            self.children.forget(key);
            return Ok(Next::Done);
        };
        self.children.settle(&self.context, &Owner::of(&*owner), pods, |name, ()| pod_of(&*owner, name)).await?;
        let Some(selector) = selector_of(&self.owners, &*owner) else {
            // It is another by now, of which we hear. Or: the next edit of the object brings us back; trying again would not help.
            if let Err(err) = owner.selector() {
                warn!(kind = K::KIND, %key, %err, "its selector cannot be used");
            }
            return Ok(Next::Done);
        };
        let nearby = pods.claimable(&key.namespace, owner.uid(), &selector);
        let claim = adopt::decide::claim(owner.uid(), owner.is_deleting(), &selector, nearby.iter().map(candidate));
        let targets = claim.map(|pod| Target { key: pod.key.clone(), uid: pod.uid.clone() });
        let again = match adopt::settle::<K, Pod, _>(&self.context, pods, &owner, &targets).await? {
            Settled::Wait => return Ok(Next::Done),
            Settled::GoOn(again) => again,
        };
        let empty = Labels::new();
        let labels = owner.template().and_then(|t| t.metadata.as_ref()?.labels.as_ref()).unwrap_or(&empty);
        let decision = decide::decide(&Observed {
            now: Timestamp::now(),
            wanted: owner.wanted(),
            generation: owner.metadata().generation.unwrap_or(0),
            deleting: owner.is_deleting(),
            min_ready_secs: owner.min_ready_secs(),
            template_labels: labels,
            pods: &claim.owned,
            neighbours: &(self.neighbours)(&self.context, &owner),
        });
        Ok(adopt::sooner(self.apply(&owner, decision).await?, again))
    }
}

/// A pod that may belong to an owner.
pub fn candidate(pod: &Arc<SeenPod>) -> Candidate<'_, Arc<SeenPod>> {
    Candidate {
        target: Arc::clone(pod),
        labels: &pod.labels,
        controller: pod.controller().map(|o| o.uid.as_str()),
        deleting: pod.deleting.is_some(),
        terminal: pod.is_terminal(),
        mirror: pod.mirror,
    }
}

/// Active pods by node, of the owners with these uids.
pub fn pods_by_node(context: &Context, namespace: &str, owner_uids: &[String]) -> BTreeMap<String, usize> {
    let mut nodes = BTreeMap::new();
    for uid in owner_uids {
        let pods = context.caches.of::<SeenPod>().controlled_by(namespace, uid);
        for node in pods.iter().filter(|p| p.is_active()).filter_map(|p| p.node.as_ref()) {
            *nodes.entry(node.clone()).or_default() += 1;
        }
    }
    nodes
}
