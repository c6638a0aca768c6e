//! The documents as kubectl reads them.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;

use super::*;
use crate::registry::ApiResource;

fn v3(path: &str) -> Value {
    serde_json::from_slice(&v3_document(&Registry::default().table(), path).unwrap()).unwrap()
}

/// Every `$ref` of a document leads to a schema.
fn assert_whole(document: &Value, home: &str) {
    fn walk(value: &Value, refs: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    refs.push(reference.clone());
                }
                map.values().for_each(|v| walk(v, refs));
            }
            Value::Array(list) => list.iter().for_each(|v| walk(v, refs)),
            _ => {}
        }
    }
    let mut refs = Vec::new();
    walk(document, &mut refs);
    assert!(refs.len() > 20, "{home}");
    for reference in refs {
        assert!(reference.starts_with(home), "{reference}");
        assert!(document.pointer(&reference[1..]).is_some(), "{reference} leads nowhere");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    for path in paths(&Registry::default().table()) {
        assert_whole(&v3(&path), "#/components/schemas/");
    }
    let v2: Value = serde_json::from_slice(&v2(&Registry::default().table())).unwrap();
    assert_whole(&v2, "#/definitions/");
    assert!(v3_document(&Registry::default().table(), "apis/none/v1").is_none());
}

#[test]
fn a_patch_says_that_fields_are_validated() {
    let document = v3("apis/apps/v1");
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    let parameters = patch["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|p| p["name"] == "fieldValidation" && p["in"] == "query"));
}

#[test]
fn lists_say_how_they_merge() {
    let document = v3("api/v1");
    let schemas = &document["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(
        (&containers["x-kubernetes-patch-merge-key"], &containers["x-kubernetes-patch-strategy"]),
        (&json!("name"), &json!("merge"))
    );
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    let volumes = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"];
    assert_eq!(volumes["x-kubernetes-patch-strategy"], "merge,retainKeys");
    let pod = &schemas["io.k8s.api.core.v1.Pod"];
    assert_eq!(pod["x-kubernetes-group-version-kind"], json!([{"group": "", "version": "v1", "kind": "Pod"}]));
    assert_eq!(pod["properties"]["spec"]["allOf"][0]["$ref"], "#/components/schemas/io.k8s.api.core.v1.PodSpec");
    assert_eq!(schemas["io.k8s.apimachinery.pkg.api.resource.Quantity"]["oneOf"].as_array().unwrap().len(), 2);
}

#[test]
fn a_kind_that_comes_is_described() {
    let registry = Registry::new(vec![ApiResource::of::<ConfigMap>()]);
    let documents = Documents::new(registry.clone());
    assert!(documents.current().v3("apis/coordination.k8s.io/v1").is_none());
    registry.put(ApiResource::of::<Lease>());
    assert!(documents.current().v3("apis/coordination.k8s.io/v1").is_some());
    registry.remove(&ApiResource::of::<Lease>());
    assert!(documents.current().v3("apis/coordination.k8s.io/v1").is_none());
}

#[test]
fn documents_are_kept_packed_and_named_by_their_content() {
    let documents = Documents::new(Registry::default()).current();
    let index: Value = serde_json::from_slice(&documents.v3_index()).unwrap();
    let apps = documents.v3("apis/apps/v1").unwrap();
    assert_eq!(
        index["paths"]["apis/apps/v1"]["serverRelativeURL"],
        format!("/openapi/v3/apis/apps/v1?hash={}", apps.hash)
    );
    assert_eq!(apps.plain().unwrap(), v3_document(&Registry::default().table(), "apis/apps/v1").unwrap());
    let packed: usize =
        paths(&Registry::default().table()).iter().map(|p| documents.v3(p).unwrap().gzipped.len()).sum();
    assert!(packed < 600_000, "{packed} bytes are kept");
    assert!(documents.v2().is_some());
}
