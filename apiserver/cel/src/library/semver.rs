//! Semantic versions.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::error::EvalError;
use crate::limits::Run;
use crate::opaque::Opaque;
use crate::opaque::semver::{Semver, parse, read};
use crate::value::Value;

pub(super) fn call<'a>(function: &str, args: &[Value<'a>], run: &mut Run<'_>) -> Option<Result<Value<'a>, EvalError>> {
    Some(match (function, args) {
        ("semver", [Value::String(text)]) => made(parse(text), run),
        ("semver", [Value::String(text), Value::Bool(normalize)]) => made(read(text, *normalize), run),
        ("isSemver", [Value::String(text)]) => Ok(Value::Bool(parse(text).is_ok())),
        ("isSemver", [Value::String(text), Value::Bool(normalize)]) => Ok(Value::Bool(read(text, *normalize).is_ok())),
        (_, [Value::Opaque(Opaque::Semver(a))]) => {
            let which = ["major", "minor", "patch"].iter().position(|name| *name == function)?;
            Ok(Value::Int(i64::try_from(a.numbers[which]).unwrap_or(i64::MAX)))
        }
        (_, [Value::Opaque(Opaque::Semver(a)), Value::Opaque(Opaque::Semver(b))]) => {
            let order: Ordering = a.cmp(b);
            match function {
                "isGreaterThan" => Ok(Value::Bool(order.is_gt())),
                "isLessThan" => Ok(Value::Bool(order.is_lt())),
                "compareTo" => Ok(Value::Int(order as i64)),
                _ => return None,
            }
        }
        _ => return None,
    })
}

fn made<'a>(version: Result<Semver, String>, run: &mut Run<'_>) -> Result<Value<'a>, EvalError> {
    let version = version.map_err(EvalError::function)?;
    run.allocate(version.bytes())?;
    Ok(Value::Opaque(Opaque::Semver(Arc::new(version))))
}
