//! Where a request's objects are: the kind's resource, its cache, its keys in the store.

use std::sync::Arc;

use corten_api::{ApiError, Problems, Scope};

use super::{Fence, Resources};
use crate::cache::{FieldTerms, KindCache, ROOT};
use crate::registry::ApiResource;
use crate::request::Target;
use crate::storage::Write;
use corten_api::selector::FieldSelector;

pub(super) struct Place<'a> {
    pub(super) resource: Arc<ApiResource>,
    pub(super) cached: Arc<KindCache>,
    /// The condition of every write here: see [`super::fence`].
    pub(super) fence: Option<&'a Fenced>,
}

/// A fence, and the condition that it is as it was.
pub(super) struct Fenced {
    pub(super) fence: Fence,
    pub(super) condition: Write,
}

impl Resources {
    pub(super) fn place(&self, target: &Target) -> Result<Place<'static>, ApiError> {
        let resource = self.inner.registry.find(&target.group, &target.version, &target.resource);
        let resource = resource.ok_or_else(no_such_path)?;
        if !target.subresource.is_empty() && !resource.has_subresource(&target.subresource) {
            return Err(no_such_path());
        }
        if resource.scope() == Scope::Namespaced && target.namespace.is_empty() && !target.name.is_empty() {
            return Err(ApiError::bad_request("an empty namespace may not be set when a resource name is provided"));
        }
        self.place_of(resource)
    }
    pub(super) fn place_of(&self, resource: Arc<ApiResource>) -> Result<Place<'static>, ApiError> {
        let cached = self.inner.cache.kind(resource.store_prefix());
        let cached = cached.ok_or_else(|| ApiError::internal(format!("{} have no cache", resource.plural())))?;
        Ok(Place { resource, cached, fence: None })
    }
    /// `None`: the write is nobody's as a leader.
    pub(super) async fn fenced(&self, fence: Option<&Fence>) -> Result<Option<Fenced>, ApiError> {
        let Some(fence) = fence.cloned() else { return Ok(None) };
        let condition = self.condition_of(&fence).await?;
        Ok(Some(Fenced { fence, condition }))
    }
    /// A kind that must be there for this server to work.
    pub(super) fn builtin(&self, group: &str, version: &str, plural: &str) -> Result<Place<'static>, ApiError> {
        let resource = self.inner.registry.find(group, version, plural);
        self.place_of(resource.ok_or_else(|| ApiError::internal(format!("{plural} are not served")))?)
    }
}

impl Place<'_> {
    pub(super) fn behind(self, fence: Option<&Fenced>) -> Place<'_> {
        Place { fence, ..self }
    }
}

impl Place<'_> {
    /// The key in the cache: `namespace/name`, or the name alone.
    pub(super) fn short_key(&self, namespace: &str, name: &str) -> String {
        match self.resource.scope() {
            Scope::Namespaced => format!("{namespace}/{name}"),
            Scope::Cluster => name.to_owned(),
        }
    }
    /// The key in the store.
    pub(super) fn store_key(&self, short: &str) -> String {
        format!("{ROOT}{}/{short}", self.resource.store_prefix())
    }
    pub(super) fn field_terms(&self, selector: &FieldSelector) -> Result<FieldTerms, ApiError> {
        // A kind without fields of its own has upstream's words for such.
        let unsupported = |field: String| {
            ApiError::bad_request(if self.resource.fields().is_empty() {
                format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
            } else {
                format!("field label not supported: {field}")
            })
        };
        let known = |field: &str| match field {
            "metadata.name" => true,
            "metadata.namespace" => self.resource.scope() == Scope::Namespaced || self.resource.fields().is_empty(),
            field => self.resource.fields().iter().any(|f| f.name == field),
        };
        if let Some(term) = selector.0.iter().find(|t| !known(&t.field)) {
            return Err(unsupported(term.field.clone()));
        }
        FieldTerms::new(selector, self.cached.fields()).map_err(unsupported)
    }

    /// The refusal of a write whose fence was not as it was any more.
    pub(super) fn fenced_off(&self) -> ApiError {
        match self.fence {
            Some(fenced) => fenced.fence.lost(),
            None => ApiError::internal("the store refused a condition that was not asked for"),
        }
    }
    pub(super) fn not_found(&self, name: &str) -> ApiError {
        ApiError::not_found(self.resource.group(), self.resource.plural(), name)
    }
    pub(super) fn already_exists(&self, name: &str) -> ApiError {
        ApiError::already_exists(self.resource.group(), self.resource.plural(), name)
    }
    pub(super) fn stale(&self, name: &str) -> ApiError {
        ApiError::stale(self.resource.group(), self.resource.plural(), name)
    }
    pub(super) fn conflict(&self, name: &str, why: &str) -> ApiError {
        ApiError::conflict(self.resource.group(), self.resource.plural(), name, why)
    }
    pub(super) fn valid(&self, name: &str, problems: Problems) -> Result<(), ApiError> {
        if problems.is_empty() {
            return Ok(());
        }
        Err(ApiError::invalid(self.resource.group(), self.resource.kind(), name, problems))
    }
}

/// A path that leads nowhere.
pub(super) fn no_such_path() -> ApiError {
    ApiError::no_such_path()
}

pub(super) fn no_such_method() -> ApiError {
    ApiError::method_not_allowed()
}
