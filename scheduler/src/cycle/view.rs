//! What local plugins say of every node to pods that ask the same. After each change of a node only that node is looked at
//! again, so the next pod of a template costs a look at a list of numbers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::framework::{Cycle, Filter, Inclusion, Normalize, Refusal, Scorer};
use crate::plugins::{node_affinity, taint_toleration};
use crate::pod::{Ask, PodClass};
use crate::profile::{Enabled, Profile};
use crate::snapshot::{NodeId, NodeInfo, Snapshot};

/// Asks that views are kept for; of more the one that was not used for the longest time goes.
const VIEWS_MAX: usize = 128;

const ABSENT: u32 = u32::MAX;
const FITS: u32 = 0;
/// The score of a node that does not fit.
pub(super) const NO_SCORE: i32 = -1;

/// Views by profile and ask.
#[derive(Debug, Default)]
pub struct Views {
    views: HashMap<(usize, Arc<Ask>), View>,
    clock: u64,
}

#[derive(Debug, Default)]
pub struct View {
    used: u64,
    /// How far it has seen the snapshot's changes; `None`: nothing yet.
    seen: Option<u64>,
    /// By node: [`ABSENT`], [`FITS`], or one more than the place of its refusal.
    verdicts: Vec<u32>,
    refusals: Vec<(usize, Refusal)>,
    inclusion: Inclusion,
    columns: Vec<Column>,
    /// By node: the scores that stand for themselves, by weight; [`NO_SCORE`] where it does not fit.
    absolute: Vec<i32>,
}

/// What one plugin scores, before it is normalized.
#[derive(Debug)]
struct Column {
    plugin: usize,
    weight: i64,
    normalize: Normalize,
    holds_for: u64,
    raw: Vec<i32>,
}

type Filters<'a> = Vec<(usize, Box<dyn Filter + 'a>)>;
/// A plugin that scores, by its place, and what it found out; nothing: all nodes are alike to it.
type Asked<'a> = (usize, &'a Enabled, Option<Box<dyn Scorer + 'a>>);

/// The filters of a profile's plugins that are local, or that are not.
pub(super) fn filters<'a>(profile: &'a Profile, cycle: &Cycle<'a>, local: bool) -> Filters<'a> {
    let plugins = profile.plugins.iter().enumerate().filter(|(_, e)| e.filters && e.plugin.is_local() == local);
    plugins.filter_map(|(at, enabled)| Some((at, enabled.plugin.filter(cycle)?))).collect()
}

/// What the local plugins that score found out.
fn scorers<'a>(profile: &'a Profile, cycle: &Cycle<'a>) -> Vec<Asked<'a>> {
    let scores = profile.plugins.iter().enumerate().filter(|(_, e)| e.scores && e.plugin.is_local());
    scores.map(|(at, enabled)| (at, enabled, enabled.plugin.scorer(cycle, &[]))).collect()
}

impl Views {
    /// What is known for pods that ask what this class does, brought up to date.
    pub(super) fn refreshed(
        &mut self,
        at: usize,
        profile: &Profile,
        snapshot: &Snapshot,
        class: &Arc<PodClass>,
    ) -> &View {
        self.clock += 1;
        let key = (at, Arc::clone(&class.ask));
        if self.views.len() >= VIEWS_MAX && !self.views.contains_key(&key) {
            let oldest = self.views.iter().min_by_key(|(_, view)| view.used).map(|(key, _)| key.clone());
            oldest.into_iter().for_each(|key| drop(self.views.remove(&key)));
        }
        let view = self.views.entry(key).or_default();
        view.used = self.clock;
        view.refresh(profile, snapshot, class);
        view
    }
}

impl View {
    /// Of these nodes alone, for one decision: nothing is known of the others but whether their taints are tolerated.
    pub(super) fn of(profile: &Profile, snapshot: &Snapshot, class: &Arc<PodClass>, nodes: &[NodeId]) -> Self {
        let nothing = Inclusion::default();
        let cycle = Cycle { snapshot, class, inclusion: &nothing };
        let mut view = Self::default();
        view.resize(snapshot.id_end());
        for node in snapshot.nodes() {
            let is_tolerated = taint_toleration::is_tolerated(&node.spec, &class.ask.tolerations);
            view.inclusion.tolerated[node.id.at()] = is_tolerated;
        }
        let scorers = scorers(profile, &cycle);
        view.match_columns(&cycle, &scorers, snapshot.id_end());
        view.look_at(nodes, &filters(profile, &cycle, true), &scorers, &cycle);
        view
    }

    pub(super) fn fits(&self, node: NodeId) -> bool {
        self.verdicts.get(node.at()) == Some(&FITS)
    }
    /// The place in `refusals` of the node's, if a local plugin refuses it.
    pub(super) fn verdict(&self, node: NodeId) -> Option<usize> {
        let verdict = *self.verdicts.get(node.at())?;
        verdict.checked_sub(1).filter(|_| verdict != ABSENT).map(|at| at as usize)
    }
    /// Every refusal that there is, with the plugin whose it is.
    pub(super) fn refusals(&self) -> &[(usize, Refusal)] {
        &self.refusals
    }
    pub(super) fn inclusion(&self) -> &Inclusion {
        &self.inclusion
    }
    /// By node: the sum of the scores that stand for themselves, or [`NO_SCORE`].
    pub(super) fn absolute(&self) -> &[i32] {
        &self.absolute
    }
    /// Whether nodes differ by more than `absolute`.
    pub(super) fn has_relative_scores(&self) -> bool {
        self.relative().next().is_some()
    }
    /// Scores that say something only among the candidates: the weight, and the scores by node.
    pub(super) fn relative(&self) -> impl Iterator<Item = (i64, &Normalize, &[i32])> {
        let relative = self.columns.iter().filter(|c| c.normalize != Normalize::No && c.raw.iter().any(|s| *s != 0));
        relative.map(|c| (c.weight, &c.normalize, c.raw.as_slice()))
    }

    fn refresh(&mut self, profile: &Profile, snapshot: &Snapshot, class: &Arc<PodClass>) {
        let nothing = Inclusion::default();
        let cycle = Cycle { snapshot, class, inclusion: &nothing };
        let changed = self.changed(snapshot);
        self.seen = Some(snapshot.changes_seen());
        let scorers = scorers(profile, &cycle);
        let stale = self.match_columns(&cycle, &scorers, snapshot.id_end());
        if changed.as_ref().is_some_and(Vec::is_empty) && stale.is_empty() {
            return;
        }
        let filters = filters(profile, &cycle, true);
        let all: Vec<NodeId> = match changed {
            Some(nodes) => nodes,
            None => (0..snapshot.id_end()).map(|at| NodeId(at as u32)).collect(),
        };
        self.look_at(&all, &filters, &scorers, &cycle);
        for at in stale {
            for node in snapshot.nodes() {
                self.columns[at].set(node, scorers[at].2.as_deref());
            }
            (0..snapshot.id_end()).for_each(|at| self.sum(NodeId(at as u32)));
        }
    }

    fn look_at(&mut self, nodes: &[NodeId], filters: &Filters<'_>, scorers: &[Asked<'_>], cycle: &Cycle<'_>) {
        for id in nodes {
            let node = cycle.snapshot.node(*id);
            self.judge(node, filters, cycle.class);
            for (column, (_, _, scorer)) in self.columns.iter_mut().zip(scorers) {
                column.set(node, scorer.as_deref());
            }
            self.sum(*id);
        }
    }

    fn resize(&mut self, end: usize) {
        self.verdicts.resize(end, ABSENT);
        self.absolute.resize(end, NO_SCORE);
        self.inclusion.affine.resize(end, false);
        self.inclusion.tolerated.resize(end, false);
    }

    /// The nodes to look at; `None`: all.
    fn changed(&mut self, snapshot: &Snapshot) -> Option<Vec<NodeId>> {
        let end = snapshot.id_end();
        // Refusals that no node has any more go with a look at all nodes.
        let too_many = self.refusals.len() > 2 * end + 16;
        let changed = self.seen.filter(|_| !too_many).and_then(|seen| snapshot.changed_since(seen));
        let changed = changed.map(|nodes| {
            let mut nodes: Vec<NodeId> = nodes.collect();
            nodes.sort_unstable();
            nodes.dedup();
            nodes
        });
        if changed.is_none() {
            self.verdicts.clear();
            self.refusals.clear();
            self.columns.clear();
        }
        self.resize(end);
        changed
    }

    /// Brings the columns in line with the scorers; says which do not hold any more.
    fn match_columns(&mut self, cycle: &Cycle<'_>, scorers: &[Asked<'_>], end: usize) -> Vec<usize> {
        let is_new = self.columns.is_empty();
        let mut stale = Vec::new();
        for (at, (plugin, enabled, scorer)) in scorers.iter().enumerate() {
            let normalize = scorer.as_ref().map_or(Normalize::No, |s| s.normalize());
            let holds_for = enabled.plugin.scores_hold_for(cycle);
            if is_new {
                let (plugin, weight) = (*plugin, enabled.weight);
                self.columns.push(Column { plugin, weight, normalize, holds_for, raw: Vec::new() });
            } else if self.columns[at].holds_for != holds_for || self.columns[at].normalize != normalize {
                debug_assert_eq!(self.columns[at].plugin, *plugin);
                (self.columns[at].holds_for, self.columns[at].normalize) = (holds_for, normalize);
                stale.push(at);
            }
            self.columns[at].raw.resize(end, 0);
        }
        stale
    }

    fn judge(&mut self, node: &NodeInfo, filters: &Filters<'_>, class: &PodClass) {
        let at = node.id.at();
        if !node.known {
            (self.verdicts[at], self.inclusion.affine[at], self.inclusion.tolerated[at]) = (ABSENT, false, false);
            return;
        }
        self.inclusion.affine[at] = node_affinity::is_affine(&node.spec, &class.ask);
        self.inclusion.tolerated[at] = taint_toleration::is_tolerated(&node.spec, &class.ask.tolerations);
        let refused = filters.iter().find_map(|(plugin, filter)| Some((*plugin, filter.check(node).err()?)));
        self.verdicts[at] = match refused {
            None => FITS,
            Some(refusal) => {
                let known = self.refusals.iter().position(|r| *r == refusal);
                let place = known.unwrap_or_else(|| {
                    self.refusals.push(refusal);
                    self.refusals.len() - 1
                });
                u32::try_from(place + 1).unwrap_or(ABSENT)
            }
        };
    }

    fn sum(&mut self, node: NodeId) {
        let at = node.at();
        let absolute = self.columns.iter().filter(|c| c.normalize == Normalize::No);
        let sum: i64 = absolute.map(|c| c.weight * i64::from(c.raw[at])).sum();
        let fits = self.verdicts[at] == FITS;
        self.absolute[at] = if fits { i32::try_from(sum).unwrap_or(i32::MAX) } else { NO_SCORE };
    }
}

impl Column {
    fn set(&mut self, node: &NodeInfo, scorer: Option<&(dyn Scorer + '_)>) {
        let score = scorer.filter(|_| node.known).map_or(0, |s| s.score(node));
        self.raw[node.id.at()] = i32::try_from(score).unwrap_or(i32::MAX);
    }
}

#[cfg(test)]
impl Views {
    pub(super) fn len(&self) -> usize {
        self.views.len()
    }
}
