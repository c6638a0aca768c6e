//! Values that may be absent.

use super::lists::index;
use crate::error::EvalError;
use crate::value::Value;

pub(super) fn call<'a>(function: &str, args: &[Value<'a>]) -> Option<Result<Value<'a>, EvalError>> {
    Some(match (function, args) {
        ("optional.of", [value]) => Ok(Value::some(value.clone())),
        ("optional.ofNonZeroValue", [value]) => {
            Ok(if value.is_zero() { Value::Optional(None) } else { Value::some(value.clone()) })
        }
        ("optional.none", []) => Ok(Value::Optional(None)),
        ("value", [Value::Optional(value)]) => {
            value.as_ref().map(|value| (**value).clone()).ok_or(EvalError::NoneDereferenced)
        }
        ("hasValue", [Value::Optional(value)]) => Ok(Value::Bool(value.is_some())),
        ("first", [Value::List(list)]) => index(list, 0),
        ("last", [Value::List(list)]) => match list.len().checked_sub(1) {
            Some(last) => index(list, last),
            None => Ok(Value::Optional(None)),
        },
        ("optional.unwrap" | "unwrapOpt", [Value::List(list)]) => {
            let mut present = Vec::new();
            for item in list.iter() {
                match item {
                    Ok(Value::Optional(value)) => present.extend(value.map(|value| (*value).clone())),
                    Ok(other) => return Some(Err(EvalError::function(format!("value {other:?} is not optional")))),
                    Err(e) => return Some(Err(e)),
                }
            }
            Ok(Value::list(present))
        }
        _ => return None,
    })
}
