//! Where a request's objects are: the kind's entry, its cache, its keys in the store.

use std::sync::Arc;

use corten_api::{ApiError, Problems, Scope};

use super::{Fence, Resources};
use crate::cache::{FieldTerms, KindCache, ROOT};
use crate::registry::Entry;
use crate::request::Target;
use crate::storage::Write;
use corten_api::selector::FieldSelector;

#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) entry: &'a dyn Entry,
    pub(super) cached: &'a Arc<KindCache>,
    /// The condition of every write here: see [`super::fence`].
    pub(super) fence: Option<&'a Fenced>,
}

/// A fence, and the condition that it is as it was.
pub(super) struct Fenced {
    pub(super) fence: Fence,
    pub(super) condition: Write,
}

impl Resources {
    pub(super) fn place(&self, target: &Target) -> Result<Place<'_>, ApiError> {
        let entry = self.inner.registry.find(&target.group, &target.version, &target.resource);
        let entry = entry.ok_or_else(no_such_path)?;
        if !target.subresource.is_empty() && !entry.subresources().contains(&&*target.subresource) {
            return Err(no_such_path());
        }
        if entry.scope() == Scope::Namespaced && target.namespace.is_empty() && !target.name.is_empty() {
            return Err(ApiError::bad_request("an empty namespace may not be set when a resource name is provided"));
        }
        self.place_of(entry)
    }
    pub(super) fn place_of<'a>(&'a self, entry: &'a dyn Entry) -> Result<Place<'a>, ApiError> {
        let cached = self.inner.cache.kind(entry.store_prefix());
        let cached = cached.ok_or_else(|| ApiError::internal(format!("{} have no cache", entry.plural())))?;
        Ok(Place { entry, cached, fence: None })
    }
    /// `None`: the write is nobody's as a leader.
    pub(super) async fn fenced(&self, fence: Option<&Fence>) -> Result<Option<Fenced>, ApiError> {
        let Some(fence) = fence.cloned() else { return Ok(None) };
        let condition = self.condition_of(&fence).await?;
        Ok(Some(Fenced { fence, condition }))
    }
    /// A kind that must be there for this server to work.
    pub(super) fn builtin(&self, group: &str, version: &str, plural: &str) -> Result<Place<'_>, ApiError> {
        let entry = self.inner.registry.find(group, version, plural);
        self.place_of(entry.ok_or_else(|| ApiError::internal(format!("{plural} are not served")))?)
    }
}

impl<'a> Place<'a> {
    pub(super) fn behind(self, fence: Option<&'a Fenced>) -> Self {
        Self { fence, ..self }
    }
}

impl Place<'_> {
    /// The key in the cache: `namespace/name`, or the name alone.
    pub(super) fn short_key(&self, namespace: &str, name: &str) -> String {
        match self.entry.scope() {
            Scope::Namespaced => format!("{namespace}/{name}"),
            Scope::Cluster => name.to_owned(),
        }
    }
    /// The key in the store.
    pub(super) fn store_key(&self, short: &str) -> String {
        format!("{ROOT}{}/{short}", self.entry.store_prefix())
    }
    /// `v1`, `apps/v1`.
    pub(super) fn api_version(&self) -> String {
        match self.entry.group() {
            "" => self.entry.version().to_owned(),
            group => format!("{group}/{}", self.entry.version()),
        }
    }
    pub(super) fn field_terms(&self, selector: &FieldSelector) -> Result<FieldTerms, ApiError> {
        // A kind without fields of its own has upstream's words for such.
        let unsupported = |field: String| {
            ApiError::bad_request(if self.entry.fields().is_empty() {
                format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
            } else {
                format!("field label not supported: {field}")
            })
        };
        let known = |field: &str| match field {
            "metadata.name" => true,
            "metadata.namespace" => self.entry.scope() == Scope::Namespaced || self.entry.fields().is_empty(),
            field => self.entry.fields().iter().any(|f| f.name == field),
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
        ApiError::not_found(self.entry.group(), self.entry.plural(), name)
    }
    pub(super) fn already_exists(&self, name: &str) -> ApiError {
        ApiError::already_exists(self.entry.group(), self.entry.plural(), name)
    }
    pub(super) fn stale(&self, name: &str) -> ApiError {
        ApiError::stale(self.entry.group(), self.entry.plural(), name)
    }
    pub(super) fn conflict(&self, name: &str, why: &str) -> ApiError {
        ApiError::conflict(self.entry.group(), self.entry.plural(), name, why)
    }
    pub(super) fn valid(&self, name: &str, problems: Problems) -> Result<(), ApiError> {
        if problems.is_empty() {
            return Ok(());
        }
        Err(ApiError::invalid(self.entry.group(), self.entry.kind(), name, problems))
    }
}

/// A path that leads nowhere.
pub(super) fn no_such_path() -> ApiError {
    ApiError::no_such_path()
}

pub(super) fn no_such_method() -> ApiError {
    ApiError::method_not_allowed()
}
