//! StatefulSets: pods with names and volumes of their own, made and replaced one after the other.

pub mod apply;
pub mod claims;
pub mod decide;
pub mod identity;
pub mod status;
pub mod update;

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_api::k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use corten_api::k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use corten_api::selector::{Matcher, Selector};
use corten_api::{ApiError, Key, Object};
use corten_client::{Change, Next};
use jiff::Timestamp;
use tracing::warn;

use crate::adopt::{self, Settled, Target, decide::Claim};
use crate::caches::{Selects, Shared, selector_of};
use crate::children::{Children, Owner};
use crate::context::Context;
use crate::controller::{Controller, Loop, Setup, maps};
use crate::history::{self, apply::Writer};
use crate::pods::SeenPod;
use crate::quotas::come_back_with_room;
use crate::replicas::candidate;
use decide::Observed;
use identity::NewPod;

pub fn controller(setup: &Setup) -> Loop {
    let name = setup.name;
    let (sets, pods) = (setup.caches.of::<StatefulSet>(), setup.caches.of::<SeenPod>());
    let (revisions, claims) = (setup.caches.of::<ControllerRevision>(), setup.caches.of::<PersistentVolumeClaim>());
    come_back_with_room::<NewPod>(setup, Controller::new(setup))
        .reconciles(&sets)
        .watches(&pods, owner_or_namesake(&sets))
        .watches(&revisions, maps::owner_or_adopters(&sets))
        .watches(&claims, givers(&sets))
        .run(move |context, key| {
            let (sets, pods) = (sets.clone(), pods.clone());
            let (revisions, claims) = (revisions.clone(), claims.clone());
            let children = context.under_way.of(name);
            let this = StatefulSets { context, sets, pods, revisions, claims, children };
            async move { this.sync(&key).await }
        })
}

impl Selects for StatefulSet {
    fn selects_by(&self) -> Option<Selector> {
        Selector::from_label_selector(Some(&self.spec.selector)).ok()
    }
}

/// The StatefulSet that controls a pod, and the one that the pod is named after: it may adopt it, or waits for its name.
fn owner_or_namesake(sets: &Shared<StatefulSet>) -> impl Fn(&Change<'_, SeenPod>) -> Vec<Key> + use<> {
    let sets = sets.clone();
    move |change| {
        let mut found = maps::owner::<StatefulSet, _>(change);
        let Some(key) = change.key() else { return found };
        let namesake = identity::parent_and_ordinal(&key.name).map(|(set, _)| Key::new(key.namespace.as_str(), set));
        found.extend(namesake.filter(|set| !found.contains(set) && sets.get(set).is_some()));
        found
    }
}

/// The StatefulSets that may have given a claim its name.
fn givers(sets: &Shared<StatefulSet>) -> impl Fn(&Change<'_, PersistentVolumeClaim>) -> Vec<Key> + use<> {
    let sets = sets.clone();
    move |change| {
        let Some(claim) = change.key() else { return Vec::new() };
        let gave = |(template, name): (&str, &str)| {
            let key = Key::new(claim.namespace.as_str(), name);
            let set = sets.get(&key)?;
            identity::claim_templates(&set).iter().any(|had| had.name() == template).then_some(key)
        };
        identity::givers(&claim.name).filter_map(gave).collect()
    }
}

pub(crate) struct StatefulSets {
    context: Context,
    sets: Shared<StatefulSet>,
    pods: Shared<SeenPod>,
    revisions: Shared<ControllerRevision>,
    claims: Shared<PersistentVolumeClaim>,
    /// What is under way of the pods of each StatefulSet. A pod is made again as it was asked for.
    children: Children<NewPod>,
}

impl StatefulSets {
    async fn sync(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(set) = self.sets.get(key) else {
            self.children.forget(key);
            return Ok(Next::Done);
        };
        self.children.settle(&self.context, &Owner::of(&*set), &self.pods, |_, new| new.pod()).await?;
        let Some(selector) = selector_of(&self.sets, &*set) else {
            // It is another by now, of which we hear. Or: the next edit of the object brings us back; trying again would not help.
            if let Err(err) = Selector::from_label_selector(Some(&set.spec.selector)) {
                warn!(statefulset = %key, %err, "its selector cannot be used");
            }
            return Ok(Next::Done);
        };
        let nearby = self.revisions.claimable_by(&key.namespace, set.uid());
        let revisions = self.history(&set).claim(&selector, &nearby);
        let again = match self.history(&set).settle(&revisions).await? {
            Settled::Wait => return Ok(Next::Done),
            Settled::GoOn(again) => again,
        };
        let nearby = self.pods.claimable(&key.namespace, set.uid(), &selector);
        let pods = claim(&set, &selector, &nearby);
        let targets = pods.map(|pod| Target { key: pod.key.clone(), uid: pod.uid.clone() });
        let again = match adopt::settle::<_, Pod, _>(&self.context, &self.pods, &*set, &targets).await? {
            Settled::Wait => return Ok(Next::Done),
            Settled::GoOn(also) => adopt::sooner(also, again),
        };
        let mut revisions = revisions.owned;
        history::sort(&mut revisions);
        let claims = self.claims_of(&set, &pods.owned);
        let seen = Observed { now: Timestamp::now(), set: Arc::clone(&set), revisions, pods: pods.owned, claims };
        let next = self.apply(&set, decide::decide(&seen)).await?;
        Ok(adopt::sooner(next, again))
    }

    fn history<'a>(&'a self, set: &'a StatefulSet) -> Writer<'a, StatefulSet> {
        Writer { context: &self.context, revisions: &self.revisions, owner: set }
    }

    /// The claims that are there of the ordinals that a decision looks at.
    fn claims_of(&self, set: &StatefulSet, pods: &[Arc<SeenPod>]) -> BTreeMap<String, Arc<PersistentVolumeClaim>> {
        let templates = identity::claim_templates(set);
        let ordinals = if templates.is_empty() { Default::default() } else { decide::ordinals(set, pods) };
        let names = ordinals
            .into_iter()
            .flat_map(|ordinal| templates.iter().map(move |template| identity::claim_name(set, template, ordinal)));
        let there = names.filter_map(|name| {
            let claim = self.claims.get(&Key::new(set.namespace(), name.as_str()))?;
            Some((name, claim))
        });
        there.collect()
    }
}

/// Which of the pods nearby are its own, and which should become so or cease to be. Only a pod with the name of one of its
/// pods is any.
pub fn claim(set: &StatefulSet, selector: &Matcher, nearby: &[Arc<SeenPod>]) -> Claim<Arc<SeenPod>> {
    let (named, others): (Vec<_>, Vec<_>) =
        nearby.iter().partition(|pod| identity::ordinal_of(set, &pod.key.name).is_some());
    let mut claim = adopt::decide::claim(set.uid(), set.is_deleting(), selector, named.into_iter().map(candidate));
    if !set.is_deleting() {
        claim.release.extend(others.into_iter().filter(|pod| pod.is_controlled_by(set.uid())).cloned());
    }
    claim
}
