//! JSON as Go writes it, where other programs compare texts: strings and numbers in FieldsV1 and in annotations.

use std::fmt::Write;

use serde_json::Number;

/// Which characters of a string are written as escapes, besides those that must be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    Few,
    /// Also those that HTML and JavaScript would trip over, as Go's encoder does unless told otherwise.
    Html,
}

/// Appends `text` as a JSON string.
pub(super) fn push_text(out: &mut String, text: &str, escape: Escape) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1f' => push_escape(out, letter),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if escape == Escape::Html => push_escape(out, letter),
            _ => out.push(letter),
        }
    }
    out.push('"');
}

fn push_escape(out: &mut String, letter: char) {
    // Writing to a String does not fail.
    let _written = write!(out, "\\u{:04x}", u32::from(letter));
}

/// What is left to do to a text of JSON, whose escapes are few, so that they are as Go's encoder has them. Outside of
/// strings JSON has none of these characters.
pub(super) fn escape_html(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => push_escape(&mut out, letter),
            _ => out.push(letter),
        }
    }
    out
}

/// Appends a number. Whole ones have no point, however they were given: `80.0` is `80`.
pub(super) fn push_number(out: &mut String, number: &Number) {
    let written = match number.as_f64() {
        Some(float) if number.is_f64() => {
            let size = float.abs();
            if size == 0.0 || (1e-6..1e21).contains(&size) {
                write!(out, "{float}")
            } else {
                // Rust writes `1e21` where Go writes `1e+21`; both write `1e-7`.
                let text = format!("{float:e}");
                match text.split_once('e') {
                    Some((digits, exponent)) if !exponent.starts_with('-') => write!(out, "{digits}e+{exponent}"),
                    _ => write!(out, "{text}"),
                }
            }
        }
        _ => write!(out, "{number}"),
    };
    // Writing to a String does not fail.
    let _written = written;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (given, expected) in [
            ("80", "80"),
            ("-3", "-3"),
            ("80.0", "80"),
            ("3.14159", "3.14159"),
            ("1e20", "100000000000000000000"),
            ("1e21", "1e+21"),
            ("1.5e300", "1.5e+300"),
            ("0.000001", "0.000001"),
            ("0.00000015", "1.5e-7"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            let mut out = String::new();
            push_number(&mut out, &given.parse().unwrap());
            assert_eq!(out, expected, "{given}");
        }
    }

    #[test]
    fn texts_are_escaped_as_go_escapes_them() {
        for (given, few, html) in [
            ("web", r#""web""#, r#""web""#),
            ("a\"b\\c", r#""a\"b\\c""#, r#""a\"b\\c""#),
            ("\n\r\t\u{8}\u{c}\0", r#""\n\r\t\u0008\u000c\u0000""#, r#""\n\r\t\u0008\u000c\u0000""#),
            ("<a&b>", r#""<a&b>""#, r#""\u003ca\u0026b\u003e""#),
            ("\u{2028}", "\"\u{2028}\"", r#""\u2028""#),
            ("你好 🚀\u{7f}", "\"你好 🚀\u{7f}\"", "\"你好 🚀\u{7f}\""),
        ] {
            let written = |escape| {
                let mut out = String::new();
                push_text(&mut out, given, escape);
                out
            };
            assert_eq!((&*written(Escape::Few), &*written(Escape::Html)), (few, html), "{given:?}");
            assert_eq!(escape_html(&written(Escape::Few)), html, "{given:?}");
            assert_eq!(serde_json::from_str::<String>(&written(Escape::Html)).unwrap(), given);
        }
    }
}
