//! What a policy finds of one write: each of its validations, with its message; its annotations for the audit. Pure.

use corten_cel::{EvalError, RUNTIME_BUDGET, Value};

use super::index::{Annotation, Compiled, Validating, Validation};
use super::scope::Scope;
use crate::bounded_text::bounded;

/// What is longer is not told, but the message that is always there.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;
const ANNOTATION_BYTES_MAX: usize = 10 * 1024;
const INVALID: &str = "Invalid";

/// What is wrong with a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    /// Upstream's.
    pub(super) reason: String,
    /// Of the validation; of none, the first.
    pub(super) index: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// What the bindings say becomes of them.
    pub(super) faults: Vec<Fault>,
    /// Annotations without a value that refuse whatever bindings say.
    pub(super) refused: Vec<String>,
    /// By key.
    pub(super) annotations: Vec<(String, String)>,
}

impl Findings {
    /// That it could not be asked.
    pub(super) fn failed(fails_open: bool, message: String, index: usize) -> Self {
        let mut findings = Self::default();
        findings.fail(fails_open, message, index);
        findings
    }
    fn fail(&mut self, fails_open: bool, message: String, index: usize) {
        if !fails_open {
            self.faults.push(Fault { message, reason: INVALID.into(), index });
        }
    }
}

/// Of a policy whose rules are about the write, and whose conditions hold.
pub(super) fn judge(of: &Validating, scope: &Scope<'_, '_>) -> Findings {
    let fails_open = of.policy.fails_open;
    let mut findings = Findings::default();
    let mut left = RUNTIME_BUDGET;
    for (index, validation) in of.validations.iter().enumerate() {
        match value(&validation.program, &validation.expression, scope, &mut left) {
            Ok(Value::Bool(true)) => {}
            Ok(_) => match message(validation, scope, &mut left) {
                Ok(message) => {
                    let reason = validation.reason.clone().unwrap_or_else(|| INVALID.into());
                    findings.faults.push(Fault { message, reason, index });
                }
                Err(err) => findings.fail(fails_open, format!("failed messageExpression: {err}"), index),
            },
            Err(Failed::All(why)) => return Findings::failed(fails_open, why, 0),
            Err(Failed::One(why)) => findings.fail(fails_open, why, index),
        }
    }
    annotate(of, scope, findings)
}

/// Why an expression has no value.
enum Failed {
    One(String),
    /// Nothing else is evaluated.
    All(String),
}

fn value<'a>(program: &Compiled, text: &str, scope: &Scope<'a, '_>, left: &mut u64) -> Result<Value<'a>, Failed> {
    let program = program.as_ref().map_err(|why| Failed::One(format!("compilation error: {why}")))?;
    scope.evaluate(program, left).map_err(|err| match err {
        EvalError::OutOfBudget => Failed::All(err.to_string()),
        err => Failed::One(format!("expression '{text}' resulted in error: {err}")),
    })
}

/// The error: nothing is left to find it with.
fn message(of: &Validation, scope: &Scope<'_, '_>, left: &mut u64) -> Result<String, EvalError> {
    if let Some(program) = &of.message_program {
        match scope.evaluate(program, left) {
            Ok(value) => {
                let text = value.as_text().map(str::trim).unwrap_or_default();
                if !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n') {
                    return Ok(text.to_owned());
                }
            }
            Err(err @ EvalError::OutOfBudget) => return Err(err),
            Err(err) => tracing::debug!(%err, "a messageExpression has no value"),
        }
    }
    let plain = || format!("failed expression: {}", of.expression.trim());
    Ok(if of.message.is_empty() { plain() } else { of.message.clone() })
}

fn annotate(of: &Validating, scope: &Scope<'_, '_>, mut findings: Findings) -> Findings {
    let fails_open = of.policy.fails_open;
    let mut left = RUNTIME_BUDGET;
    for Annotation { key, expression, program } in &of.annotations {
        match value(program, expression, scope, &mut left) {
            Ok(Value::Null) => {}
            Ok(value) => match value.as_text().map(str::trim) {
                Ok("") => {}
                Ok(text) => findings.annotations.push((key.clone(), bounded(text, ANNOTATION_BYTES_MAX))),
                Err(_) => {
                    let of = value.type_of();
                    findings.refused.push(format!(
                        "valueExpression '{expression}' resulted in unsupported return type: {of}. Return type must be either string or null."
                    ));
                }
            },
            Err(Failed::All(why)) => return Findings::failed(fails_open, why, 0),
            Err(Failed::One(why)) if !fails_open => findings.refused.push(why),
            Err(Failed::One(_)) => {}
        }
    }
    findings
}
