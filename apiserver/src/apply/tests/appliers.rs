//! Several appliers of one object: shared fields, conflicts, what goes with whom.

use serde_json::{Value, json};

use crate::apply::testing::{Story, thing};

/// A write of a Thing's spec.
enum Write {
    Apply(&'static str, Value),
    Force(&'static str, Value),
    Update(&'static str, Value),
    /// The conflicts that an apply has.
    Refused(&'static str, Value, &'static str),
}
use Write::{Apply, Force, Refused, Update};

fn play(why: &str, writes: Vec<Write>) -> Story<'static> {
    let mut story = Story::of_thing();
    for (nth, write) in writes.into_iter().enumerate() {
        let told = format!("{why}: write {}", nth + 1);
        match write {
            Apply(manager, spec) => {
                story.apply(manager, &thing(&spec), false).unwrap_or_else(|err| panic!("{told}: {err}"));
                assert_eq!(story.apply(manager, &thing(&spec), false), Ok(false), "{told}: twice is once");
                story.second -= 1;
            }
            Force(manager, spec) => {
                story.apply(manager, &thing(&spec), true).unwrap_or_else(|err| panic!("{told}: {err}"));
            }
            Update(manager, spec) => story.update(manager, thing(&spec)),
            Refused(manager, spec, expected) => {
                let before = story.object.clone();
                assert_eq!(story.apply(manager, &thing(&spec), false), Err(expected.to_owned()), "{told}");
                assert_eq!(story.object, before);
                story.second -= 1;
            }
        }
    }
    story
}

/// (why, writes, the spec in the end, the managers in the end)
type Case = (&'static str, Vec<Write>, Value, &'static [&'static str]);

fn check(cases: Vec<Case>) {
    for (why, writes, spec, managers) in cases {
        let story = play(why, writes);
        assert_eq!(
            (story.spec(), story.managers()),
            (spec, managers.iter().map(|m| (*m).to_owned()).collect()),
            "{why}"
        );
    }
}

#[test]
fn items_belong_to_who_applies_them() {
    check(vec![
        (
            "an item goes with the one who applied it",
            vec![
                Apply("one", json!({"list": [{"name": "a"}, {"name": "b"}]})),
                Apply("two", json!({"list": [{"name": "c"}]})),
                Apply("one", json!({"list": [{"name": "a"}]})),
            ],
            json!({"list": [{"name": "a"}, {"name": "c"}]}),
            &[
                r#"two Apply 2 {"f:list":{"k:{\"name\":\"c\"}":{".":{},"f:name":{}}}}"#,
                r#"one Apply 3 {"f:list":{"k:{\"name\":\"a\"}":{".":{},"f:name":{}}}}"#,
            ],
        ),
        (
            "one that another applies, too, stays",
            vec![
                Apply("one", json!({"list": [{"name": "a"}, {"name": "b"}, {"name": "c"}]})),
                Apply("two", json!({"list": [{"name": "c"}, {"name": "d"}]})),
                Apply("one", json!({"list": [{"name": "a"}]})),
            ],
            json!({"list": [{"name": "a"}, {"name": "c"}, {"name": "d"}]}),
            &[
                r#"two Apply 2 {"f:list":{"k:{\"name\":\"c\"}":{".":{},"f:name":{}},"k:{\"name\":\"d\"}":{".":{},"f:name":{}}}}"#,
                r#"one Apply 3 {"f:list":{"k:{\"name\":\"a\"}":{".":{},"f:name":{}}}}"#,
            ],
        ),
        (
            "what two apply alike is both's",
            vec![
                Apply("one", json!({"list": [{"name": "a", "number": 0}]})),
                Apply("two", json!({"list": [{"name": "a", "number": 0}]})),
            ],
            json!({"list": [{"name": "a", "number": 0}]}),
            &[
                r#"one Apply 1 {"f:list":{"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:number":{}}}}"#,
                r#"two Apply 2 {"f:list":{"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:number":{}}}}"#,
            ],
        ),
        (
            "what two apply differently is a conflict, until one forces it",
            vec![
                Apply("one", json!({"list": [{"name": "a", "number": 0}]})),
                Refused(
                    "two",
                    json!({"list": [{"name": "a", "number": 1}]}),
                    r#"Apply failed with 1 conflict: conflict with "one": .spec.list[name="a"].number"#,
                ),
                Force("two", json!({"list": [{"name": "a", "number": 1}]})),
                Refused(
                    "one",
                    json!({"list": [{"name": "a", "number": 0}]}),
                    r#"Apply failed with 1 conflict: conflict with "two": .spec.list[name="a"].number"#,
                ),
                // Who no longer says it gives in.
                Apply("one", json!({"list": [{"name": "a"}]})),
            ],
            json!({"list": [{"name": "a", "number": 1}]}),
            &[
                r#"one Apply 1 {"f:list":{"k:{\"name\":\"a\"}":{".":{},"f:name":{}}}}"#,
                r#"two Apply 2 {"f:list":{"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:number":{}}}}"#,
            ],
        ),
        (
            "of an item that stays, a part goes",
            vec![
                Apply("one", json!({"list": [{"name": "a"}, {"name": "b", "set": ["c"]}]})),
                Apply("two", json!({"list": [{"name": "b", "set": ["d"]}]})),
                Update("controller", json!({"list": [{"name": "a"}, {"name": "b", "set": ["c", "d", "e"]}]})),
                Apply("one", json!({"list": [{"name": "a"}]})),
            ],
            json!({"list": [{"name": "a"}, {"name": "b", "set": ["d", "e"]}]}),
            &[
                r#"two Apply 2 {"f:list":{"k:{\"name\":\"b\"}":{".":{},"f:name":{},"f:set":{"v:\"d\"":{}}}}}"#,
                r#"one Apply 4 {"f:list":{"k:{\"name\":\"a\"}":{".":{},"f:name":{}}}}"#,
                r#"controller Update 3 {"f:list":{"k:{\"name\":\"b\"}":{"f:set":{"v:\"e\"":{}}}}}"#,
            ],
        ),
        (
            "with an item goes what others put into it",
            vec![
                Apply("one", json!({"list": [{"name": "a"}, {"name": "b", "set": ["c"]}]})),
                Apply("two", json!({"list": [{"name": "a", "set": ["b"]}]})),
                Update("controller", json!({"list": [{"name": "a", "set": ["b"]}, {"name": "b", "set": ["c", "d"]}]})),
                Apply("one", json!({"list": [{"name": "a"}]})),
            ],
            json!({"list": [{"name": "a", "set": ["b"]}]}),
            &[
                r#"two Apply 2 {"f:list":{"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:set":{"v:\"b\"":{}}}}}"#,
                r#"one Apply 4 {"f:list":{"k:{\"name\":\"a\"}":{".":{},"f:name":{}}}}"#,
            ],
        ),
        (
            "a key and its default are one",
            vec![
                Apply("one", json!({"ports": [{"port": 80, "name": "foo"}]})),
                Refused(
                    "two",
                    json!({"ports": [{"port": 80, "protocol": "TCP", "name": "bar"}]}),
                    r#"Apply failed with 1 conflict: conflict with "one": .spec.ports[port=80,protocol="TCP"].name"#,
                ),
                Apply("two", json!({"ports": [{"port": 80, "protocol": "UDP", "name": "bar"}]})),
                Apply("one", json!(null)),
            ],
            json!({"ports": [{"port": 80, "protocol": "UDP", "name": "bar"}]}),
            &[
                r#"two Apply 2 {"f:ports":{"k:{\"port\":80,\"protocol\":\"UDP\"}":{".":{},"f:name":{},"f:port":{},"f:protocol":{}}}}"#,
            ],
        ),
        (
            "another key is another item",
            vec![
                Apply("one", json!({"list": [{"name": "a", "set": ["b", "c"]}]})),
                Apply("one", json!({"list": [{"name": "b", "set": ["a", "c"]}]})),
            ],
            json!({"list": [{"name": "b", "set": ["a", "c"]}]}),
            &[
                r#"one Apply 2 {"f:list":{"k:{\"name\":\"b\"}":{".":{},"f:name":{},"f:set":{"v:\"a\"":{},"v:\"c\"":{}}}}}"#,
            ],
        ),
    ]);
}

#[test]
fn fields_belong_to_who_applies_them() {
    check(vec![
        (
            "a value goes with its only applier",
            vec![Apply("one", json!({"text": "a", "number": 1})), Apply("one", json!({"text": "a"}))],
            json!({"text": "a"}),
            &[r#"one Apply 2 {"f:text":{}}"#],
        ),
        (
            "and stays if another applies it",
            vec![
                Apply("one", json!({"text": "a", "number": 1})),
                Apply("two", json!({"number": 1})),
                Apply("one", json!({"text": "a"})),
            ],
            json!({"text": "a", "number": 1}),
            &[r#"two Apply 2 {"f:number":{}}"#, r#"one Apply 3 {"f:text":{}}"#],
        ),
        (
            "or if an update has set it",
            vec![
                Update("up", json!({"text": "a", "number": 1})),
                Apply("one", json!({"text": "a", "number": 1})),
                Apply("one", json!({"text": "a"})),
            ],
            json!({"text": "a", "number": 1}),
            &[r#"one Apply 3 {"f:text":{}}"#, r#"up Update 1 {"f:number":{},"f:text":{}}"#],
        ),
        (
            "an update takes a value from an applier, who then has no say in it",
            vec![
                Apply("one", json!({"text": "a", "number": 1})),
                Update("up", json!({"text": "a", "number": 2})),
                Apply("one", json!({"text": "a"})),
            ],
            json!({"text": "a", "number": 2}),
            &[r#"one Apply 1 {"f:text":{}}"#, r#"up Update 2 {"f:number":{}}"#],
        ),
        (
            "a struct goes with the last of its fields, and with what nobody owns in it",
            vec![Apply("one", json!({"text": "a", "part": {"name": "b"}})), Apply("one", json!({"text": "a"}))],
            json!({"text": "a"}),
            &[r#"one Apply 2 {"f:text":{}}"#],
        ),
        (
            "a struct stays while somebody has a field in it",
            vec![
                Apply("one", json!({"text": "a", "part": {"name": "b"}})),
                Apply("two", json!({"part": {"number": 1}})),
                Apply("one", json!({"text": "a"})),
            ],
            json!({"text": "a", "part": {"number": 1}}),
            &[r#"two Apply 2 {"f:part":{"f:number":{}}}"#, r#"one Apply 3 {"f:text":{}}"#],
        ),
        (
            "entries of maps",
            vec![
                Apply("one", json!({"labels": {"a": "1", "b": "1"}})),
                Apply("two", json!({"labels": {"b": "1", "c": "1"}})),
                Apply("one", json!({"labels": {}})),
            ],
            json!({"labels": {"b": "1", "c": "1"}}),
            &[r#"two Apply 2 {"f:labels":{"f:b":{},"f:c":{}}}"#, r#"one Apply 3 {"f:labels":{}}"#],
        ),
        (
            "values of sets",
            vec![
                Apply("one", json!({"set": ["a", "b"]})),
                Apply("two", json!({"set": ["c", "b"]})),
                Apply("one", json!({"set": ["a"]})),
                Apply("one", json!(null)),
            ],
            json!({"set": ["c", "b"]}),
            &[r#"two Apply 2 {"f:set":{"v:\"b\"":{},"v:\"c\"":{}}}"#],
        ),
        (
            "what is atomic is had or not had as one",
            vec![
                Apply("one", json!({"whole": {"a": "1"}, "frozen": {"a": "1"}, "args": ["a"], "raw": {"x": 1}})),
                Refused(
                    "two",
                    json!({"whole": {"b": "1"}, "frozen": {"b": "1"}, "args": ["a", "b"], "raw": {"y": 1}}),
                    "Apply failed with 4 conflicts: conflicts with \"one\":\n- .spec.args\n- .spec.frozen\n- .spec.raw\n- .spec.whole",
                ),
                Force("two", json!({"whole": {"b": "1"}, "frozen": {"b": "1"}})),
                Apply("one", json!(null)),
            ],
            json!({"whole": {"b": "1"}, "frozen": {"b": "1"}}),
            &[r#"two Apply 2 {"f:frozen":{},"f:whole":{}}"#],
        ),
        (
            "conflicts with several",
            vec![
                Apply("one", json!({"text": "a"})),
                Update("up", json!({"text": "a", "number": 1, "part": {"name": "x"}})),
                Refused(
                    "two",
                    json!({"text": "b", "number": 2, "part": {"name": "y"}}),
                    "Apply failed with 3 conflicts: conflicts with \"one\":\n- .spec.text\n\
                     conflicts with \"up\" using example.com/v1:\n- .spec.number\n- .spec.part.name",
                ),
            ],
            json!({"text": "a", "number": 1, "part": {"name": "x"}}),
            &[r#"one Apply 1 {"f:text":{}}"#, r#"up Update 2 {"f:number":{},"f:part":{".":{},"f:name":{}}}"#],
        ),
        (
            "a manager is another one when it updates",
            vec![
                Update("one", json!({"text": "a"})),
                Refused(
                    "one",
                    json!({"text": "b"}),
                    r#"Apply failed with 1 conflict: conflict with "one" using example.com/v1: .spec.text"#,
                ),
                Force("one", json!({"text": "b"})),
            ],
            json!({"text": "b"}),
            &[r#"one Apply 2 {"f:text":{}}"#],
        ),
        (
            "who applies nothing has nothing",
            vec![Apply("one", json!({"text": "a"})), Apply("two", json!({"number": 1})), Apply("one", json!(null))],
            json!({"number": 1}),
            &[r#"two Apply 2 {"f:number":{}}"#],
        ),
    ]);
}

#[test]
fn items_that_are_there_twice_belong_to_who_updated_them() {
    let a = |number: u32| json!({"name": "a", "number": number});
    let b = |number: u32| json!({"name": "b", "number": number});
    let conflict = r#"Apply failed with 1 conflict: conflict with "up" using example.com/v1: .spec.list[name="a"]"#;
    check(vec![
        (
            "a set",
            vec![
                Update("up", json!({"numbers": [1, 1, 3, 4]})),
                Refused(
                    "one",
                    json!({"numbers": [1]}),
                    r#"Apply failed with 1 conflict: conflict with "up" using example.com/v1: .spec.numbers[=1]"#,
                ),
                Force("one", json!({"numbers": [1]})),
            ],
            json!({"numbers": [1, 3, 4]}),
            &[r#"one Apply 2 {"f:numbers":{"v:1":{}}}"#, r#"up Update 1 {"f:numbers":{".":{},"v:3":{},"v:4":{}}}"#],
        ),
        (
            "a set that another value comes to",
            vec![Update("up", json!({"numbers": [1, 1, 3]})), Apply("one", json!({"numbers": [5]}))],
            json!({"numbers": [1, 1, 3, 5]}),
            &[r#"one Apply 2 {"f:numbers":{"v:5":{}}}"#, r#"up Update 1 {"f:numbers":{".":{},"v:1":{},"v:3":{}}}"#],
        ),
        (
            "a list",
            vec![
                Update("up", json!({"list": [a(1), a(2), b(3)]})),
                Refused("one", json!({"list": [a(2)]}), conflict),
                Force("one", json!({"list": [a(3)]})),
            ],
            json!({"list": [a(3), b(3)]}),
            &[
                r#"one Apply 2 {"f:list":{"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:number":{}}}}"#,
                r#"up Update 1 {"f:list":{".":{},"k:{\"name\":\"b\"}":{".":{},"f:always":{},"f:name":{},"f:number":{},"f:time":{}}}}"#,
            ],
        ),
        (
            "an applier no longer owns what was made twice of it, and cannot take it away",
            vec![
                Apply("one", json!({"list": [a(1), b(3)]})),
                Update("up", json!({"list": [a(1), a(2), b(3)]})),
                Apply("one", json!({"list": [b(3)]})),
            ],
            json!({"list": [a(1), a(2), b(3)]}),
            &[
                r#"one Apply 1 {"f:list":{"k:{\"name\":\"b\"}":{".":{},"f:name":{},"f:number":{}}}}"#,
                r#"up Update 2 {"f:list":{"k:{\"name\":\"a\"}":{}}}"#,
            ],
        ),
        (
            "another item is as ever",
            vec![Update("up", json!({"list": [a(1), a(2), b(3)]})), Force("one", json!({"list": [b(4)]}))],
            json!({"list": [a(1), a(2), b(4)]}),
            &[
                r#"one Apply 2 {"f:list":{"k:{\"name\":\"b\"}":{".":{},"f:name":{},"f:number":{}}}}"#,
                r#"up Update 1 {"f:list":{".":{},"k:{\"name\":\"a\"}":{},"k:{\"name\":\"b\"}":{".":{},"f:always":{},"f:name":{},"f:time":{}}}}"#,
            ],
        ),
    ]);
}

#[test]
fn entries_within_entries_go_with_theirs() {
    use crate::apply::ObjectType;
    // Without a schema, every object is a map.
    let mut story = Story::of(ObjectType::plain("example.com/v1", "Thing", None));
    story.apply("one", &thing(&json!({"a": {"b": null}, "c": {"d": null}})), false).unwrap();
    story.apply("two", &thing(&json!({"a": null, "c": {"d": null}})), false).unwrap();
    story.update("up", thing(&json!({"a": {"b": {"x": null}}, "c": {"d": {"e": null}}})));
    story.apply("one", &thing(&json!(null)), false).unwrap();
    assert_eq!(story.spec(), json!({"a": null, "c": {"d": {"e": null}}}));
    assert_eq!(
        story.managers(),
        [r#"two Apply 2 {".":{},"f:a":{},"f:c":{".":{},"f:d":{}}}"#, r#"up Update 3 {"f:c":{"f:d":{"f:e":{}}}}"#]
    );
}
