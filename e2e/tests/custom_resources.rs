//! Kinds that users define: kubectl and kube-rs use them as any others, and they go with their definition.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

use std::time::Duration;

use corten_e2e::{Cluster, SOON, eventually};
use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config};
use rand::RngExt;
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(30);

/// A definition of `tabs` in a group of its own.
fn definition(group: &str) -> String {
    format!(
        r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: tabs.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{plural: tabs, kind: Tab}}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {{status: {{}}}}
    additionalPrinterColumns:
    - {{name: Colour, type: string, jsonPath: .spec.colour}}
    - {{name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}}
    schema: &schema
      openAPIV3Schema:
        type: object
        description: A tab of a book.
        properties:
          spec:
            type: object
            description: How the tab is wanted.
            required: [colour]
            properties:
              colour: {{type: string, enum: [red, blue], description: What it looks like.}}
              size: {{type: integer, default: 3, minimum: 1}}
          status: {{type: object, x-kubernetes-preserve-unknown-fields: true}}
  - name: v1beta1
    served: true
    storage: false
    schema: *schema
"#
    )
}

fn tab(group: &str, version: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: {group}/{version}\nkind: Tab\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

/// No other story has it.
fn own_group() -> String {
    format!("g{:05x}.example.com", rand::rng().random_range(0..0x10_0000))
}

#[test]
fn a_defined_kind_is_used_as_any_other_and_goes_with_its_definition() {
    let cluster = Cluster::running();
    let (ns, group) = (cluster.namespace("tabs"), own_group());
    let (crd, tabs) = (format!("crd tabs.{group}"), format!("tabs.{group}"));
    assert!(ns.apply(&definition(&group)).contains("created"));
    ns.ok(&format!("wait --for=condition=Established {crd} --timeout=30s"));
    assert!(ns.apply(&tab(&group, "v1", "one", "{colour: red}")).contains("created"));
    assert!(ns.apply(&tab(&group, "v1", "one", "{colour: red}")).contains("unchanged"));
    assert_eq!(ns.field(&format!("{tabs} one"), "/spec/size"), "3", "the default");
    assert_eq!(ns.field(&format!("tabs.v1beta1.{group} one"), "/apiVersion"), format!("{group}/v1beta1"));

    let refused = ns.apply_refused(&tab(&group, "v1", "two", "{colour: green}"));
    assert!(refused.contains(r#"spec.colour: Unsupported value: "green""#), "{refused}");
    let refused = ns.apply_refused(&tab(&group, "v1", "two", "{colour: red, shade: dark}"));
    assert!(refused.contains(r#"unknown field "spec.shade""#), "{refused}");
    let listed = ns.ok(&format!("get {tabs}"));
    assert!(listed.contains("COLOUR") && listed.contains("READY") && listed.contains("red"), "{listed}");
    let told = ns.shows(&format!("explain tabs.spec --api-version={group}/v1"), "How the tab is wanted.");
    assert!(told.contains("colour") && told.contains("What it looks like."), "{told}");

    let applied =
        ns.run_with_input(&["apply", "--server-side", "-f", "-"], &tab(&group, "v1beta1", "three", "{colour: blue}"));
    assert!(applied.text().contains("serverside-applied"));
    let conflict = ["apply", "--server-side", "--field-manager=other", "-f", "-"];
    let conflict = ns.run_with_input(&conflict, &tab(&group, "v1beta1", "three", "{colour: red}")).refusal();
    assert!(conflict.contains(".spec.colour"), "{conflict}");

    ns.ok(&format!(r#"patch {tabs} one --type=merge -p {{"metadata":{{"finalizers":["example.com/hold"]}}}}"#));
    ns.ok(&format!("delete {crd} --wait=false"));
    eventually("the other tab to go", SOON, || match ns.list(&tabs).len() {
        1 => Ok(()),
        left => Err(format!("{left} are left")),
    });
    let late = ns.apply_refused(&tab(&group, "v1", "late", "{colour: red}"));
    assert!(late.contains("not allowed while custom resource definition is terminating"), "{late}");
    ns.ok(&format!(r#"patch {tabs} one --type=merge -p {{"metadata":{{"finalizers":null}}}}"#));
    ns.ok(&format!("wait --for=delete {crd} --timeout=30s"));
    eventually("the kind to be served no more", SOON, || {
        let seen = ns.attempt(&format!("get --raw /apis/{group}/v1"));
        if seen.ok { Err(seen.stdout) } else { Ok(()) }
    });
}

#[test]
fn a_migration_writes_all_objects_in_the_storage_version_of_today_and_the_definition_says_so() {
    let cluster = Cluster::running();
    let (ns, group) = (cluster.namespace("tabs-stored"), own_group());
    let (crd, tabs) = (format!("crd tabs.{group}"), format!("tabs.{group}"));
    ns.apply(&definition(&group));
    ns.ok(&format!("wait --for=condition=Established {crd} --timeout=30s"));
    ns.apply(&tab(&group, "v1", "one", "{colour: red}"));
    let before = ns.field(&format!("{tabs} one"), "/metadata/resourceVersion");

    let turned = definition(&group).replace("storage: true", "storage: was").replace("storage: false", "storage: true");
    ns.apply(&turned.replace("storage: was", "storage: false"));
    assert_eq!(ns.field(&crd, "/status/storedVersions"), r#"["v1","v1beta1"]"#);
    let resource = json!({"group": group, "resource": "tabs"});
    let migration = json!({"apiVersion": "storagemigration.k8s.io/v1", "kind": "StorageVersionMigration",
        "metadata": {"name": ns.name}, "spec": {"resource": resource}});
    ns.apply(&migration.to_string());
    ns.ok(&format!("wait --for=condition=Succeeded storageversionmigration {} --timeout=60s", ns.name));
    assert_eq!(ns.field(&crd, "/status/storedVersions"), r#"["v1beta1"]"#);
    assert_ne!(ns.field(&format!("{tabs} one"), "/metadata/resourceVersion"), before, "it was written");
    assert_eq!(ns.field(&format!("{tabs} one"), "/spec/colour"), "red");
    ns.ok(&format!("delete storageversionmigration {}", ns.name));
    ns.ok(&format!("delete {crd}"));
}

#[tokio::test]
async fn a_program_watches_a_defined_kind() {
    let cluster = Cluster::running();
    let (ns, group) = (cluster.namespace("tabs-watch"), own_group());
    ns.apply(&definition(&group));
    ns.ok(&format!("wait --for=condition=Established crd tabs.{group} --timeout=30s"));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(&group, "v1", "Tab"), "tabs");
    let api: Api<DynamicObject> = Api::namespaced_with(Client::try_from(config).unwrap(), &ns.name, &kind);
    let mut seen = watcher(api.clone(), watcher::Config::default()).applied_objects().boxed();
    let object = json!({"apiVersion": format!("{group}/v1"), "kind": "Tab", "metadata": {"name": "a"}, "spec": {"colour": "red"}});
    api.patch("a", &PatchParams::apply("story"), &Patch::Apply(&object)).await.unwrap();
    let next = tokio::time::timeout(DEADLINE, seen.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((next.metadata.name.as_deref(), &next.data["spec"]["size"]), (Some("a"), &json!(3)));
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    api.patch_status("a", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    let next = tokio::time::timeout(DEADLINE, seen.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(next.data["status"], status["status"]);
    ns.shows(&format!("get tabs.{group}"), "True");
    ns.ok(&format!("delete crd tabs.{group}"));
}
