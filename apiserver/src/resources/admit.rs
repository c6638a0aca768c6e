//! Where admission is asked, and how long it may wait for what it misses.

use bytes::Bytes;
use corten_api::ApiError;
use corten_api::selector::Selector;
use tokio::time::{Instant, timeout_at};

use super::Resources;
use super::place::Place;
use crate::admission::{AdmissionRequest, Refusal};
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
        if let Ok(warnings) = self.ask_of_create(user, place, target, &mut object).await {
            return Ok(warnings);
        }
        let begun = Instant::now();
        self.inner.cache.catch_up().await?;
        loop {
            let mut changed = self.inner.cache.changes();
            let (error, patience) = match self.ask_of_create(user, place, target, &mut object).await {
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

    async fn ask_of_create(
        &self,
        user: &User,
        place: &Place<'_>,
        target: &Target,
        object: &mut Option<&mut dyn AnyObject>,
    ) -> Result<Vec<String>, Refusal> {
        // Reborrowed, as every question takes the object.
        let object = object.as_mut().map(|o| &mut **o as &mut dyn AnyObject);
        let (verb, resource, warnings) = (Verb::Create, &*place.resource, Vec::new());
        let mut asked = AdmissionRequest { user, verb, target, resource, object, old: None, view: self, warnings };
        self.inner.settings.admission.admit(&mut asked).await
    }

    pub(super) async fn admit_update(
        &self,
        user: &User,
        place: &Place<'_>,
        target: &Target,
        object: &mut dyn AnyObject,
        old: &dyn AnyObject,
    ) -> Result<Vec<String>, ApiError> {
        let (verb, object, old) = (Verb::Update, Some(object), Some(old));
        let (resource, warnings) = (&*place.resource, Vec::new());
        let mut asked = AdmissionRequest { user, verb, target, resource, object, old, view: self, warnings };
        self.inner.settings.admission.admit(&mut asked).await.map_err(Refusal::into_error)
    }

    pub(super) async fn admit_delete(
        &self,
        user: &User,
        place: &Place<'_>,
        target: &Target,
        old: &dyn AnyObject,
    ) -> Result<Vec<String>, ApiError> {
        let (verb, old, resource, warnings) = (Verb::Delete, Some(old), &*place.resource, Vec::new());
        let mut asked = AdmissionRequest { user, verb, target, resource, object: None, old, view: self, warnings };
        self.inner.settings.admission.admit(&mut asked).await.map_err(Refusal::into_error)
    }
}
