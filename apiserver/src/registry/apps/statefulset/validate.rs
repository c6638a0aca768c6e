//! Whether a StatefulSet makes sense, and what may change in it: how many pods, which, and how they are replaced; not how
//! they are found, nor their volumes.
//!
//! Rules: <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/stateful-set-v1/>.

use std::collections::BTreeMap;

use corten_api::Problems;
use k8s_openapi::api::apps::v1::{
    RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetSpec, StatefulSetStatus, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{ON_DELETE, RETAIN, ROLLING_UPDATE};
use crate::registry::path::Path;
use crate::registry::{check, persistentvolumeclaim, workload};

const KIND: &str = "StatefulSet";
const CHANGEABLE: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

pub(super) fn statefulset(set: &StatefulSet, problems: &mut Problems) {
    let (spec, at) = (&set.spec, Path::root("spec"));
    lasting(spec, &at, problems);
    // What cannot change any more does not hold back other changes; of the template, see `update`.
    if check::is_new(&set.metadata) {
        let list = at.field("volumeClaimTemplates");
        for (i, claim) in spec.volume_claim_templates.iter().flatten().enumerate() {
            let none = PersistentVolumeClaimSpec::default();
            let claimed = claim.spec.as_ref().unwrap_or(&none);
            persistentvolumeclaim::validate::spec(claimed, true, &list.index(i).field("spec"), problems);
        }
        if let Some(service) = spec.service_name.as_ref().filter(|name| !name.is_empty()) {
            check::dns_label(problems, &at.field("serviceName"), service);
        }
        template(spec, &set.metadata, &at, problems);
    }
}

/// What must be so at any time.
fn lasting(spec: &StatefulSetSpec, at: &Path<'_>, problems: &mut Problems) {
    let policy = spec.pod_management_policy.as_ref();
    match check::text(policy) {
        "OrderedReady" | "Parallel" => {}
        "" => problems.required(at.field("podManagementPolicy"), ""),
        _ => problems.invalid(at.field("podManagementPolicy"), policy, "must be 'OrderedReady' or 'Parallel'"),
    }
    strategy(spec.update_strategy.as_ref(), &at.field("updateStrategy"), problems);
    if let Some(retention) = &spec.persistent_volume_claim_retention_policy {
        let at = at.field("persistentVolumeClaimRetentionPolicy");
        for (field, policy) in [("whenDeleted", &retention.when_deleted), ("whenScaled", &retention.when_scaled)] {
            let policy = check::text(policy.as_ref());
            if ![RETAIN, "Delete"].contains(&policy) {
                problems.unsupported(at.field(field), policy, &[RETAIN, "Delete"]);
            }
        }
    }
    check::not_negative(problems, &at.field("replicas"), spec.replicas);
    check::not_negative(problems, &at.field("minReadySeconds"), spec.min_ready_seconds);
    let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start);
    check::not_negative(problems, &at.field("ordinals").field("start"), start);
    workload::validate_selector(&spec.selector, "statefulset", &at.field("selector"), problems);
    let template_at = at.field("template");
    let selector = workload::selector_to_check(&spec.selector);
    workload::validate_labels(&spec.template, &selector, &template_at, problems);
    workload::validate_endless(&spec.template, KIND, &template_at, problems);
}

fn strategy(strategy: Option<&StatefulSetUpdateStrategy>, at: &Path<'_>, problems: &mut Problems) {
    let Some(strategy) = strategy else { return problems.required(at, "") };
    let rolling_at = at.field("rollingUpdate");
    match (check::text(strategy.type_.as_ref()), &strategy.rolling_update) {
        (ROLLING_UPDATE, Some(rolling)) => rolling_update(rolling, &rolling_at, problems),
        (ROLLING_UPDATE | ON_DELETE, None) => {}
        (ON_DELETE, Some(rolling)) => {
            problems.invalid(rolling_at, rolling, "only allowed for updateStrategy 'RollingUpdate'");
        }
        ("", _) => problems.required(at, ""),
        _ => problems.invalid(at, strategy, "must be 'RollingUpdate' or 'OnDelete'"),
    }
}

fn rolling_update(rolling: &RollingUpdateStatefulSetStrategy, at: &Path<'_>, problems: &mut Problems) {
    check::not_negative(problems, &at.field("partition"), rolling.partition);
    let Some(max_unavailable) = &rolling.max_unavailable else { return };
    let at = at.field("maxUnavailable");
    check::int_or_percent(problems, &at, max_unavailable);
    if check::is_zero(max_unavailable) {
        problems.invalid(at, max_unavailable, "cannot be 0");
    }
    check::at_most_all(problems, &at, max_unavailable);
}

/// The template as pods are made from it: they get their own host name, the Service's domain, and a claim as the volume of
/// each claim template, whatever the template says.
fn template(spec: &StatefulSetSpec, owner: &ObjectMeta, at: &Path<'_>, problems: &mut Problems) {
    let mut template: PodTemplateSpec = spec.template.clone();
    let pod = template.spec.get_or_insert_default();
    (pod.hostname, pod.subdomain) = (None, None);
    let claims = spec.volume_claim_templates.iter().flatten();
    let names = claims.map(|claim| check::text(claim.metadata.name.as_ref()));
    let claimed: BTreeMap<&str, Volume> = names.map(|name| (name, claimed(name))).collect();
    let mut own = pod.volumes.take().unwrap_or_default();
    own.retain(|volume| !claimed.contains_key(volume.name.as_str()));
    pod.volumes = Some(claimed.into_values().chain(own).collect());
    workload::validate_pod_template(&template, owner, &at.field("template"), problems);
}

fn claimed(name: &str) -> Volume {
    let source = PersistentVolumeClaimVolumeSource { claim_name: name.into(), read_only: None };
    Volume { name: name.into(), persistent_volume_claim: Some(source), ..Volume::default() }
}

pub(super) fn update(new: &StatefulSet, old: &StatefulSet, problems: &mut Problems) {
    let at = Path::root("spec");
    // Where the old one was stored under weaker rules, the template is not held to the newest.
    let mut before = Problems::default();
    lasting(&old.spec, &at, &mut before);
    template(&old.spec, &new.metadata, &at, &mut before);
    if before.is_empty() {
        template(&new.spec, &new.metadata, &at, problems);
    }
    let template_at = at.field("template");
    workload::validate_template_update(Some(&new.spec.template), Some(&old.spec.template), &template_at, problems);
    let mut expected = old.spec.clone();
    expected.replicas = new.spec.replicas;
    expected.template.clone_from(&new.spec.template);
    expected.update_strategy.clone_from(&new.spec.update_strategy);
    expected.min_ready_seconds = new.spec.min_ready_seconds;
    expected.ordinals.clone_from(&new.spec.ordinals);
    expected.revision_history_limit = new.spec.revision_history_limit;
    let retention = &new.spec.persistent_volume_claim_retention_policy;
    expected.persistent_volume_claim_retention_policy.clone_from(retention);
    if new.spec != expected {
        problems.forbidden(at, CHANGEABLE);
    }
}

pub(super) fn status(new: &StatefulSet, old: &StatefulSet, problems: &mut Problems) {
    let none = StatefulSetStatus::default();
    let (new, old) = (new.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
    let at = Path::root("status");
    check::not_negative(problems, &at.field("replicas"), Some(new.replicas));
    check::not_negative(problems, &at.field("observedGeneration"), new.observed_generation);
    let parts = [
        ("readyReplicas", new.ready_replicas),
        ("currentReplicas", new.current_replicas),
        ("updatedReplicas", new.updated_replicas),
        ("availableReplicas", new.available_replicas),
    ];
    for (field, count) in parts {
        check::not_negative(problems, &at.field(field), count);
        if let Some(count) = count.filter(|count| *count > new.replicas) {
            problems.invalid(at.field(field), count, "cannot be greater than status.replicas");
        }
    }
    let available = new.available_replicas.unwrap_or(0);
    if available > new.ready_replicas.unwrap_or(0) {
        problems.invalid(at.field("availableReplicas"), available, "cannot be greater than status.readyReplicas");
    }
    workload::validate_collisions(new.collision_count, old.collision_count, problems);
}
