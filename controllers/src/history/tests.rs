//! What revisions keep, which is the present one, and which go.

use corten_api::k8s_openapi::api::apps::v1::StatefulSet;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use jiff::Timestamp;

use super::*;

fn pod_template(image: &str) -> PodTemplateSpec {
    let spec = json!({"containers": [{"name": "main", "image": image}]});
    serde_json::from_value(json!({"metadata": {"labels": {"app": "db"}}, "spec": spec})).unwrap()
}

fn owner(name: &str) -> StatefulSet {
    let meta =
        json!({"name": name, "namespace": "ns", "uid": "me", "annotations": {"kubernetes.io/change-cause": "why"}});
    serde_json::from_value(json!({"metadata": meta, "spec": {"selector": {}, "template": {}}})).unwrap()
}

fn made(image: &str, number: i64) -> ControllerRevision {
    let template = pod_template(image);
    New { template: &template, collisions: 0, number, hash_label: HASH_LABEL, base_max: 52 }.of(&owner("db"))
}

fn revision(image: &str, number: i64, created: i64) -> Arc<ControllerRevision> {
    let mut revision = made(image, number);
    revision.metadata.creation_timestamp = Some(Time(Timestamp::from_second(created).unwrap()));
    Arc::new(revision)
}

#[test]
fn a_revision_is_made_as_kubectl_reads_it() {
    let revision = made("a", 3);
    let hash = hash(&data(&pod_template("a")), 0);
    assert_eq!((revision.name(), revision.namespace()), (format!("db-{hash}").as_str(), "ns"));
    assert_eq!(revision.data.0.pointer("/spec/template/$patch"), Some(&json!("replace")));
    assert_eq!(template(&revision), Some(pod_template("a")), "what it keeps can be had back");
    assert_eq!((revision.label("app"), revision.label(HASH_LABEL)), (Some("db"), Some(hash.as_str())));
    assert_eq!(revision.annotation("kubernetes.io/change-cause"), Some("why"));
    assert!(revision.is_controlled_by("me") && number(&revision) == 3);
    assert_ne!(super::hash(&data(&pod_template("a")), 1), hash, "a collision gives another name");
    let long = owner(&"x".repeat(63));
    let template = pod_template("a");
    let of_long = New { template: &template, collisions: 0, number: 1, hash_label: HASH_LABEL, base_max: 52 }.of(&long);
    assert!(of_long.name().len() <= 63, "its name is a label of pods");
}

#[test]
fn what_says_nothing_makes_no_difference() {
    let of = |template: Value| {
        let mut revision = made("a", 1);
        revision.data.0 = json!({"spec": {"template": template}});
        is_of(&revision, &pod_template("a"))
    };
    let labels = json!({"app": "db"});
    let main = |more: Value| {
        let mut container = json!({"name": "main", "image": "a"});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"containers": [container]})
    };
    let cases = [
        (
            "as a Go program writes it",
            json!({"$patch": "replace", "metadata": {"creationTimestamp": null, "labels": labels},
                "spec": main(json!({"resources": {}}))}),
            true,
        ),
        (
            "an empty security context",
            json!({"$patch": "replace", "metadata": {"labels": labels},
                "spec": {"securityContext": {}, "containers": [{"name": "main", "image": "a"}]}}),
            true,
        ),
        (
            "another image",
            json!({"$patch": "replace", "metadata": {"labels": labels}, "spec": main(json!({"image": "b"}))}),
            false,
        ),
        (
            "resources that say something",
            json!({"$patch": "replace", "metadata": {"labels": labels},
                "spec": main(json!({"resources": {"limits": {"cpu": "1"}}}))}),
            false,
        ),
        ("another form", json!("?"), false),
    ];
    for (why, template, expected) in cases {
        assert_eq!(of(template), expected, "{why}");
    }
}

#[test]
fn data_that_is_no_template_is_none() {
    for data in [json!({}), json!({"spec": {"template": "?"}}), json!({"spec": {"template": {"spec": 7}}})] {
        let mut revision = made("a", 1);
        revision.data.0 = data;
        assert_eq!(template(&revision), None);
    }
}

#[test]
fn present_table() {
    let (a, b) = (revision("a", 1, 1), revision("b", 2, 2));
    let going = {
        let mut going = ControllerRevision::clone(&revision("a", 1, 1));
        going.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        Arc::new(going)
    };
    let cases = [
        ("no history: the first one", vec![], Present::Missing { number: 1 }),
        ("it is the newest", vec![revision("b", 1, 1), revision("a", 2, 2)], Present::Is(revision("a", 2, 2))),
        ("others only", vec![b.clone()], Present::Missing { number: 3 }),
        ("gone back to", vec![a.clone(), b.clone()], Present::Again { revision: a.clone(), number: 3 }),
        (
            "of one number with another",
            vec![b.clone(), revision("a", 2, 3)],
            Present::Again { revision: revision("a", 2, 3), number: 3 },
        ),
        ("twice: the newer", vec![a.clone(), revision("a", 4, 4)], Present::Is(revision("a", 4, 4))),
        ("on its way out", vec![going], Present::Missing { number: 1 }),
    ];
    for (why, revisions, expected) in cases {
        assert_eq!(present(&revisions, &pod_template("a")), expected, "{why}");
    }
}

#[test]
fn revisions_are_ordered_by_number_then_age_then_name() {
    let mut all = [revision("d", 2, 1), revision("c", 1, 5), revision("a", 1, 4), revision("b", 1, 4)];
    sort(&mut all);
    let image = |r: &Arc<ControllerRevision>| template(r).unwrap().spec.unwrap().containers[0].image.clone().unwrap();
    let mut of_one_age = [image(&all[0]), image(&all[1])];
    of_one_age.sort();
    assert_eq!(of_one_age, ["a", "b"]);
    assert!(all[0].name() < all[1].name());
    assert_eq!((image(&all[2]), image(&all[3])), ("c".into(), "d".into()));
}

#[test]
fn surplus_table() {
    let all: Vec<_> = ["a", "b", "c", "d"].iter().zip(1..).map(|(image, n)| revision(image, n, n)).collect();
    // why, limit, how many of the oldest are live, whether these count, which go
    let cases = [
        ("as many as may be kept", 4, 0, false, vec![]),
        ("the oldest go", 2, 0, false, vec![1, 2]),
        ("what is live stays, and does not count", 2, 1, false, vec![2]),
        ("what is live stays, and counts", 2, 1, true, vec![2, 3]),
        ("nothing is kept but what is live", 0, 2, true, vec![3, 4]),
        ("all are live", 0, 4, true, vec![]),
        ("a negative limit keeps all", -1, 0, false, vec![]),
    ];
    for (why, limit, live, counted, expected) in cases {
        let live = all[..live].iter().map(|r| r.name().to_owned()).collect();
        let gone: Vec<i64> = surplus(&all, limit, &live, counted).iter().map(|r| number(r)).collect();
        assert_eq!(gone, expected, "{why}");
    }
}

#[test]
fn taken_table() {
    let wanted = made("a", 3);
    let owned_by = |uid: Option<&str>, mut there: ControllerRevision| {
        let owners = there.metadata.owner_references.take().unwrap_or_default().into_iter();
        let owners = owners.filter_map(|owner| uid.map(|uid| OwnerReference { uid: uid.into(), ..owner }));
        there.metadata.owner_references = Some(owners.collect());
        there
    };
    let going = {
        let mut going = made("a", 1);
        going.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        going
    };
    let cases = [
        ("made before, and its answer was lost", made("a", 1), Taken::Ours),
        ("another template of ours", made("b", 1), Taken::Others),
        ("an orphan of the same template", owned_by(None, made("a", 1)), Taken::Orphan),
        ("an orphan of another", owned_by(None, made("b", 1)), Taken::Others),
        ("the one before of our name had it", owned_by(Some("you"), made("a", 1)), Taken::Others),
        ("on its way out", going, Taken::Others),
    ];
    for (why, there, expected) in cases {
        assert_eq!(taken(&wanted, &there), expected, "{why}");
    }
}
