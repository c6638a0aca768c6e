//! Rollouts as stories: decisions are applied to a small make-believe cluster until nothing is left to do.

use corten_api::k8s_openapi::api::apps::v1::{DeploymentStrategy, ReplicaSetStatus, RollingUpdateDeployment};
use corten_api::k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use corten_api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use jiff::SignedDuration;

use super::*;

const ROUNDS_MAX: usize = 100;

/// ReplicaSets have their pods at once; whether those serve depends on their image.
struct World {
    seen: Observed,
    broken_image: Option<&'static str>,
    slow: bool,
    log: Vec<String>,
}

fn template(image: &str) -> PodTemplateSpec {
    let container = Container { name: "web".into(), image: Some(image.into()), ..Container::default() };
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some([("app".into(), "web".into())].into()), ..Default::default() }),
        spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
    }
}

impl World {
    fn new(replicas: i32, surge: i32, unavailable: i32) -> Self {
        let rolling = RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(surge)),
            max_unavailable: Some(IntOrString::Int(unavailable)),
        };
        let deployment = Deployment {
            metadata: ObjectMeta {
                name: Some("web".into()),
                namespace: Some("default".into()),
                uid: Some("d".into()),
                generation: Some(1),
                ..ObjectMeta::default()
            },
            spec: Some(DeploymentSpec {
                replicas: Some(replicas),
                selector: LabelSelector {
                    match_labels: Some([("app".into(), "web".into())].into()),
                    ..Default::default()
                },
                template: template("one"),
                strategy: Some(DeploymentStrategy {
                    type_: Some("RollingUpdate".into()),
                    rolling_update: Some(rolling),
                }),
                progress_deadline_seconds: Some(600),
                revision_history_limit: Some(10),
                ..DeploymentSpec::default()
            }),
            status: None,
        };
        let now = Timestamp::from_second(1_000_000).unwrap();
        let seen = Observed { now, deployment: Arc::new(deployment), sets: vec![], running_pods: BTreeMap::new() };
        Self { seen, broken_image: None, slow: false, log: vec![] }
    }

    fn edit(&mut self, change: impl FnOnce(&mut DeploymentSpec)) {
        let deployment = Arc::make_mut(&mut self.seen.deployment);
        change(deployment.spec.as_mut().unwrap());
        *deployment.metadata.generation.as_mut().unwrap() += 1;
    }
    fn image(&mut self, image: &str) {
        self.edit(|spec| spec.template = template(image));
    }
    fn set_status(&mut self, index: usize) {
        let (broken, slow) = (self.broken_image, self.slow);
        let set = Arc::make_mut(&mut self.seen.sets[index]);
        let (n, generation) = (size(set), set.metadata.generation);
        let image =
            set.spec.as_ref().unwrap().template.as_ref().unwrap().spec.as_ref().unwrap().containers[0].image.clone();
        let serves = image.as_deref() != broken && !slow;
        let ready = if serves { n } else { available(set).min(n) };
        set.status = Some(ReplicaSetStatus {
            replicas: n,
            ready_replicas: Some(ready),
            available_replicas: Some(ready),
            observed_generation: generation,
            ..ReplicaSetStatus::default()
        });
    }

    fn apply(&mut self, action: Action) {
        let wanted = self.seen.deployment.spec.as_ref().unwrap().replicas.unwrap();
        let surge = bounds(&self.seen.deployment).surge;
        let sized = |set: &mut ReplicaSet| {
            let notes = set.metadata.annotations.get_or_insert_default();
            notes.extend(revision::scale_annotations(wanted, surge).map(|(k, v)| (k.to_owned(), v)));
        };
        let index = |sets: &[Arc<ReplicaSet>], name: &str| sets.iter().position(|s| s.name() == name).unwrap();
        let label = |set: &ReplicaSet| {
            set.spec.as_ref().unwrap().template.as_ref().unwrap().spec.as_ref().unwrap().containers[0]
                .image
                .clone()
                .unwrap()
        };
        match action {
            Action::Create(mut set) => {
                self.log.push(format!("create {} {}", label(&set), size(&set)));
                set.metadata.uid = set.metadata.name.clone();
                set.metadata.creation_timestamp = Some(Time(self.seen.now));
                self.seen.sets.push(Arc::new(set));
            }
            Action::Refresh(set) => {
                let at = index(&self.seen.sets, set.name());
                self.seen.sets[at] = Arc::new(set);
            }
            Action::Scale { set, to } => {
                self.log.push(format!("{} {}→{to}", label(&set), size(&set)));
                let at = index(&self.seen.sets, set.name());
                let set = Arc::make_mut(&mut self.seen.sets[at]);
                set.spec.as_mut().unwrap().replicas = Some(to);
                sized(set);
            }
            Action::NoteSize(set) => {
                let at = index(&self.seen.sets, set.name());
                sized(Arc::make_mut(&mut self.seen.sets[at]));
            }
            Action::Delete(set) => {
                self.log.push(format!("drop {}", label(&set)));
                self.seen.sets.retain(|s| s.name() != set.name());
            }
            Action::Revise(revision) => {
                let deployment = Arc::make_mut(&mut self.seen.deployment);
                deployment.metadata.annotations.get_or_insert_default().insert(revision::REVISION.into(), revision);
            }
            Action::WriteStatus(status) => Arc::make_mut(&mut self.seen.deployment).status = Some(status),
        }
    }

    /// Rounds until a decision has no actions; returns what was done to ReplicaSets.
    fn settle(&mut self) -> String {
        self.log.clear();
        for _ in 0..ROUNDS_MAX {
            let actions = decide(&self.seen).actions;
            if actions.is_empty() {
                return self.log.join(", ");
            }
            for action in actions {
                self.apply(action);
            }
            for index in 0..self.seen.sets.len() {
                self.set_status(index);
            }
            self.check_bounds();
        }
        panic!("still busy after {ROUNDS_MAX} rounds: {:?}", self.log);
    }

    /// What no step may break, whatever the story.
    fn check_bounds(&self) {
        let wanted = self.seen.deployment.spec.as_ref().unwrap().replicas.unwrap();
        let total: i32 = self.seen.sets.iter().map(|s| size(s)).sum();
        assert!(total <= wanted.max(10) + bounds(&self.seen.deployment).surge, "{:?}", self.log);
    }

    fn progressing(&self) -> (String, String) {
        let conditions = self.seen.deployment.status.as_ref().unwrap().conditions.as_ref();
        let c = conditions::find(conditions, "Progressing").unwrap();
        (c.status.clone(), c.reason.clone().unwrap())
    }
    fn revision(&self) -> &str {
        self.seen.deployment.annotation(revision::REVISION).unwrap()
    }
    fn later(&mut self, secs: i64) {
        self.seen.now = self.seen.now.checked_add(SignedDuration::from_secs(secs)).unwrap();
    }
}

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

/// A world in the middle of a rollout: the old ReplicaSet and the new one with (spec, status.replicas, available,
/// whether its status is about this size).
fn midway(mut world: World, sets: [(i32, i32, i32, bool); 2]) -> World {
    world.settle();
    world.later(10);
    world.image("two");
    let (wanted, surge) = (world.seen.deployment.spec.as_ref().unwrap().replicas.unwrap(), 1);
    while world.seen.sets.len() < 2 {
        let Action::Create(set) = decide(&world.seen).actions.remove(0) else { panic!("a rollout begins with one") };
        world.apply(Action::Create(set));
    }
    for (set, (spec, replicas, available, observed)) in world.seen.sets.iter_mut().zip(sets) {
        let set = Arc::make_mut(set);
        let notes = set.metadata.annotations.get_or_insert_default();
        notes.extend(revision::scale_annotations(wanted, surge).map(|(k, v)| (k.to_owned(), v)));
        set.metadata.generation = Some(2);
        set.spec.as_mut().unwrap().replicas = Some(spec);
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
        set.spec.as_mut().unwrap().replicas = Some(old.0);
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
    assert_eq!(set.spec.as_ref().unwrap().min_ready_seconds, Some(5));
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

/// Sets that are (image, size, available), the first made first, all sized for a deployment of `noted` pods and one
/// more, in a paused deployment of `wanted` pods of the image `two`.
fn paused(wanted: i32, noted: i32, sets: &[(&str, i32, i32)]) -> World {
    let mut world = World::new(noted, 1, 0);
    for ((image, replicas, available), revision) in sets.iter().zip(1..) {
        world.later(10);
        world.image(image);
        let mut set = revision::new_set(&world.seen.deployment, revision, *replicas, 1);
        set.metadata.uid = set.metadata.name.clone();
        set.metadata.creation_timestamp = Some(Time(world.seen.now));
        let status =
            ReplicaSetStatus { replicas: *replicas, available_replicas: Some(*available), ..Default::default() };
        set.status = Some(status);
        world.seen.sets.push(Arc::new(set));
    }
    world.image("two");
    world.edit(|spec| (spec.replicas, spec.paused) = (Some(wanted), Some(true)));
    world
}

#[test]
fn scaling_table() {
    let scaled = |world: &mut World| {
        let mut told = Vec::new();
        for action in decide(&world.seen).actions {
            if let Action::Scale { set, to } = &action {
                let image = &set.spec.as_ref().unwrap().template.as_ref().unwrap().spec.as_ref().unwrap().containers[0];
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

#[test]
fn a_set_without_pods_is_not_written_when_others_make_way() {
    let mut world = paused(3, 3, &[("zero", 0, 0), ("one", 1, 1), ("two", 3, 3)]);
    let empty = Arc::make_mut(&mut world.seen.sets[0]);
    empty.metadata.annotations.get_or_insert_default().insert(DESIRED_REPLICAS.into(), "2".into());
    let actions = decide(&world.seen).actions;
    assert!(!actions.iter().any(|a| matches!(a, Action::NoteSize(_))), "{actions:?}");
    assert!(actions.iter().any(|a| matches!(a, Action::Scale { to: 0, .. })), "{actions:?}");
}
