//! Lists and sets: order, sums, positions, and what is made of lists.

use std::cmp::Ordering;

use crate::error::EvalError;
use crate::limits::Run;
use crate::value::{List, Value};

type Evaluated<'a> = Result<Value<'a>, EvalError>;

pub(super) fn call<'a>(function: &str, args: &[Value<'a>], run: &mut Run<'_>) -> Option<Evaluated<'a>> {
    if let (Some(of), [Value::List(list)]) = (super::summed(function), args) {
        return Some(sum(list, of, run));
    }
    Some(match (function, args) {
        ("isSorted", [Value::List(list)]) => is_sorted(list, run),
        ("min", [Value::List(list)]) => best(list, "min", Ordering::Less, run),
        ("max", [Value::List(list)]) => best(list, "max", Ordering::Greater, run),
        ("indexOf", [Value::List(list), item]) => position(list, item, false, run),
        ("lastIndexOf", [Value::List(list), item]) => position(list, item, true, run),
        ("slice", [Value::List(list), Value::Int(from), Value::Int(to)]) => slice(list, *from, *to, run),
        ("flatten", [Value::List(list)]) => flatten(list, 1, run).map(Value::list),
        ("flatten", [Value::List(_), Value::Int(depth)]) if *depth < 0 => {
            Err(EvalError::function("level must be non-negative"))
        }
        ("flatten", [Value::List(list), Value::Int(depth)]) => flatten(list, *depth, run).map(Value::list),
        ("lists.range", [Value::Int(count)]) => range(*count, run),
        ("reverse", [Value::List(list)]) => items(list, run).map(|mut items| {
            items.reverse();
            Value::list(items)
        }),
        ("distinct", [Value::List(list)]) => distinct(list, run),
        ("sort", [Value::List(list)]) => sorted(list, list, run),
        ("@sortByAssociatedKeys", [Value::List(list), Value::List(keys)]) => sorted(list, keys, run),
        ("sets.contains", [Value::List(all), Value::List(some)]) => contains(all, some, run).map(Value::Bool),
        ("sets.equivalent", [Value::List(a), Value::List(b)]) => {
            contains(a, b, run).and_then(|all| Ok(Value::Bool(all && contains(b, a, run)?)))
        }
        ("sets.intersects", [Value::List(a), Value::List(b)]) => intersects(a, b, run),
        _ => return None,
    })
}

/// The item, if there is one.
pub(super) fn index<'a>(list: &List<'a>, at: usize, run: &mut Run<'_>) -> Evaluated<'a> {
    Ok(list.item(at, run)?.map_or(Value::Optional(None), Value::some))
}

fn items<'a>(list: &List<'a>, run: &mut Run<'_>) -> Result<Vec<Value<'a>>, EvalError> {
    run.allocate(list.len() * size_of::<Value<'_>>())?;
    let mut items = Vec::with_capacity(list.len());
    let mut all = list.items();
    while let Some(item) = all.next(run)? {
        items.push(item);
    }
    Ok(items)
}

/// The order of two, which only a NaN has not. An evaluation that is to end ends here.
fn order(a: &Value<'_>, b: &Value<'_>, run: &mut Run<'_>) -> Result<Option<Ordering>, EvalError> {
    match a.compare(b, run) {
        Ok(order) => Ok(Some(order)),
        Err(EvalError::Function(_)) => Ok(None),
        Err(e) => Err(e),
    }
}

fn is_sorted<'a>(list: &List<'a>, run: &mut Run<'_>) -> Evaluated<'a> {
    let mut last: Option<Value<'a>> = None;
    let mut items = list.items();
    while let Some(item) = items.next(run)? {
        if let Some(last) = &last
            && order(last, &item, run)? == Some(Ordering::Greater)
        {
            return Ok(Value::Bool(false));
        }
        last = Some(item);
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(list: &List<'a>, of: &str, run: &mut Run<'_>) -> Evaluated<'a> {
    let mut sum: Option<Value<'a>> = None;
    let mut items = list.items();
    while let Some(item) = items.next(run)? {
        sum = Some(match sum {
            Some(sum) => sum.plus(&item)?,
            None => item,
        });
    }
    Ok(sum.unwrap_or(match of {
        "uint" => Value::Uint(0),
        "double" => Value::Double(0.0),
        "duration" => Value::Duration(0),
        _ => Value::Int(0),
    }))
}

fn best<'a>(list: &List<'a>, function: &str, wanted: Ordering, run: &mut Run<'_>) -> Evaluated<'a> {
    let mut best: Option<Value<'a>> = None;
    let mut items = list.items();
    while let Some(item) = items.next(run)? {
        let is_better = match &best {
            Some(best) => order(&item, best, run)? == Some(wanted),
            None => true,
        };
        if is_better {
            best = Some(item);
        }
    }
    best.ok_or_else(|| EvalError::function(format!("{function} called on empty list")))
}

/// Whether they are equal. What cannot be compared is not.
fn is_same<'a>(a: &Value<'a>, b: &Value<'a>, run: &mut Run<'_>) -> Result<bool, EvalError> {
    match a.equals(b, run) {
        Err(e) if e.is_cancellation() => Err(e),
        same => Ok(same == Ok(true)),
    }
}

fn position<'a>(list: &List<'a>, wanted: &Value<'a>, from_end: bool, run: &mut Run<'_>) -> Evaluated<'a> {
    let count = list.len();
    for step in 0..count {
        let at = if from_end { count - 1 - step } else { step };
        if let Some(item) = list.item(at, run)?
            && is_same(&item, wanted, run)?
        {
            return Ok(Value::Int(i64::try_from(at).unwrap_or(i64::MAX)));
        }
    }
    Ok(Value::Int(-1))
}

fn slice<'a>(list: &List<'a>, from: i64, to: i64, run: &mut Run<'_>) -> Evaluated<'a> {
    let refused = |why: String| Err(EvalError::function(format!("cannot slice({from}, {to}), {why}")));
    let (Ok(start), Ok(end)) = (usize::try_from(from), usize::try_from(to)) else {
        return refused("negative indexes not supported".into());
    };
    if start > end {
        return refused("start index must be less than or equal to end index".into());
    }
    if list.len() < end {
        return refused(format!("list is length {}", list.len()));
    }
    run.allocate((end - start) * size_of::<Value<'_>>())?;
    let mut items = Vec::with_capacity(end - start);
    for at in start..end {
        items.extend(list.item(at, run)?);
    }
    Ok(Value::list(items))
}

/// Without recursion: the lists that are not done yet stand in a row.
fn flatten<'a>(list: &List<'a>, depth: i64, run: &mut Run<'_>) -> Result<Vec<Value<'a>>, EvalError> {
    let mut flat = Vec::new();
    let mut open = vec![(list.clone(), 0_usize)];
    while let Some((list, at)) = open.last_mut() {
        let Some(item) = list.item(*at, run)? else {
            open.pop();
            continue;
        };
        *at += 1;
        match item {
            Value::List(inner) if i64::try_from(open.len()).unwrap_or(i64::MAX) <= depth => open.push((inner, 0)),
            item => {
                run.allocate(size_of::<Value<'_>>())?;
                flat.push(item);
            }
        }
    }
    Ok(flat)
}

fn range<'a>(count: i64, run: &mut Run<'_>) -> Evaluated<'a> {
    let bytes = usize::try_from(count.max(0)).ok().and_then(|count| count.checked_mul(size_of::<Value<'_>>()));
    run.allocate(bytes.ok_or(EvalError::MemoryLimit)?)?;
    Ok(Value::list((0..count).map(Value::Int).collect()))
}

fn distinct<'a>(list: &List<'a>, run: &mut Run<'_>) -> Evaluated<'a> {
    let mut seen: Vec<Value<'a>> = Vec::new();
    'items: for item in items(list, run)? {
        for other in &seen {
            if is_same(&item, other, run)? {
                continue 'items;
            }
        }
        seen.push(item);
    }
    Ok(Value::list(seen))
}

fn sorted<'a>(list: &List<'a>, keys: &List<'a>, run: &mut Run<'_>) -> Evaluated<'a> {
    if list.len() != keys.len() {
        return Err(EvalError::function(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively",
            list.len(),
            keys.len()
        )));
    }
    let keys = items(keys, run)?;
    if let Some(first) = keys.first() {
        let of = first.type_of();
        if let Err(EvalError::NoSuchOverload) = first.compare(first, run) {
            return Err(EvalError::function("list elements must be comparable"));
        }
        if keys.iter().any(|key| key.type_of() != of) {
            return Err(EvalError::function("list elements must have the same type"));
        }
    }
    // Each is compared with so many others.
    let rounds = keys.len().max(2).ilog2() as usize + 1;
    for key in &keys {
        run.steps(rounds)?;
        if let Value::String(text) = key {
            run.scan(text.len() * rounds)?;
        }
    }
    let mut pairs: Vec<_> = keys.into_iter().zip(items(list, run)?).collect();
    pairs.sort_by(|(a, _), (b, _)| key_order(a, b));
    Ok(Value::list(pairs.into_iter().map(|(_, item)| item).collect()))
}

/// Of keys of one type that can be compared: a total order, as sorting needs it, whatever stands among the doubles.
fn key_order(a: &Value<'_>, b: &Value<'_>) -> Ordering {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) | (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
        (Value::Uint(a), Value::Uint(b)) => a.cmp(b),
        // What is no number comes last.
        (Value::Double(a), Value::Double(b)) => {
            a.is_nan().cmp(&b.is_nan()).then_with(|| a.partial_cmp(b).unwrap_or(Ordering::Equal))
        }
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}

fn contains<'a>(all: &List<'a>, some: &List<'a>, run: &mut Run<'_>) -> Result<bool, EvalError> {
    let mut items = some.items();
    while let Some(item) = items.next(run)? {
        if !item.is_in(all, run)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn intersects<'a>(a: &List<'a>, b: &List<'a>, run: &mut Run<'_>) -> Evaluated<'a> {
    let mut items = a.items();
    while let Some(item) = items.next(run)? {
        match item.is_in(b, run) {
            Ok(true) => return Ok(Value::Bool(true)),
            Err(e) if e.is_cancellation() => return Err(e),
            Ok(false) | Err(_) => {}
        }
    }
    Ok(Value::Bool(false))
}
