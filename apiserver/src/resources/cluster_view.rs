//! What admission may ask of the cluster: as this server knows it, which is never older than its own writes.

use bytes::Bytes;
use corten_api::ApiError;
use corten_api::selector::{FieldSelector, Selector};

use super::Resources;
use crate::authz::Attributes;
use crate::cache::{FieldTerms, Filter};
use crate::request::{Target, User};
use crate::view::{ClusterView, Objects};

impl Objects for Resources {
    fn get(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Bytes> {
        let resource = self.inner.registry.find_any_version(group, plural)?;
        let place = &self.place_of(resource).ok()?;
        Some(place.cached.get(&place.short_key(namespace, name))?.object())
    }
}

impl ClusterView for Resources {
    fn list(&self, group: &str, plural: &str, namespace: &str) -> Vec<Bytes> {
        self.selected(group, plural, namespace, &Selector::everything())
    }
    fn selected(&self, group: &str, plural: &str, namespace: &str, labels: &Selector) -> Vec<Bytes> {
        let resource = self.inner.registry.find_any_version(group, plural);
        let Some(place) = resource.and_then(|resource| self.place_of(resource).ok()) else { return Vec::new() };
        let filter = Filter::new(namespace, labels.clone(), FieldTerms::default());
        let snapshot = place.cached.snapshot(self.inner.cache.revision());
        filter.select(&snapshot, "").map(|item| item.object()).collect()
    }
    fn may(&self, user: &User, verb: &str, target: &Target) -> bool {
        self.authorizer().check(user, Attributes::Resource { verb, target }).is_ok()
    }
    fn may_and_why(
        &self,
        user: &User,
        verb: &str,
        target: &Target,
        fields: &FieldSelector,
    ) -> Result<Result<String, String>, ApiError> {
        self.explain_at_once(user, verb, target, fields)
    }
    fn may_use_and_why(&self, user: &User, verb: &str, path: &str) -> Result<String, String> {
        self.authorizer().explain(user, Attributes::Path { verb, path })
    }
}
