//! Fields whose features are not on in this release. Who writes them is not refused, and does not find them stored; one that
//! an object has already stays. Each feature is one group of fields.

use k8s_openapi::api::core::v1::{
    HTTPGetAction, KeyToPath, Lifecycle, Pod, PodSpec, Probe, Volume, VolumeMount, VolumeProjection,
};

/// Clears the fields of one feature. Gives whether there was anything.
type Clear = fn(&mut PodSpec) -> bool;

const UNSERVED: &[Clear] = &[
    // EvictionRequestAPI
    |spec| spec.eviction_responders.take().is_some(),
    // GenericWorkload
    |spec| spec.scheduling_group.take().is_some(),
    // EmptyDirVolumeMode
    |spec| in_volumes(spec, |volume| volume.empty_dir.as_mut().is_some_and(|dir| dir.mode.take().is_some())),
    // AtomicWriteVolumeUserFields
    |spec| in_volumes(spec, owner),
    // VolumeBindMountOptions
    |spec| in_containers(spec, |c| any(c.mounts.iter_mut(), |mount| mount.bind_mount_options.take().is_some())),
    // The protocol of HTTP probes
    |spec| in_containers(spec, |c| any(c.http_gets(), |get| get.protocol.take().is_some())),
    // TLS of gRPC probes
    |spec| {
        in_containers(spec, |c| {
            any(c.probes.iter_mut().flatten().filter_map(|p| p.grpc.as_mut()), |grpc| grpc.mode.take().is_some())
        })
    },
];

/// `old`: what is stored, for updates.
pub fn drop_from_spec(new: &mut PodSpec, old: Option<&PodSpec>) {
    let mut stored = old.cloned();
    for clear in UNSERVED {
        if !stored.as_mut().is_some_and(clear) {
            clear(new);
        }
    }
}

/// Of the status.
pub(super) fn drop_from_status(new: &mut Pod, old: &Pod) {
    let Some(status) = &mut new.status else { return };
    let old = old.status.as_ref();
    if old.is_none_or(|old| old.volume_health.is_none()) {
        status.volume_health = None;
    }
    if old.is_none_or(|old| old.node_allocatable_resource_claim_statuses.is_none()) {
        status.node_allocatable_resource_claim_statuses = None;
    }
}

/// Whether any says yes. All are asked.
fn any<T>(all: impl Iterator<Item = T>, mut clear: impl FnMut(T) -> bool) -> bool {
    all.map(&mut clear).filter(|found| *found).count() > 0
}

fn in_volumes(spec: &mut PodSpec, clear: impl FnMut(&mut Volume) -> bool) -> bool {
    any(spec.volumes.iter_mut().flatten(), clear)
}

/// Who owns the files that a kubelet writes.
fn owner(volume: &mut Volume) -> bool {
    let mut defaults = Vec::new();
    let mut found = false;
    if let Some(secret) = &mut volume.secret {
        found |= of_items(&mut secret.items);
        defaults.push(&mut secret.default_user);
    }
    if let Some(map) = &mut volume.config_map {
        found |= of_items(&mut map.items);
        defaults.push(&mut map.default_user);
    }
    if let Some(downward) = &mut volume.downward_api {
        found |= any(downward.items.iter_mut().flatten(), |item| item.user.take().is_some());
        defaults.push(&mut downward.default_user);
    }
    if let Some(projected) = &mut volume.projected {
        found |= any(projected.sources.iter_mut().flatten(), of_projection);
        defaults.push(&mut projected.default_user);
    }
    any(defaults.into_iter(), |user| user.take().is_some()) || found
}

fn of_items(items: &mut Option<Vec<KeyToPath>>) -> bool {
    any(items.iter_mut().flatten(), |item| item.user.take().is_some())
}

fn of_projection(one: &mut VolumeProjection) -> bool {
    let mut found = false;
    found |= one.secret.as_mut().is_some_and(|secret| of_items(&mut secret.items));
    found |= one.config_map.as_mut().is_some_and(|map| of_items(&mut map.items));
    found |= any(one.downward_api.iter_mut().filter_map(|d| d.items.as_mut()).flatten(), |i| i.user.take().is_some());
    found |= one.service_account_token.as_mut().is_some_and(|token| token.user.take().is_some());
    found |= one.cluster_trust_bundle.as_mut().is_some_and(|bundle| bundle.user.take().is_some());
    found |= one.pod_certificate.as_mut().is_some_and(|certificate| certificate.user.take().is_some());
    found
}

/// What containers of all sorts have of such fields.
struct Parts<'a> {
    mounts: &'a mut [VolumeMount],
    probes: [Option<&'a mut Probe>; 3],
    hooks: Vec<&'a mut HTTPGetAction>,
}

impl Parts<'_> {
    fn http_gets(&mut self) -> impl Iterator<Item = &mut HTTPGetAction> {
        let of_probes = self.probes.iter_mut().flatten().filter_map(|probe| probe.http_get.as_mut());
        of_probes.chain(self.hooks.iter_mut().map(|get| &mut **get))
    }
}

fn parts<'a>(
    mounts: Option<&'a mut Vec<VolumeMount>>,
    probes: [&'a mut Option<Probe>; 3],
    lifecycle: Option<&'a mut Lifecycle>,
) -> Parts<'a> {
    let hooks = lifecycle.into_iter().flat_map(|l| [&mut l.post_start, &mut l.pre_stop]).flatten();
    Parts {
        mounts: mounts.map(Vec::as_mut_slice).unwrap_or_default(),
        probes: probes.map(Option::as_mut),
        hooks: hooks.filter_map(|hook| hook.http_get.as_mut()).collect(),
    }
}

fn in_containers(spec: &mut PodSpec, mut clear: impl FnMut(&mut Parts<'_>) -> bool) -> bool {
    let initial = spec.init_containers.iter_mut().flatten();
    let found = any(initial.chain(&mut spec.containers), |c| {
        let probes = [&mut c.liveness_probe, &mut c.readiness_probe, &mut c.startup_probe];
        clear(&mut parts(c.volume_mounts.as_mut(), probes, c.lifecycle.as_mut()))
    });
    let debugging = any(spec.ephemeral_containers.iter_mut().flatten(), |c| {
        let probes = [&mut c.liveness_probe, &mut c.readiness_probe, &mut c.startup_probe];
        clear(&mut parts(c.volume_mounts.as_mut(), probes, c.lifecycle.as_mut()))
    });
    found || debugging
}

#[cfg(test)]
mod tests;
