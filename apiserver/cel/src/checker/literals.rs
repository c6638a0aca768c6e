//! Literals that would fail whenever they are evaluated, and lists and maps of many types.

use std::sync::Arc;

use crate::ast::{Expr, Kind, Literal, children};
use crate::pattern::{self, Compiled};
use crate::time;
use crate::types::Type;

/// Goes through a tree. Patterns that stand in it are compiled, once.
pub(super) struct Literals<'t> {
    types: &'t [Type],
    patterns: pattern::Literals,
    /// Where, and what.
    wrong: Vec<(u32, String)>,
    most: usize,
}

impl<'t> Literals<'t> {
    /// So many problems at most are found.
    pub(super) fn new(types: &'t [Type], most: usize) -> Self {
        Self { types, patterns: pattern::Literals::default(), wrong: Vec::new(), most }
    }
    pub(super) fn done(self) -> (Vec<(u32, String)>, Compiled) {
        (self.wrong, self.patterns.into_made())
    }
    pub(super) fn check(&mut self, expr: &Expr) {
        self.expr(expr, false);
    }
    /// What is formatted may be of many types.
    fn expr(&mut self, expr: &Expr, is_formatted: bool) {
        if self.wrong.len() >= self.most {
            return;
        }
        let mut is_formatted = is_formatted;
        match &expr.kind {
            Kind::Call { target, function, args } => {
                is_formatted |= &**function == "format";
                let argument = if target.is_none() && &**function == "matches" { args.get(1) } else { args.first() };
                if let Some(Expr { at, kind: Kind::Literal(Literal::String(text)), .. }) = argument
                    && self.is_wrong(function, target.is_some(), text)
                {
                    self.wrong.push((*at, format!("invalid {function} argument")));
                }
            }
            Kind::List(items) if !is_formatted => {
                self.alike(items.iter().map(|item| (&item.value, item.optional)));
            }
            Kind::Map(entries) if !is_formatted => {
                self.alike(entries.iter().map(|entry| (&entry.key, false)));
                self.alike(entries.iter().map(|entry| (&entry.value, entry.optional)));
            }
            _ => {}
        }
        for child in children(&expr.kind) {
            self.expr(child, is_formatted);
        }
    }
    /// Tells the first that is of another type than the first one.
    fn alike<'e>(&mut self, values: impl Iterator<Item = (&'e Expr, bool)>) {
        let mut first: Option<&Type> = None;
        for (value, optional) in values {
            let Some(of) = self.types.get(value.id as usize) else { continue };
            let of = if optional { of.unwrapped().unwrap_or(of) } else { of };
            match first {
                None => first = Some(of),
                Some(first) if first == of => {}
                Some(first) => {
                    let message = format!("expected type '{}' but found '{}'", first.brief(), of.brief());
                    return self.wrong.push((value.at, message));
                }
            }
        }
    }
    fn is_wrong(&mut self, function: &str, is_member: bool, text: &Arc<str>) -> bool {
        match (function, is_member) {
            ("duration", false) => time::parse_duration(text).is_err(),
            ("timestamp", false) => time::parse_timestamp(text).is_none_or(|at| time::in_range(at).is_err()),
            ("matches", _) | ("find" | "findAll", true) => self.patterns.compile(text).is_err(),
            _ => false,
        }
    }
}
