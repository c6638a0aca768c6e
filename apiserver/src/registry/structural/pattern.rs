//! Patterns as Go reads them, matched in linear time and within a bound of memory.
//!
//! Go's and ours are of one family and differ in little: there `\d`, `\w`, `\s` and `\b` know ASCII alone, a brace that counts
//! nothing is a brace, and a bracket within brackets is one. A pattern is written anew so that it means here what it means there.
//! <https://github.com/google/re2/wiki/Syntax>

use regex::{Regex, RegexBuilder};

/// Of a compiled pattern, and of what is built while it is matched.
const SIZE_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Fails with why it is none.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let ours = translated(text);
        let built = RegexBuilder::new(&ours).size_limit(SIZE_BYTES_MAX).dfa_size_limit(SIZE_BYTES_MAX).build();
        let regex = built.map_err(|err| match err {
            regex::Error::CompiledTooBig(_) => format!("it takes more than {SIZE_BYTES_MAX} bytes"),
            regex::Error::Syntax(why) => {
                why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
            }
            other => other.to_string(),
        })?;
        Ok(Self { text: text.to_owned(), regex })
    }
    /// As its author wrote it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
    /// Whether it is found anywhere in a text.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// The same in our syntax. What is wrong stays wrong.
fn translated(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let (mut out, mut at, mut in_class) = (String::with_capacity(text.len()), 0, false);
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied();
        let mut taken = 1;
        match (c, next) {
            ('\\', Some('Q')) if !in_class => {
                let rest: String = chars[at + 2..].iter().collect();
                let (quoted, end) = rest.split_once("\\E").map_or((&*rest, 0), |(quoted, _)| (quoted, 2));
                out.push_str(&regex::escape(quoted));
                taken = 2 + quoted.chars().count() + end;
            }
            ('\\', Some(escaped)) => {
                match ascii_class(escaped, in_class) {
                    Some(class) => out.push_str(class),
                    None => out.extend([c, escaped]),
                }
                taken = 2;
            }
            ('[', _) if in_class => match posix_class(&chars[at..]) {
                Some(len) => {
                    out.extend(&chars[at..at + len]);
                    taken = len;
                }
                None => out.push_str("\\["),
            },
            ('[', _) => {
                in_class = true;
                out.push(c);
                // A bracket that comes first is one of the class.
                if next == Some('^') {
                    out.push('^');
                    taken += 1;
                }
                if chars.get(at + taken) == Some(&']') {
                    out.push_str("\\]");
                    taken += 1;
                }
            }
            (']', _) if in_class => {
                in_class = false;
                out.push(c);
            }
            ('&' | '~' | '-', Some(same)) if in_class && same == c => out.extend(['\\', c]),
            ('{', _) if !in_class && !counts(&chars[at..]) => out.push_str("\\{"),
            _ => out.push(c),
        }
        at += taken;
    }
    out
}

/// `\d` and such; `None`: it means the same.
fn ascii_class(letter: char, in_class: bool) -> Option<&'static str> {
    Some(match (letter, in_class) {
        ('d', true) => "0-9",
        ('d', false) => "[0-9]",
        ('D', _) => "[^0-9]",
        ('w', true) => "0-9A-Za-z_",
        ('w', false) => "[0-9A-Za-z_]",
        ('W', _) => "[^0-9A-Za-z_]",
        ('s', true) => "\\t\\n\\x0c\\r ",
        ('s', false) => "[\\t\\n\\x0c\\r ]",
        ('S', _) => "[^\\t\\n\\x0c\\r ]",
        ('b', false) => "(?-u:\\b)",
        ('B', false) => "(?-u:\\B)",
        ('<', _) => "<",
        ('>', _) => ">",
        _ => return None,
    })
}

/// How long `[:alpha:]` is, if it stands here.
fn posix_class(chars: &[char]) -> Option<usize> {
    if chars.get(1) != Some(&':') {
        return None;
    }
    let end = chars.windows(2).skip(2).position(|pair| pair == [':', ']'])?;
    Some(end + 4)
}

/// Whether a brace counts: `{2}`, `{2,}`, `{2,3}`.
fn counts(chars: &[char]) -> bool {
    let Some(end) = chars.iter().position(|c| *c == '}') else { return false };
    let inner: String = chars[1..end].iter().collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match inner.split_once(',') {
        None => is_number(&inner),
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, text, matches) in [
            (r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$", "* * * * */5", true),
            (r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$", "* * * *", false),
            (r"^\d$", "\u{663}", false),
            (r"^\w+$", "stra\u{df}e", false),
            (r"^[\w.-]+$", "a_b.c-d", true),
            (r"^[^\d\s]$", "1", false),
            (r"^.$", "\u{df}", true),
            (r"^{a}$", "{a}", true),
            (r"^a{2,3}$", "aaa", true),
            (r"^[[]$", "[", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]]$", "]", false),
            (r"^[[:alpha:]]+$", "ab", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^\Qa.b\E$", "a.b", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^a\/b\-c$", "a/b-c", true),
            ("(?i)^abc$", "ABC", true),
            ("^a$", "a\n", false),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(text), matches, "{pattern} {text:?}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_told_of() {
        for (pattern, why) in
            [("(", "unclosed group"), ("a**?+(?=b)", "look-around"), ("[z-a]", "invalid character class range")]
        {
            let told = Pattern::new(pattern).unwrap_err();
            assert!(told.contains(why), "{pattern}: {told}");
        }
        assert!(Pattern::new("(a{1000}){1000}").unwrap_err().contains("bytes"));
    }
}
