//! Values that may be absent.

use super::lists::index;
use crate::error::EvalError;
use crate::limits::Run;
use crate::value::{List, Value, shown};

pub(super) fn call<'a>(function: &str, args: &[Value<'a>], run: &mut Run<'_>) -> Option<Result<Value<'a>, EvalError>> {
    Some(match (function, args) {
        ("optional.of", [value]) => Value::some(value.clone()).not_too_deep(),
        ("optional.ofNonZeroValue", [value]) => {
            if value.is_zero() {
                Ok(Value::Optional(None))
            } else {
                Value::some(value.clone()).not_too_deep()
            }
        }
        ("optional.none", []) => Ok(Value::Optional(None)),
        ("value", [Value::Optional(value)]) => {
            value.as_ref().map(|value| (**value).clone()).ok_or(EvalError::NoneDereferenced)
        }
        ("hasValue", [Value::Optional(value)]) => Ok(Value::Bool(value.is_some())),
        ("first", [Value::List(list)]) => index(list, 0, run),
        ("last", [Value::List(list)]) => match list.len().checked_sub(1) {
            Some(last) => index(list, last, run),
            None => Ok(Value::Optional(None)),
        },
        ("optional.unwrap" | "unwrapOpt", [Value::List(list)]) => present(list, run),
        _ => return None,
    })
}

/// What is there of them.
fn present<'a>(list: &List<'a>, run: &mut Run<'_>) -> Result<Value<'a>, EvalError> {
    let mut present = Vec::new();
    let mut items = list.items();
    while let Some(item) = items.next(run)? {
        match item {
            Value::Optional(Some(value)) => {
                run.allocate(size_of::<Value<'_>>())?;
                present.push((*value).clone());
            }
            Value::Optional(None) => {}
            other => return Err(EvalError::function(format!("value {} is not optional", shown(&other)))),
        }
    }
    Ok(Value::list(present))
}
