//! When values are equal, and which is less: numbers by what they are, whatever their types.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Fields, Key, List, Map, Value};
use crate::error::EvalError;
use crate::schema::ListKind;

/// A double that is a whole number within 64 bits.
pub(super) fn whole(value: f64) -> Option<i128> {
    (value.fract() == 0.0 && value.abs() <= 18_446_744_073_709_551_616.0).then_some(value as i128)
}

fn number(value: &Value<'_>) -> Option<Result<i128, f64>> {
    match value {
        Value::Int(n) => Some(Ok(i128::from(*n))),
        Value::Uint(n) => Some(Ok(i128::from(*n))),
        Value::Double(n) => Some(Err(*n)),
        _ => None,
    }
}

fn compare_numbers(a: Result<i128, f64>, b: Result<i128, f64>) -> Option<Ordering> {
    match (a, b) {
        (Ok(a), Ok(b)) => Some(a.cmp(&b)),
        (Err(a), Err(b)) => a.partial_cmp(&b),
        (Ok(a), Err(b)) => match whole(b) {
            Some(b) => Some(a.cmp(&b)),
            None => (a as f64).partial_cmp(&b),
        },
        (Err(_), Ok(_)) => compare_numbers(b, a).map(Ordering::reverse),
    }
}

impl<'a> Value<'a> {
    /// As `==` has it. What cannot be read (data that is not as its schema says) is an error.
    pub(crate) fn equals(&self, other: &Value<'a>) -> Result<bool, EvalError> {
        if let (Some(a), Some(b)) = (number(self), number(other)) {
            return Ok(compare_numbers(a, b) == Some(Ordering::Equal));
        }
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::String(a), Self::String(b)) => **a == **b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::Type(a), Self::Type(b)) => a.name() == b.name(),
            (Self::Opaque(a), Self::Opaque(b)) => a.equals(b),
            (Self::Optional(None), Self::Optional(None)) => true,
            (Self::Optional(Some(a)), Self::Optional(Some(b))) => return a.equals(b),
            (Self::List(a), Self::List(b)) => return lists_equal(a, b),
            (Self::Map(a), Self::Map(b)) => return maps_equal(a, b),
            (Self::Struct(a), Self::Struct(b)) => {
                if a.name != b.name || a.fields.len() != b.fields.len() {
                    return Ok(false);
                }
                for (name, value) in &a.fields {
                    let Some(other) = b.fields.get(name) else { return Ok(false) };
                    if !value.equals(other)? {
                        return Ok(false);
                    }
                }
                true
            }
            _ => false,
        })
    }
    /// As `<` has it. None if one is no number.
    pub(crate) fn compare(&self, other: &Value<'_>) -> Result<Option<Ordering>, EvalError> {
        if let (Some(a), Some(b)) = (number(self), number(other)) {
            return Ok(compare_numbers(a, b));
        }
        Ok(Some(match (self, other) {
            (Self::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Self::String(a), Value::String(b)) => (**a).cmp(&**b),
            (Self::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (Self::Duration(a), Value::Duration(b)) => a.cmp(b),
            (Self::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
            _ => return Err(EvalError::NoSuchOverload),
        }))
    }
    pub(crate) fn is_in(&self, list: &List<'a>) -> Result<bool, EvalError> {
        let mut failed = None;
        for item in list.iter() {
            match item.and_then(|item| item.equals(self)) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        failed.map_or(Ok(false), Err)
    }
}

/// The left one says whether order counts.
fn lists_equal<'a>(a: &List<'a>, b: &List<'a>) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    match a.kind() {
        ListKind::Atomic => {
            for (a, b) in a.iter().zip(b.iter()) {
                if !a?.equals(&b?)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        ListKind::Set => {
            let known: BTreeSet<Identity> = a.iter().map(|item| identity(&item?, &[])).collect::<Result<_, _>>()?;
            for item in b.iter() {
                if !known.contains(&identity(&item?, &[])?) {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        ListKind::Map(keys) => {
            let mut known = BTreeMap::new();
            for item in a.iter() {
                let item = item?;
                known.insert(identity(&item, keys)?, item);
            }
            for item in b.iter() {
                let item = item?;
                let Some(mine) = known.get(&identity(&item, keys)?) else { return Ok(false) };
                if !mine.equals(&item)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

/// What an item of a set or map is known by.
pub(crate) type Identity = Vec<Option<Scalar>>;
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scalar {
    Key(Key),
    Bits(u64),
    Other(String),
}

pub(crate) fn identity(item: &Value<'_>, keys: &[Arc<str>]) -> Result<Identity, EvalError> {
    let scalar = |value: &Value<'_>| match (value.key(), value) {
        (Some(key), _) => Scalar::Key(key),
        (None, Value::Double(value)) => Scalar::Bits(value.to_bits()),
        (None, other) => Scalar::Other(format!("{other:?}")),
    };
    if keys.is_empty() {
        return Ok(vec![Some(scalar(item))]);
    }
    let Value::Map(map) = item else {
        let found = item.type_of();
        let message = format!("unexpected data format for element of array with x-kubernetes-list-type=map: {found}");
        return Err(EvalError::function(message));
    };
    // Names are as the JSON has them here.
    let named = keys.iter().map(|key| match map {
        Map::Json { object, .. } => object.get(&**key).map(|json| scalar(&Value::dynamic(json))),
        Map::Made(_) => map.field(key).and_then(Result::ok).map(|value| scalar(&value)),
    });
    Ok(named.collect())
}

fn maps_equal<'a>(a: &Map<'a>, b: &Map<'a>) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    // What the schema does not know is compared as it is.
    if let (Map::Json { object: a, fields: Fields::Named(fields) }, Map::Json { object: b, .. }) = (a, b) {
        let is_known = |name: &str| fields.values().any(|property| *property.name == *name);
        if a.iter().any(|(name, value)| !is_known(name) && b.get(name) != Some(value)) {
            return Ok(false);
        }
    }
    for key in a.keys() {
        let is_same = match (a.get(&key).transpose()?, b.get(&key).transpose()?) {
            (None, None) => true,
            (Some(a), Some(b)) => a.equals(&b)?,
            _ => false,
        };
        if !is_same {
            return Ok(false);
        }
    }
    Ok(true)
}

impl<'a> List<'a> {
    /// As `+` has it: the left one says whether the sum is merged.
    pub(crate) fn plus(self, other: &Self) -> Result<Self, EvalError> {
        let kind = self.kind().clone();
        let mut items = match self {
            Self::Made { mut items, .. } => {
                // A comprehension's accumulator has no other owner, and grows in place.
                std::mem::take(Arc::make_mut(&mut items))
            }
            list @ Self::Json { .. } => list.iter().collect::<Result<Vec<_>, _>>()?,
        };
        if kind == ListKind::Atomic {
            items.reserve(other.len());
            for item in other.iter() {
                items.push(item?);
            }
            return Ok(Self::Made { items: Arc::new(items), kind });
        }
        let keys: &[Arc<str>] = if let ListKind::Map(keys) = &kind { keys } else { &[] };
        let mut known: BTreeMap<Identity, usize> = BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            known.insert(identity(item, keys)?, index);
        }
        for item in other.iter() {
            let item = item?;
            match known.get(&identity(&item, keys)?) {
                Some(index) => items[*index] = item,
                None => {
                    known.insert(identity(&item, keys)?, items.len());
                    items.push(item);
                }
            }
        }
        Ok(Self::Made { items: Arc::new(items), kind })
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
