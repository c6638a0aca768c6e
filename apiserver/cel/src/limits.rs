//! What one evaluation may use: cost in upstream's units, memory, and time that somebody else measures.

use std::collections::BTreeMap;

use regex::Regex;

use crate::error::EvalError;
use crate::pattern::Compiled;

/// The most that one call may cost.
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// What all expressions of one object may cost together.
pub const RUNTIME_BUDGET: u64 = 10_000_000;
/// What the match conditions of one webhook or policy may cost together.
pub const MATCH_CONDITIONS_BUDGET: u64 = 2_500_000;
/// What one call may make anew in strings, lists and maps, in bytes.
const MEMORY_MAX: usize = 64 * 1024 * 1024;
/// How many steps one call may make: nodes that are evaluated, and elements of values that are gone through. Costs are
/// upstream's and do not see all of these: comparing two lists costs by their lengths, whatever stands in them.
const STEPS_MAX: u32 = 10_000_000;
/// How many steps all calls of a budget may make: a thousand expressions that are cheap by upstream's count take no longer than a few
/// dear ones.
const ALL_STEPS_MAX: u32 = 4 * STEPS_MAX;
/// How many steps are made between two looks at the clock.
const INTERRUPT_STEPS: u32 = 100;
/// How much text is gone through in the time of a step.
const BYTES_PER_STEP: usize = 64;
/// How many patterns that are no literals stay compiled during a call.
const REGEXES_MAX: usize = 16;

/// What calls may use together.
pub struct Budget<'b> {
    /// Cost that is left.
    pub remaining: u64,
    steps_left: u32,
    interrupted: Option<&'b dyn Fn() -> bool>,
}

impl<'b> Budget<'b> {
    pub fn new(cost: u64) -> Self {
        Self { remaining: cost, steps_left: ALL_STEPS_MAX, interrupted: None }
    }
    /// `interrupted` is asked now and then whether nobody waits any more.
    #[must_use]
    pub fn until(self, interrupted: &'b dyn Fn() -> bool) -> Self {
        Self { interrupted: Some(interrupted), ..self }
    }
    /// Whether nobody waits any more.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.is_some_and(|interrupted| interrupted())
    }
    /// Takes what a call has used. Whether there was so much.
    pub(crate) fn pay(&mut self, run: &Run<'_>) -> bool {
        let is_within = run.cost <= self.remaining;
        self.remaining = self.remaining.saturating_sub(run.cost);
        self.steps_left -= run.steps_allowed - run.steps_left;
        is_within && self.steps_left > 0
    }
}

impl std::fmt::Debug for Budget<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

/// One call's use.
pub(crate) struct Run<'p> {
    cost: u64,
    memory_left: usize,
    steps_allowed: u32,
    steps_left: u32,
    /// Since the last look at the clock.
    steps: u32,
    interrupted: Option<&'p dyn Fn() -> bool>,
    /// Those of the expression's literals.
    literals: &'p Compiled,
    others: BTreeMap<String, Regex>,
}

impl<'p> Run<'p> {
    pub(crate) fn new(budget: &Budget<'p>, literals: &'p Compiled) -> Self {
        let steps_allowed = STEPS_MAX.min(budget.steps_left);
        Self {
            cost: 0,
            memory_left: MEMORY_MAX,
            steps_allowed,
            steps_left: steps_allowed,
            steps: 0,
            interrupted: budget.interrupted,
            literals,
            others: BTreeMap::new(),
        }
    }
    /// For what is done with values before or after a call: within the same bounds.
    pub(crate) fn outside() -> Run<'static> {
        static NONE: Compiled = BTreeMap::new();
        Run::new(&Budget::new(0), &NONE)
    }
    /// The same, with no more memory than so much, in bytes.
    pub(crate) fn outside_within(memory: usize) -> Run<'static> {
        Run { memory_left: memory, ..Self::outside() }
    }
    pub(crate) fn memory_left(&self) -> usize {
        self.memory_left
    }
    pub(crate) fn spend(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > PER_CALL_LIMIT { Err(EvalError::CostLimit) } else { Ok(()) }
    }
    /// Whether so much more would be too much.
    pub(crate) fn check(&self, cost: u64) -> Result<(), EvalError> {
        if self.cost.saturating_add(cost) > PER_CALL_LIMIT { Err(EvalError::CostLimit) } else { Ok(()) }
    }
    /// Before something that large is made.
    pub(crate) fn allocate(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.memory_left = self.memory_left.checked_sub(bytes).ok_or(EvalError::MemoryLimit)?;
        Ok(())
    }
    /// Before each node that is evaluated, and each element that is gone through.
    pub(crate) fn step(&mut self) -> Result<(), EvalError> {
        self.steps(1)
    }
    /// Before so much text is gone through.
    pub(crate) fn scan(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.steps(bytes / BYTES_PER_STEP)
    }
    pub(crate) fn steps(&mut self, count: usize) -> Result<(), EvalError> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let Some(left) = self.steps_left.checked_sub(count) else {
            self.steps_left = 0;
            return Err(EvalError::CostLimit);
        };
        self.steps_left = left;
        self.steps += count;
        if self.steps < INTERRUPT_STEPS {
            return Ok(());
        }
        self.steps = 0;
        if self.interrupted.is_some_and(|interrupted| interrupted()) { Err(EvalError::Interrupted) } else { Ok(()) }
    }
    pub(crate) fn regex(&mut self, pattern: &str) -> Result<Regex, EvalError> {
        if let Some(known) = self.literals.get(pattern).or_else(|| self.others.get(pattern)) {
            return Ok(known.clone());
        }
        let (made, steps) = crate::pattern::compile_dynamic(pattern);
        self.steps(steps)?;
        let made = made?;
        if self.others.len() >= REGEXES_MAX {
            self.others.clear();
        }
        self.others.insert(pattern.to_owned(), made.clone());
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_one_budget_have_steps_together() {
        static NONE: Compiled = BTreeMap::new();
        let mut budget = Budget::new(10);
        let call = |budget: &mut Budget<'_>, steps: u32| {
            let mut run = Run::new(budget, &NONE);
            let result = run.steps(steps as usize);
            (result, budget.pay(&run))
        };
        assert_eq!(call(&mut budget, STEPS_MAX + 1), (Err(EvalError::CostLimit), true), "of one call");
        for _ in 0..2 {
            assert_eq!(call(&mut budget, STEPS_MAX), (Ok(()), true));
        }
        assert_eq!(call(&mut budget, STEPS_MAX - 7), (Ok(()), true));
        assert_eq!(call(&mut budget, 8), (Err(EvalError::CostLimit), false), "of all");
        assert_eq!(call(&mut budget, 1), (Err(EvalError::CostLimit), false));
        assert_eq!(budget.remaining, 10);
    }
}
