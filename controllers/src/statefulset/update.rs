//! Which pods of a StatefulSet are replaced next by ones of their right revision.
//!
//! Pods that serve go from the highest ordinal down, no more at once than may be unavailable. A pod that does not serve and
//! is of a wrong revision would hold everything up for ever if it waited for its turn: it goes before, since that takes
//! nothing away from anybody. So a StatefulSet comes out of a broken revision by itself once it is given a better one.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#rolling-updates>

/// What is known of a pod of a wanted ordinal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub ordinal: i32,
    /// It has the revision that it should have.
    pub wanted: bool,
    /// Its revision is neither the one before nor the new one.
    pub superseded: bool,
    /// It is being deleted, or has ended.
    pub going: bool,
    pub ready: bool,
    pub was_ready: bool,
    pub available: bool,
}

/// The state of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    pub replicas: usize,
    pub max_unavailable: usize,
    /// The first ordinal that gets the new revision; those below keep the one before.
    pub first: i32,
    /// The pods that are there of wanted ordinals, lowest first.
    pub members: Vec<Member>,
}

impl Rollout {
    /// Pods of a wrong revision that do not serve, highest ordinal first.
    ///
    /// One that was never ready can only win. One that was ready before may become so again, of which nobody could say
    /// that it holds for a new revision: so it goes only if no pod of a right revision would then be missing beyond what may
    /// be unavailable, and only in its turn, unless its revision is gone for good.
    pub fn broken(&self) -> Vec<i32> {
        let mut under_way =
            self.missing() + self.members.iter().filter(|m| !m.available && (m.wanted || m.going)).count();
        let (mut victims, mut is_its_turn) = (Vec::new(), true);
        for member in self.members.iter().rev().filter(|m| !m.wanted && !m.going) {
            let may_go = is_its_turn || member.superseded || member.ordinal < self.first;
            if member.ready {
                is_its_turn = false;
            } else if !member.was_ready {
                victims.push(member.ordinal);
            } else if may_go && under_way < self.max_unavailable {
                under_way += 1;
                victims.push(member.ordinal);
            } else {
                is_its_turn = false;
            }
        }
        victims
    }

    /// Pods of the revision before that serve, as many as may be unavailable beside those that are so already.
    pub fn healthy(&self) -> Vec<i32> {
        let unavailable = self.missing() + self.members.iter().filter(|m| !m.available).count();
        let due = self.members.iter().rev().filter(|m| m.ordinal >= self.first && !m.wanted && !m.going && m.ready);
        due.take(self.max_unavailable.saturating_sub(unavailable)).map(|m| m.ordinal).collect()
    }

    fn missing(&self) -> usize {
        self.replicas.saturating_sub(self.members.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter for a pod, from ordinal 0 on. Of the new revision: `N` serves, `n` does not. Of the one before: `O` serves,
    /// `o` does not any more, `x` never did. Of one between: `B` serves, `b` not any more, `y` never did. `-` goes, `.` is
    /// missing.
    fn rollout(pods: &str, max_unavailable: usize, first: i32) -> Rollout {
        let member = |(ordinal, letter): (i32, char)| {
            let upper = letter.is_ascii_uppercase();
            let wanted = if ordinal < first { "OoxX".contains(letter) } else { "Nn".contains(letter) };
            (letter != '.').then(|| Member {
                ordinal,
                wanted,
                superseded: "Bby".contains(letter),
                going: letter == '-',
                ready: upper,
                was_ready: !"xy".contains(letter),
                available: upper,
            })
        };
        let members = (0..).zip(pods.chars()).filter_map(member).collect();
        Rollout { replicas: pods.len(), max_unavailable, first, members }
    }

    #[test]
    fn healthy_table() {
        let cases: &[(&str, &str, usize, i32, &[i32])] = &[
            ("all old: the highest goes", "OOO", 1, 0, &[2]),
            ("one goes: the others wait", "OO-", 1, 0, &[]),
            ("one is missing: the others wait", "OO.", 1, 0, &[]),
            ("the new one does not serve yet", "OOn", 1, 0, &[]),
            ("the new one serves: the next", "OON", 1, 0, &[1]),
            ("a lower one does not serve: wait", "oOO", 1, 0, &[]),
            ("two may be unavailable: two go", "OOOO", 2, 0, &[3, 2]),
            ("two may be unavailable, one is", "OOOn", 2, 0, &[2]),
            ("two may be unavailable, one is an old one", "oOOO", 2, 0, &[3]),
            ("the partition keeps the lower ones", "OON", 1, 2, &[]),
            ("down to the partition", "OOO", 3, 1, &[2, 1]),
            ("a partition above all", "OOO", 1, 9, &[]),
            ("all new", "NNN", 1, 0, &[]),
            ("one between serves: it goes in its turn", "OOB", 1, 0, &[2]),
        ];
        for (why, pods, max, first, expected) in cases {
            assert_eq!(rollout(pods, *max, *first).healthy(), *expected, "{why}");
        }
    }

    #[test]
    fn broken_table() {
        let cases: &[(&str, &str, usize, i32, &[i32])] = &[
            ("all serve", "OOO", 1, 0, &[]),
            ("the first revision was broken", "x..", 1, 0, &[0]),
            ("the first revision was broken from its second pod on", "Ox.", 1, 0, &[1]),
            ("the update was broken, and is given up", "OOy", 1, 0, &[2]),
            ("two were taken by a broken update", "OOyy", 2, 0, &[3, 2]),
            ("the update is broken: nothing better is known", "OOn", 1, 0, &[]),
            ("one made anew meanwhile has the broken revision", "yOO", 1, 0, &[0]),
            ("one between broke later, and others go on", "bOO", 1, 0, &[0]),
            ("one between broke later, but one is under way", "bOn", 1, 0, &[]),
            ("one between broke later, and two may be unavailable", "bOn", 2, 0, &[0]),
            ("an old one that served is waited for", "oOO", 1, 0, &[]),
            ("unless it is its turn", "OOo", 1, 0, &[2]),
            ("its turn, but one is under way", "Oon", 1, 0, &[]),
            ("its turn, with the one above done", "OoN", 1, 0, &[1]),
            ("below one that serves it is not its turn", "oON", 1, 0, &[]),
            ("an old one that never served is not waited for", "xOO", 1, 0, &[0]),
            ("nobody serves any more: one after the other", "ooo", 1, 0, &[2]),
            ("nobody serves any more: two may be unavailable", "ooo", 2, 0, &[2, 1]),
            ("one that goes is gone", "OO-", 1, 0, &[]),
            ("below the partition: back to the one before", "OnO", 1, 3, &[1]),
            ("below the partition, as it should be", "OoO", 1, 3, &[]),
        ];
        for (why, pods, max, first, expected) in cases {
            assert_eq!(rollout(pods, *max, *first).broken(), *expected, "{why}");
        }
    }

    /// Every state of up to four pods: what serves is taken only within the bound, and nothing that is right.
    #[test]
    fn no_state_loses_more_than_may_be_unavailable() {
        let letters: Vec<char> = "NnOoxBby-.".chars().collect();
        for number in 0..10_000_usize {
            let pods: String = (0..4).map(|place| letters[number / 10_usize.pow(place) % 10]).collect();
            for max in 1..3 {
                let rollout = rollout(&pods, max, 0);
                let serving = rollout.members.iter().filter(|m| m.available).count();
                let (healthy, broken) = (rollout.healthy(), rollout.broken());
                assert!(healthy.is_empty() || serving - healthy.len() >= 4 - max, "{pods} {max}: {healthy:?}");
                for victim in healthy.iter().chain(&broken) {
                    let letter = pods.chars().nth(usize::try_from(*victim).unwrap()).unwrap();
                    assert!(!"Nn-.".contains(letter), "{pods} {max}: {victim} is as it should be");
                    assert!(healthy.contains(victim) || letter.is_ascii_lowercase(), "{pods} {max}: {victim} serves");
                }
                assert!(healthy.iter().all(|victim| !broken.contains(victim)), "{pods}: nobody goes twice");
            }
        }
    }
}
