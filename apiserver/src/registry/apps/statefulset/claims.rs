//! Templates of claims: what each pod of a StatefulSet has for itself.

use corten_api::Problems;
use corten_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec};

use crate::registry::check;
use crate::registry::path::Path;
use crate::registry::pod::defaults::fill;
use crate::registry::quantities::canonical;

const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", SINGLE_POD];
const SINGLE_POD: &str = "ReadWriteOncePod";

/// Templates have a status as claims do: no more than that they wait.
pub(super) fn fill_defaults(claim: &mut PersistentVolumeClaim) {
    fill(&mut claim.status.get_or_insert_default().phase, "Pending");
    let spec = claim.spec.get_or_insert_default();
    spec.volume_mode.get_or_insert_with(|| "Filesystem".into());
    if let Some(resources) = &mut spec.resources {
        canonical(resources.limits.as_mut());
        canonical(resources.requests.as_mut());
    }
}

pub(super) fn validate(claim: &PersistentVolumeClaim, at: &Path<'_>, problems: &mut Problems) {
    let none = PersistentVolumeClaimSpec::default();
    let spec = claim.spec.as_ref().unwrap_or(&none);
    let at = at.field("spec");
    access_modes(spec, &at.field("accessModes"), problems);
    if let Some(selector) = &spec.selector {
        check::label_selector(problems, &at.field("selector"), selector);
    }
    size(spec, &at.field("resources").key("storage"), problems);
    for (field, class) in [
        ("storageClassName", &spec.storage_class_name),
        ("volumeAttributesClassName", &spec.volume_attributes_class_name),
    ] {
        if let Some(class) = class.as_ref().filter(|class| !class.is_empty()) {
            check::dns_subdomain(problems, &at.field(field), class);
        }
    }
    check::optional_word(problems, &at.field("volumeMode"), spec.volume_mode.as_ref(), &["Block", "Filesystem"]);
}

fn access_modes(spec: &PersistentVolumeClaimSpec, at: &Path<'_>, problems: &mut Problems) {
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if modes.is_empty() {
        problems.required(at, "at least 1 access mode is required");
    }
    for mode in modes.iter().filter(|mode| !ACCESS_MODES.contains(&mode.as_str())) {
        problems.unsupported(at, mode, ACCESS_MODES);
    }
    let others = modes.iter().any(|mode| mode != SINGLE_POD && ACCESS_MODES.contains(&mode.as_str()));
    if others && modes.iter().any(|mode| mode == SINGLE_POD) {
        problems.forbidden(at, "may not use ReadWriteOncePod with other access modes");
    }
}

fn size(spec: &PersistentVolumeClaimSpec, at: &Path<'_>, problems: &mut Problems) {
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let Some(wire) = requests.and_then(|requests| requests.get("storage")) else { return problems.required(at, "") };
    match Quantity::from_wire(wire) {
        Err(err) => problems.invalid(at, &wire.0, &err.to_string()),
        Ok(size) if size.is_zero() || size.is_negative() => {
            problems.invalid(at, &wire.0, "must be greater than zero");
        }
        Ok(_) => {}
    }
}
