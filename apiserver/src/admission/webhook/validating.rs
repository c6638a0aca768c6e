//! Webhooks that judge: all at once, and the first in order that refuses is told of.

use std::time::Instant;

use corten_api::ApiError;
use futures::StreamExt;

use super::call::Call;
use super::conditions;
use super::index::Index;
use super::metrics::{Metrics, VALIDATING};
use crate::admission::asking::Asking;
use crate::admission::matching;
use crate::admission::versions::Texts;
use crate::aside::outside;
use crate::registry::AnyObject;

/// Asked at once about one write: so many answers of the largest size are held for it. Hardly a cluster has more.
const AT_ONCE_MAX: usize = 32;

pub(super) async fn ask(
    metrics: &Metrics,
    index: &Index,
    asking: &Asking<'_>,
    object: Option<&dyn AnyObject>,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    let resources = matching::equivalents(asking.registry, asking.resource, &asking.target.subresource);
    let (mut texts, mut old_texts) = (Texts::default(), Texts::default());
    let connection = asking.connection.as_ref().map(serde_json::value::to_raw_value).transpose();
    let connection = connection.map_err(ApiError::internal)?;
    let mut asked = Vec::new();
    for hook in &index.validating {
        let Some(resource) = hook.criteria.matches(asking, object, &resources)? else { continue };
        if !hook.conditions.is_empty() {
            let object = match object {
                Some(object) => Some(texts.value(asking, object, &resource).await?),
                None => asking.connection.as_ref(),
            };
            let old = match asking.old {
                Some(old) => Some(old_texts.value(asking, old, &resource).await?),
                None => None,
            };
            let objects = (object, old);
            if !conditions::hold(metrics, hook, asking, &resource, objects, VALIDATING).await? {
                continue;
            }
        }
        if let Some(object) = object {
            texts.of(asking, object, &resource).await?;
        }
        if let Some(old) = asking.old {
            old_texts.of(asking, old, &resource).await?;
        }
        asked.push((hook, resource));
    }
    let calls: Vec<_> = asked
        .iter()
        .enumerate()
        .map(|(i, (hook, resource))| {
            let objects = (texts.get(resource).or(connection.as_deref()), old_texts.get(resource));
            async move {
                let call = Call { hook, asking, resource, is_mutating: false, at: (0, i) };
                let (begun, mut warnings) = (Instant::now(), Vec::new());
                let outcome = call.ask(objects, &mut warnings).await;
                (call.conclude(metrics, begun, outcome), warnings)
            }
        })
        .collect();
    let concluded = futures::stream::iter(calls).buffered(AT_ONCE_MAX).collect::<Vec<_>>();
    let mut refusal = None;
    for (concluded, told) in outside(concluded).await? {
        warnings.extend(told);
        refusal = refusal.or(concluded.err());
    }
    refusal.map_or(Ok(()), Err)
}
