//! Ingresses: defaults, who writes what, validation, columns.

use corten_api::names;
use serde_json::{Value, json};

use super::*;
use crate::registry::Strategy;
use crate::registry::check::testing::{defaulted, found, prepare, row, texts};

fn to_service() -> Value {
    json!({"service": {"name": "web", "port": {"number": 80}}})
}
/// A good Ingress with one rule, into which `path` is merged.
fn with_path(path: &Value) -> Value {
    let mut good = json!({"path": "/", "pathType": "Prefix", "backend": to_service()});
    good.as_object_mut().unwrap().extend(path.as_object().unwrap().clone());
    json!({"spec": {"rules": [{"host": "a.example", "http": {"paths": [good]}}]}})
}
fn of_path(path: Value) -> Vec<String> {
    found::<Ingress>(&with_path(&path).to_string())
}
fn of_spec(spec: Value) -> Vec<String> {
    found::<Ingress>(&json!({ "spec": spec }).to_string())
}

#[test]
fn good_ingresses() {
    for spec in [
        json!({"defaultBackend": to_service()}),
        json!({"defaultBackend": {"service": {"name": "1web", "port": {"name": "http"}}}}),
        json!({"defaultBackend": {"resource": {"apiGroup": "a.example", "kind": "Bucket", "name": "b"}}}),
        json!({"rules": [{"host": "*.example.com"}], "tls": [{"hosts": ["*.a.b", "a.b"], "secretName": "s"}, {}]}),
        json!({"rules": [{}], "ingressClassName": "nginx"}),
    ] {
        assert_eq!(of_spec(spec.clone()), Vec::<String>::new(), "{spec}");
    }
    for path in [
        json!({}),
        json!({"path": "/a/..b", "pathType": "Exact"}),
        json!({"path": "/a//b", "pathType": "ImplementationSpecific"}),
        json!({"path": "", "pathType": "ImplementationSpecific"}),
    ] {
        assert_eq!(of_path(path.clone()), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn bad_specs() {
    let subdomain =
        |field: &str, value: &str| format!("spec.{field}: Invalid value: {value:?}: {}", names::DNS1123_SUBDOMAIN_WHY);
    let wildcard = "a wildcard DNS-1123 subdomain must start with '*.', followed by";
    for (spec, expected) in [
        (json!({}), "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified".to_owned()),
        (
            json!({"rules": [{"host": "10.0.0.1"}]}),
            r#"spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address"#.into(),
        ),
        (json!({"rules": [{"host": "a_b"}]}), subdomain("rules[0].host", "a_b")),
        (json!({"rules": [{"host": "a.*.b"}]}), format!(r#"spec.rules[0].host: Invalid value: "a.*.b": {wildcard}"#)),
        (json!({"rules": [{"http": {"paths": []}}]}), "spec.rules[0].http.paths: Required value".into()),
        (
            json!({"rules": [{}], "tls": [{"hosts": ["*.*.b"]}]}),
            format!(r#"spec.tls[0].hosts[0]: Invalid value: "*.*.b": {wildcard}"#),
        ),
        (json!({"rules": [{}], "tls": [{"secretName": "S"}]}), subdomain("tls[0].secretName", "S")),
        (json!({"rules": [{}], "ingressClassName": ""}), subdomain("ingressClassName", "")),
    ] {
        let problems = of_spec(spec.clone());
        assert!(problems.len() == 1 && problems[0].starts_with(&expected), "{spec}: {problems:?}");
    }
    let long = format!("*.{}", "a".repeat(252));
    let problems = of_spec(json!({"rules": [{ "host": long }]}));
    assert!(problems.len() == 1 && problems[0].ends_with("must be no more than 253 bytes"), "{problems:?}");
}

#[test]
fn bad_paths() {
    let at = "spec.rules[0].http.paths[0]";
    for (path, expected) in [
        (json!({"pathType": ""}), vec!["pathType: Required value: pathType must be specified".to_owned()]),
        (
            json!({"pathType": "prefix"}),
            vec![r#"pathType: Unsupported value: "prefix": supported values: "Exact", "ImplementationSpecific", "Prefix""#.into()],
        ),
        (json!({"path": "a"}), vec![r#"path: Invalid value: "a": must be an absolute path"#.into()]),
        (json!({"path": ""}), vec![r#"path: Invalid value: "": must be an absolute path"#.into()]),
        (
            json!({"path": "a", "pathType": "ImplementationSpecific"}),
            vec![r#"path: Invalid value: "a": must be an absolute path"#.into()],
        ),
        (
            json!({"path": "//a/%2F/.."}),
            vec![
                r#"path: Invalid value: "//a/%2F/..": must not contain '//'"#.into(),
                r#"path: Invalid value: "//a/%2F/..": must not contain '%2F'"#.into(),
                r#"path: Invalid value: "//a/%2F/..": cannot end with '/..'"#.into(),
            ],
        ),
        (json!({"path": "/a/./b/."}), vec![
            r#"path: Invalid value: "/a/./b/.": must not contain '/./'"#.into(),
            r#"path: Invalid value: "/a/./b/.": cannot end with '/.'"#.into(),
        ]),
    ] {
        let expected: Vec<String> = expected.into_iter().map(|text| format!("{at}.{text}")).collect();
        assert_eq!(of_path(path.clone()), expected, "{path}");
    }
}

#[test]
fn bad_backends() {
    let service = |name: &str, port: Value| json!({"service": {"name": name, "port": port}});
    let both = json!({"service": {"name": "web", "port": {"number": 80}}, "resource": {"kind": "a", "name": "b"}});
    for (backend, expected) in [
        (json!({}), vec![r#": Invalid value: "": resource or service backend is required"#.to_owned()]),
        (both, vec![r#": Invalid value: "": cannot set both resource and service backends"#.into()]),
        (
            json!({"resource": {"apiGroup": "", "kind": "", "name": "a/b"}}),
            vec![
                format!(r#".resource.apiGroup: Invalid value: "": {}"#, names::DNS1123_SUBDOMAIN_WHY),
                ".resource.kind: Required value".into(),
                r#".resource.name: Invalid value: "a/b": may not contain '/'"#.into(),
            ],
        ),
        (service("", json!({"number": 80})), vec![".service.name: Required value".into()]),
        (
            service("a.b", json!({"number": 80})),
            vec![format!(r#".service.name: Invalid value: "a.b": {}"#, names::DNS1123_LABEL_WHY)],
        ),
        (service("web", json!({})), vec![": Required value: port name or number is required".into()]),
        (
            service("web", json!({"number": 70_000})),
            vec![".service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive".into()],
        ),
        (
            service("web", json!({"name": "80"})),
            vec![r#".service.port.name: Invalid value: "80": must contain at least one letter (a-z)"#.into()],
        ),
        (
            service("web", json!({"name": "http", "number": 80})),
            vec![r#": Invalid value: "": cannot set both port name & port number"#.into()],
        ),
    ] {
        let expected: Vec<String> = expected.into_iter().map(|text| format!("spec.defaultBackend{text}")).collect();
        assert_eq!(of_spec(json!({"defaultBackend": backend.clone()})), expected, "{backend}");
    }
}

#[test]
fn a_new_ingress_has_one_class_however_it_is_said() {
    let of = |said: &str, version: &str| {
        let metadata = json!({"annotations": {CLASS_ANNOTATION: said}, "resourceVersion": version});
        json!({"metadata": metadata, "spec": {"rules": [{}], "ingressClassName": "a"}}).to_string()
    };
    assert!(found::<Ingress>(&of("a", "")).is_empty());
    let why = "must match `ingressClassName` when both are specified";
    let expected = format!(r#"annotations.kubernetes.io/ingress.class: Invalid value: "b": {why}"#);
    assert_eq!(found::<Ingress>(&of("b", "")), [expected]);
    assert!(found::<Ingress>(&of("b", "7")).is_empty(), "an older one may stay as it is");
}

#[test]
fn spec_and_status_are_written_apart() {
    let old: Ingress =
        defaulted(r#"{"spec":{"ingressClassName":"a"},"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.1"}]}}}"#);
    let mut new: Ingress = defaulted(r#"{"spec":{"ingressClassName":"b"},"status":{"loadBalancer":{}}}"#);
    let mut created = new.clone();
    prepare(Strategy::Create, &mut created);
    assert_eq!(serde_json::to_value(&created.status).unwrap(), json!({"loadBalancer": {}}));
    let mut status = new.clone();
    status.status = None;
    prepare(Strategy::Status(&old), &mut status);
    assert_eq!(status.spec, old.spec);
    assert_eq!(serde_json::to_value(&status.status).unwrap(), json!({"loadBalancer": {}}));
    prepare(Strategy::Update(&old), &mut new);
    assert_eq!(new.status, old.status);
    assert!(new.spec_changed(&old) && !status.spec_changed(&old));
}

#[test]
fn what_a_load_balancer_says_of_itself() {
    let found = |ingress: Value| {
        let object: Ingress = defaulted(&json!({"status": {"loadBalancer": {"ingress": [ingress]}}}).to_string());
        let mut problems = Problems::default();
        object.validate_status(&Ingress::default(), &mut problems);
        texts(&problems)
    };
    assert!(found(json!({"ip": "203.0.113.1", "hostname": "a.example"})).is_empty());
    assert!(found(json!({"ip": "", "hostname": ""})).is_empty());
    let at = "status.loadBalancer.ingress[0]";
    assert_eq!(
        found(json!({"ip": "203.0.113.01"})),
        [format!(r#"{at}.ip: Invalid value: "203.0.113.01": must not have leading 0s"#)]
    );
    assert_eq!(
        found(json!({"hostname": "203.0.113.1"})),
        [format!(r#"{at}.hostname: Invalid value: "203.0.113.1": must be a DNS name, not an IP address"#)]
    );
    assert!(found(json!({"hostname": "a_b"}))[0].starts_with(&format!("{at}.hostname: Invalid value")));
}

#[test]
fn columns() {
    let json = json!({
        "metadata": {"name": "i"},
        "spec": {"ingressClassName": "nginx", "tls": [{}],
            "rules": [{"host": "a"}, {}, {"host": "b"}, {"host": "c"}, {"host": "d"}]},
        "status": {"loadBalancer": {"ingress": [{"hostname": "z.example"}, {"ip": "203.0.113.1"}, {"ip": "203.0.113.1"}]}}
    });
    let expected = "i|nginx|a,b,c + 1 more...|203.0.113.1,z.example|80, 443|<unknown>";
    assert_eq!(row::<Ingress>(&json.to_string(), 0), expected);
    assert_eq!(row::<Ingress>("{}", 0), "|<none>|*||80|<unknown>");
}
