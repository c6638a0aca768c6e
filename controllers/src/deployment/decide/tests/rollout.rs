//! How a Deployment gets from one template to the next, and what it waits for.

use super::*;

#[test]
fn a_first_rollout_ends_available() {
    let mut world = World::new(3, 1, 0);
    assert_eq!(world.settle(), "create one 3");
    assert_eq!(world.progressing(), ("True".into(), "NewReplicaSetAvailable".into()));
    assert_eq!(world.revision(), "1");
    let status = world.seen.deployment.status.as_ref().unwrap();
    assert_eq!(
        (status.available_replicas, status.unavailable_replicas, status.updated_replicas),
        (Some(3), None, Some(3))
    );
}

#[test]
fn a_new_image_moves_pod_by_pod() {
    let mut world = World::new(3, 1, 0);
    world.settle();
    world.later(10);
    world.image("two");
    assert_eq!(world.settle(), "create two 1, one 3→2, two 1→2, one 2→1, two 2→3, one 1→0");
    assert_eq!((world.revision(), world.progressing().1.as_str()), ("2", "NewReplicaSetAvailable"));
}

#[test]
fn a_bad_image_never_takes_the_old_pods_down() {
    let mut world = World::new(3, 1, 0);
    world.settle();
    world.broken_image = Some("bad");
    world.later(10);
    world.image("bad");
    assert_eq!(world.settle(), "create bad 1");
    world.later(700);
    world.settle();
    assert_eq!(world.progressing(), ("False".into(), "ProgressDeadlineExceeded".into()));
    world.later(10);
    world.image("good");
    assert_eq!(world.settle(), "create good 0, bad 1→0, good 0→1, one 3→2, good 1→2, one 2→1, good 2→3, one 1→0");
}

#[test]
fn a_rollback_finds_the_old_set_and_gets_a_new_revision() {
    let mut world = World::new(2, 1, 0);
    world.settle();
    world.later(10);
    world.image("two");
    world.settle();
    world.later(10);
    world.image("one");
    assert_eq!(world.settle(), "one 0→1, two 2→1, one 1→2, two 1→0");
    assert_eq!(world.revision(), "3");
    assert_eq!(world.seen.sets.len(), 2, "no third ReplicaSet");
    assert_eq!(world.seen.sets[0].annotation(revision::REVISION_HISTORY), Some("1"));
    assert_eq!(world.progressing().1, "NewReplicaSetAvailable");
}

#[test]
fn recreate_waits_until_the_old_pods_have_ended() {
    let mut world = World::new(2, 0, 0);
    world
        .edit(|spec| spec.strategy = Some(DeploymentStrategy { type_: Some("Recreate".into()), rolling_update: None }));
    assert_eq!(world.settle(), "create one 2");
    let uid = world.seen.sets[0].uid().to_owned();
    world.seen.running_pods = [(uid, 2)].into();
    world.later(10);
    world.image("two");
    assert_eq!(world.settle(), "one 2→0", "its pods still terminate");
    world.seen.running_pods.clear();
    assert_eq!(world.settle(), "create two 2");
}

/// A world in the middle of a rollout: the old ReplicaSet and the new one with (spec, status.replicas, available,
/// whether its status is about this size).
fn midway(mut world: World, sets: [(i32, i32, i32, bool); 2]) -> World {
    world.settle();
    world.later(10);
    world.image("two");
    let (wanted, surge) = (world.seen.deployment.spec.replicas.unwrap(), 1);
    while world.seen.sets.len() < 2 {
        let Action::Create(set) = decide(&world.seen).actions.remove(0) else { panic!("a rollout begins with one") };
        world.apply(Action::Create(set));
    }
    for (set, (spec, replicas, available, observed)) in world.seen.sets.iter_mut().zip(sets) {
        let set = Arc::make_mut(set);
        let notes = set.metadata.annotations.get_or_insert_default();
        notes.extend(revision::scale_annotations(wanted, surge).map(|(k, v)| (k.to_owned(), v)));
        set.metadata.generation = Some(2);
        set.spec.replicas = Some(spec);
        set.status = Some(ReplicaSetStatus {
            replicas,
            available_replicas: Some(available),
            observed_generation: Some(if observed { 2 } else { 1 }),
            ..ReplicaSetStatus::default()
        });
    }
    world
}

fn steps(world: &World) -> String {
    let words = |action: &Action| match action {
        Action::Scale { set, to } => Some(format!("{}→{to}", size(set))),
        Action::Create(set) => Some(format!("create {}", size(set))),
        _ => None,
    };
    decide(&world.seen).actions.iter().filter_map(words).collect::<Vec<_>>().join(", ")
}

#[test]
fn statuses_that_lag_behind_never_cost_a_pod() {
    let cases = [
        ("all is as it says", [(2, 2, 2, true), (2, 2, 2, true)], "2→1"),
        ("the old one still counts the pod it gives up", [(2, 3, 3, true), (2, 2, 2, true)], "2→1"),
        ("the old one has not seen its size yet", [(2, 3, 3, false), (2, 2, 2, true)], ""),
        ("nor has the new one", [(2, 2, 2, true), (2, 1, 1, false)], ""),
        ("room is there only once the old pod is gone", [(2, 3, 3, true), (1, 1, 1, true)], ""),
        ("it is gone", [(2, 2, 2, true), (1, 1, 1, true)], "1→2"),
    ];
    for (why, sets, expected) in cases {
        assert_eq!(steps(&midway(World::new(3, 1, 0), sets)), expected, "{why}");
    }
}

#[test]
fn recreate_waits_for_what_its_old_set_may_still_make() {
    let recreate = || {
        let mut world = World::new(2, 0, 0);
        let strategy = DeploymentStrategy { type_: Some("Recreate".into()), rolling_update: None };
        world.edit(|spec| spec.strategy = Some(strategy));
        world
    };
    for (why, old, expected) in [
        ("it has seen nothing yet", (0, 2, 2, false), ""),
        ("it counts pods", (0, 1, 0, true), ""),
        ("it has none", (0, 0, 0, true), "create 2"),
    ] {
        let mut world = recreate();
        world.settle();
        world.later(10);
        world.image("two");
        let set = Arc::make_mut(&mut world.seen.sets[0]);
        set.metadata.generation = Some(2);
        set.spec.replicas = Some(old.0);
        set.status = Some(ReplicaSetStatus {
            replicas: old.1,
            available_replicas: Some(old.2),
            observed_generation: Some(if old.3 { 2 } else { 1 }),
            ..ReplicaSetStatus::default()
        });
        assert_eq!(steps(&world), expected, "{why}");
    }
}

#[test]
fn a_strategy_that_changes_in_a_rollout_does_not_stop_a_scaled_deployment() {
    let mut world = midway(World::new(3, 1, 0), [(2, 2, 2, true), (2, 2, 1, true)]);
    let strategy = DeploymentStrategy { type_: Some("Recreate".into()), rolling_update: None };
    world.edit(|spec| (spec.strategy, spec.replicas) = (Some(strategy), Some(5)));
    assert_eq!(steps(&world), "2→0", "the old one makes way");
}

#[test]
fn a_deployment_on_its_way_out_only_reports() {
    let mut world = World::new(3, 1, 0);
    Arc::make_mut(&mut world.seen.deployment).metadata.deletion_timestamp = Some(Time(world.seen.now));
    let decision = decide(&world.seen);
    assert!(matches!(decision.actions[..], [Action::WriteStatus(_)]), "{:?}", decision.actions);
    world.settle();
    assert_eq!(decide(&world.seen).actions, [], "and only once");
}

#[test]
fn bounds_are_those_of_the_strategy() {
    let mut world = World::new(4, 2, 1);
    assert_eq!(bounds(&world.seen.deployment), Bounds { surge: 2, unavailable: 1 });
    assert_eq!(facts(&world.seen).map(|f| (f.wanted, f.max_unavailable)), Some((4, 1)));
    let strategy = DeploymentStrategy { type_: Some("Recreate".into()), rolling_update: None };
    world.edit(|spec| spec.strategy = Some(strategy));
    assert_eq!(bounds(&world.seen.deployment), Bounds { surge: 0, unavailable: 0 });
    assert!(recreates(&world.seen.deployment) && !recreates(&World::new(1, 1, 0).seen.deployment));
}

#[test]
fn minimum_ready_time_and_annotations_follow_without_a_rollout() {
    let mut world = World::new(2, 1, 0);
    world.settle();
    world.edit(|spec| spec.min_ready_seconds = Some(5));
    assert_eq!(world.settle(), "");
    let set = &world.seen.sets[0];
    assert_eq!(set.spec.min_ready_seconds, Some(5));
    world.edit(|spec| spec.min_ready_seconds = None);
    world.settle();
    world.edit(|spec| spec.min_ready_seconds = Some(0));
    assert!(
        !decide(&world.seen).actions.iter().any(|a| matches!(a, Action::Refresh(_))),
        "none and nothing are the same"
    );
    let deployment = Arc::make_mut(&mut world.seen.deployment);
    deployment.metadata.annotations.get_or_insert_default().insert("team".into(), "x".into());
    world.settle();
    assert_eq!(world.seen.sets[0].annotation("team"), Some("x"));
    assert_eq!((world.seen.sets.len(), world.revision()), (1, "1"));
}
