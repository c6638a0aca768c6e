//! A cursor over JSON text: what stands here, read or refused in the words of Go's decoder.

use std::borrow::Cow;

use serde_json::Value;

use super::MAX_NESTING;

/// Worded as Go's decoder words it, which users know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    #[error("unexpected end of JSON input")]
    End,
    #[error("invalid character {found:?} {wanted}")]
    Unexpected { found: char, wanted: &'static str },
    #[error("exceeded max depth: objects and arrays may be nested {MAX_NESTING} deep")]
    TooDeep,
    #[error("invalid UTF-8 in string")]
    NotUtf8,
}

/// What a map of JSON takes with its first entry: the smallest node has room for eleven.
pub(super) const OBJECT_BYTES: usize = 11 * ENTRY_BYTES;
pub(super) const ENTRY_BYTES: usize = size_of::<String>() + size_of::<Value>();
/// A list or map that grows has about as much room as it uses.
pub(super) const SPARE: usize = 2;

/// A place in a text. After an error it must not be read on.
pub(super) struct Text<'t> {
    text: &'t str,
    at: usize,
    /// Objects and arrays that are open here.
    depth: usize,
}

impl<'t> Text<'t> {
    pub(super) fn new(json: &'t [u8]) -> Result<Self, SyntaxError> {
        let text = std::str::from_utf8(json).map_err(|_| SyntaxError::NotUtf8)?;
        Ok(Self { text, at: 0, depth: 0 })
    }
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }
    pub(super) fn at(&self) -> usize {
        self.at
    }
    /// From a place seen before to here.
    pub(super) fn since(&self, start: usize) -> &'t str {
        self.text.get(start..self.at).unwrap_or_default()
    }
    /// The next byte that is not white.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }
    /// What begins here; or the text has ended.
    pub(super) fn upcoming(&mut self) -> Result<u8, SyntaxError> {
        self.peek().ok_or(SyntaxError::End)
    }
    fn unexpected(&self, wanted: &'static str) -> SyntaxError {
        match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(found) => SyntaxError::Unexpected { found, wanted },
            None => SyntaxError::End,
        }
    }

    /// Past an opening bracket.
    pub(super) fn open(&mut self) -> Result<(), SyntaxError> {
        if self.depth >= MAX_NESTING {
            return Err(SyntaxError::TooDeep);
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }
    /// Whether an item or entry follows; past the bracket `close` if not. `first`: nothing has been read since the opening one.
    pub(super) fn more(&mut self, close: u8, first: &mut bool) -> Result<bool, SyntaxError> {
        let was_first = std::mem::take(first);
        match self.peek() {
            Some(next) if next == close => {
                self.depth -= 1;
                self.at += 1;
                Ok(false)
            }
            _ if was_first => Ok(true),
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            _ if close == b'}' => Err(self.unexpected("after object key:value pair")),
            _ => Err(self.unexpected("after array element")),
        }
    }
    /// A key and its colon; as it is written, in its quotes.
    pub(super) fn key(&mut self) -> Result<&'t str, SyntaxError> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("looking for beginning of object key string"));
        }
        let quoted = self.string()?;
        if self.peek() != Some(b':') {
            return Err(self.unexpected("after object key"));
        }
        self.at += 1;
        Ok(quoted)
    }
    /// Nothing but white follows.
    pub(super) fn end(&mut self) -> Result<(), SyntaxError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("after top-level value")),
        }
    }

    /// A string that begins here, in its quotes; its escapes are good ones.
    pub(super) fn string(&mut self) -> Result<&'t str, SyntaxError> {
        let start = self.at;
        self.at += 1;
        loop {
            self.at += plain(self.text.as_bytes().get(self.at..).unwrap_or_default());
            match self.text.as_bytes().get(self.at) {
                None => return Err(SyntaxError::End),
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.unexpected("in string literal")),
            }
        }
        self.at += 1;
        Ok(self.since(start))
    }
    fn escape(&mut self) -> Result<(), SyntaxError> {
        let bad = SyntaxError::Unexpected { found: '\\', wanted: "in string escape code" };
        let rest = self.text.as_bytes().get(self.at + 1..).unwrap_or_default();
        self.at += match rest.first() {
            None => return Err(SyntaxError::End),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => match code_unit(rest).ok_or(bad.clone())? {
                // The first half of a pair, which is nothing without the second.
                0xd800..=0xdbff => match rest.get(5..).filter(|rest| rest.first() == Some(&b'\\')) {
                    Some([_, second @ ..]) if matches!(code_unit(second), Some(0xdc00..=0xdfff)) => 12,
                    _ => return Err(bad),
                },
                0xdc00..=0xdfff => return Err(bad),
                _ => 6,
            },
            Some(_) => return Err(bad),
        };
        Ok(())
    }

    /// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`
    pub(super) fn number(&mut self) -> Result<&'t str, SyntaxError> {
        let (start, bytes) = (self.at, self.text.as_bytes());
        if bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.since(start))
    }
    fn digits(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        while self.text.as_bytes().get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { Err(self.unexpected("in numeric literal")) } else { Ok(()) }
    }
    /// `true`, `false` or `null`.
    pub(super) fn word(&mut self) -> Result<&'static str, SyntaxError> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let word = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word.as_bytes()));
        let word = word.ok_or_else(|| self.unexpected("looking for beginning of value"))?;
        self.at += word.len();
        Ok(word)
    }

    /// Past any value. Gives what it would take in memory.
    pub(super) fn skip(&mut self) -> Result<usize, SyntaxError> {
        let (mut held, mut first) = (0, true);
        match self.upcoming()? {
            b'{' => {
                self.open()?;
                while self.more(b'}', &mut first)? {
                    held += if held == 0 { OBJECT_BYTES } else { SPARE * ENTRY_BYTES };
                    held += self.key()?.len();
                    held += self.skip()?;
                }
            }
            b'[' => {
                self.open()?;
                while self.more(b']', &mut first)? {
                    held += size_of::<Value>() + self.skip()?;
                }
            }
            b'"' => held = self.string()?.len(),
            b'-' | b'0'..=b'9' => {
                self.number()?;
            }
            _ => {
                self.word()?;
            }
        }
        Ok(held)
    }
}

/// What a quoted string says.
pub(super) fn unquoted(quoted: &str) -> Cow<'_, str> {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    // Its escapes have been seen to be good.
    serde_json::from_str(quoted).map_or(Cow::Borrowed(inner), Cow::Owned)
}

/// How many bytes stand before the next quote, backslash or control character.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // A byte's highest bit is set where the byte is below `n`, or where one before it is: exact enough to stop at.
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word & HIGHS;
    let mut at = 0;
    while let Some(eight) = bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()) {
        let word = u64::from_ne_bytes(eight);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        if (quote | backslash | below(word, 0x20)) != 0 {
            break;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|b| **b >= 0x20 && **b != b'"' && **b != b'\\').count()
}

/// Of `uXXXX`.
fn code_unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.get(1..5).filter(|digits| bytes[0] == b'u' && digits.iter().all(u8::is_ascii_hexdigit))?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests;
