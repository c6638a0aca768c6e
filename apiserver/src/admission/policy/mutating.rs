//! Policies that change objects: one after the other, and some of them once more about what others have changed after them.

use std::sync::Arc;
use std::time::Duration;

use corten_api::{ApiError, Reason};
use corten_cel::{EvalError, RUNTIME_BUDGET};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause;
use serde_json::Value as Json;

use super::change::{Change, change};
use super::index::{Binding, Bound, Index, Mutating, Mutation};
use super::params::{Param, collect};
use super::scope::Scope;
use super::told::Told;
use super::{Clock, INLINE_MAX, TIME_MAX};
use crate::admission::asking::Asking;
use crate::admission::conditions::{Outcome, joined};
use crate::admission::expressions::Host;
use crate::admission::matching;
use crate::admission::rounds::Rounds;
use crate::admission::versions::replaced;
use crate::aside::aside;
use crate::registry::{AnyObject, ApiResource};

/// Why a write is refused.
struct Fault {
    message: String,
    /// `None`: as for what is forbidden.
    reason: Option<Reason>,
}

impl Fault {
    fn of(policy: &str, binding: Option<&str>, why: &str, reason: Option<Reason>) -> Self {
        let whose = match binding {
            Some(binding) => format!("policy '{policy}' with binding '{binding}'"),
            None => format!("policy {policy:?}"),
        };
        Self { message: format!("{whose} denied request: {why}"), reason }
    }
}

/// In upstream's words. Its code is 403 whatever the reason is.
fn refusal(asking: &Asking<'_>, faults: Vec<Fault>) -> Option<ApiError> {
    let first = faults.first()?;
    let error = ApiError::forbidden(asking.resource.group(), asking.resource.plural(), asking.name, "");
    let mut status = error.status().clone();
    status.message = Some(first.message.clone());
    if let Some(reason) = first.reason {
        status.reason = Some(reason.as_str().into());
    }
    let cause = |fault: Fault| StatusCause { message: Some(fault.message), ..StatusCause::default() };
    status.details.get_or_insert_default().causes = Some(faults.into_iter().map(cause).collect());
    Some(ApiError::from_status(status))
}

/// A policy, with one binding and one set of parameters.
struct Invocation<'i> {
    bound: &'i Bound<Mutating>,
    binding: &'i Binding,
    resource: Arc<ApiResource>,
    param: Option<Param>,
    key: Arc<str>,
}

/// Whether one has changed the object.
pub(super) async fn ask(
    index: &Index,
    asking: &Asking<'_>,
    object: &mut Box<dyn AnyObject>,
    rounds: &mut Rounds,
) -> Result<bool, ApiError> {
    let mut faults = Vec::new();
    let invocations = invocations(index, asking, &**object, &mut faults).await;
    if invocations.is_empty() {
        return refusal(asking, faults).map_or(Ok(false), Err);
    }
    let mut done = run(&invocations, asking, (&**object, rounds), INLINE_MAX).await?;
    if done.is_late {
        done = aside(&asking.user.name, true, run(&invocations, asking, (&**object, rounds), TIME_MAX)).await?;
    }
    let Done { object: changed, rounds: after, faults: more, has_changed, .. } = done;
    faults.extend(more);
    if let Some(refusal) = refusal(asking, faults) {
        return Err(refusal);
    }
    (*object, *rounds) = (changed, after);
    rounds.leave(&**object);
    Ok(has_changed)
}

async fn run(
    invocations: &[Invocation<'_>],
    asking: &Asking<'_>,
    (object, rounds): (&dyn AnyObject, &Rounds),
    time_max: Duration,
) -> Result<Done, ApiError> {
    let clock = Clock::new(time_max);
    let (object, rounds) = (object.boxed_clone(), rounds.clone());
    let mut done = Done { object, rounds, faults: Vec::new(), has_changed: false, is_late: false };
    let mut asked = Asked { asking, told: Told::default(), clock: &clock };
    for invocation in invocations {
        if clock.is_to_be_continued() {
            break;
        }
        asked.invoke(invocation, &mut done).await?;
    }
    done.is_late = clock.has_ended();
    Ok(done)
}

/// What has come of all invocations.
struct Done {
    object: Box<dyn AnyObject>,
    rounds: Rounds,
    faults: Vec<Fault>,
    has_changed: bool,
    /// There was no time for all.
    is_late: bool,
}

/// Who is to be asked, as the object is before anybody is.
async fn invocations<'i>(
    index: &'i Index,
    asking: &Asking<'_>,
    object: &dyn AnyObject,
    faults: &mut Vec<Fault>,
) -> Vec<Invocation<'i>> {
    let resources = matching::equivalents(asking.registry, asking.resource, &asking.target.subresource);
    let mut found = Vec::new();
    for bound in &index.mutating {
        let policy = &bound.policy.policy;
        let mut misconfigured = |binding: Option<&str>, why: &str| {
            if policy.fails_open {
                tracing::warn!(policy = &*policy.name, why, "a policy cannot be asked; the request goes on without it");
            } else {
                let what = if binding.is_some() { "binding" } else { "policy" };
                faults.push(Fault::of(&policy.name, binding, &format!("failed to configure {what}: {why}"), None));
            }
        };
        let Some(criteria) = &policy.criteria else {
            misconfigured(None, "policy contained no match constraints, a required field");
            continue;
        };
        let resource = match criteria.matches(asking, Some(object), &resources) {
            Ok(Some(resource)) => resource,
            Ok(None) => continue,
            Err(err) => {
                misconfigured(None, err.message());
                continue;
            }
        };
        let params = match policy.param_kind.as_ref().map(|kind| kind.resource(asking)).transpose() {
            Ok(params) => params,
            Err(why) => {
                misconfigured(None, &why);
                continue;
            }
        };
        for binding in &bound.bindings {
            let matches = match &binding.criteria {
                Some(criteria) => criteria.matches(asking, Some(object), &resources).map(|found| found.is_some()),
                None => Ok(true),
            };
            let collected = match matches {
                Ok(true) => collect(params.as_deref(), binding.params.as_ref(), asking).await,
                Ok(false) => continue,
                Err(err) => Err(err.message().to_owned()),
            };
            match collected {
                Ok(params) => found.extend(params.into_iter().map(|param| {
                    let of = param.as_ref().map(|param| param.key.as_str()).unwrap_or_default();
                    let key = format!("{}/{}/{of}", policy.name, binding.name).into();
                    Invocation { bound, binding, resource: resource.clone(), param, key }
                })),
                Err(why) => misconfigured(Some(&binding.name), &why),
            }
        }
    }
    found
}

/// One write, which all policies are asked about.
struct Asked<'a, 'r> {
    asking: &'a Asking<'r>,
    told: Told,
    clock: &'a Clock,
}

impl Asked<'_, '_> {
    /// The error is nothing of the policy's.
    async fn invoke(&mut self, of: &Invocation<'_>, done: &mut Done) -> Result<(), ApiError> {
        let Done { object, rounds, faults, has_changed, .. } = done;
        let (mutating, policy) = (&*of.bound.policy, &of.bound.policy.policy);
        let mut fail = |why: &str| {
            if policy.fails_open {
                tracing::warn!(
                    policy = &*policy.name,
                    why,
                    "a policy cannot be evaluated; the request goes on without it"
                );
            } else {
                faults.push(Fault::of(&policy.name, Some(&of.binding.name), why, Some(Reason::Invalid)));
            }
        };
        let outcome = self.scoped(of, &**object, |scope| policy.conditions.judge(scope)).await?;
        match outcome {
            Outcome::Hold => {}
            Outcome::DoNotHold => return Ok(()),
            Outcome::Errors(why) => {
                fail(&joined(&why));
                return Ok(());
            }
        }
        if !rounds.is_asked(&of.key) {
            return Ok(());
        }
        let before = object.boxed_clone();
        for mutation in &mutating.mutations {
            match self.mutated(of, mutation, &**object).await? {
                Ok(Some(new)) => {
                    *object = new;
                    self.told.forget();
                }
                Ok(None) => {}
                Err(why) => fail(&why),
            }
        }
        if !before.same_as(&**object) {
            *has_changed = true;
            rounds.changed();
        }
        if mutating.is_asked_again {
            rounds.asked(&of.key);
        }
        Ok(())
    }

    async fn scoped<T>(
        &mut self,
        of: &Invocation<'_>,
        object: &dyn AnyObject,
        done: impl FnOnce(&Scope<'_, '_>) -> T,
    ) -> Result<T, ApiError> {
        let clock = self.clock;
        let interrupted = || clock.is_over();
        let policy = &of.bound.policy.policy;
        let host = Host(self.asking);
        let params = policy.param_kind.is_some().then(|| of.param.as_ref().map(|param| &param.value));
        let telling = self.told.values(self.asking, Some(object), &of.resource, params, &host);
        let values = clock.beside(telling).await?;
        Ok(done(&Scope::new(values, &policy.variables, &interrupted)))
    }

    /// The object as one mutation wants it; `None`: as it is. The inner error is the policy's.
    async fn mutated(
        &mut self,
        of: &Invocation<'_>,
        mutation: &Mutation,
        object: &dyn AnyObject,
    ) -> Result<Result<Option<Box<dyn AnyObject>>, String>, ApiError> {
        let program = match &mutation.program {
            Ok(program) => program,
            Err(why) => return Ok(Err(why.clone())),
        };
        // Each has a budget of its own.
        let wanted = self.scoped(of, object, |scope| {
            let mut left = RUNTIME_BUDGET;
            match scope.evaluate(program, &mut left) {
                Ok(value) => Change::of(&value, mutation.is_json_patch),
                Err(err @ EvalError::OutOfBudget) => Err(err.to_string()),
                Err(err) => Err(format!("expression '{}' resulted in error: {err}", mutation.expression)),
            }
        });
        let wanted = wanted.await?;
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(why) => return Ok(Err(why)),
        };
        let now: &Json = self.told.object(self.asking, object, &of.resource).await?;
        let kind = self.asking.kind_in(&of.resource);
        match change(&of.resource, &kind, now, wanted) {
            Ok(Some(new)) => match self.clock.beside(replaced(self.asking, &of.resource, &new)).await {
                Ok(new) => Ok(Ok(Some(new))),
                Err(err) => Ok(Err(err.message().to_owned())),
            },
            Ok(None) => Ok(Ok(None)),
            Err(why) => Ok(Err(why)),
        }
    }
}
