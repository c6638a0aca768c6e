//! Calls: those that do not need all their arguments, operators, and the libraries' functions.

use std::sync::Arc;

use super::fold::kept;
use super::{Evaluator, field_of, operators};
use crate::ast::Expr;
use crate::cost;
use crate::error::EvalError;
use crate::library;
use crate::value::{Inside, List, Map, Value, brief, shown};

impl<'a> Evaluator<'_, '_, 'a> {
    #[inline(never)]
    pub(super) fn call(
        &mut self,
        target: Option<&Expr>,
        function: &str,
        args: &[Expr],
    ) -> Result<Value<'a>, EvalError> {
        let function = function.strip_prefix('.').unwrap_or(function);
        match (function, target, args) {
            ("_&&_", None, [a, b]) => self.logic(a, b, false),
            ("_||_", None, [a, b]) => self.logic(a, b, true),
            ("_?_:_", None, [condition, truthy, falsy]) => match self.eval(condition)? {
                Value::Bool(true) => self.eval(truthy),
                Value::Bool(false) => self.eval(falsy),
                _ => Err(EvalError::NoSuchOverload),
            },
            ("@not_strictly_false", None, [arg]) => {
                let value = kept(self.eval(arg))?;
                self.run.spend(1)?;
                Ok(Value::Bool(!matches!(value, Ok(Value::Bool(false)))))
            }
            ("or", Some(target), [other]) => match self.eval(target)? {
                Value::Optional(None) => self.eval(other),
                some @ Value::Optional(Some(_)) => Ok(some),
                _ => Err(EvalError::NoSuchOverload),
            },
            ("orValue", Some(target), [other]) => match self.eval(target)? {
                Value::Optional(None) => self.eval(other),
                Value::Optional(Some(value)) => Ok((*value).clone()),
                _ => Err(EvalError::NoSuchOverload),
            },
            ("_?._", None, [operand, field]) => self.optional_field(operand, field),
            ("_+_" | "cel.@mapInsert", None, [first, ..]) => self.growing(function, first, args),
            _ => self.strict(target, function, args),
        }
    }
    /// `&&` if `decides` is false, `||` if it is true: one side that decides makes up for an error of the other.
    #[inline(never)]
    fn logic(&mut self, a: &Expr, b: &Expr, decides: bool) -> Result<Value<'a>, EvalError> {
        let first = kept(self.eval(a))?.and_then(|value| value.as_bool());
        if first == Ok(decides) {
            return Ok(Value::Bool(decides));
        }
        let second = kept(self.eval(b))?.and_then(|value| value.as_bool());
        match (first, second) {
            (_, Ok(value)) if value == decides => Ok(Value::Bool(decides)),
            (Err(e), _) | (Ok(_), Err(e)) => Err(e),
            (Ok(_), Ok(_)) => Ok(Value::Bool(!decides)),
        }
    }
    #[inline(never)]
    fn optional_field(&mut self, operand: &Expr, field: &Expr) -> Result<Value<'a>, EvalError> {
        let operand = self.eval(operand)?;
        let field = self.eval(field)?;
        self.run.spend(1)?;
        let found = match &operand {
            Value::Optional(None) => None,
            Value::Optional(Some(inner)) => field_of(inner, field.as_text()?, self.run)?,
            plain => field_of(plain, field.as_text()?, self.run)?,
        };
        Ok(Value::Optional(found.map(Arc::new)))
    }
    /// What a comprehension's accumulator grows by.
    #[inline(never)]
    fn growing(&mut self, function: &str, first: &Expr, args: &[Expr]) -> Result<Value<'a>, EvalError> {
        let first = match self.take_accumulator(first) {
            Some(value) => value?,
            None => self.eval(first)?,
        };
        let mut values = vec![first];
        for arg in &args[1..] {
            values.push(self.eval(arg)?);
        }
        let is_plus = function == "_+_";
        // Lists are charged before they move into their sum, and the rest by what there is then.
        let cost =
            if let Value::List(_) = values[0] { 1 } else { cost::of_call(function, &values, self.run)?.unwrap_or(1) };
        let mut values = values.into_iter();
        let (Some(a), Some(b)) = (values.next(), values.next()) else { return Err(EvalError::NoSuchOverload) };
        let result = match (a, b) {
            (Value::List(a), Value::List(b)) if is_plus => {
                self.run.allocate(growth(&a, &b) * size_of::<Value<'_>>())?;
                Value::List(a.plus(&b, self.run)?)
            }
            (a, b) if is_plus => operators::add(a, b, self.run)?,
            (Value::Map(into), key) => self.insert(into, key, values.next())?,
            _ => return Err(EvalError::NoSuchOverload),
        };
        self.run.spend(cost)?;
        Ok(result)
    }
    /// An entry, or those of another map. No key may be there already.
    fn insert(&mut self, into: Map<'a>, key: Value<'a>, value: Option<Value<'a>>) -> Result<Value<'a>, EvalError> {
        let added = match (key, value) {
            (key, Some(value)) => vec![(key, value)],
            (Value::Map(other), None) => {
                let mut pairs = Vec::with_capacity(other.len());
                for key in other.keys(self.run)? {
                    let value = other.get(&key, self.run)?;
                    let value = value.ok_or_else(|| EvalError::NoSuchKey(shown(&key)))?;
                    pairs.push((key, value));
                }
                pairs
            }
            _ => return Err(EvalError::NoSuchOverload),
        };
        let Map::Made { mut entries, inside } = into else { return Err(EvalError::NoSuchOverload) };
        let copied = if Arc::get_mut(&mut entries).is_some() { 0 } else { entries.len() };
        self.run.steps(copied)?;
        self.run.allocate((copied + added.len()) * 3 * size_of::<Value<'_>>())?;
        let map = Arc::make_mut(&mut entries);
        let inside = added.iter().fold(inside, |inside: Inside, (_, value)| inside.with(value));
        for (key, value) in added {
            let Some(known) = key.key() else { return Err(EvalError::BadKey(key.type_of().name().into())) };
            if map.contains_key(&known) {
                return Err(EvalError::KeyExists(brief(&known.to_string()).into_owned()));
            }
            map.insert(known, (key, value));
        }
        Value::Map(Map::Made { entries, inside }).not_too_deep()
    }
    #[inline(never)]
    fn strict(&mut self, target: Option<&Expr>, function: &str, args: &[Expr]) -> Result<Value<'a>, EvalError> {
        let mut values = Vec::with_capacity(args.len() + 1);
        for arg in target.into_iter().chain(args) {
            values.push(self.eval(arg)?);
        }
        let cost = cost::of_call(function, &values, self.run)?;
        // What costs too much by its arguments alone is not done.
        self.run.check(cost.unwrap_or(1))?;
        let result = match operators::call(function, &values, self.run) {
            Some(result) => result?,
            None => library::call(function, &values, self.run)?,
        };
        self.run.spend(cost.unwrap_or_else(|| cost::of_result(&result)))?;
        Ok(result)
    }
}

/// How many items are copied to make a sum.
fn growth(a: &List<'_>, b: &List<'_>) -> usize {
    let copied = match a {
        List::Made { items, .. } if Arc::strong_count(items) == 1 => 0,
        _ => a.len(),
    };
    copied + b.len()
}
