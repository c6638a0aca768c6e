//! What holds whatever is written.

use corten_fuzz::run;
use serde_json::{Value, json};

use super::random::{apart, filled, spec};
use crate::apply::compare::{Comparison, compare};
use crate::apply::fields::{fields_of, with_structs};
use crate::apply::managers::strip;
use crate::apply::merge::merge;
use crate::apply::place::Place;
use crate::apply::testing::{Story, named, thing};
use crate::apply::{FieldSet, Manager, Managers, ObjectType};
use crate::decode::MAX_NESTING;

fn managers(story: &Story<'_>) -> Managers {
    let list = story.object.as_ref().and_then(|object| object["metadata"].get("managedFields")).cloned();
    Managers::read(&list.unwrap_or_default()).unwrap()
}
/// All fields that somebody owns.
fn owned(story: &Story<'_>) -> FieldSet {
    let mut all = FieldSet::new();
    managers(story).iter().for_each(|(_, owned)| all.unite(owned.fields.clone()));
    all
}

#[test]
fn applying_twice_changes_nothing() {
    run("applying_twice_changes_nothing", |random| {
        let mut story = Story::of_thing();
        // Somebody owns something throughout: an object that nobody owns anything of is somebody's before the next apply.
        story.update("up", thing(&json!({"time": "2026-01-01T00:00:00Z"})));
        for _ in 0..3 {
            let (manager, spec) = (random.pick(&["one", "two"]).unwrap(), thing(&spec(random)));
            story.apply(manager, &spec, true).unwrap();
            let once = story.object.clone();
            assert_eq!(story.apply(manager, &spec, false), Ok(false), "{spec}");
            assert_eq!(story.object, once);
        }
    });
}

#[test]
fn what_is_applied_is_so_and_is_the_appliers() {
    run("what_is_applied_is_so_and_is_the_appliers", |random| {
        let mut story = Story::of_thing();
        story.update("up", thing(&spec(random)));
        story.apply("other", &thing(&spec(random)), true).unwrap();
        let configuration = thing(&spec(random));
        story.apply("one", &configuration, true).unwrap();
        let mut said = fields_of(named("Thing"), &configuration);
        strip(&mut said);
        let owned = managers(&story).get(&Manager::applier("one", "")).map(|owned| owned.fields.clone());
        assert_eq!(owned.unwrap_or_default(), said);
        // Nothing is left to be said.
        let object = story.object.clone().unwrap();
        let mut merged = object.clone();
        merge(Place::root(named("Thing")), &mut merged, &configuration);
        assert_eq!(compare(named("Thing"), &object, &merged), Comparison::default(), "{configuration}");
    });
}

#[test]
fn independent_managers_commute() {
    run("independent_managers_commute", |random| {
        let (one, other) = apart(random);
        let before = random.one_in(2).then(|| spec(random));
        let told = |first: (&str, &Value), second: (&str, &Value)| {
            let mut story = Story::of_thing();
            if let Some(before) = &before {
                story.update("up", thing(before));
            }
            for (manager, spec) in [first, second] {
                story.apply(manager, &thing(spec), true).unwrap();
            }
            // Times differ.
            let managers: Vec<_> =
                managers(&story).iter().map(|(m, owned)| (m.clone(), owned.fields.clone())).collect();
            (story.object.unwrap(), managers)
        };
        let (there, there_managers) = told(("one", &one), ("other", &other));
        let (back, back_managers) = told(("other", &other), ("one", &one));
        let mut found = compare(named("Thing"), &there, &back);
        strip(&mut found.modified);
        assert_eq!(found, Comparison::default(), "{one} {other} {before:?}");
        assert_eq!(there_managers, back_managers, "{one} {other} {before:?}");
    });
}

#[test]
fn what_one_applies_and_then_does_not_is_as_if_it_had_never_been() {
    run("what_one_applies_and_then_does_not_is_as_if_it_had_never_been", |random| {
        // Nobody owns an empty list, and so nobody can keep one.
        let (one, other) = (filled(spec(random)), filled(spec(random)));
        let mut alone = Story::of_thing();
        alone.apply("other", &thing(&other), true).unwrap();
        let mut story = Story::of_thing();
        story.apply("one", &thing(&one), true).unwrap();
        story.apply("other", &thing(&other), true).unwrap();
        story.apply("one", &thing(&json!(null)), true).unwrap();
        let mut left = compare(named("Thing"), alone.object.as_ref().unwrap(), story.object.as_ref().unwrap());
        strip(&mut left.modified);
        assert_eq!(left, Comparison::default(), "{one} {other}");
        assert_eq!(owned(&story), owned(&alone), "{one} {other}");
    });
}

#[test]
fn update_then_remove_leaves_no_owner() {
    run("update_then_remove_leaves_no_owner", |random| {
        let mut story = Story::of_thing();
        for _ in 0..1 + random.below(4) {
            let (manager, spec) = (random.pick(&["one", "two"]).unwrap(), thing(&spec(random)));
            if random.one_in(2) {
                story.apply(manager, &spec, true).unwrap();
            } else {
                story.update(manager, spec);
            }
        }
        story.update("last", thing(&json!({})));
        assert_eq!(story.managers(), [""; 0]);
    });
}

#[test]
fn nobody_owns_what_is_not_there() {
    run("nobody_owns_what_is_not_there", |random| {
        let mut story = Story::of_thing();
        for _ in 0..5 {
            let (manager, spec) = (random.pick(&["one", "two", "three"]).unwrap(), thing(&spec(random)));
            if random.one_in(2) {
                story.apply(manager, &spec, true).unwrap();
            } else {
                story.update(manager, spec);
            }
            // Compared with nothing, an object has all its fields, the structs and what Go writes among them.
            let object = story.object.clone().unwrap();
            let mut there = compare(named("Thing"), &json!(null), &object).added;
            with_structs(&mut there, Place::root(named("Thing")));
            let mut gone = owned(&story);
            gone.subtract(&there);
            assert!(gone.is_empty(), "{gone} {object}");
        }
    });
}

#[test]
fn objects_as_deep_as_a_body_may_be() {
    // On a stack as a worker has it. An object, its spec and `part` are around the rest.
    let deep =
        |name: &str, leaf: &str| (3..MAX_NESTING).fold(json!({ "name": leaf }), |inside, _| json!({ name: inside }));
    let typed = |leaf: &str| thing(&json!({"part": deep("inner", leaf)}));
    let untyped = |leaf: &str| thing(&json!({"x": deep("y", leaf)}));
    let plain = Story::of(ObjectType::plain("example.com/v1", "Thing", None));
    for (mut story, object) in [(Story::of_thing(), &typed as &dyn Fn(&str) -> Value), (plain, &untyped)] {
        story.update("up", object("a"));
        let told = story.apply("one", &object("b"), false).unwrap_err();
        assert!(
            told.starts_with("Apply failed with 1 conflict: conflict with \"up\" using example.com/v1: .spec."),
            "{told}"
        );
        story.apply("one", &object("b"), true).unwrap();
        assert_eq!(story.apply("one", &object("b"), false), Ok(false));
        story.apply("one", &thing(&json!(null)), false).unwrap();
        assert_eq!(managers(&story).iter().count(), 1);
    }
}

#[test]
fn a_crowd_of_managers_costs_what_it_owns() {
    let entry = |n: usize, operation: &str| {
        json!({"manager": format!("m{n}"), "operation": operation, "apiVersion": "example.com/v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:labels": {format!("f:l{n:05}"): {}}}}})
    };
    let labels =
        |value: &str| (0..20_000).map(|n| (format!("l{n:05}"), json!(value))).collect::<serde_json::Map<_, _>>();
    let began = std::time::Instant::now();
    for operation in ["Update", "Apply"] {
        let mut live = thing(&json!({"labels": labels("1")}));
        live["metadata"]["managedFields"] = (0..5_000).map(|n| entry(n, operation)).collect();
        let mut story = Story { object: Some(live), ..Story::of_thing() };
        story.apply("one", &thing(&json!({"labels": labels("2")})), true).unwrap();
        assert_eq!(managers(&story).iter().count(), 1);
        let mut new = thing(&json!({"labels": {}}));
        new["metadata"]["managedFields"] = (0..5_000).map(|n| entry(n, operation)).collect();
        let mut story = Story::of_thing();
        story.update("two", thing(&json!({"labels": labels("1")})));
        story.object.as_mut().unwrap()["metadata"]["managedFields"] = new["metadata"]["managedFields"].take();
        story.update("three", thing(&json!({"labels": labels("1"), "text": "a"})));
        assert_eq!(managers(&story).iter().count(), if operation == "Update" { 10 } else { 5_001 });
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
}
