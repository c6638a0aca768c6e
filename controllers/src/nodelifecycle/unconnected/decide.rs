//! Which nodes no apiserver knows as connected, and when enough of them have answered to go by that. Pure.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

/// From the takeover to the first look: apiservers answer and nodes are seen until then.
pub const AFTER_TAKEOVER: Duration = Duration::from_secs(1);
/// From the end of an apiserver's stream to the look at nodes that were connected to it: those that live go to another
/// apiserver, or come back to it, in less.
pub const AFTER_STREAM_END: Duration = Duration::from_secs(5);
/// How long those are waited for that have not answered when the first one has: a dead machine never does.
pub const OTHERS_WITHIN: Duration = Duration::from_secs(2);

/// What an apiserver has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was asked.
    Awaited,
    /// There is no stream, and the next try comes later.
    Unreachable,
    /// It tells who is connected, and is not done.
    Begun,
    /// All who are connected are known.
    Complete,
}

/// Since when a look at the nodes that nobody knows as connected is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub not_before: Instant,
    /// When the first of the apiservers was complete, as far as it counts for this look.
    pub first_complete: Option<Instant>,
}

/// When the look may be; `None`: not before more is known. Without any apiserver's word nodes are found by their leases.
pub fn due(wanted: Wanted, answers: impl IntoIterator<Item = Answer>) -> Option<Instant> {
    let first_complete = wanted.first_complete?;
    let mut awaits_none = true;
    let mut knows_any = false;
    for answer in answers {
        awaits_none &= matches!(answer, Answer::Complete | Answer::Unreachable);
        knows_any |= answer == Answer::Complete;
    }
    let enough = if awaits_none { first_complete } else { first_complete + OTHERS_WITHIN };
    knows_any.then(|| enough.max(wanted.not_before))
}

#[derive(Debug)]
struct Apiserver {
    answer: Answer,
    /// Bounded by the connections that it accepts.
    nodes: HashSet<String>,
}

/// What all apiservers have told, and whether it has to be acted on.
#[derive(Debug)]
pub struct Connections {
    apiservers: Vec<Apiserver>,
    wanted: Option<Wanted>,
}

impl Connections {
    /// At a takeover.
    pub fn new(apiservers: usize, now: Instant) -> Self {
        let apiserver = || Apiserver { answer: Answer::Awaited, nodes: HashSet::new() };
        let wanted = Wanted { not_before: now + AFTER_TAKEOVER, first_complete: None };
        Self { apiservers: std::iter::repeat_with(apiserver).take(apiservers).collect(), wanted: Some(wanted) }
    }

    pub fn connected(&mut self, apiserver: usize, names: &[String]) {
        let Some(told) = self.apiservers.get_mut(apiserver) else { return };
        told.nodes.extend(names.iter().cloned());
        if told.answer != Answer::Complete {
            told.answer = Answer::Begun;
        }
    }

    pub fn lost(&mut self, apiserver: usize, names: &[String]) {
        let Some(told) = self.apiservers.get_mut(apiserver) else { return };
        for name in names {
            told.nodes.remove(name);
        }
    }

    pub fn complete(&mut self, apiserver: usize, now: Instant) {
        let Some(told) = self.apiservers.get_mut(apiserver) else { return };
        told.answer = Answer::Complete;
        if let Some(wanted) = &mut self.wanted {
            wanted.first_complete.get_or_insert(now);
        }
    }

    /// There is no stream any more, or none could be opened. What was told over it is not known to be so any longer.
    pub fn ended(&mut self, apiserver: usize, now: Instant) {
        let Some(told) = self.apiservers.get_mut(apiserver) else { return };
        let was_complete = told.answer == Answer::Complete;
        (told.answer, told.nodes) = (Answer::Unreachable, HashSet::new());
        // A machine that died with its apiserver may have had no connection but to that.
        if was_complete && self.wanted.is_none() {
            let knows_any = self.apiservers.iter().any(|one| one.answer == Answer::Complete);
            let not_before = now + AFTER_STREAM_END;
            self.wanted = Some(Wanted { not_before, first_complete: knows_any.then_some(not_before) });
        }
    }

    /// When to look; `None`: no look is wanted, or too little is known for one.
    pub fn due(&self) -> Option<Instant> {
        due(self.wanted?, self.apiservers.iter().map(|one| one.answer))
    }

    pub fn looked(&mut self) {
        self.wanted = None;
    }

    pub fn is_connected(&self, node: &str) -> bool {
        self.apiservers.iter().any(|one| one.nodes.contains(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_waits_for_those_who_can_answer_and_no_longer() {
        use Answer::{Awaited, Begun, Complete, Unreachable};
        let takeover = Instant::now();
        let at = |millis: u64| takeover + Duration::from_millis(millis);
        // why, what the apiservers have told, when the first was complete, when the look is due
        let cases = [
            ("nobody has answered yet", vec![Awaited, Awaited], None, None),
            ("nobody can be reached", vec![Unreachable, Unreachable], None, None),
            ("the only one has told all", vec![Complete], Some(20), Some(1000)),
            ("all have, late", vec![Complete, Complete], Some(3000), Some(3000)),
            ("a dead one does not answer", vec![Complete, Awaited], Some(20), Some(2020)),
            ("one is at it still", vec![Begun, Complete], Some(20), Some(2020)),
            ("one refuses at once: nobody to wait for", vec![Complete, Unreachable], Some(20), Some(1000)),
            ("one has begun, and none is done", vec![Begun, Unreachable], None, None),
            ("the only one that was done is gone again", vec![Unreachable, Awaited], Some(20), None),
        ];
        for (why, answers, first_complete, expected) in cases {
            let wanted = Wanted { not_before: takeover + AFTER_TAKEOVER, first_complete: first_complete.map(at) };
            assert_eq!(due(wanted, answers), expected.map(at), "{why}");
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_node_is_connected_as_long_as_one_apiserver_says_so() {
        let now = Instant::now();
        let mut all = Connections::new(2, now);
        all.connected(0, &names(&["n1", "n2"]));
        all.connected(1, &names(&["n2"]));
        all.lost(0, &names(&["n1", "n2"]));
        assert_eq!((all.is_connected("n1"), all.is_connected("n2")), (false, true));
        all.ended(1, now);
        assert!(!all.is_connected("n2"), "nobody knows any more");
    }

    #[test]
    fn the_end_of_a_stream_asks_for_a_look_once_its_nodes_may_have_gone_elsewhere() {
        let now = Instant::now();
        let mut all = Connections::new(2, now);
        (0..2).for_each(|apiserver| all.complete(apiserver, now));
        assert_eq!(all.due(), Some(now + AFTER_TAKEOVER));
        all.looked();
        assert_eq!(all.due(), None, "one look is enough");
        let end = now + Duration::from_secs(60);
        all.ended(0, end);
        assert_eq!(all.due(), Some(end + AFTER_STREAM_END));
        all.looked();
        all.ended(0, end + Duration::from_secs(2));
        assert_eq!(all.due(), None, "a try that fails again is nothing new");
        all.ended(1, end);
        assert_eq!(all.due(), None, "nobody is left who could tell");
        let back = end + Duration::from_secs(20);
        all.complete(1, back);
        assert_eq!(all.due(), Some(back));
    }
}
