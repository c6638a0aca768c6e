//! One request through both doors: REST and gRPC answer it alike, in one order of refusals and in the same words. First who asks
//! (401), then whether he may (403), then whether there is such a thing and a way to do that to it (404, 405), then what is wrong
//! with it (413, 400, 422), then what is there. Audit is told the same of it, and it is counted the same.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "support/recorder.rs"]
mod recorder;
#[path = "support/server.rs"]
mod server;

use std::sync::Arc;

use bytes::Bytes;
use corten_apiserver::storage::memory::Memory;
use corten_proto::api::resources_client::ResourcesClient;
use corten_proto::api::{
    DeleteRequest, GetRequest, ListRequest, PatchRequest, Resource, WatchRequest, WriteRequest, patch_request,
};
use corten_proto::status;
use recorder::Recorder;
use serde_json::{Value, json};
use server::TestServer;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

/// Whose certificate or token is shown.
#[derive(Clone, Copy, Debug)]
enum Caller {
    Nobody,
    Token(&'static str),
    Certificate(&'static str),
    /// The administrator's, who wants to count as somebody else.
    AdminAs(&'static str),
}
use Caller::{AdminAs, Nobody, Token};
const JANE: Caller = Caller::Certificate("jane");
const ADMIN: Caller = Caller::Certificate("admin");

/// "pods", "default/web": of the core group. `more`: a write's body, the field selector of a list or watch.
#[derive(Clone, Copy, Debug)]
struct Asked {
    verb: &'static str,
    plural: &'static str,
    at: &'static str,
    more: &'static str,
}

fn asked(verb: &'static str, plural: &'static str, at: &'static str, more: &'static str) -> Asked {
    Asked { verb, plural, at, more }
}

impl Asked {
    fn place(&self) -> (&'static str, &'static str) {
        self.at.split_once('/').unwrap_or(("", self.at))
    }
    fn resource(&self) -> Option<Resource> {
        let (namespace, name) = self.place();
        let (version, plural) = ("v1".into(), self.plural.into());
        Some(Resource { version, plural, namespace: namespace.into(), name: name.into(), ..Resource::default() })
    }
    fn path(&self) -> String {
        let (namespace, name) = self.place();
        let within = if namespace.is_empty() { String::new() } else { format!("namespaces/{namespace}/") };
        let name = if name.is_empty() { String::new() } else { format!("/{name}") };
        let query = match self.verb {
            "list" => format!("?fieldSelector={}", self.more),
            "watch" => format!("?watch=1&fieldSelector={}", self.more),
            _ => String::new(),
        };
        format!("/api/v1/{within}{}{name}{query}", self.plural)
    }
}

/// HTTP's code of an answer, and the words of a refusal.
type Answer = (u16, String);

async fn by_rest(server: &TestServer, caller: Caller, asked: Asked) -> Answer {
    let bearer;
    let (who, more) = match caller {
        Nobody => (None, None),
        Token(token) => {
            bearer = format!("Bearer {token}");
            (None, Some(("authorization", bearer.as_str())))
        }
        Caller::Certificate(who) => (Some(who), None),
        AdminAs(user) => (Some("admin"), Some(("impersonate-user", user))),
    };
    let (method, content_type, body) = match asked.verb {
        "create" => ("POST", JSON, asked.more),
        "update" => ("PUT", JSON, asked.more),
        "patch" => ("PATCH", MERGE, asked.more),
        "delete" => ("DELETE", JSON, asked.more),
        _ => ("GET", JSON, ""),
    };
    let headers: Vec<_> = [("content-type", content_type)].into_iter().chain(more).collect();
    let (code, _, answer) = server.send_with(who, method, &asked.path(), &headers, Bytes::from(body)).await;
    let message = if code < 400 { "" } else { answer["message"].as_str().unwrap() };
    (code, message.to_owned())
}

async fn connected(server: &TestServer, caller: Caller) -> ResourcesClient<Channel> {
    let read = |name: String| std::fs::read(server.path(&name)).unwrap();
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("ca.crt".into())));
    let certificate = match caller {
        Caller::Certificate(who) => Some(who),
        AdminAs(_) => Some("admin"),
        Nobody | Token(_) => None,
    };
    if let Some(who) = certificate {
        tls = tls.identity(Identity::from_pem(read(format!("{who}.crt")), read(format!("{who}.key"))));
    }
    let endpoint = Endpoint::from_shared(format!("https://{}", server.address)).unwrap();
    ResourcesClient::new(endpoint.tls_config(tls.domain_name("localhost")).unwrap().connect().await.unwrap())
}

fn message<T>(caller: Caller, message: T) -> Request<T> {
    let mut request = Request::new(message);
    match caller {
        Token(token) => {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        AdminAs(user) => {
            request.metadata_mut().insert("impersonate-user", user.parse().unwrap());
        }
        Nobody | Caller::Certificate(_) => {}
    }
    request
}

/// What stands in the `Status` of a refusal; of success, REST's code.
async fn by_grpc(server: &TestServer, caller: Caller, asked: Asked) -> Answer {
    let mut client = connected(server, caller).await;
    let (resource, json) = (asked.resource(), Bytes::from(asked.more));
    let field_selector = asked.more.to_owned();
    let write = || WriteRequest { resource: asked.resource(), json: json.clone(), options: None };
    let done: Result<u16, Status> = match asked.verb {
        "get" => client.get(message(caller, GetRequest { resource, ..GetRequest::default() })).await.map(|_| 200),
        "list" => {
            let list = ListRequest { resource, field_selector, ..ListRequest::default() };
            client.list(message(caller, list)).await.map(|_| 200)
        }
        "watch" => {
            let watch = WatchRequest { resource, field_selector, ..WatchRequest::default() };
            client.watch(message(caller, watch)).await.map(|_| 200)
        }
        "create" => client.create(message(caller, write())).await.map(|_| 201),
        "update" => client.update(message(caller, write())).await.map(|_| 200),
        "patch" => {
            let patch =
                PatchRequest { resource, kind: patch_request::Kind::Merge.into(), json, ..PatchRequest::default() };
            client.patch(message(caller, patch)).await.map(|_| 200)
        }
        "delete" => {
            let delete = DeleteRequest { resource, options_json: json };
            client.delete(message(caller, delete)).await.map(|_| 200)
        }
        other => panic!("no such verb: {other}"),
    };
    done.map_or_else(
        |refused| {
            let status: Value =
                serde_json::from_slice(status::of_grpc(&refused)).expect("a Status stands in the error");
            let code = u16::try_from(status["code"].as_u64().unwrap()).unwrap();
            (code, status["message"].as_str().unwrap().to_owned())
        },
        |code| (code, String::new()),
    )
}

#[tokio::test]
async fn both_doors_refuse_in_one_order() {
    let audit = Arc::new(Recorder::default());
    let recorder = audit.clone();
    let server = TestServer::start_over(Arc::new(Memory::default()), |server| server.audit = recorder).await;
    let there = json!({"metadata": {"name": "there"}}).to_string();
    let (code, answer) = server.send("POST", "/api/v1/namespaces/default/configmaps", JSON, there.into()).await;
    assert_eq!(code, 201, "{answer}");
    let maps = |verb, at, more| asked(verb, "configmaps", at, more);
    let widgets = |verb, at| asked(verb, "widgets", at, "{}");
    let unknown_field = "spec.nothing=x";
    // More than a server takes.
    let huge: &str = format!(r#"{{"data":{{"k":"{}"}}}}"#, "x".repeat(4 << 20)).leak();
    let cases = [
        ("a token that is no good, before anything else", Token("x"), widgets("get", "default/x"), 401),
        ("and before the body is looked at", Token("x"), maps("create", "default/", "{"), 401),
        ("before it is told that there is no such kind", JANE, widgets("get", "default/x"), 403),
        ("nor of a method that there is not", JANE, maps("create", "default/there", "{}"), 403),
        ("nor of an object that is not there", JANE, maps("get", "default/gone", ""), 403),
        ("nor of one that is", JANE, maps("delete", "default/there", ""), 403),
        ("nor what is wrong with a body", JANE, maps("create", "default/", "{"), 403),
        ("nor with a patch", JANE, maps("patch", "default/there", "{"), 403),
        ("nor with DeleteOptions", JANE, maps("delete", "default/there", "{"), 403),
        ("nor that it is too large", JANE, maps("update", "default/there", huge), 403),
        ("nor with a selector", JANE, maps("list", "default/", "!"), 403),
        ("nor with a watch's", JANE, maps("watch", "default/", "!"), 403),
        ("who counts as another may what that one may", AdminAs("jane"), maps("get", "default/there", ""), 403),
        ("no such kind, whatever is sent", ADMIN, widgets("create", "default/"), 404),
        ("nor to watch", ADMIN, asked("watch", "widgets", "default/", ""), 404),
        ("a namespace for what is in none", ADMIN, asked("get", "nodes", "default/n1", ""), 404),
        ("an object is not made under a name of its path", ADMIN, maps("create", "default/there", "{"), 405),
        ("a body that breaks off", ADMIN, maps("create", "default/", "{"), 400),
        ("a body that breaks off, of what is not there", ADMIN, maps("update", "default/gone", "{"), 400),
        ("a body that is too large", ADMIN, maps("update", "default/there", huge), 413),
        ("DeleteOptions that are none, of what is not there", ADMIN, maps("delete", "default/gone", "["), 400),
        ("DeleteOptions of another type", ADMIN, maps("delete", "default/there", r#"{"gracePeriodSeconds":"5"}"#), 400),
        ("DeleteOptions that are a Pod", ADMIN, maps("delete", "default/there", r#"{"kind":"Pod"}"#), 400),
        (
            "DeleteOptions that say two things",
            ADMIN,
            maps("delete", "default/there", r#"{"propagationPolicy":"Orphan","orphanDependents":true}"#),
            422,
        ),
        ("a selector that is none", ADMIN, maps("list", "default/", "!"), 400),
        ("a field that nobody can select by", ADMIN, maps("list", "default/", unknown_field), 400),
        ("nor watch by", ADMIN, maps("watch", "default/", unknown_field), 400),
        ("what is not there", ADMIN, maps("get", "default/gone", ""), 404),
        ("a change of what is not there", ADMIN, maps("patch", "default/gone", "{}"), 404),
        ("what is there already", ADMIN, maps("create", "default/", r#"{"metadata":{"name":"there"}}"#), 409),
        ("what is to be read", ADMIN, maps("get", "default/there", ""), 200),
        ("what is to be listed", ADMIN, maps("list", "default/", ""), 200),
        ("what is to be changed", ADMIN, maps("patch", "default/there", "{}"), 200),
    ];
    for (why, caller, asked, code) in cases {
        let (rest, grpc) = (by_rest(&server, caller, asked).await, by_grpc(&server, caller, asked).await);
        assert_eq!((rest.0, grpc.0), (code, code), "{why}: {caller:?}, {:?} {} {}", asked.verb, asked.plural, asked.at);
        assert_eq!(rest.1, grpc.1, "{why}, in the same words");
        let told = |event: &str| event.ends_with(&format!(": {code}"));
        let events = (audit.next(told).await, audit.next(told).await);
        // What a message is about is not read for who is not known.
        if code != 401 {
            assert_eq!(events.0, events.1, "{why}: audit is told the same");
        }
    }
    // Only of REST anybody may ask without saying who he is.
    let there = maps("get", "default/there", "");
    assert_eq!((by_rest(&server, Nobody, there).await.0, by_grpc(&server, Nobody, there).await.0), (403, 401));
}

#[tokio::test]
async fn both_doors_are_counted() {
    let server = TestServer::start(Memory::default()).await;
    let gone = asked("get", "secrets", "default/gone", "");
    let made = asked("create", "secrets", "default/", r#"{"metadata":{"generateName":"s-"}}"#);
    let malformed = asked("list", "secrets", "default/", "!");
    for (caller, asked, code) in [(ADMIN, gone, 404), (JANE, gone, 403), (ADMIN, malformed, 400), (ADMIN, made, 201)] {
        assert_eq!(by_rest(&server, caller, asked).await.0, code);
        assert_eq!(by_grpc(&server, caller, asked).await.0, code);
    }
    let unknown = asked("get", "widgets", "default/x", "");
    assert_eq!(by_grpc(&server, Token("x"), unknown).await.0, 401);
    assert_eq!(by_grpc(&server, JANE, asked("watch", "secrets", "default/", "")).await.0, 403);
    let (code, text) = server.send("GET", "/metrics", JSON, Bytes::new()).await;
    let text = text.as_str().unwrap();
    assert_eq!(code, 200, "{text}");
    for line in [
        r#"apiserver_request_total{verb="get",group="",resource="secrets",code="404"} 2"#,
        r#"apiserver_request_total{verb="get",group="",resource="secrets",code="403"} 2"#,
        r#"apiserver_request_total{verb="list",group="",resource="secrets",code="400"} 2"#,
        r#"apiserver_request_total{verb="create",group="",resource="secrets",code="201"} 2"#,
        r#"apiserver_request_total{verb="get",group="",resource="",code="401"} 1"#,
        r#"apiserver_request_total{verb="watch",group="",resource="secrets",code="403"} 1"#,
        r#"apiserver_request_duration_seconds_count{verb="get",group="",resource="secrets"} 4"#,
        r#"apiserver_request_duration_seconds_count{verb="list",group="",resource="secrets"} 2"#,
    ] {
        assert!(text.lines().any(|have| have == line), "{line} in\n{text}");
    }
    assert!(!text.contains(r#"apiserver_request_duration_seconds_count{verb="watch""#), "what lasts has no duration");
}
