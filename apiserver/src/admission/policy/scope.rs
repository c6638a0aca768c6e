//! What the expressions of a policy see of one write: values, and variables that are evaluated when they are first asked for. Pure.
//!
//! Upstream's evaluate each other as deep as they name each other. Here the stack has a bound: what an expression names is evaluated
//! within it, as is what that names, and what is named further in beforehand, in the order in which it stands.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use corten_cel::{Activation, Budget, EvalError, Key, Program, Text, Value};
use k8s_openapi::api::admissionregistration::v1;

use crate::registry::admissionregistration::environment::VARIABLES;
use crate::registry::admissionregistration::expressions::Composer;

/// Evaluations within each other, of variables.
const NESTED_MAX: u32 = 2;
/// In upstream's units: the field of an object of variables.
const SELECT_COST: u64 = 1;

/// The variables of a policy.
#[derive(Debug, Default)]
pub(super) struct Variables {
    all: Vec<Variable>,
    /// Where those of a name stand.
    by_name: HashMap<Arc<str>, Vec<usize>>,
}

#[derive(Debug)]
struct Variable {
    name: Arc<str>,
    program: Result<Program, String>,
    /// Those that it names.
    needs: BTreeSet<usize>,
}

impl Variables {
    pub(super) fn compile(composer: &mut Composer, said: &[v1::Variable]) -> Self {
        let mut made = Self::default();
        for v1::Variable { name, expression } in said {
            let program = composer.add(name, expression);
            let needs = program.as_ref().map(|program| made.needs(program)).unwrap_or_default();
            let (at, name) = (made.all.len(), Arc::<str>::from(name.as_str()));
            made.by_name.entry(name.clone()).or_default().push(at);
            made.all.push(Variable { name, program, needs });
        }
        made
    }
    /// Of these, what the next one names.
    fn needs(&self, program: &Program) -> BTreeSet<usize> {
        if program.uses(VARIABLES) {
            return (0..self.all.len()).collect();
        }
        program.variables().filter_map(|name| self.find(field(name)?, self.all.len())).collect()
    }
    /// The last of this name before a place: of several of one name each knows the one before it.
    fn find(&self, name: &str, before: usize) -> Option<usize> {
        self.by_name.get(name)?.iter().rev().find(|at| **at < before).copied()
    }
}

/// `variables.name`
fn field(variable: &str) -> Option<&str> {
    variable.strip_prefix(VARIABLES)?.strip_prefix('.')
}

type Made<'a> = Result<Value<'a>, EvalError>;

/// Of one write, one set of parameters, and one state of the object.
pub(super) struct Scope<'a, 's> {
    values: BTreeMap<&'static str, Value<'a>>,
    variables: &'s Variables,
    interrupted: &'s dyn Fn() -> bool,
    made: RefCell<Vec<Option<Made<'a>>>>,
    /// What an expression that is evaluated now has left, and has spent on variables.
    left: Cell<u64>,
    spent: Cell<u64>,
    /// Those before this place are known.
    known: Cell<usize>,
    nested: Cell<u32>,
}

impl<'a, 's> Scope<'a, 's> {
    pub(super) fn new(
        values: BTreeMap<&'static str, Value<'a>>,
        variables: &'s Variables,
        interrupted: &'s dyn Fn() -> bool,
    ) -> Self {
        let count = variables.all.len();
        Self {
            values,
            variables,
            interrupted,
            made: RefCell::new(vec![None; count]),
            left: Cell::new(0),
            spent: Cell::new(0),
            known: Cell::new(count),
            nested: Cell::new(0),
        }
    }
    /// What it costs is taken from what is left, with what the variables cost that it is the first to ask for.
    pub(super) fn evaluate(&self, program: &Program, left: &mut u64) -> Made<'a> {
        // Short ones never look themselves.
        if (self.interrupted)() {
            return Err(EvalError::Interrupted);
        }
        self.left.set(*left);
        self.spent.set(0);
        let mut budget = Budget::new(*left).until(self.interrupted);
        let made = program.evaluate(self, &mut budget);
        match budget.remaining.checked_sub(self.spent.get()) {
            Some(remaining) => {
                *left = remaining;
                made
            }
            None => {
                *left = 0;
                Err(EvalError::OutOfBudget)
            }
        }
    }
    fn known_variable(&self, at: usize) -> Made<'a> {
        let made = self.made.borrow().get(at).cloned().flatten();
        match made {
            Some(made) => made,
            None => self.make(at),
        }
    }
    fn make(&self, at: usize) -> Made<'a> {
        if self.nested.get() >= NESTED_MAX {
            for needed in self.unmade(at) {
                match self.make_one(needed) {
                    Err(err) if err.is_cancellation() => return Err(err),
                    // What is wrong with it whoever names it is told.
                    Ok(_) | Err(_) => {}
                }
            }
        }
        self.make_one(at)
    }
    /// All that a variable needs, and what that does, that is not made yet: in the order in which they stand.
    fn unmade(&self, at: usize) -> BTreeSet<usize> {
        let (mut found, mut open) = (BTreeSet::new(), vec![at]);
        while let Some(variable) = open.pop().and_then(|at| self.variables.all.get(at)) {
            for needed in &variable.needs {
                let is_made = self.made.borrow().get(*needed).is_some_and(Option::is_some);
                if !is_made && found.insert(*needed) {
                    open.push(*needed);
                }
            }
        }
        found
    }
    /// A cancellation is none of the variable's own errors: it ends all.
    fn make_one(&self, at: usize) -> Made<'a> {
        let Some(variable) = self.variables.all.get(at) else { return Err(EvalError::NoSuchOverload) };
        let made = match &variable.program {
            Ok(program) => self.run(program, at)?.map_err(|err| {
                let why = format!("composited variable {:?} fails to evaluate: {err}", &*variable.name);
                EvalError::Function(why)
            }),
            Err(why) => {
                let why = format!("composited variable {:?} fails to compile: {why}", &*variable.name);
                Err(EvalError::Function(why))
            }
        };
        if let Some(slot) = self.made.borrow_mut().get_mut(at) {
            *slot = Some(made.clone());
        }
        made
    }
    fn run(&self, program: &Program, at: usize) -> Result<Made<'a>, EvalError> {
        let left = self.left.get().saturating_sub(self.spent.get());
        let known = self.known.replace(at);
        self.nested.set(self.nested.get() + 1);
        let mut budget = Budget::new(left).until(self.interrupted);
        let made = program.evaluate(self, &mut budget);
        self.nested.set(self.nested.get() - 1);
        self.known.set(known);
        // Those within it have spent their own.
        self.spent.set(self.spent.get().saturating_add(left - budget.remaining));
        match made {
            Err(err @ (EvalError::OutOfBudget | EvalError::Interrupted)) => Err(err),
            made => Ok(made),
        }
    }
    /// All of them as one object, for whoever wants to know which there are.
    fn all(&self) -> Made<'a> {
        let mut all = BTreeMap::new();
        for at in 0..self.known.get() {
            let Some(variable) = self.variables.all.get(at) else { break };
            let name = Text::Shared(variable.name.clone());
            // One without a value is there, too.
            let value = match self.known_variable(at) {
                Err(err) if err.is_cancellation() => return Err(err),
                made => made.unwrap_or(Value::Null),
            };
            all.insert(Key::String(name.clone()), (Value::String(name), value));
        }
        Ok(Value::map(all))
    }
}

impl<'a> Activation<'a> for Scope<'a, '_> {
    fn variable(&self, name: &str) -> Option<Made<'a>> {
        if let Some(value) = self.values.get(name) {
            return Some(Ok(value.clone()));
        }
        if name == VARIABLES {
            return Some(self.all());
        }
        let at = self.variables.find(field(name)?, self.known.get())?;
        self.spent.set(self.spent.get().saturating_add(SELECT_COST));
        Some(self.known_variable(at))
    }
}

#[cfg(test)]
mod tests {
    use corten_cel::{PER_CALL_LIMIT, RUNTIME_BUDGET};
    use serde_json::json;

    use super::*;
    use crate::registry::admissionregistration::expressions::Wanted;

    fn said(variables: &[(&str, &str)]) -> Vec<v1::Variable> {
        let one = |(name, text): &(&str, &str)| v1::Variable { name: (*name).into(), expression: (*text).into() };
        variables.iter().map(one).collect()
    }

    /// What an expression comes to, and what that leaves of a budget.
    fn evaluated(variables: &[v1::Variable], text: &str, budget: u64) -> (Result<bool, String>, u64) {
        let mut composer = Composer::new(false);
        let variables = Variables::compile(&mut composer, variables);
        let program = composer.compile(text, Wanted::Bool).unwrap();
        let object = json!({"n": 3, "list": (0..300).collect::<Vec<i32>>()});
        let values = BTreeMap::from([("object", Value::dynamic(&object))]);
        let scope = Scope::new(values, &variables, &|| false);
        let mut left = budget;
        let made = scope.evaluate(&program, &mut left).and_then(|value| value.as_bool());
        (made.map_err(|err| err.to_string()), left)
    }

    #[test]
    fn variables_are_evaluated_once_and_only_if_somebody_asks() {
        let long = "object.list.all(x, object.list.all(y, true))";
        let variables = said(&[("long", long), ("n", "object.n"), ("odd", "variables.n % 2 == 1")]);
        let cost = |text: &str| {
            let (made, left) = evaluated(&variables, text, RUNTIME_BUDGET);
            assert_eq!(made, Ok(true), "{text}");
            RUNTIME_BUDGET - left
        };
        assert!(cost("variables.odd") < 20);
        assert!(cost("true || variables.long") < 5);
        let once = cost("variables.long");
        assert!(once > 90_000 && cost("variables.long && variables.long") < once + 10);
        assert_eq!(evaluated(&variables, "variables.long", 50_000).0, Err(EvalError::OutOfBudget.to_string()));
        assert_eq!(evaluated(&variables, "variables.long", 50_000).1, 0);
    }

    #[test]
    fn one_without_a_value_is_told_where_it_is_used() {
        let variables =
            said(&[("missing", "object.missing"), ("broken", "nobody"), ("uses", "variables.missing == 1")]);
        let of = |text: &str| evaluated(&variables, text, RUNTIME_BUDGET).0;
        let why = r#"composited variable "missing" fails to evaluate: no such key: missing"#;
        assert_eq!(of("variables.missing == 1"), Err(why.into()));
        assert_eq!(of("variables.missing == 1 || true"), Ok(true));
        assert_eq!(of("variables.uses"), Err(format!(r#"composited variable "uses" fails to evaluate: {why}"#)));
        let why = of("variables.broken == true").unwrap_err();
        assert!(
            why.starts_with(r#"composited variable "broken" fails to compile: compilation failed: ERROR"#),
            "{why}"
        );
        assert_eq!(of("has(variables.missing) && has(variables.uses)"), Ok(true));
        let long = "object.list.all(x, object.list.all(y, object.list.all(z, true)))";
        let why = evaluated(&said(&[("long", long)]), "variables.long", RUNTIME_BUDGET);
        assert!(why.0.unwrap_err().contains("actual cost limit exceeded"));
        assert!(RUNTIME_BUDGET - why.1 > PER_CALL_LIMIT);
    }

    #[test]
    fn of_one_name_each_knows_the_one_before_it() {
        let variables = said(&[("a", "1"), ("a", "variables.a + 1"), ("b", "variables.a"), ("a", "variables.a * 10")]);
        assert_eq!(evaluated(&variables, "variables.a == 20 && variables.b == 2", RUNTIME_BUDGET).0, Ok(true));
    }

    #[test]
    fn a_long_chain_of_variables_takes_no_stack() {
        let names: Vec<(String, String)> = (0..1000)
            .map(|i| (format!("v{i}"), if i == 0 { "1".into() } else { format!("variables.v{} + 1", i - 1) }))
            .collect();
        let all: Vec<(&str, &str)> = names.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(evaluated(&said(&all), "variables.v999 == 1000", RUNTIME_BUDGET).0, Ok(true));
    }
}
