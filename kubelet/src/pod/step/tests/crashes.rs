//! Stories of containers that crashed before this kubelet began.

use super::*;

#[test]
fn crashes_of_before_count_only_if_the_last_is_fresh() {
    for (ago, expected) in [(5, vec![]), (3600, vec!["image a", "start a5"])] {
        let ended = Ended {
            id: "a3".into(),
            exit_code: 1,
            reason: "Error".into(),
            message: String::new(),
            started_at: None,
            finished_at: Some(at(5000 - ago)),
        };
        let found = FoundContainer {
            id: "a3".into(),
            name: "a".into(),
            attempt: 3,
            image: "img".into(),
            image_id: String::new(),
            size: None,
            stop_signal: 15,
            state: FoundState::Exited(ended),
        };
        let sandbox = SandboxUp { id: "s0".into(), addresses: vec![], network: crate::runtime::Network::Host };
        let pod = FoundPod { sandbox: Some(sandbox), sandboxes: 1, containers: vec![found] };
        let plan = plan(vec![want("a", Kind::Main, RestartPolicy::Always)]);
        let machine = Machine::recover(plan, &pod, None, at(5000));
        let mut s = Story { machine, log: vec![], undone: vec![] };
        s.happens(5000, Event::Looked);
        assert_eq!(orders(s.told()), ["prepare", "image a", "start a4"]);
        s.exit(5001, "a4", 1);
        assert_eq!(orders(s.told()), expected, "{ago} seconds ago");
        let wait = if expected.is_empty() { Some(at(5041)) } else { None };
        assert_eq!(s.machine.wake_at(at(5001)), wait, "{ago} seconds ago");
    }
}
