//! The conditions of a webhook: whether it is asked about a write that its rules name. Pure: what they ask of the cluster is its view.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Instant;

use corten_api::ApiError;
use corten_api::selector::FieldSelector;
use corten_cel::{
    Authorizer, Budget, Decision, EvalError, MATCH_CONDITIONS_BUDGET, PathCheck, Program, ResourceCheck,
    ServiceAccount, Value,
};
use k8s_openapi::api::admissionregistration::v1::MatchCondition;
use serde_json::Value as Json;

use super::index::Hook;
use super::metrics::{Evaluated, Metrics};
use super::{Asking, review};
use crate::aside::aside;
use crate::authn::account;
use crate::registry::ApiResource;
use crate::registry::admissionregistration::environment::{Known, Typed, environment};
use crate::registry::admissionregistration::expressions::{Wanted, compile};
use crate::request::{Target, User};

/// Conditions that may cost more than this take milliseconds, if what they look at is large: what is known of their cost before is
/// what they would cost with all that an object may hold.
const LARGE_COST: u64 = 50_000;
/// Of what one look goes through: the values of an object, each counted with its text.
const LARGE_WEIGHT: usize = 32 * 1024;

#[derive(Debug)]
struct Condition {
    of: MatchCondition,
    program: Result<Program, String>,
}

/// All of one webhook's.
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
    pub(super) fn compile(conditions: &[MatchCondition]) -> Self {
        let environment = environment(Known::of_conditions(false), &Typed::default());
        let compiled = |of: &MatchCondition| Condition {
            of: of.clone(),
            program: compile(&of.expression, &environment, Wanted::Bool),
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
    fn cost_max(&self) -> u64 {
        let programs = self.0.iter().filter_map(|condition| condition.program.as_ref().ok());
        programs.fold(0, |cost, program| cost.saturating_add(program.estimated_cost().max))
    }
    fn judge(&self, variables: &BTreeMap<&str, Value<'_>>) -> Outcome {
        let mut budget = Budget::new(MATCH_CONDITIONS_BUDGET);
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

/// Whether the webhook is to be asked, as `resource` has it. `objects`: as it is to be, as it was. The error: nobody can say, and its
/// failurePolicy lets nothing slip by it then.
pub(super) async fn hold(
    metrics: &Metrics,
    hook: &Hook,
    asking: &Asking<'_>,
    resource: &ApiResource,
    objects: (Option<&Json>, Option<&Json>),
    r#type: &'static str,
) -> Result<bool, ApiError> {
    let begun = Instant::now();
    let request = review::request(asking, resource).map_err(ApiError::internal)?;
    let is_large = || {
        let mut left = LARGE_WEIGHT;
        [objects.0, objects.1].into_iter().flatten().any(|object| weighs_more(object, &mut left))
    };
    let is_large = hook.conditions.cost_max() > LARGE_COST && is_large();
    let outcome = aside(&asking.user.name, is_large, async {
        let host = Host(asking);
        hook.conditions.judge(&variables(asking, objects, &request, &host))
    });
    let outcome = outcome.await;
    metrics.evaluated(Evaluated {
        name: &hook.name,
        r#type,
        operation: asking.operation,
        took: begun.elapsed(),
        outcome: &outcome,
    });
    match outcome {
        Outcome::Hold => Ok(true),
        Outcome::DoNotHold => Ok(false),
        Outcome::Errors(why) if hook.fails_open => {
            tracing::warn!(webhook = &*hook.name, ?why, "match conditions cannot be evaluated; it is not asked");
            Ok(false)
        }
        Outcome::Errors(why) => Err(refusal(asking, &why)),
    }
}

/// Whether the values weigh more than is left. Looks no further than that.
fn weighs_more(value: &Json, left: &mut usize) -> bool {
    let own = 1 + value.as_str().map_or(0, str::len);
    let Some(rest) = left.checked_sub(own) else { return true };
    *left = rest;
    match value {
        Json::Array(items) => items.iter().any(|item| weighs_more(item, left)),
        Json::Object(fields) => fields.iter().any(|(name, field)| {
            *left = left.saturating_sub(name.len());
            weighs_more(field, left)
        }),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    }
}

fn variables<'a>(
    asking: &Asking<'_>,
    (object, old): (Option<&'a Json>, Option<&'a Json>),
    request: &'a Json,
    host: &'a dyn Authorizer,
) -> BTreeMap<&'static str, Value<'a>> {
    let or_null = |json: Option<&'a Json>| json.map_or(Value::Null, Value::dynamic);
    let target = asking.target;
    let own = ResourceCheck {
        group: target.group.clone(),
        resource: target.resource.clone(),
        subresource: target.subresource.clone(),
        namespace: asking.namespace().to_owned(),
        name: asking.name.to_owned(),
        ..ResourceCheck::default()
    };
    BTreeMap::from([
        ("object", or_null(object)),
        ("oldObject", or_null(old)),
        ("namespaceObject", Value::Null),
        ("request", Value::dynamic(request)),
        ("authorizer", Value::authorizer(host)),
        ("authorizer.requestResource", Value::resource_check(host, own)),
    ])
}

/// In the words of upstream, which joins what several errors say.
fn refusal(asking: &Asking<'_>, why: &[String]) -> ApiError {
    let why = if let [one] = why { one.clone() } else { format!("[{}]", why.join(", ")) };
    ApiError::forbidden(asking.resource.group(), asking.resource.plural(), asking.name, &why)
}

/// Answers what conditions ask of rights.
struct Host<'a>(&'a Asking<'a>);

impl Host<'_> {
    /// Who is meant: the account, or who writes.
    fn user(&self, account: Option<&ServiceAccount>) -> Cow<'_, User> {
        let Some(ServiceAccount { namespace, name }) = account else { return Cow::Borrowed(self.0.user) };
        let (name, groups) = (account::user_name(namespace, name), account::groups(namespace));
        Cow::Owned(User { name, groups, ..User::default() })
    }
}

fn decision(told: Result<String, String>) -> Decision {
    let allowed = told.is_ok();
    Decision { allowed, reason: told.unwrap_or_else(|why| why), error: None }
}

impl Authorizer for Host<'_> {
    fn check_path(&self, check: &PathCheck) -> Decision {
        let user = self.user(check.service_account.as_ref());
        decision(self.0.view.may_use_and_why(&user, &check.verb, &check.path))
    }
    fn check_resource(&self, check: &ResourceCheck) -> Decision {
        let target = Target {
            group: check.group.clone(),
            version: "*".into(),
            resource: check.resource.clone(),
            subresource: check.subresource.clone(),
            namespace: check.namespace.clone(),
            name: check.name.clone(),
        };
        let fields = check.field_selector.as_deref().and_then(|text| FieldSelector::parse(text).ok());
        let user = self.user(check.service_account.as_ref());
        match self.0.view.may_and_why(&user, &check.verb, &target, &fields.unwrap_or_default()) {
            Ok(told) => decision(told),
            Err(err) => Decision { error: Some(err.message().to_owned()), ..Decision::default() },
        }
    }
}

#[cfg(test)]
mod tests;
