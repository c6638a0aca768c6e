//! Merges: upstream's own cases, value by value.

use corten_fuzz::run;
use serde_json::json;

use super::*;
use crate::apply::compare::compare;
use crate::apply::element::Path;
use crate::apply::fields::{fields_of, with_structs};
use crate::apply::testing::{kind_shape, named};
use crate::apply::tests::random::{filled, spec};
use crate::schema::Shape;

fn merged(shape: Option<Shape<'_>>, mut object: Value, configuration: &Value) -> Value {
    merge(Place::root(shape), &mut object, configuration);
    object
}

#[test]
fn merge_table() {
    for (why, object, configuration, expected) in [
        ("a value", json!({"number": 1}), json!({"number": 3.5}), json!({"number": 3.5})),
        ("another", json!({"text": "a"}), json!({"flag": true}), json!({"text": "a", "flag": true})),
        ("null", json!({"number": 1}), json!({"number": null}), json!({"number": null})),
        (
            "a struct",
            json!({"part": {"name": "a"}}),
            json!({"part": {"number": 1}}),
            json!({"part": {"name": "a", "number": 1}}),
        ),
        (
            "an empty struct takes nothing away",
            json!({"part": {"name": "a"}}),
            json!({"part": {}}),
            json!({"part": {"name": "a"}}),
        ),
        ("nor does null", json!({"part": {"name": "a"}}), json!({"part": null}), json!({"part": {"name": "a"}})),
        ("an empty struct where there is none", json!({}), json!({"part": {}}), json!({"part": {}})),
        ("null where there is nothing", json!({}), json!({"part": null}), json!({"part": null})),
        ("an empty struct for null", json!({"part": null}), json!({"part": {}}), json!({"part": {}})),
        ("null for an empty struct", json!({"part": {}}), json!({"part": null}), json!({"part": null})),
        ("a struct for null", json!({"part": null}), json!({"part": {"name": "a"}}), json!({"part": {"name": "a"}})),
        (
            "a map",
            json!({"labels": {"a": "1"}}),
            json!({"labels": {"a": "2", "b": "1"}}),
            json!({"labels": {"a": "2", "b": "1"}}),
        ),
        ("an atomic map", json!({"frozen": {"a": "1"}}), json!({"frozen": {"b": "1"}}), json!({"frozen": {"b": "1"}})),
        ("an atomic struct", json!({"whole": {"a": "1"}}), json!({"whole": {"b": "1"}}), json!({"whole": {"b": "1"}})),
        ("an atomic list", json!({"args": ["a", "a"]}), json!({"args": ["a"]}), json!({"args": ["a"]})),
        ("an empty atomic list", json!({"args": ["a"]}), json!({"args": []}), json!({"args": []})),
        ("an atomic list becomes null", json!({"args": ["a"]}), json!({"args": null}), json!({"args": null})),
        ("an empty set takes nothing away", json!({"set": ["a"]}), json!({"set": []}), json!({"set": ["a"]})),
        ("nor does null for a set", json!({"set": ["a"]}), json!({"set": null}), json!({"set": ["a"]})),
        ("null for an empty set", json!({"set": []}), json!({"set": null}), json!({"set": null})),
        ("an empty set for null", json!({"set": null}), json!({"set": []}), json!({"set": []})),
        ("a raw value", json!({"raw": {"a": 1}}), json!({"raw": {"b": 1}}), json!({"raw": {"b": 1}})),
        ("a raw value becomes plain", json!({"raw": {"a": 1}}), json!({"raw": 1}), json!({"raw": 1})),
    ] {
        assert_eq!(merged(named("Spec"), object, &configuration), expected, "{why}");
    }
}

#[test]
fn items_are_in_upstreams_order() {
    // (the object's, the configuration's, merged), a letter an item.
    for (object, configuration, expected) in [
        ("abc", "ab", "abc"),
        ("ab", "abc", "abc"),
        ("", "abc", "abc"),
        ("ab", "ba", "ba"),
        ("abc", "def", "abcdef"),
        ("abc", "cdef", "abcdef"),
        ("abcgf", "cdef", "abcgdef"),
        ("cdef", "ace", "acdef"),
        ("abcxyz", "def", "abcxyzdef"),
        ("abcxyz", "defxyz", "abcdefxyz"),
        ("cagf", "cfag", "cfag"),
        ("abcd", "defa", "bcdefa"),
        ("cdefghij", "2h3e4kl", "cdfg2hij3e4kl"),
        ("abcdefghij", "1b2h3e4kl", "a1bcdfg2hij3e4kl"),
        ("abc", "cb", "acb"),
        ("abc", "ca", "bca"),
        // Of an item that the object has twice, one is left if the configuration has it.
        ("abb", "c", "abbc"),
        ("abb", "b", "ab"),
        ("abb", "a", "abb"),
        ("abcdec", "1b2ed", "a1bc2ecd"),
        ("abcdec", "1b2ced", "a1b2ced"),
        ("aabb", "bcd", "aabcd"),
        ("aabb", "", "aabb"),
        ("cagfca", "cfag", "cfag"),
        ("tft", "f", "tft"),
        ("tft", "t", "tf"),
    ] {
        let letters = |of: &str| of.chars().map(String::from).collect::<Vec<_>>();
        let set = |of: &str| json!({"set": letters(of)});
        assert_eq!(merged(named("Spec"), set(object), &set(configuration)), set(expected), "{object} {configuration}");
        let list =
            |of: &str| json!({"list": letters(of).into_iter().map(|name| json!({ "name": name })).collect::<Vec<_>>()});
        assert_eq!(
            merged(named("Spec"), list(object), &list(configuration)),
            list(expected),
            "{object} {configuration}"
        );
    }
}

#[test]
fn items_with_the_same_keys_are_merged() {
    for (why, object, configuration, expected) in [
        (
            "by one key",
            json!({"list": [{"name": "a", "number": 1, "set": ["x"]}, {"name": "b"}]}),
            json!({"list": [{"name": "a", "other": 2, "set": ["y"]}]}),
            json!({"list": [{"name": "a", "number": 1, "other": 2, "set": ["x", "y"]}, {"name": "b"}]}),
        ),
        (
            "by two keys, of which one has a default",
            json!({"ports": [{"port": 80, "name": "x"}, {"port": 80, "protocol": "UDP"}]}),
            json!({"ports": [{"port": 80, "protocol": "TCP", "name": "y"}, {"port": 81}]}),
            json!({"ports": [{"port": 80, "protocol": "TCP", "name": "y"}, {"port": 80, "protocol": "UDP"}, {"port": 81}]}),
        ),
        (
            "an item that is there twice is replaced",
            json!({"list": [{"name": "a", "number": 1}, {"name": "b"}, {"name": "a", "other": 2}]}),
            json!({"list": [{"name": "a", "number": 3}, {"name": "c"}, {"name": "b"}]}),
            json!({"list": [{"name": "a", "number": 3}, {"name": "c"}, {"name": "b"}]}),
        ),
        (
            "what cannot be told apart stays where it is",
            json!({"list": [null, {"name": "a"}, {}]}),
            json!({"list": [{"name": "a", "number": 1}]}),
            json!({"list": [null, {"name": "a", "number": 1}, {}]}),
        ),
        (
            "numbers that mean the same",
            json!({"numbers": [1, 2, 3.5, 1, 2]}),
            json!({"numbers": [1.0, 2, 3]}),
            json!({"numbers": [1.0, 2, 3.5, 3]}),
        ),
    ] {
        assert_eq!(merged(named("Spec"), object, &configuration), expected, "{why}");
    }
}

#[test]
fn without_a_schema_objects_merge_and_all_else_is_replaced() {
    for (object, configuration, expected) in [
        (json!({"a": {"b": 1}}), json!({"a": {"c": 1}}), json!({"a": {"b": 1, "c": 1}})),
        (json!({"a": {"b": 1}}), json!({"a": null}), json!({"a": {"b": 1}})),
        (json!({"a": {"b": 1}}), json!({"a": [1]}), json!({"a": [1]})),
        (json!({"a": [1]}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}})),
        (json!({"a": [{"name": 1}]}), json!({"a": [{"name": 2}]}), json!({"a": [{"name": 2}]})),
        (json!({"a": [1]}), json!({"a": null}), json!({"a": null})),
        (json!({"a": 1}), json!({"a": null}), json!({"a": null})),
    ] {
        assert_eq!(merged(None, object.clone(), &configuration), expected, "{object} {configuration}");
    }
}

#[test]
fn a_container_is_merged_by_its_name() {
    let spec = |containers: Value| json!({"spec": {"containers": containers}});
    let live = spec(json!([
        {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}], "args": ["1"]},
        {"name": "injected", "image": "i"},
    ]));
    let configuration = spec(json!([
        {"name": "b", "image": "1"},
        {"name": "a", "image": "2", "env": [{"name": "Y", "value": "1"}], "args": ["2"]},
    ]));
    let expected = spec(json!([
        {"name": "b", "image": "1"},
        {"name": "a", "image": "2", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "1"}], "args": ["2"]},
        {"name": "injected", "image": "i"},
    ]));
    assert_eq!(merged(kind_shape("v1", "Pod"), live, &configuration), expected);
}

#[test]
fn merges_keep_their_word() {
    run("merges_keep_their_word", |random| {
        // Nobody owns an empty list, though it be new.
        let (object, configuration) = (spec(random), filled(spec(random)));
        let once = merged(named("Spec"), object.clone(), &configuration);
        assert_eq!(
            merged(named("Spec"), once.clone(), &configuration),
            once,
            "twice is once: {object} {configuration}"
        );
        let found = compare(named("Spec"), &object, &once);
        assert!(found.removed.is_empty(), "nothing goes: {object} {configuration}");
        let (mut changed, mut said) = (found.added, fields_of(named("Spec"), &configuration));
        changed.unite(found.modified);
        with_structs(&mut said, Place::root(named("Spec")));
        changed.subtract(&said);
        // What Go writes in every item comes with the item.
        let filled_in =
            |path: &Path| matches!(path.0.last(), Some(Element::Field(name)) if matches!(&**name, "always" | "time"));
        let unsaid: Vec<Path> = changed.iter().filter(|path| !filled_in(path)).collect();
        assert!(unsaid.is_empty(), "nothing changes that was not said: {unsaid:?}: {object} {configuration}");
    });
}

#[test]
fn long_lists_merge_in_time_that_grows_with_them() {
    let items = |from: usize| (from..from + 20_000).map(|n| json!({"name": n.to_string()})).collect::<Vec<_>>();
    let began = std::time::Instant::now();
    let once = merged(named("Spec"), json!({"list": items(0)}), &json!({"list": items(10_000)}));
    assert_eq!(once["list"].as_array().map(Vec::len), Some(30_000));
    let mut reversed = items(0);
    reversed.reverse();
    let reversed = json!({"list": reversed});
    assert_eq!(merged(named("Spec"), json!({"list": items(0)}), &reversed), reversed);
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}
