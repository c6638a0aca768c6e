//! The conditions of a webhook: whether it is asked about a write that its rules name.

use std::time::Instant;

use corten_api::ApiError;
use serde_json::Value as Json;

use super::index::Hook;
use super::metrics::{Evaluated, Metrics};
use crate::admission::asking::Asking;
use crate::admission::conditions::{Outcome, joined};
use crate::admission::expressions::{Host, Seen, values};
use crate::admission::question;
use crate::aside::aside;
use crate::registry::ApiResource;

/// Conditions that may cost more than this take milliseconds, if what they look at is large: what is known of their cost before is
/// what they would cost with all that an object may hold.
const LARGE_COST: u64 = 50_000;
/// Of what one look goes through: the values of an object, each counted with its text.
const LARGE_WEIGHT: usize = 32 * 1024;

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
    let request = question::request(asking, resource).map_err(ApiError::internal)?;
    let is_large = || {
        let mut left = LARGE_WEIGHT;
        [objects.0, objects.1].into_iter().flatten().any(|object| weighs_more(object, &mut left))
    };
    let is_large = hook.conditions.cost_max() > LARGE_COST && is_large();
    let outcome = aside(&asking.user.name, is_large, async {
        let host = Host(asking);
        let (object, old) = objects;
        let seen = Seen { object, old, namespace: None, params: None, request: &request };
        hook.conditions.judge(&values(asking, &seen, &host), &|| false)
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

fn refusal(asking: &Asking<'_>, why: &[String]) -> ApiError {
    ApiError::forbidden(asking.resource.group(), asking.resource.plural(), asking.name, joined(why))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_large_is_what_the_object_holds() {
        let of = |item: Json, n: usize| json!({"data": std::iter::repeat_n(item, n).collect::<Vec<_>>()});
        for (why, object, expected) in [
            ("a pod, about", of(json!({"name": "c", "image": "i", "env": [{"name": "A", "value": "b"}]}), 50), false),
            ("one long text", of(json!("x".repeat(LARGE_WEIGHT)), 1), true),
            ("many small values", of(json!(1), LARGE_WEIGHT), true),
            ("long names", json!({"x".repeat(LARGE_WEIGHT): 1}), true),
            ("half of it", of(json!(1), LARGE_WEIGHT / 2), false),
        ] {
            assert_eq!(weighs_more(&object, &mut { LARGE_WEIGHT }), expected, "{why}");
        }
    }
}
