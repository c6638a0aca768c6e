//! Matching as a table: what a webhook says, what is written, and whether it is asked.

use std::sync::OnceLock;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::*;
use crate::admission::webhook::testing::{validating, webhook};
use crate::registry::admissionregistration::Webhook;
use crate::request::{Target, User};
use crate::view::testing::Cluster;
use crate::webhook::testing::At;

/// `group/version/plural[/subresource] [namespace/]name`.
struct Write {
    operation: Operation,
    at: &'static str,
    new: Option<&'static str>,
    old: Option<&'static str>,
}

const fn write(operation: Operation, at: &'static str) -> Write {
    Write { operation, at, new: None, old: None }
}

fn labels(text: &str) -> ObjectMeta {
    let labels = text.split(',').filter_map(|pair| pair.split_once('='));
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }
}

/// What the webhook is told it is: `group/version/plural`, "no", or an error.
fn asked(webhook: Value, write: &Write) -> String {
    let configuration = validating("x", &[webhook]);
    let said = Webhook::from(&configuration.webhooks.as_ref().unwrap()[0]);
    let selectors = (said.namespace_selector, said.object_selector);
    let criteria = Criteria::of_webhook(said.name, said.rules, said.match_policy, selectors);
    let registry = Registry::default();
    let (what, which) = write.at.split_once(' ').unwrap();
    let parts: Vec<&str> = what.split('/').collect();
    let (namespace, name) = which.split_once('/').unwrap_or(("", which));
    let target = Target {
        group: parts[0].into(),
        version: parts[1].into(),
        resource: parts[2].into(),
        subresource: parts.get(3).copied().unwrap_or_default().into(),
        namespace: namespace.into(),
        name: name.into(),
    };
    let resource = registry.find(parts[0], parts[1], parts[2]).unwrap();
    let cluster = Cluster::of(&[
        ("namespaces//red", json!({"metadata": {"name": "red", "labels": {"color": "red"}}})),
        ("namespaces//bare", json!({"metadata": {"name": "bare"}})),
    ]);
    let object = |labeled: Option<&str>| -> Option<Box<dyn AnyObject>> {
        let metadata = labels(labeled?);
        Some(if parts[2] == "namespaces" {
            Box::new(Namespace { metadata, ..Namespace::default() })
        } else {
            Box::new(ConfigMap { metadata, ..ConfigMap::default() })
        })
    };
    let (new, old) = (object(write.new), object(write.old));
    let asking = Asking {
        user: &User::default(),
        operation: write.operation,
        target: &target,
        resource: &resource,
        name,
        dry_run: false,
        options: None,
        old: old.as_deref(),
        connection: None,
        decode: None,
        registry: &registry,
        view: &cluster,
        resolve: &At(None),
        convert: &At(None),
        namespace_labels: OnceLock::new(),
    };
    let resources = equivalents(&registry, &resource, &target.subresource);
    let found = criteria.matches(&asking, new.as_deref(), &resources);
    let is_named = criteria.is_named(write.operation, &resources, &target.subresource);
    match found {
        Ok(Some(of)) => {
            assert!(is_named, "what is asked about is named");
            format!("{}/{}/{}", of.group(), of.version(), of.plural())
        }
        Ok(None) => "no".into(),
        Err(err) => format!("{} {}", err.code(), err.message()),
    }
}

fn rule(operations: &[&str], group: &str, version: &str, resource: &str) -> Value {
    json!({"operations": operations, "apiGroups": [group], "apiVersions": [version], "resources": [resource]})
}

fn with(part: &str, value: Value) -> Value {
    let mut webhook = webhook("a.b.c");
    webhook[part] = value;
    webhook
}

const CREATE: Operation = Operation::Create;
const POD: &str = "/v1/pods n/p";

#[test]
fn rules_say_what_it_is_about() {
    let all: &[&str] = &["*"];
    let cases: &[(&str, Value, Write, &str)] = &[
        ("all", rule(all, "*", "*", "*/*"), write(CREATE, POD), "/v1/pods"),
        ("its own", rule(&["UPDATE", "CREATE"], "", "v1", "pods"), write(CREATE, POD), "/v1/pods"),
        ("another operation", rule(&["UPDATE"], "", "v1", "pods"), write(CREATE, POD), "no"),
        ("another group", rule(all, "apps", "v1", "pods"), write(CREATE, POD), "no"),
        ("another version", rule(all, "", "v2", "pods"), write(CREATE, POD), "no"),
        ("another resource", rule(all, "", "v1", "services"), write(CREATE, POD), "no"),
        ("no subresources", rule(all, "", "v1", "*"), write(Operation::Update, "/v1/pods/status n/p"), "no"),
        ("its subresources", rule(all, "", "v1", "pods/*"), write(Operation::Connect, "/v1/pods/exec n/p"), "/v1/pods"),
        ("itself with them", rule(all, "", "v1", "pods/*"), write(CREATE, POD), "/v1/pods"),
        (
            "a subresource of any",
            rule(all, "*", "*", "*/scale"),
            write(Operation::Update, "apps/v1/deployments/scale n/d"),
            "apps/v1/deployments",
        ),
        (
            "another subresource",
            rule(all, "", "v1", "pods/exec"),
            write(Operation::Connect, "/v1/pods/attach n/p"),
            "no",
        ),
        ("connections alone", rule(&["CONNECT"], "*", "*", "*/*"), write(CREATE, "/v1/pods/binding n/p"), "no"),
    ];
    for (why, rule, write, expected) in cases {
        assert_eq!(asked(with("rules", json!([rule])), write), *expected, "{why}");
    }
    assert_eq!(asked(with("rules", json!([])), &write(CREATE, POD)), "no", "no rules");
}

#[test]
fn rules_say_in_which_scope() {
    let scoped = |scope: &str, at| {
        let mut rule = rule(&["*"], "*", "*", "*");
        rule["scope"] = json!(scope);
        asked(with("rules", json!([rule])), &write(CREATE, at)) != "no"
    };
    for (at, expected) in [
        (POD, [true, true, false]),
        ("/v1/nodes n1", [true, false, true]),
        // A namespace is in none, though its path has its name there.
        ("/v1/namespaces red", [true, false, true]),
    ] {
        assert_eq!(["*", "Namespaced", "Cluster"].map(|scope| scoped(scope, at)), expected, "{at}");
    }
}

#[test]
fn a_rule_for_one_version_is_one_for_all_unless_it_is_to_be_exact() {
    let of = |policy: &str, rules: Value, at| {
        let mut webhook = with("rules", rules);
        webhook["matchPolicy"] = json!(policy);
        asked(webhook, &write(CREATE, at))
    };
    let (v1, v2) = ("autoscaling/v1/horizontalpodautoscalers", "autoscaling/v2/horizontalpodautoscalers");
    let only = |version| json!([rule(&["*"], "autoscaling", version, "horizontalpodautoscalers")]);
    let at = "autoscaling/v2/horizontalpodautoscalers n/a";
    assert_eq!(of("Equivalent", only("v1"), at), v1);
    assert_eq!(of("Equivalent", only("*"), at), v2, "as it was asked for, where that is named");
    assert_eq!(of("Exact", only("v1"), at), "no");
    assert_eq!(of("Exact", only("v2"), at), v2);
    let events = json!([rule(&["*"], "events.k8s.io", "v1", "events")]);
    assert_eq!(of("Equivalent", events, "/v1/events n/a"), "events.k8s.io/v1/events", "of another group");
    let no_scale = json!([rule(&["*"], "autoscaling", "v1", "horizontalpodautoscalers/status")]);
    let status = "autoscaling/v2/horizontalpodautoscalers/status n/a";
    assert_eq!(of("Equivalent", no_scale, status), v1, "with what is below it");
}

#[test]
fn the_labels_of_its_namespace_and_its_own_select() {
    let color = json!({"matchLabels": {"color": "red"}});
    let not = json!({"matchExpressions": [{"key": "color", "operator": "DoesNotExist"}]});
    let map = |at, new, old| Write { operation: Operation::Update, at, new, old };
    let cases: &[(&str, Value, Write, &str)] = &[
        (
            "of its namespace",
            with("namespaceSelector", color.clone()),
            map("/v1/configmaps red/a", Some(""), None),
            "/v1/configmaps",
        ),
        (
            "not of its namespace",
            with("namespaceSelector", color.clone()),
            map("/v1/configmaps bare/a", Some(""), None),
            "no",
        ),
        (
            "lacking there",
            with("namespaceSelector", not.clone()),
            map("/v1/configmaps bare/a", Some(""), None),
            "/v1/configmaps",
        ),
        (
            "of no namespace that there is",
            with("namespaceSelector", color.clone()),
            map("/v1/configmaps none/a", Some(""), None),
            r#"404 namespaces "none" not found"#,
        ),
        ("in no namespace", with("namespaceSelector", color.clone()), map("/v1/nodes n1", Some(""), None), "/v1/nodes"),
        (
            "a namespace as it is to be",
            with("namespaceSelector", color.clone()),
            map("/v1/namespaces bare", Some("color=red"), None),
            "/v1/namespaces",
        ),
        (
            "a namespace that goes",
            with("namespaceSelector", color.clone()),
            Write { operation: Operation::Delete, ..map("/v1/namespaces red", None, Some("")) },
            "/v1/namespaces",
        ),
        (
            "its own, as it is to be",
            with("objectSelector", color.clone()),
            map("/v1/configmaps red/a", Some("color=red"), Some("")),
            "/v1/configmaps",
        ),
        (
            "its own, as it was",
            with("objectSelector", color.clone()),
            map("/v1/configmaps red/a", Some(""), Some("color=red")),
            "/v1/configmaps",
        ),
        ("neither", with("objectSelector", color.clone()), map("/v1/configmaps red/a", Some(""), Some("")), "no"),
        (
            "lacking in one",
            with("objectSelector", not.clone()),
            map("/v1/configmaps red/a", Some("color=red"), Some("")),
            "/v1/configmaps",
        ),
        ("nothing with labels", with("objectSelector", not), write(Operation::Connect, "/v1/pods/exec red/p"), "no"),
    ];
    for (why, webhook, write, expected) in cases {
        assert_eq!(asked(webhook.clone(), write), *expected, "{why}");
    }
}
