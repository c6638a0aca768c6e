//! What is parsed, what is refused and how that is worded, and that no text overflows the stack.

use super::*;
use crate::ast::children;

const ALL: Macros = Macros { optional: true, two_variables: true, lists: true, bind: true, quoted_fields: true };

/// The tree in prefix form.
fn shown(expr: &Expr) -> String {
    let many = |exprs: Vec<&Expr>| exprs.into_iter().map(shown).collect::<Vec<_>>().join(" ");
    match &expr.kind {
        Kind::Literal(Literal::String(text)) => format!("{text:?}"),
        Kind::Literal(Literal::Int(n)) => n.to_string(),
        Kind::Literal(Literal::Uint(n)) => format!("{n}u"),
        Kind::Literal(Literal::Double(n)) => format!("{n:?}"),
        Kind::Literal(Literal::Bytes(bytes)) => format!("b{bytes:?}"),
        Kind::Literal(Literal::Bool(b)) => b.to_string(),
        Kind::Literal(Literal::Null) => "null".into(),
        Kind::Ident(name) => name.to_string(),
        Kind::Select { operand, field, test } => {
            format!("({} {} {field})", if *test { "has" } else { "." }, shown(operand))
        }
        Kind::Call { target: Some(target), function, args } => {
            format!("({}.{function} {})", shown(target), many(args.iter().collect()))
        }
        Kind::Call { target: None, function, args } => format!("({function} {})", many(args.iter().collect())),
        Kind::List(items) => {
            let item = |i: &Item| format!("{}{}", if i.optional { "?" } else { "" }, shown(&i.value));
            format!("[{}]", items.iter().map(item).collect::<Vec<_>>().join(" "))
        }
        Kind::Map(_) => format!("{{{}}}", many(children(&expr.kind))),
        Kind::Struct { name, fields } => {
            let field = |f: &Field| format!("{}:{}", f.name, shown(&f.value));
            format!("{name}{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(" "))
        }
        Kind::Fold(_) => format!("(fold {})", many(children(&expr.kind))),
        Kind::Bind(bind) => format!("(bind {} {} {})", bind.name, shown(&bind.value), shown(&bind.result)),
    }
}

#[test]
fn what_is_written_is_the_tree() {
    let cases = [
        ("1 + 2 * 3 - 4", "(_-_ (_+_ 1 (_*_ 2 3)) 4)"),
        ("a && b || c && !d", "(_||_ (_&&_ a b) (_&&_ c (!_ d)))"),
        ("a && b && c && d", "(_&&_ (_&&_ a b) (_&&_ c d))"),
        ("a < b == c", "(_==_ (_<_ a b) c)"),
        ("a ? b : c ? d : e", "(_?_:_ a b (_?_:_ c d e))"),
        ("-1", "-1"),
        ("--1", "1"),
        ("-a.b", "(-_ (. a b))"),
        ("1-1", "(_-_ 1 1)"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("0xFFu", "255u"),
        ("-0x10", "-16"),
        ("1.5e3", "1500.0"),
        (".5", "0.5"),
        ("a.b[0].c(1, x)", "((_[_] (. a b) 0).c 1 x)"),
        ("a.?b[?0]", "(_[?_] (_?._ a \"b\") 0)"),
        ("[1, ?x, 2,]", "[1 ?x 2]"),
        ("{'a': 1, ?'b': c}", "{\"a\" 1 \"b\" c}"),
        ("Object.spec{replicas: 1}", "Object.spec{replicas:1}"),
        ("Object{}", "Object{}"),
        ("x in [1]", "(@in x [1])"),
        ("r'\\d' + \"\\x41\\101\\u00e9\"", "(_+_ \"\\\\d\" \"AAé\")"),
        ("'''a'b\n'''", "\"a'b\\n\""),
        ("b'\\xff\\377a'", "b[255, 255, 97]"),
        ("a // comment\n + b", "(_+_ a b)"),
        ("a.`b-c/d`", "(. a b-c/d)"),
        ("self.namespace", "(. self namespace)"),
        ("has(a.b)", "(has a b)"),
        ("a.all(x, x)", "(fold a true (@not_strictly_false @result) (_&&_ @result x) @result)"),
        ("a.map(x, y)", "(fold a [] true (_+_ @result [y]) @result)"),
        ("a.filter(x, x)", "(fold a [] true (_?_:_ x (_+_ @result [x]) @result) @result)"),
        ("cel.bind(x, 1, x)", "(bind x 1 x)"),
        ("optional.none()", "(optional.none )"),
    ];
    for (text, wanted) in cases {
        let tree = parse(text, ALL).map(|parsed| shown(&parsed.root)).map_err(|p| p.to_string());
        assert_eq!(tree.as_deref(), Ok(wanted), "{text}");
    }
}

#[test]
fn refusals_are_worded_as_upstream_words_them() {
    let cases = [
        (
            "a +",
            "ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | a +\n | ...^",
        ),
        ("a b", "ERROR: <input>:1:3: Syntax error: extraneous input 'b' expecting <EOF>\n | a b\n | ..^"),
        ("x $", "ERROR: <input>:1:3: Syntax error: token recognition error at: '$'\n | x $\n | ..^"),
        ("(a", "ERROR: <input>:1:3: Syntax error: missing ')' at '<EOF>'\n | (a\n | ..^"),
        ("é + namespace", "ERROR: <input>:1:1: Syntax error: token recognition error at: 'é'\n | é + namespace\n | ＾"),
        ("'é' +\n namespace", "ERROR: <input>:2:2: reserved identifier: namespace\n |  namespace\n | .^"),
        ("9223372036854775808", "ERROR: <input>:1:1: invalid int literal\n | 9223372036854775808\n | ^"),
        ("18446744073709551616u", "ERROR: <input>:1:1: invalid uint literal\n | 18446744073709551616u\n | ^"),
        ("'\\ud800'", "ERROR: <input>:1:1: invalid unicode code point\n | '\\ud800'\n | ^"),
        ("has(a)", "ERROR: <input>:1:5: invalid argument to has() macro\n | has(a)\n | ....^"),
        ("a.all(1, true)", "ERROR: <input>:1:7: argument must be a simple name\n | a.all(1, true)\n | ......^"),
        (
            "a.map(__result__, 1)",
            "ERROR: <input>:1:7: iteration variable overwrites accumulator variable\n | a.map(__result__, 1)\n | ......^",
        ),
        ("a.all(x, x, 1)", "ERROR: <input>:1:10: duplicate variable name: x\n | a.all(x, x, 1)\n | .........^"),
    ];
    for (text, wanted) in cases {
        let refusal = parse(text, ALL).map(|_| ()).map_err(|p| p.to_string());
        assert_eq!(refusal.err().as_deref(), Some(wanted), "{text}");
    }
    let plain = parse("a.?b", Macros::default()).map(|_| ()).map_err(|p| p.to_string());
    assert_eq!(plain.err().as_deref(), Some("ERROR: <input>:1:2: unsupported syntax '.?'\n | a.?b\n | .^"));
}

#[test]
fn deep_text_is_refused_and_overflows_nothing() {
    let limit = "expression recursion limit exceeded: 1";
    let many = 10_000;
    let nested = |open: &str, close: &str| format!("{}1{}", open.repeat(many), close.repeat(many));
    let cases = [
        nested("(", ")"),
        nested("[", "]"),
        nested("{1:", "}"),
        nested("f(", ")"),
        nested("a[", "]"),
        format!("a{}", ".b".repeat(many)),
        format!("1{}", "+1".repeat(many)),
        format!("a{}", "[0]".repeat(many)),
        format!("{}1", "a ? b : ".repeat(many)),
        format!("{}1{}", "[1].all(x, ".repeat(many / 10), ")".repeat(many / 10)),
    ];
    for text in cases {
        let refusal = parse(&text, ALL).map(|_| ()).map_err(|p| p.message);
        assert!(refusal.err().is_some_and(|why| why.starts_with(limit)), "{}", &text[..20]);
    }
    assert!(parse(&format!("{}1", "-".repeat(many)), ALL).is_ok(), "signs do not nest");
    assert!(parse(&format!("a{}", " && a".repeat(many)), ALL).is_ok(), "conditions are balanced");
    assert!(parse(&format!("{}1{}", "(".repeat(99), ")".repeat(99)), ALL).is_ok());
}

#[test]
fn opt_maps_that_copy_each_other_are_bounded() {
    let text = format!("a{}", ".optMap(x, x)".repeat(60));
    let refusal = parse(&text, ALL).map(|_| ()).map_err(|p| p.message);
    assert_eq!(refusal.err().as_deref(), Some("expression is too large: it has more than 100000 nodes"));
}

#[test]
fn any_text_is_parsed_or_refused() {
    const WRITTEN: corten_fuzz::Inputs<'_> = corten_fuzz::Inputs {
        valid: &[
            b"self.a.all(x, x.b > 1 && has(x.c)) || 'a' in ['\\x41', r'\\d']",
            b"[1, ?a.?b[?0]].map(i, i ? 1.5e3 : -0x1fu)",
            b"Object.spec{a: b'\\377', ?c: \"\"\"x\"\"\"} // z",
        ],
        tokens: &[
            b"(", b"))", b"[", b"{", b".?", b"'", b"\\", b"\"\"\"", b".all(x,", b"-", b"!", b"?", b":", b"`", b"0x",
        ],
    };
    corten_fuzz::run("any_text_is_parsed_or_refused", |random| {
        let bytes = WRITTEN.mutate(random);
        let text = String::from_utf8_lossy(&bytes);
        if let Err(problem) = parse(&text, ALL) {
            assert!(!problem.to_string().is_empty());
        }
    });
}
