//! Which pods would have to go for one that fits nowhere, and on which node that costs least. Pure: `bind` does it.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/#preemption>

mod budgets;
mod pick;

use super::PodRef;
use super::explain::Tally;
use super::search::{Filters, Refused, Search};
use crate::framework::{Other, Refusal};
use crate::profile::Preemption;
use crate::snapshot::{NodeInfo, PlacedPod, PodId, Snapshot};
use pick::Candidate;

pub(super) enum Attempt {
    Nominate {
        node: String,
        victims: Vec<PodRef>,
    },
    /// It may not preempt now, for this reason.
    NotEligible(&'static str),
    /// No node would do without the pods that may go; what each says then.
    NotHelpful(Tally),
}

/// What became of one node that was looked at.
type Simulated<'a> = Result<Candidate<'a>, Refusal>;

const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

pub(super) fn attempt(search: &Search<'_>, settings: &Preemption, refused: &Refused, tie: usize) -> Attempt {
    let local = search.local();
    if let Err(why) = may_preempt(search, &local) {
        return Attempt::NotEligible(why);
    }
    let snapshot = search.cycle.snapshot;
    let potential: Vec<&NodeInfo> = refused.potential.iter().map(|id| snapshot.node(*id)).collect();
    let enough = settings.candidates(potential.len());
    let start = tie % potential.len().max(1);
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    let mut refusals = Tally::default();
    for node in potential.iter().cycle().skip(start).take(potential.len()) {
        match simulate(search, &local, node) {
            Ok(candidate) => candidates.push(candidate),
            Err(refusal) => refusals.add(refusal, 1),
        }
        // One that breaks no budget is worth a longer search.
        if candidates.len() >= enough && candidates.iter().any(|c| c.violations == 0) {
            break;
        }
    }
    match pick::best(candidates) {
        Some(best) => {
            let victims =
                best.victims.iter().map(|pod| PodRef { key: pod.key.clone(), uid: pod.uid.clone() }).collect();
            Attempt::Nominate { node: best.node.name().into(), victims }
        }
        None => {
            // Where nobody could go the nodes were not looked at one by one.
            refusals.add(Refusal::unresolvable(NO_VICTIMS), refused.resolvable - potential.len());
            let others = snapshot.len() - refused.resolvable;
            refusals.add(Refusal::unresolvable("Preemption is not helpful for scheduling"), others);
            Attempt::NotHelpful(refusals)
        }
    }
}

fn may_preempt(search: &Search<'_>, local: &Filters<'_>) -> Result<(), &'static str> {
    if search.cycle.class.never_preempts {
        return Err("not eligible due to preemptionPolicy=Never.");
    }
    let Some(nominated) = search.nominated_for() else { return Ok(()) };
    let snapshot = search.cycle.snapshot;
    let Some(node) = snapshot.node_named(nominated) else { return Ok(()) };
    let Some(refusal) = search.refusal(node, local) else { return Ok(()) };
    let leaves = |id: &PodId| {
        let pod = snapshot.pod(*id);
        pod.deleting && pod.preempted && pod.class.priority < search.cycle.class.priority
    };
    // Room is being made already. Where that would not help any more it may look elsewhere.
    if refusal.resolvable && node.pods.iter().any(leaves) {
        return Err("not eligible due to a terminating pod on the nominated node.");
    }
    Ok(())
}

/// A node on which pods are thought away and back.
struct Simulation<'s, 'a> {
    search: &'s Search<'a>,
    local: &'s Filters<'s>,
    wide: Filters<'a>,
    node: NodeInfo,
}

impl<'a> Simulation<'_, 'a> {
    fn fits(&self) -> Result<(), Refusal> {
        self.search.check(&self.node, self.local, &self.wide)
    }
    fn snapshot(&self) -> &'a Snapshot {
        self.search.cycle.snapshot
    }
    fn remove(&mut self, id: PodId, pod: &PlacedPod) {
        self.node.remove(id, &pod.class.ask, self.snapshot().amounts_of(&pod.class));
        let other = Other { class: &pod.class, deleting: pod.deleting };
        self.wide.iter_mut().for_each(|(_, filter)| filter.remove(other, self.node.id));
    }
    fn add(&mut self, id: PodId, pod: &PlacedPod) {
        self.node.add(id, &pod.class.ask, self.snapshot().amounts_of(&pod.class));
        let other = Other { class: &pod.class, deleting: pod.deleting };
        self.wide.iter_mut().for_each(|(_, filter)| filter.add(other, self.node.id));
    }
}

/// The pods of a node that would have to go: all that may, less those that need not.
fn simulate<'a>(search: &Search<'a>, local: &Filters<'_>, node: &'a NodeInfo) -> Simulated<'a> {
    let snapshot = search.cycle.snapshot;
    let priority = search.cycle.class.priority;
    let pods = node.pods.iter().map(|id| (*id, snapshot.pod(*id)));
    let mut potential: Vec<(PodId, &PlacedPod)> = pods.filter(|(_, pod)| pod.class.priority < priority).collect();
    if potential.is_empty() {
        return Err(Refusal::unresolvable(NO_VICTIMS));
    }
    let mut simulation = Simulation { search, local, wide: search.fork_wide(), node: node.clone() };
    potential.iter().for_each(|(id, pod)| simulation.remove(*id, pod));
    simulation.fits()?;
    potential.sort_by(|(_, a), (_, b)| importance(a).cmp(&importance(b)));
    let (violating, others) = budgets::split(potential, &snapshot.budgets);
    let (mut victims, mut violations) = (Vec::new(), 0);
    // Those that a budget protects are the first that may stay.
    for (is_violating, (id, pod)) in
        violating.into_iter().map(|p| (true, p)).chain(others.into_iter().map(|p| (false, p)))
    {
        simulation.add(id, pod);
        if simulation.fits().is_err() {
            simulation.remove(id, pod);
            victims.push(pod);
            violations += usize::from(is_violating);
        }
    }
    victims.sort_by(|a, b| importance(a).cmp(&importance(b)));
    Ok(Candidate { node, victims, violations })
}

/// The more important pods come first: by priority, then those that have run for longer.
fn importance(pod: &PlacedPod) -> (std::cmp::Reverse<i32>, i64, &corten_api::Key) {
    (std::cmp::Reverse(pod.class.priority), started(pod), &pod.key)
}

/// One that has not started yet starts now.
fn started(pod: &PlacedPod) -> i64 {
    if pod.started_secs == 0 { i64::MAX } else { pod.started_secs }
}

#[cfg(test)]
mod tests;
