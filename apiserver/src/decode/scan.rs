//! One pass over JSON text, without recursion: is it well formed, how deep, which keys stand twice, what stands where.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use super::MAX_NESTING;
use super::path_text;

/// Up to so many keys of one object are compared with each other; beyond, they are hashed.
const COMPARED_KEYS: usize = 24;
/// A text with more duplicates than this reports the first ones.
const MAX_DUPLICATES: usize = 32;

/// Worded as Go's decoder words it, which users know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    #[error("unexpected end of JSON input")]
    End,
    #[error("invalid character {found:?} {wanted}")]
    Unexpected { found: char, wanted: &'static str },
    #[error("exceeded max depth: objects and arrays may be nested {MAX_NESTING} deep")]
    TooDeep,
    #[error("invalid UTF-8 in string")]
    NotUtf8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub duplicates: Vec<String>,
    /// Top-level `apiVersion` and `kind`, where they are strings.
    pub api_version: String,
    pub kind: String,
}

/// Reads the whole text.
pub fn scan(json: &[u8]) -> Result<Found, ScanError> {
    let text = std::str::from_utf8(json).map_err(|_| ScanError::NotUtf8)?;
    let mut scanner = Scanner::new(text, None);
    scanner.run()?;
    Ok(scanner.found)
}

/// The path of the value that ends at or spans the byte at `offset`, and what kind of value it is.
pub fn value_at(json: &[u8], offset: usize) -> Option<(String, &'static str)> {
    let text = std::str::from_utf8(json).ok()?;
    let mut scanner = Scanner::new(text, Some(offset));
    // A text that breaks off later has still shown what stands at `offset`.
    let _whole = scanner.run();
    scanner.located
}

enum Frame<'a> {
    Object { keys: Keys<'a>, key: Cow<'a, str> },
    Array { index: usize },
}

/// The keys of one object seen so far.
enum Keys<'a> {
    Few(Vec<Cow<'a, str>>),
    Many(HashSet<Cow<'a, str>>),
}

impl<'a> Keys<'a> {
    /// False if it was there.
    fn insert(&mut self, key: Cow<'a, str>) -> bool {
        match self {
            Self::Few(list) if list.contains(&key) => false,
            Self::Few(list) if list.len() < COMPARED_KEYS => {
                list.push(key);
                true
            }
            Self::Few(list) => {
                let mut set: HashSet<_> = list.drain(..).collect();
                let fresh = set.insert(key);
                *self = Self::Many(set);
                fresh
            }
            Self::Many(set) => set.insert(key),
        }
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    stack: Vec<Frame<'a>>,
    found: Found,
    wanted_offset: Option<usize>,
    located: Option<(String, &'static str)>,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str, wanted_offset: Option<usize>) -> Self {
        Self { text, at: 0, stack: Vec::new(), found: Found::default(), wanted_offset, located: None }
    }

    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }
    fn unexpected(&self, wanted: &'static str) -> ScanError {
        match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(found) => ScanError::Unexpected { found, wanted },
            None => ScanError::End,
        }
    }

    fn run(&mut self) -> Result<(), ScanError> {
        loop {
            // A value stands here, or an opening bracket whose first element does.
            match self.peek() {
                Some(b'{') => {
                    self.open(Frame::Object { keys: Keys::Few(Vec::new()), key: Cow::Borrowed("") }, "object")?;
                    if self.peek() != Some(b'}') {
                        self.key("looking for beginning of object key string")?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.open(Frame::Array { index: 0 }, "array")?;
                    if self.peek() != Some(b']') {
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            if !self.close()? {
                return Ok(());
            }
        }
    }

    fn open(&mut self, frame: Frame<'a>, what: &'static str) -> Result<(), ScanError> {
        if self.stack.len() >= MAX_NESTING {
            return Err(ScanError::TooDeep);
        }
        self.at += 1;
        self.locate(what);
        self.stack.push(frame);
        Ok(())
    }

    /// After a value (or an opening bracket): closes what ends here, and says whether another value follows.
    fn close(&mut self) -> Result<bool, ScanError> {
        loop {
            let next = self.peek();
            match (self.stack.last_mut(), next) {
                (None, None) => return Ok(false),
                (None, Some(_)) => return Err(self.unexpected("after top-level value")),
                (Some(Frame::Object { .. }), Some(b'}')) | (Some(Frame::Array { .. }), Some(b']')) => {
                    self.at += 1;
                    let what = if next == Some(b'}') { "object" } else { "array" };
                    self.stack.pop();
                    self.locate(what);
                }
                (Some(Frame::Object { .. }), Some(b',')) => {
                    self.at += 1;
                    self.key("looking for beginning of object key string")?;
                    return Ok(true);
                }
                (Some(Frame::Array { index }), Some(b',')) => {
                    *index += 1;
                    self.at += 1;
                    return Ok(true);
                }
                (Some(Frame::Object { .. }), _) => return Err(self.unexpected("after object key:value pair")),
                (Some(Frame::Array { .. }), _) => return Err(self.unexpected("after array element")),
            }
        }
    }

    fn key(&mut self, wanted: &'static str) -> Result<(), ScanError> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected(wanted));
        }
        let name = self.string()?;
        if self.peek() != Some(b':') {
            return Err(self.unexpected("after object key"));
        }
        self.at += 1;
        let Some(Frame::Object { keys, key }) = self.stack.last_mut() else { return Ok(()) };
        *key = name.clone();
        if !keys.insert(name) && self.found.duplicates.len() < MAX_DUPLICATES {
            let path = self.path();
            self.found.duplicates.push(path);
        }
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), ScanError> {
        let rest = &self.text.as_bytes()[self.at.min(self.text.len())..];
        let what = match rest.first() {
            None => return Err(ScanError::End),
            Some(b'"') => {
                let text = self.string()?;
                self.note(&text);
                "string"
            }
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                "number"
            }
            Some(_) => {
                let words = [("true", "bool"), ("false", "bool"), ("null", "null")];
                let word = words.into_iter().find(|(word, _)| rest.starts_with(word.as_bytes()));
                let (word, what) = word.ok_or_else(|| self.unexpected("looking for beginning of value"))?;
                self.at += word.len();
                what
            }
        };
        self.locate(what);
        Ok(())
    }

    fn string(&mut self) -> Result<Cow<'a, str>, ScanError> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        self.at += 1;
        loop {
            match bytes.get(self.at) {
                None => return Err(ScanError::End),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(0..=0x1f) => return Err(self.unexpected("in string literal")),
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        if !escaped {
            return Ok(Cow::Borrowed(&self.text[start + 1..self.at - 1]));
        }
        let quoted = &self.text[start..self.at];
        serde_json::from_str(quoted)
            .map(Cow::Owned)
            .map_err(|_| ScanError::Unexpected { found: '\\', wanted: "in string escape code" })
    }

    /// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`
    fn number(&mut self) -> Result<(), ScanError> {
        let bytes = self.text.as_bytes();
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
        Ok(())
    }
    fn digits(&mut self) -> Result<(), ScanError> {
        let start = self.at;
        while self.text.as_bytes().get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { Err(self.unexpected("in numeric literal")) } else { Ok(()) }
    }

    fn note(&mut self, text: &str) {
        if let [Frame::Object { key, .. }] = self.stack.as_slice() {
            match key.as_ref() {
                // No known one is as long; it is told of.
                "apiVersion" => self.found.api_version = path_text(text),
                "kind" => self.found.kind = path_text(text),
                _ => {}
            }
        }
    }
    fn locate(&mut self, what: &'static str) {
        if self.located.is_none() && self.wanted_offset.is_some_and(|offset| self.at >= offset) {
            self.located = Some((self.path(), what));
        }
    }
    fn path(&self) -> String {
        path_text(Here(&self.stack))
    }
}

/// The path of the value that is being read.
struct Here<'s, 'a>(&'s [Frame<'a>]);

impl fmt::Display for Here<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, frame) in self.0.iter().enumerate() {
            match frame {
                Frame::Object { key, .. } if depth == 0 => f.write_str(key)?,
                Frame::Object { key, .. } => write!(f, ".{key}")?,
                Frame::Array { index } => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_have_paths() {
        let cases: [(&str, &[&str]); 6] = [
            (r#"{"a":1,"b":{"a":2}}"#, &[]),
            (r#"{"a":1,"a":2}"#, &["a"]),
            (r#"{"spec":{"containers":[{"image":"x"},{"image":"y","image":"z"}]}}"#, &["spec.containers[1].image"]),
            (r#"{"a\u0062":1,"ab":2}"#, &["ab"]),
            (r#"[{"x":1},{"x":1}]"#, &[]),
            (r#"{"metadata":{"name":"a","name":"b","name":"c"}}"#, &["metadata.name", "metadata.name"]),
        ];
        for (json, expected) in cases {
            assert_eq!(scan(json.as_bytes()).unwrap().duplicates, expected, "{json}");
        }
        let many: Vec<String> = (0..5000).map(|n| format!("\"k{}\":0", n % 4999)).collect();
        assert_eq!(scan(format!("{{{}}}", many.join(",")).as_bytes()).unwrap().duplicates, ["k0"]);
    }

    #[test]
    fn what_is_told_of_a_text_with_long_keys_is_short() {
        let key = "k".repeat(100_000);
        let inner: Vec<String> = (0..40).map(|_| r#""a":0"#.to_owned()).collect();
        let json = format!(r#"{{"kind":"{key}","{key}":{{{}}}}}"#, inner.join(","));
        let found = scan(json.as_bytes()).unwrap();
        assert_eq!(found.duplicates.len(), MAX_DUPLICATES);
        let expected = format!("{}...", "k".repeat(256));
        assert!(found.duplicates.iter().chain([&found.kind]).all(|text| *text == expected), "{:?}", found.kind.len());
        let (path, _) = value_at(json.as_bytes(), json.len() - 4).unwrap();
        assert_eq!(path, expected);
    }

    #[test]
    fn the_kind_is_read_from_the_top_only() {
        let found = scan(br#" { "spec":{"kind":"Inner"}, "kind" : "Pod", "apiVersion":"v1"} "#).unwrap();
        assert_eq!((found.kind.as_str(), found.api_version.as_str()), ("Pod", "v1"));
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
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (r#"{"a":1 "b":2}"#, "invalid character '\"' after object key:value pair"),
            (r#"[1,]"#, "invalid character ']' looking for beginning of value"),
            (r#"[1 2]"#, "invalid character '2' after array element"),
            (r#"{"a":tru}"#, "invalid character 't' looking for beginning of value"),
            (r#"{"a":01}"#, "invalid character '1' after object key:value pair"),
            (r#"{"a":-}"#, "invalid character '}' in numeric literal"),
            ("{\"a\":\"\n\"}", "invalid character '\\n' in string literal"),
            (r#"{"a":"\x"}"#, "invalid character '\\\\' in string escape code"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("é", "invalid character 'é' looking for beginning of value"),
            (&deep, "exceeded max depth: objects and arrays may be nested 100 deep"),
        ];
        for (json, expected) in cases {
            assert_eq!(scan(json.as_bytes()).unwrap_err().to_string(), expected, "{json}");
        }
        assert_eq!(scan(b"{\"a\":\"\xff\"}"), Err(ScanError::NotUtf8));
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
            "01",
        ] {
            let ours = scan(json.as_bytes()).is_ok();
            assert_eq!(ours, serde_json::from_str::<serde_json::Value>(json).is_ok(), "{json}");
        }
    }

    #[test]
    fn finds_what_stands_at_an_offset() {
        let json = br#"{"spec":{"replicas":"3","template":[1,{"x":true}]}}"#;
        for (offset, expected) in
            [(23, ("spec.replicas", "string")), (36, ("spec.template", "array")), (46, ("spec.template[1].x", "bool"))]
        {
            let (path, what) = value_at(json, offset).unwrap();
            assert_eq!((path.as_str(), what), expected, "{offset}");
        }
    }
}
