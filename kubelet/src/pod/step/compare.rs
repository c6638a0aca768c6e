//! The safety net: what the runtime really holds against what the machine believes. Pure.

use super::super::model::*;
use super::{FoundPod, FoundState, Machine, is_killed};

/// A container that the machine believes to be running and that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    pub name: String,
    pub id: String,
    pub attempt: u32,
    /// `None`: the runtime has lost it.
    pub ended: Option<Ended>,
}

/// What the machine did not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    pub ended: Vec<Unseen>,
    /// Containers that run though they should not: a start whose answer was lost, a kill that had no effect.
    pub strays: Vec<String>,
    pub lost_sandbox: Option<String>,
}

impl Machine {
    /// `knew_before` says of an id whether it was known here before the runtime was asked: of what came later the
    /// runtime's answer says nothing.
    pub fn compare(&self, found: &FoundPod, knew_before: impl Fn(&str) -> bool) -> Differences {
        let running = self.containers.iter().filter_map(|c| Some((c, c.running_id()?)));
        let ended = running.filter(|(_, id)| knew_before(id)).filter_map(|(c, id)| {
            let ended = match found.containers.iter().find(|f| f.id == id).map(|f| &f.state) {
                Some(FoundState::Running { .. }) => return None,
                Some(FoundState::Exited(ended)) => Some(ended.clone()),
                Some(FoundState::Created) | None => None,
            };
            Some(Unseen { name: c.want.name.clone(), id: id.to_owned(), attempt: c.restarts, ended })
        });
        // Of a pod that is ending nobody needs the sandbox any more.
        let up = self.sandbox.done().filter(|up| self.stage == Stage::Live && knew_before(&up.id));
        let lost = up.filter(|up| found.sandbox.as_ref().is_none_or(|s| s.id != up.id));
        Differences { ended: ended.collect(), strays: self.strays(found), lost_sandbox: lost.map(|up| up.id.clone()) }
    }

    /// To kill what has ended meanwhile is no harm, so here nothing depends on when the runtime was asked.
    fn strays(&self, found: &FoundPod) -> Vec<String> {
        let running = found.containers.iter().filter(|f| matches!(f.state, FoundState::Running { .. }));
        let belongs = |name: &str, id: &str, attempt: u32| {
            self.container(name).is_some_and(|c| match &c.now {
                Now::Running { id: ours, .. } => ours == id && !is_killed(c),
                Now::Starting { .. } => c.restarts == attempt,
                Now::Idle { .. } | Now::Pulling | Now::ImageReady | Now::Exited { .. } => false,
            })
        };
        running.filter(|f| !belongs(&f.name, &f.id, f.attempt)).map(|f| f.id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::super::plan::Plan;
    use super::super::FoundContainer;
    use super::*;

    const SINCE: Timestamp = Timestamp::UNIX_EPOCH;

    fn machine() -> Machine {
        let pod = serde_json::json!({"spec": {"containers": [{"name": "a", "image": "img"}]}});
        Machine::new(Plan::of(&serde_json::from_value(pod).unwrap()), SINCE)
    }

    fn running(machine: &mut Machine, id: &str) {
        machine.containers[0].now = Now::Running { id: id.into(), started_at: SINCE };
        machine.sandbox =
            Setup::Done(SandboxUp { id: "s".into(), addresses: vec![], network: crate::runtime::Network::Host });
    }

    fn found(sandbox: bool, containers: &[(&str, u32, FoundState)]) -> FoundPod {
        let one = |(id, attempt, state): &(&str, u32, FoundState)| FoundContainer {
            id: (*id).into(),
            name: "a".into(),
            attempt: *attempt,
            image: "img".into(),
            image_id: String::new(),
            size: None,
            stop_signal: 15,
            state: state.clone(),
        };
        FoundPod {
            sandbox: sandbox.then(|| SandboxUp {
                id: "s".into(),
                addresses: vec![],
                network: crate::runtime::Network::Host,
            }),
            sandboxes: 1,
            containers: containers.iter().map(one).collect(),
        }
    }

    #[test]
    fn differences_table() {
        let up = FoundState::Running { since: SINCE };
        let killed = Some(Ending { deadline: SINCE, step: EndStep::Killed });
        let cases = [
            ("all as believed", true, None, found(true, &[("a1", 1, up.clone())]), (0, 0, false)),
            ("its end was missed", true, None, found(true, &[("a1", 1, FoundState::Created)]), (1, 0, false)),
            ("it is lost, and the sandbox", true, None, found(false, &[]), (1, 0, true)),
            ("both are newer than the answer", false, None, found(false, &[]), (0, 0, false)),
            (
                "another of its name runs too",
                true,
                None,
                found(true, &[("a1", 1, up.clone()), ("a0", 0, up.clone())]),
                (0, 1, false),
            ),
            ("it was killed and runs on", true, killed, found(true, &[("a1", 1, up.clone())]), (0, 1, false)),
        ];
        for (why, knew_before, ending, found, expected) in cases {
            let mut m = machine();
            running(&mut m, "a1");
            m.containers[0].ending = ending;
            let got = m.compare(&found, |_| knew_before);
            assert_eq!((got.ended.len(), got.strays.len(), got.lost_sandbox.is_some()), expected, "{why}");
        }
    }

    #[test]
    fn a_start_that_is_not_answered_yet_is_no_stray() {
        let mut m = machine();
        m.containers[0].now = Now::Starting { id: None };
        let at = |attempt| found(true, &[("x", attempt, FoundState::Running { since: SINCE })]);
        assert_eq!(m.compare(&at(0), |_| true), Differences::default());
        m.containers[0].restarts = 1;
        assert_eq!(m.compare(&at(0), |_| true).strays, ["x"], "the one before it is");
    }
}
