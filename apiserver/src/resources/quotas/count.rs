//! Counting a namespace anew, from the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use corten_api::selector::Selector;
use corten_api::{ApiError, Scope};
use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};

use super::{PLURAL, name, quota};
use crate::admission::resource_quota::{Needs, Objects, needs, taken};
use crate::cache::{FieldTerms, Filter, Item};
use crate::registry::quantities::{List, add, parsed};
use crate::registry::{AnyObject, ApiResource};
use crate::resources::place::Place;
use crate::resources::{Resources, read};

/// Objects that are decoded at one time; between two such parts others may run.
const DECODED_MAX: usize = 256;

impl Resources {
    /// The quotas of a namespace as the cache has them, with their resourceVersions.
    pub(super) fn quotas_of(&self, namespace: &str) -> Result<Vec<ResourceQuota>, ApiError> {
        let place = &self.builtin("", "v1", PLURAL)?;
        let objects = self.items_of(place, namespace).into_iter().map(|item| decoded(place, &item));
        objects.map(|object| quota(&*object?).cloned().ok_or_else(|| ApiError::internal("no quota"))).collect()
    }

    fn items_of(&self, place: &Place<'_>, namespace: &str) -> Vec<Arc<Item>> {
        let all = Filter::new(namespace, Selector::everything(), FieldTerms::default());
        let snapshot = place.cached.snapshot(self.inner.cache.revision());
        all.select(&snapshot, "").cloned().collect()
    }

    /// The statuses of these quotas, which are all of the namespace, by what the cache has of everything else.
    pub(super) async fn counted(
        &self,
        namespace: &str,
        quotas: &[ResourceQuota],
        as_of_secs: i64,
    ) -> Result<BTreeMap<String, ResourceQuotaStatus>, ApiError> {
        let mut used = vec![List::new(); quotas.len()];
        let mut seen = BTreeSet::new();
        for resource in self.registry().table().iter().filter(|resource| resource.scope() == Scope::Namespaced) {
            // Each kind once, in whichever version.
            if seen.insert((resource.group().to_owned(), resource.plural().to_owned())) {
                self.count_kind(resource, namespace, quotas, as_of_secs, &mut used).await?;
            }
        }
        let status = |(quota, used): (&ResourceQuota, List)| {
            let used = used.into_iter().map(|(name, amount)| (name, amount.to_wire())).collect();
            let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
            (name(quota).to_owned(), ResourceQuotaStatus { hard: Some(hard), used: Some(used) })
        };
        Ok(quotas.iter().zip(used).map(status).collect())
    }

    async fn count_kind(
        &self,
        resource: &Arc<ApiResource>,
        namespace: &str,
        quotas: &[ResourceQuota],
        as_of_secs: i64,
        used: &mut [List],
    ) -> Result<(), ApiError> {
        let kind = (resource.group(), resource.plural());
        let needed: Vec<Option<Needs>> = quotas.iter().map(|quota| needs(quota, kind.0, kind.1)).collect();
        let mut count = |objects: &Objects<'_>| {
            let concerned = quotas.iter().zip(&needed).zip(used.iter_mut()).filter(|((_, needs), _)| needs.is_some());
            concerned.for_each(|((quota, _), used)| add(used, &taken(quota, kind, objects, as_of_secs)));
        };
        let Some(needed) = needed.iter().flatten().next() else { return Ok(()) };
        let place = &match self.place_of(resource.clone()) {
            // It has gone since the table was looked at, and its objects with it.
            Err(_) if resource.is_custom() => {
                count(&Objects::Number(0));
                return Ok(());
            }
            place => place?,
        };
        match needed {
            // They may be more, or fewer, than the cache has: one is just being made.
            _ if kind == ("", PLURAL) => count(&Objects::Number(quotas.len())),
            Needs::Number => count(&Objects::Number(self.items_of(place, namespace).len())),
            Needs::Each => {
                // What nobody takes is zero.
                count(&Objects::Each(Vec::new()));
                for part in self.items_of(place, namespace).chunks(DECODED_MAX) {
                    let objects: Vec<_> = part.iter().filter_map(|item| readable(place, item)).collect();
                    count(&Objects::Each(objects.iter().map(|object| &**object).collect()));
                    drop(objects);
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }
}

fn decoded(place: &Place<'_>, item: &Item) -> Result<Box<dyn AnyObject>, ApiError> {
    place.resource.cached(&read::local(place, item)?).map_err(ApiError::internal)
}

/// What cannot be read can be neither written nor deleted here, and takes nothing.
fn readable(place: &Place<'_>, item: &Item) -> Option<Box<dyn AnyObject>> {
    let object = decoded(place, item);
    object.inspect_err(|err| tracing::warn!(key = item.key(), %err, "not counted: it cannot be read")).ok()
}

/// Whether a quota's status says what was counted.
pub(super) fn is_right(quota: &ResourceQuota, counted: Option<&ResourceQuotaStatus>) -> bool {
    let (Some(have), Some(counted)) = (&quota.status, counted) else { return false };
    let same = |a: Option<&_>, b: Option<&_>| parsed(a) == parsed(b);
    same(have.hard.as_ref(), counted.hard.as_ref()) && same(have.used.as_ref(), counted.used.as_ref())
}
