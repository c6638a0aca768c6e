//! What would take too much time, memory or stack is ended, and nothing panics.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use corten_fuzz::{Inputs, run};
use serde_json::json;

use crate::environment::Environment;
use crate::error::EvalError;
use crate::limits::{Budget, PER_CALL_LIMIT, RUNTIME_BUDGET};
use crate::program::compile;
use crate::schema::Schema;
use crate::types::Type;
use crate::value::Value;

#[test]
fn bombs_are_ended() {
    let many = json!((0..2000).collect::<Vec<_>>());
    let long = json!("a".repeat(100_000));
    let environment = Environment::default().with_bind().with("many", Type::list(Type::Int)).with("long", Type::String);
    let variables = BTreeMap::from([("many", Value::dynamic(&many)), ("long", Value::dynamic(&long))]);
    let doubling = format!("{}x{}", "cel.bind(x, x + x, ".repeat(60), ")".repeat(60));
    let cases = [
        ("nested loops", "many.all(a, many.all(b, many.all(c, true)))".to_owned(), EvalError::CostLimit),
        ("a growing string", format!("cel.bind(x, long, {doubling})"), EvalError::CostLimit),
        ("a growing list", format!("cel.bind(x, many, {doubling})"), EvalError::MemoryLimit),
        ("a heavy pattern on a long text", "many.all(x, !long.matches('(a|b)*c'))".to_owned(), EvalError::CostLimit),
        ("replacing by much", "long.replace('a', long).size() > 0".to_owned(), EvalError::MemoryLimit),
        ("a range", "lists.range(9223372036854775807).size() > 0".to_owned(), EvalError::CostLimit),
        ("comparing all with all", "many.distinct().size() > 0".to_owned(), EvalError::CostLimit),
        ("sets", "sets.contains(many, many)".to_owned(), EvalError::CostLimit),
    ];
    for (why, text, wanted) in cases {
        let program = compile(&text, &environment).unwrap();
        let mut budget = Budget::new(RUNTIME_BUDGET);
        let result = program.evaluate(&variables, &mut budget).map(|_| ());
        assert_eq!(result, Err(wanted), "{why}");
    }
}

/// A value whose parts are shared: as a tree it has 2^`levels` leaves.
fn shared(leaf: &str, levels: usize) -> String {
    format!("[[{leaf}]]{}[0]", ".map(x, [x, x])".repeat(levels))
}

#[test]
fn shared_values_are_gone_through_within_bounds() {
    let one = shared("1", 60);
    let none = shared("[]", 40);
    let cases = [
        ("text", format!("'%s'.format([{one}]) == ''")),
        ("text of a map", format!("'%s'.format([{{'a': {one}}}]) == ''")),
        ("equality", format!("{one} == {one}")),
        ("equality within maps", format!("{{'a': {one}}} == {{'a': {one}}}")),
        ("equality of optionals", format!("optional.of({one}) == optional.of({one})")),
        ("a member", format!("{one} in [{one}]")),
        ("what is different", format!("[{one}, {one}].distinct().size() == 1")),
        ("sets", format!("sets.contains([{one}], [{one}])")),
        ("sets that intersect", format!("sets.intersects([{one}], [{one}])")),
        ("a position", format!("[{one}].indexOf({one}) == 0")),
        ("what a position costs", format!("dyn({one}).indexOf(5) == 0")),
        ("lists of nothing", format!("dyn({none}).flatten(100).size() == 0")),
    ];
    for (why, text) in cases {
        let program = compile(&text, &Environment::default()).unwrap();
        if matches!(why, "text" | "equality") {
            let result = program.evaluate(&(), &mut Budget::new(RUNTIME_BUDGET)).map(|_| ());
            assert!(matches!(result, Err(EvalError::CostLimit | EvalError::MemoryLimit)), "{why}: {result:?}");
        }
        // Who waits no more ends each of them.
        let asked = Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() > 10
        };
        let result = program.evaluate(&(), &mut Budget::new(RUNTIME_BUDGET).until(&stop)).map(|_| ());
        assert_eq!(result, Err(EvalError::Interrupted), "{why}");
    }
    let ends = [
        ("the same value", format!("[{one}].all(x, x == x)"), "true"),
        ("a member that is the same", format!("[{one}].all(x, x in [x])"), "true"),
        ("the same that is no number", format!("[{}].all(x, x == x)", shared("0.0 / 0.0", 2)), "false"),
    ];
    for (why, text, wanted) in ends {
        assert_eq!(super::value_of(&text, &Environment::default(), &BTreeMap::new()), wanted, "{why}");
    }
    let messages = [
        format!("dyn([{one}]).join()"),
        format!("{{'a': 1}}[dyn({one})]"),
        format!("optional.unwrap(dyn([{one}]))"),
        format!("{{'a': 1}}[dyn([{none}])]"),
    ];
    for text in messages {
        let program = compile(&text, &Environment::default()).unwrap();
        let why = program.evaluate(&(), &mut Budget::new(RUNTIME_BUDGET)).map(|_| ()).unwrap_err().to_string();
        assert!(why.len() < 2000 && why.contains("[[["), "{why}");
    }
}

#[test]
fn shared_values_are_no_json_and_have_no_names_without_end() {
    let environment = Environment::default().with_mutation();
    let text = format!("Object{{a: {}}}", shared("Object.b{}", 60));
    let program = compile(&text, &environment).unwrap();
    let value = program.evaluate(&(), &mut Budget::new(RUNTIME_BUDGET)).unwrap();
    assert_eq!(value.to_json(), Err(EvalError::MemoryLimit));
    let Value::Struct(made) = value else { panic!("it makes an object") };
    assert_eq!(made.misnamed(), Err(EvalError::CostLimit));
    let data = json!([vec!["a".repeat(1000); 100]]);
    let program = compile("lists.range(1000).map(x, data)", &environment.with("data", Type::Dyn)).unwrap();
    let variables = BTreeMap::from([("data", Value::dynamic(&data))]);
    let value = program.evaluate(&variables, &mut Budget::new(RUNTIME_BUDGET)).unwrap();
    assert_eq!(value.to_json(), Err(EvalError::MemoryLimit));
}

#[test]
fn no_value_is_nested_so_deep_that_it_overflows_the_stack() {
    let nesting = |dynamic: &str| {
        let step = format!(".map(x, {dynamic}({}x{}))", "[".repeat(60), "]".repeat(60));
        let text = format!("[1]{}.size() == 1", step.repeat(60));
        let evaluate = move || super::value_of(&text, &Environment::default(), &BTreeMap::new());
        let worker = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(evaluate).unwrap();
        worker.join().unwrap()
    };
    assert_eq!(nesting("dyn"), "error: value is nested more than 200 levels deep");
    assert_eq!(nesting(""), "refused: expression is too large to be type checked");
    let deep =
        format!("cel.bind(x, {0}1{1}, cel.bind(y, {0}1{1}, x == y && [x] == [y]))", "[".repeat(90), "]".repeat(90));
    let evaluate = move || super::value_of(&deep, &Environment::default().with_bind(), &BTreeMap::new());
    let worker = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(evaluate).unwrap();
    assert_eq!(worker.join().unwrap(), "true");
}

#[test]
fn copies_of_large_text_are_counted() {
    let text = json!("a".repeat(2_000_000));
    let bytes = json!("YWFh".repeat(500_000));
    let url = json!(format!("https://{}/?{}", "a".repeat(1_000_000), "k=v&".repeat(100_000)));
    let openapi = json!({"type": "object", "properties": {
        "bytes": {"type": "string", "format": "byte"},
    }});
    let schema = Arc::new(Schema::of_openapi(&openapi, false).unwrap());
    let object = json!({"bytes": bytes});
    let environment = Environment::default()
        .with("text", Type::String)
        .with("url", Type::opaque("kubernetes.URL"))
        .with("none", Type::list(Type::Dyn))
        .with("authorizer", Type::opaque("kubernetes.authorization.Authorizer"))
        .with_schema("self", "selfType", schema.clone());
    let parsed = compile("url(text)", &Environment::default().with("text", Type::String)).unwrap();
    let given = BTreeMap::from([("text", Value::dynamic(&url))]);
    let parsed = parsed.evaluate(&given, &mut Budget::new(RUNTIME_BUDGET)).unwrap();
    let variables = BTreeMap::from([
        ("text", Value::dynamic(&text)),
        ("url", parsed),
        ("self", Value::of(&object, &schema).unwrap()),
        ("authorizer", Value::authorizer(&super::schemas::OnlyPods)),
    ]);
    let copies = ["self.bytes", "url.getHost()", "url.getHostname()", "url.getQuery()", "authorizer.group(text)"];
    for copy in copies {
        let text = format!("lists.range(1000).map(x, {copy}).size() > 0");
        let program = compile(&text, &environment).unwrap();
        let result = program.evaluate(&variables, &mut Budget::new(RUNTIME_BUDGET)).map(|_| ());
        assert_eq!(result, Err(EvalError::MemoryLimit), "{copy}");
    }
    // Keys share the text that they are made of.
    for shares in ["{text: 1}", "[text].transformMapEntry(i, v, {v: i})"] {
        let text = format!("lists.range(100).map(x, {shares}).size() == 100");
        assert_eq!(super::value_of(&text, &environment, &variables), "true", "{shares}");
    }
    // Going through text again and again costs next to nothing by upstream's count.
    let program = compile("lists.range(10000).all(x, size(text) > 0)", &environment).unwrap();
    let result = program.evaluate(&variables, &mut Budget::new(RUNTIME_BUDGET)).map(|_| ());
    assert_eq!(result, Err(EvalError::CostLimit));
    let program = compile("{'a': 1}[text]", &environment).unwrap();
    let why = program.evaluate(&variables, &mut Budget::new(RUNTIME_BUDGET)).map(|_| ()).unwrap_err().to_string();
    assert!(why.len() < 2000, "{}", why.len());
}

#[test]
fn patterns_that_an_evaluation_makes_are_small() {
    let environment = Environment::default().with("pattern", Type::String);
    let variables = BTreeMap::from([("pattern", Value::text("(((a{30}){30}){30}){30}"))]);
    let program = compile("'a'.matches(pattern)", &environment).unwrap();
    let result = program.evaluate(&variables, &mut Budget::new(RUNTIME_BUDGET));
    assert!(matches!(result, Err(EvalError::Regex(_))), "{result:?}");
}

#[test]
fn who_waits_no_more_ends_it() {
    let asked = Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        asked.get() > 3
    };
    let program = compile("lists.range(10000).all(x, x >= 0)", &Environment::default()).unwrap();
    let result = program.evaluate(&(), &mut Budget::new(RUNTIME_BUDGET).until(&stop));
    assert_eq!(result.map(|_| ()), Err(EvalError::Interrupted));
}

#[test]
fn a_budget_ends() {
    let program = compile("[1, 2, 3].all(x, x > 0)", &Environment::default()).unwrap();
    let mut budget = Budget::new(40);
    assert!(program.evaluate(&(), &mut budget).is_ok());
    assert_eq!(program.evaluate(&(), &mut budget).map(|_| ()), Err(EvalError::OutOfBudget));
    assert_eq!(budget.remaining, 0);
}

#[test]
fn what_is_as_deep_as_may_be_is_evaluated() {
    let cases = [
        format!("{}1{}", "(".repeat(99), ")".repeat(99)),
        format!("1{}", "+1".repeat(158)),
        format!("{}1{}", "[".repeat(99), "]".repeat(99)),
        format!("{}true{}", "[1].all(x, ".repeat(60), ")".repeat(60)),
    ];
    for text in cases {
        // On the stack of a tokio worker.
        let evaluate = move || {
            let program = compile(&text, &Environment::default()).map_err(|p| p[0].message.clone());
            program.map(|program| program.evaluate(&(), &mut Budget::new(RUNTIME_BUDGET)).is_ok())
        };
        let worker = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(evaluate).unwrap();
        assert_eq!(worker.join().unwrap(), Ok(true));
    }
}

#[test]
fn types_that_double_are_refused_or_known_soon() {
    let text = format!("[1]{}", ".map(x, {x: x})".repeat(40));
    let result = compile(&text, &Environment::default()).map(|_| ());
    assert!(result.is_err());
}

#[test]
fn large_types_are_compared_within_bounds() {
    // Each item is as large as a type may be, and is compared with those before it.
    let large = format!("[1]{}", ".map(x, {'a': x}.a == x ? [x, x] : [x])".repeat(12));
    let items = vec![large.as_str(); 60].join(", ");
    let cases = [
        format!("[{items}]"),
        format!("[1]{}.map(x, [{}])", ".map(x, {x: x})".repeat(14), vec!["x"; 30_000].join(",")),
        format!("[1]{}.map(x, [{}])", ".map(x, {1: {1: {1: x}}})".repeat(40), vec!["x"; 20_000].join(", ")),
    ];
    for text in cases {
        let began = std::time::Instant::now();
        let _any = compile(&text, &Environment::default()).map(|_| ());
        assert!(began.elapsed() < std::time::Duration::from_secs(8), "{:?} {}", began.elapsed(), &text[..60]);
    }
}

#[test]
fn messages_of_a_large_expression_are_few_and_short() {
    let large = format!("[1]{}", ".map(x, {1: {1: {1: x}}})".repeat(30));
    let text = format!("cel.bind(y, {large}, [{}])", vec!["[y, 'a']"; 8000].join(", "));
    let problems = compile(&text, &Environment::default().with_bind()).map(|_| ()).unwrap_err();
    assert!(problems.len() <= 100, "{}", problems.len());
    let longest = problems.iter().map(|problem| problem.to_string().len()).max().unwrap();
    assert!(longest < 10_000, "{longest}");
    let text = format!("[{}]", vec!["[1, 'a']"; 8000].join(", "));
    assert_eq!(compile(&text, &Environment::default()).map(|_| ()).unwrap_err().len(), 100);
}

#[test]
fn names_of_object_types_are_no_larger_than_their_schema() {
    let name = "a".repeat(10_000);
    let leaves: serde_json::Map<_, _> =
        (0..1000).map(|i| (format!("f{i}"), json!({"type": "object", "properties": {}}))).collect();
    let mut openapi = json!({"type": "object", "properties": leaves});
    for _ in 0..50 {
        openapi = json!({"type": "object", "properties": {name.as_str(): openapi}});
    }
    let schema = Arc::new(Schema::of_openapi(&openapi, false).unwrap());
    fn names(of: &Type, found: &mut Vec<Arc<str>>) {
        if let Type::Object(object) = of {
            found.push(object.name.clone());
            object.fields.values().for_each(|field| names(field, found));
        }
    }
    let (mut mine, mut others) = (Vec::new(), Vec::new());
    names(&schema.to_type("selfType"), &mut mine);
    names(&schema.to_type("selfType"), &mut others);
    assert_eq!(mine, others, "of one schema they are the same");
    assert!(mine.iter().map(|name| name.len()).sum::<usize>() < 1_000_000);
    let different: std::collections::BTreeSet<_> = mine.iter().collect();
    assert_eq!((mine.len(), different.len()), (1051, 1051));
}

#[test]
fn estimates_of_what_has_no_bound_do_not_overflow() {
    let environment = Environment::default().with("s", Type::String).with("list", Type::list(Type::String));
    let all = u64::MAX;
    let cases = [
        ("strings.quote(strings.quote(s)).contains(s)", all),
        ("bytes(s + s) == bytes(s)", all),
        ("list.slice(5, 2).size() > 0", 15),
        ("strings.quote(list.join(s)) == s", all),
    ];
    for (text, most) in cases {
        assert_eq!(
            compile(text, &environment).map(|program| program.estimated_cost().max.max(most)),
            Ok(most),
            "{text}"
        );
    }
}

#[test]
fn patterns_of_an_expression_are_small_together() {
    let patterns = |count: usize| {
        let each: Vec<String> = (0..count).map(|i| format!("s.matches('^.{{{}}}$')", 900 + i)).collect();
        compile(&each.join(" || "), &Environment::default().with("s", Type::String)).map(|_| ())
    };
    assert_eq!(patterns(2), Ok(()));
    assert_eq!(patterns(60).unwrap_err()[0].message, "invalid matches argument");
}

#[test]
fn compiling_patterns_counts_as_work() {
    let environment = Environment::default().with("pattern", Type::String);
    let text = "lists.range(30).all(i, !'a'.matches('.{9}' + string(i)))";
    let program = compile(text, &environment).unwrap();
    let asked = Cell::new(0);
    let look = || {
        asked.set(asked.get() + 1);
        false
    };
    let result = program.evaluate(&(), &mut Budget::new(RUNTIME_BUDGET).until(&look));
    assert_eq!(result.and_then(|value| value.as_bool()), Ok(true));
    assert!(asked.get() >= 30, "{}", asked.get());
    let long = json!("a".repeat(1_000_000));
    let program = compile("'a'.matches(pattern)", &environment).unwrap();
    let variables = BTreeMap::from([("pattern", Value::dynamic(&long))]);
    let result = program.evaluate(&variables, &mut Budget::new(RUNTIME_BUDGET)).map(|_| ());
    assert_eq!(result, Err(EvalError::Regex("expression has more than 16384 bytes".into())));
}

#[test]
fn any_expression_of_any_object_ends() {
    const EXPRESSIONS: Inputs<'_> = Inputs {
        valid: &[
            b"self.list.all(x, x.size() > 1) || self.n * 2 in [1, int(self.s)]",
            b"self.?m[?'a'].orValue('b').matches('a+') ? self.m : {'x': self.s}",
            b"self.list.map(x, '%s %d'.format([x, self.n])).join(',').split(',', self.n)",
            b"timestamp(self.s) - duration('1h') > timestamp(self.n) && has(self.m.a)",
            b"quantity(self.s).add(self.n).compareTo(quantity('1Gi')) == -1 && ip(self.s).family() == 4",
            b"url(self.s).getQuery().transformMap(k, v, v + self.list) == self.m",
            b"self.list + self.list == self.list.sort().slice(0, self.n).distinct()",
        ],
        tokens: &[
            b"self.n",
            b"self.s",
            b"self.list",
            b"self.m",
            b".all(x,",
            b"[0]",
            b".?",
            b"==",
            b"+",
            b"-9223372036854775808",
            b"dyn(",
        ],
    };
    let openapi = json!({"type": "object", "properties": {
        "n": {"type": "integer"},
        "s": {"type": "string"},
        "list": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "m": {"type": "object", "additionalProperties": {"type": "string"}},
    }});
    let schema = Arc::new(Schema::of_openapi(&openapi, false).unwrap());
    let typed = Environment::default().with_schema("self", "selfType", schema.clone());
    let untyped = Environment::default().with("self", Type::Dyn);
    run("any_expression_of_any_object_ends", |random| {
        let text = String::from_utf8_lossy(&EXPRESSIONS.mutate(random)).into_owned();
        let texts = ["", "1", "10.0.0.1", "é", "2020-01-01T00:00:00Z", "http://a?b=c"];
        let text_of = |random: &mut corten_fuzz::Random| texts[random.below(texts.len())];
        let object = json!({
            "n": random.below(20) as i64 - 5,
            "s": text_of(random),
            "list": [text_of(random), "b"],
            "m": {"a": text_of(random)},
        });
        let values = [(&typed, Value::of(&object, &schema).unwrap()), (&untyped, Value::dynamic(&object))];
        for (environment, value) in values {
            let Ok(program) = compile(&text, environment) else { continue };
            let variables = BTreeMap::from([("self", value)]);
            let mut budget = Budget::new(PER_CALL_LIMIT);
            if let Err(e) = program.evaluate(&variables, &mut budget) {
                assert!(!e.to_string().is_empty());
            }
        }
    });
}
