//! One table per rule: what is kept, what goes, what is refused and in which words.

use super::super::DecodeError;
use super::*;
use crate::schema::builtin;

fn walked(api_version: &str, kind: &str, json: &str) -> Walked {
    walk(builtin().kind(api_version, kind).unwrap(), json.as_bytes()).unwrap_or_else(|err| panic!("{err}: {json}"))
}
fn pod(json: &str) -> Walked {
    walked("v1", "Pod", json)
}
/// The same of a kind that has a status, with an empty one.
fn with_status(json: &str) -> String {
    let fields = json.strip_suffix('}').unwrap();
    format!("{fields}{}\"status\":{{}}}}", if fields == "{" { "" } else { "," })
}

/// (what is sent, what is kept)
type Kept = (&'static str, &'static str);

#[test]
fn zeros_of_fields_without_pointer_go() {
    let cases: &[Kept] = &[
        // Texts, flags, numbers, lists and maps that Go leaves out when they are empty.
        (r#"{"spec":{"hostNetwork":false,"nodeName":"","nodeSelector":{},"tolerations":[]}}"#, "{}"),
        (r#"{"spec":{"hostNetwork":true}}"#, r#"{"spec":{"hostNetwork":true}}"#),
        (
            r#"{"spec":{"containers":[{"name":"c","env":[{"name":"A","value":""}],"volumeMounts":[{"mountPath":"/v","name":"v","readOnly":false,"subPath":""}]}]}}"#,
            r#"{"spec":{"containers":[{"name":"c","env":[{"name":"A"}],"volumeMounts":[{"mountPath":"/v","name":"v"}]}]}}"#,
        ),
        // Pointers keep their zeros: absent is something else.
        (
            r#"{"spec":{"terminationGracePeriodSeconds":0,"automountServiceAccountToken":false,"securityContext":{},"priority":0}}"#,
            r#"{"spec":{"terminationGracePeriodSeconds":0,"automountServiceAccountToken":false,"securityContext":{},"priority":0}}"#,
        ),
        // Within a pointer the same rules hold.
        (
            r#"{"spec":{"securityContext":{"sysctls":[],"runAsUser":0}}}"#,
            r#"{"spec":{"securityContext":{"runAsUser":0}}}"#,
        ),
        // A struct that is none of a pointer's is zero when all in it is.
        (
            r#"{"spec":{"containers":[{"name":"c","resources":{"limits":{},"claims":[]}}]},"status":{"phase":""}}"#,
            r#"{"spec":{"containers":[{"name":"c"}]}}"#,
        ),
        // Fields that are always written are made by the typed object: here they go like the others.
        (r#"{"metadata":{},"spec":{"containers":[]}}"#, "{}"),
        // Items and entries are there, whatever they are.
        (r#"{"spec":{"containers":[{"name":""}]}}"#, r#"{"spec":{"containers":[{}]}}"#),
        (r#"{"metadata":{"labels":{"a":""}}}"#, r#"{"metadata":{"labels":{"a":""}}}"#),
        (r#"{"metadata":{"finalizers":[""]}}"#, r#"{"metadata":{"finalizers":[""]}}"#),
    ];
    for (json, expected) in cases {
        assert_eq!(pod(json).json, with_status(expected), "{json}");
    }
}

#[test]
fn null_is_nothing_but_where_any_json_stands() {
    let cases: &[Kept] = &[
        (r#"{"metadata":null,"spec":null}"#, "{}"),
        (r#"{"spec":{"hostNetwork":null,"terminationGracePeriodSeconds":null,"securityContext":null}}"#, "{}"),
        (
            r#"{"metadata":{"labels":{"a":null},"finalizers":[null,"x"],"creationTimestamp":null}}"#,
            r#"{"metadata":{"labels":{"a":""},"finalizers":["","x"]}}"#,
        ),
        (
            r#"{"spec":{"containers":[null,{"resources":{"limits":{"cpu":null,"memory":5}}}]}}"#,
            r#"{"spec":{"containers":[{},{"resources":{"limits":{"cpu":"0","memory":"5"}}}]}}"#,
        ),
        (" null\n", "{}"),
    ];
    for (json, expected) in cases {
        assert_eq!(pod(json).json, with_status(expected), "{json}");
    }
    let of = walked("v1", "Secret", r#"{"data":{"a":null,"b":""},"immutable":false}"#);
    assert_eq!(of.json, r#"{"data":{"a":"","b":""},"immutable":false}"#);
    let of = walked("apps/v1", "ControllerRevision", r#"{"data":{"a":null, "b":[null,{}]},"revision":1}"#);
    assert_eq!(of.json, r#"{"data":{"a":null, "b":[null,{}]},"revision":1}"#, "as it was written");
    let of = walked("apps/v1", "ControllerRevision", r#"{"data":null,"revision":1}"#);
    assert_eq!(of.json, r#"{"revision":1}"#, "no JSON at all");
}

#[test]
fn what_go_always_writes_is_there_when_its_struct_is() {
    let none = r#"{"lastTransitionTime":"0001-01-01T00:00:00Z"}"#;
    let of = walked("v1", "Service", r#"{"status":{"conditions":[{"lastTransitionTime":null},{},null]}}"#);
    assert_eq!(of.json, format!(r#"{{"status":{{"conditions":[{none},{none},{none}]}}}}"#));
    for (json, expected) in [
        (r#"{"series":{"count":2}}"#, r#"{"series":{"count":2,"lastObservedTime":"0001-01-01T00:00:00Z"}}"#),
        (r#"{"eventTime":null}"#, "{}"),
    ] {
        assert_eq!(walked("events.k8s.io/v1", "Event", json).json, expected);
    }
    for (json, expected) in [
        (r#"{"globalDefault":false}"#, r#"{"value":0}"#),
        (r#"{"value":0,"globalDefault":true}"#, r#"{"globalDefault":true,"value":0}"#),
        (r#"{"value":7}"#, r#"{"value":7}"#),
    ] {
        assert_eq!(walked("scheduling.k8s.io/v1", "PriorityClass", json).json, expected);
    }
    // A struct with nothing else in it is zero, and goes with what it always has.
    let of = walked("policy/v1", "PodDisruptionBudget", r#"{"status":{"currentHealthy":0},"spec":{"minAvailable":0}}"#);
    let none = r#"{"currentHealthy":0,"desiredHealthy":0,"disruptionsAllowed":0,"expectedPods":0}"#;
    assert_eq!(of.json, format!(r#"{{"spec":{{"minAvailable":0}},"status":{none}}}"#), "a status is always there");
}

#[test]
fn scalars_are_written_as_go_writes_them() {
    let limits = |text: &str| format!(r#"{{"spec":{{"containers":[{{"resources":{{"limits":{{"a":{text}}}}}}}]}}}}"#);
    for (sent, kept) in [
        ("1", "\"1\""),
        ("1.5", "\"1500m\""),
        ("\"0.5\"", "\"500m\""),
        ("\"1024Mi\"", "\"1Gi\""),
        ("\" 1 \"", "\"1\""),
        ("\"0Mi\"", "\"0\""),
        ("1e3", "\"1e3\""),
    ] {
        assert_eq!(pod(&limits(sent)).json, with_status(&limits(kept)), "{sent}");
    }
    let time = |text: &str| format!(r#"{{"metadata":{{"creationTimestamp":{text}}}}}"#);
    for (sent, kept) in [
        ("\"2026-01-02T03:04:05Z\"", "\"2026-01-02T03:04:05Z\""),
        ("\"2026-01-02T03:04:05.5+02:00\"", "\"2026-01-02T01:04:05Z\""),
    ] {
        assert_eq!(pod(&time(sent)).json, with_status(&time(kept)), "{sent}");
    }
    assert_eq!(pod(&time("\"0001-01-01T00:00:00Z\"")).json, with_status("{}"));
    let port = |text: &str| format!(r#"{{"spec":{{"ports":[{{"port":80,"targetPort":{text}}}]}}}}"#);
    for (sent, kept) in [("\"http\"", "\"http\""), ("8080", "8080"), ("\"\"", "\"\"")] {
        assert_eq!(walked("v1", "Service", &port(sent)).json, with_status(&port(kept)), "{sent}");
    }
    assert_eq!(walked("v1", "Service", &port("0")).json, with_status(r#"{"spec":{"ports":[{"port":80}]}}"#));
    assert_eq!(pod(r#"{"spec":{"priority":-0}}"#).json, with_status(r#"{"spec":{"priority":0}}"#));
    let of = walked("v1", "Secret", r#"{"data":{"a":"aGk\n="}}"#);
    assert_eq!(of.json, r#"{"data":{"a":"aGk="}}"#, "ends of lines are none of base64's");
    let of =
        walked("authorization.k8s.io/v1", "SubjectAccessReview", r#"{"spec":{"extra":{"a":["x",null],"b":null}}}"#);
    assert_eq!(of.json, with_status(r#"{"spec":{"extra":{"a":["x",""],"b":[]}}}"#));
}

#[test]
fn what_is_of_another_type_is_told_of_in_upstreams_words() {
    let field = |found: &str, place: &str, of: &str| {
        Some(format!("json: cannot unmarshal {found} into Go struct field {place} of type {of}"))
    };
    let quantity =
        Some("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".to_owned());
    let cases = [
        (r#"{"spec":{"replicas":"3"}}"#, field("string", "DeploymentSpec.spec.replicas", "int32")),
        (r#"{"spec":{"replicas":1.0}}"#, field("number 1.0", "DeploymentSpec.spec.replicas", "int32")),
        (r#"{"spec":{"replicas":1e1}}"#, field("number 1e1", "DeploymentSpec.spec.replicas", "int32")),
        (r#"{"spec":{"replicas":99999999999}}"#, field("number 99999999999", "DeploymentSpec.spec.replicas", "int32")),
        (r#"{"metadata":{"name":7}}"#, field("number", "ObjectMeta.metadata.name", "string")),
        (r#"{"metadata":{"labels":{"a":true}}}"#, field("bool", "ObjectMeta.metadata.labels", "string")),
        (r#"{"metadata":{"labels":"x"}}"#, field("string", "ObjectMeta.metadata.labels", "map[string]string")),
        (r#"{"spec":{"paused":"yes","replicas":"x"}}"#, field("string", "DeploymentSpec.spec.paused", "bool")),
        (
            r#"{"spec":{"template":{"spec":{"containers":{}}}}}"#,
            field("object", "PodSpec.spec.template.spec.containers", "[]v1.Container"),
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":[{"env":[{"value":1}]}]}}}}"#,
            field("number", "EnvVar.spec.template.spec.containers.env.value", "string"),
        ),
        (r#"{"spec":[1,2]}"#, field("array", "Deployment.spec", "v1.DeploymentSpec")),
        (r#"[]"#, Some("json: cannot unmarshal array into Go value of type v1.Deployment".into())),
        (
            r#"{"spec":{"strategy":{"rollingUpdate":{"maxSurge":true}}}}"#,
            field("bool", "RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge", "int32"),
        ),
        (r#"{"metadata":{"creationTimestamp":5}}"#, field("number", "ObjectMeta.metadata.creationTimestamp", "string")),
        // A type that reads itself is where Go stops: what was wrong before does not count then.
        (
            r#"{"spec":{"replicas":"x","template":{"spec":{"containers":[{"resources":{"limits":{"cpu":"x"}}}]}}}}"#,
            quantity.clone(),
        ),
        (r#"{"spec":{"template":{"spec":{"containers":[{"resources":{"limits":{"cpu":[]}}}]}}}}"#, quantity),
    ];
    for (json, expected) in cases {
        assert_eq!(walked("apps/v1", "Deployment", json).fault, expected, "{json}");
    }
    let of = walked("v1", "Secret", r#"{"data":{"a":"a*k="}}"#);
    assert_eq!(of.fault.as_deref(), Some("illegal base64 data at input byte 1"));
    assert_eq!(pod(r#"{"spec":{"terminationGracePeriodSeconds":9223372036854775807}}"#).fault, None);
    // What is malformed comes first, wherever it stands.
    let of = builtin().kind("v1", "Pod").unwrap();
    let err = walk(of, br#"{"metadata":{"name":7},}"#).unwrap_err();
    assert_eq!(err.to_string(), "invalid character '}' looking for beginning of object key string");
}

#[test]
fn unknown_and_duplicate_fields_are_told_of_in_the_order_of_the_text() {
    let (unknown, duplicate) =
        (|path: &str| format!("unknown field \"{path}\""), |path: &str| format!("duplicate field \"{path}\""));
    let of = pod(
        r#"{"odd":{"a":1,"a":2},"metadata":{"name":"a","nam":1,"name":"b","name":"c","labels":{"x":"1","x":"2"}},
            "spec":{"containers":[{"name":"a"},{"imagee":"x","ports":[{"port":{"a":1}}],"name":"b","name":"c"}]},"odd":2}"#,
    );
    let expected = [
        unknown("odd"),
        unknown("metadata.nam"),
        duplicate("metadata.name"),
        duplicate("metadata.labels.x"),
        unknown("spec.containers[1].imagee"),
        unknown("spec.containers[1].ports[0].port"),
        duplicate("spec.containers[1].name"),
    ];
    assert_eq!(of.findings, expected);
    // The last one counts, be it zero.
    for (json, is_host) in [
        (r#"{"spec":{"hostNetwork":true,"hostNetwork":false}}"#, None),
        (r#"{"spec":{"hostNetwork":false,"hostNetwork":true}}"#, Some(true)),
        (r#"{"spec":{"hostNetwork":true,"hostNetwork":null}}"#, None),
    ] {
        let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_str(&pod(json).json).unwrap();
        assert_eq!(pod.spec.unwrap_or_default().host_network, is_host, "{json}");
    }
    let raw = walked("apps/v1", "ControllerRevision", r#"{"data":{"a":1,"a":2}}"#);
    assert!(raw.findings.is_empty(), "any JSON is kept as it is: {:?}", raw.findings);
    // So much, and shortened.
    let many: String = (0..1000).map(|n| format!(r#","k{n}":0"#)).collect();
    assert_eq!(pod(&format!(r#"{{"kind":"Pod"{many}}}"#)).findings.len(), 100);
    let key = "k".repeat(100_000);
    let of = pod(&format!(r#"{{"kind":"{key}","{key}":0}}"#));
    let short = format!("{}...", "k".repeat(256));
    assert_eq!((of.findings, of.kind), (vec![unknown(&short)], short));
}

#[test]
fn a_kind_is_read_from_the_top_only() {
    let of = pod(r#" { "spec":{"kind":"Inner"}, "kind" : "P\u006fd", "apiVersion":"v1"} "#);
    assert_eq!((of.kind.as_str(), of.api_version.as_str()), ("Pod", "v1"));
}

#[test]
fn what_a_body_holds_is_bounded_by_bytes_not_by_its_text() {
    let of = |kind| builtin().kind("v1", kind).unwrap();
    let fill = |item: &str| vec![item; 3 * 1024 * 1024 / (item.len() + 1)].join(",");
    let too_large = [
        ("Pod", format!(r#"{{"spec":{{"containers":[{}]}}}}"#, fill("{}"))),
        ("Pod", format!(r#"{{"spec":{{"volumes":[{}]}}}}"#, fill("null"))),
        ("Service", format!(r#"{{"status":{{"conditions":[{}]}}}}"#, fill("{}"))),
    ];
    for (kind, json) in &too_large {
        assert!(matches!(walk(of(kind), json.as_bytes()), Err(DecodeError::TooLarge)), "{kind}");
    }
    let revisions = builtin().kind("apps/v1", "ControllerRevision").unwrap();
    let raw = format!(r#"{{"data":[{}]}}"#, fill(r#"{"":0}"#));
    assert!(matches!(walk(revisions, raw.as_bytes()), Err(DecodeError::TooLarge)));
    // What fits into the store fits in here: a ConfigMap of many keys, a pod of many variables.
    let keys: String = (0..100_000).map(|n| format!(r#""k{n}":"","#)).collect();
    walk(of("ConfigMap"), format!(r#"{{"data":{{{keys}"a":""}}}}"#).as_bytes()).unwrap();
    let env: String = (0..50_000).map(|n| format!(r#"{{"name":"E{n}","value":""}},"#)).collect();
    let pod = format!(r#"{{"spec":{{"containers":[{{"env":[{env}{{"name":"a"}}]}}]}}}}"#);
    walk(of("Pod"), pod.as_bytes()).unwrap();
}

#[test]
fn what_values_are_thought_to_hold_is_what_they_hold() {
    use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, Volume};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference};
    for (name, bytes) in [
        ("core.v1.Container", size_of::<Container>()),
        ("core.v1.EnvVar", size_of::<EnvVar>()),
        ("core.v1.Pod", size_of::<Pod>()),
        ("core.v1.Volume", size_of::<Volume>()),
        ("meta.v1.Condition", size_of::<Condition>()),
        ("meta.v1.OwnerReference", size_of::<OwnerReference>()),
    ] {
        let thought = builtin().named(name).unwrap().held_bytes();
        assert!((bytes * 9 / 10..bytes * 3 / 2).contains(&thought), "{name}: {thought} for {bytes}");
    }
}

#[test]
fn what_an_object_would_not_write_is_noted() {
    let cases = [
        (r#"{"metadata":{"name":"a"},"spec":{"containers":[{"name":""}]},"status":{}}"#, false),
        (r#" {"status": {"phase": "Running"}, "spec": {"containers": [], "priority": 0}}"#, false),
        (r#"{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"500m"}}}]},"status":{}}"#, false),
        (r#"{"spec":{"containers":[]}}"#, true),
        (r#"{"status":null}"#, true),
        (r#"{"spec":{"hostNetwork":false},"status":{}}"#, true),
        (r#"{"spec":{"containers":[{"name":"c","resources":{}}]},"status":{}}"#, true),
        (r#"{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"0.5"}}}]},"status":{}}"#, true),
        (r#"{"spec":{"containers":[{"name":"c","env":[null]}]},"status":{}}"#, true),
        (r#"{"metadata":{"creationTimestamp":"2026-01-02T03:04:05.5Z"},"status":{}}"#, true),
        (r#"{"odd":1,"status":{}}"#, true),
        (r#"{"metadata":{"name":"a","name":"b"},"status":{}}"#, true),
    ];
    for (json, expected) in cases {
        assert_eq!(pod(json).changed, expected, "{json}");
    }
    for (json, expected) in [(r#"{"value":0}"#, false), ("{}", true)] {
        assert_eq!(walked("scheduling.k8s.io/v1", "PriorityClass", json).changed, expected, "{json}");
    }
}
