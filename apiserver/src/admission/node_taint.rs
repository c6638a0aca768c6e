//! A new node takes no pods before it has shown that it is ready.

use corten_api::node::NOT_READY_TAINT;
use k8s_openapi::api::core::v1::{Node, Taint};

use super::{AdmissionRequest, Refusal};
use crate::request::Verb;

pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if request.verb != Verb::Create || !request.is("", "nodes") || !request.is_plain() {
        return Ok(());
    }
    let Some(node) = request.object_mut::<Node>() else { return Ok(()) };
    let taints = node.spec.get_or_insert_default().taints.get_or_insert_default();
    if !taints.iter().any(|t| t.key == NOT_READY_TAINT && t.effect == "NoSchedule") {
        taints.push(Taint { key: NOT_READY_TAINT.into(), effect: "NoSchedule".into(), ..Taint::default() });
    }
    Ok(())
}
