//! Policies that change objects: one after the other, and some of them once more about what others have changed after them.

use std::sync::Arc;

use corten_api::{ApiError, Reason};
use corten_cel::{EvalError, RUNTIME_BUDGET};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause;
use serde_json::Value as Json;

use super::change::{Change, change};
use super::index::{Index, Mutating, Mutation, Policy};
use super::invocations::{Invocation, Misconfigured, Step, steps};
use super::parsed::Parsed;
use super::scope::Scope;
use super::told::{Of, Told, Untold};
use super::{Clock, Pass, TIME_MAX, params, took_too_long};
use crate::admission::asking::Asking;
use crate::admission::conditions::{Outcome, joined};
use crate::admission::expressions::Host;
use crate::admission::rounds::Rounds;
use crate::admission::versions::{Reading, replaced};
use crate::aside::aside;
use crate::registry::AnyObject;

/// Of one write. The first is its message, the others are causes.
const FAULTS_MAX: usize = 20;

/// What refuses a write: one that is told, and some that are told beside it.
#[derive(Default)]
struct Faults(Vec<Fault>);

struct Fault {
    message: String,
    /// `None`: as for what is forbidden.
    reason: Option<Reason>,
}

impl Faults {
    /// Of a policy that has something against it, or cannot be asked: it says itself whether the request goes on without it.
    fn add(&mut self, policy: &Policy, binding: Option<&str>, why: &str, reason: Option<Reason>) {
        if policy.fails_open {
            tracing::warn!(policy = &*policy.name, why, "a policy cannot be asked; the request goes on without it");
            return;
        }
        if self.0.len() >= FAULTS_MAX {
            return;
        }
        let whose = match binding {
            Some(binding) => format!("policy '{}' with binding '{binding}'", policy.name),
            None => format!("policy {:?}", &*policy.name),
        };
        self.0.push(Fault { message: format!("{whose} denied request: {why}"), reason });
    }
}

/// In upstream's words. Its code is 403 whatever the reason is.
fn refusal(asking: &Asking<'_>, Faults(faults): Faults) -> Option<ApiError> {
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

/// Whether one has changed the object.
pub(super) async fn ask(
    index: &Index,
    asking: &Asking<'_>,
    object: &mut Box<dyn AnyObject>,
    rounds: &mut Rounds,
) -> Result<bool, ApiError> {
    let steps = steps(&index.mutating, asking, Some(&**object), &Clock::new(TIME_MAX)).await?;
    if steps.is_empty() {
        return Ok(false);
    }
    let run = Run { asking, parsed: &index.parsed };
    let done = match run.all(&steps, (&**object, rounds), Pass::Inline).await? {
        Some(done) => Some(done),
        None => aside(&asking.user.name, true, run.all(&steps, (&**object, rounds), Pass::Aside)).await?,
    };
    let Done { object: changed, rounds: after, faults, has_changed, .. } = done.ok_or_else(took_too_long)?;
    if let Some(refusal) = refusal(asking, faults) {
        return Err(refusal);
    }
    (*object, *rounds) = (changed, after);
    rounds.leave(&**object);
    Ok(has_changed)
}

/// What has come of all that were asked so far.
struct Done {
    object: Box<dyn AnyObject>,
    told: Told,
    rounds: Rounds,
    faults: Faults,
    has_changed: bool,
}

/// One write, which all policies are asked about.
struct Run<'a, 'r> {
    asking: &'a Asking<'r>,
    parsed: &'a Parsed,
}

/// Why a mutation was not made.
enum Unmade {
    /// The policy is at fault.
    Fault(String),
    /// It cannot be told of the object.
    Unconverted(String),
    /// Nobody's policy is, or it is so whatever the policy says of its failures.
    Refused(ApiError),
}

impl From<Untold> for Unmade {
    fn from(why: Untold) -> Self {
        match why {
            Untold::Conversion(why) => Self::Unconverted(why),
            Untold::Refused(err) => Self::Refused(err),
        }
    }
}

impl Run<'_, '_> {
    /// `None`: there was no time for all.
    async fn all(
        &self,
        steps: &[Step<'_, Mutating>],
        (object, rounds): (&dyn AnyObject, &Rounds),
        pass: Pass,
    ) -> Result<Option<Done>, ApiError> {
        let clock = Clock::new(pass.time_max());
        let mut done = Done {
            object: object.boxed_clone(),
            told: Told::default(),
            rounds: rounds.clone(),
            faults: Faults::default(),
            has_changed: false,
        };
        for step in steps {
            match step {
                Step::Fail(Misconfigured { policy, binding, why }) => {
                    done.faults.add(policy, binding.map(|binding| &*binding.name), why, None);
                }
                Step::Invoke(invocation) => self.invoke(invocation, &mut done, &clock).await?,
            }
            if clock.is_over() {
                return Ok(None);
            }
        }
        Ok(Some(done))
    }

    /// The error is nothing of the policy's.
    async fn invoke(&self, of: &Invocation<'_, Mutating>, done: &mut Done, clock: &Clock) -> Result<(), ApiError> {
        let (policy, binding) = (&of.policy.policy, &*of.binding.name);
        let invalid = Some(Reason::Invalid);
        let param = match of.param.as_ref().map(|param| param.value(self.parsed)).transpose() {
            Ok(param) => param,
            Err(why) => {
                done.faults.add(policy, Some(binding), &why, invalid);
                return Ok(());
            }
        };
        let key = format!("{}/{binding}/{}", policy.name, param.as_deref().map(params::key).unwrap_or_default());
        let seen = Seen { of, param: param.as_deref(), clock };
        match self.conditions(&seen, done).await {
            Ok(Outcome::Hold) => {}
            Ok(Outcome::DoNotHold) => return Ok(()),
            Ok(Outcome::Errors(why)) => {
                done.faults.add(policy, Some(binding), &joined(&why), invalid);
                return Ok(());
            }
            Err(Untold::Conversion(why)) => {
                done.faults.add(policy, None, &Misconfigured::of(policy, None, &why).why, None);
                return Ok(());
            }
            Err(Untold::Refused(err)) => return Err(err),
        }
        let key: Arc<str> = key.into();
        if !done.rounds.is_asked(&key) {
            return Ok(());
        }
        let before = done.object.boxed_clone();
        for mutation in &of.policy.mutations {
            if clock.is_over() {
                return Ok(());
            }
            match self.mutated(&seen, mutation, done).await {
                Ok(Some(new)) => {
                    done.object = new;
                    done.told.forget();
                }
                Ok(None) => {}
                Err(Unmade::Unconverted(why)) => {
                    done.faults.add(policy, None, &Misconfigured::of(policy, None, &why).why, None);
                }
                Err(Unmade::Fault(why)) => done.faults.add(policy, Some(binding), &why, invalid),
                Err(Unmade::Refused(err)) => return Err(err),
            }
        }
        if !before.same_as(&*done.object) {
            done.has_changed = true;
            done.rounds.changed();
        }
        if of.policy.is_asked_again {
            done.rounds.asked(&key);
        }
        Ok(())
    }

    async fn conditions(&self, seen: &Seen<'_>, done: &mut Done) -> Result<Outcome, Untold> {
        let (policy, clock) = (&seen.of.policy.policy, seen.clock);
        if policy.conditions.is_empty() {
            return Ok(Outcome::Hold);
        }
        let host = Host(self.asking);
        let (resource, params) = ((&seen.of.resource, Of::Conditions), seen.params());
        let values = clock.beside(done.told.values(self.asking, Some(&*done.object), resource, params, &host)).await?;
        Ok(policy.conditions.judge(&values, &|| clock.is_over()))
    }

    async fn scoped<T>(
        &self,
        seen: &Seen<'_>,
        done: &mut Done,
        then: impl FnOnce(&Scope<'_, '_>) -> T,
    ) -> Result<T, Untold> {
        let (policy, clock) = (&seen.of.policy.policy, seen.clock);
        let interrupted = || clock.is_over();
        let host = Host(self.asking);
        let (resource, params) = ((&seen.of.resource, Of::Policy), seen.params());
        let telling = done.told.values(self.asking, Some(&*done.object), resource, params, &host);
        let values = clock.beside(telling).await?;
        Ok(then(&Scope::new(values, &policy.variables, &interrupted)))
    }

    /// The object as one mutation wants it; `None`: as it is.
    async fn mutated(
        &self,
        seen: &Seen<'_>,
        mutation: &Mutation,
        done: &mut Done,
    ) -> Result<Option<Box<dyn AnyObject>>, Unmade> {
        let program = mutation.program.as_ref().map_err(|why| Unmade::Fault(why.clone()))?;
        // Each has a budget of its own.
        let wanted = self.scoped(seen, done, |scope| {
            let mut left = RUNTIME_BUDGET;
            match scope.evaluate(program, &mut left) {
                Ok(value) => Change::of(&value, mutation.is_json_patch),
                Err(err @ EvalError::OutOfBudget) => Err(err.to_string()),
                Err(err) => Err(format!("expression '{}' resulted in error: {err}", mutation.expression)),
            }
        });
        let wanted = wanted.await?.map_err(Unmade::Fault)?;
        let resource = &seen.of.resource;
        let now: &Json = done.told.object(self.asking, &*done.object, resource).await?;
        let kind = self.asking.kind_in(resource);
        let Some(new) = change(resource, &kind, now, wanted).map_err(Unmade::Fault)? else { return Ok(None) };
        let reading = if mutation.is_json_patch { Reading::Strict } else { Reading::Lenient };
        match seen.clock.beside(replaced(self.asking, resource, &new, reading)).await {
            Ok(new) => Ok(Some(new)),
            // Upstream's patches fail a request that way, whatever the policy says of its failures.
            Err(err) if mutation.is_json_patch => Err(Unmade::Refused(err)),
            Err(err) => Err(Unmade::Fault(err.message().to_owned())),
        }
    }
}

/// What one policy is asked with.
struct Seen<'s> {
    of: &'s Invocation<'s, Mutating>,
    param: Option<&'s Json>,
    clock: &'s Clock,
}

impl<'s> Seen<'s> {
    /// `None`: nobody may name them.
    fn params(&self) -> Option<Option<&'s Json>> {
        self.of.policy.policy.param_kind.is_some().then_some(self.param)
    }
}
