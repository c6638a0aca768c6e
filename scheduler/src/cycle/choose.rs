//! The best of the nodes that will do: the sum of all scores by weight decides, and among equals they take turns.

use super::search::Search;
use super::view::NO_SCORE;
use crate::framework::Scorer;
use crate::snapshot::{NodeId, NodeInfo};

pub(super) fn best<'a>(search: &Search<'a>, tie: usize) -> Option<&'a NodeInfo> {
    let looks_at_all = search.looks_at_all()
        && search.profile.percentage_of_nodes_to_score == 0
        && search.wide.is_empty()
        && !search.keeps_room()
        && !search.view.has_relative_scores()
        && scorers(search, &[]).is_empty();
    let id = if looks_at_all { top(search.view.absolute(), tie) } else { searched(search, tie) };
    id.map(|id| search.cycle.snapshot.node(id))
}

/// What is known of each node is all there is to say: the largest number wins.
fn top(scores: &[i32], tie: usize) -> Option<NodeId> {
    let best = scores.iter().copied().max().filter(|score| *score > NO_SCORE)?;
    let winners = scores.iter().filter(|score| **score == best).count();
    let at = scores.iter().enumerate().filter(|(_, score)| **score == best).nth(tie % winners.max(1))?.0;
    Some(NodeId(at as u32))
}

/// Looks at nodes, beginning at another one each time, until enough will do; then scores those.
fn searched(search: &Search<'_>, tie: usize) -> Option<NodeId> {
    let snapshot = search.cycle.snapshot;
    let all = search.nodes();
    let enough = search.profile.nodes_to_find(all.len());
    // Decisions that follow each other begin far apart: each finds other nodes than the one before.
    let (before, after) = all.split_at(tie.wrapping_mul(enough) % all.len().max(1));
    let nodes = after.iter().chain(before).map(|id| snapshot.node(*id)).filter(|node| search.fits(node));
    let mut candidates: Vec<NodeId> = nodes.take(enough).map(|node| node.id).collect();
    if candidates.len() < 2 {
        return candidates.first().copied();
    }
    candidates.sort_unstable();
    let totals = totals(search, &candidates);
    let best = totals.iter().max()?;
    let winners: Vec<NodeId> = candidates.iter().zip(&totals).filter(|(_, t)| *t == best).map(|(id, _)| *id).collect();
    winners.get(tie % winners.len().max(1)).copied()
}

fn totals(search: &Search<'_>, candidates: &[NodeId]) -> Vec<i64> {
    let mut totals: Vec<i64> = candidates.iter().map(|id| i64::from(search.view.absolute()[id.at()])).collect();
    let mut scores = vec![0; candidates.len()];
    for (weight, normalize, raw) in search.view.relative() {
        scores.iter_mut().zip(candidates).for_each(|(score, id)| *score = i64::from(raw[id.at()]));
        normalize.apply(candidates, &mut scores);
        totals.iter_mut().zip(&scores).for_each(|(total, score)| *total += weight * score);
    }
    for (weight, scorer) in scorers(search, candidates) {
        let of = |id: &NodeId| scorer.score(search.cycle.snapshot.node(*id));
        scores.iter_mut().zip(candidates).for_each(|(score, id)| *score = of(id));
        scorer.normalize().apply(candidates, &mut scores);
        totals.iter_mut().zip(&scores).for_each(|(total, score)| *total += weight * score);
    }
    totals
}

/// Of the plugins whose answers do not follow from the node alone.
fn scorers<'a>(search: &Search<'a>, candidates: &[NodeId]) -> Vec<(i64, Box<dyn Scorer + 'a>)> {
    let plugins = search.profile.plugins.iter().filter(|e| e.scores && !e.plugin.is_local());
    plugins.filter_map(|e| Some((e.weight, e.plugin.scorer(&search.cycle, candidates)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_number_wins_and_equals_take_turns() {
        let turns = |scores: &[i32]| (0..4).map(|tie| top(scores, tie).map(|id| id.0)).collect::<Vec<_>>();
        assert_eq!(turns(&[3, 7, NO_SCORE, 7]), [Some(1), Some(3), Some(1), Some(3)]);
        assert_eq!(turns(&[0]), [Some(0); 4], "no score is still a node that will do");
        assert_eq!(turns(&[NO_SCORE, NO_SCORE]), [None; 4]);
        assert_eq!(turns(&[]), [None; 4]);
    }
}
