//! What people keep in files reaches the cluster as kubectl's users know: diff, apply by client and server, prune, kustomize, replace.

use std::fs;

use corten_e2e::manifest::deployment;
use corten_e2e::{Cluster, Namespace, Output};
use serde_json::{Value, json};

fn settings(data: &Value) -> String {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "settings", "labels": {"app": "shop"}},
        "data": data,
    })
    .to_string()
}

fn apply_as(ns: &Namespace, manager: &str, data: &Value, more: &[&str]) -> Output {
    let manager = format!("--field-manager={manager}");
    let mut args = vec!["apply", "--server-side", manager.as_str(), "-f", "-"];
    args.extend(more);
    ns.run_with_input(&args, &settings(data))
}

/// Who owns what of an object, as managedFields have it.
fn managers(ns: &Namespace) -> Vec<(String, String)> {
    let object = ns.json("configmap settings --show-managed-fields").unwrap_or_default();
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    entries.iter().map(|entry| (text(&entry["manager"]), text(&entry["operation"]))).collect()
}

#[test]
fn every_kubectl_diffs_what_it_would_apply_and_writes_nothing() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("diff");
    ns.apply(&settings(&json!({"colour": "blue"})));
    for (version, kubectl) in ns.every_version() {
        let kubectl = kubectl.in_namespace(&ns.name);
        let diff = |colour: &str| kubectl.run_with_input(&["diff", "-f", "-"], &settings(&json!({"colour": colour})));
        let same = diff("blue");
        assert_eq!((same.code, same.stdout.as_str()), (Some(0), ""), "{version}: {}", same.stderr);
        let other = diff("red");
        assert_eq!(other.code, Some(1), "{version}: {other:?}");
        for line in ["-  colour: blue", "+  colour: red"] {
            assert!(other.stdout.contains(line), "{version} without {line:?}: {}", other.stdout);
        }
    }
    assert_eq!(ns.field("configmap settings", "/data/colour"), "blue");
}

#[test]
fn two_managers_who_apply_share_what_they_agree_on_and_are_told_what_they_do_not() {
    let ns = Cluster::running().namespace("ssa");
    apply_as(&ns, "first", &json!({"colour": "blue", "size": "1"}), &[]).text();
    apply_as(&ns, "second", &json!({"size": "1", "shape": "round"}), &[]).text();
    let refused = apply_as(&ns, "second", &json!({"colour": "red", "size": "1", "shape": "round"}), &[]).refusal();
    assert!(refused.contains("conflict with \"first\": .data.colour"), "{refused}");
    assert_eq!(ns.field("configmap settings", "/data/colour"), "blue", "a refused apply changes nothing");

    apply_as(&ns, "second", &json!({"colour": "red", "shape": "round"}), &["--force-conflicts"]).text();
    assert_eq!(ns.field("configmap settings", "/data"), r#"{"colour":"red","shape":"round","size":"1"}"#);
    // Who stops applying a field removes it, unless another one applies it too.
    apply_as(&ns, "first", &json!({}), &[]).text();
    assert_eq!(ns.field("configmap settings", "/data"), r#"{"colour":"red","shape":"round"}"#);
    let owners = managers(&ns);
    assert!(owners.contains(&("second".into(), "Apply".into())), "{owners:?}");
}

#[test]
fn every_kubectl_goes_from_client_side_apply_to_server_side_and_loses_no_removal() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("upgrade");
    for (version, kubectl) in ns.every_version() {
        let kubectl = kubectl.in_namespace(&ns.name);
        kubectl.apply(&settings(&json!({"colour": "blue", "size": "1"})));
        // Owned by client-side apply until now: that it is missing here removes it.
        let server_side = ["apply", "--server-side", "-f", "-"];
        kubectl.run_with_input(&server_side, &settings(&json!({"colour": "green"}))).text();
        assert_eq!(kubectl.field("configmap settings", "/data"), r#"{"colour":"green"}"#, "{version}");
        // And back again.
        kubectl.apply(&settings(&json!({"colour": "blue"})));
        assert_eq!(kubectl.field("configmap settings", "/data"), r#"{"colour":"blue"}"#, "{version}");
        kubectl.ok("delete configmap settings");
    }
}

#[test]
fn an_apply_that_prunes_removes_what_left_the_files_and_nothing_else() {
    let ns = Cluster::running().namespace("prune");
    let named = |name: &str| {
        let mut object: Value = serde_json::from_str(&settings(&json!({}))).expect("JSON");
        object["metadata"]["name"] = name.into();
        object
    };
    let list = |names: &[&str]| {
        let items: Vec<Value> = names.iter().map(|name| named(name)).collect();
        json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
    };
    ns.apply(&list(&["one", "two"]));
    // Of the same label, but never applied.
    ns.ok("create configmap by-hand");
    ns.ok("label configmap by-hand app=shop");
    let prune = ["apply", "--prune", "-l", "app=shop", "--prune-allowlist=core/v1/ConfigMap", "-f", "-"];
    let said = ns.run_with_input(&prune, &list(&["one"])).text();
    assert!(said.contains("configmap/two pruned"), "{said}");
    assert_eq!(ns.ok("get configmaps -l app=shop -o name"), "configmap/by-hand\nconfigmap/one\n");
}

#[test]
fn a_kustomization_is_applied_whole_and_deleted_whole() {
    let ns = Cluster::running().namespace("kustomize");
    let dir = std::env::temp_dir().join(&ns.name);
    fs::create_dir_all(&dir).expect("a directory");
    let kustomization = "namePrefix: blue-\nresources: [web.yaml]\nconfigMapGenerator: [{name: settings, literals: [colour=blue]}]\nimages: [{name: busybox, newTag: latest}]\n";
    fs::write(dir.join("kustomization.yaml"), kustomization).expect("written");
    let mut web = deployment("web", 0);
    web["spec"]["template"]["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "settings"}}]);
    fs::write(dir.join("web.yaml"), web.to_string()).expect("written");
    let dir_name = dir.to_str().expect("UTF-8");

    let said = ns.run(&["apply", "-k", dir_name]).text();
    assert!(said.contains("deployment.apps/blue-web created"), "{said}");
    let from = ns.field("deployment blue-web", "/spec/template/spec/containers/0/envFrom/0/configMapRef/name");
    assert!(from.starts_with("blue-settings-") && ns.json(&format!("configmap {from}")).is_some(), "{from}");
    let again = ns.run(&["apply", "-k", dir_name]).text();
    assert!(again.lines().all(|line| line.ends_with("unchanged")), "{again}");
    ns.run(&["delete", "-k", dir_name]).text();
    assert!(ns.list("deployments").is_empty() && ns.json(&format!("configmap {from}")).is_none());
    fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn a_replace_keeps_to_its_version_and_a_forced_one_makes_a_new_object() {
    let ns = Cluster::running().namespace("replace");
    ns.run_with_input(&["create", "-f", "-"], &settings(&json!({"colour": "blue"}))).text();
    let stale = ns.ok("get configmap settings -o json");
    let uid = ns.field("configmap settings", "/metadata/uid");
    ns.run_with_input(&["replace", "-f", "-"], &settings(&json!({"colour": "red"}))).text();
    let refused = ns.run_with_input(&["replace", "-f", "-"], &stale).refusal();
    assert!(refused.contains("the object has been modified"), "{refused}");
    assert_eq!(ns.field("configmap settings", "/data/colour"), "red");
    assert_eq!(ns.field("configmap settings", "/metadata/uid"), uid);

    ns.run_with_input(&["replace", "--force", "-f", "-"], &settings(&json!({"colour": "green"}))).text();
    assert_eq!(ns.field("configmap settings", "/data/colour"), "green");
    assert_ne!(ns.field("configmap settings", "/metadata/uid"), uid);
}
