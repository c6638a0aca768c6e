//! Why no node will do, in upstream's words: every reason with the number of nodes that have it.

use std::collections::HashMap;

use crate::framework::Refusal;

/// `0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu.`
pub(super) fn message<'a>(nodes: usize, refusals: impl Iterator<Item = &'a Refusal>) -> String {
    if nodes == 0 {
        return "no nodes available to schedule pods".into();
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for reason in refusals.flat_map(Refusal::reasons) {
        *counts.entry(reason).or_default() += 1;
    }
    let mut parts: Vec<String> = counts.iter().map(|(text, n)| format!("{n} {text}")).collect();
    parts.sort_unstable();
    format!("0/{nodes} nodes are available: {}.", parts.join(", "))
}
