//! Comprehensions: what goes round.

use std::sync::Arc;

use super::Evaluator;
use crate::ast::Fold;
use crate::error::EvalError;
use crate::value::{List, Map, Value};

/// What is gone through.
enum Range<'a> {
    List(List<'a>),
    Map(Map<'a>, Vec<Value<'a>>),
}

impl<'a> Evaluator<'_, '_, 'a> {
    #[inline(never)]
    pub(super) fn fold(&mut self, fold: &Fold) -> Result<Value<'a>, EvalError> {
        let range = match self.eval(&fold.range)? {
            Value::List(list) => Range::List(list),
            Value::Map(map) => {
                let keys = map.keys(self.run)?;
                Range::Map(map, keys)
            }
            _ => return Err(EvalError::NoSuchOverload),
        };
        let init = kept(self.eval(&fold.init))?;
        let base = self.scope.len();
        self.scope.push((fold.accumulator.clone(), init));
        let gone_round = self.go_round(fold, &range, base);
        self.scope.truncate(base + 1);
        let result = match gone_round {
            Ok(()) => self.eval(&fold.result),
            Err(e) => Err(e),
        };
        self.scope.truncate(base);
        result
    }
    #[inline(never)]
    fn go_round(&mut self, fold: &Fold, range: &Range<'a>, base: usize) -> Result<(), EvalError> {
        let count = match range {
            Range::List(list) => list.len(),
            Range::Map(_, keys) => keys.len(),
        };
        for index in 0..count {
            self.bind(fold, range, index)?;
            let goes_on = kept(self.eval(&fold.condition))?;
            if matches!(goes_on, Ok(Value::Bool(false))) {
                return Ok(());
            }
            let next = kept(self.eval(&fold.step))?;
            if let Some((_, accumulator)) = self.scope.get_mut(base) {
                *accumulator = next;
            }
            self.scope.truncate(base + 1);
        }
        Ok(())
    }
    fn bind(&mut self, fold: &Fold, range: &Range<'a>, index: usize) -> Result<(), EvalError> {
        let (first, second) = match range {
            Range::List(list) => {
                let element = kept(list.item(index, self.run))?;
                let element = element.and_then(|found| found.ok_or(EvalError::OutOfBounds(position(index))));
                match &fold.second {
                    None => (element, None),
                    Some(second) => (Ok(Value::Int(position(index))), Some((second, element))),
                }
            }
            Range::Map(map, keys) => {
                let Some(key) = keys.get(index) else { return Err(EvalError::OutOfBounds(position(index))) };
                let second = match &fold.second {
                    None => None,
                    Some(second) => {
                        let value = kept(map.get(key, self.run))?;
                        Some((second, value.map(|found| found.unwrap_or(Value::Null))))
                    }
                };
                (Ok(key.clone()), second)
            }
        };
        self.scope.push((fold.variable.clone(), first));
        if let Some((second, value)) = second {
            self.scope.push((Arc::clone(second), value));
        }
        Ok(())
    }
}

fn position(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

/// An error of the expression's own is a value like others here: `||` may make up for it. A cancellation ends everything.
pub(super) fn kept<T>(result: Result<T, EvalError>) -> Result<Result<T, EvalError>, EvalError> {
    match result {
        Err(e) if e.is_cancellation() => Err(e),
        other => Ok(other),
    }
}
