//! RE2's patterns, as Go reads them, written anew for the crate that matches ours: they mean there what they mean in Go, and what is
//! none in Go is refused.
//!
//! The two are of one family and differ in little: in RE2 `\d`, `\w`, `\s` and `\b` know ASCII alone, a brace that counts nothing is a
//! brace, a bracket within brackets is one, `\Q…\E` quotes, and counts are at most 1000, those within each other taken together.
//! <https://github.com/google/re2/wiki/Syntax>

use regex::escape;

const MAX_REPEATS: u64 = 1000;
/// Letters that mean something after a backslash, and those of them that do so within brackets.
const ESCAPES: &str = "AbBzdDsSwWpPafnrtvx";
const CLASS_ESCAPES: &str = "dDsSwWpPafnrtvx";
/// No name of a class is longer: `[:^xdigit:]`.
const POSIX_CHARS_MAX: usize = 12;

/// The same in our syntax, in time that is linear in its length. Fails, in Go's words, with why it is none; what is wrong in both stays
/// wrong.
pub fn translated(text: &str) -> Result<String, String> {
    let (chars, out) = (text.chars().collect(), String::with_capacity(text.len() + 16));
    let mut reading = Reading { chars, at: 0, out, repeats: Repeats::default() };
    while let Some(c) = reading.peek(0) {
        reading.token(c)?;
    }
    Ok(reading.out)
}

struct Reading {
    chars: Vec<char>,
    at: usize,
    out: String,
    repeats: Repeats,
}

/// How often things are repeated.
#[derive(Default)]
struct Repeats {
    /// The most in each group that is open, before it was opened.
    groups: Vec<u64>,
    /// The most in the group that is read.
    most: u64,
    /// Of what stands last.
    last: u64,
    /// The operator that repeats, if that stands last.
    operator: String,
}

impl Repeats {
    fn once(&mut self) {
        self.last = 1;
        self.operator.clear();
    }
    fn open(&mut self) {
        self.groups.push(self.most);
        self.most = 1;
        self.once();
    }
    fn close(&mut self) {
        self.once();
        self.last = self.most.max(1);
        self.most = self.groups.pop().unwrap_or(1).max(self.last);
    }
    /// Whether it may be repeated so often; 0: as often as it likes.
    fn again(&mut self, times: u64) -> bool {
        self.last = self.last.max(1).saturating_mul(times.max(1));
        self.most = self.most.max(self.last);
        self.last <= MAX_REPEATS
    }
}

impl Reading {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }
    fn copy(&mut self, chars: usize) {
        let end = (self.at + chars).min(self.chars.len());
        self.out.extend(&self.chars[self.at..end]);
        self.at = end;
    }
    fn put(&mut self, text: &str, taken: usize) {
        self.out.push_str(text);
        self.at += taken;
    }

    fn token(&mut self, c: char) -> Result<(), String> {
        match (c, self.peek(1)) {
            ('\\', Some('Q')) => {
                let rest = &self.chars[self.at + 2..];
                let end = rest.windows(2).position(|pair| pair == ['\\', 'E']);
                let quoted: String = rest[..end.unwrap_or(rest.len())].iter().collect();
                let taken = end.map_or(rest.len(), |end| end + 2);
                self.put(&escape(&quoted), 2 + taken);
                self.repeats.once();
            }
            ('\\', _) => {
                self.escaped(false)?;
                self.repeats.once();
            }
            ('[', _) => {
                self.class()?;
                self.repeats.once();
            }
            ('(', next) => {
                let taken = if next == Some('?') { self.flags()? } else { 1 };
                self.copy(taken);
                self.repeats.open();
            }
            (')', _) => {
                self.copy(1);
                self.repeats.close();
            }
            ('*' | '+' | '?', _) => self.repeat(1, 0)?,
            ('{', _) => match count(&self.chars[self.at..]) {
                Some(count) => self.repeat(count.chars, count.times?)?,
                None => {
                    self.put("\\{", 1);
                    self.repeats.once();
                }
            },
            _ => {
                self.copy(1);
                self.repeats.once();
            }
        }
        Ok(())
    }

    /// An operator of some chars, and the mark that it is content with little.
    fn repeat(&mut self, chars: usize, times: u64) -> Result<(), String> {
        let operator: String = self.chars[self.at..self.at + chars].iter().collect();
        self.copy(chars);
        let lazy = if self.peek(0) == Some('?') { "?" } else { "" };
        self.copy(lazy.len());
        let before = &mut self.repeats.operator;
        if !before.is_empty() {
            return Err(format!("invalid nested repetition operator: `{before}{operator}{lazy}`"));
        }
        before.push_str(&operator);
        before.push_str(lazy);
        if times > 0 && !self.repeats.again(times) {
            return Err(format!("invalid repeat count: `{operator}`"));
        }
        Ok(())
    }

    /// How many chars begin a group with a mark: `(?i:`, `(?P<`. Flags that Go does not have are none.
    fn flags(&self) -> Result<usize, String> {
        let mut is_negative = false;
        if self.peek(2) == Some('<') || (self.peek(2), self.peek(3)) == (Some('P'), Some('<')) {
            return Ok(2);
        }
        let mut ahead = 2;
        loop {
            match self.peek(ahead) {
                Some('i' | 'm' | 's' | 'U') => {}
                Some('-') if !is_negative => is_negative = true,
                Some(':' | ')') => return Ok(ahead),
                _ => {
                    let end = (self.at + ahead + 1).min(self.chars.len());
                    let read: String = self.chars[self.at..end].iter().collect();
                    return Err(format!("invalid or unsupported Perl syntax: `{read}`"));
                }
            }
            ahead += 1;
        }
    }

    /// What begins with a backslash. Tells whether it is one char, at which a range may begin.
    fn escaped(&mut self, in_class: bool) -> Result<bool, String> {
        let Some(c) = self.peek(1) else { return Err("trailing backslash at end of expression: ``".into()) };
        let refused = || Err(format!("invalid escape sequence: `\\{c}`"));
        let known = if in_class { CLASS_ESCAPES } else { ESCAPES };
        if c.is_ascii_digit() {
            return self.octal(c).map_or_else(refused, |()| Ok(true));
        }
        if !c.is_ascii() || (c.is_ascii_alphabetic() && !known.contains(c)) {
            return refused();
        }
        if !c.is_ascii_alphabetic() {
            // It means itself, whatever it means in our syntax.
            let itself = if c.is_ascii_punctuation() { format!("\\x{:02x}", u32::from(c)) } else { c.to_string() };
            self.put(&itself, 2);
            return Ok(true);
        }
        if let Some(class) = ascii_class(c, in_class) {
            self.put(class, 2);
            return Ok(false);
        }
        let long = match c {
            'p' | 'P' => 3,
            'x' => 4,
            _ => 2,
        };
        if long > 2 && self.peek(2) == Some('{') {
            match self.chars[self.at..].iter().position(|c| *c == '}') {
                Some(end) => self.copy(end + 1),
                None => return refused(),
            }
        } else {
            self.copy(long);
        }
        Ok(long != 3)
    }

    /// A char by its number, of three digits at most. One digit alone is none, but for 0.
    fn octal(&mut self, first: char) -> Option<()> {
        let digits = self.chars[self.at + 1..].iter().take(3).map_while(|c| c.to_digit(8));
        let digits: Vec<u32> = digits.collect();
        if digits.is_empty() || (digits.len() == 1 && first != '0') {
            return None;
        }
        let code = digits.iter().fold(0, |code, digit| code * 8 + digit);
        self.put(&format!("\\x{{{code:x}}}"), 1 + digits.len());
        Some(())
    }

    fn class(&mut self) -> Result<(), String> {
        self.copy(1);
        if self.peek(0) == Some('^') {
            self.copy(1);
        }
        // A bracket that comes first is one of the class. `begins`: a range may begin with what stands last; `ends`: one has begun.
        let (mut is_first, mut begins, mut ends) = (true, false, false);
        while let Some(c) = self.peek(0) {
            if c == '-' && begins && self.peek(1).is_some_and(|next| next != ']') {
                self.copy(1);
                (begins, ends) = (false, true);
                continue;
            }
            let posix = if c == '[' { posix_class(&self.chars[self.at..]) } else { None };
            let is_char = match (c, posix) {
                (']', _) if !is_first => {
                    self.copy(1);
                    return Ok(());
                }
                ('\\', _) => self.escaped(true)?,
                (_, Some(chars)) => {
                    self.copy(chars);
                    false
                }
                ('[' | ']' | '-' | '&' | '~', None) => {
                    self.out.push('\\');
                    self.copy(1);
                    true
                }
                _ => {
                    self.copy(1);
                    true
                }
            };
            (is_first, begins, ends) = (false, is_char && !ends, false);
        }
        Ok(())
    }
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
        _ => return None,
    })
}

/// How long `[:alpha:]` is, if it stands here.
fn posix_class(chars: &[char]) -> Option<usize> {
    if chars.get(1) != Some(&':') {
        return None;
    }
    let end = chars.windows(2).take(POSIX_CHARS_MAX).skip(2).position(|pair| pair == [':', ']'])?;
    let is_name = |c: &char| c.is_ascii_lowercase() || *c == '^';
    (end > 0 && chars[2..2 + end].iter().all(is_name)).then_some(end + 4)
}

struct Count {
    chars: usize,
    /// The most; the least where there is none. Fails with why these cannot be.
    times: Result<u64, String>,
}

/// A brace that counts: `{2}`, `{2,}`, `{2,3}`.
fn count(chars: &[char]) -> Option<Count> {
    // A number that may be is shorter than this.
    let end = chars.iter().take(32).position(|c| *c == '}')?;
    let inner: String = chars[1..end].iter().collect();
    let number = |text: &str| -> Option<u64> {
        let is_one = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_one = is_one && (text == "0" || !text.starts_with('0'));
        is_one.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (least, most) = match inner.split_once(',') {
        None => (number(&inner)?, Some(number(&inner)?)),
        Some((least, "")) => (number(least)?, None),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
    };
    let is_bad = least > MAX_REPEATS || most.is_some_and(|most| most > MAX_REPEATS || most < least);
    let times = if is_bad { Err(format!("invalid repeat count: `{{{inner}}}`")) } else { Ok(most.unwrap_or(least)) };
    Some(Count { chars: end + 1, times })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use regex::Regex;

    use super::*;

    fn compiled(pattern: &str) -> Result<Regex, String> {
        Regex::new(&translated(pattern)?).map_err(|err| err.to_string())
    }

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        let long = "a".repeat(1000);
        let cases = [
            // pattern, text, whether it matches
            (r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$", "* * * * */5", true),
            (r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$", "* * * *", false),
            (r"^\d+$", "12", true),
            (r"^\d$", "\u{663}", false),
            (r"^\w+$", "stra\u{df}e", false),
            (r"^[\w.-]+$", "a_b.c-d", true),
            (r"^[^\d\s]$", "1", false),
            (r"^[^\d]$", "a", true),
            (r"^.$", "\u{df}", true),
            (r"^.\Bé$", "aé", false),
            (r"^é\Bé$", "éé", true),
            (r"^{a}$", "{a}", true),
            (r"^a{$", "a{", true),
            (r"^a{,2}$", "a{,2}", true),
            (r"^a{01}$", "a{01}", true),
            (r"^a{1,2,3}$", "a{1,2,3}", true),
            (r"^a{2,3}$", "aaa", true),
            (r"^a{2,3}?$", "aaa", true),
            (r"^a*?b+?c??$", "abc", true),
            (r"^[[]$", "[", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]]$", "]", false),
            (r"^[^]a]+$", "b", true),
            (r"^[[:alpha:]]+$", "ab", true),
            (r"^[[:^alpha:]]$", "1", true),
            (r"^[[:x]+$", "[:x", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^[+--]$", ",", true),
            (r"^[+--]$", ".", false),
            (r"^[--/]$", ".", true),
            (r"^[a-c-e]+$", "b-e", true),
            (r"^[a-c-e]+$", "d", false),
            (r"^[\d-a]+$", "1-a", true),
            (r"^[\]\-\^]+$", "]-^", true),
            (r"^[\pL-]+$", "\u{df}-", true),
            (r"^[\x{41}-\x43]$", "B", true),
            (r"^\x{4F}\p{Greek}$", "O\u{3b1}", true),
            (r"^\101[\060-\071]\0$", "A5\0", true),
            (r"^\1234$", "S4", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b", "a.b", true),
            (r"^\<a\>\_\-\ $", "<a>_- ", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^a\/b\-c$", "a/b-c", true),
            (r"(?i)^ABC$", "abc", true),
            (r"^(?i:a)B$", "AB", true),
            (r"^(?P<x>a)(?<y>b)$", "ab", true),
            ("^(?P<name>a)(?s:.)$", "a\n", true),
            ("^a$", "a\n", false),
            (r"^\w{1000}$", long.as_str(), true),
            (r"^(a{10}){100}$", long.as_str(), true),
            (r"^((a{0}){1000}|b)$", "b", true),
        ];
        for (pattern, text, wanted) in cases {
            assert_eq!(compiled(pattern).map(|regex| regex.is_match(text)), Ok(wanted), "{pattern} {text:?}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        let cases = [
            ("a**", "invalid nested repetition operator: `**`"),
            ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
            ("a+?*", "invalid nested repetition operator: `+?*`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("a{3,2}", "invalid repeat count: `{3,2}`"),
            ("a{99999999999}", "invalid repeat count: `{99999999999}`"),
            ("(a{40}){40}", "invalid repeat count: `{40}`"),
            ("(a{100}b){11}", "invalid repeat count: `{11}`"),
            ("((a{50})*c|d{3}){21}", "invalid repeat count: `{21}`"),
            ("((ab{11}c){10}){10,}", "invalid repeat count: `{10,}`"),
            ("(?x)a b", "invalid or unsupported Perl syntax: `(?x`"),
            ("(?u:a)", "invalid or unsupported Perl syntax: `(?u`"),
            ("a(?=b)", "invalid or unsupported Perl syntax: `(?=`"),
            ("(?i--s:a)", "invalid or unsupported Perl syntax: `(?i--`"),
            ("(?P=a)", "invalid or unsupported Perl syntax: `(?P`"),
            (r"\u0041", r"invalid escape sequence: `\u`"),
            (r"\C", r"invalid escape sequence: `\C`"),
            (r"[\b]", r"invalid escape sequence: `\b`"),
            (r"(a)\1", r"invalid escape sequence: `\1`"),
            (r"\8", r"invalid escape sequence: `\8`"),
            (r"\é", r"invalid escape sequence: `\é`"),
            (r"\p{Greek", r"invalid escape sequence: `\p`"),
            ("a\\", "trailing backslash at end of expression: ``"),
        ];
        for (pattern, wanted) in cases {
            assert_eq!(compiled(pattern).map(|_| ()), Err(wanted.into()), "{pattern}");
        }
    }

    #[test]
    fn translating_is_linear() {
        let began = Instant::now();
        for part in ["[[:", "[:", "{", "{1", "{1,", "\\Q", "\\Qa\\E", "(?i", "(?i:", "[a", "\\p{", "\\x{1}", "("] {
            let _any = translated(&part.repeat(200_000 / part.len()));
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}
