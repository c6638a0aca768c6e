//! Strings: positions are in code points, and case is ASCII's.

use super::format;
use crate::error::EvalError;
use crate::limits::Run;
use crate::value::{List, Value, shown};

type Evaluated<'a> = Result<Value<'a>, EvalError>;

pub(super) fn call<'a>(function: &str, args: &[Value<'a>], run: &mut Run<'_>) -> Option<Evaluated<'a>> {
    if let ("join", [Value::List(list), rest @ ..]) = (function, args) {
        return match rest {
            [] => Some(join(list, "", run)),
            [Value::String(separator)] => Some(join(list, separator, run)),
            _ => None,
        };
    }
    let (Value::String(text), rest) = args.split_first()? else { return None };
    Some(match (function, rest) {
        ("contains", [Value::String(part)]) => Ok(Value::Bool(text.contains(&**part))),
        ("startsWith", [Value::String(part)]) => Ok(Value::Bool(text.starts_with(&**part))),
        ("endsWith", [Value::String(part)]) => Ok(Value::Bool(text.ends_with(&**part))),
        ("charAt", [Value::Int(at)]) => char_at(text, *at),
        ("indexOf", [Value::String(part)]) => index_of(text, part, 0),
        ("indexOf", [Value::String(part), Value::Int(from)]) => index_of(text, part, *from),
        ("lastIndexOf", [Value::String(part)]) => last_index_of(text, part, None),
        ("lastIndexOf", [Value::String(part), Value::Int(from)]) => last_index_of(text, part, Some(*from)),
        ("lowerAscii", []) => made(text.len(), run, || text.to_ascii_lowercase()),
        ("upperAscii", []) => made(text.len(), run, || text.to_ascii_uppercase()),
        ("trim", []) => Value::copied(text.trim(), run),
        ("replace", [Value::String(old), Value::String(new)]) => replace(text, old, new, -1, run),
        ("replace", [Value::String(old), Value::String(new), Value::Int(count)]) => {
            replace(text, old, new, *count, run)
        }
        ("split", [Value::String(separator)]) => split(text, separator, -1, run),
        ("split", [Value::String(separator), Value::Int(count)]) => split(text, separator, *count, run),
        ("substring", [Value::Int(from)]) => {
            let count = length(text);
            if *from < 0 || *from > count { out_of_range(*from) } else { substring(text, *from, count, run) }
        }
        ("substring", [Value::Int(from), Value::Int(to)]) => substring(text, *from, *to, run),
        ("format", [Value::List(values)]) => format::format(text, values, run).map(Value::text),
        // Escapes are twice as long as what they stand for.
        ("strings.quote", []) => made(text.len() * 2 + 2, run, || quote(text)),
        ("jsonpatch.escapeKey", []) => made(text.len() * 2, run, || text.replace('~', "~0").replace('/', "~1")),
        _ => return None,
    })
}

fn made<'a>(bytes: usize, run: &mut Run<'_>, make: impl FnOnce() -> String) -> Evaluated<'a> {
    run.allocate(bytes)?;
    Ok(Value::text(make()))
}
fn length(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}
fn out_of_range<T>(at: i64) -> Result<T, EvalError> {
    Err(EvalError::function(format!("index out of range: {at}")))
}
/// Of a position in code points.
fn byte_at(text: &str, at: i64) -> Option<usize> {
    let at = usize::try_from(at).ok()?;
    text.char_indices().map(|(byte, _)| byte).chain([text.len()]).nth(at)
}
fn position(text: &str, byte: usize) -> Value<'static> {
    Value::Int(length(&text[..byte]))
}

fn char_at<'a>(text: &str, at: i64) -> Evaluated<'a> {
    let Some(byte) = byte_at(text, at) else { return out_of_range(at) };
    Ok(Value::text(text[byte..].chars().take(1).collect::<String>()))
}

fn index_of<'a>(text: &str, part: &str, from: i64) -> Evaluated<'a> {
    if part.is_empty() {
        return Ok(Value::Int(from));
    }
    if from < 0 {
        return out_of_range(from);
    }
    let Some(start) = byte_at(text, from) else { return Ok(Value::Int(-1)) };
    Ok(text[start..].find(part).map_or(Value::Int(-1), |found| position(text, start + found)))
}

fn last_index_of<'a>(text: &str, part: &str, from: Option<i64>) -> Evaluated<'a> {
    let count = length(text);
    if part.is_empty() {
        return Ok(Value::Int(from.unwrap_or(count)));
    }
    if let Some(from) = from.filter(|from| *from < 0) {
        return out_of_range(from);
    }
    let from = from.unwrap_or(count - 1);
    if from >= count {
        return Ok(Value::Int(-1));
    }
    let Some(start) = byte_at(text, from) else { return Ok(Value::Int(-1)) };
    // A part that begins at `start` or before ends so much later at most.
    let end = text.len().min(start + part.len());
    let end = (start..=end).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(start);
    let found = text[..end].rfind(part).filter(|found| *found <= start);
    Ok(found.map_or(Value::Int(-1), |found| position(text, found)))
}

fn substring<'a>(text: &str, from: i64, to: i64, run: &mut Run<'_>) -> Evaluated<'a> {
    if from > to {
        return Err(EvalError::function(format!("invalid substring range. start: {from}, end: {to}")));
    }
    let Some(start) = byte_at(text, from) else { return out_of_range(from) };
    let Some(end) = byte_at(text, to) else { return out_of_range(to) };
    Value::copied(&text[start..end], run)
}

/// All of them if `count` is negative.
fn replace<'a>(text: &str, old: &str, new: &str, count: i64, run: &mut Run<'_>) -> Evaluated<'a> {
    let found = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() };
    let count = usize::try_from(count).map_or(found, |count| count.min(found));
    run.allocate(text.len().saturating_add(count.saturating_mul(new.len())))?;
    Ok(Value::text(text.replacen(old, new, count)))
}

/// Into so many parts at most; into all of them if `count` is negative.
fn split<'a>(text: &str, separator: &str, count: i64, run: &mut Run<'_>) -> Evaluated<'a> {
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    if most == 0 {
        return Ok(Value::list(Vec::new()));
    }
    let mut parts = Vec::new();
    if !separator.is_empty() {
        for part in text.splitn(most, separator) {
            push_part(part, &mut parts, run)?;
        }
        return Ok(Value::list(parts));
    }
    // Between all code points.
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = if parts.len() + 1 >= most { rest.len() } else { first.len_utf8() };
        let (part, after) = rest.split_at(end);
        push_part(part, &mut parts, run)?;
        rest = after;
    }
    Ok(Value::list(parts))
}

fn push_part<'a>(part: &str, parts: &mut Vec<Value<'a>>, run: &mut Run<'_>) -> Result<(), EvalError> {
    run.step()?;
    // Each has its own counts of owners before its text.
    run.allocate(part.len() + size_of::<Value<'_>>() + 16)?;
    parts.push(Value::text(part));
    Ok(())
}

fn join<'a>(list: &List<'a>, separator: &str, run: &mut Run<'_>) -> Evaluated<'a> {
    let mut joined = String::new();
    let mut items = list.items();
    let mut index = 0;
    while let Some(item) = items.next(run)? {
        let Value::String(text) = &item else {
            return Err(EvalError::function(format!("join: invalid input: {}", shown(&item))));
        };
        run.allocate(text.len() + separator.len())?;
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(text);
        index += 1;
    }
    Ok(Value::text(joined))
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
