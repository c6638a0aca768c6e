//! Policies that judge: all that are about a write are asked, and the first in order that refuses is told of.

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_api::{ApiError, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause;
use serde::Serialize;

use super::index::{Action, Binding, Index, Validating};
use super::invocations::{Invocation, Misconfigured, Step, steps};
use super::judge::{Fault, Findings, judge};
use super::parsed::Parsed;
use super::scope::Scope;
use super::told::{Of, Told, Untold};
use super::{Clock, Pass, TIME_MAX, took_too_long};
use crate::admission::asking::Asking;
use crate::admission::conditions::{Outcome, joined};
use crate::admission::expressions::Host;
use crate::aside::aside;
use crate::registry::AnyObject;
use crate::told::{self, Shows, WARNINGS_MAX};

/// Of one policy and key: one binding may ask with a thousand parameters.
const ANNOTATION_VALUES_MAX: usize = 50;

const FAILURE_KEY: &str = "validation.policy.admission.k8s.io/validation_failure";

/// Why a write is refused.
struct Denial {
    policy: Arc<str>,
    /// `None`: what is wrong is the policy's own.
    binding: Option<Arc<str>>,
    message: String,
    reason: String,
}

impl Denial {
    fn error(&self, asking: &Asking<'_>) -> ApiError {
        let Self { policy, binding, message, reason } = self;
        let with = binding.as_ref().map(|binding| format!(" with binding '{binding}'")).unwrap_or_default();
        let message = format!("ValidatingAdmissionPolicy '{policy}'{with} denied request: {message}");
        let reason = match reason.as_str() {
            "Forbidden" => Reason::Forbidden,
            "RequestEntityTooLarge" => Reason::RequestEntityTooLarge,
            _ => Reason::Invalid,
        };
        let error = ApiError::forbidden(asking.resource.group(), asking.resource.plural(), asking.name, &message);
        let mut status = error.status().clone();
        status.reason = Some(reason.as_str().into());
        status.code = Some(i32::from(reason.code()));
        let cause = StatusCause { message: Some(message), ..StatusCause::default() };
        status.details.get_or_insert_default().causes.get_or_insert_default().push(cause);
        ApiError::from_status(status)
    }
}

/// As the audit is told of it. Upstream's fields, in its order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    message: String,
    policy: String,
    binding: String,
    expression_index: usize,
    validation_actions: Vec<&'static str>,
}

/// What came of all policies.
#[derive(Default)]
struct Verdict {
    /// The first: the others are told nobody.
    denial: Option<Denial>,
    warnings: Vec<String>,
    /// For the audit, by policy and key: what several bindings say is told together.
    annotations: BTreeMap<(Arc<str>, String), Vec<String>>,
    /// The first that a binding wants to have told to the audit.
    failure: Option<Failure>,
}

impl Verdict {
    fn deny(&mut self, denial: impl FnOnce() -> Denial) {
        self.denial.get_or_insert_with(denial);
    }
    fn warn(&mut self, warning: impl FnOnce() -> String) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(warning());
        }
    }
}

pub(super) async fn ask(
    index: &Index,
    asking: &Asking<'_>,
    object: Option<&dyn AnyObject>,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    let steps = steps(&index.validating, asking, object, &Clock::new(TIME_MAX)).await?;
    if steps.is_empty() {
        return Ok(());
    }
    let mut run = Run { asking, object, parsed: &index.parsed, told: Told::default() };
    let judged = match run.judge_all(&steps, Pass::Inline).await? {
        Some(verdict) => Some(verdict),
        None => aside(&asking.user.name, true, run.judge_all(&steps, Pass::Aside)).await?,
    };
    let verdict = judged.ok_or_else(took_too_long)?;
    for ((policy, key), values) in &verdict.annotations {
        told::annotate(&format!("{policy}/{key}"), || values.join(", "), Shows::Metadata);
    }
    if let Some(failure) = &verdict.failure {
        let json = serde_json::to_string(&[failure]).map_err(ApiError::internal)?;
        told::annotate(FAILURE_KEY, || json, Shows::Metadata);
    }
    warnings.extend(verdict.warnings);
    verdict.denial.map_or(Ok(()), |denial| Err(denial.error(asking)))
}

/// One write, which all policies are asked about.
struct Run<'a, 'r> {
    asking: &'a Asking<'r>,
    object: Option<&'a dyn AnyObject>,
    parsed: &'a Parsed,
    told: Told,
}

impl Run<'_, '_> {
    /// `None`: there was no time for all.
    async fn judge_all(&mut self, steps: &[Step<'_, Validating>], pass: Pass) -> Result<Option<Verdict>, ApiError> {
        let clock = Clock::new(pass.time_max());
        let mut verdict = Verdict::default();
        for step in steps {
            match step {
                Step::Fail(fault) => misconfigured(fault, &mut verdict),
                Step::Invoke(of) => match self.findings(of, &clock).await {
                    Ok(findings) => note(&of.policy.policy.name, of.binding, findings, &mut verdict),
                    Err(Untold::Conversion(why)) => {
                        misconfigured(&Misconfigured::of(&of.policy.policy, Some(of.binding), &why), &mut verdict);
                    }
                    Err(Untold::Refused(err)) => return Err(err),
                },
            }
            if clock.is_over() {
                return Ok(None);
            }
        }
        Ok(Some(verdict))
    }

    /// Of one policy with one set of parameters.
    async fn findings(&mut self, of: &Invocation<'_, Validating>, clock: &Clock) -> Result<Findings, Untold> {
        let Self { asking, object, told, parsed } = self;
        let policy = &of.policy.policy;
        let param = match of.param.as_ref().map(|param| param.value(parsed)).transpose() {
            Ok(param) => param,
            Err(why) => return Ok(Findings::failed(policy.fails_open, why, 0)),
        };
        let interrupted = || clock.is_over();
        let host = Host(asking);
        let params = policy.param_kind.is_some().then_some(param.as_deref());
        if !policy.conditions.is_empty() {
            let telling = told.values(asking, *object, (&of.resource, Of::Conditions), params, &host);
            match policy.conditions.judge(&clock.beside(telling).await?, &interrupted) {
                Outcome::Hold => {}
                Outcome::DoNotHold => return Ok(Findings::default()),
                Outcome::Errors(why) => return Ok(Findings::failed(policy.fails_open, joined(&why), 0)),
            }
        }
        let values = clock.beside(told.values(asking, *object, (&of.resource, Of::Policy), params, &host)).await?;
        let scope = Scope::new(values, &policy.variables, &interrupted);
        Ok(judge(of.policy, &scope))
    }
}

fn misconfigured(Misconfigured { policy, binding, why }: &Misconfigured<'_>, verdict: &mut Verdict) {
    if policy.fails_open {
        tracing::warn!(policy = &*policy.name, why, "a policy cannot be asked; the request goes on without it");
        return;
    }
    verdict.deny(|| Denial {
        policy: policy.name.clone(),
        binding: binding.map(|binding| binding.name.clone()),
        message: why.clone(),
        reason: String::new(),
    });
}

/// What a binding says becomes of what its policy has found.
fn note(policy: &Arc<str>, binding: &Binding, findings: Findings, verdict: &mut Verdict) {
    let denial = |message: &str, reason: &str| Denial {
        policy: policy.clone(),
        binding: Some(binding.name.clone()),
        message: message.to_owned(),
        reason: reason.to_owned(),
    };
    for Fault { message, reason, index } in &findings.faults {
        for action in &binding.actions {
            match action {
                Action::Deny => verdict.deny(|| denial(message, reason)),
                Action::Warn => verdict.warn(|| {
                    let name = &binding.name;
                    format!(
                        "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{name}': {message}"
                    )
                }),
                Action::Audit => {
                    verdict.failure.get_or_insert_with(|| Failure {
                        message: message.clone(),
                        policy: policy.to_string(),
                        binding: binding.name.to_string(),
                        expression_index: *index,
                        validation_actions: binding.actions.iter().map(|action| action.as_str()).collect(),
                    });
                }
            }
        }
    }
    for message in findings.refused {
        verdict.deny(|| denial(&message, ""));
    }
    for (key, value) in findings.annotations {
        let values = verdict.annotations.entry((policy.clone(), key)).or_default();
        if !values.contains(&value) && values.len() < ANNOTATION_VALUES_MAX {
            values.push(value);
        }
    }
}
