//! A compiled expression: what it gives, what it may cost, and its evaluation.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ast::Expr;
use crate::checker::{self, Checked};
use crate::cost::{self, Estimate};
use crate::environment::Environment;
use crate::error::EvalError;
use crate::eval::{Activation, Evaluator};
use crate::limits::{Budget, Run};
use crate::parser;
use crate::pattern::Compiled;
use crate::problem::Problem;
use crate::types::Type;
use crate::value::Value;

/// May be evaluated any number of times, by many threads at once.
#[derive(Debug)]
pub struct Program {
    root: Expr,
    output: Type,
    cost: Estimate,
    variables: BTreeSet<Arc<str>>,
    /// By the patterns that stand in the expression.
    regexes: Compiled,
}

/// Everything that is wrong with an expression, or what can be evaluated.
pub fn compile(text: &str, environment: &Environment) -> Result<Program, Vec<Problem>> {
    let parsed = parser::parse(text, environment.macros()).map_err(|problem| vec![problem])?;
    let checked = checker::check(text, parsed, environment)?;
    let output = checked.type_of(&checked.root).clone();
    let cost = cost::estimate(&checked, environment);
    let Checked { root, variables, regexes, .. } = checked;
    Ok(Program { root, output, cost, variables, regexes })
}

impl Program {
    /// The type of its values.
    pub fn output(&self) -> &Type {
        &self.output
    }
    /// The least and the most that it may cost, in upstream's units.
    pub fn estimated_cost(&self) -> Estimate {
        self.cost
    }
    /// Whether it names a variable: `oldSelf` makes a rule one of transitions.
    pub fn uses(&self, variable: &str) -> bool {
        self.variables.contains(variable)
    }
    /// All that it names.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(AsRef::as_ref)
    }
    /// What it cost is taken from the budget, whether it has a value or not.
    pub fn evaluate<'a>(
        &self,
        activation: &dyn Activation<'a>,
        budget: &mut Budget<'_>,
    ) -> Result<Value<'a>, EvalError> {
        let mut run = Run::new(budget, &self.regexes);
        let result = Evaluator::new(&mut run, activation).eval(&self.root);
        if budget.pay(&run) { result } else { Err(EvalError::OutOfBudget) }
    }
}

#[cfg(test)]
mod tests;
