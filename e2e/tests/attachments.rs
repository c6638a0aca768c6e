//! Volumes of CSI drivers: attached to where pods use them. There is no driver here: the story does what its attacher does.

use corten_e2e::manifest::{container, pod};
use corten_e2e::{Cluster, SOON, eventually};
use serde_json::{Value, json};

#[test]
fn a_volume_is_attached_to_the_node_of_its_pod_and_let_go_of_after_it() {
    let cluster = Cluster::running();
    let (ns, kubectl) = (cluster.namespace("attach"), cluster.kubectl());
    let (volume, driver) = (ns.name.clone(), format!("{}.example.com", ns.name));
    let reference = json!({"namespace": ns.name, "name": "data"});
    let spec = json!({
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "", "claimRef": reference,
        "persistentVolumeReclaimPolicy": "Retain", "csi": {"driver": driver, "volumeHandle": "vol-1"},
    });
    let made = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}, "spec": spec});
    kubectl.apply(&made.to_string());
    let spec = json!({
        "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": volume,
        "resources": {"requests": {"storage": "1Gi"}},
    });
    let claim =
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec});
    ns.apply(&claim.to_string());
    ns.becomes("pvc data", "/status/phase", "Bound");

    let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    ns.apply(&pod("user", &json!({"containers": [container("exec sleep 3600")], "volumes": volumes})));
    let attachments = || -> Vec<Value> {
        let mut all = kubectl.list("volumeattachments");
        all.retain(|attachment| attachment["spec"]["attacher"] == driver.as_str());
        all
    };
    eventually("an attachment", SOON, || if attachments().is_empty() { Err("none".to_owned()) } else { Ok(()) });
    let attachment = attachments().remove(0);
    let (node, name) =
        (ns.field("pod user", "/spec/nodeName"), attachment["metadata"]["name"].as_str().unwrap_or_default());
    assert_eq!(attachment["spec"]["nodeName"], node.as_str());
    assert_eq!(attachment["spec"]["source"]["persistentVolumeName"], volume.as_str());

    let reported = || kubectl.field(&format!("node {node}"), "/status/volumesAttached");
    assert!(!reported().contains(&driver), "its attacher has not said so");
    kubectl.ok(&format!(
        r#"patch volumeattachment {name} --subresource=status --type=merge -p {{"status":{{"attached":true}}}}"#
    ));
    eventually("the node's status to say so", SOON, || {
        let now = reported();
        if now.contains(&format!("kubernetes.io/csi/{driver}^vol-1")) { Ok(()) } else { Err(now) }
    });
    ns.shows("describe pod user", "SuccessfulAttachVolume");

    ns.ok("delete pod user --grace-period=0 --force");
    eventually("the attachment to go", SOON, || {
        if attachments().is_empty() { Ok(()) } else { Err("it is there".to_owned()) }
    });
    assert!(!reported().contains(&driver), "that was said before");
    ns.ok("delete pvc data");
    kubectl.ok(&format!("delete pv {volume}"));
}
