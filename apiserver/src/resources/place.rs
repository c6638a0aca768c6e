//! Where a request's objects are: the kind's resource, its cache, its keys in the store.

use std::sync::Arc;

use corten_api::{ApiError, Problems, Scope};

use super::{Fence, Resources};
use crate::cache::{FieldTerms, KindCache, ROOT};
use crate::registry::{ApiResource, subresource};
use crate::request::{Target, Verb};
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
    /// The kind that a request is about, if it has what the request names and the verb fits that. Whoever serves requests may
    /// ask early; every read and write asks for itself, so that no door is without it.
    pub fn fitting(&self, verb: Verb, target: &Target) -> Result<Arc<ApiResource>, ApiError> {
        let resource = self.inner.registry.find(&target.group, &target.version, &target.resource);
        let resource = resource.ok_or_else(no_such_path)?;
        check(&resource, verb, target)?;
        Ok(resource)
    }
    pub(super) fn place(&self, verb: Verb, target: &Target) -> Result<Place<'static>, ApiError> {
        let place = self.place_of(self.fitting(verb, target)?)?;
        // It may have been defined otherwise just now.
        check(&place.resource, verb, target)?;
        Ok(place)
    }
    pub(super) fn place_of(&self, resource: Arc<ApiResource>) -> Result<Place<'static>, ApiError> {
        let cached = self.inner.cache.kind(resource.store_prefix());
        let cached = cached.ok_or_else(|| match resource.is_custom() {
            // It has gone since it was found.
            true => no_such_path(),
            false => ApiError::internal(format!("{} have no cache", resource.plural())),
        })?;
        let resource = cached.as_served(resource).ok_or_else(no_such_path)?;
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

/// Whether the kind has what the target names, and the verb fits it. What roles were asked about is then what is done: a
/// namespace's roles let nobody at what is in none, and an object is not made under another name than the one that was judged.
fn check(resource: &ApiResource, verb: Verb, target: &Target) -> Result<(), ApiError> {
    let (is_named, has_namespace) = (!target.name.is_empty(), !target.namespace.is_empty());
    let is_complete = match resource.scope() {
        Scope::Cluster if has_namespace => return Err(no_such_path()),
        Scope::Namespaced if is_named && !has_namespace => return Err(no_such_path()),
        Scope::Cluster => true,
        Scope::Namespaced => has_namespace,
    };
    let fits = if target.subresource.is_empty() {
        match verb {
            Verb::Get | Verb::Update | Verb::Patch | Verb::Delete => is_named,
            Verb::List | Verb::Watch => true,
            // The object says its name.
            Verb::Create => !is_named && is_complete,
            Verb::DeleteCollection => !is_named && is_complete && resource.has_delete_collection(),
        }
    } else if is_named && resource.has_subresource(&target.subresource) {
        subresource::of(resource.plural(), &target.subresource).verbs.contains(&verb)
    } else {
        return Err(no_such_path());
    };
    if fits { Ok(()) } else { Err(no_such_method()) }
}

/// A path that leads nowhere.
pub(super) fn no_such_path() -> ApiError {
    ApiError::no_such_path()
}

pub(super) fn no_such_method() -> ApiError {
    ApiError::method_not_allowed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    const ALL: [Verb; 8] = [
        Verb::Get,
        Verb::List,
        Verb::Watch,
        Verb::Create,
        Verb::Update,
        Verb::Patch,
        Verb::Delete,
        Verb::DeleteCollection,
    ];

    /// What becomes of each verb: its name where it fits, `405`s left out; or the `404` that all have in common.
    fn verbs_of(plural: &str, at: &str) -> String {
        let (plural, subresource) = plural.split_once('/').unwrap_or((plural, ""));
        let (namespace, name) = at.split_once('/').unwrap_or(("", at));
        let resource = Registry::default().find("", "v1", plural).unwrap();
        let target = Target {
            version: "v1".into(),
            resource: plural.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..Target::default()
        };
        let checked = ALL.map(|verb| (verb, check(&resource, verb, &target)));
        if checked.iter().all(|(_, done)| done.as_ref().is_err_and(ApiError::is_no_such_path)) {
            return "404".into();
        }
        assert!(checked.iter().all(|(_, done)| done.as_ref().map_or_else(ApiError::code, |()| 405) == 405));
        checked.iter().filter(|(_, done)| done.is_ok()).map(|(verb, _)| verb.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_may_be_done_where() {
        let one = "get list watch update patch delete";
        for (plural, at, expected) in [
            ("pods", "n/web", one),
            ("pods", "n/", "list watch create deletecollection"),
            ("pods", "", "list watch"),
            ("pods", "/web", "404"),
            ("pods/status", "n/web", "get update patch"),
            ("pods/log", "n/web", "get"),
            ("pods/exec", "n/web", "get create"),
            ("pods/binding", "n/web", "create"),
            ("pods/binding", "n/", "404"),
            ("pods/token", "n/web", "404"),
            ("nodes", "n1", one),
            ("nodes", "", "list watch create deletecollection"),
            ("nodes", "n/n1", "404"),
            ("nodes", "n/", "404"),
            ("nodes/status", "n1", "get update patch"),
            ("nodes/status", "n/n1", "404"),
            ("namespaces", "", "list watch create"),
            ("namespaces/finalize", "n", "update"),
            ("services", "n/", "list watch create deletecollection"),
            ("serviceaccounts/token", "n/a", "create"),
        ] {
            assert_eq!(verbs_of(plural, at), expected, "{plural} {at}");
        }
    }
}
