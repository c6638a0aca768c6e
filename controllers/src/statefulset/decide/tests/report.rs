//! What a StatefulSet reports, and when it looks again.

use super::*;

/// `replicas ready available current updated | current -> update`.
fn reported(seen: &Observed) -> String {
    let status = decide(seen).status.unwrap();
    let image = |name: &Option<String>| {
        let found = seen.revisions.iter().find(|r| Some(r.name()) == name.as_deref());
        found.map_or_else(|| "?".into(), |revision| image_of(revision))
    };
    let count = |n: Option<i32>| n.unwrap_or(0);
    format!(
        "{} {} {} {} {} | {} -> {}",
        status.replicas,
        count(status.ready_replicas),
        count(status.available_replicas),
        count(status.current_replicas),
        count(status.updated_replicas),
        image(&status.current_revision),
        image(&status.update_revision),
    )
}

#[test]
fn status_table() {
    let slow = || json!({"minReadySeconds": 10});
    let on_delete = || json!({"updateStrategy": {"type": "OnDelete"}});
    let ab: &[&str] = &["a", "b"];
    type Row<'a> = (&'a str, &'a str, Value, &'a [&'a str], &'a [&'a str], &'a str);
    let cases: &[Row<'_>] = &[
        ("nothing yet", "a", json!({}), &["a"], &[], "0 0 0 0 0 | a -> a"),
        ("ready is not available", "a", slow(), &["a"], &["0 a serves", "1 a young"], "2 2 1 2 2 | a -> a"),
        ("one that goes is there, and is of no revision", "a", slow(), &["a"], &["0 a going"], "1 1 1 0 0 | a -> a"),
        ("under way", "b", json!({}), ab, &["0 a serves", "1 a serves", "2 b broken"], "3 2 2 2 1 | a -> b"),
        ("all are new, but one", "b", json!({}), ab, &["0 b serves", "1 b serves", "2 b broken"], "3 2 2 0 3 | a -> b"),
        ("complete", "b", json!({}), ab, &["0 b serves", "1 b serves", "2 b serves"], "3 3 3 3 3 | b -> b"),
        (
            "nobody says that it is",
            "b",
            on_delete(),
            ab,
            &["0 b serves", "1 b serves", "2 b serves"],
            "3 3 3 0 3 | a -> b",
        ),
        ("none are wanted", "b", json!({"replicas": 0}), ab, &[], "0 0 0 0 0 | b -> b"),
        ("of an older one", "b", json!({}), ab, &["0 x serves"], "1 1 1 0 0 | a -> b"),
    ];
    for (why, image, changes, history, pods, expected) in cases {
        assert_eq!(reported(&observed(set(image, changes), history, pods)), *expected, "{why}");
    }
}

#[test]
fn a_status_that_is_right_is_not_written() {
    let mut seen = observed(set("a", &json!({})), &["a"], &["0 a serves"]);
    let status = decide(&seen).status.unwrap();
    assert_eq!((status.observed_generation, status.collision_count), (Some(4), Some(0)));
    assert_eq!((status.available_replicas, status.updated_replicas), (Some(1), Some(1)));
    Arc::make_mut(&mut seen.set).status = Some(*status);
    assert_eq!(decide(&seen).status, None);
}

#[test]
fn one_that_goes_still_reports_and_does_nothing() {
    let mut seen = observed(set("a", &json!({})), &["a"], &["0 a serves", "1 a ended"]);
    Arc::make_mut(&mut seen.set).metadata.deletion_timestamp = Some(Time(at(1)));
    assert_eq!(reported(&seen), "2 1 1 2 2 | a -> a");
    assert_eq!(said(&seen, &decide(&seen)), Vec::<String>::new());
}

#[test]
fn it_looks_again_when_a_pod_becomes_available() {
    let slow = json!({"minReadySeconds": 10});
    let wake = |pods: &[&str]| decide(&observed(set("a", &slow), &["a"], pods)).wake_after;
    assert_eq!(wake(&["0 a serves", "1 a young"]), Some(Duration::from_secs(8)));
    assert_eq!(wake(&["0 a serves", "1 a broken"]), None);
}

#[test]
fn a_collision_is_counted_and_leads_to_another_name() {
    let mut seen = observed(set("b", &json!({})), &["a"], &[]);
    let name = |seen: &Observed| match decide(seen).history {
        Some(Step::Create(new)) => new.name().to_owned(),
        other => panic!("{other:?}"),
    };
    let first = name(&seen);
    let counted = status::collided(&seen.set);
    assert_eq!(counted.collision_count, Some(1));
    Arc::make_mut(&mut seen.set).status = Some(counted);
    assert_ne!(name(&seen), first);
}
