//! `format.named('dns1123Label').value().validate(name)`.

use crate::error::EvalError;
use crate::limits::Run;
use crate::opaque::Opaque;
use crate::opaque::formats::FORMATS;
use crate::value::Value;

pub(super) fn call<'a>(function: &str, args: &[Value<'a>], run: &mut Run<'_>) -> Option<Result<Value<'a>, EvalError>> {
    let named = |name: &str| FORMATS.iter().find(|(known, _)| *known == name).map(|(_, format)| format);
    let value = |format| Value::Opaque(Opaque::Format(format));
    Some(Ok(match (function, args) {
        ("validate", [Value::Opaque(Opaque::Format(format)), Value::String(text)]) => {
            let wrong = (format.check)(text);
            if let Err(e) = run.allocate(wrong.iter().map(String::len).sum()) {
                return Some(Err(e));
            }
            if wrong.is_empty() {
                Value::Optional(None)
            } else {
                Value::some(Value::list(wrong.into_iter().map(Value::text).collect()))
            }
        }
        ("format.named", [Value::String(name)]) => named(name).map_or(Value::Optional(None), |f| Value::some(value(f))),
        (_, []) => value(named(function.strip_prefix("format.")?)?),
        _ => return None,
    }))
}
