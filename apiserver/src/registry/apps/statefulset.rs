//! StatefulSet: pods with names and volumes of their own, made and replaced one after the other.

mod validate;

use corten_api::Problems;
use k8s_openapi::api::apps::v1::{RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::registry::defaults::fill;
use crate::registry::path::Path;
use crate::registry::{
    Cell, Column, Kind, NameRule, ScaleAccess, WriteContext, cells, persistentvolumeclaim, workload,
};

const REVISIONS_KEPT: i32 = 10;
const ROLLING_UPDATE: &str = "RollingUpdate";
const ON_DELETE: &str = "OnDelete";
const RETAIN: &str = "Retain";

const COLUMNS: &[Column] =
    &[cells::NAME, cells::text("Ready", "Ready pods of those wanted"), cells::AGE, cells::CONTAINERS, cells::IMAGES];

const KEEPS_ALL: &str =
    "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended";

impl Kind for StatefulSet {
    const SINGULAR: &'static str = "statefulset";
    const SHORT_NAMES: &'static [&'static str] = &["sts"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const STORE_PREFIX: &'static str = "statefulsets";
    const SUBRESOURCES: &'static [&'static str] = &["scale", "status"];
    const HAS_GENERATION: bool = true;
    /// Its pods have its name, and a number, as their host names.
    const NAME_RULE: NameRule = NameRule::Dns1123Label;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        let spec = &mut self.spec;
        fill(&mut spec.pod_management_policy, "OrderedReady");
        default_strategy(spec);
        let retention = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
        fill(&mut retention.when_deleted, RETAIN);
        fill(&mut retention.when_scaled, RETAIN);
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(REVISIONS_KEPT);
        workload::default_template(&mut spec.template);
        spec.volume_claim_templates.iter_mut().flatten().for_each(claim_defaults);
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        workload::drop_unserved(Some(&mut self.spec.template), None);
        self.status = Some(StatefulSetStatus { available_replicas: Some(0), ..StatefulSetStatus::default() });
    }
    fn prepare_update(&mut self, old: &Self, _: &WriteContext<'_>) {
        workload::drop_unserved(Some(&mut self.spec.template), Some(&old.spec.template));
    }
    fn validate(&self, problems: &mut Problems) {
        validate::statefulset(self, problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        validate::update(self, old, problems);
    }
    fn validate_status(&self, old: &Self, problems: &mut Problems) {
        validate::status(self, old, problems);
    }
    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let (at, old) = (Path::root("spec.template"), old.map(|old| &old.metadata));
        let mut warnings = workload::warnings(&self.metadata, old, false, Some(&self.spec.template), &at);
        let list = Path::root("spec.volumeClaimTemplates");
        for (i, claim) in self.spec.volume_claim_templates.iter().flatten().enumerate() {
            if let Some(spec) = &claim.spec {
                warnings.claim_spec(&list.index(i), spec);
            }
        }
        if self.spec.revision_history_limit.is_some_and(|limit| limit < 0) {
            warnings.say(KEEPS_ALL);
        }
        warnings.into_vec()
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let ready = self.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
        let [containers, images] = cells::containers_and_images(self.spec.template.spec.as_ref());
        vec![
            cells::name(&self.metadata),
            Cell::text(format!("{ready}/{}", self.spec.replicas.unwrap_or(0))),
            cells::age(&self.metadata, now_secs),
            containers,
            images,
        ]
    }
    fn scale() -> Option<ScaleAccess<Self>> {
        Some(ScaleAccess {
            spec_replicas: |set| set.spec.replicas.unwrap_or(0),
            set_spec_replicas: |set, n| set.spec.replicas = Some(n),
            status_replicas: |set| set.status.as_ref().map_or(0, |status| status.replicas),
            selector: |set| workload::query(&set.spec.selector),
        })
    }
}

/// Templates have a status as claims do: no more than that they wait.
fn claim_defaults(claim: &mut PersistentVolumeClaim) {
    persistentvolumeclaim::defaults::spec(claim.spec.get_or_insert_default());
    persistentvolumeclaim::defaults::status(claim.status.get_or_insert_default());
}

/// Who names no type means a rolling update, and all of its defaults; who names it may leave them out.
fn default_strategy(spec: &mut StatefulSetSpec) {
    let strategy = spec.update_strategy.get_or_insert_default();
    if strategy.type_.as_ref().is_none_or(String::is_empty) {
        fill(&mut strategy.type_, ROLLING_UPDATE);
        strategy.rolling_update.get_or_insert_default();
    }
    if strategy.type_.as_deref() == Some(ROLLING_UPDATE)
        && let Some(RollingUpdateStatefulSetStrategy { partition, max_unavailable }) = &mut strategy.rolling_update
    {
        partition.get_or_insert(0);
        max_unavailable.get_or_insert(IntOrString::Int(1));
    }
}

#[cfg(test)]
mod tests;
