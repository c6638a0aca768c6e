//! The edits that lead from one set of elements to another, and the flows that a change leaves stale. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::elements::{self, Chain, Elements, Map, Slot, Value};
use super::ledger::Change;
use super::{End, Fate, Front, FrontRules};
use crate::view::Protocol;

/// One edit of the kernel's maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    Add(Slot, Value),
    /// The slot holds `old` now; the kernel does not overwrite, so this is a removal and an addition.
    Replace(Slot, Value),
    Remove(Slot),
}

impl Edit {
    /// The chain that has to be there first.
    pub fn needs(&self) -> Option<Chain> {
        match self {
            Self::Add(_, Value::Goto(chain)) | Self::Replace(_, Value::Goto(chain)) => Some(*chain),
            Self::Add(..) | Self::Replace(..) | Self::Remove(_) => None,
        }
    }
}

/// Ordered so that nothing ever points at a missing thing: ends come before the verdicts that
/// count them (slots sort that way), and leave after. Sources leave first: the kernel takes no range that overlaps another.
pub fn diff(have: &Elements, want: &Elements) -> Vec<Edit> {
    let put = want.iter().filter_map(|(slot, value)| match have.get(slot) {
        None => Some(Edit::Add(*slot, *value)),
        Some(old) if old != value => Some(Edit::Replace(*slot, *value)),
        Some(_) => None,
    });
    let gone = |first: bool| {
        let slots = have.keys().rev().filter(move |slot| (slot.map == Map::Sources) == first);
        slots.filter(|slot| !want.contains_key(slot)).map(|slot| Edit::Remove(*slot))
    };
    gone(true).chain(put).chain(gone(false)).collect()
}

/// The edits for changed fronts.
pub fn edits(changes: &[Change]) -> Vec<Edit> {
    let of = |front: &Front, rules: &Option<FrontRules>| {
        rules.as_ref().map(|r| elements::of_front(front, r)).unwrap_or_default()
    };
    changes.iter().flat_map(|c| diff(&of(&c.front, &c.before), &of(&c.front, &c.after))).collect()
}

/// UDP flows that the kernel would keep sending where nothing listens any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StaleFlow {
    pub front: Front,
    /// Flows that were sent to this end; `None` for those that were sent on untranslated.
    pub end: Option<End>,
}

/// A UDP flow that the kernel tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// What the client addressed.
    pub front: Front,
    /// Where it is sent; `None`: on untranslated.
    pub end: Option<End>,
    /// A front of ours sent it there.
    pub balanced: bool,
}

/// Whether a flow no longer goes where its front, with these rules in force, would send it: for a start that does not
/// know what changed since an earlier run.
pub fn is_stale(flow: &Flow, rules: Option<&FrontRules>) -> bool {
    let Some(rules) = rules else {
        // Not ours any more. Others may translate what they like.
        return flow.balanced && flow.end.is_some();
    };
    let ends = ends(Some(rules));
    flow.end.map_or(!ends.is_empty(), |end| !ends.contains(&end))
}

/// A UDP flow has no end that a client notices, so its translation must be forgotten for it: when its
/// end leaves, and when the first end comes to a front that had none.
pub fn stale_flows(changes: &[Change]) -> Vec<StaleFlow> {
    let mut stale = Vec::new();
    for change in changes.iter().filter(|c| c.front.protocol == Protocol::Udp) {
        let (before, after) = (ends(change.before.as_ref()), ends(change.after.as_ref()));
        if before.is_empty() && !after.is_empty() {
            stale.push(StaleFlow { front: change.front, end: None });
        }
        stale.extend(before.difference(&after).map(|end| StaleFlow { front: change.front, end: Some(*end) }));
    }
    stale
}

/// Ends that sticky clients may remember and that their front sends to no more. Ends that come make no client stale.
pub fn stale_clients(changes: &[Change]) -> BTreeMap<Front, BTreeSet<End>> {
    let sticky = changes.iter().filter(|c| c.before.as_ref().is_some_and(|rules| rules.affinity_secs.is_some()));
    let gone = |c: &Change| -> BTreeSet<End> { &ends(c.before.as_ref()) - &ends(c.after.as_ref()) };
    sticky.map(|c| (c.front, gone(c))).filter(|(_, gone)| !gone.is_empty()).collect()
}

/// All ends that a front may send to.
pub fn ends(rules: Option<&FrontRules>) -> BTreeSet<End> {
    let fates = rules.into_iter().flat_map(|r| [Some(&r.inside), r.outside.as_ref()]).flatten();
    fates.flat_map(|fate| if let Fate::Balance(ends) = fate { ends.to_vec() } else { Vec::new() }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn change(protocol: Protocol, before: Option<&[u8]>, after: Option<&[u8]>) -> Change {
        let rules = |lasts: &[u8]| {
            let ends: Arc<[End]> = lasts.iter().map(|n| End { address: [10, 244, 1, *n].into(), port: 1 }).collect();
            let inside = if ends.is_empty() { Fate::Refuse } else { Fate::Balance(ends) };
            FrontRules { inside, outside: None, affinity_secs: Some(60), sources: None }
        };
        let front = Front { address: [10, 96, 0, 9].into(), protocol, port: 53 };
        Change { front, before: before.map(rules), after: after.map(rules) }
    }

    #[test]
    fn only_ends_that_left_make_flows_and_clients_stale() {
        for (why, before, after, gone) in [
            ("one comes", Some(&[1u8][..]), Some(&[1u8, 2][..]), &[][..]),
            ("they change places", Some(&[1, 2]), Some(&[2, 1]), &[]),
            ("one leaves", Some(&[1, 2]), Some(&[2]), &[1]),
            ("all leave", Some(&[1, 2]), Some(&[]), &[1, 2]),
            ("the Service goes", Some(&[1]), None, &[1]),
            ("the Service comes", None, Some(&[1]), &[]),
        ] {
            let gone: BTreeSet<End> = gone.iter().map(|n| End { address: [10, 244, 1, *n].into(), port: 1 }).collect();
            let clients = stale_clients(&[change(Protocol::Tcp, before, after)]);
            assert_eq!(clients.into_values().next().unwrap_or_default(), gone, "{why}: clients");
            assert_eq!(stale_flows(&[change(Protocol::Tcp, before, after)]), [], "{why}: TCP clients notice");
            let flows = stale_flows(&[change(Protocol::Udp, before, after)]);
            assert_eq!(flows.iter().filter_map(|f| f.end).collect::<BTreeSet<End>>(), gone, "{why}: flows");
        }
    }

    #[test]
    fn flows_of_an_earlier_run_table() {
        let front = Front { address: [10, 96, 0, 9].into(), protocol: Protocol::Udp, port: 53 };
        let end = |last| End { address: [10, 244, 1, last].into(), port: 5353 };
        let rules = |inside| FrontRules { inside, outside: None, affinity_secs: None, sources: None };
        let serving = rules(Fate::Balance(Arc::new([end(1), end(2)])));
        let nobody = rules(Fate::Refuse);
        let cases = [
            ("sent where it would be sent now", Some(&serving), Some(end(1)), true, false),
            ("sent to a pod that is gone", Some(&serving), Some(end(9)), true, true),
            ("began before there was a Service", Some(&serving), None, false, true),
            ("there is nobody any more", Some(&nobody), Some(end(1)), true, true),
            ("there was nobody ever", Some(&nobody), None, false, false),
            ("the Service is gone", None, Some(end(1)), true, true),
            ("others' translation", None, Some(end(1)), false, false),
            ("nothing of ours at all", None, None, false, false),
        ];
        for (why, rules, end, balanced, expected) in cases {
            assert_eq!(is_stale(&Flow { front, end, balanced }, rules), expected, "{why}");
        }
    }
}
