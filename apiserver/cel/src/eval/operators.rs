//! Operators on values: arithmetic that never wraps, order, equality, indexes.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::error::EvalError;
use crate::run::Run;
use crate::time;
use crate::value::{List, Map, Value};

type Evaluated<'a> = Result<Value<'a>, EvalError>;

/// None if it is no operator.
pub(super) fn call<'a>(function: &str, args: &[Value<'a>]) -> Option<Evaluated<'a>> {
    Some(match (function, args) {
        ("_==_", [a, b]) => a.equals(b).map(Value::Bool),
        ("_!=_", [a, b]) => a.equals(b).map(|same| Value::Bool(!same)),
        ("_<_", [a, b]) => ordered(a, b, Ordering::is_lt),
        ("_<=_", [a, b]) => ordered(a, b, Ordering::is_le),
        ("_>_", [a, b]) => ordered(a, b, Ordering::is_gt),
        ("_>=_", [a, b]) => ordered(a, b, Ordering::is_ge),
        ("_-_", [a, b]) => subtract(a, b),
        ("_*_", [a, b]) => multiply(a, b),
        ("_/_", [a, b]) => divide(a, b),
        ("_%_", [a, b]) => modulo(a, b),
        ("-_", [Value::Int(a)]) => a.checked_neg().map(Value::Int).ok_or(EvalError::IntOverflow),
        ("-_", [Value::Double(a)]) => Ok(Value::Double(-a)),
        ("!_", [a]) => a.as_bool().map(|value| Value::Bool(!value)),
        ("@in", [a, Value::List(list)]) => a.is_in(list).map(Value::Bool),
        ("@in", [a, Value::Map(map)]) => map.get(a).transpose().map(|found| Value::Bool(found.is_some())),
        ("_[_]", [a, index]) => indexed(a, index),
        ("_[?_]", [Value::Optional(None), _]) => Ok(Value::Optional(None)),
        ("_[?_]", [Value::Optional(Some(a)), index]) => optionally(a, index),
        ("_[?_]", [a, index]) => optionally(a, index),
        ("-_" | "@in", _) => Err(EvalError::NoSuchOverload),
        _ => return None,
    })
}

fn ordered<'a>(a: &Value<'a>, b: &Value<'a>, wanted: impl Fn(Ordering) -> bool) -> Evaluated<'a> {
    // NaN has no order.
    Ok(Value::Bool(a.compare(b)?.is_some_and(wanted)))
}

pub(super) fn add<'a>(a: Value<'a>, b: Value<'a>, run: &mut Run<'_>) -> Evaluated<'a> {
    match (&a, &b) {
        (Value::String(x), Value::String(y)) => {
            run.allocate(x.len() + y.len())?;
            Ok(Value::text([&**x, &**y].concat()))
        }
        (Value::Bytes(x), Value::Bytes(y)) => {
            run.allocate(x.len() + y.len())?;
            Ok(Value::Bytes([&**x, &**y].concat().into()))
        }
        _ => a.plus(&b),
    }
}

fn subtract<'a>(a: &Value<'a>, b: &Value<'a>) -> Evaluated<'a> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.checked_sub(*b).map(Value::Int).ok_or(EvalError::IntOverflow),
        (Value::Uint(a), Value::Uint(b)) => a.checked_sub(*b).map(Value::Uint).ok_or(EvalError::UintOverflow),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
        (Value::Duration(a), Value::Duration(b)) => {
            a.checked_sub(*b).map(Value::Duration).ok_or(EvalError::DurationOverflow)
        }
        (Value::Timestamp(at), Value::Duration(by)) => {
            time::moved(*at, by.checked_neg().ok_or(EvalError::DurationOverflow)?).map(Value::Timestamp)
        }
        (Value::Timestamp(a), Value::Timestamp(b)) => {
            let nanos = i64::try_from(a.as_nanosecond() - b.as_nanosecond());
            nanos.map(Value::Duration).map_err(|_| EvalError::DurationOverflow)
        }
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn multiply<'a>(a: &Value<'a>, b: &Value<'a>) -> Evaluated<'a> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.checked_mul(*b).map(Value::Int).ok_or(EvalError::IntOverflow),
        (Value::Uint(a), Value::Uint(b)) => a.checked_mul(*b).map(Value::Uint).ok_or(EvalError::UintOverflow),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn divide<'a>(a: &Value<'a>, b: &Value<'a>) -> Evaluated<'a> {
    match (a, b) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => Err(EvalError::DivisionByZero),
        (Value::Int(a), Value::Int(b)) => a.checked_div(*b).map(Value::Int).ok_or(EvalError::IntOverflow),
        (Value::Uint(a), Value::Uint(b)) => Ok(Value::Uint(a / b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn modulo<'a>(a: &Value<'a>, b: &Value<'a>) -> Evaluated<'a> {
    match (a, b) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => Err(EvalError::ModulusByZero),
        (Value::Int(a), Value::Int(b)) => a.checked_rem(*b).map(Value::Int).ok_or(EvalError::IntOverflow),
        (Value::Uint(a), Value::Uint(b)) => Ok(Value::Uint(a % b)),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn indexed<'a>(of: &Value<'a>, index: &Value<'a>) -> Evaluated<'a> {
    match of {
        Value::List(list) => {
            let at = list_index(index)?;
            found_in(list, at).ok_or(EvalError::OutOfBounds(at))?
        }
        Value::Map(map) => key_of(map, index)?.ok_or_else(|| EvalError::NoSuchKey(shown(index)))?,
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => optionally(inner, index),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn optionally<'a>(of: &Value<'a>, index: &Value<'a>) -> Evaluated<'a> {
    let found = match of {
        Value::List(list) => found_in(list, list_index(index)?),
        Value::Map(map) => key_of(map, index)?,
        _ => return Err(EvalError::NoSuchOverload),
    };
    Ok(Value::Optional(found.transpose()?.map(Arc::new)))
}

fn list_index(index: &Value<'_>) -> Result<i64, EvalError> {
    let unsupported = || EvalError::BadIndex(index.type_of().name().into());
    match index {
        Value::Int(at) => Ok(*at),
        Value::Uint(_) | Value::Double(_) => match index.key() {
            Some(crate::value::Key::Int(at)) => i64::try_from(at).map_err(|_| unsupported()),
            _ => Err(unsupported()),
        },
        _ => Err(unsupported()),
    }
}

fn found_in<'a>(list: &List<'a>, at: i64) -> Option<Evaluated<'a>> {
    list.get(usize::try_from(at).ok()?)
}

fn key_of<'a>(map: &Map<'a>, key: &Value<'a>) -> Result<Option<Evaluated<'a>>, EvalError> {
    match (map, key) {
        (Map::Json { .. }, Value::String(_)) | (Map::Made(_), _) => Ok(map.get(key)),
        (Map::Json { .. }, _) => Err(EvalError::NoSuchOverload),
    }
}

fn shown(key: &Value<'_>) -> String {
    crate::library::convert::to_string(key).unwrap_or_else(|_| format!("{key:?}"))
}
