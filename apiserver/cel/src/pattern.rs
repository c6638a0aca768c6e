//! Regular expressions: RE2's syntax, matched in time that is linear in the text.

use regex::{Regex, RegexBuilder};

use crate::error::EvalError;

/// Of a compiled pattern that stands in the expression.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Of one that an evaluation makes, maybe many times.
const DYNAMIC_BYTES_MAX: usize = 256 * 1024;
const NESTING_MAX: u32 = 200;

/// Of a pattern in the expression itself.
pub(crate) fn compile(pattern: &str) -> Result<Regex, EvalError> {
    sized(pattern, BYTES_MAX)
}
pub(crate) fn compile_dynamic(pattern: &str) -> Result<Regex, EvalError> {
    sized(pattern, DYNAMIC_BYTES_MAX)
}

fn sized(pattern: &str, bytes: usize) -> Result<Regex, EvalError> {
    let built = RegexBuilder::new(&translated(pattern)).size_limit(bytes).nest_limit(NESTING_MAX).build();
    built.map_err(|e| EvalError::Regex(e.to_string()))
}

/// From RE2's syntax to that of the crate: there `\d`, `\w`, `\s` and `\b` are ASCII's, `[` and `&&` mean nothing within
/// brackets, a `{` that begins no count is itself, and `\Q…\E` quotes.
fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\\' => escape(after, in_class, &mut out),
            '[' if !in_class => {
                in_class = true;
                class_start(after, &mut out)
            }
            '[' => posix_class(after, &mut out),
            ']' if in_class => {
                in_class = false;
                out.push(']');
                after
            }
            '&' | '~' | '-' if in_class && after.starts_with(c) => {
                out.push('\\');
                out.push(c);
                after
            }
            '{' if !in_class && !is_count(after) => {
                out.push_str("\\{");
                after
            }
            c => {
                out.push(c);
                after
            }
        };
    }
    out
}

/// What follows a backslash.
fn escape<'a>(after: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let Some(c) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = &after[c.len_utf8()..];
    if c == 'Q' && !in_class {
        let (quoted, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
        out.push_str(&regex::escape(quoted));
        return rest;
    }
    match (c, in_class) {
        ('d', true) => out.push_str("0-9"),
        ('w', true) => out.push_str("0-9A-Za-z_"),
        ('s', true) => out.push_str("\\t\\n\\f\\r "),
        ('d', false) => out.push_str("[0-9]"),
        ('w', false) => out.push_str("[0-9A-Za-z_]"),
        ('s', false) => out.push_str("[\\t\\n\\f\\r ]"),
        ('D', _) => out.push_str("[^0-9]"),
        ('W', _) => out.push_str("[^0-9A-Za-z_]"),
        ('S', _) => out.push_str("[^\\t\\n\\f\\r ]"),
        ('b', false) => out.push_str("(?-u:\\b)"),
        (c, _) => {
            out.push('\\');
            out.push(c);
        }
    }
    rest
}

/// After `[`: a `]` that comes first is itself.
fn class_start<'a>(after: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    let after = match after.strip_prefix('^') {
        Some(rest) => {
            out.push('^');
            rest
        }
        None => after,
    };
    match after.strip_prefix(']') {
        Some(rest) => {
            out.push_str("\\]");
            rest
        }
        None => after,
    }
}

/// A `[` within brackets is itself, unless it begins `[:alpha:]`.
fn posix_class<'a>(after: &'a str, out: &mut String) -> &'a str {
    if after.starts_with(':')
        && let Some(end) = after.find(":]")
    {
        out.push('[');
        out.push_str(&after[..end + 2]);
        return &after[end + 2..];
    }
    out.push_str("\\[");
    after
}

/// `2}`, `2,}` or `2,3}`.
fn is_count(after: &str) -> bool {
    let Some((count, _)) = after.split_once('}') else { return false };
    let (from, to) = count.split_once(',').unwrap_or((count, "0"));
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    !from.is_empty() && is_number(from) && is_number(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_as_re2_reads_them() {
        let cases = [
            // pattern, text, whether it matches
            (r"^\d+$", "12", true),
            (r"^\d+$", "١٢", false),
            (r"^\w+$", "é", false),
            (r"^[\w-]+$", "a-b", true),
            (r"^[[]$", "[", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]a]+$", "b", true),
            (r"^[a&&b]+$", "&b", true),
            (r"^[[:alpha:]]+$", "ab", true),
            (r"^a{$", "a{", true),
            (r"^a{,2}$", "a{,2}", true),
            (r"^a{2,3}$", "aaa", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"a$", "a\n", false),
            (r"\bfoo\b", "a foo b", true),
            (r"^[^\d]$", "a", true),
            (r"(?i)^ABC$", "abc", true),
        ];
        for (pattern, text, wanted) in cases {
            assert_eq!(compile(pattern).map(|regex| regex.is_match(text)), Ok(wanted), "{pattern} {text}");
        }
    }

    #[test]
    fn what_would_be_large_is_refused() {
        for pattern in ["(((a{30}){30}){30}){30}", "(", "a**b(", "\\p{Greek}{1000}{100}"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
        assert!(compile(&"(".repeat(100_000)).is_err());
    }
}
