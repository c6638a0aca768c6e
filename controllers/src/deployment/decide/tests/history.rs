//! Which old ReplicaSets are kept.

use super::*;

#[test]
fn history_is_kept_to_its_limit() {
    let mut world = World::new(1, 1, 0);
    world.edit(|spec| spec.revision_history_limit = Some(1));
    for image in ["one", "two", "three", "four"] {
        world.later(10);
        world.image(image);
        world.settle();
    }
    let left: Vec<_> = world.seen.sets.iter().map(|s| revision::revision_of(s.as_ref())).collect();
    assert_eq!(left, [3, 4]);
}

#[test]
fn what_runs_of_an_old_set_keeps_it_in_the_history() {
    let mut world = World::new(1, 1, 0);
    world.edit(|spec| spec.revision_history_limit = Some(0));
    world.settle();
    world.later(10);
    world.edit(|spec| spec.template = template("two"));
    world.edit(|spec| spec.revision_history_limit = None);
    world.settle();
    assert_eq!(world.seen.sets.len(), 2, "without a limit all stay");
    world.edit(|spec| spec.revision_history_limit = Some(0));
    world.settle();
    assert_eq!(world.seen.sets.len(), 1);

    // why, the old set's (size, pods, generation, observed generation), is it being deleted, is it dropped
    let cases = [
        ("nothing of it runs", (0, 0, 2, 2), false, true),
        ("a newer status is about it too", (0, 0, 2, 3), false, true),
        ("it has a size", (1, 0, 2, 2), false, false),
        ("it has pods", (0, 1, 2, 2), false, false),
        ("it has not seen its size", (0, 0, 2, 1), false, false),
        ("it goes already", (0, 0, 2, 2), true, false),
    ];
    for (why, (size, pods, generation, observed), deleting, dropped) in cases {
        let mut world = paused(1, 1, &[("one", size, 0), ("two", 1, 1)]);
        world.edit(|spec| spec.revision_history_limit = Some(0));
        let set = Arc::make_mut(&mut world.seen.sets[0]);
        set.metadata.generation = Some(generation);
        set.metadata.deletion_timestamp = Some(Time(world.seen.now)).filter(|_| deleting);
        let status = set.status.get_or_insert_default();
        (status.replicas, status.observed_generation) = (pods, Some(observed));
        let got = decide(&world.seen).actions.iter().any(|a| matches!(a, Action::Delete(_)));
        assert_eq!(got, dropped, "{why}");
    }
}
