//! Steps: read, written, ordered and shown as upstream does it.

use super::*;

fn key(element: &Element) -> String {
    let mut out = String::new();
    element.push_key(&mut out);
    out
}
fn parse(text: &str) -> Element {
    Element::parse(text).unwrap().unwrap()
}

#[test]
fn steps_are_written_as_they_were_read() {
    for text in [
        "i:0",
        "i:1234",
        "i:-3",
        "f:",
        "f:spec",
        "f:  a b  ",
        "f:app.kubernetes.io/name",
        r"f:with-\n",
        "f:spec-🚀",
        r#"k:{"name":"my-container"}"#,
        r#"k:{"containerPort":80,"protocol":"TCP"}"#,
        r#"k:{"name":"a\u003cb\u003e\u0026"}"#,
        r#"k:{"optional":null}"#,
        r#"k:{"name":"你好世界 🚀"}"#,
        "k:{}",
        "v:null",
        "v:true",
        r#"v:"some-string""#,
        "v:1234",
        "v:3.14159",
        "v:1e+21",
    ] {
        assert_eq!(key(&parse(text)), text);
    }
}

#[test]
fn steps_are_read_though_they_are_written_otherwise() {
    for (text, expected) in [
        (r#"k:{ "protocol":"udp","port":443}"#, r#"k:{"port":443,"protocol":"udp"}"#),
        (r#"k:{"port":80.0} "#, r#"k:{"port":80}"#),
        (r#"k:{"a":1,"a":2}"#, r#"k:{"a":2}"#),
        ("v: 3 ", "v:3"),
        ("v:8e1", "v:80"),
        (r#"v:"value\u002dx\n""#, r#"v:"value-x\n""#),
        (r#"k:{"\u4f60":"\ud83d\ude80"}"#, r#"k:{"你":"🚀"}"#),
        ("i:+7", "i:7"),
    ] {
        assert_eq!(key(&parse(text)), expected, "{text}");
    }
}

#[test]
fn what_is_no_step_is_refused_and_what_may_become_one_is_passed_over() {
    for text in [
        "",
        "f",
        "é",
        "no-colon",
        "éa:",
        "i:",
        "i:x",
        "i:1.5",
        "i: 0",
        "i:0 ",
        "i:99999999999999999999",
        "v:",
        "v:x",
        r#"v:" \x41""#,
        "v:{}",
        "v:[1]",
        "v:1 2",
        "v:1e999",
        "k:",
        "k:x",
        "k:[]",
        r#"k:{"a":{}}"#,
        r#"k:{"a":"b""#,
        r#"k:{"a":"b"} {}"#,
    ] {
        assert!(Element::parse(text).is_err(), "{text}: {:?}", Element::parse(text));
    }
    let long: Vec<String> = (0..65).map(|n| format!("\"{n}\":1")).collect();
    assert!(Element::parse(&format!("k:{{{}}}", long.join(","))).is_err());
    for text in ["r:Hello", "::"] {
        assert_eq!(Element::parse(text), Ok(None), "{text}");
    }
}

#[test]
fn steps_are_in_upstreams_order() {
    let sorted = [
        "f:",
        "f:a",
        "f:aa",
        "f:b",
        "k:{}",
        r#"k:{"name":5}"#,
        r#"k:{"name":"first"}"#,
        r#"k:{"name":"second"}"#,
        r#"k:{"port":80}"#,
        r#"k:{"port":80,"protocol":"TCP"}"#,
        r#"k:{"port":80,"protocol":"UDP"}"#,
        r#"k:{"port":443,"protocol":"TCP"}"#,
        "v:-1",
        "v:1",
        "v:3",
        "v:3.14159",
        "v:9007199254740992",
        "v:9007199254740993",
        "v:1e300",
        r#"v:"aa""#,
        r#"v:"ab""#,
        "v:false",
        "v:true",
        "v:null",
        "i:-1",
        "i:2",
        "i:10",
    ]
    .map(parse);
    for (at, one) in sorted.iter().enumerate() {
        for (other_at, other) in sorted.iter().enumerate() {
            assert_eq!(one.cmp(other), at.cmp(&other_at), "{one} {other}");
        }
    }
}

#[test]
fn numbers_that_mean_the_same_are_equal() {
    for (one, other, expected) in [
        ("1", "1.0", Ordering::Equal),
        ("-1", "-1.5", Ordering::Greater),
        ("18446744073709551615", "18446744073709551616", Ordering::Less),
        ("9007199254740993", "9007199254740992.0", Ordering::Greater),
        ("-9223372036854775808", "-1e300", Ordering::Greater),
        ("0", "-0.0", Ordering::Equal),
        ("0.5", "0.25", Ordering::Greater),
    ] {
        let (one, other) = (parse(&format!("v:{one}")), parse(&format!("v:{other}")));
        assert_eq!((one.cmp(&other), other.cmp(&one)), (expected, expected.reverse()), "{one} {other}");
        assert_eq!(one == other, expected.is_eq());
    }
}

#[test]
fn paths_read_as_messages_have_them() {
    let path: Path =
        ["f:spec", "f:ports", r#"k:{"port":80.0,"protocol":"TCP"}"#, "f:set", r#"v:"a\"b""#, "v:true", "v:null", "i:3"]
            .into_iter()
            .map(parse)
            .collect();
    assert_eq!(path.to_string(), r#".spec.ports[port=80,protocol="TCP"].set[="a\"b"][=true][=null][3]"#);
    assert_eq!(Path::default().to_string(), "");
}

#[test]
fn what_has_parts_is_no_atom() {
    for (value, expected) in
        [("1", Some("1")), ("\"a\"", Some("\"a\"")), ("null", Some("null")), ("{}", None), ("[]", None)]
    {
        let atom = Atom::of(&serde_json::from_str(value).unwrap());
        assert_eq!(atom.map(|atom| atom.to_string()).as_deref(), expected, "{value}");
    }
}
