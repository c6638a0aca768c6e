//! What extends the API in `bench extension`: webhooks, policies and definitions. Pure.

use std::net::SocketAddr;

use serde_json::{Value, json};

pub(super) const GROUP: &str = "bench.example.com";
/// What is asked about, and what is not: a label of the object decides.
pub(super) const SKIPPED: &str = "bench/skipped";
const EXPRESSION: &str = "object.spec.containers.all(c, c.image != 'forbidden' && c.name.size() < 64)";

/// `count` webhooks of one configuration. `condition`: who has the label is not asked about.
pub(super) fn webhooks(count: usize, ca_bundle: &str, address: SocketAddr, condition: bool) -> Value {
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]});
    let conditions = json!([{"name": "asked", "expression": format!("!('{SKIPPED}' in object.metadata.labels)")}]);
    let webhook = |number: usize| {
        json!({"name": format!("hook-{number}.{GROUP}"), "rules": [rule], "sideEffects": "None", "timeoutSeconds": 5,
            "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
            "matchConditions": if condition { conditions.clone() } else { json!([]) },
            "clientConfig": {"url": format!("https://{address}/"), "caBundle": ca_bundle}})
    };
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "bench"}, "webhooks": (0..count).map(webhook).collect::<Vec<_>>()})
}

/// What a webhook answers that has nothing against it.
pub(super) fn allowed(review: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": review["request"]["uid"], "allowed": true}})
}

pub(super) fn policy(number: usize) -> Value {
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": policy_name(number)}, "spec": {"failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": EXPRESSION}]}})
}

pub(super) fn binding(number: usize) -> Value {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": policy_name(number)},
        "spec": {"policyName": policy_name(number), "validationActions": ["Deny"]}})
}

fn policy_name(number: usize) -> String {
    format!("bench-{number:03}")
}

pub(super) fn plural(number: usize) -> String {
    format!("things{number:03}")
}

/// A definition whose objects have what a ConfigMap has, and a schema of the size that operators' have.
pub(super) fn definition(number: usize) -> Value {
    let (plural, kind) = (plural(number), format!("Thing{number:03}"));
    let text = json!({"type": "string", "maxLength": 1024});
    let fields: serde_json::Map<String, Value> = (0..50)
        .map(|field| {
            let inner =
                json!({"type": "object", "properties": {"name": text, "values": {"type": "array", "items": text}}});
            (format!("field{field:02}"), json!({"type": "array", "items": inner, "description": "x".repeat(200)}))
        })
        .chain([("data".to_owned(), json!({"type": "object", "additionalProperties": text}))])
        .collect();
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": fields}, "status": {"type": "object", "properties": {"state": text}}}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")}, "spec": {"group": GROUP, "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema}}]}})
}

/// What stands in a ConfigMap and in a custom object of the same size.
fn data() -> Value {
    json!({"text": "x".repeat(800)})
}

pub(super) fn configmap(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": data()})
}

pub(super) fn thing(name: &str) -> Value {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Thing000", "metadata": {"name": name}, "spec": {"data": data()}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_is_answered_by_its_own_uid() {
        let answer = allowed(&json!({"request": {"uid": "u"}}));
        assert_eq!((&answer["response"]["uid"], &answer["response"]["allowed"]), (&json!("u"), &json!(true)));
    }

    #[test]
    fn definitions_have_names_of_their_own() {
        for number in [0, 7, 499] {
            let definition = definition(number);
            let name = format!("{}.{GROUP}", definition["spec"]["names"]["plural"].as_str().unwrap());
            assert_eq!(definition["metadata"]["name"], name);
        }
        assert_eq!(definition(0)["spec"]["names"]["kind"], thing("a")["kind"]);
    }
}
