//! Values in messages: as expressions write them, and only so much of them as somebody reads.

use std::borrow::Cow;
use std::fmt;

use super::{Fields, List, Map, Struct, Value};
use crate::escape::quoted;
use crate::limits::Run;

/// Of a value or text in a message, in bytes.
const SHOWN_MAX: usize = 1024;

/// The text, or its beginning.
pub(crate) fn brief(text: &str) -> Cow<'_, str> {
    if text.len() <= SHOWN_MAX {
        return Cow::Borrowed(text);
    }
    let end = (0..=SHOWN_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    Cow::Owned(format!("{}…", &text[..end]))
}

/// The value as an expression would have it, or its beginning.
pub(crate) fn shown(value: &Value<'_>) -> String {
    let mut writer = Writer { out: String::new(), run: Run::outside() };
    if writer.value(value).is_err() {
        writer.out.push('…');
    }
    writer.out
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self))
    }
}

/// There is enough.
struct Full;

struct Writer {
    out: String,
    run: Run<'static>,
}

impl Writer {
    fn push(&mut self, text: &str) -> Result<(), Full> {
        if self.out.len() + text.len() > SHOWN_MAX {
            let left = SHOWN_MAX - self.out.len();
            let end = (0..=left).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            self.out.push_str(&text[..end]);
            return Err(Full);
        }
        self.out.push_str(text);
        Ok(())
    }
    fn value(&mut self, value: &Value<'_>) -> Result<(), Full> {
        match value {
            Value::Null => self.push("null"),
            Value::Bool(value) => self.push(if *value { "true" } else { "false" }),
            Value::Int(n) => self.push(&n.to_string()),
            Value::Uint(n) => self.push(&format!("{n}u")),
            Value::Double(n) => self.push(&double(*n)),
            Value::String(text) => self.push(&quoted(&brief(text))),
            Value::Bytes(bytes) => {
                let octets = bytes.iter().take(SHOWN_MAX).map(|byte| format!("\\{byte:03o}"));
                self.push(&format!("b\"{}\"", octets.collect::<String>()))
            }
            Value::Duration(nanos) => self.push(&format!("duration(\"{}\")", crate::time::duration_text(*nanos))),
            Value::Timestamp(at) => self.push(&format!("timestamp(\"{at}\")")),
            Value::List(list) => self.list(list),
            Value::Map(map) => self.map(map),
            Value::Optional(None) => self.push("optional.none()"),
            Value::Optional(Some(inner)) => {
                self.push("optional.of(")?;
                self.value(inner)?;
                self.push(")")
            }
            Value::Type(of) => self.push(of.name()),
            Value::Opaque(opaque) => match opaque.text() {
                Some(text) => self.push(&text),
                None => self.push(opaque.type_of().name()),
            },
            Value::Struct(made) => self.object(made),
        }
    }
    fn list(&mut self, list: &List<'_>) -> Result<(), Full> {
        self.push("[")?;
        for index in 0..list.len() {
            if index > 0 {
                self.push(", ")?;
            }
            let item = list.item(index, &mut self.run);
            self.part(item)?;
        }
        self.push("]")
    }
    fn map(&mut self, map: &Map<'_>) -> Result<(), Full> {
        self.push("{")?;
        match map {
            Map::Made { entries, .. } => {
                for (index, (key, value)) in entries.values().enumerate() {
                    self.entry(index, key)?;
                    self.value(value)?;
                }
            }
            Map::Json { object, fields } => {
                for (index, name) in object.keys().enumerate() {
                    self.entry(index, &Value::String(super::Text::Borrowed(name)))?;
                    let value = match fields {
                        Fields::Named(_) => Ok(object.get(name).map(Value::dynamic)),
                        Fields::Unknown | Fields::Alike(_) => map.field(name, &mut self.run),
                    };
                    self.part(value)?;
                }
            }
        }
        self.push("}")
    }
    fn entry(&mut self, index: usize, key: &Value<'_>) -> Result<(), Full> {
        if index > 0 {
            self.push(", ")?;
        }
        self.value(key)?;
        self.push(": ")
    }
    fn object(&mut self, made: &Struct<'_>) -> Result<(), Full> {
        self.push(&brief(&made.name))?;
        self.push("{")?;
        for (index, (field, value)) in made.fields.iter().enumerate() {
            self.push(if index > 0 { ", " } else { "" })?;
            self.push(field)?;
            self.push(": ")?;
            self.value(value)?;
        }
        self.push("}")
    }
    /// What cannot be read is shown by why.
    fn part(&mut self, part: Result<Option<Value<'_>>, crate::error::EvalError>) -> Result<(), Full> {
        match part {
            Ok(Some(value)) => self.value(&value),
            Ok(None) => Ok(()),
            Err(e) => self.push(&e.to_string()),
        }
    }
}

fn double(n: f64) -> String {
    match n {
        n if n.is_nan() => "double(\"NaN\")".into(),
        f64::INFINITY => "double(\"Infinity\")".into(),
        f64::NEG_INFINITY => "double(\"-Infinity\")".into(),
        n if n.fract() == 0.0 => format!("{n:.1}"),
        n => format!("{n}"),
    }
}
