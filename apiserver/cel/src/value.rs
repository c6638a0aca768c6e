//! Values: what is in JSON is borrowed and looked into only where an expression goes.

mod compare;
mod json;
mod shown;

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map as JsonMap, Value as Json};

use crate::error::EvalError;
use crate::limits::Run;
use crate::opaque::Opaque;
use crate::schema::{ListKind, Property, Schema, Shape};
use crate::types::Type;
pub(crate) use shown::{brief, shown};

/// No value that an expression makes is nested deeper, so that whatever walks one by recursion has a bound.
const DEPTH_MAX: u16 = 200;

/// What an expression has as its value, or a part of it. Parts may be shared, so that a value can be far larger as a tree
/// than it is in memory: whatever goes through one counts its steps.
#[derive(Clone)]
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
impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
impl Eq for Text<'_> {}
impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Text<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

#[derive(Clone)]
pub enum List<'a> {
    Json { items: &'a [Json], schema: Option<&'a Schema>, kind: &'a ListKind },
    Made { items: Arc<Vec<Value<'a>>>, kind: ListKind, inside: Inside },
}

#[derive(Clone)]
pub enum Map<'a> {
    Json {
        object: &'a JsonMap<String, Json>,
        fields: Fields<'a>,
    },
    /// With the keys as they were given: `1u` and `1` are one key.
    Made {
        entries: Arc<Entries<'a>>,
        inside: Inside,
    },
}
pub type Entries<'a> = BTreeMap<Key<'a>, (Value<'a>, Value<'a>)>;

/// What is known of the parts of a value that an expression made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inside {
    /// How deep they are nested.
    pub(crate) depth: u16,
    /// Then the value does not equal itself.
    pub(crate) has_nan: bool,
}

impl Inside {
    fn of<'v, 'a: 'v>(parts: impl Iterator<Item = &'v Value<'a>>) -> Self {
        parts.fold(Self { depth: 1, has_nan: false }, Self::with)
    }
    /// With one more part.
    pub(crate) fn with(self, part: &Value<'_>) -> Self {
        let part = part.inside();
        self.and(Self { depth: part.depth.saturating_add(1), ..part })
    }
    pub(crate) fn and(self, other: Self) -> Self {
        Self { depth: self.depth.max(other.depth), has_nan: self.has_nan || other.has_nan }
    }
}

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
pub enum Key<'a> {
    Bool(bool),
    Int(i128),
    String(Text<'a>),
}

/// A key that is looked for: its text may be gone sooner than the map's.
trait Sought {
    fn key(&self) -> &Key<'_>;
}
impl Sought for Key<'_> {
    fn key(&self) -> &Key<'_> {
        self
    }
}
impl<'k, 'a: 'k> Borrow<dyn Sought + 'k> for Key<'a> {
    fn borrow(&self) -> &(dyn Sought + 'k) {
        self
    }
}
impl PartialEq for dyn Sought + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for dyn Sought + '_ {}
impl PartialOrd for dyn Sought + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for dyn Sought + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(n) => n.fmt(f),
            Self::String(text) => f.write_str(text),
        }
    }
}

pub struct Struct<'a> {
    pub name: Arc<str>,
    pub fields: BTreeMap<Arc<str>, Value<'a>>,
    inside: Inside,
}

impl<'a> Value<'a> {
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::String(Text::Shared(text.into()))
    }
    /// A copy of text that an expression made.
    pub(crate) fn copied(text: &str, run: &mut Run<'_>) -> Result<Self, EvalError> {
        run.allocate(text.len())?;
        Ok(Self::text(text))
    }
    pub fn list(items: Vec<Self>) -> Self {
        let inside = Inside::of(items.iter());
        Self::List(List::Made { items: Arc::new(items), kind: ListKind::Atomic, inside })
    }
    pub fn map(entries: Entries<'a>) -> Self {
        let inside = Inside::of(entries.values().map(|(_, value)| value));
        Self::Map(Map::Made { entries: Arc::new(entries), inside })
    }
    pub(crate) fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }
    fn inside(&self) -> Inside {
        match self {
            Self::Double(n) => Inside { depth: 0, has_nan: n.is_nan() },
            Self::List(List::Made { inside, .. }) | Self::Map(Map::Made { inside, .. }) => *inside,
            Self::Struct(made) => made.inside,
            Self::Optional(Some(inner)) => Inside::default().with(inner),
            _ => Inside::default(),
        }
    }
    /// After a value was put into another one.
    pub(crate) fn not_too_deep(self) -> Result<Self, EvalError> {
        if self.inside().depth > DEPTH_MAX {
            return Err(EvalError::function(format!("value is nested more than {DEPTH_MAX} levels deep")));
        }
        Ok(self)
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
    /// How much text it has itself.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::String(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Opaque(opaque) => opaque.bytes(),
            _ => 0,
        }
    }
    /// As a key of a map.
    pub(crate) fn key(&self) -> Option<Key<'a>> {
        match self {
            Self::Bool(value) => Some(Key::Bool(*value)),
            Self::Int(value) => Some(Key::Int(i128::from(*value))),
            Self::Uint(value) => Some(Key::Int(i128::from(*value))),
            Self::Double(value) => compare::whole(*value).map(Key::Int),
            Self::String(text) => Some(Key::String(text.clone())),
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

impl<'a> Struct<'a> {
    pub(crate) fn new(name: Arc<str>, fields: BTreeMap<Arc<str>, Value<'a>>) -> Self {
        let inside = Inside::of(fields.values());
        Self { name, fields, inside }
    }
    /// What objects within it are called that do not stand where their names say: `Object.spec` belongs in the field `spec`
    /// of an `Object`. So many at most that somebody can read them.
    pub fn misnamed(&self) -> Result<Vec<String>, EvalError> {
        let mut check = NameCheck { run: Run::outside(), wrong: Vec::new() };
        check.object(self, &self.name)?;
        Ok(check.wrong)
    }
}

/// More are not told.
const MISNAMED_MAX: usize = 100;

struct NameCheck {
    run: Run<'static>,
    wrong: Vec<String>,
}

impl NameCheck {
    fn object(&mut self, made: &Struct<'_>, wanted: &str) -> Result<(), EvalError> {
        if *made.name != *wanted && self.wrong.len() < MISNAMED_MAX {
            let name = &made.name;
            self.wrong.push(format!(
                "unexpected type name {name:?}, expected {wanted:?}, which matches field name path from root Object type"
            ));
        }
        for (field, value) in &made.fields {
            self.value(value, &format!("{wanted}.{field}"))?;
        }
        Ok(())
    }
    /// Lists and maps have no names of their own.
    fn value(&mut self, value: &Value<'_>, wanted: &str) -> Result<(), EvalError> {
        self.run.step()?;
        match value {
            Value::Struct(made) => self.object(made, wanted),
            Value::List(List::Made { items, .. }) => items.iter().try_for_each(|item| self.value(item, wanted)),
            Value::Map(Map::Made { entries, .. }) => {
                entries.values().try_for_each(|(_, value)| self.value(value, wanted))
            }
            _ => Ok(()),
        }
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
    /// None if there are no so many.
    pub(crate) fn item(&self, index: usize, run: &mut Run<'_>) -> Result<Option<Value<'a>>, EvalError> {
        run.step()?;
        match self {
            Self::Json { items, schema: Some(schema), .. } => {
                items.get(index).map(|item| Value::read(item, schema, run)).transpose()
            }
            Self::Json { items, schema: None, .. } => Ok(items.get(index).map(Value::dynamic)),
            Self::Made { items, .. } => Ok(items.get(index).cloned()),
        }
    }
    /// One after the other.
    pub(crate) fn items(&self) -> Items<'_, 'a> {
        Items { list: self, next: 0 }
    }
    pub(crate) fn kind(&self) -> &ListKind {
        match self {
            Self::Json { kind, .. } => kind,
            Self::Made { kind, .. } => kind,
        }
    }
}

/// Goes through a list, and counts its steps. After an error it may go on.
pub(crate) struct Items<'l, 'a> {
    list: &'l List<'a>,
    next: usize,
}

impl<'a> Items<'_, 'a> {
    pub(crate) fn next(&mut self, run: &mut Run<'_>) -> Result<Option<Value<'a>>, EvalError> {
        self.next += 1;
        self.list.item(self.next - 1, run)
    }
}

impl<'a> Map<'a> {
    pub fn len(&self) -> usize {
        match self {
            Self::Json { object, .. } => object.len(),
            Self::Made { entries, .. } => entries.len(),
        }
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// None if there is no such key. A null field of an object counts as none.
    pub(crate) fn get(&self, key: &Value<'_>, run: &mut Run<'_>) -> Result<Option<Value<'a>>, EvalError> {
        match (self, key) {
            (_, Value::String(name)) => self.field(name, run),
            (Self::Made { entries, .. }, _) => {
                run.step()?;
                Ok(key.key().and_then(|key| found(entries, &key)))
            }
            (Self::Json { .. }, _) => Ok(None),
        }
    }
    pub(crate) fn field(&self, name: &str, run: &mut Run<'_>) -> Result<Option<Value<'a>>, EvalError> {
        run.step()?;
        run.scan(name.len())?;
        match self {
            Self::Made { entries, .. } => Ok(found(entries, &Key::String(Text::Borrowed(name)))),
            Self::Json { object, fields: Fields::Unknown } => Ok(object.get(name).map(Value::dynamic)),
            Self::Json { object, fields: Fields::Alike(schema) } => {
                object.get(name).map(|json| Value::read(json, schema, run)).transpose()
            }
            Self::Json { object, fields: Fields::Named(fields) } => match fields.get(name) {
                Some(property) => property.of(object, run),
                None => Ok(None),
            },
        }
    }
    /// Its keys, as expressions go through them.
    pub(crate) fn keys(&self, run: &mut Run<'_>) -> Result<Vec<Value<'a>>, EvalError> {
        run.steps(self.len())?;
        run.allocate(self.len() * size_of::<Value<'_>>())?;
        Ok(match self {
            Self::Made { entries, .. } => entries.values().map(|(key, _)| key.clone()).collect(),
            Self::Json { object, fields: Fields::Named(fields) } => {
                let present = fields.iter().filter(|(_, property)| object.contains_key(&*property.name));
                present.map(|(field, _)| Value::String(Text::Shared(field.clone()))).collect()
            }
            Self::Json { object, .. } => object.keys().map(|key| Value::String(Text::Borrowed(key))).collect(),
        })
    }
}

fn found<'a>(entries: &Entries<'a>, key: &Key<'_>) -> Option<Value<'a>> {
    let key: &dyn Sought = key;
    entries.get(key).map(|(_, value)| value.clone())
}

impl Property {
    /// Of an object. Null is as if it were not there.
    fn of<'a>(&'a self, object: &'a JsonMap<String, Json>, run: &mut Run<'_>) -> Result<Option<Value<'a>>, EvalError> {
        let json = object.get(&*self.name).filter(|json| !json.is_null());
        json.map(|json| Value::read(json, &self.schema, run)).transpose()
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
