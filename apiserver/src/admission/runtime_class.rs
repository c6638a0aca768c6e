//! What the class of a new pod's runtime says of its cost and of where it may run goes into the pod.
//!
//! <https://kubernetes.io/docs/concepts/containers/runtime-class/>.

mod tolerations;

use std::collections::BTreeMap;

use corten_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::api::node::v1::{RuntimeClass, Scheduling};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use super::{AdmissionRequest, Refusal};
use crate::request::Verb;

/// A pod and a class that do not go together.
#[derive(Debug, thiserror::Error)]
enum Conflict {
    #[error("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")]
    OtherOverhead,
    #[error("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")]
    OwnOverhead,
    #[error("conflict: runtimeClass.scheduling.nodeSelector[{key}] = {class}; pod.spec.nodeSelector[{key}] = {pod}")]
    NodeSelector { key: String, class: String, pod: String },
}

pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if request.verb != Verb::Create || !request.is("", "pods") || !request.is_plain() {
        return Ok(());
    }
    let Some(spec) = request.object::<Pod>().and_then(|pod| pod.spec.as_ref()) else { return Ok(()) };
    let class: Option<RuntimeClass> = match &spec.runtime_class_name {
        None => None,
        Some(name) => match request.find("node.k8s.io", "runtimeclasses", "", name) {
            None => return Err(request.forbidden(format!("pod rejected: RuntimeClass {name:?} not found"))),
            class => class,
        },
    };
    let spec = request.object_mut::<Pod>().and_then(|pod| pod.spec.as_mut());
    spec.map_or(Ok(()), |spec| fill_in(spec, class.as_ref())).map_err(|why| request.forbidden(why))
}

fn fill_in(spec: &mut PodSpec, class: Option<&RuntimeClass>) -> Result<(), Conflict> {
    let Some(overhead) = class.and_then(|class| class.overhead.as_ref()) else {
        // What a pod costs beyond its containers, its runtime's class says and nobody else.
        if spec.overhead.is_some() {
            return Err(Conflict::OwnOverhead);
        }
        return fill_in_scheduling(spec, class);
    };
    let none = BTreeMap::new();
    let fixed = overhead.pod_fixed.as_ref().unwrap_or(&none);
    if spec.overhead.as_ref().is_some_and(|given| !given.is_empty() && !same_amounts(given, fixed)) {
        return Err(Conflict::OtherOverhead);
    }
    spec.overhead.clone_from(&overhead.pod_fixed);
    fill_in_scheduling(spec, class)
}

fn fill_in_scheduling(spec: &mut PodSpec, class: Option<&RuntimeClass>) -> Result<(), Conflict> {
    let Some(Scheduling { node_selector, tolerations }) = class.and_then(|class| class.scheduling.as_ref()) else {
        return Ok(());
    };
    for (key, value) in node_selector.iter().flatten() {
        let selector = spec.node_selector.get_or_insert_default();
        if let Some(pod) = selector.get(key).filter(|given| *given != value) {
            return Err(Conflict::NodeSelector { key: key.clone(), class: value.clone(), pod: pod.clone() });
        }
        selector.insert(key.clone(), value.clone());
    }
    let mut all = spec.tolerations.take().unwrap_or_default();
    all.extend(tolerations.iter().flatten().cloned());
    spec.tolerations = Some(tolerations::merged(all)).filter(|all| !all.is_empty());
    Ok(())
}

/// By value: `1Gi` is 1073741824.
fn same_amounts(one: &BTreeMap<String, Wire>, other: &BTreeMap<String, Wire>) -> bool {
    let same = |a: &Wire, b: &Wire| match (Quantity::from_wire(a), Quantity::from_wire(b)) {
        (Ok(a), Ok(b)) => a.partial_cmp(&b) == Some(std::cmp::Ordering::Equal),
        _ => a == b,
    };
    one.len() == other.len() && one.iter().zip(other).all(|((a, x), (b, y))| a == b && same(x, y))
}
