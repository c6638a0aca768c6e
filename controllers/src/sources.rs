//! In whose name each controller's events are: tools select events by it (`reportingComponent=replicaset-controller`).

/// Of all that have no name of their own, as upstream.
pub const PROGRAM: &str = "kube-controller-manager";
/// Of what the node controller does for taints: a controller of its own upstream.
pub const TAINT_EVICTION: &str = "taint-eviction-controller";

/// Upstream's names, by those of [`crate::run`].
pub const SOURCES: &[(&str, &str)] = &[
    ("replicaset", "replicaset-controller"),
    ("replicationcontroller", "replication-controller"),
    ("deployment", "deployment-controller"),
    ("statefulset", "statefulset-controller"),
    ("daemonset", "daemonset-controller"),
    ("endpointslice", "endpoint-slice-controller"),
    ("endpoints", "endpoint-controller"),
    ("endpointslicemirroring", "endpoint-slice-mirroring-controller"),
    ("nodeipam", "cidrAllocator"),
    ("nodelifecycle", "node-controller"),
    ("nodelifecycle-reach", "node-controller"),
    ("garbagecollector", "garbage-collector-controller"),
    ("horizontalpodautoscaler", "horizontal-pod-autoscaler"),
    ("job", "job-controller"),
    ("job-orphans", "job-controller"),
    ("cronjob", "cronjob-controller"),
    ("ttlafterfinished", "ttl-after-finished-controller"),
    ("disruption", "controllermanager"),
    ("disruption-stale-pods", "controllermanager"),
    ("persistentvolume-claims", "persistentvolume-controller"),
    ("persistentvolume-volumes", "persistentvolume-controller"),
    ("ephemeral", "ephemeral_volume"),
    ("attachdetach", "attachdetach-controller"),
    ("service-lb", "service-controller"),
    // As other provisioners call themselves.
    ("localdirectory-claims", "corten.io/local-directory"),
    ("localdirectory-volumes", "corten.io/local-directory"),
];

pub fn of(controller: &str) -> &'static str {
    SOURCES.iter().find(|(name, _)| *name == controller).map_or(PROGRAM, |(_, source)| source)
}
