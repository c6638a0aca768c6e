//! CustomResourceDefinition: a kind that users define.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/extend-resources/custom-resource-definition-v1/>. Whether its names are
//! free, and whether its objects are served, is decided and written by who serves them (`resources/custom_kinds.rs`).

pub mod approval;
pub mod conditions;
pub mod conversion;
mod names;
mod room;
mod schemas;
mod validate;

use corten_api::Problems;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, CustomResourceDefinitionStatus, CustomResourceDefinitionVersion,
};

use self::conditions::{Condition, TERMINATING};
use crate::registry::webhook_client::SERVICE_PORT;
use crate::registry::{Cell, Column, Kind, WriteContext, cells, clock};

pub const GROUP: &str = "apiextensions.k8s.io";
pub const PLURAL: &str = "customresourcedefinitions";
pub const STORE_PREFIX: &str = "apiextensions.k8s.io/customresourcedefinitions";
/// Keeps a definition until all objects of its kind are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
const NONE: &str = "None";
pub const WEBHOOK: &str = "Webhook";
const COLUMNS: &[Column] = &[cells::NAME, cells::CREATED_AT];

impl Kind for CustomResourceDefinition {
    // What its schemas say is compiled, and their rules are asked of their defaults.
    const IS_COSTLY: bool = true;
    const SINGULAR: &'static str = "customresourcedefinition";
    const SHORT_NAMES: &'static [&'static str] = &["crd", "crds"];
    const CATEGORIES: &'static [&'static str] = &["api-extensions"];
    const STORE_PREFIX: &'static str = STORE_PREFIX;
    const SUBRESOURCES: &'static [&'static str] = &["status"];
    const HAS_GENERATION: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        let names = &mut self.spec.names;
        if names.singular.as_deref().unwrap_or_default().is_empty() {
            names.singular = Some(names.kind.to_lowercase());
        }
        if names.list_kind.as_deref().unwrap_or_default().is_empty() && !names.kind.is_empty() {
            names.list_kind = Some(format!("{}List", names.kind));
        }
        let none = || CustomResourceConversion { strategy: NONE.into(), ..CustomResourceConversion::default() };
        let conversion = self.spec.conversion.get_or_insert_with(none);
        let client = conversion.webhook.as_mut().and_then(|webhook| webhook.client_config.as_mut());
        if let Some(service) = client.and_then(|client| client.service.as_mut()) {
            service.port.get_or_insert(SERVICE_PORT);
        }
        let status = self.status.get_or_insert_default();
        if status.stored_versions.as_ref().is_none_or(Vec::is_empty) {
            note_storage(&self.spec.versions, status);
        }
    }
    fn prepare_create(&mut self, _context: &WriteContext<'_>) {
        note_storage(&self.spec.versions, self.status.get_or_insert_default());
    }
    fn prepare_update(&mut self, _old: &Self, _context: &WriteContext<'_>) {
        note_storage(&self.spec.versions, self.status.get_or_insert_default());
    }
    fn validate(&self, problems: &mut Problems) {
        validate::definition(self, None, problems);
        room::check(self, problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        validate::update(self, old, problems);
    }
    fn validate_over(&self, old: &Self, problems: &mut Problems) {
        validate::definition(self, Some(old), problems);
        if self.spec != old.spec {
            room::check(self, problems);
        }
        self.validate_update(old, problems);
    }
    fn validate_status(&self, _old: &Self, problems: &mut Problems) {
        validate::status(self, problems);
    }
    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let before = old.map(schemas::unknown_formats).unwrap_or_default();
        let new = schemas::unknown_formats(self).into_iter().filter(|format| !before.contains(format));
        new.map(|format| format!("unrecognized format {format:?}")).collect()
    }
    /// The first delete only begins it: objects of the kind go first.
    fn holds_deletion(&self) -> bool {
        self.metadata.deletion_timestamp.is_none()
    }
    fn mark_deleting(&mut self) {
        let finalizers = self.metadata.finalizers.get_or_insert_default();
        // Who deletes again, when all is done, does not begin anew.
        if finalizers.iter().any(|finalizer| finalizer == CLEANUP) {
            return;
        }
        finalizers.push(CLEANUP.into());
        let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon".into();
        let pending = Condition { kind: TERMINATING, status: true, reason: "InstanceDeletionPending", message };
        let generation = self.metadata.generation;
        conditions::set(self.status.get_or_insert_default(), &pending, generation, &clock::now());
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, _now_secs: i64) -> Vec<Cell> {
        vec![cells::name(&self.metadata), cells::created_at(&self.metadata)]
    }
}

/// What may be in the store of the kind: the version that is stored from now on, too.
fn note_storage(versions: &[CustomResourceDefinitionVersion], status: &mut CustomResourceDefinitionStatus) {
    let Some(storage) = versions.iter().find(|version| version.storage) else { return };
    let stored = status.stored_versions.get_or_insert_default();
    if !stored.contains(&storage.name) {
        stored.push(storage.name.clone());
    }
}

#[cfg(test)]
mod tests;
