//! What a call has cost.

use super::calls::selector_cost;
use super::{Estimate, REGEX, TRAVERSAL, scaled};
use crate::error::EvalError;
use crate::library;
use crate::limits::Run;
use crate::opaque::Opaque;
use crate::value::Value;

/// One authorization check: two of them fit into a call.
pub(super) const CHECK: u64 = 350_000;

fn size(value: &Value<'_>) -> u64 {
    match value {
        Value::Optional(Some(inner)) => size(inner),
        other => other.size().map_or(1, |size| size as u64),
    }
}

fn text(args: &[Value<'_>], index: usize, factor: f64) -> u64 {
    args.get(index).map_or(1, |value| scaled(size(value), factor))
}

/// What a call costs by its arguments, or None if only its result tells ([`of_result`]). The receiver, if there is one, is
/// the first argument.
pub(crate) fn of_call(function: &str, args: &[Value<'_>], run: &mut Run<'_>) -> Result<Option<u64>, EvalError> {
    // Characters are counted.
    for arg in args {
        if let Value::String(text) = arg {
            run.scan(text.len())?;
        }
    }
    let function = if library::summed(function).is_some() { "sum" } else { function };
    Ok(Some(match (function, args) {
        ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", [first, ..]) => traversal(first, run)?,
        ("distinct" | "sort", [Value::List(_)]) => self_compare(&args[0], run)?,
        ("@sortByAssociatedKeys", [_, keys]) => self_compare(keys, run)?,
        ("join", _) => return Ok(None),
        _ => by_sizes(function, args),
    }))
}

/// Of `join`.
pub(crate) fn of_result(result: &Value<'_>) -> u64 {
    scaled(size(result), 2.0 * TRAVERSAL)
}

fn by_sizes(function: &str, args: &[Value<'_>]) -> u64 {
    match (function, args) {
        ("check", _) => CHECK,
        ("fieldSelector" | "labelSelector", [_, selector]) => selector_cost(Estimate::fixed(size(selector))).max,
        ("slice", [_, Value::Int(from), Value::Int(to)]) => {
            list_call(1.0, u64::try_from(to.saturating_sub(*from)).unwrap_or(0).min(size(&args[0])))
        }
        ("lists.range", [Value::Int(count)]) => list_call(1.0, u64::try_from(*count).unwrap_or(0)),
        ("reverse", [list]) => list_call(1.0, size(list)),
        ("flatten", [list]) => list_call(1.0, size(list)),
        ("flatten", [list, Value::Int(depth)]) => list_call(*depth as f64, size(list)),
        ("sets.contains" | "sets.intersects", [a, b]) => 1 + size(a).saturating_mul(size(b)),
        ("sets.equivalent", [a, b]) => 1 + size(a).saturating_mul(size(b)).saturating_mul(2),
        (
            "url"
            | "lowerAscii"
            | "upperAscii"
            | "substring"
            | "trim"
            | "jsonpatch.escapeKey"
            | "cidr"
            | "isIP"
            | "isCIDR"
            | "quantity"
            | "isQuantity"
            | "semver"
            | "isSemver",
            _,
        ) => text(args, 0, TRAVERSAL),
        ("ip", [Value::String(_)]) => text(args, 0, TRAVERSAL),
        ("replace" | "split" | "ip.isCanonical", _) => text(args, 0, 2.0 * TRAVERSAL),
        ("find" | "findAll" | "matches", [of, pattern, ..]) => regex_cost(size(of), size(pattern)),
        ("validate", [Value::Opaque(Opaque::Format(format)), of]) => regex_cost(size(of), format.regex_size),
        ("containsIP" | "containsCIDR", [network, other]) => {
            let mut cost = scaled(2 * size(network), TRAVERSAL);
            if function == "containsCIDR" {
                cost += scaled(size(network), TRAVERSAL) + 1;
            }
            if let Value::String(_) = other {
                cost += scaled(size(other), TRAVERSAL);
            }
            cost
        }
        ("_==_", [Value::Opaque(_), _]) => 1,
        ("_==_" | "_!=_", [a, b]) => scaled(size(a).min(size(b)), TRAVERSAL),
        ("_<_" | "_<=_" | "_>_" | "_>=_", [Value::String(_) | Value::Bytes(_), b]) => {
            scaled(size(&args[0]).min(size(b)), TRAVERSAL)
        }
        ("startsWith" | "endsWith" | "strings.quote" | "format", [Value::String(_), ..]) => text(args, 0, TRAVERSAL),
        ("bytes", [Value::String(_)]) | ("string", [Value::Bytes(_)]) => text(args, 0, TRAVERSAL),
        ("@in", [_, Value::List(list)]) => list.len() as u64,
        ("_+_", [Value::String(_) | Value::Bytes(_), b]) => scaled(size(&args[0]) + size(b), TRAVERSAL),
        ("contains", [of, part]) => scaled(size(of), TRAVERSAL).saturating_mul(scaled(size(part), TRAVERSAL)),
        _ => 1,
    }
}

fn regex_cost(of: u64, pattern: u64) -> u64 {
    scaled(of.saturating_add(1), TRAVERSAL).saturating_mul(scaled(pattern, REGEX))
}

fn list_call(factor: f64, size: u64) -> u64 {
    ((size as f64 * factor) as u64).saturating_add(1 + 10)
}

fn self_compare(list: &Value<'_>, run: &mut Run<'_>) -> Result<u64, EvalError> {
    let Value::List(items) = list else { return Ok(1) };
    let is_text = match items.item(0, run) {
        Ok(first) => matches!(first, Some(Value::String(_) | Value::Bytes(_))),
        Err(e) if e.is_cancellation() => return Err(e),
        Err(_) => false,
    };
    let size = items.len() as u64;
    Ok(list_call(if is_text { 2.0 + TRAVERSAL } else { 2.0 }, size.saturating_mul(size)))
}

/// All of it once, as a tree. What cannot be read costs one.
fn traversal(value: &Value<'_>, run: &mut Run<'_>) -> Result<u64, EvalError> {
    let mut cost = 0_u64;
    match value {
        Value::String(text) => return Ok((text.len() as f64 * TRAVERSAL) as u64),
        Value::Bytes(bytes) => return Ok((bytes.len() as f64 * TRAVERSAL) as u64),
        Value::List(list) => {
            for index in 0..list.len() {
                cost = cost.saturating_add(part(list.item(index, run), run)?);
            }
        }
        Value::Map(map) => {
            for key in map.keys(run)? {
                cost = cost.saturating_add(traversal(&key, run)?);
                cost = cost.saturating_add(part(map.get(&key, run), run)?);
            }
        }
        _ => return Ok(1),
    }
    Ok(cost)
}

fn part(part: Result<Option<Value<'_>>, EvalError>, run: &mut Run<'_>) -> Result<u64, EvalError> {
    match part {
        Ok(Some(value)) => traversal(&value, run),
        Err(e) if e.is_cancellation() => Err(e),
        Ok(None) | Err(_) => Ok(1),
    }
}
