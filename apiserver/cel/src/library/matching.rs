//! `matches`, `find` and `findAll`.

use crate::error::EvalError;
use crate::limits::Run;
use crate::value::Value;

pub(super) fn call<'a>(function: &str, args: &[Value<'a>], run: &mut Run<'_>) -> Option<Result<Value<'a>, EvalError>> {
    let [Value::String(text), Value::String(pattern), rest @ ..] = args else { return None };
    let most = match (function, rest) {
        ("matches" | "find" | "findAll", []) => -1,
        ("findAll", [Value::Int(most)]) => *most,
        _ => return None,
    };
    let regex = match run.regex(pattern) {
        Ok(regex) => regex,
        Err(e) => return Some(Err(e)),
    };
    Some(match function {
        "matches" => Ok(Value::Bool(regex.is_match(text))),
        "find" => Value::copied(regex.find(text).map_or("", |found| found.as_str()), run),
        _ => {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let mut found = Vec::new();
            for part in regex.find_iter(text).take(most) {
                if let Err(e) = run.step().and_then(|()| run.allocate(size_of::<Value<'_>>() + 16 + part.len())) {
                    return Some(Err(e));
                }
                found.push(Value::text(part.as_str()));
            }
            Ok(Value::list(found))
        }
    })
}
