//! The tables of what a Deployment reports.

use super::*;
use corten_api::k8s_openapi::api::apps::v1::{DeploymentSpec, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus};

const NOW: i64 = 10_000;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(secs).unwrap()
}
/// spec.replicas, then of its pods: all, ready, available, terminating.
fn set(name: &str, [spec, all, ready, available, terminating]: [i32; 5]) -> Arc<ReplicaSet> {
    let mut set = ReplicaSet::default();
    set.metadata.name = Some(name.into());
    set.spec = ReplicaSetSpec { replicas: Some(spec), ..Default::default() };
    set.status = Some(ReplicaSetStatus {
        replicas: all,
        ready_replicas: Some(ready),
        available_replicas: Some(available),
        terminating_replicas: Some(terminating),
        ..Default::default()
    });
    Arc::new(set)
}
/// A Progressing condition that was written at `updated`.
fn progress_of(status: &str, reason: &str, updated: i64) -> DeploymentCondition {
    DeploymentCondition {
        last_update_time: Some(Time(at(updated))),
        last_transition_time: Some(Time(at(updated))),
        ..progressing(status, reason, String::new())
    }
}
/// Four pods wanted within 600 s; its status as it was.
fn deployment(status: DeploymentStatus) -> Deployment {
    let mut deployment = Deployment::default();
    deployment.metadata.name = Some("web".into());
    deployment.metadata.generation = Some(2);
    deployment.spec = DeploymentSpec { progress_deadline_seconds: Some(600), ..Default::default() };
    deployment.status = Some(status);
    deployment
}
fn facts<'a>(deployment: &'a Deployment, all: &'a [Arc<ReplicaSet>]) -> Facts<'a> {
    Facts { now: at(NOW), deployment, new: all.first(), all, wanted: 4, max_unavailable: 1 }
}
fn counts(updated: i32, replicas: i32, ready: i32, available: i32) -> DeploymentStatus {
    DeploymentStatus {
        observed_generation: Some(2),
        updated_replicas: Some(updated),
        replicas: Some(replicas),
        ready_replicas: Some(ready),
        available_replicas: Some(available),
        ..DeploymentStatus::default()
    }
}
fn reason<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a str> {
    conditions::find(status.conditions.as_ref(), kind).and_then(|c| c.reason.as_deref())
}

#[test]
fn counts_are_of_all_sets_but_the_updated_ones() {
    let deployment = deployment(DeploymentStatus { collision_count: Some(7), ..DeploymentStatus::default() });
    let all = [set("new", [3, 3, 2, 1, 1]), set("old", [2, 3, 2, 2, 1])];
    let got = counted(facts(&deployment, &all));
    let expected = DeploymentStatus {
        observed_generation: Some(2),
        replicas: Some(6),
        updated_replicas: Some(3),
        ready_replicas: Some(4),
        available_replicas: Some(3),
        unavailable_replicas: Some(2),
        terminating_replicas: Some(2),
        collision_count: Some(7),
        conditions: got.conditions.clone(),
    };
    assert_eq!(got, expected);
    let none = DeploymentStatus { replicas: None, updated_replicas: None, ..counted(facts(&deployment, &[])) };
    assert_eq!((none.ready_replicas, none.unavailable_replicas), (None, None), "nothing is absent, as upstream's");
}

#[test]
fn available_table() {
    // why, available of four wanted and one that may be missing, (status, reason)
    let cases = [
        ("all", 4, ("True", "MinimumReplicasAvailable")),
        ("just enough", 3, ("True", "MinimumReplicasAvailable")),
        ("one too few", 2, ("False", "MinimumReplicasUnavailable")),
    ];
    for (why, available, expected) in cases {
        let deployment = deployment(DeploymentStatus::default());
        let all = [set("new", [4, 4, 4, available, 0])];
        let got = counted(facts(&deployment, &all)).conditions.unwrap();
        let c = got.iter().find(|c| c.kind() == AVAILABLE).unwrap();
        assert_eq!((c.status(), c.reason.as_deref().unwrap()), expected, "{why}");
        assert_eq!(c.last_update_time, Some(Time(at(NOW))), "{why}");
    }
}

#[test]
fn complete_table() {
    let deployment = deployment(DeploymentStatus::default());
    let cases = [
        ("all new, all serve", counts(4, 4, 4, 4), true),
        ("old pods are left", counts(4, 5, 4, 4), false),
        ("not all are new", counts(3, 4, 4, 4), false),
        ("not all serve", counts(4, 4, 4, 3), false),
        ("about an older spec", DeploymentStatus { observed_generation: Some(1), ..counts(4, 4, 4, 4) }, false),
        ("nothing yet", DeploymentStatus { observed_generation: Some(2), ..Default::default() }, false),
    ];
    for (why, status, expected) in cases {
        assert_eq!(is_complete(facts(&deployment, &[]), &status), expected, "{why}");
    }
}

#[test]
fn moved_table() {
    let before = || counts(2, 5, 3, 3);
    let cases = [
        ("the same", counts(2, 5, 3, 3), false),
        ("another new pod", counts(3, 6, 3, 3), true),
        ("another new pod in an old one's place", counts(3, 5, 3, 3), true),
        ("an old pod less", counts(2, 4, 3, 3), true),
        ("an old pod more", counts(2, 6, 3, 3), false),
        ("more are ready", counts(2, 5, 4, 3), true),
        ("more serve", counts(2, 5, 3, 4), true),
        ("all of it went back", counts(1, 4, 2, 2), false),
    ];
    for (why, now, expected) in cases {
        assert_eq!(has_moved(&deployment(before()), &now), expected, "{why}");
    }
}

#[test]
fn timed_out_table() {
    let deployment = deployment(DeploymentStatus::default());
    let cases = [
        ("nothing was said yet", None, false),
        ("it was done long ago", Some(progress_of("True", DONE, 0)), false),
        ("it is said already", Some(progress_of("False", TIMED_OUT, NOW)), true),
        ("its time is just up", Some(progress_of("True", "ReplicaSetUpdated", NOW - 600)), false),
        ("its time was up a second ago", Some(progress_of("True", "ReplicaSetUpdated", NOW - 601)), true),
        ("its time is not known", Some(progressing("True", "ReplicaSetUpdated", String::new())), false),
    ];
    for (why, current, expected) in cases {
        assert_eq!(timed_out(&deployment, current.as_ref(), at(NOW)), expected, "{why}");
    }
}

#[test]
fn progress_table() {
    let moving = || progress_of("True", "ReplicaSetUpdated", NOW - 9);
    let late = || progress_of("True", "ReplicaSetUpdated", NOW - 601);
    let done = || progress_of("True", DONE, NOW - 9);
    // why, Progressing before, counts before, counts now, (reason, was it written now)
    let cases = [
        ("it moves", moving(), counts(1, 5, 4, 4), counts(2, 5, 4, 4), ("ReplicaSetUpdated", true)),
        ("it stands", moving(), counts(1, 5, 4, 4), counts(1, 5, 4, 4), ("ReplicaSetUpdated", false)),
        ("it stood for too long", late(), counts(1, 5, 4, 4), counts(1, 5, 4, 4), (TIMED_OUT, true)),
        ("it moved at last", late(), counts(1, 5, 4, 4), counts(2, 5, 4, 4), ("ReplicaSetUpdated", true)),
        ("it is there", moving(), counts(3, 4, 4, 4), counts(4, 4, 4, 4), (DONE, true)),
        (
            "it moves again after a pause",
            progress_of("Unknown", "DeploymentResumed", NOW - 9),
            counts(1, 5, 4, 4),
            counts(2, 5, 4, 4),
            ("ReplicaSetUpdated", true),
        ),
        ("it was done: a lost pod is no rollout", done(), counts(4, 4, 4, 4), counts(4, 4, 3, 3), (DONE, false)),
        (
            "it was done: a new template is one",
            done(),
            counts(4, 4, 4, 4),
            counts(1, 5, 5, 5),
            ("ReplicaSetUpdated", true),
        ),
    ];
    for (why, before, old, now, expected) in cases {
        let deployment = deployment(old);
        let (mut list, all) = (vec![before.clone()], [set("web-1", [0; 5])]);
        progress(facts(&deployment, &all), &now, &mut list);
        let [got] = &list[..] else { panic!("{why}: {list:?}") };
        let is_new = got.last_update_time == Some(Time(at(NOW)));
        assert_eq!((got.reason.as_deref().unwrap(), is_new), expected, "{why}");
        let same_status = got.status == before.status;
        assert_eq!(got.last_transition_time == before.last_transition_time, same_status, "{why}");
        assert!(!is_new || got.message.as_deref().unwrap().starts_with("ReplicaSet \"web-1\" "), "{why}: {got:?}");
    }
}

#[test]
fn a_set_that_is_made_or_found_begins_the_progress_and_no_deadline_means_no_progress() {
    let mut deployment = deployment(DeploymentStatus::default());
    let told = |deployment: &Deployment, news: News| {
        let got = rolled(facts(deployment, &[]), &news);
        reason(&got, PROGRESSING).map(str::to_owned)
    };
    assert_eq!(told(&deployment, News::Created("a".into())).as_deref(), Some("NewReplicaSetCreated"));
    assert_eq!(told(&deployment, News::Found("a".into())).as_deref(), Some("FoundNewReplicaSet"));
    assert_eq!(told(&deployment, News::None), None);
    for deadline in [None, Some(NO_DEADLINE_SECS)] {
        deployment.spec.progress_deadline_seconds = deadline;
        assert_eq!(told(&deployment, News::Created("a".into())), None, "{deadline:?}");
    }
    let refused = create_failed(facts(&deployment, &[]), "web-1", "no quota");
    let c = conditions::find(refused.conditions.as_ref(), PROGRESSING).unwrap();
    assert_eq!((c.status(), c.reason.as_deref()), ("False", Some("ReplicaSetCreateError")));
    assert_eq!(c.message.as_deref(), Some("Failed to create new replica set \"web-1\": no quota"));
}

#[test]
fn pause_table() {
    let moving = || Some(progress_of("True", "ReplicaSetUpdated", 1));
    // why, Progressing before, is it paused, has it a deadline, Progressing then
    let cases = [
        ("a pause", moving(), true, true, Some(PAUSED)),
        ("a pause before all", None, true, true, Some(PAUSED)),
        ("still paused", Some(progress_of("Unknown", PAUSED, 1)), true, true, Some(PAUSED)),
        ("it goes on", Some(progress_of("Unknown", PAUSED, 1)), false, true, Some("DeploymentResumed")),
        ("no pause", moving(), false, true, Some("ReplicaSetUpdated")),
        ("nothing", None, false, true, None),
        ("it timed out, and that stays", Some(progress_of("False", TIMED_OUT, 1)), true, true, Some(TIMED_OUT)),
        ("no deadline, no clock to stop", None, true, false, None),
    ];
    for (why, before, is_paused, has_deadline, expected) in cases {
        let conditions = Some(before.clone().into_iter().collect());
        let mut deployment = deployment(DeploymentStatus { conditions, ..DeploymentStatus::default() });
        let spec = &mut deployment.spec;
        spec.paused = Some(is_paused);
        spec.progress_deadline_seconds = has_deadline.then_some(600);
        let got = paused(facts(&deployment, &[]));
        assert_eq!(reason(&got, PROGRESSING), expected, "{why}");
        if reason(&got, PROGRESSING) == before.as_ref().and_then(|c| c.reason.as_deref()) {
            assert_eq!(conditions::find(got.conditions.as_ref(), PROGRESSING), before.as_ref(), "{why}: untouched");
        }
    }
}

#[test]
fn deadline_table() {
    let deployment = deployment(DeploymentStatus::default());
    let moving = |updated| progress_of("True", "ReplicaSetUpdated", updated);
    let open = || counts(1, 4, 4, 4);
    let cases = [
        ("a second after it is due", open(), moving(NOW - 100), Some(501)),
        ("it was due long ago: soon", open(), moving(NOW - 9000), Some(1)),
        ("it is done", open(), progress_of("True", DONE, NOW), None),
        ("it timed out", open(), progress_of("False", TIMED_OUT, NOW), None),
        ("it is paused", open(), progress_of("Unknown", PAUSED, NOW), None),
        ("it is there, and will be said to be done", counts(4, 4, 4, 4), moving(NOW), None),
    ];
    for (why, status, condition, secs) in cases {
        let status = DeploymentStatus { conditions: Some(vec![condition]), ..status };
        let got = deadline_in(facts(&deployment, &[]), &status);
        assert_eq!(got, secs.map(Duration::from_secs), "{why}");
    }
    assert_eq!(deadline_in(facts(&deployment, &[]), &open()), None, "nothing began");
}

#[test]
fn what_keeps_a_set_from_making_pods_is_said_until_it_is_over() {
    let failing = |name: &str, status: &str| {
        let mut set = ReplicaSet::clone(&set(name, [1; 5]));
        set.status.get_or_insert_default().conditions = Some(vec![ReplicaSetCondition {
            type_: Some(REPLICA_FAILURE.into()),
            status: Some(status.into()),
            reason: Some("FailedCreate".into()),
            message: Some(name.into()),
            ..ReplicaSetCondition::default()
        }]);
        Arc::new(set)
    };
    let cases = [
        ("the new one's", vec![failing("new", "True"), failing("old", "True")], Some("new")),
        ("or else any other's", vec![set("new", [1; 5]), failing("old", "True")], Some("old")),
        ("one that is over", vec![failing("new", "False")], None),
        ("none", vec![set("new", [1; 5])], None),
    ];
    for (why, mut all, expected) in cases {
        let before = condition(REPLICA_FAILURE, "True", "of before", String::new());
        let deployment = deployment(DeploymentStatus { conditions: Some(vec![before]), ..DeploymentStatus::default() });
        all.reverse();
        let facts = Facts { new: all.last(), ..facts(&deployment, &all) };
        let got = rolled(facts, &News::None);
        let c = conditions::find(got.conditions.as_ref(), REPLICA_FAILURE);
        assert_eq!(c.and_then(|c| c.message.as_deref()), expected, "{why}");
        assert!(c.is_none_or(|c| c.status() == "True" && c.reason.as_deref() == Some("FailedCreate")), "{why}");
        assert!(reason(&got, AVAILABLE).is_some(), "{why}: no other condition goes");
    }
}
