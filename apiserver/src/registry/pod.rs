//! Pod: containers that share a node, an address and volumes.

mod app_armor;
pub mod columns;
pub mod defaults;
mod label_keys;
pub mod references;
pub mod unserved;
pub mod update;
pub mod validate;
pub mod warnings;

use corten_api::{Problems, pod};
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodIP, PodStatus};

use super::path::Path;
use super::{Cell, Column, Kind, Part, SelectableField, WriteContext};

impl Kind for Pod {
    const SINGULAR: &'static str = "pod";
    const SHORT_NAMES: &'static [&'static str] = &["po"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const STORE_PREFIX: &'static str = "pods";
    const DELETE_RETURNS_OBJECT: bool = true;
    const SUBRESOURCES: &'static [&'static str] = &[
        "attach",
        "binding",
        "ephemeralcontainers",
        "eviction",
        "exec",
        "log",
        "portforward",
        "proxy",
        "resize",
        "status",
    ];
    const FIELDS: &'static [SelectableField] = &[
        SelectableField::new("spec.nodeName", "spec.nodeName", ""),
        // What it was called first.
        SelectableField::new("spec.host", "spec.nodeName", ""),
        SelectableField::new("spec.restartPolicy", "spec.restartPolicy", ""),
        SelectableField::new("spec.schedulerName", "spec.schedulerName", ""),
        SelectableField::new("spec.serviceAccountName", "spec.serviceAccountName", ""),
        SelectableField::new("spec.hostNetwork", "spec.hostNetwork", "false"),
        SelectableField::new("status.phase", "status.phase", ""),
        SelectableField::new("status.podIP", "status.podIP", ""),
        // A list, and so none of them is a field's value: as upstream, it is known and selects nothing.
        SelectableField::new("status.podIPs", "status.podIPs", ""),
        SelectableField::new("status.nominatedNodeName", "status.nominatedNodeName", ""),
    ];
    const HAS_GENERATION: bool = true;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        defaults::pod(self);
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        let spec = self.spec.get_or_insert_default();
        let mut status = PodStatus {
            phase: Some("Pending".into()),
            qos_class: Some(pod::Qos::of(spec).as_str().into()),
            ..PodStatus::default()
        };
        if spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
            // No transition time: nothing has changed yet.
            status.conditions = Some(vec![PodCondition {
                type_: "PodScheduled".into(),
                status: "False".into(),
                reason: Some("SchedulingGated".into()),
                message: Some("Scheduling is blocked due to non-empty scheduling gates".into()),
                ..PodCondition::default()
            }]);
        }
        self.status = Some(status);
        unserved::drop_from_spec(spec, None);
        label_keys::merge(spec, self.metadata.labels.as_ref());
        app_armor::from_annotations(self);
    }
    fn prepare_update(&mut self, old: &Self, _: &WriteContext<'_>) {
        unserved::drop_from_spec(self.spec.get_or_insert_default(), old.spec.as_ref());
        update::open_gates(self, old);
    }
    fn prepare_status(&mut self, old: &Self, _: &WriteContext<'_>) {
        self.metadata.owner_references = old.metadata.owner_references.clone();
        let status = self.status.get_or_insert_default();
        status.qos_class = old.status.as_ref().and_then(|s| s.qos_class.clone());
        match (&status.pod_ip, &status.pod_ips) {
            (Some(ip), None) => status.pod_ips = Some(vec![PodIP { ip: ip.clone() }]),
            (None, Some(ips)) => status.pod_ip = ips.first().map(|p| p.ip.clone()),
            _ => {}
        }
        unserved::drop_from_status(self, old);
    }
    fn prepare_part(&mut self, part: Part, old: &Self) {
        match part {
            Part::EphemeralContainers => update::ephemeral::prepare(self, old),
            Part::Resize => update::resize::prepare(self, old),
        }
    }
    fn validate(&self, problems: &mut Problems) {
        let at = Path::root("spec");
        match &self.spec {
            Some(spec) => {
                let of = validate::Of::Pod(&self.metadata);
                validate::validate(spec, of, &Path::root("metadata.annotations"), &at, problems);
            }
            None => problems.required(at, ""),
        }
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        update::validate(self, old, problems);
    }
    fn validate_status(&self, old: &Self, problems: &mut Problems) {
        update::validate_status(self, old, problems);
    }
    fn validate_part(&self, part: Part, old: &Self, problems: &mut Problems) {
        match part {
            Part::EphemeralContainers => update::ephemeral::validate(self, old, problems),
            Part::Resize => update::resize::validate(self, old, problems),
        }
    }
    /// Nothing waits for a pod that no node runs.
    fn deletion_grace_secs(&self, asked: Option<i64>) -> Option<i64> {
        let own = self.spec.as_ref().and_then(|s| s.termination_grace_period_seconds);
        let secs = match asked.or(own).unwrap_or(0) {
            _ if pod::node_name(self).is_none() || pod::is_terminal(self) => 0,
            secs if secs < 0 => 1,
            secs => secs,
        };
        Some(secs)
    }
    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        warnings::pod(self)
    }
    fn columns() -> &'static [Column] {
        columns::COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        columns::row(self, now_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Strategy;
    use crate::registry::check::testing::{defaulted, prepare};

    #[test]
    fn a_new_pod_is_pending() {
        let json =
            r#"{"spec":{"containers":[{"name":"a"}],"schedulingGates":[{"name":"g"}]},"status":{"phase":"Running"}}"#;
        let mut pod: Pod = defaulted(json);
        prepare(Strategy::Create, &mut pod);
        let status = pod.status.unwrap();
        assert_eq!((status.phase.as_deref(), status.qos_class.as_deref()), (Some("Pending"), Some("BestEffort")));
        assert_eq!(status.conditions.unwrap()[0].reason.as_deref(), Some("SchedulingGated"));
    }

    #[test]
    fn grace_of_a_deletion() {
        let running = r#"{"spec":{"nodeName":"n"},"status":{"phase":"Running"}}"#;
        let cases = [
            ("the pod's own", running, None, 30),
            ("as asked", running, Some(5), 5),
            ("at once", running, Some(0), 0),
            ("negative means the shortest", running, Some(-1), 1),
            ("no node", r#"{"status":{"phase":"Pending"}}"#, Some(5), 0),
            ("over already", r#"{"spec":{"nodeName":"n"},"status":{"phase":"Failed"}}"#, None, 0),
        ];
        for (why, json, asked, expected) in cases {
            assert_eq!(defaulted::<Pod>(json).deletion_grace_secs(asked), Some(expected), "{why}");
        }
    }
}
