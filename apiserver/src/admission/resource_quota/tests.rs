//! What writes change in quotas, and what is refused.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, ResourceQuota, Service};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

const NOW_SECS: i64 = 1_000_000;

/// Allows `hard` and has counted `used`; `more` goes into its spec.
fn quota(hard: Value, used: Value, more: Value) -> ResourceQuota {
    let mut spec = json!({ "hard": hard });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let status = json!({"hard": hard, "used": used});
    serde_json::from_value(json!({"metadata": {"name": "q"}, "spec": spec, "status": status})).unwrap()
}
fn object<K: AnyObject + DeserializeOwned>(json: Value) -> K {
    let mut json = json;
    json["metadata"] = json.get("metadata").cloned().unwrap_or(json!({}));
    serde_json::from_value(json).unwrap()
}
fn pod(spec: Value) -> Pod {
    object(json!({ "spec": spec }))
}
fn container(requests: Value, limits: Value) -> Value {
    json!({"name": "a", "resources": {"requests": requests, "limits": limits}})
}
fn small_pod() -> Pod {
    pod(json!({"containers": [container(json!({"cpu": "100m", "memory": "1Gi"}), json!({"cpu": "1"}))]}))
}
fn change<'a>(plural: &'a str, old: Option<&'a dyn AnyObject>, new: Option<&'a dyn AnyObject>) -> Change<'a> {
    let group = if plural == "deployments" { "apps" } else { "" };
    Change { group, plural, subresource: "", old, new }
}
/// What is used afterwards, `a=1,b=2`; nothing where nothing changes.
fn used(change: Change<'_>, quota: &ResourceQuota) -> Result<String, String> {
    let charges = charges(&change, std::slice::from_ref(quota), NOW_SECS)?;
    Ok(charges.iter().map(|charge| text(&parsed(Some(&charge.used)))).collect())
}
fn usage(plural: &str, object: &dyn AnyObject) -> String {
    let group = if plural == "deployments" { "apps" } else { "" };
    text(&Counted::of(group, plural).unwrap().usage(object, NOW_SECS))
}

#[test]
fn what_pods_take() {
    let requests =
        json!({"cpu": "100m", "memory": "1Gi", "ephemeral-storage": "1G", "hugepages-2Mi": "4Mi", "x.com/gpu": "2"});
    let limits = json!({"cpu": "1", "ephemeral-storage": "2G"});
    let running = pod(json!({"containers": [container(requests, limits)]}));
    assert_eq!(
        usage("pods", &running),
        "count/pods=1,cpu=100m,ephemeral-storage=1G,hugepages-2Mi=4Mi,limits.cpu=1,limits.ephemeral-storage=2G,memory=1Gi,pods=1,requests.cpu=100m,requests.ephemeral-storage=1G,requests.hugepages-2Mi=4Mi,requests.memory=1Gi,requests.x.com/gpu=2"
    );
    let ended: Pod = object(json!({"spec": {"containers": []}, "status": {"phase": "Failed"}}));
    assert_eq!(usage("pods", &ended), "count/pods=1", "what has ended is only there");
    let going = |at_secs: i64| -> Pod {
        let mut pod = small_pod();
        let at = k8s_openapi::jiff::Timestamp::from_second(at_secs).unwrap();
        pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at));
        pod.metadata.deletion_grace_period_seconds = Some(30);
        pod
    };
    assert_eq!(usage("pods", &going(NOW_SECS - 31)), "count/pods=1", "a lost node's pods are not held against anybody");
    assert!(usage("pods", &going(NOW_SECS - 30)).contains("pods=1,requests.cpu=100m"));
}

#[test]
fn what_services_take() {
    let service = |spec: Value| -> String { usage("services", &object::<Service>(json!({ "spec": spec }))) };
    let ports = json!([{"port": 1, "nodePort": 30001}, {"port": 2}]);
    let cases = [
        (json!({"type": "ClusterIP", "ports": ports}), 0, 0),
        (json!({"type": "NodePort", "ports": ports}), 2, 0),
        (json!({"type": "LoadBalancer", "ports": ports}), 2, 1),
        (json!({"type": "LoadBalancer", "ports": ports, "allocateLoadBalancerNodePorts": false}), 1, 1),
        (json!({"type": "ExternalName"}), 0, 0),
    ];
    for (spec, node_ports, balancers) in cases {
        let expected =
            format!("count/services=1,services=1,services.loadbalancers={balancers},services.nodeports={node_ports}");
        assert_eq!(service(spec.clone()), expected, "{spec}");
    }
}

#[test]
fn what_claims_take() {
    let claim = |class: Value, allocated: Value| -> String {
        let spec = json!({"storageClassName": class, "resources": {"requests": {"storage": "1500m"}}});
        let json = json!({"spec": spec, "status": {"allocatedResources": allocated}});
        usage("persistentvolumeclaims", &object::<PersistentVolumeClaim>(json))
    };
    assert_eq!(
        claim(Value::Null, Value::Null),
        "count/persistentvolumeclaims=1,persistentvolumeclaims=1,requests.storage=2"
    );
    assert_eq!(
        claim(json!("gold"), json!({"storage": "1Gi"})),
        "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/requests.storage=1Gi,persistentvolumeclaims=1,requests.storage=1Gi"
    );
    assert!(claim(json!(""), json!({"storage": "1"})).ends_with("requests.storage=2"), "what is asked for is more");
}

#[test]
fn all_other_kinds_are_numbered() {
    assert_eq!(usage("configmaps", &object::<ConfigMap>(json!({}))), "configmaps=1,count/configmaps=1");
    assert_eq!(usage("deployments", &object::<Deployment>(json!({}))), "count/deployments.apps=1");
    assert!(Counted::of("", "events").is_none() && Counted::of("events.k8s.io", "events").is_none());
}

#[test]
fn which_resources_say_something_of_a_kind() {
    let cases = [
        ("pods", "requests.memory", true),
        ("pods", "limits.cpu", true),
        ("pods", "limits.ephemeral-storage", true),
        ("pods", "requests.x.com/gpu", true),
        ("pods", "requests.hugepages-1Gi", true),
        ("pods", "count/pods", true),
        ("pods", "requests.storage", false),
        ("pods", "services", false),
        ("pods", "x.com/gpu", false),
        ("services", "services.nodeports", true),
        ("services", "pods", false),
        ("persistentvolumeclaims", "requests.storage", true),
        ("persistentvolumeclaims", "gold.storageclass.storage.k8s.io/requests.storage", true),
        ("persistentvolumeclaims", "gold.storageclass.storage.k8s.io/pods", false),
        ("configmaps", "configmaps", true),
        ("configmaps", "secrets", false),
        ("deployments", "count/deployments.apps", true),
    ];
    for (plural, resource, expected) in cases {
        let group = if plural == "deployments" { "apps" } else { "" };
        assert_eq!(Counted::of(group, plural).unwrap().tracks(resource), expected, "{plural}: {resource}");
    }
}

#[test]
fn a_write_changes_a_quota_by_what_it_adds_and_takes_away() {
    let pods =
        quota(json!({"pods": "3", "requests.cpu": "1"}), json!({"pods": "1", "requests.cpu": "500m"}), json!({}));
    let (small, mut ended) = (small_pod(), small_pod());
    ended.status.get_or_insert_default().phase = Some("Succeeded".into());
    let balancers = quota(
        json!({"services.loadbalancers": "1", "services": "5"}),
        json!({"services.loadbalancers": "1", "services": "3"}),
        json!({}),
    );
    let service = |kind: &str| object::<Service>(json!({"spec": {"type": kind}}));
    let (balanced, plain) = (service("LoadBalancer"), service("ClusterIP"));
    let storage = quota(json!({"requests.storage": "5Gi"}), json!({"requests.storage": "2Gi"}), json!({}));
    let claim =
        |size: &str| object::<PersistentVolumeClaim>(json!({"spec": {"resources": {"requests": {"storage": size}}}}));
    let (one, four) = (claim("1Gi"), claim("4Gi"));
    let cases: [(&str, Change<'_>, &ResourceQuota, &str); 9] = [
        ("a pod is made", change("pods", None, Some(&small)), &pods, "pods=2,requests.cpu=600m"),
        ("a pod goes", change("pods", Some(&small), None), &pods, "pods=0,requests.cpu=400m"),
        (
            "a pod ends",
            Change { subresource: "status", ..change("pods", Some(&small), Some(&ended)) },
            &pods,
            "pods=0,requests.cpu=400m",
        ),
        ("an ended pod goes", change("pods", Some(&ended), None), &pods, ""),
        ("a pod is written", change("pods", Some(&small), Some(&small)), &pods, ""),
        (
            "a Service is no balancer any more",
            change("services", Some(&balanced), Some(&plain)),
            &balancers,
            "services=3,services.loadbalancers=0",
        ),
        ("a claim grows", change("persistentvolumeclaims", Some(&one), Some(&four)), &storage, "requests.storage=5Gi"),
        ("another kind", change("configmaps", None, Some(&small)), &pods, ""),
        (
            "less than nothing is never used",
            change("persistentvolumeclaims", Some(&four), None),
            &storage,
            "requests.storage=0",
        ),
    ];
    for (why, change, quota, expected) in cases {
        assert_eq!(used(change, quota).as_deref(), Ok(expected), "{why}");
    }
}

#[test]
fn refusals() {
    let (small, balanced) = (small_pod(), object::<Service>(json!({"spec": {"type": "LoadBalancer"}})));
    let plain = object::<Service>(json!({"spec": {"type": "ClusterIP"}}));
    let silent = pod(json!({"containers": [{"name": "b"}, {"name": "a"}], "initContainers": [{"name": "c",
        "resources": {"requests": {"cpu": "1"}}}]}));
    let whole = pod(json!({"containers": [{"name": "a"}], "resources": {"requests": {"cpu": "1", "memory": "1"}}}));
    let negative = pod(json!({"containers": [container(json!({"cpu": "-1"}), json!({}))]}));
    let full = quota(
        json!({"pods": "1", "memory": "3Gi", "requests.cpu": "2"}),
        json!({"pods": "1", "memory": "2560Mi", "requests.cpu": "1"}),
        json!({}),
    );
    let unknown = quota(json!({"pods": "1", "count/pods": "1"}), json!({"pods": "0"}), json!({}));
    let balancers = quota(json!({"services.loadbalancers": "0"}), json!({"services.loadbalancers": "0"}), json!({}));
    let cpu =
        quota(json!({"cpu": "9", "requests.memory": "9"}), json!({"cpu": "0", "requests.memory": "0"}), json!({}));
    let mut terminating = small_pod();
    terminating.spec.as_mut().unwrap().active_deadline_seconds = Some(5);
    let scoped = quota(json!({"pods": "1"}), json!({"pods": "1"}), json!({"scopes": ["Terminating"]}));
    let cases: [(&str, Change<'_>, &ResourceQuota, &str); 8] = [
        (
            "too much of some",
            change("pods", None, Some(&small)),
            &full,
            "exceeded quota: q, requested: memory=1Gi,pods=1, used: memory=2560Mi,pods=1, limited: memory=3Gi,pods=1",
        ),
        (
            "a Service becomes a balancer",
            change("services", Some(&plain), Some(&balanced)),
            &balancers,
            "exceeded quota: q, requested: services.loadbalancers=1, used: services.loadbalancers=0, limited: services.loadbalancers=0",
        ),
        (
            "not counted yet",
            change("pods", None, Some(&small)),
            &unknown,
            "status unknown for quota: q, resources: count/pods,pods",
        ),
        (
            "containers that do not say",
            change("pods", None, Some(&silent)),
            &cpu,
            "failed quota: q: must specify cpu for: a,b; requests.memory for: a,b,c",
        ),
        ("the pod says it as a whole", change("pods", None, Some(&whole)), &cpu, ""),
        (
            "less than nothing",
            change("pods", None, Some(&negative)),
            &quota(json!({"pods": "1"}), json!({"pods": "0"}), json!({})),
            "quota usage is negative for resource(s): cpu,requests.cpu",
        ),
        (
            "a pod that is to end comes into another scope",
            change("pods", Some(&small), Some(&terminating)),
            &scoped,
            "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1",
        ),
        (
            "what a status tells is so already",
            Change { subresource: "status", ..change("pods", Some(&small), Some(&terminating)) },
            &scoped,
            "",
        ),
    ];
    for (why, change, quota, expected) in cases {
        assert_eq!(used(change, quota).err().unwrap_or_default(), expected, "{why}");
    }
}

#[test]
fn a_quota_is_about_what_is_in_all_its_scopes() {
    let best_effort = json!({"containers": [{"name": "a"}]});
    let burstable = json!({"containers": [container(json!({"cpu": "1"}), json!({}))]});
    let with = |field: &str, value: Value| {
        let mut spec = best_effort.clone();
        spec[field] = value;
        spec
    };
    let term = json!({"topologyKey": "z", "namespaces": ["other"]});
    let near = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    let apart = json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
        [{"weight": 1, "podAffinityTerm": {"topologyKey": "z", "namespaceSelector": {}}}]}});
    let own = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "z"}]}});
    let scopes = |list: &[&str]| json!({ "scopes": list });
    let select = |scope: &str, operator: &str, values: &[&str]| json!({"scopeSelector": {"matchExpressions": [{"scopeName": scope, "operator": operator, "values": values}]}});
    let high = with("priorityClassName", json!("high"));
    let cases = [
        (scopes(&["BestEffort"]), &best_effort, true),
        (scopes(&["BestEffort"]), &burstable, false),
        (scopes(&["NotBestEffort"]), &burstable, true),
        (scopes(&["Terminating"]), &with("activeDeadlineSeconds", json!(1)), true),
        (scopes(&["Terminating"]), &best_effort, false),
        (scopes(&["NotTerminating", "BestEffort"]), &best_effort, true),
        (scopes(&["NotTerminating", "NotBestEffort"]), &best_effort, false),
        (scopes(&["PriorityClass"]), &high, true),
        (scopes(&["PriorityClass"]), &best_effort, false),
        (scopes(&["VolumeAttributesClass"]), &best_effort, false),
        (select("PriorityClass", "Exists", &[]), &high, true),
        (select("PriorityClass", "DoesNotExist", &[]), &high, false),
        (select("PriorityClass", "DoesNotExist", &[]), &best_effort, true),
        (select("PriorityClass", "In", &["low", "high"]), &high, true),
        (select("PriorityClass", "In", &["low"]), &high, false),
        (select("PriorityClass", "NotIn", &["low"]), &high, true),
        (select("PriorityClass", "NotIn", &["low"]), &best_effort, true),
        (select("PriorityClass", "NotIn", &["high"]), &high, false),
        (select("CrossNamespacePodAffinity", "Exists", &[]), &with("affinity", near), true),
        (select("CrossNamespacePodAffinity", "Exists", &[]), &with("affinity", apart), true),
        (select("CrossNamespacePodAffinity", "Exists", &[]), &with("affinity", own), false),
        (select("CrossNamespacePodAffinity", "Exists", &[]), &best_effort, false),
    ];
    for (scope, spec, expected) in cases {
        let quota = quota(json!({"pods": "1"}), json!({"pods": "0"}), scope.clone());
        assert_eq!(scopes::all_match(&quota, &pod(spec.clone())), expected, "{scope} {spec}");
    }
    let service: Service = object(json!({}));
    let scoped = quota(json!({"services": "1"}), json!({"services": "0"}), scopes(&["BestEffort"]));
    assert_eq!(used(change("services", None, Some(&service)), &scoped), Ok(String::new()));
}

#[test]
fn a_claim_is_in_the_scope_of_each_class_that_it_wants_or_has() {
    let select = |operator: &str, values: &[&str]| {
        let one = json!({"scopeName": "VolumeAttributesClass", "operator": operator, "values": values});
        quota(json!({"requests.storage": "1"}), json!({}), json!({"scopeSelector": {"matchExpressions": [one]}}))
    };
    let none: PersistentVolumeClaim = object(json!({"spec": {"volumeAttributesClassName": ""}}));
    let some: PersistentVolumeClaim = object(json!({"spec": {"volumeAttributesClassName": "new"},
        "status": {"currentVolumeAttributesClassName": "old",
            "modifyVolumeStatus": {"status": "Pending", "targetVolumeAttributesClassName": "next"}}}));
    let cases = [
        (select("Exists", &[]), false, true),
        (select("DoesNotExist", &[]), true, false),
        (select("In", &["old"]), false, true),
        (select("In", &["next"]), false, true),
        (select("In", &["other"]), false, false),
        (select("NotIn", &["old"]), true, true),
        (select("NotIn", &["old", "new", "next"]), true, false),
    ];
    for (quota, of_none, of_some) in cases {
        let matches = (scopes::all_match(&quota, &none), scopes::all_match(&quota, &some));
        assert_eq!(matches, (of_none, of_some), "{:?}", quota.spec);
    }
}

#[test]
fn counting_anew_adds_up_what_is_there() {
    let quota = quota(
        json!({"pods": "9", "count/pods": "9", "requests.cpu": "9", "services": "9"}),
        json!({}),
        json!({"scopes": ["NotTerminating"]}),
    );
    let (small, mut ended, mut terminating) = (small_pod(), small_pod(), small_pod());
    ended.status.get_or_insert_default().phase = Some("Failed".into());
    terminating.spec.as_mut().unwrap().active_deadline_seconds = Some(5);
    let pods: Vec<&dyn AnyObject> = vec![&small, &small, &ended, &terminating];
    let counted = |kind, objects: Objects<'_>| text(&taken(&quota, kind, &objects, NOW_SECS));
    assert_eq!(counted(("", "pods"), Objects::Each(pods)), "count/pods=3,pods=2,requests.cpu=200m");
    assert_eq!(counted(("", "pods"), Objects::Each(vec![])), "count/pods=0,pods=0,requests.cpu=0");
    assert_eq!(counted(("", "configmaps"), Objects::Number(3)), "");
    assert_eq!((needs(&quota, "", "pods"), needs(&quota, "", "secrets")), (Some(Needs::Each), None));
}

#[test]
fn of_most_kinds_the_number_is_enough() {
    let hard = json!({"secrets": "9", "count/secrets": "9", "count/widgets.example.com": "2"});
    let plain = quota(hard.clone(), json!({}), json!({}));
    let scoped = quota(hard, json!({}), json!({"scopes": ["BestEffort"]}));
    let counted = |quota, kind| text(&taken(quota, kind, &Objects::Number(3), NOW_SECS));
    assert_eq!(needs(&plain, "", "secrets"), Some(Needs::Number));
    assert_eq!(counted(&plain, ("", "secrets")), "count/secrets=3,secrets=3");
    assert_eq!(counted(&plain, ("example.com", "widgets")), "count/widgets.example.com=3");
    assert_eq!(counted(&scoped, ("", "secrets")), "count/secrets=0,secrets=0", "a Secret is in no scope");
    let matters = [("", "secrets", true), ("", "pods", true), ("", "secrets", false), ("", "events", false)];
    assert_eq!(matters.map(|(group, plural, changes)| may_change(group, plural, changes)), [false, true, true, false]);
}
