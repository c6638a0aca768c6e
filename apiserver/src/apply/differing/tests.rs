//! What is left out of two texts, and that nothing that matters is.

use corten_fuzz::run;
use serde_json::json;

use super::*;
use crate::apply::compare::compare;
use crate::apply::testing::{named, thing};
use crate::apply::tests::random::spec;

#[test]
fn what_both_say_alike_is_left_out() {
    for (why, old, new, expected) in [
        ("nothing differs", r#"{"a":1,"b":{"c":"x"}}"#, r#"{"b":{"c":"x"},"a":1}"#, ("{}", "{}")),
        (
            "a field, deep within",
            r#"{"a":{"b":{"c":1,"d":[1]},"e":2}}"#,
            r#"{"a":{"e":2,"b":{"d":[1],"c":3}}}"#,
            (r#"{"a":{"b":{"c":1}}}"#, r#"{"a":{"b":{"c":3}}}"#),
        ),
        ("fields of one alone", r#"{"a":1,"b":2}"#, r#"{"b":2,"c":3}"#, (r#"{"a":1}"#, r#"{"c":3}"#)),
        ("lists are whole", r#"{"l":[1,2]}"#, r#"{"l":[1,3]}"#, (r#"{"l":[1,2]}"#, r#"{"l":[1,3]}"#)),
        ("a value of another sort", r#"{"a":{"b":1}}"#, r#"{"a":null}"#, (r#"{"a":{"b":1}}"#, r#"{"a":null}"#)),
        ("what is empty now", r#"{"a":{"b":1}}"#, r#"{"a":{}}"#, (r#"{"a":{"b":1}}"#, r#"{"a":{}}"#)),
        (
            "escapes",
            r#"{"a\u0062":1,"x":"\u0061"}"#,
            r#"{"ab":2,"x":"a"}"#,
            (r#"{"ab":1,"x":"a"}"#, r#"{"ab":2,"x":"a"}"#),
        ),
        ("of two the last counts", r#"{"b":0,"a":1,"a":2}"#, r#"{"a":2,"b":0}"#, ("{}", "{}")),
        ("no objects", "1", "[]", ("1", "[]")),
    ] {
        let (old, new) = differing(old, new).unwrap();
        assert_eq!((&*old.to_string(), &*new.to_string()), expected, "{why}");
    }
    for bad in ["", "{", "{]", r#"{"a"}"#] {
        assert!(differing(bad, "{}").is_err(), "{bad}");
    }
}

#[test]
fn what_differs_between_two_objects_differs_between_what_is_left_of_them() {
    run("what_differs_between_two_objects_differs_between_what_is_left_of_them", |random| {
        let (old, mut new) = (thing(&spec(random)), thing(&spec(random)));
        if random.one_in(2) {
            // As most writes are: much the same.
            let changed = new["spec"].take();
            new["spec"] = old["spec"].clone();
            if let (Value::Object(new), Value::Object(changed)) = (&mut new["spec"], changed) {
                new.extend(changed.into_iter().take(2));
            }
        }
        let (before, after) = differing(&old.to_string(), &new.to_string()).unwrap();
        for shape in [named("Thing"), None] {
            assert_eq!(compare(shape, &before, &after), compare(shape, &old, &new), "{old} {new}");
        }
        assert_eq!(differing(&old.to_string(), &old.to_string()).unwrap(), (json!({}), json!({})));
    });
}
