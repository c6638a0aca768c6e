//! The next step of a Deployment: which ReplicaSet to make, scale or drop, and what to report.
//!
//! One step per call. What was written comes back as a watch event, which asks for the next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet};
use corten_api::{Object, conditions};
use jiff::Timestamp;

use super::revision::{self, DESIRED_REPLICAS, MAX_REPLICAS};
use super::rolling::{self, Bounds, Share, Size};
use super::status::{self, Facts, News};

/// Everything the decision may look at.
#[derive(Clone, Debug)]
pub struct Observed {
    pub now: Timestamp,
    pub deployment: Arc<Deployment>,
    /// The ReplicaSets that it owns.
    pub sets: Vec<Arc<ReplicaSet>>,
    /// Pods that have not ended, by the uid of their ReplicaSet. A terminating pod still runs.
    pub running_pods: BTreeMap<String, usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Create(ReplicaSet),
    /// Writes annotations and minReadySeconds that differ.
    Refresh(ReplicaSet),
    Scale {
        set: Arc<ReplicaSet>,
        to: i32,
    },
    /// Writes how large the Deployment was when this ReplicaSet's size was right.
    NoteSize(Arc<ReplicaSet>),
    Delete(Arc<ReplicaSet>),
    /// Writes the revision on the Deployment.
    Revise(String),
    WriteStatus(DeploymentStatus),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub actions: Vec<Action>,
    pub wake_after: Option<Duration>,
}

/// The observed state, sorted.
struct View<'a> {
    seen: &'a Observed,
    spec: &'a DeploymentSpec,
    wanted: i32,
    bounds: Bounds,
    new: Option<&'a Arc<ReplicaSet>>,
    /// Oldest first.
    old: Vec<&'a Arc<ReplicaSet>>,
}

pub fn decide(seen: &Observed) -> Decision {
    let Some(view) = View::of(seen) else { return Decision { actions: Vec::new(), wake_after: None } };
    if seen.deployment.is_deleting() {
        return view.report(Vec::new(), status::counted(view.facts()));
    }
    if let Some(refreshed) = view.refreshed() {
        return Decision { actions: vec![Action::Refresh(refreshed)], wake_after: None };
    }
    let mut actions: Vec<Action> = view.revise().into_iter().collect();
    if view.spec.paused == Some(true) {
        actions.extend(view.scale());
        actions.extend(view.clean_up());
        return view.report(actions, status::paused(view.facts()));
    }
    let scaling = if view.is_being_scaled() { view.scale() } else { Vec::new() };
    if !scaling.is_empty() {
        actions.extend(scaling);
        return view.report(actions, status::paused(view.facts()));
    }
    let (steps, news) = if recreates(&seen.deployment) { view.recreate() } else { view.roll() };
    actions.extend(steps);
    let report = status::rolled(view.facts(), &news);
    if status::is_complete(view.facts(), &report) {
        actions.extend(view.clean_up());
    }
    view.report(actions, report)
}

/// How far above and below the wanted count this Deployment may be.
pub fn bounds(deployment: &Deployment) -> Bounds {
    let spec = deployment.spec.clone();
    if recreates(deployment) {
        return Bounds { surge: 0, unavailable: 0 };
    }
    let rolling = spec.strategy.unwrap_or_default().rolling_update.unwrap_or_default();
    let wanted = spec.replicas.unwrap_or(1);
    Bounds::resolve(rolling.max_surge.as_ref(), rolling.max_unavailable.as_ref(), wanted)
}

/// Whether all old pods must have ended before new ones come.
pub fn recreates(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.strategy.as_ref();
    strategy.and_then(|s| s.type_.as_deref()) == Some("Recreate")
}

/// What the status is made from, for those who have more to say than was decided.
pub fn facts(seen: &Observed) -> Option<Facts<'_>> {
    View::of(seen).map(|view| view.facts())
}

pub fn size(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(0)
}
fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0)
}
/// Those that it may still have: more than it should until it has shrunk.
fn pods(set: &ReplicaSet) -> i32 {
    size(set).max(set.status.as_ref().map_or(0, |s| s.replicas))
}
/// Its status is about its present size.
fn is_observed(set: &ReplicaSet) -> bool {
    let observed = set.status.as_ref().and_then(|s| s.observed_generation);
    set.metadata.generation.unwrap_or(0) <= observed.unwrap_or(0)
}
fn noted(set: &ReplicaSet, annotation: &str) -> Option<i32> {
    set.annotation(annotation).and_then(|n| n.parse().ok())
}

impl<'a> View<'a> {
    fn of(seen: &'a Observed) -> Option<Self> {
        let spec = &seen.deployment.spec;
        let new = revision::find_new(&seen.deployment, &seen.sets);
        let mut old: Vec<_> = seen.sets.iter().filter(|s| new.is_none_or(|new| !Arc::ptr_eq(new, s))).collect();
        old.sort_by_key(|s| revision::age_key(s));
        let wanted = spec.replicas.unwrap_or(1);
        Some(Self { seen, spec, wanted, bounds: bounds(&seen.deployment), new, old })
    }

    fn facts(&self) -> Facts<'a> {
        Facts {
            now: self.seen.now,
            deployment: &self.seen.deployment,
            new: self.new,
            all: &self.seen.sets,
            wanted: self.wanted,
            max_unavailable: self.bounds.unavailable,
        }
    }

    /// Adds the report, if it says anything new, and when to look again.
    fn report(&self, mut actions: Vec<Action>, status: DeploymentStatus) -> Decision {
        let wake_after = status::deadline_in(self.facts(), &status);
        if self.seen.deployment.status.as_ref() != Some(&status) {
            actions.push(Action::WriteStatus(status));
        }
        Decision { actions, wake_after }
    }

    /// One more than any old ReplicaSet's.
    fn revision(&self) -> i64 {
        self.old.iter().map(|s| revision::revision_of(s.as_ref())).max().unwrap_or(0) + 1
    }

    /// The new ReplicaSet as it should read, if it does not.
    fn refreshed(&self) -> Option<ReplicaSet> {
        let new = self.new?;
        let have = new.metadata.annotations.as_ref();
        let annotations = revision::set_annotations(&self.seen.deployment, have, self.revision());
        let min_ready = self.spec.min_ready_seconds;
        let same_wait = new.spec.min_ready_seconds.unwrap_or(0) == min_ready.unwrap_or(0);
        if same_wait && annotations == have.cloned().unwrap_or_default() {
            return None;
        }
        let mut set = ReplicaSet::clone(new);
        set.metadata.annotations = Some(annotations);
        set.spec.min_ready_seconds = min_ready;
        Some(set)
    }

    fn revise(&self) -> Option<Action> {
        let wanted = self.new?.annotation(revision::REVISION)?;
        (self.seen.deployment.annotation(revision::REVISION) != Some(wanted)).then(|| Action::Revise(wanted.into()))
    }

    /// The wanted count is not what the ReplicaSets were sized for.
    fn is_being_scaled(&self) -> bool {
        let active = self.seen.sets.iter().filter(|s| size(s) > 0);
        active.filter_map(|s| noted(s, DESIRED_REPLICAS)).any(|desired| desired != self.wanted)
    }

    fn scaled(&self, set: &Arc<ReplicaSet>, to: i32) -> Option<Action> {
        if size(set) != to {
            return Some(Action::Scale { set: Arc::clone(set), to });
        }
        let right = noted(set, DESIRED_REPLICAS) == Some(self.wanted)
            && noted(set, MAX_REPLICAS) == Some(self.wanted + self.bounds.surge);
        (!right).then(|| Action::NoteSize(Arc::clone(set)))
    }

    /// Brings the ReplicaSets to a new count without moving the rollout on.
    fn scale(&self) -> Vec<Action> {
        let active: Vec<_> = self.seen.sets.iter().filter(|s| size(s) > 0).collect();
        let only = match active[..] {
            [] => self.new.or(self.old.last().copied()),
            [one] => Some(one),
            _ => None,
        };
        if let Some(only) = only {
            return self.scaled(only, self.wanted).into_iter().collect();
        }
        let is_full = |s: &Arc<ReplicaSet>| {
            size(s) == self.wanted && available(s) == self.wanted && noted(s, DESIRED_REPLICAS) == Some(self.wanted)
        };
        if self.new.is_some_and(is_full) {
            return self.old.iter().filter(|s| size(s) > 0).filter_map(|s| self.scaled(s, 0)).collect();
        }
        if recreates(&self.seen.deployment) {
            return Vec::new();
        }
        self.in_proportion(active)
    }

    fn in_proportion(&self, mut active: Vec<&Arc<ReplicaSet>>) -> Vec<Action> {
        let grows = self.wanted + self.bounds.surge > active.iter().map(|s| size(s)).sum();
        // The largest first; of equals the newer grows first and the older shrinks first.
        active.sort_by_key(|s| revision::age_key(s));
        if grows {
            active.reverse();
        }
        active.sort_by_key(|s| -size(s));
        let then = self.seen.deployment.status.as_ref().and_then(|s| s.replicas).unwrap_or(0);
        let share = |s: &&Arc<ReplicaSet>| {
            let max_then = noted(s, MAX_REPLICAS).filter(|n| *n > 0).unwrap_or(then);
            Share { spec: size(s), max_then }
        };
        let shares: Vec<Share> = active.iter().map(share).collect();
        let sizes = rolling::proportional(self.wanted, self.bounds.surge, &shares);
        active.into_iter().zip(sizes).filter_map(|(set, to)| self.scaled(set, to)).collect()
    }

    /// The ReplicaSet of the present template is made in the size that the bounds allow at once.
    fn create(&self, replicas: i32) -> (Vec<Action>, News) {
        let set = revision::new_set(&self.seen.deployment, self.revision(), replicas, self.bounds.surge);
        let name = set.name().to_owned();
        (vec![Action::Create(set)], News::Created(name))
    }

    /// A template that is rolled back to, or that was made while we looked away, begins to progress anew.
    fn found(&self) -> News {
        let conditions = self.seen.deployment.status.as_ref().and_then(|s| s.conditions.as_ref());
        match self.new {
            Some(new) if conditions::find(conditions, "Progressing").is_none() => News::Found(new.name().to_owned()),
            _ => News::None,
        }
    }

    /// RollingUpdate: grow the new one, or else shrink the old ones.
    fn roll(&self) -> (Vec<Action>, News) {
        // A ReplicaSet that has not seen its size yet may be making pods, or deleting some that its status counts.
        let known = self.seen.sets.iter().all(|s| is_observed(s));
        let total = if known { self.seen.sets.iter().map(|s| pods(s)).sum() } else { i32::MAX / 2 };
        let Some(new) = self.new else {
            return self.create(rolling::new_size(self.wanted, self.bounds, 0, total));
        };
        let to = rolling::new_size(self.wanted, self.bounds, size(new), total);
        if to != size(new) {
            return (self.scaled(new, to).into_iter().collect(), self.found());
        }
        if !known {
            return (Vec::new(), self.found());
        }
        // One that shrinks counts its pods of before for a while.
        let measure = |s: &Arc<ReplicaSet>| Size { spec: size(s), available: available(s).min(size(s)) };
        let old: Vec<Size> = self.old.iter().map(|s| measure(s)).collect();
        let sizes = rolling::old_sizes(self.wanted, self.bounds, measure(new), &old);
        let smaller = self.old.iter().zip(sizes).filter(|(s, to)| size(s) != *to);
        (smaller.filter_map(|(s, to)| self.scaled(s, to)).collect(), self.found())
    }

    /// Recreate: the new one comes only when nothing of the old runs any more.
    fn recreate(&self) -> (Vec<Action>, News) {
        let shrink: Vec<Action> = self.old.iter().filter(|s| size(s) > 0).filter_map(|s| self.scaled(s, 0)).collect();
        // One that has not seen its new size yet may be making pods.
        let runs = |s: &Arc<ReplicaSet>| {
            !is_observed(s) || pods(s) > 0 || self.seen.running_pods.get(s.uid()).is_some_and(|n| *n > 0)
        };
        let still_running = self.old.iter().any(|s| runs(s));
        if !shrink.is_empty() || still_running {
            return (shrink, self.found());
        }
        match self.new {
            None => self.create(self.wanted),
            Some(new) if size(new) != self.wanted => {
                (self.scaled(new, self.wanted).into_iter().collect(), self.found())
            }
            Some(_) => (Vec::new(), self.found()),
        }
    }

    /// Old ReplicaSets beyond revisionHistoryLimit, lowest revision first, once nothing of them runs.
    fn clean_up(&self) -> Vec<Action> {
        let Some(limit) = self.spec.revision_history_limit.and_then(|n| usize::try_from(n).ok()) else {
            return Vec::new();
        };
        let mut alive: Vec<_> = self.old.iter().filter(|s| !s.is_deleting()).collect();
        alive.sort_by_key(|s| (revision::revision_of(s.as_ref()), revision::age_key(s)));
        let surplus = alive.len().saturating_sub(limit);
        let is_idle = |s: &ReplicaSet| {
            let status = s.status.clone().unwrap_or_default();
            size(s) == 0 && status.replicas == 0 && s.metadata.generation <= status.observed_generation
        };
        let idle = alive.into_iter().take(surplus).filter(|s| is_idle(s));
        idle.map(|s| Action::Delete(Arc::clone(s))).collect()
    }
}

#[cfg(test)]
mod tests;
