//! Which policies are asked about one write, each with which binding and which parameters, in the order in which it stands.

use std::sync::Arc;

use corten_api::ApiError;

use super::Clock;
use super::index::{Binding, Bound, HasPolicy, Policy};
use super::params::{Missing, Param, collect};
use crate::admission::asking::Asking;
use crate::admission::matching;
use crate::registry::{AnyObject, ApiResource};

/// A policy, with one binding and one set of parameters.
pub(super) struct Invocation<'i, P> {
    pub(super) policy: &'i P,
    pub(super) binding: &'i Binding,
    /// As which it is told of the write.
    pub(super) resource: Arc<ApiResource>,
    /// `None`: it is asked with none.
    pub(super) param: Option<Param>,
}

/// A policy that cannot be asked, or one binding of it.
pub(super) struct Misconfigured<'i> {
    pub(super) policy: &'i Policy,
    pub(super) binding: Option<&'i Binding>,
    /// In upstream's words.
    pub(super) why: String,
}

pub(super) enum Step<'i, P> {
    Invoke(Invocation<'i, P>),
    /// It says itself whether the request goes on without it.
    Fail(Misconfigured<'i>),
}

/// `object`: as it is before anybody is asked. The error is nothing of a policy's.
pub(super) async fn steps<'i, P: HasPolicy>(
    all: &'i [Bound<P>],
    asking: &Asking<'_>,
    object: Option<&dyn AnyObject>,
    clock: &Clock,
) -> Result<Vec<Step<'i, P>>, ApiError> {
    let resources = matching::equivalents(asking.registry, asking.resource, &asking.target.subresource);
    let mut steps = Vec::new();
    for bound in all {
        let policy = bound.policy.policy();
        match resource_of(policy, asking, object, &resources) {
            Ok(None) => {}
            Ok(Some(resource)) => {
                of_bindings(bound, asking, (object, &resources, &resource), clock, &mut steps).await?
            }
            Err(why) => steps.push(Step::fail(policy, None, &why)),
        }
    }
    Ok(steps)
}

impl<'i> Misconfigured<'i> {
    pub(super) fn of(policy: &'i Policy, binding: Option<&'i Binding>, why: &str) -> Self {
        let what = if binding.is_some() { "binding" } else { "policy" };
        Self { policy, binding, why: format!("failed to configure {what}: {why}") }
    }
}

impl<'i, P> Step<'i, P> {
    fn fail(policy: &'i Policy, binding: Option<&'i Binding>, why: &str) -> Self {
        Self::Fail(Misconfigured::of(policy, binding, why))
    }
}

/// `None`: the write is none of its business.
fn resource_of(
    policy: &Policy,
    asking: &Asking<'_>,
    object: Option<&dyn AnyObject>,
    resources: &[Arc<ApiResource>],
) -> Result<Option<Arc<ApiResource>>, String> {
    let criteria = policy.criteria.as_ref().ok_or("policy contained no match constraints, a required field")?;
    criteria.matches(asking, object, resources).map_err(|err| err.message().to_owned())
}

async fn of_bindings<'i, P: HasPolicy>(
    bound: &'i Bound<P>,
    asking: &Asking<'_>,
    (object, resources, resource): (Option<&dyn AnyObject>, &[Arc<ApiResource>], &Arc<ApiResource>),
    clock: &Clock,
    steps: &mut Vec<Step<'i, P>>,
) -> Result<(), ApiError> {
    let policy = bound.policy.policy();
    let kind = match policy.param_kind.as_ref().map(|kind| kind.resource(asking)).transpose() {
        Ok(kind) => kind,
        Err(why) => {
            steps.push(Step::fail(policy, None, &why));
            return Ok(());
        }
    };
    for binding in &bound.bindings {
        let matches = match &binding.criteria {
            Some(criteria) => criteria.matches(asking, object, resources).map(|found| found.is_some()),
            None => Ok(true),
        };
        match matches {
            Ok(true) => {}
            Ok(false) => continue,
            Err(err) => {
                steps.push(Step::fail(policy, Some(binding), err.message()));
                continue;
            }
        }
        match clock.beside(collect(kind.as_ref(), binding.params.as_ref(), asking)).await {
            Ok(params) => steps.extend(params.into_iter().map(|param| {
                Step::Invoke(Invocation { policy: &*bound.policy, binding, resource: resource.clone(), param })
            })),
            Err(Missing::Misconfigured(why)) => steps.push(Step::fail(policy, Some(binding), &why)),
            Err(Missing::TooMany(err)) => return Err(err),
        }
    }
    Ok(())
}
