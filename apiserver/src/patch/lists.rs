//! How each list of each type merges: the facts behind strategic merge, and the same facts for OpenAPI.
//!
//! Source: the `x-kubernetes-patch-*` and `x-kubernetes-list-*` extensions of the published OpenAPI document. A field
//! that is not here has no rule: a struct merges by field, a list is replaced.

/// What happens to a field when a patch has it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListRule {
    /// The field that tells list items apart; `None` for lists of plain values, which are sets, and for structs.
    pub merge_key: Option<&'static str>,
    /// `x-kubernetes-patch-strategy`: `merge`, `retainKeys` or `merge,retainKeys`.
    pub strategy: &'static str,
    /// `x-kubernetes-list-map-keys`; empty for sets and structs.
    pub map_keys: &'static [&'static str],
}

/// (type, field, type of the field or of its items, rule).
type Row = (&'static str, &'static str, &'static str, Option<ListRule>);

const fn keyed(merge_key: &'static str, map_keys: &'static [&'static str]) -> Option<ListRule> {
    Some(ListRule { merge_key: Some(merge_key), strategy: "merge", map_keys })
}
const fn keyed_retaining(merge_key: &'static str, map_keys: &'static [&'static str]) -> Option<ListRule> {
    Some(ListRule { merge_key: Some(merge_key), strategy: "merge,retainKeys", map_keys })
}
const SET: Option<ListRule> = Some(ListRule { merge_key: None, strategy: "merge", map_keys: &[] });
const RETAIN: Option<ListRule> = Some(ListRule { merge_key: None, strategy: "retainKeys", map_keys: &[] });

const BY_TYPE: Option<ListRule> = keyed("type", &["type"]);
const BY_NAME: Option<ListRule> = keyed("name", &["name"]);
const BY_CONTAINER_PORT: Option<ListRule> = keyed("containerPort", &["containerPort", "protocol"]);
const BY_MOUNT_PATH: Option<ListRule> = keyed("mountPath", &["mountPath"]);
const BY_DEVICE_PATH: Option<ListRule> = keyed("devicePath", &["devicePath"]);

/// Only what leads to a rule stands here.
const ROWS: &[Row] = &[
    ("ObjectMeta", "finalizers", "", SET),
    ("ObjectMeta", "ownerReferences", "OwnerReference", keyed("uid", &["uid"])),
    ("Pod", "spec", "PodSpec", None),
    ("Pod", "status", "PodStatus", None),
    ("PodTemplate", "template", "PodTemplateSpec", None),
    ("PodTemplateSpec", "metadata", "ObjectMeta", None),
    ("PodTemplateSpec", "spec", "PodSpec", None),
    ("PodSpec", "containers", "Container", BY_NAME),
    ("PodSpec", "initContainers", "Container", BY_NAME),
    ("PodSpec", "ephemeralContainers", "EphemeralContainer", BY_NAME),
    ("PodSpec", "hostAliases", "HostAlias", keyed("ip", &["ip"])),
    ("PodSpec", "imagePullSecrets", "LocalObjectReference", BY_NAME),
    ("PodSpec", "resourceClaims", "PodResourceClaim", keyed_retaining("name", &["name"])),
    ("PodSpec", "schedulingGates", "PodSchedulingGate", BY_NAME),
    (
        "PodSpec",
        "topologySpreadConstraints",
        "TopologySpreadConstraint",
        keyed("topologyKey", &["topologyKey", "whenUnsatisfiable"]),
    ),
    ("PodSpec", "volumes", "Volume", keyed_retaining("name", &["name"])),
    ("Container", "env", "EnvVar", BY_NAME),
    ("Container", "ports", "ContainerPort", BY_CONTAINER_PORT),
    ("Container", "volumeDevices", "VolumeDevice", BY_DEVICE_PATH),
    ("Container", "volumeMounts", "VolumeMount", BY_MOUNT_PATH),
    ("EphemeralContainer", "env", "EnvVar", BY_NAME),
    ("EphemeralContainer", "ports", "ContainerPort", BY_CONTAINER_PORT),
    ("EphemeralContainer", "volumeDevices", "VolumeDevice", BY_DEVICE_PATH),
    ("EphemeralContainer", "volumeMounts", "VolumeMount", BY_MOUNT_PATH),
    ("PodStatus", "conditions", "PodCondition", BY_TYPE),
    ("PodStatus", "hostIPs", "HostIP", keyed("ip", &[])),
    ("PodStatus", "podIPs", "PodIP", keyed("ip", &["ip"])),
    ("PodStatus", "resourceClaimStatuses", "PodResourceClaimStatus", keyed_retaining("name", &["name"])),
    ("ContainerStatus", "allocatedResourcesStatus", "ResourceStatus", BY_NAME),
    ("ContainerStatus", "volumeMounts", "VolumeMountStatus", BY_MOUNT_PATH),
    ("Service", "spec", "ServiceSpec", None),
    ("Service", "status", "ServiceStatus", None),
    ("ServiceSpec", "ports", "ServicePort", keyed("port", &["port", "protocol"])),
    ("ServiceStatus", "conditions", "Condition", BY_TYPE),
    ("ServiceAccount", "secrets", "ObjectReference", BY_NAME),
    ("Node", "spec", "NodeSpec", None),
    ("Node", "status", "NodeStatus", None),
    ("NodeSpec", "podCIDRs", "", SET),
    ("NodeStatus", "addresses", "NodeAddress", BY_TYPE),
    ("NodeStatus", "conditions", "NodeCondition", BY_TYPE),
    ("Namespace", "status", "NamespaceStatus", None),
    ("NamespaceStatus", "conditions", "NamespaceCondition", BY_TYPE),
    ("ReplicationController", "spec", "ReplicationControllerSpec", None),
    ("ReplicationController", "status", "ReplicationControllerStatus", None),
    ("ReplicationControllerSpec", "template", "PodTemplateSpec", None),
    ("ReplicationControllerStatus", "conditions", "ReplicationControllerCondition", BY_TYPE),
    ("ReplicaSet", "spec", "ReplicaSetSpec", None),
    ("ReplicaSet", "status", "ReplicaSetStatus", None),
    ("ReplicaSetSpec", "template", "PodTemplateSpec", None),
    ("ReplicaSetStatus", "conditions", "ReplicaSetCondition", BY_TYPE),
    ("Deployment", "spec", "DeploymentSpec", None),
    ("Deployment", "status", "DeploymentStatus", None),
    ("DeploymentSpec", "strategy", "DeploymentStrategy", RETAIN),
    ("DeploymentSpec", "template", "PodTemplateSpec", None),
    ("DeploymentStatus", "conditions", "DeploymentCondition", BY_TYPE),
];

/// The rule of a field. `schema` is a type's full name (`io.k8s.api.core.v1.PodSpec`) or its last part.
pub fn list_rule(schema: &str, field: &str) -> Option<ListRule> {
    row(schema, field).and_then(|(.., rule)| *rule)
}

/// The type of a field, or of its items; "" where nothing below has a rule.
pub(super) fn child_type(of: &str, field: &str) -> &'static str {
    // Every kind has its metadata; only the table's types need rows of their own for the rest.
    row(of, field).map_or(if field == "metadata" { "ObjectMeta" } else { "" }, |(_, _, child, _)| child)
}

fn row(schema: &str, field: &str) -> Option<&'static Row> {
    let name = schema.rsplit('.').next().unwrap_or(schema);
    ROWS.iter().find(|(of, f, ..)| *of == name && *f == field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_names_and_short_ones() {
        assert_eq!(list_rule("io.k8s.api.core.v1.PodSpec", "containers").unwrap().merge_key, Some("name"));
        assert_eq!(list_rule("PodSpec", "tolerations"), None);
        assert_eq!(child_type("ConfigMap", "metadata"), "ObjectMeta");
    }
}
