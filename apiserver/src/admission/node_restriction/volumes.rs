//! What a kubelet may write of a PersistentVolume that is a directory of its node: that there is a directory, or none any more.

use corten_api::volumes::DIRECTORY_FINALIZER;
use k8s_openapi::api::core::v1::PersistentVolume;

use crate::admission::AdmissionRequest;
use crate::registry::difference;
use crate::request::Verb;

pub(super) fn on_volume(request: &AdmissionRequest<'_>, node: &str) -> Result<(), String> {
    if request.verb != Verb::Update || !request.target.subresource.is_empty() {
        return Err(format!("unexpected operation {:?}", request.verb.as_str().to_uppercase()));
    }
    let (new, old) = (request.object::<PersistentVolume>(), request.old::<PersistentVolume>());
    let (Some(new), Some(old)) = (new, old) else { return Err("unexpected type".into()) };
    let (new, old) = (but_for_the_finalizer(new), but_for_the_finalizer(old));
    if new == old {
        return Ok(());
    }
    let what = difference::fields(&new, &old);
    Err(format!("node {node:?} is not allowed to update more than the finalizer {DIRECTORY_FINALIZER:?}: {what}"))
}

/// The volume without what a kubelet may write, and without what every write sets.
fn but_for_the_finalizer(volume: &PersistentVolume) -> PersistentVolume {
    let mut rest = volume.clone();
    rest.metadata.resource_version = None;
    rest.metadata.managed_fields = None;
    let others = rest.metadata.finalizers.into_iter().flatten().filter(|finalizer| finalizer != DIRECTORY_FINALIZER);
    rest.metadata.finalizers = Some(others.collect());
    // A write of the whole object leaves it alone.
    rest.status = None;
    rest
}
