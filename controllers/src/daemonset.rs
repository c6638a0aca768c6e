//! DaemonSets: one pod on each node that fits.

pub mod apply;
pub mod backoff;
pub mod decide;
pub mod placement;
pub mod rolling;
pub mod status;

use std::sync::Arc;

use corten_api::k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use corten_api::k8s_openapi::api::core::v1::{Node, Pod};
use corten_api::selector::{Matcher, Selector};
use corten_api::{ApiError, Key, Object};
use corten_client::{Change, EventType, Next};
use jiff::Timestamp;
use parking_lot::Mutex;
use tracing::warn;

use crate::adopt::{self, Settled, Target};
use crate::caches::{Selects, Shared, selector_of};
use crate::children::{Children, Owner};
use crate::context::Context;
use crate::controller::{Controller, Loop, Setup, maps};
use crate::history::{self, apply::Writer};
use crate::pods::SeenPod;
use crate::quotas::come_back_with_room;
use crate::replicas::candidate;
use backoff::Backoff;
use decide::Observed;
use placement::{NewPod, Placement};

pub fn controller(setup: &Setup) -> Loop {
    let name = setup.name;
    let (sets, pods) = (setup.caches.of::<DaemonSet>(), setup.caches.of::<SeenPod>());
    let (revisions, nodes) = (setup.caches.of::<ControllerRevision>(), setup.caches.of::<Node>());
    let backoff: Arc<Mutex<Backoff>> = Arc::default();
    come_back_with_room::<NewPod>(setup, Controller::new(setup))
        .reconciles(&sets)
        .watches(&pods, maps::owner_or_adopters(&sets))
        .watches(&revisions, maps::owner_or_adopters(&sets))
        .watches(&nodes, concerned(&sets))
        .run(move |context, key| {
            let (sets, pods) = (sets.clone(), pods.clone());
            let (revisions, nodes) = (revisions.clone(), nodes.clone());
            let (children, backoff) = (context.under_way.of(name), Arc::clone(&backoff));
            let this = DaemonSets { context, sets, pods, revisions, nodes, children, backoff };
            async move { this.sync(&key).await }
        })
}

impl Selects for DaemonSet {
    fn selects_by(&self) -> Option<Selector> {
        Selector::from_label_selector(Some(&self.spec.selector)).ok()
    }
}

/// The DaemonSets for which a node is now another than before: all for one that comes or goes, which has its pods or had
/// them, and none for one that only beats.
fn concerned(sets: &Shared<DaemonSet>) -> impl Fn(&Change<'_, Node>) -> Vec<Key> + use<> {
    let sets = sets.clone();
    move |change| {
        let all = || sets.list().into_iter();
        match change {
            Change::Synced => Vec::new(),
            Change::Set { old: Some(old), new, .. } if placement::is_alike(old, new) => Vec::new(),
            Change::Set { old: Some(old), new, .. } => {
                let differs = |set: &Arc<DaemonSet>| {
                    let placement = Placement::of(set);
                    placement.fit(old) != placement.fit(new)
                };
                all().filter(differs).map(|set| set.key()).collect()
            }
            _ => all().map(|set| set.key()).collect(),
        }
    }
}

pub(crate) struct DaemonSets {
    context: Context,
    sets: Shared<DaemonSet>,
    pods: Shared<SeenPod>,
    revisions: Shared<ControllerRevision>,
    nodes: Shared<Node>,
    /// What is under way of the pods of each DaemonSet. A pod is made again as it was asked for.
    children: Children<NewPod>,
    backoff: Arc<Mutex<Backoff>>,
}

impl DaemonSets {
    async fn sync(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(set) = self.sets.get(key) else {
            self.children.forget(key);
            self.backoff.lock().forget(key);
            return Ok(Next::Done);
        };
        self.children.settle(&self.context, &Owner::of(&*set), &self.pods, |name, new| new.pod(name)).await?;
        let Some(selector) = self.usable_selector(&set) else { return Ok(Next::Done) };
        let nearby = self.revisions.claimable_by(&key.namespace, set.uid());
        let revisions = self.history(&set).claim(&selector, &nearby);
        let again = match self.history(&set).settle(&revisions).await? {
            Settled::Wait => return Ok(Next::Done),
            Settled::GoOn(again) => again,
        };
        let nearby = self.pods.claimable(&key.namespace, set.uid(), &selector);
        let claim = adopt::decide::claim(set.uid(), set.is_deleting(), &selector, nearby.iter().map(candidate));
        let targets = claim.map(|pod| Target { key: pod.key.clone(), uid: pod.uid.clone() });
        let again = match adopt::settle::<_, Pod, _>(&self.context, &self.pods, &*set, &targets).await? {
            Settled::Wait => return Ok(Next::Done),
            Settled::GoOn(also) => adopt::sooner(also, again),
        };
        let mut revisions = revisions.owned;
        history::sort(&mut revisions);
        let generation = set.metadata.generation.unwrap_or(0);
        let seen = Observed {
            now: Timestamp::now(),
            revisions,
            nodes: self.nodes.list(),
            pods: claim.owned,
            backoff: self.backoff.lock().until(key, set.uid(), generation),
            set,
        };
        let next = self.apply(&seen, decide::decide(&seen)).await?;
        Ok(adopt::sooner(next, again))
    }

    fn history<'a>(&'a self, set: &'a DaemonSet) -> Writer<'a, DaemonSet> {
        Writer { context: &self.context, revisions: &self.revisions, owner: set }
    }

    /// One that selects all or is invalid would take others' pods: such a DaemonSet does nothing.
    fn usable_selector(&self, set: &DaemonSet) -> Option<Arc<Matcher>> {
        let Some(selector) = selector_of(&self.sets, set) else {
            if let Err(err) = Selector::from_label_selector(Some(&set.spec.selector)) {
                warn!(daemonset = %set.key(), %err, "its selector cannot be used");
            }
            return None;
        };
        if selector.is_everything() {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.context.recorder.event(&set.reference(), EventType::Warning, "SelectingAll", message);
            return None;
        }
        Some(selector)
    }
}
