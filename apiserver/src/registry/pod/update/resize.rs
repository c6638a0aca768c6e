//! What `pods/resize` may write: cpu and memory of containers, and of the pod as a whole.
//!
//! <https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/>

use corten_api::Problems;
use corten_api::pod::{self, Qos, is_sidecar};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};

use crate::registry::path::Path;
use crate::registry::quantities::Wires;
use crate::registry::resource_names::{CPU, MEMORY};

const ONLY_THESE: &str = "only cpu and memory resources are mutable";
const ONLY_THESE_OF_SIDECARS: &str = "only cpu and memory resources for sidecar containers are mutable";

/// Keeps all of the spec but resources and resize policies. Where containers are not those that were there, all stays as it is
/// given: validation refuses it.
pub fn prepare(new: &mut Pod, old: &Pod) {
    let (Some(wanted), Some(kept)) = (new.spec.take(), &old.spec) else {
        new.spec.clone_from(&old.spec);
        return;
    };
    let inits = |spec: &PodSpec| spec.init_containers.clone().unwrap_or_default();
    if wanted.containers.len() != kept.containers.len() || inits(&wanted).len() != inits(kept).len() {
        new.spec = Some(wanted);
        return;
    }
    let mut spec = kept.clone();
    spec.containers = resized(&wanted.containers, &kept.containers);
    spec.init_containers = kept.init_containers.as_ref().map(|kept| resized(&inits(&wanted), kept));
    spec.resources = wanted.resources;
    new.spec = Some(spec);
}

fn resized(wanted: &[Container], kept: &[Container]) -> Vec<Container> {
    if wanted.iter().zip(kept).any(|(wanted, kept)| wanted.name != kept.name) {
        return wanted.to_vec();
    }
    let one = |(wanted, kept): (&Container, &Container)| Container {
        resources: wanted.resources.clone(),
        resize_policy: wanted.resize_policy.clone(),
        ..kept.clone()
    };
    wanted.iter().zip(kept).map(one).collect()
}

pub fn validate(new: &Pod, old: &Pod, problems: &mut Problems) {
    let none = PodSpec::default();
    let (new_spec, old_spec) = (new.spec.as_ref().unwrap_or(&none), old.spec.as_ref().unwrap_or(&none));
    if pod::is_mirror(old) {
        return problems.forbidden("", "static pods cannot be resized");
    }
    if old_spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return problems.forbidden("", "windows pods cannot be resized");
    }
    let at = Path::root("spec");
    if Qos::of(new_spec) != Qos::of(old_spec) {
        let class = new.status.as_ref().and_then(|status| status.qos_class.as_deref()).unwrap_or_default();
        problems.invalid(at, class, "Pod QOS Class may not change as a result of resizing");
    }
    if !is_supported(old) {
        problems.forbidden(at, "Pod running on node without support for resize");
    }
    if !are_the_same(new_spec, old_spec, &at, problems) {
        return;
    }
    nothing_removed(new_spec, old_spec, &at, problems);
    only_cpu_and_memory(new_spec, old_spec, &at, problems);
}

/// A kubelet that can resize says what running containers have. Where none runs, nobody knows.
fn is_supported(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let mut running = statuses.filter(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
    running.next().is_none_or(|status| status.resources.is_some())
}

type Lists<'a> = [(&'static str, &'a [Container], &'a [Container]); 2];

fn lists<'a>(new: &'a PodSpec, old: &'a PodSpec) -> Lists<'a> {
    let inits = |spec: &'a PodSpec| spec.init_containers.as_deref().unwrap_or_default();
    [("containers", &new.containers, &old.containers), ("initContainers", inits(new), inits(old))]
}

fn are_the_same(new: &PodSpec, old: &PodSpec, at: &Path<'_>, problems: &mut Problems) -> bool {
    let mut good = true;
    for (list, new, old) in lists(new, old) {
        let list_at = at.field(list);
        if new.len() != old.len() {
            good = false;
            problems.forbidden(list_at, &format!("{list} may not be added or removed on resize"));
            continue;
        }
        for (i, _) in new.iter().zip(old).enumerate().filter(|(_, (new, old))| new.name != old.name) {
            good = false;
            let why = format!("{list} may not be renamed or reordered on resize");
            problems.forbidden(list_at.index(i).field("name"), &why);
        }
    }
    good
}

fn nothing_removed(new: &PodSpec, old: &PodSpec, at: &Path<'_>, problems: &mut Problems) {
    for (list, new, old) in lists(new, old) {
        let list_at = at.field(list);
        for (i, (new, old)) in new.iter().zip(old).enumerate() {
            let at = list_at.index(i);
            kept(new.resources.as_ref(), old.resources.as_ref(), &at.field("resources"), problems);
        }
    }
    kept(new.resources.as_ref(), old.resources.as_ref(), &at.field("resources"), problems);
}

fn kept(
    new: Option<&ResourceRequirements>,
    old: Option<&ResourceRequirements>,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    let is_removed = |new: Option<&Wires>, old: Option<&Wires>| {
        old.into_iter().flatten().any(|(name, _)| new.is_none_or(|new| !new.contains_key(name)))
    };
    let none = ResourceRequirements::default();
    let (new, old) = (new.unwrap_or(&none), old.unwrap_or(&none));
    if is_removed(new.requests.as_ref(), old.requests.as_ref()) {
        problems.forbidden(at.field("requests"), "resource requests cannot be removed");
    }
    if is_removed(new.limits.as_ref(), old.limits.as_ref()) {
        problems.forbidden(at.field("limits"), "resource limits cannot be removed");
    }
}

/// What is left once cpu and memory are as they were must be as it was.
fn only_cpu_and_memory(new: &PodSpec, old: &PodSpec, at: &Path<'_>, problems: &mut Problems) {
    let mut masked = new.clone();
    mask(&mut masked.resources, old.resources.as_ref());
    let mut good = true;
    let inits = masked.init_containers.iter_mut().flatten().zip(old.init_containers.iter().flatten());
    for (new, old) in masked.containers.iter_mut().zip(&old.containers).chain(inits) {
        mask(&mut new.resources, old.resources.as_ref());
        if new != old {
            good = false;
            problems.forbidden(at, if is_sidecar(old) { ONLY_THESE_OF_SIDECARS } else { ONLY_THESE });
        }
    }
    if good && masked != *old {
        problems.forbidden(at, ONLY_THESE);
    }
}

fn mask(new: &mut Option<ResourceRequirements>, old: Option<&ResourceRequirements>) {
    if others(new.as_ref()) == others(old) {
        *new = old.cloned();
    }
}

/// What is asked for beyond cpu and memory.
fn others(of: Option<&ResourceRequirements>) -> ResourceRequirements {
    let mut of = of.cloned().unwrap_or_default();
    for list in [&mut of.requests, &mut of.limits] {
        list.iter_mut().for_each(|list| list.retain(|name, _| name != CPU && name != MEMORY));
        *list = list.take().filter(|list| !list.is_empty());
    }
    of
}

#[cfg(test)]
mod tests;
