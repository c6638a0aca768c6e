//! Regular expressions: RE2's syntax, matched in time that is linear in the text.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use crate::error::EvalError;

/// Patterns that stand in an expression, by their text.
pub(crate) type Compiled = BTreeMap<Arc<str>, Regex>;

/// Of all compiled patterns that stand in an expression, in bytes.
const LITERALS_MAX: usize = 2 * 1024 * 1024;
/// Of one that an evaluation makes, maybe many times.
const DYNAMIC_BYTES_MAX: usize = 256 * 1024;
/// How long such a one may be.
const DYNAMIC_LENGTH_MAX: usize = 16 * 1024;
/// Compiling is tried with so much, and then twice as much, up to the bound: so it is known what a pattern takes.
const BYTES_MIN: usize = 16 * 1024;
/// How much is compiled in the time of a step.
const BYTES_PER_STEP: usize = 2;
/// Of what the matcher remembers between texts.
const CACHE_BYTES_MAX: usize = 512 * 1024;
const NESTING_MAX: u32 = 200;
/// How often a part may be repeated, with all repetitions around it: RE2's bound.
const REPEAT_MAX: u32 = 1000;

/// The patterns that stand in an expression, compiled.
#[derive(Debug)]
pub(crate) struct Literals {
    made: Compiled,
    bytes_left: usize,
}

impl Default for Literals {
    fn default() -> Self {
        Self { made: BTreeMap::new(), bytes_left: LITERALS_MAX }
    }
}

impl Literals {
    pub(crate) fn compile(&mut self, pattern: &Arc<str>) -> Result<(), EvalError> {
        if !self.made.contains_key(pattern) {
            let (regex, bytes) = sized(pattern, self.bytes_left)?;
            self.bytes_left = self.bytes_left.saturating_sub(bytes);
            self.made.insert(pattern.clone(), regex);
        }
        Ok(())
    }
    pub(crate) fn into_made(self) -> Compiled {
        self.made
    }
}

/// Of a pattern that an evaluation has made, with how many steps it took to compile it, or to find that it cannot be.
pub(crate) fn compile_dynamic(pattern: &str) -> (Result<Regex, EvalError>, usize) {
    if pattern.len() > DYNAMIC_LENGTH_MAX {
        let why = format!("expression has more than {DYNAMIC_LENGTH_MAX} bytes");
        return (Err(EvalError::Regex(why)), 0);
    }
    match sized(pattern, DYNAMIC_BYTES_MAX) {
        Ok((regex, bytes)) => (Ok(regex), bytes / BYTES_PER_STEP),
        Err(e) => (Err(e), DYNAMIC_BYTES_MAX / BYTES_PER_STEP),
    }
}

/// With how many bytes it takes at most.
fn sized(pattern: &str, most: usize) -> Result<(Regex, usize), EvalError> {
    let translated = translated(pattern).map_err(EvalError::Regex)?;
    let mut bytes = BYTES_MIN.max(pattern.len()).min(most);
    loop {
        let mut builder = RegexBuilder::new(&translated);
        let built = builder.size_limit(bytes).dfa_size_limit(CACHE_BYTES_MAX).nest_limit(NESTING_MAX).build();
        match built {
            Ok(regex) => return Ok((regex, bytes)),
            Err(regex::Error::CompiledTooBig(_)) if bytes < most => bytes = bytes.saturating_mul(2).min(most),
            Err(regex::Error::CompiledTooBig(_)) => return Err(EvalError::Regex("expression too large".into())),
            Err(e) => return Err(EvalError::Regex(e.to_string())),
        }
    }
}

/// From RE2's syntax to that of the crate: there `\d`, `\w`, `\s`, `\b` and `\B` are ASCII's, `[` and `&&` mean nothing within
/// brackets, a `{` that begins no count is itself, and `\Q…\E` quotes. What RE2 refuses and the crate does not is refused.
fn translated(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut repeats = Repeats::default();
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        if in_class {
            in_class = c != ']';
            rest = within_class(c, after, &mut out)?;
            continue;
        }
        let counted = if c == '{' { count(after) } else { None };
        rest = match (c, counted) {
            (_, Some((from, to, length))) => {
                let (written, after) = rest.split_at(length + 1);
                repeats.counted(written, from, to)?;
                repeated(written, after, &mut repeats, &mut out)?
            }
            ('*' | '+' | '?', _) => repeated(&rest[..1], after, &mut repeats, &mut out)?,
            ('(', _) => {
                check_flags(after)?;
                repeats.open();
                out.push('(');
                // What follows is no repetition.
                match after.strip_prefix('?') {
                    Some(after) => {
                        out.push('?');
                        after
                    }
                    None => after,
                }
            }
            (')', _) => {
                repeats.close();
                out.push(')');
                after
            }
            (c, _) => {
                repeats.one();
                match c {
                    '\\' => escape(after, false, &mut out)?,
                    '[' => {
                        in_class = true;
                        class_start(after, &mut out)
                    }
                    '{' => {
                        out.push_str("\\{");
                        after
                    }
                    c => {
                        out.push(c);
                        after
                    }
                }
            }
        };
    }
    Ok(out)
}

/// A character within brackets, or their end.
fn within_class<'a>(c: char, after: &'a str, out: &mut String) -> Result<&'a str, String> {
    match c {
        '\\' => return escape(after, true, out),
        '[' => return Ok(posix_class(after, out)),
        '&' | '~' | '-' if after.starts_with(c) => out.push('\\'),
        _ => {}
    }
    out.push(c);
    Ok(after)
}

/// A repetition, with the `?` that makes it lazy.
fn repeated<'a>(written: &str, after: &'a str, repeats: &mut Repeats, out: &mut String) -> Result<&'a str, String> {
    let lazy = if after.starts_with('?') { "?" } else { "" };
    repeats.operator(&format!("{written}{lazy}"))?;
    out.push_str(written);
    out.push_str(lazy);
    Ok(&after[lazy.len()..])
}

/// How often parts of a pattern are repeated.
#[derive(Default)]
struct Repeats {
    /// Of groups that are open, the most that a part of each is repeated.
    open: Vec<u32>,
    most: u32,
    /// Of what stands before.
    last: u32,
    /// That stands right before.
    operator: String,
}

impl Repeats {
    fn one(&mut self) {
        self.last = 1;
        self.most = self.most.max(1);
        self.operator.clear();
    }
    fn open(&mut self) {
        self.open.push(self.most);
        self.most = 1;
        self.operator.clear();
    }
    fn close(&mut self) {
        self.last = self.most;
        self.most = self.most.max(self.open.pop().unwrap_or(1));
        self.operator.clear();
    }
    fn operator(&mut self, written: &str) -> Result<(), String> {
        if !self.operator.is_empty() {
            return Err(format!("invalid nested repetition operator: `{}{written}`", self.operator));
        }
        self.operator.push_str(written);
        Ok(())
    }
    fn counted(&mut self, written: &str, from: u32, to: Option<u32>) -> Result<(), String> {
        let most = to.unwrap_or(from);
        self.last = self.last.saturating_mul(most.max(1));
        if from > REPEAT_MAX || most > REPEAT_MAX || from > most || self.last > REPEAT_MAX {
            return Err(format!("invalid repeat count: `{written}`"));
        }
        self.most = self.most.max(self.last);
        Ok(())
    }
}

/// After `(`: of what follows `?`, RE2 knows names and the flags `i`, `m`, `s` and `U`.
fn check_flags(after: &str) -> Result<(), String> {
    let Some(flags) = after.strip_prefix('?') else { return Ok(()) };
    if flags.starts_with("P<") || flags.starts_with('<') {
        return Ok(());
    }
    match flags.chars().find(|c| !matches!(c, 'i' | 'm' | 's' | 'U' | '-')) {
        Some(':' | ')') => Ok(()),
        _ => Err("invalid or unsupported Perl syntax: `(?`".into()),
    }
}

/// What follows a backslash.
fn escape<'a>(after: &'a str, in_class: bool, out: &mut String) -> Result<&'a str, String> {
    let Some(c) = after.chars().next() else { return Err("trailing backslash at end of expression: ``".into()) };
    let rest = &after[c.len_utf8()..];
    if c == 'Q' && !in_class {
        let (quoted, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
        out.push_str(&regex::escape(quoted));
        return Ok(rest);
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
        ('B', false) => out.push_str("(?-u:\\B)"),
        ('a' | 'f' | 'n' | 'r' | 't' | 'v' | 'A' | 'z' | 'p' | 'P' | 'x', _) => {
            out.push('\\');
            out.push(c);
        }
        // Of no letter or digit an escape means anything else than itself.
        (c, _) if c.is_ascii() && !c.is_ascii_alphanumeric() => {
            if c.is_ascii_punctuation() {
                out.push_str(&format!("\\x{:02x}", u32::from(c)));
            } else {
                out.push(c);
            }
        }
        (c, _) => return Err(format!("invalid escape sequence: `\\{c}`")),
    }
    Ok(rest)
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
    // No name is longer.
    let name = after.strip_prefix(':').map_or("", |name| {
        let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '^').unwrap_or(name.len());
        &name[..end.min(8)]
    });
    if !name.is_empty() && after[1 + name.len()..].starts_with(":]") {
        let (class, after) = after.split_at(name.len() + 3);
        out.push('[');
        out.push_str(class);
        return after;
    }
    out.push_str("\\[");
    after
}

/// `2}`, `2,}` or `2,3}`: the least, the most if there is one, and how long it is as it is written.
fn count(after: &str) -> Option<(u32, Option<u32>, usize)> {
    // Only digits are looked at, so that many `{` before each other cost no more than their length.
    let number = |text: &str| {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let is_plain = digits == 1 || (digits > 1 && !text.starts_with('0'));
        // What is too large for a number is too large for a count.
        is_plain.then(|| (text[..digits].parse().unwrap_or(u32::MAX), digits))
    };
    let (from, length) = number(after)?;
    let rest = &after[length..];
    if rest.starts_with('}') {
        return Some((from, Some(from), length + 1));
    }
    let rest = rest.strip_prefix(',')?;
    if rest.starts_with('}') {
        return Some((from, None, length + 2));
    }
    let (to, more) = number(rest)?;
    rest[more..].starts_with('}').then_some((from, Some(to), length + more + 2))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn compile(pattern: &str) -> Result<Regex, EvalError> {
        sized(pattern, LITERALS_MAX).map(|(regex, _)| regex)
    }

    #[test]
    fn patterns_are_read_as_re2_reads_them() {
        let long = "a".repeat(1000);
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
            (r"^(?i:a)B$", "AB", true),
            (r"^(?P<x>a)(?<y>b)$", "ab", true),
            (r"^.\Bé$", "aé", false),
            (r"^é\Bé$", "éé", true),
            (r"^\<a\>\_\-\ $", "<a>_- ", true),
            (r"^[\]\-\^]+$", "]-^", true),
            (r"^a{01}$", "a{01}", true),
            (r"^a{1,2,3}$", "a{1,2,3}", true),
            (r"^[[:^alpha:]]$", "1", true),
            (r"^[[:x]+$", "[:x", true),
            (r"^a*?b+?c??$", "abc", true),
            (r"^\w{1000}$", long.as_str(), true),
            (r"^(a{10}){100}$", long.as_str(), true),
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

    #[test]
    fn what_re2_refuses_is_refused() {
        let cases = [
            ("a**", "invalid nested repetition operator: `**`"),
            ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
            ("a+?*", "invalid nested repetition operator: `+?*`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("a{2,1}", "invalid repeat count: `{2,1}`"),
            ("a{99999999999}", "invalid repeat count: `{99999999999}`"),
            ("(a{40}){40}", "invalid repeat count: `{40}`"),
            ("((ab{11}c){10}){10,}", "invalid repeat count: `{10,}`"),
            ("(?x)a b", "invalid or unsupported Perl syntax: `(?`"),
            ("(?u)a", "invalid or unsupported Perl syntax: `(?`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?`"),
            ("\\u0041", "invalid escape sequence: `\\u`"),
            ("a\\", "trailing backslash at end of expression: ``"),
        ];
        for (pattern, wanted) in cases {
            let refusal = compile(pattern).map(|_| ());
            assert_eq!(refusal, Err(EvalError::Regex(wanted.into())), "{pattern}");
        }
    }

    #[test]
    fn patterns_of_an_expression_have_one_bound_together() {
        let mut literals = Literals::default();
        let pattern = |i: u32| Arc::from(format!(".{{{}}}", 900 + i));
        let compiled = (0..100).filter(|i| literals.compile(&pattern(*i)).is_ok()).count();
        assert!((2..20).contains(&compiled), "{compiled}");
        assert!(literals.compile(&pattern(0)).is_ok(), "it is there already");
    }

    #[test]
    fn translating_is_linear() {
        let began = Instant::now();
        for part in ["[[:", "{", "{1", "{1,", "\\Q", "(?i", "[a"] {
            let _any = translated(&part.repeat(200_000 / part.len()));
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}
