//! Sets: what is in them, and what comes of two.

use corten_fuzz::{Random, run};

use super::*;
use crate::apply::testing::set;

fn path(text: &str) -> Vec<Element> {
    text.split('|').map(|step| Element::parse(step).unwrap().unwrap()).collect()
}
/// A set of a few fields, up to three deep.
fn random_set(random: &mut Random) -> FieldSet {
    let steps = ["f:a", "f:b", "f:c", r#"k:{"n":"x"}"#, "v:1", "i:0"];
    let mut step = || Element::parse(random.pick(&steps).unwrap()).unwrap().unwrap();
    let paths: Vec<Path> = (0..12).map(|n| (0..1 + n % 3).map(|_| step()).collect()).collect();
    paths.into_iter().take(random.below(13)).collect()
}

#[test]
fn a_field_is_not_its_parent() {
    let mut fields = FieldSet::new();
    assert!(fields.is_empty());
    fields.insert(&path("f:spec|f:replicas"));
    fields.insert(&path("f:spec|f:replicas"));
    fields.insert(&[]);
    assert_eq!((fields.len(), fields.has(&path("f:spec|f:replicas"))), (1, true));
    assert!(!fields.has(&path("f:spec")) && !fields.has(&[]) && !fields.has(&path("f:spec|f:replicas|f:x")));
    fields.insert(&path("f:spec"));
    fields.insert(&path("f:metadata|f:labels|f:a"));
    assert_eq!(fields.to_string(), ".spec\n.metadata.labels.a\n.spec.replicas\n");
    assert_eq!(fields.len(), 3);
}

#[test]
fn fields_of_a_level_come_before_what_is_below_them() {
    let fields = set(r#"{"f:a":{".":{},"f:x":{},"f:y":{".":{},"f:z":{}}},"f:b":{"f:x":{}},"f:c":{}}"#);
    let told: Vec<String> = fields.iter().map(|path| path.to_string()).collect();
    assert_eq!(told, [".a", ".c", ".a.x", ".a.y", ".a.y.z", ".b.x"]);
    assert_eq!((&fields).into_iter().collect::<FieldSet>(), fields);
}

#[test]
fn two_sets_become_one() {
    let cases = [
        // (why, one, other, union, intersection, difference, recursive difference)
        ("nothing", "{}", "{}", "{}", "{}", "{}", "{}"),
        ("nothing there", "{}", r#"{"f:a":{}}"#, r#"{"f:a":{}}"#, "{}", "{}", "{}"),
        ("nothing to it", r#"{"f:a":{}}"#, "{}", r#"{"f:a":{}}"#, "{}", r#"{"f:a":{}}"#, r#"{"f:a":{}}"#),
        ("the same", r#"{"f:a":{}}"#, r#"{"f:a":{}}"#, r#"{"f:a":{}}"#, r#"{"f:a":{}}"#, "{}", "{}"),
        (
            "siblings",
            r#"{"f:a":{"f:x":{}}}"#,
            r#"{"f:a":{"f:y":{}},"f:b":{}}"#,
            r#"{"f:a":{"f:x":{},"f:y":{}},"f:b":{}}"#,
            "{}",
            r#"{"f:a":{"f:x":{}}}"#,
            r#"{"f:a":{"f:x":{}}}"#,
        ),
        (
            "a child less its parent: gone only with all below",
            r#"{"f:a":{"f:x":{}}}"#,
            r#"{"f:a":{}}"#,
            r#"{"f:a":{".":{},"f:x":{}}}"#,
            "{}",
            r#"{"f:a":{"f:x":{}}}"#,
            "{}",
        ),
        (
            "a parent less its child",
            r#"{"f:a":{".":{},"f:x":{}}}"#,
            r#"{"f:a":{"f:x":{}}}"#,
            r#"{"f:a":{".":{},"f:x":{}}}"#,
            r#"{"f:a":{"f:x":{}}}"#,
            r#"{"f:a":{}}"#,
            r#"{"f:a":{}}"#,
        ),
        (
            "deep",
            r#"{"f:a":{"f:b":{".":{},"f:c":{},"f:d":{}}},"v:1":{}}"#,
            r#"{"f:a":{"f:b":{".":{},"f:c":{}}},"v:1.0":{},"v:2":{}}"#,
            r#"{"f:a":{"f:b":{".":{},"f:c":{},"f:d":{}}},"v:1":{},"v:2":{}}"#,
            r#"{"f:a":{"f:b":{".":{},"f:c":{}}},"v:1":{}}"#,
            r#"{"f:a":{"f:b":{"f:d":{}}}}"#,
            "{}",
        ),
    ];
    for (why, one, other, union, intersection, difference, all_below) in cases {
        let (one, other) = (set(one), set(other));
        let after = |change: &dyn Fn(&mut FieldSet)| {
            let mut set = one.clone();
            change(&mut set);
            set.to_fields_v1_text()
        };
        assert_eq!(after(&|set| set.unite(other.clone())), union, "{why}");
        assert_eq!(one.intersection(&other).to_fields_v1_text(), intersection, "{why}");
        assert_eq!(after(&|set| set.subtract(&other)), difference, "{why}");
        assert_eq!(after(&|set| set.subtract_with_all_below(&other)), all_below, "{why}");
    }
}

#[test]
fn sets_keep_the_laws_of_sets() {
    run("sets_keep_the_laws_of_sets", |random| {
        let (one, other) = (random_set(random), random_set(random));
        let both = one.intersection(&other);
        let (mut all, mut rest, mut outside) = (one.clone(), one.clone(), one.clone());
        all.unite(other.clone());
        rest.subtract(&other);
        outside.subtract_with_all_below(&other);
        for path in &all {
            let (in_one, in_other) = (one.has(&path.0), other.has(&path.0));
            assert!(in_one || in_other, "{path}");
            assert_eq!(both.has(&path.0), in_one && in_other, "{path}");
            assert_eq!(rest.has(&path.0), in_one && !in_other, "{path}");
            let is_below = (1..=path.0.len()).any(|len| other.has(&path.0[..len]));
            assert_eq!(outside.has(&path.0), in_one && !is_below, "{path}");
        }
        assert!(all.contains(&one) && all.contains(&other) && one.contains(&rest) && one.contains(&both));
        assert_eq!(one.contains(&other), both == other);
        assert_eq!(all.len(), one.len() + other.len() - both.len());
        let mut again = rest.clone();
        again.unite(both.clone());
        assert_eq!(again, one, "what is outside and what is inside make the whole");
        assert_eq!(other.intersection(&one), both);
        let mut paths: Vec<Path> = all.iter().collect();
        assert_eq!(paths.len(), all.len());
        paths.reverse();
        assert_eq!(paths.into_iter().collect::<FieldSet>(), all, "whatever the order they come in");
    });
}

#[test]
fn nodes_in_any_order_make_a_set() {
    let node = |text: &str, member, below: &str| Node { element: path(text).remove(0), member, below: set(below) };
    let nodes = [
        node("f:b", false, r#"{"f:x":{}}"#),
        node("f:a", true, "{}"),
        node("f:b", true, r#"{"f:y":{}}"#),
        node("f:c", false, "{}"),
        node("f:b", false, "{}"),
    ];
    let fields: FieldSet = nodes.into_iter().collect();
    assert_eq!(fields.to_fields_v1_text(), r#"{"f:a":{},"f:b":{".":{},"f:x":{},"f:y":{}}}"#);
}
