//! Who gets more pods and who fewer when the number of replicas changes.

use super::*;

#[test]
fn scaling_is_not_a_rollout() {
    let mut world = World::new(3, 1, 0);
    world.settle();
    world.edit(|spec| spec.replicas = Some(5));
    assert_eq!(world.settle(), "one 3→5");
    world.edit(|spec| spec.replicas = Some(0));
    assert_eq!(world.settle(), "one 5→0");
    assert_eq!(world.revision(), "1");
}

#[test]
fn scaling_within_a_rollout_keeps_proportions() {
    let mut world = World::new(10, 3, 2);
    world.settle();
    world.slow = true;
    world.later(10);
    world.image("two");
    assert_eq!(world.settle(), "create two 3, one 10→8, two 3→5");
    world.edit(|spec| spec.replicas = Some(15));
    assert_eq!(world.settle(), "one 8→11, two 5→7");
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut world = World::new(2, 1, 0);
    world.settle();
    world.edit(|spec| spec.paused = Some(true));
    world.image("two");
    assert_eq!(world.settle(), "");
    assert_eq!(world.progressing().1, "DeploymentPaused");
    world.edit(|spec| spec.replicas = Some(3));
    assert_eq!(world.settle(), "one 2→3");
    world.edit(|spec| spec.paused = Some(false));
    world.later(10);
    assert!(world.settle().starts_with("create two 1"), "{:?}", world.log);
    assert_eq!(world.progressing().1, "NewReplicaSetAvailable");
}

#[test]
fn a_pause_within_a_rollout_stops_the_clock_however_long_it_is() {
    for paused_secs in [1, 600, 601, 3600] {
        let mut world = World::new(3, 1, 0);
        world.settle();
        world.slow = true;
        world.later(10);
        world.image("two");
        assert_eq!(world.settle(), "create two 1", "it waits for the first new pod");
        world.edit(|spec| spec.paused = Some(true));
        world.settle();
        world.later(paused_secs);
        world.edit(|spec| spec.paused = Some(false));
        world.settle();
        assert_eq!(world.progressing(), ("Unknown".into(), "DeploymentResumed".into()), "after {paused_secs} s");
        world.later(600);
        world.settle();
        assert_eq!(world.progressing().1, "DeploymentResumed", "all of its time, after {paused_secs} s");
        world.later(1);
        world.settle();
        assert_eq!(world.progressing().1, "ProgressDeadlineExceeded", "after {paused_secs} s");
    }
}

#[test]
fn sets_are_sized_for_the_deployment_that_they_note() {
    let mut world = World::new(3, 1, 0);
    world.settle();
    let noted = |world: &World| {
        [DESIRED_REPLICAS, MAX_REPLICAS].map(|note| world.seen.sets[0].annotation(note).unwrap().to_owned())
    };
    assert_eq!(noted(&world), ["3", "4"]);
    // The size is right already; what it is right for is still to be written.
    let set = Arc::make_mut(&mut world.seen.sets[0]);
    set.metadata.annotations.get_or_insert_default().insert(DESIRED_REPLICAS.into(), "2".into());
    let actions = decide(&world.seen).actions;
    assert!(matches!(actions[..], [Action::NoteSize(_)]), "{actions:?}");
    world.settle();
    assert_eq!(noted(&world), ["3", "4"]);
    // Of another bound alone nothing is to be scaled; the next scaling writes it.
    let rolling = RollingUpdateDeployment { max_surge: Some(IntOrString::Int(2)), max_unavailable: None };
    world.edit(|spec| spec.strategy.get_or_insert_default().rolling_update = Some(rolling));
    world.edit(|spec| spec.paused = Some(true));
    assert_eq!(world.settle(), "");
    assert_eq!(noted(&world), ["3", "5"], "a paused one is looked after");
}

#[test]
fn scaling_table() {
    let scaled = |world: &mut World| {
        let mut told = Vec::new();
        for action in decide(&world.seen).actions {
            if let Action::Scale { set, to } = &action {
                let image = &set.spec.template.as_ref().unwrap().spec.as_ref().unwrap().containers[0];
                told.push(format!("{} {}→{to}", image.image.as_deref().unwrap(), size(set)));
            }
            world.apply(action);
        }
        told.join(", ")
    };
    // why, wanted, noted, sets, scaled
    let cases = [
        ("one with pods takes it all", 5, 3, vec![("one", 3, 3), ("two", 0, 0)], "one 3→5"),
        ("none has pods: the new one does", 5, 3, vec![("one", 0, 0), ("two", 0, 0)], "two 0→5"),
        ("none has pods and none is new: the newest does", 5, 3, vec![("zero", 0, 0), ("one", 0, 0)], "one 0→5"),
        ("the new one is there: the old ones go", 3, 3, vec![("one", 1, 1), ("two", 3, 3)], "one 1→0"),
        ("it does not serve yet: they stay", 3, 3, vec![("one", 1, 1), ("two", 3, 2)], ""),
        ("it grows with them", 6, 3, vec![("one", 1, 1), ("two", 3, 3)], "two 3→5, one 1→2"),
        ("the newer of equals grows first", 4, 3, vec![("one", 2, 2), ("two", 2, 2)], "two 2→3"),
        ("the older of equals shrinks first", 2, 3, vec![("one", 2, 2), ("two", 2, 2)], "one 2→1"),
        ("the larger first", 4, 3, vec![("one", 3, 3), ("two", 1, 1)], "one 3→4"),
    ];
    for (why, wanted, noted, sets, expected) in cases {
        assert_eq!(scaled(&mut paused(wanted, noted, &sets)), expected, "{why}");
    }
}

#[test]
fn a_set_without_pods_is_not_written_when_others_make_way() {
    let mut world = paused(3, 3, &[("zero", 0, 0), ("one", 1, 1), ("two", 3, 3)]);
    let empty = Arc::make_mut(&mut world.seen.sets[0]);
    empty.metadata.annotations.get_or_insert_default().insert(DESIRED_REPLICAS.into(), "2".into());
    let actions = decide(&world.seen).actions;
    assert!(!actions.iter().any(|a| matches!(a, Action::NoteSize(_))), "{actions:?}");
    assert!(actions.iter().any(|a| matches!(a, Action::Scale { to: 0, .. })), "{actions:?}");
}
