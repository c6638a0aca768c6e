//! Literals that would fail whenever they are evaluated, and lists and maps of many types.

use crate::ast::{Expr, Kind, Literal, children};
use crate::types::Type;
use crate::{pattern, time};

/// Tells each that is wrong.
pub(super) fn check(expr: &Expr, types: &[Type], tell: &mut dyn FnMut(u32, String)) {
    literal(expr, false, types, tell);
}

/// What is formatted may be of many types.
fn literal(expr: &Expr, is_formatted: bool, types: &[Type], tell: &mut dyn FnMut(u32, String)) {
    let mut is_formatted = is_formatted;
    match &expr.kind {
        Kind::Call { target, function, args } => {
            is_formatted |= &**function == "format";
            let argument = if target.is_none() && &**function == "matches" { args.get(1) } else { args.first() };
            if let Some(Expr { at, kind: Kind::Literal(Literal::String(text)), .. }) = argument
                && is_wrong(function, target.is_some(), text)
            {
                tell(*at, format!("invalid {function} argument"));
            }
        }
        Kind::List(items) if !is_formatted => {
            alike(items.iter().map(|item| (&item.value, item.optional)), types, tell);
        }
        Kind::Map(entries) if !is_formatted => {
            alike(entries.iter().map(|entry| (&entry.key, false)), types, tell);
            alike(entries.iter().map(|entry| (&entry.value, entry.optional)), types, tell);
        }
        _ => {}
    }
    for child in children(&expr.kind) {
        literal(child, is_formatted, types, tell);
    }
}

/// Tells the first that is of another type than the first one.
fn alike<'e>(values: impl Iterator<Item = (&'e Expr, bool)>, types: &[Type], tell: &mut dyn FnMut(u32, String)) {
    let mut first: Option<&Type> = None;
    for (value, optional) in values {
        let Some(of) = types.get(value.id as usize) else { continue };
        let of = if optional { of.unwrapped().unwrap_or(of) } else { of };
        match first {
            None => first = Some(of),
            Some(first) if first == of => {}
            Some(first) => return tell(value.at, format!("expected type '{first}' but found '{of}'")),
        }
    }
}

fn is_wrong(function: &str, is_member: bool, text: &str) -> bool {
    match (function, is_member) {
        ("duration", false) => time::parse_duration(text).is_err(),
        ("timestamp", false) => time::parse_timestamp(text).is_none_or(|at| time::in_range(at).is_err()),
        ("matches", _) | ("find" | "findAll", true) => pattern::compile(text).is_err(),
        _ => false,
    }
}
