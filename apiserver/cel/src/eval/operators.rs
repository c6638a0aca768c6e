//! Operators on values: arithmetic that never wraps, order, equality, indexes.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::error::EvalError;
use crate::limits::Run;
use crate::time;
use crate::value::{List, Map, Value, brief, shown};

type Evaluated<'a> = Result<Value<'a>, EvalError>;

/// None if it is no operator.
pub(super) fn call<'a>(function: &str, args: &[Value<'a>], run: &mut Run<'_>) -> Option<Evaluated<'a>> {
    let mut ordered = |a: &Value<'a>, b: &Value<'a>, wanted: fn(Ordering) -> bool| {
        a.compare(b, run).map(|order| Value::Bool(wanted(order)))
    };
    Some(match (function, args) {
        ("_<_", [a, b]) => ordered(a, b, Ordering::is_lt),
        ("_<=_", [a, b]) => ordered(a, b, Ordering::is_le),
        ("_>_", [a, b]) => ordered(a, b, Ordering::is_gt),
        ("_>=_", [a, b]) => ordered(a, b, Ordering::is_ge),
        ("_==_", [a, b]) => a.equals(b, run).map(Value::Bool),
        ("_!=_", [a, b]) => a.equals(b, run).map(|same| Value::Bool(!same)),
        ("_-_", [a, b]) => subtract(a, b),
        ("_*_", [a, b]) => multiply(a, b),
        ("_/_", [a, b]) => divide(a, b),
        ("_%_", [a, b]) => modulo(a, b),
        ("-_", [Value::Int(a)]) => a.checked_neg().map(Value::Int).ok_or(EvalError::IntOverflow),
        ("-_", [Value::Double(a)]) => Ok(Value::Double(-a)),
        ("!_", [a]) => a.as_bool().map(|value| Value::Bool(!value)),
        ("@in", [a, Value::List(list)]) => a.is_in(list, run).map(Value::Bool),
        ("@in", [a, Value::Map(map)]) => map.get(a, run).map(|found| Value::Bool(found.is_some())),
        ("_[_]", [a, index]) => indexed(a, index, run),
        ("_[?_]", [Value::Optional(None), _]) => Ok(Value::Optional(None)),
        ("_[?_]", [Value::Optional(Some(a)), index]) => optionally(a, index, run),
        ("_[?_]", [a, index]) => optionally(a, index, run),
        ("-_" | "@in", _) => Err(EvalError::NoSuchOverload),
        _ => return None,
    })
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

fn indexed<'a>(of: &Value<'a>, index: &Value<'a>, run: &mut Run<'_>) -> Evaluated<'a> {
    match of {
        Value::List(list) => {
            let at = list_index(index)?;
            found_in(list, at, run)?.ok_or(EvalError::OutOfBounds(at))
        }
        Value::Map(map) => key_of(map, index, run)?.ok_or_else(|| EvalError::NoSuchKey(key_text(index))),
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => optionally(inner, index, run),
        // What has nothing within it, null above all.
        _ => Err(EvalError::NoSuchKey(key_text(index))),
    }
}

fn optionally<'a>(of: &Value<'a>, index: &Value<'a>, run: &mut Run<'_>) -> Evaluated<'a> {
    let found = match of {
        Value::List(list) => found_in(list, list_index(index)?, run)?,
        Value::Map(map) => key_of(map, index, run)?,
        _ => None,
    };
    Ok(Value::Optional(found.map(Arc::new)))
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

fn found_in<'a>(list: &List<'a>, at: i64, run: &mut Run<'_>) -> Result<Option<Value<'a>>, EvalError> {
    match usize::try_from(at) {
        Ok(at) => list.item(at, run),
        Err(_) => Ok(None),
    }
}

fn key_of<'a>(map: &Map<'a>, key: &Value<'a>, run: &mut Run<'_>) -> Result<Option<Value<'a>>, EvalError> {
    match (map, key) {
        (Map::Json { .. }, Value::String(_)) | (Map::Made { .. }, _) => map.get(key, run),
        (Map::Json { .. }, _) => Err(EvalError::NoSuchOverload),
    }
}

/// Text is shown as it is.
fn key_text(key: &Value<'_>) -> String {
    match key {
        Value::String(text) => brief(text).into_owned(),
        Value::Uint(n) => n.to_string(),
        other => shown(other),
    }
}
