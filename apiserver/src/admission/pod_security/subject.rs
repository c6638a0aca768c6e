//! What is judged: a pod, or the pod that a template describes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ContainerPort, Lifecycle, Pod, PodSecurityContext, PodSpec, PodTemplate, PodTemplateSpec, Probe,
    ReplicationController, SecurityContext,
};
use k8s_openapi::api::{apps::v1 as apps, batch::v1 as batch};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::registry::AnyObject;

#[derive(Clone, Copy)]
pub(super) struct Subject<'o> {
    pub(super) meta: Option<&'o ObjectMeta>,
    pub(super) spec: &'o PodSpec,
}

/// Of whatever sort: initial, main or ephemeral.
pub(super) struct Container<'o> {
    pub(super) name: &'o str,
    pub(super) security: Option<&'o SecurityContext>,
    pub(super) ports: &'o [ContainerPort],
    pub(super) probes: [Option<&'o Probe>; 3],
    pub(super) lifecycle: Option<&'o Lifecycle>,
}

impl<'o> Subject<'o> {
    pub(super) fn of_pod(pod: &'o Pod) -> Option<Self> {
        Some(Self { meta: Some(&pod.metadata), spec: pod.spec.as_ref()? })
    }

    /// `None` for what makes no pods.
    pub(super) fn of_template(object: &'o dyn AnyObject) -> Option<Self> {
        let any = object.as_any();
        let template: Option<&PodTemplateSpec> = if let Some(it) = any.downcast_ref::<PodTemplate>() {
            it.template.as_ref()
        } else if let Some(it) = any.downcast_ref::<ReplicationController>() {
            it.spec.as_ref().and_then(|spec| spec.template.as_ref())
        } else if let Some(it) = any.downcast_ref::<apps::ReplicaSet>() {
            it.spec.template.as_ref()
        } else if let Some(it) = any.downcast_ref::<apps::Deployment>() {
            Some(&it.spec.template)
        } else if let Some(it) = any.downcast_ref::<apps::DaemonSet>() {
            Some(&it.spec.template)
        } else if let Some(it) = any.downcast_ref::<apps::StatefulSet>() {
            Some(&it.spec.template)
        } else if let Some(it) = any.downcast_ref::<batch::Job>() {
            it.spec.as_ref().map(|spec| &spec.template)
        } else {
            let jobs = &any.downcast_ref::<batch::CronJob>()?.spec.job_template;
            jobs.spec.as_ref().map(|spec| &spec.template)
        };
        let template = template?;
        Some(Self { meta: template.metadata.as_ref(), spec: template.spec.as_ref()? })
    }

    pub(super) fn annotations(&self) -> impl Iterator<Item = (&'o String, &'o String)> {
        self.meta.and_then(|meta| meta.annotations.as_ref()).into_iter().flat_map(BTreeMap::iter)
    }
    pub(super) fn security(&self) -> Option<&'o PodSecurityContext> {
        self.spec.security_context.as_ref()
    }
    /// Much of what is refused elsewhere means nothing there.
    pub(super) fn is_windows(&self) -> bool {
        self.spec.os.as_ref().is_some_and(|os| os.name == "windows")
    }
    /// Root in such a pod is nobody outside.
    pub(super) fn has_own_users(&self) -> bool {
        self.spec.host_users == Some(false)
    }

    pub(super) fn containers(&self) -> impl Iterator<Item = Container<'o>> {
        let main = self.spec.init_containers.iter().flatten().chain(&self.spec.containers).map(|c| Container {
            name: &c.name,
            security: c.security_context.as_ref(),
            ports: c.ports.as_deref().unwrap_or_default(),
            probes: [&c.liveness_probe, &c.readiness_probe, &c.startup_probe].map(Option::as_ref),
            lifecycle: c.lifecycle.as_ref(),
        });
        main.chain(self.spec.ephemeral_containers.iter().flatten().map(|c| Container {
            name: &c.name,
            security: c.security_context.as_ref(),
            ports: c.ports.as_deref().unwrap_or_default(),
            probes: [&c.liveness_probe, &c.readiness_probe, &c.startup_probe].map(Option::as_ref),
            lifecycle: c.lifecycle.as_ref(),
        }))
    }
    /// The names of those containers.
    pub(super) fn which(&self, mut are: impl FnMut(&Container<'o>) -> bool) -> Vec<&'o str> {
        self.containers().filter(|container| are(container)).map(|container| container.name).collect()
    }
    /// The names of those containers, by their security contexts.
    pub(super) fn which_with(&self, mut are: impl FnMut(&'o SecurityContext) -> bool) -> Vec<&'o str> {
        self.which(|container| container.security.is_some_and(&mut are))
    }
}
