//! Policies that judge: all that are about a write are asked, and the first in order that refuses is told of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use corten_api::{ApiError, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause;
use serde_json::{Value, json};

use super::index::{Action, Binding, Bound, Index, Validating};
use super::judge::{Fault, Findings, judge};
use super::params::{Param, collect};
use super::scope::Scope;
use super::told::Told;
use super::{Clock, INLINE_MAX, TIME_MAX};
use crate::admission::asking::Asking;
use crate::admission::expressions::Host;
use crate::admission::matching;
use crate::aside::aside;
use crate::registry::{AnyObject, ApiResource};
use crate::told::{self, Shows};

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
    fn configuration(policy: &Arc<str>, binding: Option<&Arc<str>>, why: &str) -> Self {
        let what = if binding.is_some() { "binding" } else { "policy" };
        let message = format!("failed to configure {what}: {why}");
        Self { policy: policy.clone(), binding: binding.cloned(), message, reason: String::new() }
    }
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

/// What came of all policies.
#[derive(Default)]
struct Verdict {
    denials: Vec<Denial>,
    warnings: Vec<String>,
    /// For the audit, by policy and key: what several bindings say is told together.
    annotations: BTreeMap<(Arc<str>, String), Vec<String>>,
    /// The first that a binding wants to have told to the audit.
    failure: Option<Value>,
}

pub(super) async fn ask(
    index: &Index,
    asking: &Asking<'_>,
    object: Option<&dyn AnyObject>,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    let resources = matching::equivalents(asking.registry, asking.resource, &asking.target.subresource);
    let mut matched = Vec::new();
    for bound in &index.validating {
        // What nobody has said who it is about is asked, and fails.
        let resource = match &bound.policy.policy.criteria {
            Some(criteria) => criteria.matches(asking, object, &resources),
            None => Ok(Some(asking.resource.clone())),
        };
        match resource {
            Ok(Some(resource)) => matched.push((bound, Ok(resource))),
            Ok(None) => {}
            Err(err) => matched.push((bound, Err(err.message().to_owned()))),
        }
    }
    if matched.is_empty() {
        return Ok(());
    }
    let mut told = Told::default();
    let (mut verdict, is_late) = judge_all(asking, object, (&resources, &matched), &mut told, INLINE_MAX).await?;
    if is_late {
        let judging = judge_all(asking, object, (&resources, &matched), &mut told, TIME_MAX);
        (verdict, _) = aside(&asking.user.name, true, judging).await?;
    }
    for ((policy, key), values) in &verdict.annotations {
        told::annotate(&format!("{policy}/{key}"), || values.join(", "), Shows::Metadata);
    }
    if let Some(failure) = &verdict.failure {
        told::annotate(FAILURE_KEY, || failure.to_string(), Shows::Metadata);
    }
    warnings.extend(verdict.warnings);
    verdict.denials.first().map_or(Ok(()), |denial| Err(denial.error(asking)))
}

/// A policy that is about a write, and as which resource; or why that cannot be said.
type Matched<'i> = (&'i Bound<Validating>, Result<Arc<ApiResource>, String>);

/// And whether there was no time for all.
async fn judge_all(
    asking: &Asking<'_>,
    object: Option<&dyn AnyObject>,
    (resources, matched): (&[Arc<ApiResource>], &[Matched<'_>]),
    told: &mut Told,
    time_max: Duration,
) -> Result<(Verdict, bool), ApiError> {
    let clock = Clock::new(time_max);
    let mut asked = Asked { asking, object, resources, told, clock: &clock };
    let mut verdict = Verdict::default();
    for (bound, resource) in matched {
        if clock.is_to_be_continued() {
            break;
        }
        asked.policy(bound, resource.as_ref().map_err(String::as_str), &mut verdict).await?;
    }
    Ok((verdict, clock.has_ended()))
}

/// One write, which all policies are asked about.
struct Asked<'a, 'r> {
    asking: &'a Asking<'r>,
    object: Option<&'a dyn AnyObject>,
    resources: &'a [Arc<ApiResource>],
    told: &'a mut Told,
    clock: &'a Clock,
}

impl Asked<'_, '_> {
    async fn policy(
        &mut self,
        bound: &Bound<Validating>,
        resource: Result<&Arc<ApiResource>, &str>,
        verdict: &mut Verdict,
    ) -> Result<(), ApiError> {
        let policy = &bound.policy.policy;
        let mut misconfigured = |binding: Option<&Arc<str>>, why: &str| {
            if policy.fails_open {
                tracing::warn!(policy = &*policy.name, why, "a policy cannot be asked; the request goes on without it");
            } else {
                verdict.denials.push(Denial::configuration(&policy.name, binding, why));
            }
        };
        let params = policy.param_kind.as_ref().map(|kind| kind.resource(self.asking)).transpose();
        let no_constraints = "policy contained no match constraints, a required field";
        let resource = resource.and_then(|resource| policy.criteria.as_ref().map(|_| resource).ok_or(no_constraints));
        let (resource, params) = match (resource, params) {
            (Ok(resource), Ok(params)) => (resource, params),
            (Err(why), _) => {
                misconfigured(None, why);
                return Ok(());
            }
            (_, Err(why)) => {
                misconfigured(None, &why);
                return Ok(());
            }
        };
        let mut asked = Vec::new();
        for binding in &bound.bindings {
            let matches = match &binding.criteria {
                Some(criteria) => {
                    criteria.matches(self.asking, self.object, self.resources).map(|found| found.is_some())
                }
                None => Ok(true),
            };
            match matches {
                Ok(true) => {
                    match self.clock.beside(collect(params.as_deref(), binding.params.as_ref(), self.asking)).await {
                        Ok(params) => asked.push((binding, params)),
                        Err(why) => misconfigured(Some(&binding.name), &why),
                    }
                }
                Ok(false) => {}
                Err(err) => misconfigured(Some(&binding.name), err.message()),
            }
        }
        for (binding, params) in &asked {
            for param in params {
                let findings = self.findings(&bound.policy, resource, param.as_ref()).await?;
                note(&policy.name, binding, findings, verdict);
            }
        }
        Ok(())
    }

    /// Of one policy with one set of parameters. The error is nothing of the policy's.
    async fn findings(
        &mut self,
        of: &Validating,
        resource: &Arc<ApiResource>,
        param: Option<&Param>,
    ) -> Result<Findings, ApiError> {
        let Self { asking, object, told, clock, .. } = self;
        let interrupted = || clock.is_over();
        let host = Host(asking);
        let params = of.policy.param_kind.is_some().then(|| param.map(|param| &param.value));
        let values = clock.beside(told.values(asking, *object, resource, params, &host)).await?;
        let scope = Scope::new(values, &of.policy.variables, &interrupted);
        Ok(judge(of, &scope))
    }
}

/// What a binding says becomes of what its policy has found.
fn note(policy: &Arc<str>, binding: &Binding, findings: Findings, verdict: &mut Verdict) {
    let denial = |Fault { message, reason, .. }: &Fault| Denial {
        policy: policy.clone(),
        binding: Some(binding.name.clone()),
        message: message.clone(),
        reason: reason.clone(),
    };
    for fault in &findings.faults {
        for action in &binding.actions {
            match action {
                Action::Deny => verdict.denials.push(denial(fault)),
                Action::Warn => verdict.warnings.push(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{}': {}",
                    binding.name, fault.message
                )),
                Action::Audit => {
                    let actions: Vec<String> = binding.actions.iter().map(|action| format!("{action:?}")).collect();
                    let failure = json!([{"message": fault.message, "policy": &**policy, "binding": &*binding.name,
                        "expressionIndex": fault.index, "validationActions": actions}]);
                    verdict.failure.get_or_insert(failure);
                }
            }
        }
    }
    for message in findings.refused {
        verdict.denials.push(denial(&Fault { message, reason: String::new(), index: 0 }));
    }
    for (key, value) in findings.annotations {
        let values = verdict.annotations.entry((policy.clone(), key)).or_default();
        if !values.contains(&value) {
            values.push(value);
        }
    }
}
