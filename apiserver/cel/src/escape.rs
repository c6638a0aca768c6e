//! Names of fields as identifiers: `a-b` is `a__dash__b`, and `namespace` is `__namespace__`; and texts in quotes.

use crate::parser::RESERVED;

/// Words of the language itself, besides those that it keeps for later.
const WORDS: &[&str] = &["true", "false", "null", "in"];

/// The identifier for a field's name, if it can have one: it has letters, digits, `_`, `.`, `-` and `/`, and begins with no digit.
pub fn escape(name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if WORDS.contains(&name) || RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let (taken, put) = match c {
            '_' if rest.starts_with("__") => (2, "__underscores__"),
            '.' => (1, "__dot__"),
            '-' => (1, "__dash__"),
            '/' => (1, "__slash__"),
            c if c.is_ascii_alphanumeric() || c == '_' => (1, &rest[..1]),
            _ => return None,
        };
        out.push_str(put);
        rest = &rest[taken..];
    }
    Some(out)
}

/// As upstream's language quotes text.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_identifiers() {
        let cases = [
            ("", None),
            ("4a", None),
            ("a$", None),
            ("é", None),
            ("a", Some("a")),
            ("_a_b", Some("_a_b")),
            ("namespace", Some("__namespace__")),
            ("const", Some("__const__")),
            ("a__b", Some("a__underscores__b")),
            ("a___b", Some("a__underscores___b")),
            ("a-b.c/d", Some("a__dash__b__dot__c__slash__d")),
        ];
        for (name, wanted) in cases {
            assert_eq!(escape(name).as_deref(), wanted, "{name}");
        }
    }
}
