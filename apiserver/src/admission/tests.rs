//! Admission as a table: who writes what, into which cluster, and what becomes of it.

mod priority;
mod runtime_class;

use futures::FutureExt;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::*;
use crate::registry::Registry;
use crate::view::testing::Cluster;

/// The usual cluster, and what there is besides.
fn cluster(extra: &[(&str, Value)]) -> Cluster {
    let usual = [
        ("namespaces//default", json!({"metadata": {"name": "default"}, "status": {"phase": "Active"}})),
        (
            "namespaces//kube-node-lease",
            json!({"metadata": {"name": "kube-node-lease"}, "status": {"phase": "Active"}}),
        ),
        ("namespaces//going", json!({"metadata": {"name": "going"}, "status": {"phase": "Terminating"}})),
        ("namespaces//bare", json!({"metadata": {"name": "bare"}, "status": {"phase": "Active"}})),
        ("namespaces//bound", json!({"metadata": {"name": "bound"}, "status": {"phase": "Active"}})),
        ("serviceaccounts/bound/default", json!({"metadata": {"name": "default"}})),
        (
            "limitranges/bound/a",
            json!({"metadata": {"name": "a"}, "spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}}),
        ),
        (
            "limitranges/bound/b",
            json!({"metadata": {"name": "b"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}},
                {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}]}}),
        ),
        ("storageclasses//fixed", json!({"metadata": {"name": "fixed"}, "provisioner": "x"})),
        (
            "storageclasses//first",
            json!({"metadata": {"name": "first", "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "x"}),
        ),
        (
            "storageclasses//newest",
            json!({"metadata": {"name": "newest", "creationTimestamp": "2026-01-02T00:00:00Z",
                "annotations": {"storageclass.beta.kubernetes.io/is-default-class": "true"}},
                "provisioner": "x", "allowVolumeExpansion": true}),
        ),
        ("nodes//n1", json!({"metadata": {"name": "n1", "uid": "u1"}})),
        ("pods/default/mine", pod_with_token("n1")),
        ("pods/default/theirs", pod_with_token("n2")),
        (
            "serviceaccounts/default/default",
            json!({"metadata": {"name": "default"}, "imagePullSecrets": [{"name": "pull"}]}),
        ),
        ("ingressclasses//a", ingress_class("a", "2026-01-01T00:00:00Z", "true")),
        ("ingressclasses//b", ingress_class("b", "2026-01-02T00:00:00Z", "true")),
        ("ingressclasses//c", ingress_class("c", "2026-01-02T00:00:00Z", "true")),
        ("ingressclasses//d", ingress_class("d", "2026-01-03T00:00:00Z", "false")),
    ];
    let granted = Cluster::granting(&["request-serviceaccounts-token-audience allowed default/default"]);
    granted.with(&usual).with(extra)
}

fn ingress_class(name: &str, created: &str, is_default: &str) -> Value {
    let annotations = json!({"ingressclass.kubernetes.io/is-default-class": is_default});
    json!({"metadata": {"name": name, "creationTimestamp": created, "annotations": annotations}})
}

/// With tokens for the API and for a vault in its volumes.
fn pod_with_token(node: &str) -> Value {
    let token = |audience: Value| json!({"serviceAccountToken": {"path": "t", "audience": audience}});
    let volumes = json!([{"name": "v", "projected": {"sources": [token(Value::Null), token(json!("vault"))]}}]);
    json!({"metadata": {"name": "p", "uid": "u2"}, "spec": {"nodeName": node, "containers": [], "volumes": volumes}})
}

struct Case<'a> {
    user: &'a str,
    verb: Verb,
    /// `plural[/subresource] [namespace/]name`
    target: &'a str,
    object: Value,
    old: Value,
    /// What is in the cluster beside the usual.
    cluster: &'a [(&'a str, Value)],
}
const NO_CASE: Case<'_> =
    Case { user: "admin", verb: Verb::Create, target: "", object: Value::Null, old: Value::Null, cluster: &[] };

/// What is stored in the end, or the refusal.
fn admitted(case: Case<'_>) -> Result<Value, Refusal> {
    let groups = if case.user.starts_with("system:node:") { vec!["system:nodes".into()] } else { vec![] };
    let user = User { name: case.user.into(), groups, ..User::default() };
    let (what, which) = case.target.split_once(' ').unwrap();
    let (resource, subresource) = what.split_once('/').unwrap_or((what, ""));
    let (namespace, name) = which.split_once('/').unwrap_or(("", which));
    let target = Target {
        version: "v1".into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        ..Target::default()
    };
    let registry = Registry::default();
    let group = match resource {
        "leases" => "coordination.k8s.io",
        "csinodes" => "storage.k8s.io",
        "resourceslices" => "resource.k8s.io",
        "priorityclasses" => "scheduling.k8s.io",
        "ingresses" => "networking.k8s.io",
        _ => "",
    };
    let target = Target { group: group.into(), ..target };
    let resource = registry.find(group, "v1", resource).unwrap();
    let object = |value: &Value| {
        let mut object = resource.decode(value.to_string().as_bytes()).unwrap();
        resource.rules().fill_defaults(object.as_mut());
        object
    };
    let mut new = (!case.object.is_null()).then(|| object(&case.object));
    let old = (!case.old.is_null()).then(|| object(&case.old));
    let view = cluster(case.cluster);
    let mut request = AdmissionRequest {
        user: &user,
        verb: case.verb,
        target: &target,
        resource: &resource,
        object: new.as_deref_mut(),
        old: old.as_deref(),
        view: &view,
        warnings: Vec::new(),
    };
    ask_all(&mut request)?;
    Ok(new.map_or(Value::Null, |object| serde_json::from_slice(&object.to_json().unwrap()).unwrap()))
}
/// The server's own plugins wait for nobody.
fn ask_all(request: &mut AdmissionRequest<'_>) -> Result<Vec<String>, Refusal> {
    let chain = Chain::default();
    let all = async {
        chain.fill(request).await?;
        chain.judge(request).await?;
        Ok(std::mem::take(&mut request.warnings))
    };
    all.now_or_never().expect("they answer at once")
}
fn message(case: Case<'_>) -> String {
    admitted(case).unwrap_err().into_error().message().to_owned()
}
fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "p"}, "spec": spec})
}

#[test]
fn a_pod_gets_account_priority_and_tolerations() {
    let object = pod(
        json!({"containers": [], "tolerations": [{"key": "node.kubernetes.io/unreachable", "operator": "Exists"}]}),
    );
    let stored = admitted(Case { target: "pods default/", object, ..NO_CASE }).unwrap();
    let spec = &stored["spec"];
    assert_eq!((&spec["serviceAccountName"], &spec["serviceAccount"]), (&json!("default"), &json!("default")));
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "pull"}]));
    assert_eq!((&spec["priority"], &spec["preemptionPolicy"]), (&json!(0), &json!("PreemptLowerPriority")));
    let added = json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
    assert_eq!((&spec["tolerations"][1], spec["tolerations"].as_array().unwrap().len()), (&added, 2));
}

#[test]
fn a_kubelet_gets_tokens_for_its_pods_and_what_is_in_their_volumes() {
    let view = cluster(&[]);
    let registry = Registry::default();
    let resource = &registry.find("", "v1", "serviceaccounts").unwrap();
    let target = Target {
        version: "v1".into(),
        resource: "serviceaccounts".into(),
        subresource: "token".into(),
        namespace: "default".into(),
        name: "default".into(),
        ..Target::default()
    };
    let ask = |user: &str, reference: Value, audiences: Value| {
        let user = User { name: user.into(), groups: vec!["system:nodes".into()], ..User::default() };
        let asked = json!({"spec": {"boundObjectRef": reference, "audiences": audiences}});
        let mut asked: TokenRequest = serde_json::from_value(asked).unwrap();
        let (verb, object) = (Verb::Create, Some(&mut asked as &mut dyn AnyObject));
        let (target, warnings) = (&target, Vec::new());
        let mut request =
            AdmissionRequest { user: &user, verb, target, resource, object, old: None, view: &view, warnings };
        let refused = ask_all(&mut request).err().map(|refusal| refusal.into_error().message().to_owned());
        let refused = refused.unwrap_or_default();
        refused.trim_start_matches(r#"serviceaccounts "default" is forbidden: "#).to_owned()
    };
    let bound = |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
    let kubelet = "system:node:n1";
    for (why, reference, audiences, expected) in [
        ("its pod, for the API", bound("mine", "u2"), json!([]), ""),
        ("its pod, for the vault", bound("mine", "u2"), json!(["vault"]), ""),
        ("what its roles allow", bound("mine", "u2"), json!(["allowed"]), ""),
        ("unbound", Value::Null, json!([]), "node requested token not bound to a pod"),
        (
            "a node",
            json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1"}),
            json!([]),
            "node requested token not bound to a pod",
        ),
        ("any pod of that name", bound("mine", ""), json!([]), "node requested token with a pod binding without a uid"),
        ("no pod", bound("none", "u2"), json!([]), r#"pods "none" not found"#),
        (
            "another pod",
            bound("mine", "u9"),
            json!([]),
            "the UID in the bound object reference (u9) does not match the UID in record. The object might have been deleted and then recreated",
        ),
        (
            "another node's pod",
            bound("theirs", "u2"),
            json!([]),
            "node requested token bound to a pod scheduled on a different node",
        ),
        ("two audiences", bound("mine", "u2"), json!(["vault", "allowed"]), "node may only request 0 or 1 audiences"),
        (
            "an audience of no volume",
            bound("mine", "u2"),
            json!(["bank"]),
            r#"audience "bank" not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience"#,
        ),
    ] {
        assert_eq!(ask(kubelet, reference, audiences), expected, "{why}");
    }
    assert_eq!(ask("admin", Value::Null, json!(["bank"])), "", "others are not bound so");
}

#[test]
fn namespaces_begin_and_end() {
    let in_namespace = |target: &'static str| Case { target, object: pod(json!({"containers": []})), ..NO_CASE };
    assert_eq!(message(in_namespace("pods nowhere/")), r#"namespaces "nowhere" not found"#);
    assert_eq!(
        message(in_namespace("pods going/")),
        r#"pods "p" is forbidden: unable to create new content in namespace going because it is being terminated"#
    );
    let missing = admitted(in_namespace("pods bare/")).unwrap_err();
    assert!(matches!(&missing, Refusal::NotYet { patience, .. } if patience.as_secs() == 1));
    assert_eq!(
        missing.into_error().message(),
        r#"pods "p" is forbidden: error looking up service account bare/default: serviceaccount "default" not found"#
    );
    let delete = |target: &'static str| Case { verb: Verb::Delete, target, ..NO_CASE };
    assert_eq!(
        message(delete("namespaces kube-system")),
        r#"namespaces "kube-system" is forbidden: this namespace may not be deleted"#
    );
    assert!(admitted(delete("namespaces mine")).is_ok());
    assert!(admitted(delete("pods going/p")).is_ok());
}

#[test]
fn priorities_have_names() {
    let with = |spec: Value| Case { target: "pods default/", object: pod(spec), ..NO_CASE };
    let critical = admitted(with(json!({"containers": [], "priorityClassName": "system-node-critical"}))).unwrap();
    assert_eq!(critical["spec"]["priority"], 2_000_001_000);
    assert!(
        message(with(json!({"containers": [], "priorityClassName": "x"})))
            .ends_with("no PriorityClass with name x was found")
    );
    assert!(message(with(json!({"containers": [], "priority": 5}))).contains("(5) must not be provided"));
    let update = Case {
        verb: Verb::Update,
        target: "pods default/p",
        object: pod(json!({"containers": []})),
        old: pod(json!({"containers": [], "priority": 7})),
        ..NO_CASE
    };
    assert_eq!(admitted(update).unwrap()["spec"]["priority"], 7);
}

#[test]
fn an_ingress_of_no_class_gets_the_newest_default() {
    let of = |metadata: Value, spec: Value| json!({"metadata": metadata, "spec": spec});
    let plain = || of(json!({"name": "i"}), json!({}));
    let annotated = of(json!({"annotations": {"kubernetes.io/ingress.class": "x"}}), json!({}));
    let class = |verb, target, object: Value| {
        let old = if verb == Verb::Update { object.clone() } else { Value::Null };
        admitted(Case { verb, target, object, old, ..NO_CASE }).unwrap()["spec"]["ingressClassName"].clone()
    };
    for (why, verb, target, object, expected) in [
        ("the first by name of two of one time", Verb::Create, "ingresses default/", plain(), json!("b")),
        ("it has one", Verb::Create, "ingresses default/", of(json!({}), json!({"ingressClassName": "x"})), json!("x")),
        ("it names one in the older way", Verb::Create, "ingresses default/", annotated, Value::Null),
        ("it is there already", Verb::Update, "ingresses default/i", plain(), Value::Null),
        ("not it is written", Verb::Update, "ingresses/status default/i", plain(), Value::Null),
    ] {
        assert_eq!(class(verb, target, object), expected, "{why}");
    }
}

#[test]
fn a_new_node_takes_nothing_yet() {
    let node = admitted(Case { target: "nodes n1", object: json!({"metadata": {"name": "n1"}}), ..NO_CASE }).unwrap();
    let taint = json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]);
    assert_eq!(node["spec"]["taints"], taint);
    assert!(serde_json::from_value::<Node>(node).is_ok());
}

/// A mirror pod with these owners.
fn mirror(node: &str, owners: Value) -> Value {
    let annotations = json!({"kubernetes.io/config.mirror": "x"});
    let metadata = json!({"name": "p", "annotations": annotations, "ownerReferences": owners});
    json!({"metadata": metadata, "spec": {"containers": [], "nodeName": node}})
}
fn own_node() -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1", "controller": true})
}

#[test]
fn a_mirror_pod_belongs_to_its_node_and_to_no_replica_set() {
    const ITSELF: &str = "node \"n1\" can only create pods with an owner reference set to itself";
    const CONTROLLER: &str = "node \"n1\" can only create pods with a controller owner reference set to itself";
    const SINGLE: &str = "node \"n1\" can only create pods with a single owner reference set to itself";
    let with = |field: &str, value: Value| {
        let mut owner = own_node();
        owner[field] = value;
        json!([owner])
    };
    let cases = [
        ("its own", json!([own_node()]), ""),
        ("its own, said in full", with("blockOwnerDeletion", json!(false)), ""),
        ("an orphan", json!([]), ITSELF),
        ("two", json!([own_node(), {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u2"}]), SINGLE),
        ("another version", with("apiVersion", json!("v2")), ITSELF),
        ("another kind", with("kind", json!("ReplicaSet")), ITSELF),
        ("another node", with("name", json!("n2")), ITSELF),
        ("no controller", with("controller", Value::Null), CONTROLLER),
        ("said to be none", with("controller", json!(false)), CONTROLLER),
        (
            "it blocks the deletion",
            with("blockOwnerDeletion", json!(true)),
            "node \"n1\" must not set blockOwnerDeletion on an owner reference",
        ),
        ("an earlier node of the name", with("uid", json!("u0")), "node n1 UID mismatch: expected u0 got u1"),
    ];
    for (why, owners, expected) in cases {
        let object = mirror("n1", owners);
        let case = Case { user: "system:node:n1", target: "pods default/", object, ..NO_CASE };
        let refused = admitted(case).err().map(|refusal| refusal.into_error().message().to_owned());
        let text = refused.unwrap_or_default();
        assert!(text.ends_with(expected) && text.is_empty() == expected.is_empty(), "{why}: {text}");
    }
    let mut owner = own_node();
    owner["name"] = json!("n9");
    let object = mirror("n9", json!([owner]));
    let gone = message(Case { user: "system:node:n9", target: "pods default/", object, ..NO_CASE });
    assert!(gone.ends_with("error looking up node n9 to verify uid: nodes \"n9\" not found"), "{gone}");
}

#[test]
fn a_kubelet_writes_what_is_its_own() {
    const N1: &str = "system:node:n1";
    let mirror = |node: &str| mirror(node, json!([own_node()]));
    let on = |node: &str| pod(json!({"containers": [], "nodeName": node}));
    let node = |labels: Value| json!({"metadata": {"name": "n1", "labels": labels}});
    let case = |verb, target, object, old| Case { user: N1, verb, target, object, old, ..NO_CASE };
    let slice = |node: Value| {
        let pool = json!({"name": "p", "generation": 1, "resourceSliceCount": 1});
        json!({"metadata": {"name": "s"}, "spec": {"driver": "d.io", "nodeName": node, "pool": pool}})
    };
    let claim = |size: &str, phase: &str, label: &str| {
        let status = json!({"phase": phase, "capacity": {"storage": size}});
        json!({"metadata": {"name": "c", "labels": {"a": label}}, "spec": {}, "status": status})
    };
    let claiming = |claim: &str| {
        let mut pod = on("n1");
        pod["status"] = json!({"resourceClaimStatuses": [{"name": "a", "resourceClaimName": claim}]});
        pod
    };
    let good = [
        case(Verb::Create, "pods default/", mirror("n1"), Value::Null),
        case(Verb::Delete, "pods default/p", Value::Null, on("n1")),
        case(Verb::Update, "pods/status default/p", on("n1"), on("n1")),
        case(Verb::Create, "nodes ", node(json!({"kubernetes.io/hostname": "n1", "mine": "x"})), Value::Null),
        case(Verb::Update, "nodes/status n1", node(json!({})), node(json!({}))),
        case(
            Verb::Update,
            "nodes n1",
            json!({"metadata": {"name": "n1", "labels": {"mine": "y"}}, "spec": {"podCIDR": "10.244.1.0/24"}}),
            json!({"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]}}),
        ),
        case(Verb::Create, "leases kube-node-lease/", json!({"metadata": {"name": "n1"}}), Value::Null),
        case(Verb::Create, "csinodes ", json!({"metadata": {"name": "n1"}, "spec": {"drivers": []}}), Value::Null),
        case(Verb::Create, "resourceslices ", slice(json!("n1")), Value::Null),
        case(Verb::Delete, "resourceslices s", Value::Null, slice(json!("n1"))),
        case(
            Verb::Update,
            "persistentvolumeclaims/status default/c",
            claim("2Gi", "Bound", "a"),
            claim("1Gi", "Bound", "a"),
        ),
    ];
    for case in good {
        let target = case.target;
        assert!(admitted(case).is_ok(), "{target}");
    }
    let bad = [
        (case(Verb::Create, "pods default/", on("n1"), Value::Null), "can only create mirror pods"),
        (
            case(Verb::Create, "pods default/", mirror("n2"), Value::Null),
            "can only create pods with spec.nodeName set to itself",
        ),
        (case(Verb::Delete, "pods default/p", Value::Null, on("n2")), "can only delete pods with spec.nodeName"),
        (case(Verb::Update, "pods default/p", on("n1"), on("n1")), "can only create and delete mirror pods"),
        (case(Verb::Update, "pods/status default/p", on("n2"), on("n2")), "can only update pod status for pods"),
        (
            case(Verb::Create, "nodes ", node(json!({"node-role.kubernetes.io/control-plane": ""})), Value::Null),
            "node \"n1\" is not allowed to set the following labels: node-role.kubernetes.io/control-plane",
        ),
        (
            case(
                Verb::Update,
                "nodes n1",
                json!({"metadata": {"name": "n1"}, "spec": {"taints": []}}),
                json!({"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}),
            ),
            "is not allowed to modify taints",
        ),
        (
            case(
                Verb::Create,
                "nodes ",
                json!({"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.7.0/24"}}),
                Value::Null,
            ),
            "is not allowed to set podCIDRs",
        ),
        (
            case(
                Verb::Update,
                "nodes n1",
                json!({"metadata": {"name": "n1"}, "spec": {"podCIDRs": ["10.244.7.0/24"]}}),
                json!({"metadata": {"name": "n1"}}),
            ),
            "is not allowed to set podCIDRs",
        ),
        (
            case(Verb::Update, "nodes n1", node(json!({"node-restriction.kubernetes.io/a": "x"})), node(json!({}))),
            "forbidden: is not allowed to modify labels: node-restriction.kubernetes.io/a",
        ),
        (
            case(Verb::Create, "leases kube-node-lease/", json!({"metadata": {"name": "n2"}}), Value::Null),
            "can only access node lease with the same name as the requesting node",
        ),
        (
            // The name that was judged is not the one that is stored.
            case(Verb::Create, "leases kube-node-lease/n1", json!({"metadata": {"name": "n2"}}), Value::Null),
            "can only access node lease with the same name as the requesting node",
        ),
        (
            case(Verb::Create, "nodes n1", json!({"metadata": {"name": "n2"}}), Value::Null),
            "is not allowed to modify node \"n2\"",
        ),
        (
            case(Verb::Create, "leases default/", json!({"metadata": {"name": "n1"}}), Value::Null),
            "can only access leases in the \"kube-node-lease\" system namespace",
        ),
        (
            case(Verb::Create, "csinodes ", json!({"metadata": {"name": "n2"}, "spec": {"drivers": []}}), Value::Null),
            "can only access CSINode with the same name as the requesting node",
        ),
        (
            case(Verb::Create, "resourceslices ", slice(json!("n2")), Value::Null),
            "can only create ResourceSlice with the same NodeName as the requesting node",
        ),
        (
            case(Verb::Delete, "resourceslices s", Value::Null, slice(Value::Null)),
            "can only delete ResourceSlice with the same NodeName as the requesting node",
        ),
        (
            case(
                Verb::Update,
                "persistentvolumeclaims default/c",
                claim("2Gi", "Bound", "a"),
                claim("1Gi", "Bound", "a"),
            ),
            "may only update PVC status",
        ),
        (
            case(
                Verb::Update,
                "persistentvolumeclaims/status default/c",
                claim("1Gi", "Lost", "a"),
                claim("1Gi", "Bound", "a"),
            ),
            "is not allowed to update fields other than status.quantity and status.conditions",
        ),
        (
            case(
                Verb::Update,
                "persistentvolumeclaims/status default/c",
                claim("1Gi", "Bound", "b"),
                claim("1Gi", "Bound", "a"),
            ),
            "is not allowed to update fields other than status.quantity and status.conditions",
        ),
        (
            case(Verb::Update, "pods/status default/p", claiming("theirs"), on("n1")),
            "node \"n1\" cannot update resource claim statues",
        ),
        (
            case(Verb::Update, "pods/status default/p", claiming("theirs"), claiming("own")),
            "node \"n1\" cannot update resource claim statues",
        ),
    ];
    for (case, expected) in bad {
        let text = message(case);
        assert!(text.contains(expected), "{text}");
    }
    assert!(serde_json::from_value::<Pod>(mirror("n1")).is_ok());
}

#[test]
fn pods_and_claims_are_within_the_bounds_of_their_namespace() {
    let with = |resources: Value| pod(json!({"containers": [{"name": "a", "resources": resources}]}));
    let case = |object: Value| Case { target: "pods bound/", object, ..NO_CASE };
    let filled = admitted(case(with(json!({"requests": {"cpu": "1"}})))).unwrap();
    assert_eq!(filled["spec"]["containers"][0]["resources"], json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}));
    assert_eq!(
        message(case(with(json!({"limits": {"cpu": "3"}, "requests": {"cpu": "500m"}})))),
        r#"pods "p" is forbidden: [minimum cpu usage per Container is 1, but request is 500m, maximum cpu usage per Container is 2, but limit is 3]"#
    );
    let claim = |size: &str| json!({"metadata": {"name": "c"}, "spec": {"resources": {"requests": {"storage": size}}}});
    let claimed = |size: &str| Case { target: "persistentvolumeclaims bound/", object: claim(size), ..NO_CASE };
    assert!(admitted(claimed("1Gi")).is_ok());
    let too_large = "maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi";
    assert_eq!(message(claimed("2Gi")), format!(r#"persistentvolumeclaims "c" is forbidden: {too_large}"#));
    let update = |old: Value| Case {
        verb: Verb::Update,
        target: "persistentvolumeclaims bound/c",
        object: claim("2Gi"),
        old,
        ..NO_CASE
    };
    assert!(message(update(claim("2Gi"))).ends_with(too_large));
    let mut going = claim("2Gi");
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert!(admitted(update(going)).is_ok(), "what goes may go");
    let old = with(json!({"limits": {"cpu": "9"}}));
    let written = Case { verb: Verb::Update, target: "pods bound/p", object: old.clone(), old, ..NO_CASE };
    assert!(admitted(written).is_ok(), "a pod that is there keeps what it has");
}

#[test]
fn claims_get_the_newest_default_class() {
    let claim = |class: Value| json!({"metadata": {"name": "c"}, "spec": {"storageClassName": class}});
    let class = |case: Case<'_>| admitted(case).unwrap()["spec"]["storageClassName"].clone();
    let made = |class: Value| Case { target: "persistentvolumeclaims default/", object: claim(class), ..NO_CASE };
    assert_eq!(class(made(Value::Null)), "newest");
    assert_eq!(class(made(json!(""))), "", "none is wanted");
    assert_eq!(class(made(json!("fixed"))), "fixed");
    let mut annotated = claim(Value::Null);
    annotated["metadata"]["annotations"] = json!({"volume.beta.kubernetes.io/storage-class": "old"});
    assert_eq!(class(Case { object: annotated, ..made(Value::Null) }), Value::Null);

    let update = Case { verb: Verb::Update, old: claim(Value::Null), ..made(Value::Null) };
    let update = admitted(Case { target: "persistentvolumeclaims default/c", ..update }).unwrap();
    assert_eq!(update["spec"]["storageClassName"], Value::Null);
}

#[test]
fn claims_grow_where_their_class_says_so() {
    let claim = |class: &str, phase: &str, size: &str| {
        json!({"metadata": {"name": "c"}, "status": {"phase": phase},
            "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}}})
    };
    let grow = |class: &str, phase: &str, from: &str, to: &str| Case {
        verb: Verb::Update,
        target: "persistentvolumeclaims default/c",
        object: claim(class, phase, to),
        old: claim(class, phase, from),
        ..NO_CASE
    };
    assert!(admitted(grow("newest", "Bound", "1Gi", "2Gi")).is_ok());
    assert!(admitted(grow("fixed", "Bound", "2Gi", "1Gi")).is_ok(), "less is validation's to judge");
    assert!(admitted(grow("fixed", "Bound", "1Gi", "1024Mi")).is_ok());
    let not_expandable = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    for (class, phase, expected) in [
        ("newest", "Pending", "Only bound persistent volume claims can be expanded"),
        ("fixed", "Bound", not_expandable),
        ("nowhere", "Bound", not_expandable),
        ("", "Bound", not_expandable),
    ] {
        let expected = format!(r#"persistentvolumeclaims "c" is forbidden: {expected}"#);
        assert_eq!(message(grow(class, phase, "1Gi", "2Gi")), expected, "{class} {phase}");
    }
}
