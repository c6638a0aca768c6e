//! Warnings about pods, a line for each.

use serde_json::{Value, json};

use super::*;

fn told(metadata: Value, spec: Value) -> Vec<String> {
    let mut whole = json!({"containers": [{"name": "c"}]});
    json_patch::merge(&mut whole, &spec);
    pod(&serde_json::from_value(json!({"metadata": metadata, "spec": whole})).unwrap())
}

#[test]
fn a_usual_pod_needs_none() {
    let spec = json!({"nodeSelector": {"kubernetes.io/os": "linux"}, "terminationGracePeriodSeconds": 5,
        "containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "http"}], "env": [{"name": "A", "value": "1"},
            {"name": "A", "value": "$(A)2"}]}, {"name": "b", "ports": [{"containerPort": 81, "name": "other"}]}]});
    assert_eq!(told(json!({"annotations": {"a": "b"}}), spec), Vec::<String>::new());
}

#[test]
fn what_may_surprise() {
    let term = json!({"topologyKey": "kubernetes.io/hostname"});
    let value_of =
        json!([{"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b c"]}]}}]);
    for (spec, expected) in [
        (
            json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}}),
            r#"spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead"#,
        ),
        (
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "node-role.kubernetes.io/master", "operator": "Exists"}]}]}}}}),
            r#"spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key: node-role.kubernetes.io/master is use "node-role.kubernetes.io/control-plane" instead"#,
        ),
        (
            json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": value_of}}}),
            "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].values[0]: b c is invalid, a valid label must be",
        ),
        (
            json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}),
            "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null labelSelector results in matching no pod",
        ),
        (
            json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term}]}}}),
            "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector: a null labelSelector",
        ),
        (
            json!({"topologySpreadConstraints": [{"topologyKey": "failure-domain.beta.kubernetes.io/zone", "maxSkew": 1,
                "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}]}),
            "spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17",
        ),
        (
            json!({"volumes": [{"name": "v", "gitRepo": {"repository": "r"}}]}),
            "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
        ),
        (
            json!({"hostAliases": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}]}),
            r#"spec.hostAliases[1].ip: duplicate ip "10.0.0.1""#,
        ),
        (
            json!({"imagePullSecrets": [{"name": "a"}, {"name": "a"}]}),
            r#"spec.imagePullSecrets[1].name: duplicate name "a""#,
        ),
        (json!({"imagePullSecrets": [{}]}), r#"spec.imagePullSecrets[0].name: invalid empty name """#),
        (
            json!({"overhead": {"memory": "100m"}}),
            r#"spec.overhead[memory]: fractional byte value "100m" is invalid, must be an integer"#,
        ),
        (
            json!({"containers": [{"name": "c", "resources": {"limits": {"ephemeral-storage": "1500m"}}}]}),
            r#"spec.containers[0].resources.limits[ephemeral-storage]: fractional byte value "1500m" is invalid, must be an integer"#,
        ),
        (
            json!({"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}]}),
            r#"spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply"#,
        ),
        (
            json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "TCP"}]}]}),
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
        ),
        (
            json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 80}]}]}),
            "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
        ),
        (
            json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080, "hostIP": "10.0.0.1"},
                {"containerPort": 80, "hostPort": 8080}]}]}),
            "spec.containers[0].ports[1]: dangerously ambiguous port definition with spec.containers[0].ports[0]",
        ),
        (
            json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostIP": "10.0.0.1"}]}]}),
            "spec.containers[0].ports[0]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:80 Protocol: HostIP:10.0.0.1}",
        ),
        (
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "p"}]},
                {"name": "b", "ports": [{"containerPort": 81, "name": "p"}]}]}),
            r#"spec.containers[1].ports[0]: duplicate port name "p" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]"#,
        ),
        (
            json!({"terminationGracePeriodSeconds": -1}),
            "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
        ),
        (
            json!({"dnsConfig": {"nameservers": ["FD00::1"]}}),
            r#"spec.dnsConfig.nameservers[0]: IPv6 address "FD00::1" should be in RFC 5952 canonical format ("fd00::1")"#,
        ),
        (
            json!({"volumes": [{"name": "v", "configMap": {"name": "m", "items": [{"key": "a", "path": "x"}, {"key": "b", "path": "x/y"}]}}]}),
            r#"volume "v" (ConfigMap "m"): overlapping paths: "x/y" with "x""#,
        ),
        (
            json!({"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s", "items": [{"key": "a", "path": "x/"}]}},
                {"serviceAccountToken": {"path": "x"}}]}}]}),
            r#"volume "v" (Projected): overlapping paths: "x" (ServiceAccountToken) with "x" (Secret "s")"#,
        ),
        (
            json!({"volumes": [{"name": "v", "projected": {"sources": [{}]}}]}),
            r#"volume "v" (Projected) has no sources provided"#,
        ),
    ] {
        let warnings = told(json!({}), spec.clone());
        assert!(warnings.len() == 1 && warnings[0].starts_with(expected), "{spec}: {warnings:?}");
    }
}

#[test]
fn annotations_that_became_fields() {
    let with = |key: &str| json!({"annotations": {key: "x"}});
    let none = Vec::<String>::new;
    let seccomp = format!("metadata.annotations[{SECCOMP}]: {SECCOMP_WHY}");
    assert_eq!(told(with(SECCOMP), json!({})), [seccomp]);
    assert_eq!(told(with(SECCOMP), json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}})), none());
    let key = format!("{SECCOMP_PREFIX}c");
    assert_eq!(told(with(&key), json!({})), [format!("metadata.annotations[{key}]: {SECCOMP_WHY}")]);
    let key = "scheduler.alpha.kubernetes.io/critical-pod";
    let why = r#"non-functional in v1.16+; use the "priorityClassName" field instead"#;
    assert_eq!(told(with(key), json!({})), [format!("metadata.annotations[{key}]: {why}")]);

    let key = format!("{APP_ARMOR_PREFIX}c");
    assert_eq!(told(with(&key), json!({})), none(), "a pod gets the field");
    let of = json!({"metadata": with(&key), "spec": {"containers": [{"name": "c"}]}});
    let mut warnings = Warnings::default();
    template(&serde_json::from_value(of).unwrap(), &Path::root("spec").field("template"), &mut warnings);
    assert_eq!(warnings.into_vec(), [format!("spec.template.metadata.annotations[{key}]: {APPARMOR_WHY}")]);
}

#[test]
fn thousands_of_ports_and_paths_cost_little() {
    let ports: Vec<Value> = (0..20_000).map(|n| json!({"containerPort": 80, "hostPort": n + 1})).collect();
    let items: Vec<Value> = (0..20_000).map(|n| json!({"key": "a", "path": format!("p{n}")})).collect();
    let spec = json!({"containers": [{"name": "c", "ports": ports}], "volumes": [{"name": "v", "configMap": {"items": items}}]});
    assert_eq!(told(json!({}), spec), Vec::<String>::new(), "and comes to an end");
}
