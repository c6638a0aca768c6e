//! Removal by sets; what an applier gives up is told as stories in the room's own tests.

use serde_json::json;

use super::*;
use crate::apply::testing::{named, set};

#[test]
fn removal_table() {
    for (why, value, gone, expected) in [
        ("a value", json!({"number": 1, "text": "a"}), r#"{"f:number":{}}"#, json!({"text": "a"})),
        ("nothing", json!({"number": 1}), r#"{"f:text":{},"f:part":{"f:name":{}}}"#, json!({"number": 1})),
        (
            "a field of a struct",
            json!({"part": {"name": "a", "number": 1}}),
            r#"{"f:part":{"f:name":{}}}"#,
            json!({"part": {"number": 1}}),
        ),
        (
            "the last field of a struct",
            json!({"part": {"name": "a"}}),
            r#"{"f:part":{"f:name":{}}}"#,
            json!({"part": {}}),
        ),
        (
            "a struct, whatever is in it",
            json!({"part": {"name": "a"}, "number": 1}),
            r#"{"f:part":{}}"#,
            json!({"number": 1}),
        ),
        (
            "an entry",
            json!({"labels": {"a": "1", "b": "1"}}),
            r#"{"f:labels":{"f:a":{}}}"#,
            json!({"labels": {"b": "1"}}),
        ),
        ("all entries", json!({"labels": {"a": "1"}}), r#"{"f:labels":{"f:a":{}}}"#, json!({"labels": null})),
        ("an empty map stays empty", json!({"labels": {}}), r#"{"f:labels":{"f:a":{}}}"#, json!({"labels": {}})),
        ("of a set", json!({"set": ["a", "b", "a"]}), r#"{"f:set":{"v:\"a\"":{}}}"#, json!({"set": ["b"]})),
        ("all of a set", json!({"set": ["a"]}), r#"{"f:set":{"v:\"a\"":{}}}"#, json!({"set": null})),
        (
            "items, and fields of items",
            json!({"list": [{"name": "a", "number": 1}, {"name": "b", "number": 1}, null]}),
            r#"{"f:list":{"k:{\"name\":\"a\"}":{},"k:{\"name\":\"b\"}":{"f:number":{}}}}"#,
            json!({"list": [{"name": "b"}, null]}),
        ),
        (
            "by a default key",
            json!({"ports": [{"port": 80}, {"port": 80, "protocol": "UDP"}]}),
            r#"{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{}}}"#,
            json!({"ports": [{"port": 80, "protocol": "UDP"}]}),
        ),
        (
            "nothing of what is atomic",
            json!({"frozen": {"a": "1"}}),
            r#"{"f:frozen":{"f:a":{}}}"#,
            json!({"frozen": {"a": "1"}}),
        ),
        ("all of it", json!({"frozen": {"a": "1"}, "number": 1}), r#"{"f:frozen":{}}"#, json!({"number": 1})),
        (
            "of another sort",
            json!({"part": 1, "set": {}}),
            r#"{"f:part":{"f:name":{}},"f:set":{"v:1":{}}}"#,
            json!({"part": 1, "set": {}}),
        ),
    ] {
        let mut left = value;
        remove(Place::root(named("Spec")), &mut left, &set(gone));
        assert_eq!(left, expected, "{why}");
    }
}
