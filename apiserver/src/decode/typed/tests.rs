//! What is missing, null, unknown or too much in bodies.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use k8s_openapi::api::events::v1::Event;
use serde_json::{Value, json};

use super::*;

fn read<T: DeserializeOwned + serde::Serialize>(json: Value) -> Value {
    let object: T = decode(json.to_string().as_bytes(), &mut Vec::new()).unwrap_or_else(|err| panic!("{err}: {json}"));
    serde_json::to_value(object).unwrap()
}

#[test]
fn a_field_that_is_missing_or_null_is_its_zero_value() {
    let service =
        read::<Service>(json!({"status": {"conditions": [{"type": "a"}, {"type": "b", "lastTransitionTime": null}]}}));
    let time = |i: usize| service["status"]["conditions"][i]["lastTransitionTime"].clone();
    assert_eq!((time(0), time(1)), (json!(ZERO_TIME), json!(ZERO_TIME)));
    let event = read::<Event>(json!({"series": {"count": 2}}));
    assert_eq!(event["series"]["lastObservedTime"], "0001-01-01T00:00:00.000000Z");

    let pod = read::<Pod>(
        json!({"metadata": {"labels": {"a": null}, "finalizers": [null, "x"], "creationTimestamp": null},
        "spec": {"containers": [null, {"name": null, "args": null, "resources": {"limits": {"cpu": null, "memory": 5}}}],
            "hostNetwork": null, "terminationGracePeriodSeconds": null}}),
    );
    assert_eq!(pod["metadata"], json!({"labels": {"a": ""}, "finalizers": ["", "x"]}));
    assert_eq!(pod["spec"]["containers"][0], json!({"name": ""}));
    assert_eq!(pod["spec"]["containers"][1]["resources"]["limits"], json!({"cpu": "0", "memory": "5"}));
    assert_eq!(read::<Pod>(json!({"spec": {"containers": null}}))["spec"], json!({"containers": []}));
    assert_eq!(read::<Pod>(json!({"metadata": null, "spec": null}))["metadata"], json!({}));
    let deployment = read::<Deployment>(json!({"spec": {"template": null, "selector": null}}));
    assert_eq!(deployment["spec"], json!({"selector": {}, "template": {}}));
    assert_eq!(read::<Secret>(json!({"data": {"a": null}}))["data"], json!({"a": ""}));
    assert_eq!(
        value(br#"{"a":null,"b":[null]}"#).unwrap(),
        json!({"a": null, "b": [null]}),
        "any JSON keeps its nulls"
    );
}

#[test]
fn unknown_fields_have_paths_that_users_write() {
    let mut unknown = Vec::new();
    let json = br#"{"odd":1,"spec":{"containers":[{"name":"a"},{"imagee":"x","ports":[{"port":{"a":1}}]}]}}"#;
    decode::<Pod>(json, &mut unknown).unwrap();
    assert_eq!(unknown, ["odd", "spec.containers[1].imagee", "spec.containers[1].ports[0].port"]);
    let many: String = (0..1000).map(|n| format!(r#","k{n}":0"#)).collect();
    unknown.clear();
    decode::<Pod>(format!(r#"{{"kind":"Pod"{many}}}"#).as_bytes(), &mut unknown).unwrap();
    assert_eq!(unknown.len(), MAX_UNKNOWN_FIELDS);
}

#[test]
fn what_a_body_holds_is_bounded_by_bytes_not_by_its_text() {
    let fill = |item: &str| vec![item; 3 * 1024 * 1024 / (item.len() + 1)].join(",");
    let containers = format!(r#"{{"spec":{{"containers":[{}]}}}}"#, fill("{}"));
    assert!(matches!(decode::<Pod>(containers.as_bytes(), &mut Vec::new()), Err(DecodeError::TooLarge)));
    let nulls = format!(r#"{{"spec":{{"volumes":[{}]}}}}"#, fill("null"));
    assert!(matches!(decode::<Pod>(nulls.as_bytes(), &mut Vec::new()), Err(DecodeError::TooLarge)));
    let maps = format!("[{}]", fill(r#"{"":0}"#));
    assert!(matches!(value(maps.as_bytes()), Err(DecodeError::TooLarge)));
    // What fits into the store fits in here: a ConfigMap of many keys, a pod of many variables.
    let keys: String = (0..100_000).map(|n| format!(r#""k{n}":"","#)).collect();
    value(format!(r#"{{"data":{{{keys}"a":""}}}}"#).as_bytes()).unwrap();
    let env: String = (0..50_000).map(|n| format!(r#"{{"name":"E{n}","value":""}},"#)).collect();
    let pod = format!(r#"{{"spec":{{"containers":[{{"env":[{env}{{"name":"a"}}]}}]}}}}"#);
    decode::<Pod>(pod.as_bytes(), &mut Vec::new()).unwrap();
}
