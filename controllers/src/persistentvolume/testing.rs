//! Claims and volumes, for tests.

use corten_api::k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use serde_json::{Value, json};

/// The claim `shop/c`, pending.
pub(super) fn claim(spec: Value) -> PersistentVolumeClaim {
    let metadata = json!({"name": "c", "namespace": "shop", "uid": "c-uid", "resourceVersion": "5"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": {"phase": "Pending"}})).unwrap()
}

/// An available volume of 10Gi for one writer, with the label `volume: <name>`, and what else the spec says.
pub(super) fn volume(name: &str, changes: Value) -> PersistentVolume {
    let mut spec = json!({"capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}, "persistentVolumeReclaimPolicy": "Retain"});
    for (field, value) in changes.as_object().unwrap() {
        spec[field] = value.clone();
    }
    let metadata =
        json!({"name": name, "uid": format!("{name}-uid"), "resourceVersion": "5", "labels": {"volume": name}});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": {"phase": "Available"}})).unwrap()
}
