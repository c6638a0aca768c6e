//! Bad sources of PersistentVolumes and of pods' volumes, and what is said of them.

use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use serde_json::{Value, json};

use crate::registry::check::testing;
use crate::schema;

/// Of a PersistentVolume with this source, which can be anywhere.
fn of_volume(source: &Value) -> Vec<String> {
    let mut spec = source.clone();
    spec["accessModes"] = json!(["ReadWriteOnce"]);
    spec["capacity"] = json!({"storage": "1Gi"});
    testing::found::<PersistentVolume>(&json!({"metadata": {"name": "pv"}, "spec": spec}).to_string())
}
/// Of a pod with this volume, as seen from the volume.
fn of_pod(source: &Value) -> Vec<String> {
    let mut volume = source.clone();
    volume["name"] = json!("v");
    let spec = json!({"containers": [{"name": "a", "image": "x"}], "volumes": [volume]});
    let found = testing::found::<Pod>(&json!({ "spec": spec }).to_string());
    found.into_iter().map(|text| text.replace("spec.volumes[0]", "spec")).collect()
}

#[test]
fn sources_that_both_have() {
    let iqn = "iqn.2015-06.com.example.test:disk";
    let portal = |more: Value| {
        let mut iscsi = json!({"targetPortal": "10.0.0.1:3260", "iqn": iqn, "lun": 0});
        iscsi.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "iscsi": iscsi })
    };
    let cases: Vec<(Value, Vec<&str>)> = vec![
        (json!({"hostPath": {"path": "/data", "type": "Directory"}}), vec![]),
        (json!({"hostPath": {"path": ""}}), vec!["spec.hostPath.path: Required value"]),
        (
            json!({"hostPath": {"path": "/a/../b"}}),
            vec![r#"spec.hostPath.path: Invalid value: "/a/../b": must not contain '..'"#],
        ),
        (json!({"gcePersistentDisk": {"pdName": "d", "partition": 0}}), vec![]),
        (
            json!({"gcePersistentDisk": {"pdName": "", "partition": 256}}),
            vec![
                "spec.gcePersistentDisk.pdName: Required value",
                "spec.gcePersistentDisk.partition: Invalid value: 256: must be between 1 and 255, inclusive",
            ],
        ),
        (json!({"awsElasticBlockStore": {"volumeID": ""}}), vec!["spec.awsElasticBlockStore.volumeID: Required value"]),
        (json!({"nfs": {"server": "s", "path": "/p"}}), vec![]),
        (
            json!({"nfs": {"server": "", "path": "p"}}),
            vec!["spec.nfs.server: Required value", r#"spec.nfs.path: Invalid value: "p": must be an absolute path"#],
        ),
        (portal(json!({})), vec![]),
        (portal(json!({"iqn": "eui.0123456789abcdef"})), vec![]),
        (portal(json!({"iqn": "naa.0123456789abcdef0123456789abcdef"})), vec![]),
        (
            portal(json!({"iqn": "disk", "lun": 256, "chapAuthSession": true})),
            vec![
                r#"spec.iscsi.iqn: Invalid value: "disk": must be valid format starting with iqn, eui, or naa"#,
                "spec.iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
                "spec.iscsi.secretRef: Required value",
            ],
        ),
        (
            portal(json!({"iqn": "iqn.2015.com.example:disk", "initiatorName": "eui.1"})),
            vec![
                r#"spec.iscsi.iqn: Invalid value: "iqn.2015.com.example:disk": must be valid format"#,
                r#"spec.iscsi.initiatorName: Invalid value: "eui.1": must be valid format"#,
            ],
        ),
        (
            portal(json!({"targetPortal": "p".repeat(64), "initiatorName": iqn})),
            vec![
                r#"spec.iscsi.targetPortal: Invalid value: "pppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp": Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified."#,
            ],
        ),
        (json!({"fc": {"targetWWNs": ["a"], "lun": 1}}), vec![]),
        (json!({"fc": {"wwids": ["a"]}}), vec![]),
        (
            json!({"fc": {}}),
            vec!["spec.fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both"],
        ),
        (
            json!({"fc": {"targetWWNs": ["a"], "wwids": ["b"]}}),
            vec![
                r#"spec.fc.targetWWNs: Invalid value: ["a"]: targetWWNs and wwids can not be specified simultaneously"#,
                "spec.fc.lun: Required value: lun is required if targetWWNs is specified",
            ],
        ),
        (
            json!({"fc": {"targetWWNs": ["a"], "lun": -1}}),
            vec!["spec.fc.lun: Invalid value: -1: must be between 0 and 255, inclusive"],
        ),
        (
            json!({"glusterfs": {"endpoints": "", "path": ""}}),
            vec!["spec.glusterfs.endpoints: Required value", "spec.glusterfs.path: Required value"],
        ),
        (json!({"flocker": {"datasetName": "d"}}), vec![]),
        (json!({"flocker": {}}), vec!["spec.flocker: Required value: one of datasetName and datasetUUID is required"]),
        (
            json!({"flocker": {"datasetName": "a/b", "datasetUUID": "u"}}),
            vec![
                r#"spec.flocker: Invalid value: "resource": datasetName and datasetUUID can not be specified simultaneously"#,
                r#"spec.flocker.datasetName: Invalid value: "a/b": must not contain '/'"#,
            ],
        ),
        (
            json!({"rbd": {"monitors": [], "image": ""}}),
            vec!["spec.rbd.monitors: Required value", "spec.rbd.image: Required value"],
        ),
        (json!({"cephfs": {"monitors": []}}), vec!["spec.cephfs.monitors: Required value"]),
        (json!({"cinder": {"volumeID": ""}}), vec!["spec.cinder.volumeID: Required value"]),
        (json!({"quobyte": {"registry": "r:1,[::1]:2", "volume": "v"}}), vec![]),
        (
            json!({"quobyte": {"registry": "r:1,s", "volume": ""}}),
            vec![
                r#"spec.quobyte.registry: Invalid value: "r:1,s": must be a host:port pair or multiple pairs separated by commas"#,
                "spec.quobyte.volume: Required value",
            ],
        ),
        (
            json!({"quobyte": {"registry": "r:1", "volume": "v", "tenant": "t".repeat(65)}}),
            vec!["spec.quobyte.tenant: Required value: must be a UUID and may not exceed a length of 64 characters"],
        ),
        (
            json!({"flexVolume": {"driver": "", "options": {"a": "1", "x.K8s.io/b": "2", "kubernetes.io/c": "3"}}}),
            vec![
                "spec.flexVolume.driver: Required value",
                r#"spec.flexVolume.options[kubernetes.io/c]: Invalid value: "kubernetes.io/c": kubernetes.io and k8s.io namespaces are reserved"#,
                r#"spec.flexVolume.options[x.K8s.io/b]: Invalid value: "x.K8s.io/b": kubernetes.io and k8s.io namespaces are reserved"#,
            ],
        ),
        (
            json!({"azureFile": {"secretName": "", "shareName": ""}}),
            vec!["spec.azureFile.secretName: Required value", "spec.azureFile.shareName: Required value"],
        ),
        (json!({"azureDisk": {"diskName": "d", "diskURI": "https://a/b.vhd"}}), vec![]),
        (
            json!({"azureDisk": {"diskName": "", "diskURI": "u", "kind": "Managed", "cachingMode": "Some"}}),
            vec![
                "spec.azureDisk.diskName: Required value",
                r#"spec.azureDisk.cachingMode: Unsupported value: "Some": supported values: "None", "ReadOnly", "ReadWrite""#,
                r#"spec.azureDisk.diskURI: Unsupported value: "u": supported values: "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}""#,
            ],
        ),
        (json!({"vsphereVolume": {"volumePath": ""}}), vec!["spec.vsphereVolume.volumePath: Required value"]),
        (json!({"photonPersistentDisk": {"pdID": ""}}), vec!["spec.photonPersistentDisk.pdID: Required value"]),
        (json!({"portworxVolume": {"volumeID": ""}}), vec!["spec.portworxVolume.volumeID: Required value"]),
        (
            json!({"scaleIO": {"gateway": "", "system": "", "secretRef": {}}}),
            vec![
                "spec.scaleIO.gateway: Required value",
                "spec.scaleIO.system: Required value",
                "spec.scaleIO.volumeName: Required value",
            ],
        ),
        (json!({"storageos": {}}), vec!["spec.storageos.volumeName: Required value"]),
    ];
    for (source, expected) in cases {
        assert_eq!(of_volume(&source), expected, "a volume with {source}");
        assert_eq!(of_pod(&source), expected, "a pod with {source}");
    }
}

#[test]
fn secrets_of_volumes_are_in_some_namespace() {
    let cases = [
        (
            json!({"cinder": {"volumeID": "v", "secretRef": {}}}),
            vec!["spec.cinder.secretRef.name: Required value", "spec.cinder.secretRef.namespace: Required value"],
        ),
        (
            json!({"storageos": {"volumeName": "v", "secretRef": {"name": "s"}}}),
            vec!["spec.storageos.secretRef.namespace: Required value"],
        ),
        (
            json!({"iscsi": {"targetPortal": "p", "iqn": "eui.0123456789abcdef", "lun": 0, "secretRef": {}}}),
            vec!["spec.iscsi.secretRef.name: Required value"],
        ),
        (json!({"csi": {"driver": "csi.example.com", "volumeHandle": "h", "nodeStageSecretRef": {}}}), vec![]),
        (
            json!({"csi": {"driver": "csi.example.com", "volumeHandle": "", "nodePublishSecretRef": {"name": "s"}}}),
            vec!["spec.csi.volumeHandle: Required value", "spec.csi.nodePublishSecretRef.namespace: Required value"],
        ),
        (json!({"csi": {"driver": "", "volumeHandle": "h"}}), vec!["spec.csi.driver: Required value"]),
        (
            json!({"azureFile": {"secretName": "s", "shareName": "s", "secretNamespace": ""}}),
            vec!["spec.azureFile.secretNamespace: Required value"],
        ),
        (
            json!({"glusterfs": {"endpoints": "e", "path": "p", "endpointsNamespace": ""}}),
            vec![
                r#"spec.glusterfs.endpointsNamespace: Invalid value: "": if the endpointnamespace is set, it must be a valid namespace name"#,
            ],
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(of_volume(&source), expected, "{source}");
    }
}

#[test]
fn secrets_of_pods_are_in_their_own() {
    let cases = [
        (json!({"cinder": {"volumeID": "v", "secretRef": {}}}), vec!["spec.cinder.secretRef.name: Required value"]),
        (
            json!({"storageos": {"volumeName": "v", "secretRef": {}}}),
            vec!["spec.storageos.secretRef.name: Required value"],
        ),
        (json!({"csi": {"driver": "CSI.example.com", "nodePublishSecretRef": {"name": "s"}}}), vec![]),
        (
            json!({"csi": {"driver": "csi.example.com", "nodePublishSecretRef": {}}}),
            vec!["spec.csi.nodePublishSecretRef.name: Required value"],
        ),
        (json!({"gitRepo": {"repository": "r", "directory": "d"}}), vec![]),
        (
            json!({"gitRepo": {"repository": "", "directory": "/d"}}),
            vec![
                "spec.gitRepo.repository: Required value",
                r#"spec.gitRepo.directory: Invalid value: "/d": must be a relative path"#,
            ],
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(of_pod(&source), expected, "{source}");
    }
}

#[test]
fn names_of_drivers_and_of_targets() {
    let driver = |name: &str| of_volume(&json!({"csi": {"driver": name, "volumeHandle": "h"}}));
    assert!(driver("a_b")[0].starts_with(r#"spec.csi.driver: Invalid value: "a_b": a lowercase RFC 1123 subdomain"#));
    assert_eq!(driver(&"a".repeat(64)), ["spec.csi.driver: Too long: may not be more than 63 bytes"]);
    let iqn = |name: &str| of_volume(&json!({"iscsi": {"targetPortal": "p", "iqn": name, "lun": 0}})).is_empty();
    for good in ["iqn.2001-04.com.example:storage:disk1", "iqn.2001-04.com.x-y:a"] {
        assert!(iqn(good), "{good}");
    }
    for bad in [
        "iqn.2001-04.com.example",
        "iqn.2001-04.:a",
        "iqn.2001-04.com.example:",
        "iqn.2001-4.com.example:a",
        "iqn.2001-04.com.example:a b",
        "iqn.2001-04.com_x:a",
        "iqn2001-04.com.example:a",
        "eui.0123",
        "naa.0123456789abcdef",
        "naa.0123456789abcdef0123456789abcde-",
        "ß",
    ] {
        assert!(!iqn(bad), "{bad}");
    }
}

#[test]
fn one_source_alone() {
    let two = json!({"csi": {"driver": "d", "volumeHandle": "h"}, "nfs": {"server": "s", "path": "/p"}});
    assert_eq!(of_volume(&two), ["spec.csi: Forbidden: may not specify more than 1 volume type"]);
    let two = json!({"csi": {"driver": "d"}, "nfs": {"server": "s", "path": "/p"}});
    assert_eq!(of_pod(&two), ["spec.csi: Forbidden: may not specify more than 1 volume type"]);
    assert_eq!(of_volume(&json!({})), ["spec: Required value: must specify a volume type"]);
    assert_eq!(of_pod(&json!({})), Vec::<String>::new(), "a pod's is an empty directory");
}

/// The sources are an object of their own in protobuf: what is new among them must become known here.
#[test]
fn every_source_is_known() {
    type Found = fn(&Value) -> Vec<String>;
    for (name, found) in [("core.v1.Volume", of_pod as Found), ("core.v1.PersistentVolumeSpec", of_volume)] {
        let fields = schema::builtin().named(name).unwrap().as_struct().unwrap().fields();
        let sources: Vec<&str> =
            fields.iter().filter(|field| field.around != schema::Around::NONE).map(|field| &*field.name).collect();
        assert!(sources.len() > 20, "{name}: {sources:?}");
        for source in sources {
            let found = found(&json!({ source: {} }));
            assert!(!found.iter().any(|text| text.ends_with("must specify a volume type")), "{name}: {source}");
        }
    }
}

#[test]
fn what_sources_get() {
    let sources = [
        (json!({"hostPath": {"path": "/"}}), json!({"hostPath": {"path": "/", "type": ""}})),
        (
            json!({"rbd": {"monitors": ["m"], "image": "i"}}),
            json!({"rbd": {"monitors": ["m"], "image": "i", "pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"}}),
        ),
        (
            json!({"iscsi": {"targetPortal": "p", "iqn": "i", "lun": 0}}),
            json!({"iscsi": {"targetPortal": "p", "iqn": "i", "lun": 0, "iscsiInterface": "default"}}),
        ),
        (
            json!({"azureDisk": {"diskName": "d", "diskURI": "u"}}),
            json!({"azureDisk": {"diskName": "d", "diskURI": "u", "cachingMode": "ReadWrite", "fsType": "ext4", "kind": "Shared", "readOnly": false}}),
        ),
        (
            json!({"scaleIO": {"gateway": "g", "system": "s", "secretRef": {"name": "s"}}}),
            json!({"scaleIO": {"gateway": "g", "system": "s", "secretRef": {"name": "s"}, "storageMode": "ThinProvisioned", "fsType": "xfs"}}),
        ),
    ];
    for (given, expected) in sources {
        let volume: PersistentVolume = testing::defaulted(&json!({ "spec": given }).to_string());
        let pod: Pod = testing::defaulted(&json!({"spec": {"containers": [], "volumes": [given]}}).to_string());
        let (volume, pod) = (serde_json::to_value(volume).unwrap(), serde_json::to_value(pod).unwrap());
        for (field, source) in expected.as_object().unwrap() {
            assert_eq!(&volume["spec"][field], source);
            assert_eq!(&pod["spec"]["volumes"][0][field], source);
        }
    }
}
