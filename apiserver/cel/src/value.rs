//! Values: what is in JSON is borrowed and looked into only where an expression goes.

mod compare;
mod json;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map as JsonMap, Value as Json};

use crate::error::EvalError;
use crate::opaque::Opaque;
use crate::schema::{ListKind, Property, Schema, Shape};
use crate::types::Type;

/// What an expression has as its value, or a part of it.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Arc<[u8]>),
    /// In nanoseconds.
    Duration(i64),
    Timestamp(Timestamp),
    List(List<'a>),
    Map(Map<'a>),
    Optional(Option<Arc<Value<'a>>>),
    Type(Type),
    Opaque(Opaque<'a>),
    /// Made by an expression: `Object{…}`, `JSONPatch{…}`.
    Struct(Arc<Struct<'a>>),
}

/// Text that is borrowed, or shared.
#[derive(Clone)]
pub enum Text<'a> {
    Borrowed(&'a str),
    Shared(Arc<str>),
}

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}
impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[derive(Clone, Debug)]
pub enum List<'a> {
    Json { items: &'a [Json], schema: Option<&'a Schema>, kind: &'a ListKind },
    Made { items: Arc<Vec<Value<'a>>>, kind: ListKind },
}

#[derive(Clone, Debug)]
pub enum Map<'a> {
    Json {
        object: &'a JsonMap<String, Json>,
        fields: Fields<'a>,
    },
    /// With the keys as they were given: `1u` and `1` are one key.
    Made(Arc<Entries<'a>>),
}
pub type Entries<'a> = BTreeMap<Key, (Value<'a>, Value<'a>)>;

/// What is known of a JSON object's values.
#[derive(Clone, Copy, Debug)]
pub enum Fields<'a> {
    Unknown,
    /// All alike.
    Alike(&'a Schema),
    Named(&'a BTreeMap<Arc<str>, Property>),
}

/// What may be a key. Whole numbers are one key whatever their type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Bool(bool),
    Int(i128),
    String(Arc<str>),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(n) => n.fmt(f),
            Self::String(text) => f.write_str(text),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Struct<'a> {
    pub name: Arc<str>,
    pub fields: BTreeMap<Arc<str>, Value<'a>>,
}

impl<'a> Value<'a> {
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::String(Text::Shared(text.into()))
    }
    pub fn list(items: Vec<Self>) -> Self {
        Self::List(List::Made { items: Arc::new(items), kind: ListKind::Atomic })
    }
    pub fn map(entries: Entries<'a>) -> Self {
        Self::Map(Map::Made(Arc::new(entries)))
    }
    pub(crate) fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }
    pub fn as_bool(&self) -> Result<bool, EvalError> {
        if let Self::Bool(value) = self { Ok(*value) } else { Err(EvalError::NoSuchOverload) }
    }
    pub fn as_text(&self) -> Result<&str, EvalError> {
        if let Self::String(text) = self { Ok(text) } else { Err(EvalError::NoSuchOverload) }
    }
    /// What `type(value)` is.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::Duration(_) => Type::Duration,
            Self::Timestamp(_) => Type::Timestamp,
            Self::List(_) => Type::list(Type::Dyn),
            Self::Map(_) => Type::map(Type::Dyn, Type::Dyn),
            Self::Optional(_) => Type::optional(Type::Dyn),
            Self::Type(_) => Type::Type(Arc::new(Type::Dyn)),
            Self::Opaque(opaque) => opaque.type_of(),
            Self::Struct(made) => Type::object(&made.name, []),
        }
    }
    /// What `size()` counts, which is also what cost is counted by.
    pub(crate) fn size(&self) -> Option<usize> {
        match self {
            Self::String(text) => Some(text.chars().count()),
            Self::Bytes(bytes) => Some(bytes.len()),
            Self::List(list) => Some(list.len()),
            Self::Map(map) => Some(map.len()),
            Self::Opaque(opaque) => opaque.size(),
            _ => None,
        }
    }
    /// As a key of a map.
    pub(crate) fn key(&self) -> Option<Key> {
        match self {
            Self::Bool(value) => Some(Key::Bool(*value)),
            Self::Int(value) => Some(Key::Int(i128::from(*value))),
            Self::Uint(value) => Some(Key::Int(i128::from(*value))),
            Self::Double(value) => compare::whole(*value).map(Key::Int),
            Self::String(text) => Some(Key::String(Arc::from(&**text))),
            _ => None,
        }
    }
    /// Whether it is what a value of its type is without being set.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null | Self::Optional(None) => true,
            Self::Bool(value) => !value,
            Self::Int(value) | Self::Duration(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::String(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::List(list) => list.is_empty(),
            Self::Map(map) => map.is_empty(),
            Self::Struct(made) => made.fields.is_empty(),
            Self::Timestamp(_) | Self::Optional(Some(_)) | Self::Type(_) | Self::Opaque(_) => false,
        }
    }
}

impl Struct<'_> {
    /// What objects within it are called that do not stand where their names say: `Object.spec` belongs in the field `spec`
    /// of an `Object`.
    pub fn misnamed(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        self.check_names(&self.name, &mut wrong);
        wrong
    }
    fn check_names(&self, wanted: &str, wrong: &mut Vec<String>) {
        if *self.name != *wanted {
            let name = &self.name;
            wrong.push(format!(
                "unexpected type name {name:?}, expected {wanted:?}, which matches field name path from root Object type"
            ));
        }
        for (field, value) in &self.fields {
            check_names(value, &format!("{wanted}.{field}"), wrong);
        }
    }
}

/// Lists and maps have no names of their own.
fn check_names(value: &Value<'_>, wanted: &str, wrong: &mut Vec<String>) {
    match value {
        Value::Struct(made) => made.check_names(wanted, wrong),
        Value::List(List::Made { items, .. }) => items.iter().for_each(|item| check_names(item, wanted, wrong)),
        Value::Map(Map::Made(entries)) => entries.values().for_each(|(_, value)| check_names(value, wanted, wrong)),
        _ => {}
    }
}

impl<'a> List<'a> {
    pub fn len(&self) -> usize {
        match self {
            Self::Json { items, .. } => items.len(),
            Self::Made { items, .. } => items.len(),
        }
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub fn get(&self, index: usize) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            Self::Json { items, schema: Some(schema), .. } => items.get(index).map(|item| Value::of(item, schema)),
            Self::Json { items, schema: None, .. } => items.get(index).map(|item| Ok(Value::dynamic(item))),
            Self::Made { items, .. } => items.get(index).cloned().map(Ok),
        }
    }
    pub fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, EvalError>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
    pub(crate) fn kind(&self) -> &ListKind {
        match self {
            Self::Json { kind, .. } => kind,
            Self::Made { kind, .. } => kind,
        }
    }
}

impl<'a> Map<'a> {
    pub fn len(&self) -> usize {
        match self {
            Self::Json { object, .. } => object.len(),
            Self::Made(entries) => entries.len(),
        }
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// None if there is no such key. A null field of an object counts as none.
    pub fn get(&self, key: &Value<'_>) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            Self::Made(entries) => entries.get(&key.key()?).map(|(_, value)| Ok(value.clone())),
            Self::Json { .. } => self.field(key.as_text().ok()?),
        }
    }
    pub(crate) fn field(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            Self::Made(entries) => entries.get(&Key::String(name.into())).map(|(_, value)| Ok(value.clone())),
            Self::Json { object, fields: Fields::Unknown } => object.get(name).map(|json| Ok(Value::dynamic(json))),
            Self::Json { object, fields: Fields::Alike(schema) } => {
                object.get(name).map(|json| Value::of(json, schema))
            }
            Self::Json { object, fields: Fields::Named(fields) } => {
                let property = fields.get(name)?;
                let json = object.get(&*property.name).filter(|json| !json.is_null())?;
                Some(Value::of(json, &property.schema))
            }
        }
    }
    /// Its keys, as expressions go through them.
    pub fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Self::Made(entries) => entries.values().map(|(key, _)| key.clone()).collect(),
            Self::Json { object, fields: Fields::Named(fields) } => {
                let present = fields.iter().filter(|(_, property)| object.contains_key(&*property.name));
                present.map(|(field, _)| Value::String(Text::Shared(field.clone()))).collect()
            }
            Self::Json { object, .. } => object.keys().map(|key| Value::String(Text::Borrowed(key))).collect(),
        }
    }
}

pub(crate) fn map_of<'a>(object: &'a JsonMap<String, Json>, schema: &'a Schema) -> Option<Map<'a>> {
    let fields = match &schema.shape {
        Shape::Object(fields) => Fields::Named(fields),
        Shape::Map(values) => Fields::Alike(values),
        _ => return None,
    };
    Some(Map::Json { object, fields })
}
