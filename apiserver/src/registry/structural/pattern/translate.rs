//! A pattern of Go's written anew, so that it means here what it means there; what is none there is refused.
//!
//! The two are of one family and differ in little: there `\d`, `\w`, `\s` and `\b` know ASCII alone, a brace that counts nothing is a
//! brace, a bracket within brackets is one, and counts are at most 1000, those within each other taken together.
//! <https://github.com/google/re2/wiki/Syntax>

use regex::escape;

/// Of one pattern: each `\pL` of it becomes some hundred ranges before its size is known.
const TEXT_BYTES_MAX: usize = 8 * 1024;
const MAX_REPEATS: u64 = 1000;
/// Letters that mean something after a backslash.
const ESCAPES: &str = "AbBCzdDsSwWpPafnrtvx";

/// The same in our syntax. Fails with why it is none; what is wrong in both stays wrong.
pub(super) fn translated(text: &str) -> Result<String, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("it is longer than {TEXT_BYTES_MAX} bytes"));
    }
    let (chars, out) = (text.chars().collect(), String::with_capacity(text.len()));
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
    /// What stands last is an operator that repeats.
    is_repeated: bool,
}

impl Repeats {
    fn once(&mut self) {
        (self.last, self.is_repeated) = (1, false);
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
                let rest: String = self.chars[self.at + 2..].iter().collect();
                let (quoted, end) = rest.split_once("\\E").map_or((&*rest, 0), |(quoted, _)| (quoted, 2));
                self.put(&escape(quoted), 2 + quoted.chars().count() + end);
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
        if self.repeats.is_repeated {
            return Err(format!("invalid nested repetition operator: `{operator}`"));
        }
        if times > 0 && !self.repeats.again(times) {
            return Err(format!("invalid repeat count: `{operator}`"));
        }
        self.copy(chars);
        if self.peek(0) == Some('?') {
            self.copy(1);
        }
        self.repeats.is_repeated = true;
        Ok(())
    }

    /// How many chars begin a group with a mark: `(?i`, `(?P`. Flags that Go does not have are none.
    fn flags(&self) -> Result<usize, String> {
        let rest = self.chars[self.at..].iter().skip(2);
        let flags: String = rest.take_while(|c| c.is_ascii_alphabetic() || **c == '-').collect();
        let is_good = flags.starts_with('P') || flags.chars().all(|flag| "imsU-".contains(flag));
        if is_good { Ok(2 + flags.len()) } else { Err(format!("invalid or unsupported Perl syntax: `(?{flags}`")) }
    }

    /// What begins with a backslash. Tells whether it is one char, at which a range may begin.
    fn escaped(&mut self, in_class: bool) -> Result<bool, String> {
        let Some(letter) = self.peek(1) else {
            self.copy(1);
            return Ok(true);
        };
        if letter.is_ascii_alphabetic() && !ESCAPES.contains(letter) {
            return Err(format!("invalid escape sequence: `\\{letter}`"));
        }
        if let Some(class) = ascii_class(letter, in_class) {
            self.put(class, 2);
            return Ok(matches!(letter, '<' | '>'));
        }
        let long = match letter {
            'p' | 'P' => 3,
            'x' => 4,
            _ => 2,
        };
        let braced = (long > 2 && self.peek(2) == Some('{'))
            .then(|| self.chars[self.at..].iter().position(|c| *c == '}'))
            .flatten();
        self.copy(braced.map_or(long, |end| end + 1));
        Ok(long != 3)
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
