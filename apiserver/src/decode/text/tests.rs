//! What is malformed is named, and what is not is read to its end.

use super::*;

fn read(json: &[u8]) -> Result<(), SyntaxError> {
    let mut text = Text::new(json)?;
    text.skip()?;
    text.end()
}

#[test]
fn malformed_texts_are_named() {
    let deep = "[".repeat(MAX_NESTING + 1);
    let cases = [
        ("", "unexpected end of JSON input"),
        ("{", "unexpected end of JSON input"),
        (r#"{"a":"#, "unexpected end of JSON input"),
        (r#"{"a":"x"#, "unexpected end of JSON input"),
        (r#"{"a":1"#, "unexpected end of JSON input"),
        (r#"{"a\"#, "unexpected end of JSON input"),
        (r#"{a:1}"#, "invalid character 'a' looking for beginning of object key string"),
        (r#"{"a":1,}"#, "invalid character '}' looking for beginning of object key string"),
        (r#"{,"a":1}"#, "invalid character ',' looking for beginning of object key string"),
        (r#"{"a" 1}"#, "invalid character '1' after object key"),
        (r#"{"a":1 "b":2}"#, "invalid character '\"' after object key:value pair"),
        (r#"[1,]"#, "invalid character ']' looking for beginning of value"),
        (r#"[1 2]"#, "invalid character '2' after array element"),
        (r#"[1}"#, "invalid character '}' after array element"),
        (r#"{"a":tru}"#, "invalid character 't' looking for beginning of value"),
        (r#"{"a":01}"#, "invalid character '1' after object key:value pair"),
        (r#"{"a":-}"#, "invalid character '}' in numeric literal"),
        ("{\"a\":\"\n\"}", "invalid character '\\n' in string literal"),
        (r#"{"a":"\x"}"#, "invalid character '\\\\' in string escape code"),
        (r#"{"a":"\u12"}"#, "invalid character '\\\\' in string escape code"),
        (r#"{"a":"\ud800x"}"#, "invalid character '\\\\' in string escape code"),
        (r#"{"a":"\ud800\n"}"#, "invalid character '\\\\' in string escape code"),
        (r#"{"a":"\udc00"}"#, "invalid character '\\\\' in string escape code"),
        ("{} x", "invalid character 'x' after top-level value"),
        ("é", "invalid character 'é' looking for beginning of value"),
        (&deep, "exceeded max depth: objects and arrays may be nested 100 deep"),
    ];
    for (json, expected) in cases {
        assert_eq!(read(json.as_bytes()).unwrap_err().to_string(), expected, "{json}");
    }
    assert_eq!(read(b"{\"a\":\"\xff\"}"), Err(SyntaxError::NotUtf8));
}

#[test]
fn agrees_with_serde_json_on_what_is_well_formed() {
    for json in [
        "1",
        "-0.5e+3",
        "\"x\"",
        "null",
        "[]",
        "{}",
        "[[],{}]",
        r#"{"a":{"b":[1,2,{"c":null}]},"d":"\n"}"#,
        "1.",
        "1e",
        "--1",
        "{]",
        "[}",
        "[1",
        "nul",
        "\"\\u12\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\\ud83d\"",
        "01",
    ] {
        let ours = read(json.as_bytes()).is_ok();
        assert_eq!(ours, serde_json::from_str::<Value>(json).is_ok(), "{json}");
    }
}

#[test]
fn strings_end_where_they_end() {
    // Around the eight bytes that are looked at together.
    for before in 0..20 {
        for (inside, unquoted_inside) in [("", ""), ("\\\"", "\""), ("\\\\", "\\"), ("é", "é"), ("\\u0041", "A")] {
            let plain = "x".repeat(before);
            let json = format!("\"{plain}{inside}{plain}\" ");
            let mut text = Text::new(json.as_bytes()).unwrap();
            let quoted = text.string().unwrap();
            assert_eq!(quoted, json.trim(), "{before}");
            assert_eq!(unquoted(quoted), format!("{plain}{unquoted_inside}{plain}"));
            let control = format!("\"{plain}\u{1}{plain}\"");
            assert!(read(control.as_bytes()).is_err(), "{before}");
        }
    }
}

#[test]
fn duplicate_keys_have_paths() {
    let duplicates = |json: &str| super::super::walk::duplicates(json.as_bytes()).unwrap();
    let cases: [(&str, &[&str]); 6] = [
        (r#"{"a":1,"b":{"a":2}}"#, &[]),
        (r#"{"a":1,"a":2}"#, &["a"]),
        (r#"{"spec":{"containers":[{"image":"x"},{"image":"y","image":"z"}]}}"#, &["spec.containers[1].image"]),
        (r#"{"a\u0062":1,"ab":2}"#, &["ab"]),
        (r#"[{"x":1},{"x":1}]"#, &[]),
        (r#"{"metadata":{"name":"a","name":"b","name":"c"}}"#, &["metadata.name"]),
    ];
    for (json, paths) in cases {
        let expected: Vec<String> = paths.iter().map(|path| format!("duplicate field \"{path}\"")).collect();
        assert_eq!(duplicates(json), expected, "{json}");
    }
    let many: Vec<String> = (0..5000).map(|n| format!("\"k{}\":0", n % 4999)).collect();
    assert_eq!(duplicates(&format!("{{{}}}", many.join(","))), ["duplicate field \"k0\""]);
}
