//! Objects of bodies, and why some are none.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Binding, Pod};
use serde_json::{Value, json};

use super::*;

fn read<K: Resource + DeserializeOwned + serde::Serialize>(json: Value) -> Value {
    let object: K = object(json.to_string().as_bytes()).unwrap_or_else(|err| panic!("{err}: {json}"));
    serde_json::to_value(object).unwrap()
}

#[test]
fn a_field_that_is_missing_is_its_zero_value() {
    let pod = read::<Pod>(json!({"spec": {"containers": [null, {"name": null, "args": null}]}}));
    assert_eq!(pod["metadata"], json!({}));
    assert_eq!(pod["spec"], json!({"containers": [{"name": ""}, {"name": ""}]}));
    assert_eq!(read::<Pod>(json!({"spec": {"containers": null, "nodeName": "n"}}))["spec"]["containers"], json!([]));
    let deployment = read::<Deployment>(json!({"spec": {"template": null, "selector": null}}));
    assert_eq!(deployment["spec"], json!({"selector": {}, "template": {}}));
}

#[test]
fn what_is_no_object_of_its_kind_is_refused() {
    let head = "Binding in version \"v1\" cannot be handled as a Binding:";
    for (json, code, expected) in [
        (
            r#"{"target":"x"}"#,
            400,
            format!(
                "{head} json: cannot unmarshal string into Go struct field Binding.target of type v1.ObjectReference"
            ),
        ),
        (
            r#"{"kind":"Pod"}"#,
            400,
            format!("{head} invalid value: string \"Pod\", expected Binding at line 1 column 14"),
        ),
        (r#"{"target""#, 400, "unexpected end of JSON input".to_owned()),
    ] {
        let err = object::<Binding>(json.as_bytes()).unwrap_err();
        assert_eq!((err.code(), err.message()), (code, expected.as_str()), "{json}");
    }
}

#[test]
fn without_a_type_all_is_kept() {
    let normal = normal(None, br#"{"a": null, "b": [], "a": 1}"#).unwrap();
    assert_eq!(normal.json().unwrap(), r#"{"a": null, "b": [], "a": 1}"#);
    assert_eq!(normal.findings, ["duplicate field \"a\""]);
}
