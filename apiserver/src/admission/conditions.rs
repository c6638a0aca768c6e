//! Conditions on which a webhook is asked, or a policy, about a write that its rules name. Pure.

use corten_cel::{Activation, Budget, EvalError, MATCH_CONDITIONS_BUDGET, Program};
use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use crate::registry::admissionregistration::environment::{Known, Typed, environment};
use crate::registry::admissionregistration::expressions::{Wanted, compile};

#[derive(Debug)]
struct Condition {
    of: MatchCondition,
    program: Result<Program, String>,
}

/// All of one webhook's, or one policy's.
#[derive(Debug, Default)]
pub(super) struct Conditions(Vec<Condition>);

/// What came of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is asked.
    Hold,
    /// One does not hold: it is not, whatever the others come to.
    DoNotHold,
    /// What is wrong with those that have no value; the others hold.
    Errors(Vec<String>),
}

impl Conditions {
    /// `params`: whether they know some.
    pub(super) fn compile(conditions: &[MatchCondition], params: bool) -> Self {
        if conditions.is_empty() {
            return Self::default();
        }
        let environment = environment(Known::of_conditions(params), &Typed::default());
        let compiled = |of: &MatchCondition| Condition {
            of: of.clone(),
            program: compile(of.expression.trim(), &environment, Wanted::Bool),
        };
        Self(conditions.iter().map(compiled).collect())
    }
    /// Whether they were made of these.
    pub(super) fn are(&self, conditions: &[MatchCondition]) -> bool {
        self.0.iter().map(|condition| &condition.of).eq(conditions)
    }
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub(super) fn cost_max(&self) -> u64 {
        let programs = self.0.iter().filter_map(|condition| condition.program.as_ref().ok());
        programs.fold(0, |cost, program| cost.saturating_add(program.estimated_cost().max))
    }
    /// `interrupted`: whether nobody waits any more.
    pub(super) fn judge(&self, variables: &dyn Activation<'_>, interrupted: &dyn Fn() -> bool) -> Outcome {
        let mut budget = Budget::new(MATCH_CONDITIONS_BUDGET).until(interrupted);
        let mut errors: Vec<String> = Vec::new();
        let mut note = |why: String| {
            if !errors.contains(&why) {
                errors.push(why);
            }
        };
        for Condition { of, program } in &self.0 {
            let program = match program {
                Ok(program) => program,
                Err(why) => {
                    note(format!("compilation error: {why}"));
                    continue;
                }
            };
            match program.evaluate(variables, &mut budget).and_then(|value| value.as_bool()) {
                Ok(true) => {}
                Ok(false) => return Outcome::DoNotHold,
                Err(err @ EvalError::OutOfBudget) => return Outcome::Errors(vec![err.to_string()]),
                Err(err) => note(format!("expression '{}' resulted in error: {err}", of.expression)),
            }
        }
        if errors.is_empty() { Outcome::Hold } else { Outcome::Errors(errors) }
    }
}

/// In the words of upstream, which joins what several errors say.
pub(super) fn joined(why: &[String]) -> String {
    if let [one] = why { one.clone() } else { format!("[{}]", why.join(", ")) }
}

#[cfg(test)]
mod tests;
