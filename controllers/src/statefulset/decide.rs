//! What a StatefulSet does next: which pods and claims it makes, which pods go, and what it reports.
//!
//! With OrderedReady one pod changes per call, and only when all before it are available. With Parallel all change at once
//! that may.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/>

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use corten_api::Object;
use corten_api::k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use corten_api::k8s_openapi::api::core::v1::{PersistentVolumeClaim, PodTemplateSpec};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use jiff::Timestamp;

use super::claims::{self, Holder, NewClaim, Owners};
use super::identity::{self, NewPod, POD_NAME_LABEL};
use super::status;
use super::update::{Member, Rollout};
use crate::history::{self, HASH_LABEL, HASH_MAX, Present, Step};
use crate::pods::{Phase, SeenPod};

/// The most pods that one decision makes; the next watch event brings the rest.
pub const BURST_PODS: usize = 500;
/// The name of a revision is a label of pods, which has 63 characters at most.
const REVISION_BASE_MAX: usize = 63 - HASH_MAX;

/// Everything the decision may look at.
#[derive(Clone, Debug)]
pub struct Observed {
    pub now: Timestamp,
    pub set: Arc<StatefulSet>,
    /// Its history, oldest first.
    pub revisions: Vec<Arc<ControllerRevision>>,
    /// The pods that it owns and that have names of its pods, ended and terminating ones among them.
    pub pods: Vec<Arc<SeenPod>>,
    /// The claims that are there of the ordinals that [`ordinals`] names, by name.
    pub claims: BTreeMap<String, Arc<PersistentVolumeClaim>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ClaimStep {
    Create {
        claim: NewClaim,
        pod: String,
    },
    /// Writes whose the claim is.
    Own {
        claim: Arc<PersistentVolumeClaim>,
        owners: Vec<OwnerReference>,
        /// Somebody else manages it, so that its retention policy is not followed.
        conflict: bool,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum PodStep {
    Create(NewPod),
    Delete(Arc<SeenPod>),
    /// Writes the label that says which pod it is.
    Label(Arc<SeenPod>),
    /// It cannot be done, and why.
    Refuse {
        verb: &'static str,
        pod: String,
        why: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Comes first: nothing else is decided together with it.
    pub history: Option<Step>,
    /// Before pods: a pod needs its claims, and one that is scaled away leaves them to whom they should belong to.
    pub claims: Vec<ClaimStep>,
    pub pods: Vec<PodStep>,
    /// `None`: it is as it should be.
    pub status: Option<Box<StatefulSetStatus>>,
    pub surplus: Vec<Arc<ControllerRevision>>,
    /// When a ready pod becomes available without any event to say so.
    pub wake_after: Option<Duration>,
}

/// Whether, with OrderedReady, the next pod may be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Goes,
    Waits,
}

pub fn is_ordered(set: &StatefulSet) -> bool {
    set.spec.pod_management_policy.as_deref() != Some("Parallel")
}

/// The ordinals that a decision looks at: of the pods that are there, and the first of those that are missing.
pub fn ordinals(set: &StatefulSet, pods: &[Arc<SeenPod>]) -> BTreeSet<i32> {
    let there: BTreeSet<i32> = pods.iter().filter_map(|pod| identity::ordinal_of(set, &pod.key.name)).collect();
    let limit = if is_ordered(set) { 1 } else { BURST_PODS };
    let missing: Vec<i32> = identity::wanted(set).filter(|ordinal| !there.contains(ordinal)).take(limit).collect();
    there.into_iter().chain(missing).collect()
}

pub fn decide(seen: &Observed) -> Decision {
    let set = &seen.set;
    let update = match history::present(&seen.revisions, &set.spec.template) {
        Present::Is(update) => update,
        // One that goes makes no history.
        _ if set.is_deleting() => return Decision::default(),
        Present::Again { revision, number } => return first(Step::Renumber { revision, number }),
        Present::Missing { number } => return first(Step::Create(Box::new(new_revision(set, number)))),
    };
    let current = set.status.as_ref().and_then(|s| s.current_revision.as_deref()).unwrap_or_default();
    let current = seen.revisions.iter().find(|r| r.name() == current).unwrap_or(&update);
    View::of(seen, current, &update).decide()
}

fn first(step: Step) -> Decision {
    Decision { history: Some(step), ..Decision::default() }
}

fn new_revision(set: &StatefulSet, number: i64) -> ControllerRevision {
    let collisions = set.status.as_ref().and_then(|s| s.collision_count).unwrap_or(0);
    let (template, base_max) = (&set.spec.template, REVISION_BASE_MAX);
    history::New { template, collisions, number, hash_label: HASH_LABEL, base_max }.of(set)
}

/// The observed state, sorted.
struct View<'a> {
    seen: &'a Observed,
    ordered: bool,
    current: &'a ControllerRevision,
    update: &'a ControllerRevision,
    /// Of the ordinals that are wanted: those that are there, and the first that are missing.
    slots: BTreeMap<i32, Option<&'a Arc<SeenPod>>>,
    /// Pods of ordinals that are not wanted any more.
    condemned: BTreeMap<i32, &'a Arc<SeenPod>>,
    kept: OnceCell<Option<Arc<PodTemplateSpec>>>,
}

impl<'a> View<'a> {
    fn of(seen: &'a Observed, current: &'a ControllerRevision, update: &'a ControllerRevision) -> Self {
        let wanted = identity::wanted(&seen.set);
        let of_pod = |pod: &'a Arc<SeenPod>| Some((identity::ordinal_of(&seen.set, &pod.key.name)?, pod));
        let there: BTreeMap<i32, &Arc<SeenPod>> = seen.pods.iter().filter_map(of_pod).collect();
        let slots = ordinals(&seen.set, &seen.pods).into_iter().filter(|ordinal| wanted.contains(ordinal));
        let slots = slots.map(|ordinal| (ordinal, there.get(&ordinal).copied())).collect();
        let condemned = there.into_iter().filter(|(ordinal, _)| !wanted.contains(ordinal)).collect();
        Self { seen, ordered: is_ordered(&seen.set), current, update, slots, condemned, kept: OnceCell::new() }
    }

    fn decide(&self) -> Decision {
        let set = &self.seen.set;
        let mut decision = Decision {
            status: status::changed(set, &self.seen.pods, (self.current.name(), self.update.name()), self.seen.now),
            wake_after: self.wake_after(),
            ..Decision::default()
        };
        if set.is_deleting() {
            return decision;
        }
        decision.claims = self.owners_of_claims();
        let made = self.make_and_mend(&mut decision);
        let settled = made == Flow::Goes && self.scale_down(&mut decision) == Flow::Goes;
        self.replace(settled, &mut decision);
        decision.surplus = self.surplus();
        decision
    }

    /// Goes through the wanted ordinals: what is missing is made, what has ended is made again.
    fn make_and_mend(&self, decision: &mut Decision) -> Flow {
        for (ordinal, pod) in &self.slots {
            let flow = match pod {
                None => self.make(*ordinal, decision),
                Some(pod) => self.mend(*ordinal, pod, decision),
            };
            if self.ordered && flow == Flow::Waits {
                return Flow::Waits;
            }
        }
        Flow::Goes
    }

    fn make(&self, ordinal: i32, decision: &mut Decision) -> Flow {
        let name = identity::pod_name(&self.seen.set, ordinal);
        let holder = Holder { set: &self.seen.set, ordinal, pod: (&name, "") };
        let there: Vec<_> = self.claims_of(ordinal).filter_map(|(_, claim)| claim).collect();
        if there.iter().any(|claim| claims::is_going_with_a_pod_before(claim, &holder)) {
            return Flow::Waits;
        }
        if let Some(going) = there.iter().find(|claim| claim.is_deleting()) {
            // It is gone some time, which its watch tells of.
            let why = format!("pvc {} is being deleted", going.name());
            decision.pods.push(PodStep::Refuse { verb: "Create", pod: name, why });
            return Flow::Waits;
        }
        let revision = self.wanted(ordinal);
        let is_own = revision.name() == self.update.name();
        let kept = if is_own { None } else { self.kept() };
        if !is_own && kept.is_none() {
            let why = format!("the data of controller revision {} is no pod template", revision.name());
            decision.pods.push(PodStep::Refuse { verb: "Create", pod: name, why });
            return Flow::Waits;
        }
        decision.claims.extend(self.missing_claims(ordinal, &name));
        let (set, revision) = (Arc::clone(&self.seen.set), revision.name().into());
        decision.pods.push(PodStep::Create(NewPod { set, template: kept, revision, ordinal }));
        Flow::Waits
    }

    /// The template that the current revision keeps: read once, however many pods are made from it.
    fn kept(&self) -> Option<Arc<PodTemplateSpec>> {
        self.kept.get_or_init(|| history::template(self.current).map(Arc::new)).clone()
    }

    fn mend(&self, ordinal: i32, pod: &Arc<SeenPod>, decision: &mut Decision) -> Flow {
        if pod.is_terminal() {
            // Whatever it ended with: a pod of a StatefulSet is to run. Its successor comes once it is gone.
            if pod.deleting.is_none() {
                decision.pods.push(PodStep::Delete(Arc::clone(pod)));
            }
            return Flow::Waits;
        }
        if pod.phase == Phase::Pending {
            decision.claims.extend(self.missing_claims(ordinal, &pod.key.name));
        }
        if self.ordered && (pod.deleting.is_some() || !self.is_available(pod)) {
            return Flow::Waits;
        }
        if !identity::is_labelled(pod) {
            decision.pods.push(PodStep::Label(Arc::clone(pod)));
        }
        if !identity::has_claims(&self.seen.set, pod, ordinal) {
            let (pod, why) =
                (pod.key.name.clone(), "its volumes are not its claims, which cannot be changed: delete it");
            decision.pods.push(PodStep::Refuse { verb: "Update", pod, why: why.into() });
            return Flow::Waits;
        }
        Flow::Goes
    }

    /// Pods go from the highest ordinal down. With OrderedReady each is waited for, and one that is not available goes only
    /// if none below it is unavailable, too.
    fn scale_down(&self, decision: &mut Decision) -> Flow {
        let first_unavailable = self.condemned.values().find(|pod| self.is_unavailable(pod));
        for pod in self.condemned.values().rev() {
            if pod.deleting.is_none() {
                let is_first = first_unavailable.is_some_and(|first| first.uid == pod.uid);
                if self.ordered && !self.is_available(pod) && !is_first {
                    return Flow::Waits;
                }
                decision.pods.push(PodStep::Delete(Arc::clone(pod)));
            }
            if self.ordered {
                return Flow::Waits;
            }
        }
        Flow::Goes
    }

    /// Replaces pods of other revisions than they should have. `settled`: nothing else has to be waited for.
    fn replace(&self, settled: bool, decision: &mut Decision) {
        if !status::is_rolling(&self.seen.set) || self.ordered && !decision.pods.is_empty() {
            return;
        }
        let rollout = self.rollout();
        let mut victims = rollout.broken();
        if self.ordered && !victims.is_empty() {
            victims.truncate(1);
        } else if settled {
            victims.extend(rollout.healthy());
        }
        let pod = |ordinal: i32| self.slots.get(&ordinal).copied().flatten();
        let deletes = victims.into_iter().filter_map(pod).map(|pod| PodStep::Delete(Arc::clone(pod)));
        decision.pods.extend(deletes);
    }

    fn rollout(&self) -> Rollout {
        let set = &self.seen.set;
        let member = |(ordinal, pod): (&i32, &Option<&Arc<SeenPod>>)| {
            let pod = pod.as_ref()?;
            let revision = history::of_pod(&pod.labels);
            Some(Member {
                ordinal: *ordinal,
                wanted: revision == self.wanted(*ordinal).name(),
                superseded: revision != self.current.name() && revision != self.update.name(),
                going: pod.deleting.is_some() || pod.is_terminal(),
                ready: pod.is_running_and_ready(),
                was_ready: pod.was_ready,
                available: !self.is_unavailable(pod),
            })
        };
        Rollout {
            replicas: identity::wanted(set).len(),
            max_unavailable: status::max_unavailable(set),
            first: status::first_to_update(set),
            members: self.slots.iter().filter_map(member).collect(),
        }
    }

    /// The revision that a pod of this ordinal should have.
    fn wanted(&self, ordinal: i32) -> &'a ControllerRevision {
        if ordinal < status::first_to_update(&self.seen.set) { self.current } else { self.update }
    }

    fn claims_of(
        &self,
        ordinal: i32,
    ) -> impl Iterator<Item = (&PersistentVolumeClaim, Option<&Arc<PersistentVolumeClaim>>)> {
        let set = &*self.seen.set;
        let templates = identity::claim_templates(set).iter();
        templates.map(move |template| (template, self.seen.claims.get(&identity::claim_name(set, template, ordinal))))
    }

    fn missing_claims(&self, ordinal: i32, pod: &str) -> Vec<ClaimStep> {
        let missing = self.claims_of(ordinal).enumerate().filter(|(_, (_, claim))| claim.is_none());
        let claim = |template| NewClaim { set: Arc::clone(&self.seen.set), template, ordinal };
        missing.map(|(template, _)| ClaimStep::Create { claim: claim(template), pod: pod.to_owned() }).collect()
    }

    /// Of all pods that are there, whatever else waits: who deletes a StatefulSet of which one pod is broken means all claims.
    fn owners_of_claims(&self) -> Vec<ClaimStep> {
        let there = self.slots.iter().filter_map(|(ordinal, pod)| Some((ordinal, (*pod)?)));
        let all = there.chain(self.condemned.iter().map(|(ordinal, pod)| (ordinal, *pod)));
        let steps = all.flat_map(|(ordinal, pod)| {
            let holder = Holder::of(&self.seen.set, *ordinal, pod);
            self.claims_of(*ordinal).filter_map(move |(_, claim)| {
                let claim = claim?;
                let Owners::Become(owners) = claims::owners(claim, &holder) else { return None };
                let conflict = claims::has_another_controller(claim, &holder);
                Some(ClaimStep::Own { claim: Arc::clone(claim), owners, conflict })
            })
        });
        steps.collect()
    }

    fn surplus(&self) -> Vec<Arc<ControllerRevision>> {
        let of_pods = self.seen.pods.iter().map(|pod| history::of_pod(&pod.labels));
        let live = of_pods.chain([self.current.name(), self.update.name()]).map(str::to_owned).collect();
        let limit = self.seen.set.spec.revision_history_limit.unwrap_or(-1);
        history::surplus(&self.seen.revisions, limit, &live, false)
    }

    fn is_available(&self, pod: &SeenPod) -> bool {
        let min_ready_secs = self.seen.set.spec.min_ready_seconds.unwrap_or(0);
        pod.is_running_and_ready() && pod.is_available(min_ready_secs, self.seen.now)
    }
    fn is_unavailable(&self, pod: &SeenPod) -> bool {
        pod.deleting.is_some() || !self.is_available(pod)
    }

    fn wake_after(&self) -> Option<Duration> {
        let min_ready_secs = self.seen.set.spec.min_ready_seconds.unwrap_or(0);
        let due = self.seen.pods.iter().filter_map(|pod| pod.available_at(min_ready_secs));
        let due = due.filter(|at| *at > self.seen.now).min()?;
        Duration::try_from(due.duration_since(self.seen.now)).ok()
    }
}

/// A merge patch of a pod that has lost the label that says which it is.
pub fn label_patch(pod: &SeenPod) -> serde_json::Value {
    serde_json::json!({"metadata": {"uid": pod.uid, "labels": {POD_NAME_LABEL: pod.key.name}}})
}

#[cfg(test)]
mod tests;
