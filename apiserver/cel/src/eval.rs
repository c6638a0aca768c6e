//! Evaluation: a walk of the tree, with what each node costs.

mod calls;
mod fold;
mod operators;

use std::collections::BTreeMap;
use std::sync::Arc;

use fold::kept;

use crate::ast::{ACCUMULATOR, Bind, Entry, Expr, Field, Item, Kind, Literal};
use crate::cost;
use crate::environment;
use crate::error::EvalError;
use crate::limits::Run;
use crate::value::{Struct, Value, brief};

/// The values of an expression's variables.
pub trait Activation<'a> {
    /// None if there is no such variable. It may be computed only now.
    fn variable(&self, name: &str) -> Option<Result<Value<'a>, EvalError>>;
}

impl<'a> Activation<'a> for BTreeMap<&str, Value<'a>> {
    fn variable(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        self.get(name).cloned().map(Ok)
    }
}

/// No variables.
impl<'a> Activation<'a> for () {
    fn variable(&self, _name: &str) -> Option<Result<Value<'a>, EvalError>> {
        None
    }
}

const LIST_COST: u64 = 10;
const MAP_COST: u64 = 30;
const STRUCT_COST: u64 = 40;

pub(crate) struct Evaluator<'r, 'p, 'a> {
    pub(crate) run: &'r mut Run<'p>,
    activation: &'r dyn Activation<'a>,
    /// Variables of comprehensions, the innermost last. An accumulator may be an error that is made up for later.
    scope: Vec<(Arc<str>, Result<Value<'a>, EvalError>)>,
}

impl<'r, 'p, 'a> Evaluator<'r, 'p, 'a> {
    pub(crate) fn new(run: &'r mut Run<'p>, activation: &'r dyn Activation<'a>) -> Self {
        Self { run, activation, scope: Vec::new() }
    }
    pub(crate) fn eval(&mut self, expr: &Expr) -> Result<Value<'a>, EvalError> {
        self.run.step()?;
        match &expr.kind {
            Kind::Literal(literal) => Ok(constant(literal)),
            Kind::Ident(name) => self.ident(name),
            Kind::Select { operand, field, test: false } => self.select(operand, field),
            Kind::Select { operand, field, test: true } => self.has(operand, field),
            Kind::Call { target, function, args } => self.call(target.as_deref(), function, args),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct { name, fields } => self.construct(name, fields),
            Kind::Fold(fold) => self.fold(fold),
            Kind::Bind(bind) => self.name(bind),
        }
    }
    #[inline(never)]
    fn ident(&mut self, name: &str) -> Result<Value<'a>, EvalError> {
        self.run.spend(1)?;
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some((_, value)) = self.scope.iter().rev().find(|(known, _)| **known == *name) {
            return value.clone();
        }
        if let Some(value) = self.activation.variable(name) {
            return value;
        }
        let named = environment::type_named(name).map(Value::Type);
        named.ok_or_else(|| EvalError::NoSuchVariable(name.into()))
    }
    /// An error has the name, too, and is made up for where it is used.
    #[inline(never)]
    fn name(&mut self, bind: &Bind) -> Result<Value<'a>, EvalError> {
        self.run.spend(cost::BIND)?;
        let value = kept(self.eval(&bind.value))?;
        self.scope.push((bind.name.clone(), value));
        let result = self.eval(&bind.result);
        self.scope.pop();
        result
    }
    /// The innermost accumulator, taken out so that it has no other owner and can grow in place.
    fn take_accumulator(&mut self, expr: &Expr) -> Option<Result<Value<'a>, EvalError>> {
        if !matches!(&expr.kind, Kind::Ident(name) if **name == *ACCUMULATOR) {
            return None;
        }
        let (_, slot) = self.scope.iter_mut().rev().find(|(known, _)| **known == *ACCUMULATOR)?;
        let value = std::mem::replace(slot, Ok(Value::Null));
        Some(self.run.spend(1).and(value))
    }
    #[inline(never)]
    fn select(&mut self, operand: &Expr, field: &Arc<str>) -> Result<Value<'a>, EvalError> {
        let operand = self.eval(operand)?;
        self.run.spend(1)?;
        match field_of(&operand, field, self.run)? {
            Some(value) => Ok(value),
            None => Err(EvalError::NoSuchKey(brief(field).into_owned())),
        }
    }
    #[inline(never)]
    fn has(&mut self, operand: &Expr, field: &Arc<str>) -> Result<Value<'a>, EvalError> {
        let operand = self.eval(operand)?;
        let found = match &operand {
            Value::Optional(Some(inner)) => field_of(inner, field, self.run)?,
            Value::Optional(None) => None,
            plain => field_of(plain, field, self.run)?,
        };
        Ok(Value::Bool(found.is_some()))
    }
    #[inline(never)]
    fn list(&mut self, items: &[Item]) -> Result<Value<'a>, EvalError> {
        self.run.allocate(items.len() * size_of::<Value<'_>>())?;
        let mut made = Vec::with_capacity(items.len());
        for item in items {
            let value = self.eval(&item.value)?;
            match (item.optional, value) {
                (false, value) => made.push(value),
                (true, Value::Optional(value)) => made.extend(value.map(|value| (*value).clone())),
                (true, _) => {
                    return Err(EvalError::function("cannot initialize optional list element from non-optional value"));
                }
            }
        }
        self.run.spend(LIST_COST)?;
        Value::list(made).not_too_deep()
    }
    #[inline(never)]
    fn map(&mut self, entries: &[Entry]) -> Result<Value<'a>, EvalError> {
        self.run.allocate(entries.len() * 3 * size_of::<Value<'_>>())?;
        let mut made = BTreeMap::new();
        for entry in entries {
            let key = self.eval(&entry.key)?;
            let value = self.eval(&entry.value)?;
            let known = match key {
                Value::Double(_) => None,
                _ => key.key(),
            };
            let Some(known) = known else { return Err(EvalError::BadKey(key.type_of().name().into())) };
            match (entry.optional, value) {
                (false, value) => _ = made.insert(known, (key, value)),
                (true, Value::Optional(Some(value))) => _ = made.insert(known, (key, (*value).clone())),
                // As if the entry before it that has the same key had not been written, either.
                (true, Value::Optional(None)) => _ = made.remove(&known),
                (true, _) => {
                    return Err(EvalError::function("cannot initialize optional entry from non-optional value"));
                }
            }
        }
        self.run.spend(MAP_COST)?;
        Value::map(made).not_too_deep()
    }
    #[inline(never)]
    fn construct(&mut self, name: &Arc<str>, fields: &[Field]) -> Result<Value<'a>, EvalError> {
        self.run.allocate(fields.len() * 2 * size_of::<Value<'_>>())?;
        let mut made = BTreeMap::new();
        for field in fields {
            let value = self.eval(&field.value)?;
            match (field.optional, value) {
                (false, value) => _ = made.insert(field.name.clone(), value),
                (true, Value::Optional(Some(value))) => _ = made.insert(field.name.clone(), (*value).clone()),
                (true, Value::Optional(None)) => {}
                (true, _) => {
                    return Err(EvalError::function("cannot initialize optional field from non-optional value"));
                }
            }
        }
        self.run.spend(STRUCT_COST)?;
        let name = name.strip_prefix('.').map_or_else(|| name.clone(), Arc::from);
        Value::Struct(Arc::new(Struct::new(name, made))).not_too_deep()
    }
}

pub(crate) fn constant<'a>(literal: &Literal) -> Value<'a> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(text) => Value::text(text.clone()),
        Literal::Bytes(bytes) => Value::Bytes(bytes.clone()),
    }
}

/// A field of a map or object; of an optional one an optional field. What has no fields has none of any name, as in cel-go: null is
/// one of these. A list is asked for by numbers.
fn field_of<'a>(operand: &Value<'a>, field: &str, run: &mut Run<'_>) -> Result<Option<Value<'a>>, EvalError> {
    match operand {
        Value::Map(map) => map.field(field, run),
        Value::Struct(made) => Ok(made.fields.get(field).cloned()),
        Value::Optional(None) => Ok(Some(Value::Optional(None))),
        Value::Optional(Some(inner)) => Ok(Some(Value::Optional(field_of(inner, field, run)?.map(Arc::new)))),
        Value::List(_) => Err(EvalError::BadIndex("string".into())),
        _ => Ok(None),
    }
}
