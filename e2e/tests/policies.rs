//! Admission policies: rules in CEL that kubectl's users feel where they are bound, and nowhere else.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

use corten_e2e::{Cluster, Kubectl, Namespace, SOON, eventually};
use serde_json::{Value, json};

/// Deleted with the story, also with one that fails: others write in this cluster, too.
struct Policy<'a> {
    kubectl: &'a Kubectl,
    kind: &'static str,
    name: String,
}

impl Drop for Policy<'_> {
    fn drop(&mut self) {
        let Self { kubectl, kind, name } = self;
        kubectl.attempt(&format!("delete {kind}binding {name}"));
        kubectl.attempt(&format!("delete {kind} {name}"));
    }
}

impl<'a> Policy<'a> {
    /// About ConfigMaps that are made or changed in this namespace.
    fn bound(kubectl: &'a Kubectl, ns: &Namespace, kind: &'static str, policy: &Value, binding: &Value) -> Self {
        let rule = json!({"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"],
            "resources": ["configmaps"]});
        let made = Self { kubectl, kind, name: ns.name.clone() };
        let object = |kind: &str, mut spec: Value, more: &Value| {
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": ns.name},
                "spec": spec})
        };
        kubectl.apply(&object(kind, json!({"matchConstraints": {"resourceRules": [rule]}}), policy).to_string());
        let here = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns.name}}});
        let spec = json!({"policyName": ns.name, "matchResources": here});
        kubectl.apply(&object(&format!("{kind}Binding"), spec, binding).to_string());
        made
    }
}

#[test]
fn a_policy_refuses_with_its_own_words_what_its_parameters_do_not_allow_and_warns_where_it_is_told_to() {
    let cluster = Cluster::running();
    let (kubectl, ns, other) = (cluster.kubectl(), cluster.namespace("ruled"), cluster.namespace("free"));
    ns.ok("create configmap limits --from-literal=max=1");
    let policy = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "others", "expression": "request.name != 'limits'"}],
        "variables": [{"name": "size", "expression": "has(object.data) ? size(object.data) : 0"}],
        "validations": [{"expression": "variables.size <= int(params.data.max)",
            "messageExpression": "'at most ' + params.data.max + ', and these are ' + string(variables.size)"}],
    });
    let params = json!({"paramRef": {"name": "limits", "parameterNotFoundAction": "Deny"}});
    let with = |actions: Value| {
        let mut binding = params.clone();
        binding["validationActions"] = actions;
        binding
    };
    let two = "create configmap two --from-literal=a=1 --from-literal=b=2";
    let deny = Policy::bound(&kubectl, &ns, "ValidatingAdmissionPolicy", &policy, &with(json!(["Deny"])));
    let words = format!(
        "ValidatingAdmissionPolicy '{0}' with binding '{0}' denied request: at most 1, and these are 2",
        ns.name
    );
    eventually("every server knows it", SOON, || {
        let told = ns.attempt(&format!("{two} --dry-run=server")).stderr;
        if told.contains(&words) { Ok(()) } else { Err(told) }
    });
    ns.ok("create configmap one --from-literal=a=1");
    for (_, kubectl) in ns.every_version() {
        let refused = kubectl.refused(r#"patch configmap one -p {"data":{"b":"2"}}"#);
        assert!(refused.contains(&words), "{refused}");
    }
    other.ok(two);
    eventually("its types are checked", SOON, || {
        let checked = kubectl.json(&format!("{} {}", deny.kind, deny.name)).unwrap();
        let status = &checked["status"];
        if status["typeChecking"] == json!({}) { Ok(()) } else { Err(status.to_string()) }
    });
    let listed = kubectl.ok(&format!("get {} {}", deny.kind, deny.name));
    assert!(listed.contains("VALIDATIONS") && listed.contains("v1/ConfigMap"), "{listed}");

    // What the parameters say counts from the moment they say it.
    ns.ok(r#"patch configmap limits -p {"data":{"max":"2"}}"#);
    eventually("every server has heard of it", SOON, || {
        let told = ns.attempt(two).stderr;
        if told.is_empty() || told.contains("already exists") { Ok(()) } else { Err(told) }
    });
    drop(deny);
    ns.ok(r#"patch configmap limits -p {"data":{"max":"1"}}"#);
    let _warn = Policy::bound(&kubectl, &ns, "ValidatingAdmissionPolicy", &policy, &with(json!(["Warn"])));
    eventually("it warns", SOON, || {
        let told = ns.attempt("label configmap two seen=yes --overwrite").stderr;
        let words = "Warning: Validation failed for ValidatingAdmissionPolicy";
        if told.contains(words) && told.contains("at most 1") { Ok(()) } else { Err(told) }
    });
}

#[test]
fn a_policy_changes_what_is_written_where_it_is_bound() {
    let cluster = Cluster::running();
    let (kubectl, ns, other) = (cluster.kubectl(), cluster.namespace("filled"), cluster.namespace("free"));
    let apply = "Object{metadata: Object.metadata{labels: {'team': namespaceObject.metadata.name}}}";
    let patch = "has(object.data) ? [JSONPatch{op: 'add', path: '/metadata/labels/' + \
        jsonpatch.escapeKey('example.com/full'), value: 'yes'}] : []";
    let policy = json!({"failurePolicy": "Fail", "reinvocationPolicy": "Never", "mutations": [
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": apply}},
        {"patchType": "JSONPatch", "jsonPatch": {"expression": patch}},
    ]});
    let _policy = Policy::bound(&kubectl, &ns, "MutatingAdmissionPolicy", &policy, &json!({}));
    eventually("every server knows it", SOON, || {
        let team = ns.ok("create configmap probe --dry-run=server -o jsonpath={.metadata.labels.team}");
        if team == ns.name { Ok(()) } else { Err(team) }
    });
    ns.ok("create configmap full --from-literal=x=y");
    let made = ns.json("configmap full").unwrap();
    assert_eq!(made["metadata"]["labels"], json!({"team": ns.name, "example.com/full": "yes"}));
    other.ok("create configmap full --from-literal=x=y");
    assert!(other.json("configmap full").unwrap()["metadata"]["labels"].is_null());
}
