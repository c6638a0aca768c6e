//! Namespace: Active until deleted, then Terminating until its finalizer finds it empty.

use corten_api::Problems;
use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};

use super::path::Path;
use super::{Cell, Column, Kind, NameRule, SelectableField, WriteContext, cells, check};

/// The finalizer of the namespace controller: it empties the namespace.
pub const FINALIZER: &str = "kubernetes";
/// The label that carries a namespace's name, so that selectors can name it.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

const COLUMNS: &[Column] = &[cells::NAME, cells::text("Status", "Active, or Terminating once deleted"), cells::AGE];

impl Kind for Namespace {
    const SINGULAR: &'static str = "namespace";
    const SHORT_NAMES: &'static [&'static str] = &["ns"];
    const STORE_PREFIX: &'static str = "namespaces";
    const SUBRESOURCES: &'static [&'static str] = &["finalize", "status"];
    const FIELDS: &'static [SelectableField] =
        &[SelectableField::new("status.phase", "status.phase", ""), SelectableField::new("name", "metadata.name", "")];
    const NAME_RULE: NameRule = NameRule::Dns1123Label;
    const DELETE_COLLECTION: bool = false;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        if let Some(name) = self.metadata.name.clone().filter(|n| !n.is_empty()) {
            self.metadata.labels.get_or_insert_default().insert(NAME_LABEL.into(), name);
        }
        let phase = &mut self.status.get_or_insert_default().phase;
        phase.get_or_insert_with(|| "Active".into());
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        self.status = Some(NamespaceStatus { phase: Some("Active".into()), conditions: None });
        let finalizers = self.spec.get_or_insert_default().finalizers.get_or_insert_default();
        if !finalizers.iter().any(|f| f == FINALIZER) {
            finalizers.push(FINALIZER.into());
        }
    }
    fn prepare_update(&mut self, old: &Self, _: &WriteContext<'_>) {
        self.spec = old.spec.clone();
    }
    fn holds_deletion(&self) -> bool {
        self.spec.as_ref().and_then(|s| s.finalizers.as_ref()).is_some_and(|f| !f.is_empty())
    }
    fn mark_deleting(&mut self) {
        self.status.get_or_insert_default().phase = Some("Terminating".into());
    }
    fn validate(&self, problems: &mut Problems) {
        let list = Path::root("spec.finalizers");
        for (i, name) in self.spec.iter().filter_map(|s| s.finalizers.as_ref()).flatten().enumerate() {
            check::qualified_name(problems, &list.index(i), name);
            if !name.contains('/') && name != FINALIZER {
                problems.invalid(
                    list.index(i),
                    name,
                    "name is neither a standard finalizer name nor is it fully qualified",
                );
            }
        }
    }
    fn validate_status(&self, _old: &Self, problems: &mut Problems) {
        let phase = self.status.as_ref().map_or("", |s| check::text(s.phase.as_ref()));
        let deleting = self.metadata.deletion_timestamp.is_some();
        if deleting && phase != "Terminating" {
            problems.invalid("status.Phase", phase, "may only be 'Terminating' if `deletionTimestamp` is not empty");
        } else if !deleting && phase != "Active" {
            problems.invalid("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty");
        }
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let phase = self.status.as_ref().and_then(|s| s.phase.as_deref());
        vec![cells::name(&self.metadata), Cell::text_or(phase, ""), cells::age(&self.metadata, now_secs)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Strategy;
    use crate::registry::check::testing::{defaulted, found, prepare, row};

    #[test]
    fn a_new_one_is_active_and_held_by_its_finalizer() {
        let mut ns: Namespace = defaulted(r#"{"metadata":{"name":"x"},"status":{"phase":"Terminating"}}"#);
        prepare(Strategy::Create, &mut ns);
        assert_eq!(ns.metadata.labels.as_ref().unwrap()[NAME_LABEL], "x");
        assert!(ns.holds_deletion());
        assert_eq!(ns.status.as_ref().unwrap().phase.as_deref(), Some("Active"));
        let mut emptied = ns.clone();
        emptied.spec = None;
        prepare(Strategy::Finalize(&ns), &mut emptied);
        assert!(!emptied.holds_deletion());
    }

    #[test]
    fn the_phase_follows_the_deletion() {
        let status = |json: &str| {
            let ns: Namespace = defaulted(json);
            let mut problems = Problems::default();
            ns.validate_status(&ns, &mut problems);
            problems.is_empty()
        };
        assert!(status(r#"{"status":{"phase":"Active"}}"#));
        assert!(!status(r#"{"status":{"phase":"Terminating"}}"#));
        let deleted = r#"{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"},"status":{"phase":"Terminating"}}"#;
        assert!(status(deleted));
        assert_eq!(found::<Namespace>(r#"{"spec":{"finalizers":["mine"]}}"#).len(), 1);
    }

    #[test]
    fn columns() {
        assert_eq!(
            row::<Namespace>(r#"{"metadata":{"name":"x"},"status":{"phase":"Active"}}"#, 0),
            "x|Active|<unknown>"
        );
    }
}
