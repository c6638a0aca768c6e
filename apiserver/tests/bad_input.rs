//! What a user gets wrong, over REST: each mistake gets the Kubernetes error for it, and nothing is half-written.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "support/server.rs"]
mod server;

use bytes::Bytes;
use corten_apiserver::storage::memory::Memory;
use serde_json::{Value, json};
use server::TestServer;

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// why, method and path, content type, body, code, reason, a part of the message
type Case = (&'static str, (&'static str, String), &'static str, String, u16, &'static str, &'static str);

fn case(
    why: &'static str,
    line: (&'static str, &str),
    content_type: &'static str,
    body: impl ToString,
    (code, reason, message): (u16, &'static str, &'static str),
) -> Case {
    (why, (line.0, line.1.to_owned()), content_type, body.to_string(), code, reason, message)
}

async fn check(server: &TestServer, cases: Vec<Case>) {
    for (why, (method, path), content_type, body, code, reason, message) in cases {
        let (have, status) = server.send(method, &path, content_type, Bytes::from(body)).await;
        assert_eq!(have, code, "{why}: {status}");
        assert_eq!(status["kind"], "Status", "{why}: {status}");
        assert_eq!(status["apiVersion"], "v1", "{why}: {status}");
        assert_eq!(status["status"], "Failure", "{why}: {status}");
        assert_eq!(status["reason"], reason, "{why}: {status}");
        assert_eq!(status["code"], code, "{why}: {status}");
        let text = status["message"].as_str().unwrap_or_default();
        assert!(text.contains(message), "{why}: {text}");
    }
}

/// Nothing that was refused is there.
async fn check_empty(server: &TestServer) {
    for path in [PODS, DEPLOYMENTS, CONFIG_MAPS] {
        let (code, list) = server.send("GET", path, JSON, Bytes::new()).await;
        assert_eq!((code, list["items"].as_array().map(Vec::len)), (200, Some(0)), "{path}: {list}");
    }
    let (code, health) = server.send("GET", "/readyz", JSON, Bytes::new()).await;
    assert_eq!((code, health), (200, json!("ok")));
}

fn deployment() -> Value {
    json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

#[tokio::test]
async fn malformed_bodies() {
    let server = TestServer::start(Memory::default()).await;
    let bad = |message| (400, "BadRequest", message);
    let deep_json = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_yaml = format!("a: {}", "[".repeat(100_000));
    let aliases = "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n\
                   d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\n\
                   g: &g [*f,*f,*f,*f,*f,*f,*f,*f]\n";
    let large = format!(r#"{{"metadata":{{"name":"x"}},"data":{{"k":"{}"}}}}"#, "x".repeat(3 * 1024 * 1024));
    let post = |path| ("POST", path);
    check(
        &server,
        vec![
            case("no JSON", post(PODS), JSON, "not json", bad("invalid character 'n' looking for beginning of value")),
            case("JSON that breaks off", post(PODS), JSON, r#"{"kind":"Pod","#, bad("unexpected end of JSON input")),
            case("an empty body", post(PODS), JSON, "", bad("unexpected end of JSON input")),
            case("an array", post(PODS), JSON, "[]", bad("cannot be handled as a Pod")),
            case("broken YAML", post(PODS), YAML, "kind: Pod\n  x: [", bad("yaml")),
            case("a nesting bomb", post(PODS), JSON, deep_json, bad("exceeded max depth")),
            case("a YAML nesting bomb", post(PODS), YAML, deep_yaml, bad("yaml")),
            case("a YAML alias bomb", post(PODS), YAML, aliases, bad("yaml")),
            case(
                "a body over 3 MiB",
                post(CONFIG_MAPS),
                JSON,
                large,
                (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728"),
            ),
            case(
                "an unknown media type",
                post(PODS),
                "text/plain",
                "x",
                (415, "UnsupportedMediaType", "accepted media types include"),
            ),
            case(
                "no protobuf",
                post(PODS),
                "application/vnd.kubernetes.protobuf",
                "{}",
                bad("does not appear to be a protobuf message"),
            ),
            case(
                "DeleteOptions that are none",
                ("DELETE", &format!("{PODS}/x")),
                JSON,
                r#"{"kind":"Pod"}"#,
                bad("DeleteOptions"),
            ),
        ],
    )
    .await;
    check_empty(&server).await;
}

#[tokio::test]
async fn wrong_kinds_and_types() {
    let server = TestServer::start(Memory::default()).await;
    let bad = |message| (400, "BadRequest", message);
    let lost = (404, "NotFound", "the server could not find the requested resource");
    let not_allowed = (405, "MethodNotAllowed", "does not allow this method");
    let with = |pointer: &str, value: Value| {
        let mut object = deployment();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[key] = value;
        object
    };
    let post = |path| ("POST", path);
    check(
        &server,
        vec![
            case("all namespaces at once", ("DELETE", "/api/v1/namespaces"), JSON, "", not_allowed),
            case("an unknown kind", post(PODS), JSON, r#"{"apiVersion":"v1","kind":"Pood"}"#, bad("Pood")),
            case("another kind", post(PODS), JSON, r#"{"apiVersion":"v1","kind":"Service"}"#, bad("Service")),
            case(
                "another group",
                post(DEPLOYMENTS),
                JSON,
                r#"{"apiVersion":"v1","kind":"Deployment"}"#,
                bad("the API version in the data (v1) does not match the expected API version (apps/v1)"),
            ),
            case(
                "text for a number",
                post(DEPLOYMENTS),
                JSON,
                with("/spec/replicas", json!("3")),
                bad("json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"),
            ),
            case(
                "a number for text",
                post(DEPLOYMENTS),
                JSON,
                with("/metadata/name", json!(5)),
                bad("json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string"),
            ),
            case(
                "an object for a list",
                post(DEPLOYMENTS),
                JSON,
                with("/spec/template/spec/containers", json!({})),
                bad("Go struct field PodSpec.spec.template.spec.containers of type []v1.Container"),
            ),
            case(
                "an unknown field, strictly",
                post(&format!("{DEPLOYMENTS}?fieldValidation=Strict")),
                JSON,
                with("/spec/replica", json!(3)),
                bad(r#"strict decoding error: unknown field "spec.replica""#),
            ),
            case(
                "a field twice, strictly",
                post(&format!("{CONFIG_MAPS}?fieldValidation=Strict")),
                JSON,
                r#"{"metadata":{"name":"x","name":"y"}}"#,
                bad(r#"duplicate field "metadata.name""#),
            ),
            case("an unknown resource", ("GET", "/api/v1/namespaces/default/pood"), JSON, "", lost),
            case("an unknown group", ("GET", "/apis/nope.io/v1/things"), JSON, "", lost),
            case("an unknown version", ("GET", "/apis/apps/v1beta1/deployments"), JSON, "", lost),
            case("an unknown subresource", ("GET", &format!("{PODS}/x/nope")), JSON, "", lost),
            case("a part of a list", ("GET", &format!("{PODS}/ephemeralcontainers/x/y")), JSON, "", lost),
            case("a watch of a log", ("GET", "/api/v1/watch/namespaces/default/pods/x/log"), JSON, "", lost),
            case("an unknown path", ("GET", "/nope"), JSON, "", lost),
            case("a namespace where none belongs", ("GET", "/api/v1/namespaces/default/nodes"), JSON, "", lost),
            case("no namespace to create in", post("/api/v1/pods"), JSON, "{}", not_allowed),
            case("a method of no meaning", ("PUT", PODS), JSON, "{}", not_allowed),
            case("a scale to create", ("POST", &format!("{DEPLOYMENTS}/d/scale")), JSON, "{}", not_allowed),
            case(
                "an object that is not there",
                ("GET", &format!("{PODS}/x")),
                JSON,
                "",
                (404, "NotFound", r#"pods "x" not found"#),
            ),
            case(
                "a namespace that is not there",
                post("/api/v1/namespaces/nope/configmaps"),
                JSON,
                r#"{"metadata":{"name":"x"}}"#,
                (404, "NotFound", r#"namespaces "nope" not found"#),
            ),
        ],
    )
    .await;
    check_empty(&server).await;
}

#[tokio::test]
async fn invalid_objects_name_their_fields() {
    let server = TestServer::start(Memory::default()).await;
    let pod = |name: &str| json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let mut mismatched = deployment();
    mismatched["spec"]["template"]["metadata"]["labels"] = json!({"a": "c"});
    let service =
        |name: &str, port: Value| json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [port]}});
    let cases: Vec<(&str, &str, Value, &str)> = vec![
        ("a name with capitals", PODS, pod("Web"), "metadata.name"),
        ("a name with a slash", PODS, pod("a/b"), "metadata.name"),
        ("a name too long", PODS, pod(&"x".repeat(300)), "metadata.name"),
        ("no name", PODS, json!({"spec": {"containers": [{"name": "c", "image": "i"}]}}), "metadata.name"),
        ("no containers", PODS, json!({"metadata": {"name": "p"}, "spec": {"containers": []}}), "spec.containers"),
        (
            "a bad label",
            PODS,
            json!({"metadata": {"name": "p", "labels": {"a b": "c"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}),
            "metadata.labels",
        ),
        ("a selector that misses its template", DEPLOYMENTS, mismatched, "spec.template.metadata.labels"),
        ("a port out of range", SERVICES, service("s", json!({"port": 70000})), "spec.ports[0].port"),
        (
            "a nodePort out of range",
            SERVICES,
            service("s", json!({"port": 80, "nodePort": 80})),
            "spec.ports[0].nodePort",
        ),
    ];
    for (why, path, body, field) in cases {
        let (code, status) = server.send("POST", path, JSON, body.to_string().into()).await;
        assert_eq!((code, &status["reason"]), (422, &json!("Invalid")), "{why}: {status}");
        let causes = status["details"]["causes"].as_array().cloned().unwrap_or_default();
        assert!(causes.iter().any(|c| c["field"].as_str().is_some_and(|f| f.starts_with(field))), "{why}: {status}");
    }
    check_empty(&server).await;
}

#[tokio::test]
async fn what_is_taken_stays_with_its_owner() {
    let server = TestServer::start(Memory::default()).await;
    let service = |name: &str| {
        let ports = json!([{"port": 80, "nodePort": 31080}]);
        Bytes::from(json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": ports}}).to_string())
    };
    assert_eq!(server.send("POST", SERVICES, JSON, service("first")).await.0, 201);
    let (code, status) = server.send("POST", SERVICES, JSON, service("second")).await;
    assert_eq!(code, 422, "{status}");
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.contains("provided port is already allocated"), "{message}");
    assert_eq!(status["details"]["causes"][0]["field"], "spec.ports[0].nodePort");
    assert_eq!(server.send("GET", &format!("{SERVICES}/second"), JSON, Bytes::new()).await.0, 404);

    let map = Bytes::from(r#"{"metadata":{"name":"x"}}"#);
    assert_eq!(server.send("POST", CONFIG_MAPS, JSON, map.clone()).await.0, 201);
    let (code, status) = server.send("POST", CONFIG_MAPS, JSON, map).await;
    assert_eq!((code, &status["reason"]), (409, &json!("AlreadyExists")));
    let stale = Bytes::from(r#"{"metadata":{"name":"x","resourceVersion":"1"}}"#);
    let (code, status) = server.send("PUT", &format!("{CONFIG_MAPS}/x"), JSON, stale).await;
    assert_eq!((code, &status["reason"]), (409, &json!("Conflict")));
}

#[tokio::test]
async fn long_keys_make_no_long_answers() {
    let server = TestServer::start(Memory::default()).await;
    let key = "k".repeat(50_000);
    let many = (0..40).map(|n| format!(r#""{n}{key}":0"#)).collect::<Vec<_>>().join(",");
    let path = format!("{CONFIG_MAPS}?fieldValidation=Strict");
    let body = Bytes::from(format!(r#"{{"metadata":{{"name":"x"}},{many}}}"#));
    let (code, status) = server.send("POST", &path, JSON, body).await;
    let text = status.to_string();
    assert_eq!(code, 400, "{}", &text[..200]);
    assert!(text.len() < 6000 && text.contains("kkk...") && text.contains(" more"), "{} bytes", text.len());
}

#[tokio::test]
async fn bad_queries() {
    let server = TestServer::start(Memory::default()).await;
    let get = |query: &str| ("GET", format!("{PODS}?{query}"));
    let cases = [
        ("labelSelector=a%20b%20c", 400, "BadRequest", "unable to parse requirement"),
        ("fieldSelector=spec.nope%3Dx", 400, "BadRequest", "field label not supported: spec.nope"),
        ("limit=many", 400, "BadRequest", "invalid syntax"),
        ("limit=-1", 422, "Invalid", "limit"),
        ("resourceVersion=new", 400, "BadRequest", "invalid resource version"),
        ("resourceVersionMatch=Exact", 422, "Invalid", "forbidden unless resourceVersion is provided"),
        ("continue=garbage", 400, "BadRequest", "continue"),
        ("watch=1&sendInitialEvents=true", 422, "Invalid", "sendInitialEvents requires"),
    ];
    let cases = cases.map(|(query, code, reason, message)| {
        let (method, path) = get(query);
        case(query, (method, &path), JSON, "", (code, reason, message))
    });
    check(&server, cases.into()).await;
    let values: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    let many_values = format!("{PODS}?labelSelector=a%20in%20({})", values.join(","));
    let many_fields = format!("{PODS}?fieldSelector={}", vec!["metadata.name!%3Dx"; 2000].join(","));
    let too_many = (400, "BadRequest", "at most 1000 requirements and values");
    check(
        &server,
        vec![
            case("a large set", ("GET", &many_values), JSON, "", too_many),
            case("many fields", ("GET", &many_fields), JSON, "", too_many),
        ],
    )
    .await;
    let patch = |content_type, body, expected| {
        case(content_type, ("PATCH", "/api/v1/namespaces/default"), content_type, body, expected)
    };
    check(
        &server,
        vec![
            patch("application/apply-patch+yaml", "{}", (422, "Invalid", "fieldManager: Required value")),
            patch("application/json", "{}", (415, "UnsupportedMediaType", "application/merge-patch+json")),
            patch("application/merge-patch+json", "{", (400, "BadRequest", "unexpected end of JSON input")),
        ],
    )
    .await;
}

#[tokio::test]
async fn strangers_are_told_who_they_are() {
    let server = TestServer::start(Memory::default()).await;
    for (who, code, message) in [
        (
            Some("jane"),
            403,
            r#"pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default""#,
        ),
        (
            None,
            403,
            r#"pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" in the namespace "default""#,
        ),
    ] {
        let (have, status) = server.send_as(who, "GET", PODS, JSON, Bytes::new()).await;
        assert_eq!((have, status["message"].as_str()), (code, Some(message)));
    }
}

/// The most memory that this process has had so far.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn small_texts_of_large_objects_are_refused_before_they_take_the_memory() {
    const MIB_MAX: u64 = 600;
    let server = TestServer::start(Memory::default()).await;
    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(server.send("POST", PODS, JSON, pod.to_string().into()).await.0, 201);
    let fill = |item: &str| item.repeat(3_000_000 / item.len());
    let containers = format!(r#"{{"metadata":{{"name":"x"}},"spec":{{"containers":[{}{{}}]}}}}"#, fill("{},"));
    let volumes = containers.replace("containers", "volumes");
    let yaml = format!("spec: {{containers: [{}]}}", fill("{},"));
    let small = format!(r#"{{"spec":{{"containers":[{}{{}}]}}}}"#, fill(r#"{"":0},"#));
    let raw = format!(r#"{{"metadata":{{"name":"x"}},"revision":1,"data":[{}0]}}"#, fill(r#"{"":0},"#));
    let operations =
        format!(r#"[{}{{"op":"test","path":"","value":0}}]"#, fill(r#"{"op":"add","path":"/x","value":{"":{}}},"#));
    let spec = [&[0x12, 0xe4, 0xc6, 0x5b][..], &[0x12, 0x00].repeat(750_002)].concat();
    let mut protobuf = b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\xe8\xc6\x5b".to_vec();
    protobuf.extend(spec);
    let revisions = "/apis/apps/v1/namespaces/default/controllerrevisions";
    let web = format!("{PODS}/web");
    let too_large = (413, "RequestEntityTooLarge", "bytes of memory");
    check(
        &server,
        vec![
            case("containers", ("POST", PODS), JSON, containers, too_large),
            case("volumes", ("POST", PODS), JSON, volumes, too_large),
            case("containers in YAML", ("POST", PODS), YAML, yaml, (400, "BadRequest", "yaml")),
            case("JSON in an object", ("POST", revisions), JSON, raw, too_large),
            case("a merge patch", ("PATCH", &web), "application/merge-patch+json", &small, too_large),
            case("a strategic patch", ("PATCH", &web), "application/strategic-merge-patch+json", &small, too_large),
            case("a JSON patch", ("PATCH", &web), "application/json-patch+json", operations, too_large),
        ],
    )
    .await;
    let (code, status) = server.send("POST", PODS, "application/vnd.kubernetes.protobuf", protobuf.into()).await;
    assert_eq!(code, 413, "{status}");
    let peak = peak_mib();
    println!("peak: {peak} MiB");
    assert!(peak < MIB_MAX, "{peak} MiB");
}
