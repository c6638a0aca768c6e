//! Expressions and what they give: the language, its libraries, schemas, refusals, and what would be too much.

mod bombs;
mod costs;
mod libraries;
mod schemas;

use std::collections::BTreeMap;

use super::*;
use crate::limits::{PER_CALL_LIMIT, Run};

/// The value as the expression that would give it, or the error.
pub(super) fn value_of(text: &str, environment: &Environment, variables: &BTreeMap<&str, Value<'_>>) -> String {
    let program = match compile(text, environment) {
        Ok(program) => program,
        Err(problems) => return format!("refused: {}", problems[0].message),
    };
    let mut budget = Budget::new(PER_CALL_LIMIT);
    match program.evaluate(variables, &mut budget) {
        Ok(value) => shown(&value),
        Err(e) => format!("error: {e}"),
    }
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::String(text) => format!("{:?}", &**text),
        Value::Uint(n) => format!("{n}u"),
        Value::Null => "null".into(),
        Value::Optional(None) => "none".into(),
        Value::Optional(Some(inner)) => format!("some({})", shown(inner)),
        Value::List(list) => {
            let item = |index| list.item(index, &mut Run::outside()).map(|item| shown(&item.unwrap()));
            let items: Vec<String> =
                (0..list.len()).map(|index| item(index).unwrap_or_else(|e| e.to_string())).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let mut run = Run::outside();
            let keys = map.keys(&mut run).unwrap();
            let mut value = |key: &Value<'_>| map.get(key, &mut run).unwrap().unwrap();
            let entries = keys.iter().map(|key| format!("{}: {}", shown(key), shown(&value(key))));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::Struct(made) => format!("{} {}", made.name, value.to_json().unwrap()),
        other => crate::library::convert::to_string(other).map_or_else(|_| format!("{other:?}"), Into::into),
    }
}

pub(super) fn all_give(cases: &[(&str, &str)]) {
    let environment = Environment::default().with_bind();
    for (text, wanted) in cases {
        assert_eq!(value_of(text, &environment, &BTreeMap::new()), *wanted, "{text}");
    }
}

#[test]
fn the_language() {
    all_give(&[
        ("1 + 2 * 3", "7"),
        ("-7 / 2", "-3"),
        ("-7 % 3", "-1"),
        ("7u - 2u", "5u"),
        ("1u - 2u", "error: unsigned integer overflow"),
        ("9223372036854775807 + 1", "error: integer overflow"),
        ("-(-9223372036854775807 - 1)", "error: integer overflow"),
        ("1 / 0", "error: division by zero"),
        ("1 % 0", "error: modulus by zero"),
        ("1.0 / 0.0", "+Inf"),
        ("1 == 1", "true"),
        ("dyn(1) == 1.0", "true"),
        ("dyn(1) == 1u", "true"),
        ("dyn(1) == 'a'", "false"),
        ("1 < 1.5", "true"),
        ("2u > 1", "true"),
        ("dyn(0.0 / 0.0) == dyn(0.0 / 0.0)", "false"),
        ("9007199254740993 > 9007199254740992.0", "false"),
        ("dyn(9007199254740993) == 9007199254740992.0", "true"),
        ("9223372036854775807 < 1e19 && -9223372036854775807 > -1e19 && 18446744073709551615u < 1e20", "true"),
        ("1.5 < 0.0 / 0.0", "error: NaN values cannot be ordered"),
        ("1 >= 0.0 / 0.0", "error: NaN values cannot be ordered"),
        ("'a' < 'b' && b'a' < b'b' && false < true", "true"),
        ("true || 1 / 0 > 1", "true"),
        ("1 / 0 > 1 || true", "true"),
        ("1 / 0 > 1 && false", "false"),
        ("1 / 0 > 1 && true", "error: division by zero"),
        ("false ? 1 / 0 : 2", "2"),
        ("'a' + 'b' + string(1)", "\"ab1\""),
        ("[1] + [2]", "[1, 2]"),
        ("{'a': 1}['a'] + {'a': 1}.a", "2"),
        ("{'a': 1}.b", "error: no such key: b"),
        ("{'a': 1}['b']", "error: no such key: b"),
        ("[1][1]", "error: index out of bounds: 1"),
        ("[1][-1]", "error: index out of bounds: -1"),
        ("{1: 'a'}[1u]", "refused: found no matching overload for '_[_]' applied to '(map(int, string), uint)'"),
        ("{1: 'a'}[dyn(1u)]", "\"a\""),
        ("1 in [1, 2] && !('c' in {'a': 1})", "true"),
        ("has({'a': 1}.a) && !has({'a': 1}.b)", "true"),
        ("size('é') + 'abc'.size() + size([1]) + size({1: 2}) + size(b'é')", "8"),
        ("type(1) == int && type('a') == string && type(type(1)) == type", "true"),
        ("type([]) == list && type({}) == map && type(null) == null_type", "true"),
        ("type(timestamp(0)) == google.protobuf.Timestamp", "true"),
    ]);
}

#[test]
fn comprehensions() {
    all_give(&[
        ("[1, 2, 3].all(x, x > 0)", "true"),
        ("[1, 2, 3].all(x, x > 1)", "false"),
        ("[0, 1].all(x, 1 / x == 5)", "false"),
        ("[1, 0].all(x, 1 / x == 1)", "error: division by zero"),
        ("[0, 1].exists(x, 1 / x == 1)", "true"),
        ("[1, 2, 2].exists_one(x, x == 1)", "true"),
        ("[1, 2, 2].existsOne(x, x == 2)", "false"),
        ("[1, 2, 3].map(x, x * 2)", "[2, 4, 6]"),
        ("[1, 2, 3].map(x, x > 1, x * 2)", "[4, 6]"),
        ("[1, 2, 3].filter(x, x > 1)", "[2, 3]"),
        ("{'a': 1, 'b': 2}.map(k, k)", "[\"a\", \"b\"]"),
        ("[[1, 2], [3]].map(x, x.map(y, y + 1))", "[[2, 3], [4]]"),
        ("[1, 2].all(i, v, v == i + 1)", "true"),
        ("{'a': 1}.exists(k, v, k == 'a' && v == 1)", "true"),
        ("[5, 6].existsOne(i, v, i == 0)", "true"),
        ("[5, 6].transformList(i, v, i + v)", "[5, 7]"),
        ("[5, 6].transformList(i, v, i > 0, v)", "[6]"),
        ("[5, 6].transformMap(i, v, v * 2)", "{0: 10, 1: 12}"),
        ("{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v)", "{\"b\": 2}"),
        ("['x', 'y'].transformMapEntry(i, v, {v: i})", "{\"x\": 0, \"y\": 1}"),
        ("['x', 'x'].transformMapEntry(i, v, {v: i})", "error: insert failed: key x already exists"),
        ("cel.bind(x, [1], x + x)", "[1, 1]"),
        ("cel.bind(x, 1 / 0, true || x > 1)", "true"),
        ("['b', 'a'].sortBy(x, x)", "[\"a\", \"b\"]"),
        (
            "1.all(x, true)",
            "refused: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
    ]);
}

#[test]
fn optionals() {
    all_give(&[
        ("{'a': 1}.?a", "some(1)"),
        ("{'a': 1}.?b", "none"),
        ("{'a': {'b': 1}}.?a.b", "some(1)"),
        ("{'a': {'b': 1}}.?x.b.orValue(5)", "5"),
        ("[1][?0].value() + [1][?1].orValue(2)", "3"),
        ("optional.none().value() == 1", "error: optional.none() dereference"),
        ("optional.of(1).optMap(x, x + 1)", "some(2)"),
        ("optional.none().optMap(x, x + 1)", "none"),
        ("{'a': {'b': 1}}.?a.optFlatMap(x, x.?b)", "some(1)"),
        ("optional.none().or(optional.of(1)).hasValue()", "true"),
        ("[?optional.of(1), ?optional.none()]", "[1]"),
        ("{?'a': optional.of(1), ?'b': optional.none()}", "{\"a\": 1}"),
        ("{'a': 1, ?'a': optional.none(), 'b': 2}", "{\"b\": 2}"),
        ("[dyn(1)].map(x, optional.unwrap(dyn([x])))", "error: value 1 is not optional"),
        ("optional.ofNonZeroValue('')", "none"),
        ("optional.unwrap([optional.of(1), optional.none()])", "[1]"),
        ("[1, 2].first().value() + [1, 2].last().value()", "3"),
        ("has({'a': {'b': 1}}.?a.b)", "true"),
    ]);
}

/// As in cel-go: null above all, which is what there is of an object that is made or goes.
#[test]
fn what_has_no_fields_has_none_of_any_name() {
    all_give(&[
        ("dyn(null).a", "error: no such key: a"),
        ("dyn(null).a.b", "error: no such key: a"),
        ("has(dyn(null).a)", "false"),
        ("has(dyn(1).a)", "false"),
        ("has(dyn('x').a.b)", "error: no such key: a"),
        ("dyn(null).?a.?b.orValue(5)", "5"),
        ("dyn(null)[?'a']", "none"),
        ("dyn(null)['a']", "error: no such key: a"),
        ("dyn(null)[0]", "error: no such key: 0"),
        ("dyn([1]).a", "error: unsupported index type 'string' in list"),
        ("has(dyn([1]).a)", "error: unsupported index type 'string' in list"),
    ]);
}

#[test]
fn refusals_of_the_checker_are_worded_as_upstreams() {
    let environment = Environment::default().with("s", Type::String).with("n", Type::Int);
    let cases = [
        ("x + 1", "ERROR: <input>:1:1: undeclared reference to 'x' (in container '')\n | x + 1\n | ^"),
        (
            "n + s",
            "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'\n | n + s\n | ..^",
        ),
        ("s.foo()", "ERROR: <input>:1:6: undeclared reference to 'foo' (in container '')\n | s.foo()\n | .....^"),
        (
            "s.startsWith(1)",
            "ERROR: <input>:1:13: found no matching overload for 'startsWith' applied to 'string.(int)'\n | s.startsWith(1)\n | ............^",
        ),
        ("s.a", "ERROR: <input>:1:2: type 'string' does not support field selection\n | s.a\n | .^"),
        ("n && true", "ERROR: <input>:1:1: expected type 'bool' but found 'int'\n | n && true\n | ^"),
        ("[1, 'a']", "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a']\n | ....^"),
        ("duration('x')", "ERROR: <input>:1:10: invalid duration argument\n | duration('x')\n | .........^"),
        ("s.matches('(')", "ERROR: <input>:1:11: invalid matches argument\n | s.matches('(')\n | ..........^"),
    ];
    for (text, wanted) in cases {
        let problems = compile(text, &environment).map(|_| ()).map_err(|problems| crate::problem::list(&problems));
        assert_eq!(problems.err().as_deref(), Some(wanted), "{text}");
    }
    let two = compile("x + y", &environment).map(|_| ()).map_err(|problems| problems.len());
    assert_eq!(two, Err(2));
}

#[test]
fn outputs_have_types() {
    let environment = Environment::default();
    let cases = [
        ("[1].map(x, string(x))", "list(string)"),
        ("{'a': [1u]}", "map(string, list(uint))"),
        ("true ? null : dyn(1)", "dyn"),
        ("[]", "list(dyn)"),
        ("optional.of(1).or(optional.none())", "optional_type(int)"),
        ("type(1)", "type(int)"),
        ("timestamp(0) - timestamp(0)", "duration"),
        ("quantity('1').add(1)", "kubernetes.Quantity"),
    ];
    for (text, wanted) in cases {
        assert_eq!(compile(text, &environment).map(|p| p.output().to_string()).as_deref(), Ok(wanted), "{text}");
    }
}
