//! What is written is what was there: read by the decoder, and byte by byte where the bytes are known.

use serde_json::{Value, json};

use super::*;
use crate::decode::protobuf::{
    decode,
    wire::{Fields as Wire, WireValue},
};

fn round(object: &Value) -> Value {
    let bytes = super::object(object.to_string().as_bytes()).unwrap();
    serde_json::from_slice(&decode(&bytes).unwrap()).unwrap()
}

#[test]
fn every_way_that_protobuf_has_a_value_comes_back_as_it_was() {
    let cases = [
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web", "empty": ""},
            "creationTimestamp": "2026-01-02T03:04:05Z", "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}],
            "generation": 7, "finalizers": ["a", ""]},
            "spec": {"terminationGracePeriodSeconds": 0, "nodeSelector": {"a": "b"},
                "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
                    "livenessProbe": {"httpGet": {"port": "http", "path": "/"}, "periodSeconds": 3},
                    "readinessProbe": {"tcpSocket": {"port": 80}}, "lifecycle": {"preStop": {"sleep": {"seconds": 0}}},
                    "securityContext": {}}],
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "configMap": {"name": "c", "defaultMode": 420}}]}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "AAH/", "b": ""}}),
        json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80, "targetPort": -1}]}}),
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "spec": {"renewTime": "2026-01-02T03:04:05.600700Z", "leaseTransitions": 2}}),
        json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "data": {"spec": {"x": [1, null]}}, "revision": 3}),
        json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "spec": {"request": "YQ==", "signerName": "x/y", "extra": {"scopes": ["a", "b"], "none": []}}}),
        json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": 404,
            "details": {"name": "x", "causes": [{"reason": "r"}]}}),
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "x"}, "spec": {"replicas": 3},
            "status": {"replicas": 1, "selector": "a=b"}}),
    ];
    for object in cases {
        assert_eq!(round(&object), object);
    }
}

#[test]
fn null_and_names_that_no_type_has_are_not_there() {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "creationTimestamp": null},
        "data": null, "strange": {"a": [1]}});
    assert_eq!(round(&object), json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}));
}

#[test]
fn the_envelope_is_the_one_that_go_reads() {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}});
    let bytes = super::object(object.to_string().as_bytes()).unwrap();
    let expected: &[u8] = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x08\x12\x06\x0a\x01a\x12\x01b";
    assert_eq!(bytes, expected);
}

#[test]
fn what_is_only_metadata_is_a_message_too() {
    let object = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "x"}});
    let bytes = super::object(object.to_string().as_bytes()).unwrap();
    assert!(bytes.ends_with(b"\x12\x05\x0a\x03\x0a\x01x"), "{bytes:?}");
}

#[test]
fn a_list_is_as_long_as_it_says_and_holds_its_items() {
    let items: Vec<Bytes> = (0..3)
        .map(|n| json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x".repeat(n * 100)}}))
        .map(|object| object.to_string().into())
        .collect();
    let list = List::new("v1", "ConfigMap", r#"{"resourceVersion":"7","remainingItemCount":0}"#, &items).unwrap();
    let written: Vec<Bytes> = items.iter().map(|item| list.item(item).unwrap()).collect();
    assert_eq!(written.iter().map(Bytes::len).sum::<usize>(), list.items_len);
    let whole = [list.head.to_vec(), written.concat()].concat();
    let unknown: Vec<_> = Wire(whole.strip_prefix(MAGIC).unwrap()).map(Result::unwrap).collect();
    let [(1, WireValue::Bytes(meta)), (2, WireValue::Bytes(message))] = unknown[..] else { panic!("{unknown:?}") };
    assert_eq!(meta, b"\x0a\x02v1\x12\x0dConfigMapList");
    let fields: Vec<_> = Wire(message).map(Result::unwrap).collect();
    assert_eq!(fields.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 2, 2]);
    assert_eq!(fields[0].1, WireValue::Bytes(b"\x12\x017\x20\x00"));
}

#[test]
fn an_event_is_a_frame_with_its_length_before_it() {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap"}).to_string();
    let frame = event("ADDED", object.as_bytes()).unwrap();
    let (len, event) = frame.split_at(4);
    assert_eq!(u32::from_be_bytes(len.try_into().unwrap()) as usize, event.len());
    let fields: Vec<_> = Wire(event).map(Result::unwrap).collect();
    let [(1, WireValue::Bytes(b"ADDED")), (2, WireValue::Bytes(extension))] = fields[..] else { panic!("{fields:?}") };
    let Some(Ok((1, WireValue::Bytes(raw)))) = Wire(extension).next() else { panic!("{extension:?}") };
    let object: Value = serde_json::from_slice(&decode(raw).unwrap()).unwrap();
    assert_eq!(object["kind"], "ConfigMap");
}

#[test]
fn what_does_not_fit_is_an_error_and_no_other_object() {
    for (object, expected) in [
        (json!({"apiVersion": "v1", "kind": "Nonsense"}), "no message is known for the kind \"Nonsense\""),
        (json!({"apiVersion": "v1", "kind": "Pod", "spec": "text"}), "does not fit"),
        (json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": 1}}), "does not fit"),
        (json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"creationTimestamp": "yesterday"}}), "does not fit"),
        (json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "%"}}), "does not fit"),
    ] {
        let told = super::object(object.to_string().as_bytes()).unwrap_err().to_string();
        assert!(told.contains(expected), "{object}: {told}");
    }
}
