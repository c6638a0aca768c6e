//! Webhooks that change objects: one after the other, and some of them once more about what others have changed after them.

use std::time::Instant;

use corten_api::ApiError;
use serde_json::value::RawValue;

use super::call::{Call, CallError};
use super::conditions;
use super::index::Index;
use super::metrics::ADMIT;
use super::metrics::Metrics;
use crate::admission::asking::Asking;
use crate::admission::matching;
use crate::admission::rounds::Rounds;
use crate::admission::versions::{Texts, patched};
use crate::aside::{LARGE_BODY_BYTES, aside, outside};
use crate::patch::Operations;
use crate::registry::{AnyObject, ApiResource};
use crate::webhook::Failure;

/// Whether one has changed the object.
pub(super) async fn ask(
    metrics: &Metrics,
    index: &Index,
    asking: &Asking<'_>,
    mut object: Option<&mut Box<dyn AnyObject>>,
    rounds: &mut Rounds,
    warnings: &mut Vec<String>,
) -> Result<bool, ApiError> {
    let resources = matching::equivalents(asking.registry, asking.resource, &asking.target.subresource);
    let (mut texts, mut old_texts) = (Texts::default(), Texts::default());
    let connection = asking.connection.as_ref().map(serde_json::value::to_raw_value).transpose();
    let connection = connection.map_err(ApiError::internal)?;
    let mut has_changed = false;
    for (i, hook) in index.mutating.iter().enumerate() {
        if !rounds.is_asked(&hook.uid) {
            continue;
        }
        let new = object.as_deref().map(|new| &**new);
        let Some(resource) = hook.criteria.matches(asking, new, &resources)? else { continue };
        if !hook.conditions.is_empty() {
            let object = match new {
                Some(new) => Some(texts.value(asking, new, &resource).await?),
                None => asking.connection.as_ref(),
            };
            let old = match asking.old {
                Some(old) => Some(old_texts.value(asking, old, &resource).await?),
                None => None,
            };
            if !conditions::hold(metrics, hook, asking, &resource, (object, old), ADMIT).await? {
                continue;
            }
        }
        let json = match new {
            Some(new) => Some(texts.of(asking, new, &resource).await?),
            None => connection.as_deref(),
        };
        let old = match asking.old {
            Some(old) => Some(old_texts.of(asking, old, &resource).await?),
            None => None,
        };
        let at = (rounds.round(), i);
        let call = Call { hook, asking, resource: &resource, is_mutating: true, at };
        let begun = Instant::now();
        let outcome = changed(&call, &resource, new, (json, old), warnings).await;
        call.note_mutation(matches!(outcome, Ok(Some(_))));
        let outcome = call.conclude(metrics, begun, outcome)?.flatten();
        if let (Some(changed), Some(object)) = (outcome, object.as_deref_mut()) {
            *object = changed;
            texts.forget();
            has_changed = true;
            rounds.changed();
        }
        if hook.is_asked_again {
            rounds.asked(&hook.uid);
        }
    }
    if let Some(object) = object.as_deref() {
        rounds.leave(&**object);
    }
    Ok(has_changed)
}

/// The object as one webhook wants it; `None`: as it is.
async fn changed(
    call: &Call<'_>,
    resource: &ApiResource,
    object: Option<&dyn AnyObject>,
    (json, old): (Option<&RawValue>, Option<&RawValue>),
    warnings: &mut Vec<String>,
) -> Result<Option<Box<dyn AnyObject>>, CallError> {
    let answer = outside(call.ask((json, old), warnings)).await.map_err(CallError::Ours)??;
    if answer.patch.is_empty() {
        return Ok(None);
    }
    let is_large = answer.patch.len().max(json.map_or(0, |json| json.get().len())) > LARGE_BODY_BYTES;
    let patched = follow(call, resource, object, json, &answer.patch);
    aside(&call.asking.user.name, is_large, patched).await
}

/// What the patch makes of the object.
async fn follow(
    call: &Call<'_>,
    resource: &ApiResource,
    object: Option<&dyn AnyObject>,
    json: Option<&RawValue>,
    patch: &[u8],
) -> Result<Option<Box<dyn AnyObject>>, CallError> {
    let operations = Operations::read(patch).map_err(|err| {
        let why = format!("received undecodable patch in webhook response: {}", err.message());
        CallError::Failed(Failure { why, code: 503 })
    })?;
    if operations.is_empty() {
        return Ok(None);
    }
    let (Some(object), Some(json)) = (object, json) else {
        let why = format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
            call.hook.name
        );
        return Err(CallError::Ours(ApiError::internal(why)));
    };
    let new = patched(call.asking, resource, json, &operations).await.map_err(CallError::Ours)?;
    if new.same_as(object) {
        return Ok(None);
    }
    call.note_patch(patch);
    Ok(Some(new))
}
