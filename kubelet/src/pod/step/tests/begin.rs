//! How a pod begins: volumes, sandbox, images, init containers, the first start.

use super::*;

#[test]
fn a_pod_is_set_up_while_its_image_is_pulled() {
    let mut s = Story::new(vec![want("a", Kind::Main, RestartPolicy::Always)]);
    s.happens(0, Event::Looked);
    assert_eq!(s.told(), ["prepare", "image a", "sandbox 0", "Pulled", "start a0", "Created", "Started"]);
    assert!(matches!(s.state("a"), Now::Running { .. }));
}

#[test]
fn init_containers_run_one_after_the_other_before_the_main_one() {
    let mut s = Story::new(vec![
        want("i", Kind::Init, RestartPolicy::OnFailure),
        want("side", Kind::Sidecar, RestartPolicy::Always),
        want("a", Kind::Main, RestartPolicy::Always),
    ]);
    s.happens(0, Event::Looked);
    assert_eq!(orders(s.told()), ["prepare", "image i", "sandbox 0", "start i0"]);
    s.exit(1, "i0", 1);
    assert_eq!(orders(s.told()), ["image i", "start i1"], "the first restart is at once");
    s.exit(2, "i1", 0);
    assert_eq!(orders(s.told()), ["image side", "start side0", "image a", "start a0"]);
}

#[test]
fn a_failed_init_container_that_may_not_restart_ends_the_pod() {
    let mut s =
        Story::new(vec![want("i", Kind::Init, RestartPolicy::Never), want("a", Kind::Main, RestartPolicy::Never)]);
    s.happens(0, Event::Looked);
    s.exit(1, "i0", 7);
    assert_eq!(s.machine.stage, Stage::Stopped);
    assert_eq!(s.state("a"), &Now::Idle { retry_at: None });
}

#[test]
fn an_exit_seen_before_the_start_was_answered_counts() {
    let mut s = Story::new(vec![want("a", Kind::Main, RestartPolicy::Never)]);
    s.undone = vec!["start"];
    s.happens(0, Event::Looked);
    s.happens(1, Event::Created { container: "a".into(), id: "a0".into() });
    s.exit(1, "a0", 0);
    s.happens(1, Event::Started { container: "a".into(), id: "a0".into(), at: at(1) });
    assert_eq!(s.machine.stage, Stage::Stopped);
    assert!(s.told().contains(&"Started".to_owned()));
}

#[test]
fn a_failed_start_does_not_use_up_the_number_of_a_container_that_was_never_made() {
    let mut s = Story::new(vec![want("a", Kind::Main, RestartPolicy::Always)]);
    s.undone = vec!["start"];
    s.happens(0, Event::Looked);
    let failed =
        Event::CreateFailed { container: "a".into(), reason: "CreateContainerConfigError", message: "m".into() };
    s.happens(1, failed);
    s.told();
    s.happens(10, Event::Looked);
    assert_eq!(orders(s.told()), ["image a", "start a0"]);
}

#[test]
fn an_image_that_was_changed_while_it_was_pulled_is_not_used() {
    let mut s = Story::new(vec![want("a", Kind::Main, RestartPolicy::Always)]);
    s.undone = vec!["image"];
    s.happens(0, Event::Looked);
    s.happens(1, with_image("img2"));
    s.told();
    let ready = Event::ImageReady {
        container: "a".into(),
        image: "img".into(),
        image_id: "img@sha".into(),
        message: "present".into(),
    };
    s.happens(2, ready.clone());
    assert_eq!(s.told(), ["image a"], "the answer was about the old one");
    s.happens(3, ready);
    assert_eq!(orders(s.told()), ["start a0"]);
}
