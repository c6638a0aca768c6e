//! Webhooks that change objects: one after the other, and some of them once more about what others have changed after them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use corten_api::ApiError;
use serde_json::value::RawValue;

use super::call::{Call, CallError};
use super::index::{Hook, Index};
use super::metrics::ADMIT;
use super::metrics::Metrics;
use super::patched::{Texts, patched};
use super::{Asking, conditions, matching};
use crate::aside::{LARGE_BODY_BYTES, aside, outside};
use crate::patch::Operations;
use crate::registry::{AnyObject, ApiResource};
use crate::webhook::Failure;

/// What is remembered from the first time that webhooks are asked to the second, which is the last.
#[derive(Default)]
pub struct Rounds {
    is_second: bool,
    /// Were asked and are to be asked again, should somebody change the object after them.
    asked: BTreeSet<Arc<str>>,
    /// Somebody has.
    again: BTreeSet<Arc<str>>,
    /// The object after the last webhook.
    left: Option<Box<dyn AnyObject>>,
}

impl Rounds {
    /// `object`: as it is after the server's own plugins have seen it again.
    pub fn begin_second(&mut self, object: &dyn AnyObject) {
        self.is_second = true;
        if self.left.as_ref().is_some_and(|left| !left.same_as(object)) {
            self.changed();
        }
    }
    fn changed(&mut self) {
        self.again.append(&mut self.asked);
    }
    fn is_asked(&self, hook: &Hook) -> bool {
        !self.is_second || self.again.contains(&hook.uid)
    }
}

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
        if !rounds.is_asked(hook) {
            continue;
        }
        let new = object.as_deref().map(|new| &**new);
        let Some(resource) = matching::matches(hook, asking, new, &resources)? else { continue };
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
        let at = (usize::from(rounds.is_second), i);
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
            rounds.asked.insert(hook.uid.clone());
        }
    }
    rounds.left = object.as_deref().map(|object| object.boxed_clone());
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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::super::testing::{mutating, webhook};
    use super::*;

    #[test]
    fn who_wants_to_is_asked_again_about_what_came_after() {
        let mut again = webhook("again.b.c");
        again["reinvocationPolicy"] = "IfNeeded".into();
        let index = Index::compile(&[mutating("x", &[again, webhook("once.b.c")])], &[], &Index::default());
        let [again, once] = index.mutating.as_slice() else { panic!("two") };
        let object: Box<dyn AnyObject> = Box::new(ConfigMap::default());
        let mut named = ConfigMap::default();
        named.metadata.name = Some("a".into());
        let rounds = || Rounds { left: Some(object.boxed_clone()), ..Rounds::default() };
        let asked = |rounds: &Rounds| [again, once].map(|hook| rounds.is_asked(hook));

        let mut first = rounds();
        first.asked.insert(again.uid.clone());
        assert_eq!(asked(&first), [true, true]);

        // One that came later has changed it.
        let mut later = rounds();
        later.asked.insert(again.uid.clone());
        later.changed();
        later.begin_second(&*object);
        assert_eq!(asked(&later), [true, false]);

        // It was the last that changed it, itself; but a plugin of the server's has changed it then.
        let last = || {
            let mut last = rounds();
            last.changed();
            last.asked.insert(again.uid.clone());
            last
        };
        let (mut plugin, mut alone) = (last(), last());
        plugin.begin_second(&named);
        assert_eq!(asked(&plugin), [true, false]);
        alone.begin_second(&*object);
        assert_eq!(asked(&alone), [false, false], "nobody has changed what it left");
    }
}
