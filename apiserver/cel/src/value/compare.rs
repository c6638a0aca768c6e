//! When values are equal, and which is less: numbers by what they are, whatever their types.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map as JsonMap, Value as Json};

use super::{Fields, Key, List, Map, Struct, Value, shown};
use crate::error::EvalError;
use crate::escape::escape;
use crate::limits::Run;
use crate::schema::{ListKind, Property};

/// A double that is a whole number within 64 bits.
pub(super) fn whole(value: f64) -> Option<i128> {
    (value.fract() == 0.0 && value.abs() <= 18_446_744_073_709_551_616.0).then_some(value as i128)
}

#[derive(Clone, Copy)]
enum Number {
    Int(i64),
    Uint(u64),
    Double(f64),
}

fn number(value: &Value<'_>) -> Option<Number> {
    match value {
        Value::Int(n) => Some(Number::Int(*n)),
        Value::Uint(n) => Some(Number::Uint(*n)),
        Value::Double(n) => Some(Number::Double(*n)),
        _ => None,
    }
}

/// None if one is no number. Of an int and a double upstream compares doubles, unless the double is beyond all ints.
fn compare_numbers(a: Number, b: Number) -> Option<Ordering> {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
        (Number::Uint(a), Number::Uint(b)) => Some(a.cmp(&b)),
        (Number::Int(a), Number::Uint(b)) => Some(i128::from(a).cmp(&i128::from(b))),
        (Number::Double(a), Number::Double(b)) => a.partial_cmp(&b),
        (Number::Int(a), Number::Double(b)) => (a as f64).partial_cmp(&b),
        (Number::Uint(a), Number::Double(b)) => (a as f64).partial_cmp(&b),
        (a, b) => compare_numbers(b, a).map(Ordering::reverse),
    }
}

/// Text that is the same in memory is not gone through.
fn bytes_equal(a: &[u8], b: &[u8], run: &mut Run<'_>) -> Result<bool, EvalError> {
    if a.len() != b.len() || a.as_ptr() == b.as_ptr() {
        return Ok(a.len() == b.len());
    }
    run.scan(a.len())?;
    Ok(a == b)
}

impl<'a> Value<'a> {
    /// As `==` has it. What cannot be read (data that is not as its schema says) is an error.
    pub(crate) fn equals(&self, other: &Value<'a>, run: &mut Run<'_>) -> Result<bool, EvalError> {
        run.step()?;
        if let (Some(a), Some(b)) = (number(self), number(other)) {
            return Ok(compare_numbers(a, b) == Some(Ordering::Equal));
        }
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::String(a), Self::String(b)) => bytes_equal(a.as_bytes(), b.as_bytes(), run)?,
            (Self::Bytes(a), Self::Bytes(b)) => bytes_equal(a, b, run)?,
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::Type(a), Self::Type(b)) => a.name() == b.name(),
            (Self::Opaque(a), Self::Opaque(b)) => {
                run.scan(a.bytes())?;
                a.equals(b)
            }
            (Self::Optional(None), Self::Optional(None)) => true,
            (Self::Optional(Some(a)), Self::Optional(Some(b))) => a.equals(b, run)?,
            (Self::List(a), Self::List(b)) => lists_equal(a, b, run)?,
            (Self::Map(a), Self::Map(b)) => maps_equal(a, b, run)?,
            (Self::Struct(a), Self::Struct(b)) => structs_equal(a, b, run)?,
            _ => false,
        })
    }
    /// As `<` has it.
    pub(crate) fn compare(&self, other: &Value<'_>, run: &mut Run<'_>) -> Result<Ordering, EvalError> {
        run.step()?;
        if let (Some(a), Some(b)) = (number(self), number(other)) {
            return compare_numbers(a, b).ok_or_else(|| EvalError::function("NaN values cannot be ordered"));
        }
        Ok(match (self, other) {
            (Self::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Self::String(a), Value::String(b)) => {
                run.scan(a.len().min(b.len()))?;
                (**a).cmp(&**b)
            }
            (Self::Bytes(a), Value::Bytes(b)) => {
                run.scan(a.len().min(b.len()))?;
                a.cmp(b)
            }
            (Self::Duration(a), Value::Duration(b)) => a.cmp(b),
            (Self::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
            _ => return Err(EvalError::NoSuchOverload),
        })
    }
    pub(crate) fn is_in(&self, list: &List<'a>, run: &mut Run<'_>) -> Result<bool, EvalError> {
        let mut failed = None;
        for index in 0..list.len() {
            let item = list.item(index, run);
            match item.and_then(|item| item.map_or(Ok(false), |item| item.equals(self, run))) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(e) if e.is_cancellation() => return Err(e),
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        failed.map_or(Ok(false), Err)
    }
}

fn structs_equal<'a>(a: &Arc<Struct<'a>>, b: &Arc<Struct<'a>>, run: &mut Run<'_>) -> Result<bool, EvalError> {
    if Arc::ptr_eq(a, b) && !a.inside.has_nan {
        return Ok(true);
    }
    if a.name != b.name || a.fields.len() != b.fields.len() {
        return Ok(false);
    }
    for (name, value) in &a.fields {
        let Some(other) = b.fields.get(name) else { return Ok(false) };
        if !value.equals(other, run)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The left one says whether order counts.
fn lists_equal<'a>(a: &List<'a>, b: &List<'a>, run: &mut Run<'_>) -> Result<bool, EvalError> {
    if let (List::Made { items: a, inside, .. }, List::Made { items: b, .. }) = (a, b)
        && Arc::ptr_eq(a, b)
        && !inside.has_nan
    {
        return Ok(true);
    }
    if a.len() != b.len() {
        return Ok(false);
    }
    let (mut mine, mut others) = (a.items(), b.items());
    match a.kind() {
        ListKind::Atomic => {
            while let (Some(a), Some(b)) = (mine.next(run)?, others.next(run)?) {
                if !a.equals(&b, run)? {
                    return Ok(false);
                }
            }
        }
        ListKind::Set => {
            let mut known = BTreeSet::new();
            while let Some(item) = mine.next(run)? {
                known.insert(identity(&item, &[], run)?);
            }
            while let Some(item) = others.next(run)? {
                if !known.contains(&identity(&item, &[], run)?) {
                    return Ok(false);
                }
            }
        }
        ListKind::Map(keys) => {
            let mut known = BTreeMap::new();
            while let Some(item) = mine.next(run)? {
                known.insert(identity(&item, keys, run)?, item);
            }
            while let Some(item) = others.next(run)? {
                let Some(mine) = known.get(&identity(&item, keys, run)?) else { return Ok(false) };
                if !mine.equals(&item, run)? {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

/// What an item of a set or map is known by.
pub(crate) type Identity<'a> = Vec<Option<Scalar<'a>>>;
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scalar<'a> {
    Null,
    Key(Key<'a>),
    Bits(u64),
    Bytes(Arc<[u8]>),
    /// Of a duration.
    Nanos(i64),
    At(jiff::Timestamp),
}

/// Lists, maps and objects have no identity: neither sets nor the keys of maps may have them.
fn scalar<'a>(value: &Value<'a>, run: &mut Run<'_>) -> Result<Scalar<'a>, EvalError> {
    Ok(match value {
        Value::Null => Scalar::Null,
        Value::Bytes(bytes) => Scalar::Bytes(bytes.clone()),
        Value::Duration(nanos) => Scalar::Nanos(*nanos),
        Value::Timestamp(at) => Scalar::At(*at),
        other => match (other.key(), other) {
            (Some(key), _) => {
                if let Key::String(text) = &key {
                    run.scan(text.len())?;
                }
                Scalar::Key(key)
            }
            (None, Value::Double(value)) => Scalar::Bits(value.to_bits()),
            _ => {
                let found = other.type_of();
                let message = format!("only scalars identify items of a set or map, not {}", found.name());
                return Err(EvalError::function(message));
            }
        },
    })
}

pub(crate) fn identity<'a>(item: &Value<'a>, keys: &[Arc<str>], run: &mut Run<'_>) -> Result<Identity<'a>, EvalError> {
    run.step()?;
    // It stands in a map meanwhile.
    run.allocate((keys.len() + 1) * size_of::<Option<Scalar<'_>>>())?;
    if keys.is_empty() {
        return Ok(vec![Some(scalar(item, run)?)]);
    }
    let Value::Map(map) = item else {
        let found = shown(item);
        let message = format!("unexpected data format for element of array with x-kubernetes-list-type=map: {found}");
        return Err(EvalError::function(message));
    };
    let mut identity = Vec::with_capacity(keys.len());
    for key in keys {
        // Names are as the JSON has them here.
        let part = match map {
            Map::Json { object, .. } => object.get(&**key).map(Value::dynamic),
            Map::Made { .. } => map.field(key, run)?,
        };
        identity.push(part.map(|part| scalar(&part, run)).transpose()?);
    }
    Ok(identity)
}

fn maps_equal<'a>(a: &Map<'a>, b: &Map<'a>, run: &mut Run<'_>) -> Result<bool, EvalError> {
    if let (Map::Made { entries: a, inside }, Map::Made { entries: b, .. }) = (a, b)
        && Arc::ptr_eq(a, b)
        && !inside.has_nan
    {
        return Ok(true);
    }
    if a.len() != b.len() {
        return Ok(false);
    }
    if let (Map::Json { object, fields: Fields::Named(fields) }, Map::Json { object: other, .. }) = (a, b) {
        return objects_equal(object, fields, other, b, run);
    }
    for key in a.keys(run)? {
        let is_same = match (a.get(&key, run)?, b.get(&key, run)?) {
            (None, None) => true,
            (Some(a), Some(b)) => a.equals(&b, run)?,
            _ => false,
        };
        if !is_same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the schema does not know is compared as it is.
fn objects_equal<'a>(
    a: &'a JsonMap<String, Json>,
    fields: &'a BTreeMap<Arc<str>, Property>,
    b: &'a JsonMap<String, Json>,
    other: &Map<'a>,
    run: &mut Run<'_>,
) -> Result<bool, EvalError> {
    for (name, value) in a {
        run.step()?;
        run.scan(name.len())?;
        let property = escape(name).and_then(|field| fields.get_key_value(&*field));
        let is_same = match property {
            Some((field, property)) => match (property.of(a, run)?, other.field(field, run)?) {
                (None, None) => true,
                (Some(a), Some(b)) => a.equals(&b, run)?,
                _ => false,
            },
            None => match b.get(name) {
                Some(other) => Value::dynamic(value).equals(&Value::dynamic(other), run)?,
                None => false,
            },
        };
        if !is_same {
            return Ok(false);
        }
    }
    Ok(true)
}

impl<'a> List<'a> {
    /// As `+` has it: the left one says whether the sum is merged.
    pub(crate) fn plus(self, other: &Self, run: &mut Run<'_>) -> Result<Self, EvalError> {
        let kind = self.kind().clone();
        let (mut items, mut inside) = match self {
            // A comprehension's accumulator has no other owner, and grows in place.
            Self::Made { mut items, inside, .. } => (std::mem::take(Arc::make_mut(&mut items)), inside),
            list @ Self::Json { .. } => {
                let mut items = Vec::with_capacity(list.len());
                let mut all = list.items();
                while let Some(item) = all.next(run)? {
                    items.push(item);
                }
                (items, super::Inside::of([].iter()))
            }
        };
        let mut others = other.items();
        if kind == ListKind::Atomic {
            items.reserve(other.len());
            while let Some(item) = others.next(run)? {
                inside = inside.with(&item);
                items.push(item);
            }
            return Ok(Self::Made { items: Arc::new(items), kind, inside });
        }
        let keys: &[Arc<str>] = if let ListKind::Map(keys) = &kind { keys } else { &[] };
        let mut known: BTreeMap<Identity<'a>, usize> = BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            known.insert(identity(item, keys, run)?, index);
        }
        while let Some(item) = others.next(run)? {
            inside = inside.with(&item);
            let identity = identity(&item, keys, run)?;
            match known.get(&identity) {
                Some(index) => items[*index] = item,
                None => {
                    known.insert(identity, items.len());
                    items.push(item);
                }
            }
        }
        Ok(Self::Made { items: Arc::new(items), kind, inside })
    }
}

impl<'a> Value<'a> {
    /// As `+` has it, of numbers and times.
    pub(crate) fn plus(&self, other: &Value<'a>) -> Result<Self, EvalError> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.checked_add(*b).map(Self::Int).ok_or(EvalError::IntOverflow),
            (Self::Uint(a), Self::Uint(b)) => a.checked_add(*b).map(Self::Uint).ok_or(EvalError::UintOverflow),
            (Self::Double(a), Self::Double(b)) => Ok(Self::Double(a + b)),
            (Self::Duration(a), Self::Duration(b)) => {
                a.checked_add(*b).map(Self::Duration).ok_or(EvalError::DurationOverflow)
            }
            (Self::Timestamp(at), Self::Duration(by)) | (Self::Duration(by), Self::Timestamp(at)) => {
                crate::time::moved(*at, *by).map(Self::Timestamp)
            }
            _ => Err(EvalError::NoSuchOverload),
        }
    }
}
