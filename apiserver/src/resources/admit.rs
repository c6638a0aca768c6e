//! Where admission is asked, and how long it may wait for what it misses.

use bytes::Bytes;
use corten_api::ApiError;
use corten_api::selector::Selector;
use tokio::time::{Instant, timeout_at};

use super::Resources;
use super::place::Place;
use crate::admission::{AdmissionRequest, Refusal, admit};
use crate::authz::Attributes;
use crate::cache::{FieldTerms, Filter};
use crate::registry::AnyObject;
use crate::request::{Target, User, Verb};
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
        let resource = self.inner.registry.find_any_version(group, plural);
        let Some(place) = resource.and_then(|resource| self.place_of(resource).ok()) else { return Vec::new() };
        let all = Filter::new(namespace, Selector::everything(), FieldTerms::default());
        let snapshot = place.cached.snapshot(self.inner.cache.revision());
        all.select(&snapshot, "").map(|item| item.object()).collect()
    }
    fn may(&self, user: &User, verb: &str, target: &Target) -> bool {
        self.authorizer().check(user, Attributes::Resource { verb, target }).is_ok()
    }
}

impl Resources {
    /// Asks again with a newer view of the cluster before it gives a refusal.
    pub(super) async fn admit_create(
        &self,
        user: &User,
        place: &Place<'_>,
        target: &Target,
        mut object: Option<&mut dyn AnyObject>,
    ) -> Result<Vec<String>, ApiError> {
        let mut ask = || {
            // Reborrowed, as every question takes the object.
            let object = object.as_mut().map(|o| &mut **o as &mut dyn AnyObject);
            let (verb, resource, warnings) = (Verb::Create, &*place.resource, Vec::new());
            admit(&mut AdmissionRequest { user, verb, target, resource, object, old: None, view: self, warnings })
        };
        if let Ok(warnings) = ask() {
            return Ok(warnings);
        }
        let begun = Instant::now();
        self.inner.cache.catch_up().await?;
        loop {
            let mut changed = self.inner.cache.changes();
            let (error, patience) = match ask() {
                Ok(warnings) => return Ok(warnings),
                Err(Refusal::Final(error)) => return Err(error),
                Err(Refusal::NotYet { error, patience }) => (error, patience),
            };
            match timeout_at(begun + patience, changed.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(error),
            }
        }
    }

    pub(super) fn admit_update(
        &self,
        user: &User,
        place: &Place<'_>,
        target: &Target,
        object: &mut dyn AnyObject,
        old: &dyn AnyObject,
    ) -> Result<Vec<String>, ApiError> {
        let (verb, object, old) = (Verb::Update, Some(object), Some(old));
        let (resource, warnings) = (&*place.resource, Vec::new());
        admit(&mut AdmissionRequest { user, verb, target, resource, object, old, view: self, warnings })
            .map_err(Refusal::into_error)
    }

    pub(super) fn admit_delete(
        &self,
        user: &User,
        place: &Place<'_>,
        target: &Target,
        old: &dyn AnyObject,
    ) -> Result<Vec<String>, ApiError> {
        let (verb, old, resource, warnings) = (Verb::Delete, Some(old), &*place.resource, Vec::new());
        admit(&mut AdmissionRequest { user, verb, target, resource, object: None, old, view: self, warnings })
            .map_err(Refusal::into_error)
    }
}
