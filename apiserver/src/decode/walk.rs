//! One pass over a body's text along its type: what stands there becomes what a Go server would keep of it.
//!
//! - A field whose zero is the same as its absence (no pointer) goes when it is zero, as do empty lists and maps, and
//!   `null` goes wherever a type stands. So an object is the same whoever wrote it, in whichever format.
//! - Fields that Go always writes (numbers, flags and texts without `omitempty`, and a kind's status) are put in where their
//!   struct is there.
//! - A value of another type than its field's is a fault, told of in upstream's words; the text is read to its end first.
//! - Fields that the type does not have are told of and go; of one that stands twice the last counts.
//! - Each item of a list, and each entry of a map, is paid for by its size before it is read. A body of 3 MiB can name a
//!   million empty containers, and a container takes over a kilobyte.

mod base64;
mod scalar;
mod schema;
#[cfg(test)]
mod tests;
mod time;

use std::borrow::Cow;

use super::findings::{Findings, Keys, Seen};
use super::path::Path;
use super::text::{ENTRY_BYTES, OBJECT_BYTES, SPARE, SyntaxError, Text, unquoted};
use super::value::Budget;
use super::{DecodeError, path_text};
use crate::schema::{Field, Node, Scalar, Shape, Struct, Zero};

/// Go's zero time, which is how upstream reads a time that is not there.
const ZERO_TIME: &str = "\"0001-01-01T00:00:00Z\"";

/// What was found of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing, and nothing was written: `null`, or a fault.
    Nothing,
    /// The zero of its type, which was written.
    Zero,
    Value,
}

impl Outcome {
    fn zero_if(is_zero: bool) -> Self {
        if is_zero { Self::Zero } else { Self::Value }
    }
}

/// The first thing that is no value of its field's type.
#[derive(Debug)]
struct Fault {
    words: String,
    /// Of a type that reads itself, which is where Go stops: nothing after it counts.
    is_last: bool,
}

/// What a whole text gave.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// Compact JSON, but for values that have no type.
    pub(super) json: String,
    pub(super) findings: Vec<String>,
    pub(super) fault: Option<String>,
    /// Something is not as the typed object would write it.
    pub(super) changed: bool,
    /// At the top; empty if absent.
    pub(super) api_version: String,
    pub(super) kind: String,
}

pub(super) struct Walk<'t> {
    text: Text<'t>,
    out: String,
    budget: Budget,
    findings: Findings,
    fault: Option<Fault>,
    changed: bool,
    api_version: String,
    kind: String,
}

/// Reads a whole text that is to be of the type `of`.
pub(super) fn walk(of: Shape<'_>, json: &[u8]) -> Result<Walked, DecodeError> {
    // Where there is nothing, there is an object without fields.
    let text = Text::new(if json.trim_ascii() == b"null" { b"{}" } else { json })?;
    let mut walk = Walk {
        out: String::with_capacity(text.len()),
        text,
        budget: Budget::default(),
        findings: Findings::default(),
        fault: None,
        changed: false,
        api_version: String::new(),
        kind: String::new(),
    };
    if walk.value(of, &Path::Root)? == Outcome::Nothing {
        walk.zero(of);
    }
    walk.text.end()?;
    let Walk { out, findings, fault, changed, api_version, kind, .. } = walk;
    let (findings, fault) = (findings.into_vec(), fault.map(|fault| fault.words));
    let changed = changed || !findings.is_empty();
    Ok(Walked { json: out, findings, fault, changed, api_version, kind })
}

impl<'t> Walk<'t> {
    fn value(&mut self, of: Shape<'_>, path: &Path<'_>) -> Result<Outcome, DecodeError> {
        let next = self.text.upcoming()?;
        match (of.node(), next) {
            (_, b'n') => self.null(),
            (Node::Struct(known), b'{') => self.fields(of, known, path),
            (Node::Map(_), b'{') => self.entries(of, path),
            (Node::List(_), b'[') => self.items(of, path),
            (Node::Scalar(Scalar::ExtraValue), b'[') => self.texts(path),
            (Node::Scalar(scalar), _) => self.scalar(*scalar, next, path),
            (Node::Any, _) => self.untyped(),
            (Node::Struct(_) | Node::Map(_) | Node::List(_), _) => self.wrong(next, &go_type(of), path),
        }
    }

    fn null(&mut self) -> Result<Outcome, DecodeError> {
        self.text.word()?;
        self.changed = true;
        Ok(Outcome::Nothing)
    }

    fn fields(&mut self, of: Shape<'_>, known: &Struct, path: &Path<'_>) -> Result<Outcome, DecodeError> {
        self.text.open()?;
        let start = self.out.len();
        self.out.push('{');
        let (mut seen, mut written, mut first) = (Seen::default(), Seen::default(), true);
        // Of a struct that takes fields that it does not know.
        let mut others = Keys::default();
        let status = status_of(of, known, path);
        while self.text.more(b'}', &mut first)? {
            let key = unquoted(self.text.key()?);
            let Some(at) = known.position(&key) else {
                if known.open {
                    self.kept(key, start, &mut others, path)?;
                    continue;
                }
                self.findings.unknown(&Path::Key(path, &key));
                self.text.skip()?;
                continue;
            };
            let field = &known.fields()[at];
            let path = Path::Field(path, known, &field.name);
            let is_again = !seen.insert(at);
            if is_again {
                self.findings.duplicate(&path);
            }
            let before = self.out.len();
            self.name(field, start);
            let value_at = self.out.len();
            let outcome = self.value(of.of(field), &path)?;
            let is_kept = outcome == Outcome::Value || (outcome == Outcome::Zero && field.zero == Zero::Distinct);
            if is_kept {
                written.insert(at);
                self.note_type(&path, value_at);
                continue;
            }
            let is_filled = known.fills(at) || status == Some(at);
            // What is required is written whatever it is.
            self.changed |= !(field.required || is_filled);
            if is_again && written.contains(at) {
                // The one before it has been written, and must not count.
                self.out.truncate(value_at);
                self.out.push_str(if is_filled { zero_text(of.of(field)) } else { "null" });
            } else {
                self.out.truncate(before);
            }
        }
        let is_zero = self.out.len() == start + 1;
        for at in known.filled().chain(status) {
            if written.insert(at) {
                self.changed |= !seen.contains(at);
                let field = &known.fields()[at];
                self.name(field, start);
                self.zero(of.of(field));
            }
        }
        self.out.push('}');
        Ok(Outcome::zero_if(is_zero))
    }
    /// A field that is not known stays as it is written, but for what stands twice, which is told of.
    fn kept(
        &mut self,
        key: Cow<'t, str>,
        start: usize,
        others: &mut Keys<'t>,
        path: &Path<'_>,
    ) -> Result<(), DecodeError> {
        let path = Path::Key(path, &key);
        if !others.insert(key.clone()) {
            self.findings.duplicate(&path);
        }
        if self.out.len() > start + 1 {
            self.out.push(',');
        }
        // A text is always JSON.
        self.out.push_str(&serde_json::to_string(&key)?);
        self.out.push(':');
        self.text.upcoming()?;
        let from = self.text.at();
        let held = self.text.skip()?;
        self.budget.take(held)?;
        let value = self.text.since(from);
        note_duplicates(&mut Text::new(value.as_bytes())?, &mut self.findings, &path)?;
        self.out.push_str(value);
        Ok(())
    }
    /// Writes a field's name, in an object that began at `start`.
    fn name(&mut self, field: &Field, start: usize) {
        if self.out.len() > start + 1 {
            self.out.push(',');
        }
        self.out.push('"');
        self.out.push_str(&field.name);
        self.out.push_str("\":");
    }
    /// Keeps what the object says of itself.
    fn note_type(&mut self, path: &Path<'_>, value_at: usize) {
        let Path::Field(Path::Root, _, name) = path else { return };
        let into = match *name {
            "apiVersion" => &mut self.api_version,
            "kind" => &mut self.kind,
            _ => return,
        };
        // No known one is as long; it is told of.
        *into = path_text(unquoted(self.out.get(value_at..).unwrap_or_default()));
    }

    fn entries(&mut self, of: Shape<'_>, path: &Path<'_>) -> Result<Outcome, DecodeError> {
        let Some(values) = of.element() else { return self.skipped() };
        self.text.open()?;
        self.out.push('{');
        let (mut keys, mut first, mut is_empty) = (Keys::default(), true, true);
        let (entry, spare) = (size_of::<String>() + values.held_bytes(), SPARE * values.held_bytes());
        while self.text.more(b'}', &mut first)? {
            let quoted = self.text.key()?;
            let key = unquoted(quoted);
            // The smallest node of a map has room for eleven, used or not.
            self.budget.take(if is_empty { OBJECT_BYTES / ENTRY_BYTES * entry } else { spare } + quoted.len())?;
            let path = Path::Key(path, &key);
            if !keys.insert(key.clone()) {
                self.findings.duplicate(&path);
            }
            if !std::mem::take(&mut is_empty) {
                self.out.push(',');
            }
            self.out.push_str(quoted);
            self.out.push(':');
            if self.value(values, &path)? == Outcome::Nothing {
                self.zero(values);
            }
        }
        self.out.push('}');
        Ok(Outcome::zero_if(is_empty))
    }

    fn items(&mut self, of: Shape<'_>, path: &Path<'_>) -> Result<Outcome, DecodeError> {
        let Some(items) = of.element() else { return self.skipped() };
        let count = self.list(path, items.held_bytes(), |walk, path| {
            if walk.value(items, path)? == Outcome::Nothing {
                walk.zero(items);
            }
            Ok(())
        })?;
        Ok(Outcome::zero_if(count == 0))
    }
    fn texts(&mut self, path: &Path<'_>) -> Result<Outcome, DecodeError> {
        let count = self.list(path, size_of::<String>(), |walk, path| {
            let next = walk.text.upcoming()?;
            let is_nothing = match next {
                b'n' => walk.null()? == Outcome::Nothing,
                _ => walk.scalar(Scalar::String, next, path)? == Outcome::Nothing,
            };
            if is_nothing {
                walk.out.push_str("\"\"");
            }
            Ok(())
        })?;
        Ok(Outcome::zero_if(count == 0))
    }
    fn list(
        &mut self,
        path: &Path<'_>,
        item_bytes: usize,
        mut item: impl FnMut(&mut Self, &Path<'_>) -> Result<(), DecodeError>,
    ) -> Result<usize, DecodeError> {
        self.text.open()?;
        self.out.push('[');
        let (mut index, mut first) = (0, true);
        while self.text.more(b']', &mut first)? {
            self.budget.take(item_bytes)?;
            if index > 0 {
                self.out.push(',');
            }
            item(self, &Path::Index(path, index))?;
            index += 1;
        }
        self.out.push(']');
        Ok(index)
    }

    /// A value without a type stays as it is written.
    fn untyped(&mut self) -> Result<Outcome, DecodeError> {
        let start = self.text.at();
        let held = self.text.skip()?;
        self.budget.take(held)?;
        self.out.push_str(self.text.since(start));
        Ok(Outcome::Value)
    }
    fn skipped(&mut self) -> Result<Outcome, DecodeError> {
        self.text.skip()?;
        Ok(Outcome::Nothing)
    }

    /// Writes what stands for nothing in a list or map.
    fn zero(&mut self, of: Shape<'_>) {
        let Some(known) = of.as_struct() else { return self.out.push_str(zero_text(of)) };
        let start = self.out.len();
        self.out.push('{');
        for at in known.filled() {
            let field = &known.fields()[at];
            self.name(field, start);
            self.out.push_str(zero_text(of.of(field)));
        }
        self.out.push('}');
    }

    /// Past a value, beginning with `next`, that is not of its type.
    fn wrong(&mut self, next: u8, go_type: &str, path: &Path<'_>) -> Result<Outcome, DecodeError> {
        self.text.skip()?;
        self.mismatch(json_type(next), go_type, path, false);
        Ok(Outcome::Nothing)
    }
    /// `found`: what Go calls it, `number 1.5`.
    fn mismatch(&mut self, found: &str, go_type: &str, path: &Path<'_>, is_last: bool) {
        if self.fault.is_none() || is_last {
            let found = path_text(found);
            let place = path_text(path.in_go());
            self.fault(format!("json: cannot unmarshal {found} into Go {place} of type {go_type}"), is_last);
        }
    }
    fn fault(&mut self, words: String, is_last: bool) {
        if self.fault.as_ref().is_none_or(|fault| is_last && !fault.is_last) {
            self.fault = Some(Fault { words, is_last });
        }
    }
}

/// Where the status of a kind stands among its fields: clients look into it without asking whether it is there, since Go
/// always writes it.
fn status_of(of: Shape<'_>, known: &Struct, path: &Path<'_>) -> Option<usize> {
    let at = if let Path::Root = path { known.position("status")? } else { return None };
    let field = &known.fields()[at];
    (field.zero == Zero::Written && of.of(field).as_struct().is_some()).then_some(at)
}

fn zero_text(of: Shape<'_>) -> &'static str {
    match of.node() {
        Node::Struct(_) | Node::Map(_) => "{}",
        Node::List(_) => "[]",
        Node::Any => "null",
        Node::Scalar(scalar) => match scalar {
            Scalar::String | Scalar::Bytes => "\"\"",
            Scalar::Bool => "false",
            Scalar::Int32 | Scalar::Int64 | Scalar::Float64 | Scalar::IntOrString => "0",
            Scalar::Time | Scalar::MicroTime => ZERO_TIME,
            Scalar::Quantity => "\"0\"",
            Scalar::ExtraValue => "[]",
            Scalar::RawExtension | Scalar::FieldsV1 | Scalar::SchemaOr(_) => "null",
        },
    }
}

/// What Go's decoder calls a value that begins so.
fn json_type(first: u8) -> &'static str {
    match first {
        b'{' => "object",
        b'[' => "array",
        b'"' => "string",
        b't' | b'f' => "bool",
        _ => "number",
    }
}

/// What Go calls a type: `v1.PodSpec`, `[]v1.Container`, `map[string]string`.
fn go_type(of: Shape<'_>) -> String {
    let element = || of.element().map(go_type).unwrap_or_default();
    match of.node() {
        Node::Struct(known) => {
            let package_at = known.name.rmatch_indices('.').nth(1).map_or(0, |(at, _)| at + 1);
            known.name[package_at..].to_owned()
        }
        Node::Map(_) => format!("map[string]{}", element()),
        Node::List(_) => format!("[]{}", element()),
        Node::Scalar(scalar) => scalar::go_type(*scalar).to_owned(),
        Node::Any => "interface {}".into(),
    }
}

/// The paths of keys that stand twice in a text without a type, which is well formed.
pub(super) fn duplicates(json: &[u8]) -> Result<Vec<String>, SyntaxError> {
    let (mut text, mut findings) = (Text::new(json)?, Findings::default());
    note_duplicates(&mut text, &mut findings, &Path::Root)?;
    text.end()?;
    Ok(findings.into_vec())
}

fn note_duplicates(text: &mut Text<'_>, findings: &mut Findings, path: &Path<'_>) -> Result<(), SyntaxError> {
    let mut first = true;
    match text.upcoming()? {
        b'{' => {
            let mut keys = Keys::default();
            text.open()?;
            while text.more(b'}', &mut first)? {
                let key = unquoted(text.key()?);
                let path = Path::Key(path, &key);
                if !keys.insert(key.clone()) {
                    findings.duplicate(&path);
                }
                note_duplicates(text, findings, &path)?;
            }
        }
        b'[' => {
            let mut index = 0;
            text.open()?;
            while text.more(b']', &mut first)? {
                note_duplicates(text, findings, &Path::Index(path, index))?;
                index += 1;
            }
        }
        _ => {
            text.skip()?;
        }
    }
    Ok(())
}
