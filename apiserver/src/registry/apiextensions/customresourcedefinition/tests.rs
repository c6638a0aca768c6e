//! What a definition may be, and what the server makes of it.

use serde_json::{Value, json};

use super::conditions::ESTABLISHED;
use super::*;
use crate::registry::check::testing::{created, found_on_create, found_on_update, found_on_write, now, object};

fn good() -> Value {
    json!({
        "metadata": {"name": "tabs.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "tabs", "kind": "Tab"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"color": {"type": "string"}}}},
            }}}],
        },
    })
}
/// The good one with something else at a JSON pointer.
fn with(pointer: &str, value: Value) -> String {
    let mut crd = good();
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    match crd.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[last.parse::<usize>().unwrap()] = value,
        parent => parent[last] = value,
    }
    crd.to_string()
}
fn found(pointer: &str, value: Value) -> Vec<String> {
    found_on_create::<CustomResourceDefinition>(&with(pointer, value))
}
const V1: &str = "/spec/versions/0";

#[test]
fn names_that_are_not_given_follow_from_the_kind() {
    let crd: CustomResourceDefinition = created(&good().to_string());
    let names = &crd.spec.names;
    assert_eq!((names.singular.as_deref(), names.list_kind.as_deref()), (Some("tab"), Some("TabList")));
    assert_eq!(crd.spec.conversion.as_ref().unwrap().strategy, "None");
    assert_eq!(crd.status.unwrap().stored_versions, Some(vec!["v1".to_owned()]));
    assert!(found_on_create::<CustomResourceDefinition>(&good().to_string()).is_empty());
}

#[test]
fn what_is_no_definition_is_told_in_upstreams_words() {
    for (pointer, value, expected) in [
        (
            "/metadata/name",
            json!("a.b.c"),
            r#"metadata.name: Invalid value: "a.b.c": must be spec.names.plural+"."+spec.group"#,
        ),
        (
            "/spec/group",
            json!("nodot"),
            r#"spec.group: Invalid value: "nodot": should be a domain with at least one dot"#,
        ),
        (
            "/spec/scope",
            json!("Wide"),
            r#"spec.scope: Unsupported value: "Wide": supported values: "Cluster", "Namespaced""#,
        ),
        ("/spec/names/kind", json!(""), "spec.names.kind: Required value"),
        (
            "/spec/preserveUnknownFields",
            json!(true),
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ),
        (
            "/spec/versions/0/storage",
            json!(false),
            r#"spec.versions: Invalid value: ["v1"]: must have exactly one version marked as storage version"#,
        ),
        ("/spec/versions/0/schema", json!({}), "spec.versions[0].schema.openAPIV3Schema: Required value"),
        (
            "/spec/versions/0/deprecationWarning",
            json!("old"),
            r#"spec.versions[0].deprecationWarning: Invalid value: "old": can only be set for deprecated versions"#,
        ),
        (
            "/spec/versions/0/schema/openAPIV3Schema/type",
            json!("string"),
            r#"spec.validation.openAPIV3Schema.type: Invalid value: "string": must be object at the root"#,
        ),
        (
            "/spec/versions/0/subresources",
            json!({"scale": {"specReplicasPath": ".x", "statusReplicasPath": ".status.n"}}),
            r#"spec.subresources.scale.specReplicasPath: Invalid value: ".x": should be a json path under .spec"#,
        ),
        (
            "/spec/versions/0/additionalPrinterColumns",
            json!([{"name": "a", "type": "text", "jsonPath": ".spec"}]),
            r#"spec.additionalPrinterColumns[0].type: Invalid value: "text": must be one of boolean,date,integer,number,string"#,
        ),
        (
            "/spec/versions/0/selectableFields",
            json!([{"jsonPath": ".spec.nothing"}]),
            r#"spec.selectableFields[0].jsonPath: Invalid value: ".spec.nothing": is an invalid path: does not refer to a valid field"#,
        ),
    ] {
        let told = found(pointer, value);
        assert!(told.iter().any(|words| words == expected), "{pointer}: {told:?}");
    }
    assert!(found("/spec/versions/0/selectableFields", json!([{"jsonPath": ".spec.color"}])).is_empty());
    assert!(found(V1, json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}})).is_empty());
}

#[test]
fn metadata_is_not_selected_by_and_what_is_called_so_alike_is() {
    let of = |path: &str| {
        let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "metadataFoo": {"type": "object", "properties": {"name": {"type": "string"}}},
        }}});
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema, "selectableFields": [{"jsonPath": path}]});
        found(V1, version)
    };
    assert_eq!(of(".metadataFoo.name"), Vec::<String>::new());
    assert_eq!(
        of(".metadata.name"),
        [r#"spec.selectableFields[0].jsonPath: Invalid value: ".metadata.name": must not point to fields in metadata"#]
    );
}

#[test]
fn a_definition_has_so_many_versions() {
    let versions = |n: usize| -> Value {
        let schema = json!({"openAPIV3Schema": {"type": "object"}});
        (1..=n).map(|v| json!({"name": format!("v{v}"), "served": true, "storage": v == 1, "schema": schema})).collect()
    };
    assert!(found("/spec/versions", versions(64)).is_empty());
    assert_eq!(found("/spec/versions", versions(65)), ["spec.versions: Too many: 65: must have at most 64 items"]);
}

#[test]
fn a_table_has_so_many_columns() {
    let columns = |n: usize| json!(vec![json!({"name": "a", "type": "string", "jsonPath": ".spec"}); n]);
    assert!(found("/spec/versions/0/additionalPrinterColumns", columns(64)).is_empty());
    assert_eq!(
        found("/spec/versions/0/additionalPrinterColumns", columns(65)),
        ["spec.additionalPrinterColumns: Too many: 65: must have at most 64 items"]
    );
}

#[test]
fn patterns_are_counted_over_all_versions() {
    let version = |v: usize| {
        let field = |n: usize| (format!("f{n}"), json!({"type": "string", "pattern": format!("^{v}-{n}$")}));
        let fields: serde_json::Map<String, Value> = (0..100).map(field).collect();
        let schema = json!({"openAPIV3Schema": {"type": "object", "properties": fields}});
        json!({"name": format!("v{v}"), "served": true, "storage": v == 1, "schema": schema})
    };
    let versions = |n: usize| -> Value { (1..=n).map(version).collect() };
    assert!(found("/spec/versions", versions(2)).is_empty());
    let told = found("/spec/versions", versions(4));
    assert!(told.len() == 1 && told[0].contains("at most 256 different patterns"), "{told:?}");
}

#[test]
fn a_schema_that_has_not_changed_is_not_judged_again() {
    let bad = json!({"openAPIV3Schema": {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}});
    let mut stored: CustomResourceDefinition = created(&with("/spec/versions/0/schema", bad.clone()));
    stored.metadata.resource_version = Some("1".into());
    let written = |schema: Value, subresources: Value| {
        let mut crd: Value = serde_json::from_str(&with("/spec/versions/0/schema", schema)).unwrap();
        crd["spec"]["versions"][0]["subresources"] = subresources;
        crd["metadata"]["annotations"] = json!({"a": "b"});
        found_on_write(&stored, &crd.to_string())
    };
    assert_eq!(written(bad.clone(), Value::Null), Vec::<String>::new());
    let mut worse = bad.clone();
    worse["openAPIV3Schema"]["properties"]["b"] = json!({"type": "string"});
    assert_eq!(written(worse, Value::Null).len(), 1);
    assert_eq!(
        written(bad, json!({"status": {}})).len(),
        1,
        "where the status has a subresource, schemas may say less"
    );
}

#[test]
fn groups_of_the_community_need_an_approval() {
    let of = |annotations: Value| {
        let mut crd = good();
        crd["metadata"] = json!({"name": "tabs.example.k8s.io", "annotations": annotations});
        crd["spec"]["group"] = "example.k8s.io".into();
        found_on_create::<CustomResourceDefinition>(&crd.to_string()).len()
    };
    assert_eq!(of(json!({})), 1);
    assert_eq!(of(json!({"api-approved.kubernetes.io": "soon"})), 1);
    assert_eq!(of(json!({"api-approved.kubernetes.io": "unapproved, experimental"})), 0);
    assert_eq!(of(json!({"api-approved.kubernetes.io": "https://github.com/kubernetes/kubernetes/pull/1"})), 0);
}

#[test]
fn what_was_a_version_of_the_store_stays_one() {
    let versions = |names: [(&str, bool); 2]| -> Value {
        let schema = json!({"openAPIV3Schema": {"type": "object"}});
        names
            .map(|(name, storage)| json!({"name": name, "served": true, "storage": storage, "schema": schema}))
            .to_vec()
            .into()
    };
    let old = with("/spec/versions", versions([("v1", true), ("v2", false)]));
    assert!(
        found_on_update::<CustomResourceDefinition>(
            &old,
            &with("/spec/versions", versions([("v1", false), ("v2", true)]))
        )
        .is_empty()
    );
    let before: CustomResourceDefinition = created(&old);
    let mut without: CustomResourceDefinition =
        object(&with("/spec/versions", versions([("v2", true), ("v3", false)])));
    without.status = before.status;
    note_storage(&without.spec.versions, without.status.as_mut().unwrap());
    let mut problems = Problems::default();
    without.validate(&mut problems);
    let told: Vec<String> = problems.causes().iter().map(ToString::to_string).collect();
    assert!(
        told.iter()
            .any(|words| words
                .starts_with("status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions")),
        "{told:?}"
    );
    let told = found_on_update::<CustomResourceDefinition>(&old, &with("/spec/names/plural", json!("others")));
    assert!(told.iter().any(|words| words.contains("spec.names.plural: Invalid value")), "{told:?}");
}

#[test]
fn the_first_delete_marks_a_definition_and_others_change_nothing() {
    let mut crd: CustomResourceDefinition = object(&good().to_string());
    assert!(crd.holds_deletion());
    crd.metadata.deletion_timestamp = Some(clock::now());
    crd.mark_deleting();
    assert!(!crd.holds_deletion() && conditions::is_true(&crd, TERMINATING));
    assert_eq!(crd.metadata.finalizers.as_deref(), Some(&[CLEANUP.to_owned()][..]));
    let before = crd.clone();
    crd.mark_deleting();
    assert_eq!(crd, before);
}

#[test]
fn what_is_said_of_conversion_can_be_done() {
    let at = "spec.conversion.";
    let webhook = |client: Value, versions: Value| json!({"strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": versions}});
    let url = || json!({"url": "https://a.b/c"});
    let twice = "exactly one of url or service is required";
    for (why, conversion, expected) in [
        ("a url", webhook(url(), json!(["v1"])), vec![]),
        ("a service", webhook(json!({"service": {"name": "s", "namespace": "n"}}), json!(["v2", "v1beta1"])), vec![]),
        ("nobody's certificate, yet", webhook(json!({"url": "https://a", "caBundle": "AAAA"}), json!(["v1"])), vec![]),
        (
            "nothing",
            json!({"strategy": "Webhook"}),
            vec![
                "webhookClientConfig: Required value: required when strategy is set to Webhook".to_owned(),
                "conversionReviewVersions: Required value".to_owned(),
            ],
        ),
        ("nowhere", webhook(json!({}), json!(["v1"])), vec![format!("webhookClientConfig: Required value: {twice}")]),
        (
            "without TLS",
            webhook(json!({"url": "http://a"}), json!(["v1"])),
            vec![
                r#"webhookClientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path]"#
                    .to_owned(),
            ],
        ),
        (
            "versions that nobody knows",
            webhook(url(), json!(["v3", "v3"])),
            vec![
                r#"conversionReviewVersions[1]: Invalid value: "v3": duplicate version"#.to_owned(),
                r#"conversionReviewVersions: Invalid value: ["v3","v3"]: must include at least one of v1, v1beta1"#
                    .to_owned(),
            ],
        ),
        (
            "another strategy",
            json!({"strategy": "Magic"}),
            vec![r#"strategy: Unsupported value: "Magic": supported values: "None", "Webhook""#.to_owned()],
        ),
        (
            "a webhook that nobody asks",
            json!({"strategy": "None", "webhook": {"clientConfig": url(), "conversionReviewVersions": ["v1"]}}),
            ["webhookClientConfig", "conversionReviewVersions"]
                .map(|field| format!("{field}: Forbidden: should not be set when strategy is not set to Webhook"))
                .to_vec(),
        ),
    ] {
        let expected: Vec<String> = expected.iter().map(|words| format!("{at}{words}")).collect();
        assert_eq!(found("/spec/conversion", conversion), expected, "{why}");
    }
    let preserved = found("/spec", {
        let mut spec = good()["spec"].clone();
        (spec["preserveUnknownFields"], spec["conversion"]) = (json!(true), webhook(url(), json!(["v1"])));
        spec
    });
    let why =
        r#"spec.conversion.strategy: Invalid value: "Webhook": must be None if spec.preserveUnknownFields is true"#;
    assert!(preserved.iter().any(|words| words == why), "{preserved:?}");
}

#[test]
fn what_was_wrong_with_conversion_before_may_stay_so() {
    let of = |client: Value, versions: Value, established: bool| -> CustomResourceDefinition {
        let mut json = good();
        json["spec"]["conversion"] =
            json!({"strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": versions}});
        let mut crd: CustomResourceDefinition = created(&json.to_string());
        let condition = Condition { kind: ESTABLISHED, status: established, reason: "x", message: String::new() };
        conditions::set(crd.status.as_mut().unwrap(), &condition, None, &now());
        crd
    };
    let bundle = |bundle: &str| json!({"url": "https://a", "caBundle": bundle});
    let told = |new: &CustomResourceDefinition, old: &CustomResourceDefinition| {
        let mut problems = Problems::default();
        conversion::check(new, Some(old), &mut problems);
        problems.causes().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let (good, bad) = (of(bundle(""), json!(["v1"]), true), of(bundle("AAAA"), json!(["v1"]), true));
    assert_eq!(told(&bad, &of(bundle(""), json!(["v1"]), false)), [""; 0]);
    assert_eq!(told(&bad, &bad), [""; 0]);
    assert_eq!(
        told(&bad, &good),
        [
            r#"spec.conversion.webhookClientConfig.caBundle: Invalid value: "AAAA": unable to load root certificates: unable to parse bytes as PEM block"#
        ]
    );
    let unknown = of(bundle(""), json!(["v9"]), true);
    assert_eq!((told(&unknown, &good).len(), told(&unknown, &unknown).len()), (1, 0));
    assert!(conversion::has_bad_bundle(&bad) && !conversion::has_bad_bundle(&good));
}
