//! A pod as the kubelet's server needs it: which container is which to the runtime, and where its log is.

use corten_api::Object as _;
use k8s_openapi::api::core::v1::Pod;

use crate::place::Place;
use crate::pod::model::{Ctr, Now};
use crate::pod::status;
use crate::pod::step::Machine;
use crate::runtime::container_id;
use crate::server::{ContainerView, Instance, PodView};

pub(super) fn empty(pod: &Pod) -> PodView {
    let spec = pod.spec.as_ref();
    PodView {
        namespace: pod.namespace().into(),
        name: pod.name().into(),
        uid: pod.uid().into(),
        started_at: None,
        network: None,
        containers: Vec::new(),
        default_container: spec.and_then(|s| s.containers.first()).map(|c| c.name.clone()).unwrap_or_default(),
    }
}

pub(super) fn of(machine: &Machine, pod: &Pod, place: &Place) -> PodView {
    let containers = machine.containers.iter().map(|c| container(c, machine, pod, place)).collect();
    // A pod that is over keeps its memory of a sandbox that is being taken down.
    let network = machine.sandbox.done().filter(|_| !machine.is_over()).map(|up| up.network.clone());
    PodView { containers, network, started_at: Some(machine.started_at), ..empty(pod) }
}

fn container(c: &Ctr, machine: &Machine, pod: &Pod, place: &Place) -> ContainerView {
    let instance = |attempt: u32, running: bool| Instance {
        id: container_id(pod.uid(), &c.want.name, attempt),
        running,
        log_path: place.pod_log_dir(pod).join(&c.want.name).join(format!("{attempt}.log")),
    };
    let (current, previous) = status::attempts(c, machine);
    let current = current.map(|attempt| instance(attempt, matches!(c.now, Now::Running { .. })));
    let previous = previous.map(|attempt| instance(attempt, false));
    ContainerView { name: c.want.name.clone(), image: c.image_name.clone(), current, previous }
}
