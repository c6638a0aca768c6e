//! Storage that is in use does not go: its kinds get a finalizer, which a controller takes off once nobody uses them.
//!
//! <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection>

use super::{AdmissionRequest, Refusal};
use crate::request::Verb;

const FINALIZERS: &[(&str, &str, &str)] = &[
    ("", "persistentvolumes", "kubernetes.io/pv-protection"),
    ("", "persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    ("storage.k8s.io", "volumeattributesclasses", "kubernetes.io/vac-protection"),
];

pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if request.verb != Verb::Create || !request.is_plain() {
        return Ok(());
    }
    let Some((_, _, finalizer)) = FINALIZERS.iter().find(|(group, plural, _)| request.is(group, plural)) else {
        return Ok(());
    };
    let Some(object) = &mut request.object else { return Ok(()) };
    let finalizers = object.meta_mut().finalizers.get_or_insert_default();
    if !finalizers.iter().any(|one| one == finalizer) {
        finalizers.push((*finalizer).to_owned());
    }
    Ok(())
}
