//! The gRPC service, called as tonic calls it.

use corten_proto::api::resources_server::Resources as _;
use serde_json::{Value, json};
use tonic::Code;

use super::bind::Binds;
use super::*;
use crate::connect::kubelets::{KubeletTls, Kubelets};
use crate::metrics::Metrics;
use crate::pipeline::audit::Log;
use crate::pipeline::{self, Means};
use crate::registry::Registry;
use crate::request::Verb;
use crate::request_info::{self, Lasts, Question, Read, RequestId, Subject};
use crate::resources::testing::settings;
use crate::storage::memory::Memory;

/// The service behind as much of the way to it as a call needs: who calls is known, and asked about.
struct Door(Service);

async fn service() -> Door {
    let settings = settings();
    let storage = Arc::new(Memory::default());
    let resources = Resources::start(storage, Registry::default(), settings).await.unwrap();
    let none = || "/nowhere".into();
    let kubelets = Kubelets::new(KubeletTls { cert: none(), key: none(), ca: none() });
    let usage = Collector::new(resources.clone(), kubelets);
    Door(Service { resources, flow: FlowControl::default(), usage })
}

impl Door {
    /// `fields`: the selector of a list or watch.
    async fn admitted<T>(
        &self,
        verb: Verb,
        resource: Option<Resource>,
        fields: &str,
        mut request: Request<T>,
    ) -> Result<Request<T>, Status> {
        let Some(user) = request.extensions().get::<Arc<User>>().cloned() else { return Ok(request) };
        let fields = match verb {
            Verb::List | Verb::Watch => asked_of(fields, resource.as_ref()),
            _ => FieldSelector::default(),
        };
        let r = resource.unwrap_or_default();
        let target = Target {
            group: r.group,
            version: r.version,
            resource: r.plural,
            subresource: r.subresource,
            namespace: r.namespace,
            name: r.name,
        };
        let allowed = self.0.resources.authorize(&user, verb, &target, &fields).await.map_err(|err| refused(&err))?;
        let question = Question { fields, ..Question::about(Subject::Resource { verb, target }) };
        let read = Read::Question(question);
        let info = RequestInfo::new(RequestId::new(None), request_info::Door::Grpc, verb.as_str(), Lasts::Short, read);
        request.extensions_mut().insert(Arc::new(info));
        request.extensions_mut().insert(Arc::new(allowed));
        Ok(request)
    }
    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Object>, Status> {
        let resource = request.get_ref().resource.clone();
        self.0.get(self.admitted(Verb::Get, resource, "", request).await?).await
    }
    async fn list(&self, request: Request<ListRequest>) -> Result<Response<BoxStream<ListChunk>>, Status> {
        let (resource, fields) = (request.get_ref().resource.clone(), request.get_ref().field_selector.clone());
        self.0.list(self.admitted(Verb::List, resource, &fields, request).await?).await
    }
    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<BoxStream<WatchBatch>>, Status> {
        let (resource, fields) = (request.get_ref().resource.clone(), request.get_ref().field_selector.clone());
        self.0.watch(self.admitted(Verb::Watch, resource, &fields, request).await?).await
    }
    async fn create(&self, request: Request<WriteRequest>) -> Result<Response<Object>, Status> {
        let resource = request.get_ref().resource.clone();
        self.0.create(self.admitted(Verb::Create, resource, "", request).await?).await
    }
    async fn update(&self, request: Request<WriteRequest>) -> Result<Response<Object>, Status> {
        let resource = request.get_ref().resource.clone();
        self.0.update(self.admitted(Verb::Update, resource, "", request).await?).await
    }
    async fn patch(&self, request: Request<PatchRequest>) -> Result<Response<Object>, Status> {
        let resource = request.get_ref().resource.clone();
        self.0.patch(self.admitted(Verb::Patch, resource, "", request).await?).await
    }
    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<Object>, Status> {
        let resource = request.get_ref().resource.clone();
        self.0.delete(self.admitted(Verb::Delete, resource, "", request).await?).await
    }
}

#[tokio::test]
async fn what_a_message_says_twice_is_what_was_allowed() {
    let s = service().await;
    let get = |name: &str| GetRequest { resource: resource("configmaps", "default", name), ..GetRequest::default() };
    let of_a = s.admitted(Verb::Get, get("a").resource, "", by_admin(get("b"))).await.unwrap();
    assert_eq!(code(s.0.get(of_a).await), 400, "another object");
    let list = |field_selector: &str| {
        let resource = resource("pods", "", "");
        ListRequest { resource, field_selector: field_selector.into(), ..ListRequest::default() }
    };
    let asked = by_admin(list("spec.nodeName=n2"));
    let of_n1 = s.admitted(Verb::List, list("").resource, "spec.nodeName=n1", asked).await.unwrap();
    assert_eq!(code(s.0.list(of_n1).await.map(drop)), 400, "another node's pods");
    let delete = DeleteRequest { resource: get("a").resource, ..DeleteRequest::default() };
    let as_get = s.admitted(Verb::Get, get("a").resource, "", by_admin(delete)).await.unwrap();
    assert_eq!(code(s.0.delete(as_get).await), 500, "another verb");
}

fn by<T>(user: &str, groups: &[&str], message: T) -> Request<T> {
    let groups = groups.iter().map(ToString::to_string).collect();
    let mut request = Request::new(message);
    request.extensions_mut().insert(Arc::new(User { name: user.into(), groups, ..User::default() }));
    request
}
fn by_admin<T>(message: T) -> Request<T> {
    by("admin", &["system:masters"], message)
}
fn resource(plural: &str, namespace: &str, name: &str) -> Option<Resource> {
    let (version, plural) = ("v1".into(), plural.into());
    Some(Resource { version, plural, namespace: namespace.into(), name: name.into(), ..Resource::default() })
}
fn json_of(object: &Value) -> Bytes {
    object.to_string().into()
}

#[tokio::test]
async fn objects_travel_with_their_names_and_revision_outside() {
    let s = service().await;
    let object = json_of(&json!({"metadata": {"name": "a"}, "data": {"k": "v"}}));
    let create = WriteRequest { resource: resource("configmaps", "default", ""), json: object, options: None };
    let made = s.create(by_admin(create.clone())).await.unwrap().into_inner();
    assert_eq!((&*made.namespace, &*made.name, made.revision > 0), ("default", "a", true));
    let get = GetRequest { resource: resource("configmaps", "default", "a"), ..GetRequest::default() };
    assert_eq!(s.get(by_admin(get.clone())).await.unwrap().into_inner(), made);

    let again = s.create(by_admin(create)).await.unwrap_err();
    let status: Value = serde_json::from_slice(status::of_grpc(&again)).unwrap();
    assert_eq!((again.code(), &status["reason"]), (Code::Aborted, &json!("AlreadyExists")));
    assert_eq!(s.get(Request::new(get.clone())).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(s.get(by("nobody", &[], get)).await.unwrap_err().code(), Code::PermissionDenied);

    let list = ListRequest { resource: resource("configmaps", "default", ""), ..ListRequest::default() };
    let chunks: Vec<ListChunk> = s.list(by_admin(list)).await.unwrap().into_inner().map(Result::unwrap).collect().await;
    assert_eq!((chunks.len(), &chunks[0].items[..]), (1, &[made.clone()][..]));
    let none = ListRequest { resource: resource("configmaps", "kube-system", ""), ..ListRequest::default() };
    let chunks: Vec<_> = s.list(by_admin(none)).await.unwrap().into_inner().collect().await;
    assert!(chunks.len() == 1 && chunks[0].as_ref().unwrap().revision >= made.revision, "empty, and of a revision");
}

#[tokio::test]
async fn who_asks_for_metadata_gets_no_more() {
    let s = service().await;
    let object = json_of(&json!({"metadata": {"name": "a"}, "data": {"k": "v"}}));
    s.create(by_admin(WriteRequest { resource: resource("configmaps", "default", ""), json: object, options: None }))
        .await
        .unwrap();
    let is_narrow = |object: &Object| {
        let json: Value = serde_json::from_slice(&object.json).unwrap();
        json["data"].is_null() && json["kind"] == "PartialObjectMetadata" && json["metadata"]["name"] == "a"
    };
    let metadata_only = true;
    let get = GetRequest { resource: resource("configmaps", "default", "a"), metadata_only };
    assert!(is_narrow(&s.get(by_admin(get)).await.unwrap().into_inner()));
    let of_all = resource("configmaps", "default", "");
    let list = ListRequest { resource: of_all.clone(), metadata_only, ..ListRequest::default() };
    let chunk = s.list(by_admin(list)).await.unwrap().into_inner().next().await.unwrap().unwrap();
    assert!(is_narrow(&chunk.items[0]));
    let watch = WatchRequest { resource: of_all, metadata_only, ..WatchRequest::default() };
    let batch = s.watch(by_admin(watch)).await.unwrap().into_inner().next().await.unwrap().unwrap();
    assert!(is_narrow(batch.events[0].object.as_ref().unwrap()));
}

#[tokio::test]
async fn a_watch_begins_with_the_state_and_resumes_behind_it() {
    let s = service().await;
    let watch = |resume_after| {
        let resource = resource("namespaces", "", "");
        by_admin(WatchRequest { resource, resume_after, ..WatchRequest::default() })
    };
    let mut events = s.watch(watch(0)).await.unwrap().into_inner();
    let state = events.next().await.unwrap().unwrap();
    assert_eq!((state.events.len(), state.state_complete), (4, true));
    let json = json_of(&json!({"metadata": {"name": "n"}}));
    s.create(by_admin(WriteRequest { resource: resource("namespaces", "", ""), json, options: None })).await.unwrap();
    let mut resumed = s.watch(watch(state.revision)).await.unwrap().into_inner();
    for stream in [&mut events, &mut resumed] {
        let batch = stream.next().await.unwrap().unwrap();
        let object = batch.events[0].object.as_ref().unwrap();
        assert_eq!((&*object.name, object.revision, batch.state_complete), ("n", batch.revision, false));
    }
}

/// Who leads anew asks so of all that it watches, however quiet: without it the next bookmark could be a minute away.
#[tokio::test]
async fn a_watch_that_resumes_tells_at_once_that_it_has_seen_a_revision() {
    let s = service().await;
    let watch = |resume_after, report_at| {
        let resource = resource("namespaces", "", "");
        by_admin(WatchRequest { resource, resume_after, report_at, ..WatchRequest::default() })
    };
    let create = |plural: &str, namespace: &str, name: &str| {
        let (resource, json) = (resource(plural, namespace, ""), json_of(&json!({"metadata": {"name": name}})));
        s.create(by_admin(WriteRequest { resource, json, options: None }))
    };
    let mut events = s.watch(watch(0, 0)).await.unwrap().into_inner();
    let state = events.next().await.unwrap().unwrap().revision;
    let elsewhere = create("configmaps", "default", "a").await.unwrap().into_inner().revision;
    let mut quiet = s.watch(watch(state, elsewhere)).await.unwrap().into_inner();
    let told = quiet.next().await.unwrap().unwrap();
    assert!(told.events.is_empty() && told.revision >= elsewhere, "{told:?}");
    let here = create("namespaces", "", "n").await.unwrap().into_inner().revision;
    let newest = create("configmaps", "default", "b").await.unwrap().into_inner().revision;
    let mut busy = s.watch(watch(state, newest)).await.unwrap().into_inner();
    let told = [busy.next().await.unwrap().unwrap(), busy.next().await.unwrap().unwrap()];
    assert_eq!((told[0].events.len(), told[0].revision), (1, here), "what is there comes first");
    assert!(told[1].events.is_empty() && told[1].revision >= newest, "{told:?}");
}

#[tokio::test]
async fn binds_answer_each_for_itself() {
    let s = service().await;
    let create = |plural: &str, object: Value| {
        let resource = resource(plural, "default", "");
        s.create(by_admin(WriteRequest { resource, json: json_of(&object), options: None }))
    };
    create("serviceaccounts", json!({"metadata": {"name": "default"}})).await.unwrap();
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    create("pods", json!({"metadata": {"name": "web"}, "spec": spec})).await.unwrap();
    let scheduler = User { name: "system:kube-scheduler".into(), ..User::default() };
    let Service { resources, flow, .. } = s.0.clone();
    let pods = resources.registry().find("", "v1", "pods");
    let metrics = Arc::new(Metrics::new(&flow));
    let (audit, unfinished) = (Arc::new(Log), Arc::default());
    let means = Means { resources: resources.clone(), flow, metrics: metrics.clone(), audit, unfinished };
    let pipeline = pipeline::messages(&means, Binds::new(resources));
    let bind = |id, pod: &str, user: User| {
        let asked =
            BindRequest { id, namespace: "default".into(), pod: pod.into(), uid: String::new(), node: "n1".into() };
        let (pipeline, asking, resource) = (pipeline.clone(), bind::room_to_ask(), pods.clone());
        let binder = Binder { pipeline, user: Arc::new(user), fence: None, asking, resource };
        async move { bind::reply(binder, asked).await }
    };
    let done = bind(7, "web", scheduler.clone()).await;
    assert_eq!((done.id, &*done.error_status_json), (7, &b""[..]));
    for (pod, user, reason) in
        [("web", scheduler.clone(), "Conflict"), ("none", scheduler, "NotFound"), ("web", User::default(), "Forbidden")]
    {
        let refused: Value = serde_json::from_slice(&bind(8, pod, user).await.error_status_json).unwrap();
        assert_eq!(refused["reason"], reason, "{pod}");
    }
    let counted = metrics.render(&means.flow).unwrap();
    for (code, count) in [(201, 1), (409, 1), (404, 1), (403, 1)] {
        let line =
            format!(r#"apiserver_request_total{{verb="create",group="",resource="pods",code="{code}"}} {count}"#);
        assert!(counted.contains(&line), "{line} in\n{counted}");
    }
}

#[test]
fn a_message_claims_no_revision_that_it_has_not_told_whole() {
    let large = format!(r#"{{"metadata":{{"name":"a"}},"data":"{}"}}"#, "x".repeat(CHUNK_BYTES * 2 / 3));
    let event = |revision| {
        let item = Item::new("a", large.as_bytes(), revision, EventKind::Added, &[]).unwrap();
        Event { kind: EventKind::Added, item: Arc::new(item) }
    };
    let cases = [
        ("a revision each", vec![5, 6, 9], vec![5, 8, 9]),
        ("one revision in two messages: who resumes after the first must get the second", vec![5, 6, 6], vec![5, 5, 6]),
        ("alone", vec![5], vec![5]),
    ];
    for (why, revisions, claimed) in cases {
        let messages = batches(revisions.into_iter().map(event).collect());
        assert_eq!(messages.iter().map(|m| m.revision).collect::<Vec<_>>(), claimed, "{why}");
    }
}

#[tokio::test]
async fn a_dry_run_in_the_options_of_a_delete_deletes_nothing() {
    let s = service().await;
    let object = json_of(&json!({"metadata": {"name": "a"}}));
    s.create(by_admin(WriteRequest { resource: resource("configmaps", "default", ""), json: object, options: None }))
        .await
        .unwrap();
    let delete = |options: &'static str| {
        by_admin(DeleteRequest { resource: resource("configmaps", "default", "a"), options_json: options.into() })
    };
    s.delete(delete(r#"{"dryRun":["All"]}"#)).await.unwrap();
    let get = || by_admin(GetRequest { resource: resource("configmaps", "default", "a"), ..GetRequest::default() });
    s.get(get()).await.unwrap();
    s.delete(delete("")).await.unwrap();
    assert_eq!(s.get(get()).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_token_is_asked_for_as_any_subresource() {
    let service = service().await;
    let write = |plural: &str, name: &str, subresource: &str, body: Value| {
        let resource = resource(plural, "default", name).map(|of| Resource { subresource: subresource.into(), ..of });
        by_admin(WriteRequest { resource, json: Bytes::from(body.to_string()), options: None })
    };
    let account = json!({"metadata": {"name": "robot"}});
    service.create(write("serviceaccounts", "", "", account)).await.unwrap();
    let asked = json!({"spec": {"expirationSeconds": 600}});
    let answer = service.create(write("serviceaccounts", "robot", "token", asked)).await.unwrap().into_inner();
    let request: Value = serde_json::from_slice(&answer.json).unwrap();
    assert_eq!((answer.namespace.as_str(), answer.name.as_str(), answer.revision), ("default", "robot", 0));
    assert!(request["status"]["token"].as_str().is_some_and(|token| token.split('.').count() == 3), "{request}");
}

/// The code of a refusal.
fn code<T>(answer: Result<T, Status>) -> Value {
    let refused = answer.err().expect("it is refused");
    serde_json::from_slice::<Value>(status::of_grpc(&refused)).unwrap()["code"].clone()
}

#[tokio::test]
async fn an_object_is_made_under_the_name_that_roles_were_asked_about() {
    let s = service().await;
    let create = |name: &str, object: &str| {
        let (resource, json) =
            (resource("configmaps", "default", name), json_of(&json!({"metadata": {"name": object}})));
        s.create(by_admin(WriteRequest { resource, json, options: None }))
    };
    for (name, object) in [("a", "b"), ("a", "a")] {
        assert_eq!(code(create(name, object).await), 405, "{name} {object}");
    }
    create("", "a").await.unwrap();
    // Nor does a kubelet make another's Lease, or a Node of another name, by naming its own.
    for (group, plural, namespace) in [("coordination.k8s.io", "leases", "kube-node-lease"), ("", "nodes", "")] {
        let resource = resource(plural, namespace, "n1").map(|of| Resource { group: group.into(), ..of });
        let json = json_of(&json!({"metadata": {"name": "n2"}}));
        let write = by("system:node:n1", &["system:nodes"], WriteRequest { resource, json, options: None });
        assert_eq!(code(s.create(write).await), 405, "{plural}");
    }
}

#[tokio::test]
async fn what_is_in_no_namespace_is_not_asked_for_in_one() {
    let s = service().await;
    let at = |name: &str| resource("nodes", "default", name);
    let (label_selector, field_selector) = (String::new(), String::new());
    let list = ListRequest { resource: at(""), label_selector, field_selector, metadata_only: false };
    assert_eq!(code(s.list(by_admin(list)).await.map(drop)), 404);
    let watch = WatchRequest { resource: at(""), ..WatchRequest::default() };
    assert_eq!(code(s.watch(by_admin(watch)).await.map(drop)), 404);
    assert_eq!(code(s.get(by_admin(GetRequest { resource: at("n1"), metadata_only: false })).await), 404);
    let json = json_of(&json!({"metadata": {"name": "n1"}}));
    let write = |name: &str| by_admin(WriteRequest { resource: at(name), json: json.clone(), options: None });
    assert_eq!(code(s.create(write("")).await), 404);
    assert_eq!(code(s.update(write("n1")).await), 404);
    let patch = PatchRequest { resource: at("n1"), json: "{}".into(), ..PatchRequest::default() };
    assert_eq!(code(s.patch(by_admin(patch)).await), 404);
    let delete = DeleteRequest { resource: at("n1"), options_json: Bytes::new() };
    assert_eq!(code(s.delete(by_admin(delete)).await), 404);
}

#[tokio::test]
async fn a_part_of_an_object_is_not_the_whole() {
    let s = service().await;
    let account = json_of(&json!({"metadata": {"name": "default"}}));
    let resource_of = |plural: &str| resource(plural, "default", "");
    s.create(by_admin(WriteRequest { resource: resource_of("serviceaccounts"), json: account, options: None }))
        .await
        .unwrap();
    let spec = json!({"containers": [{"name": "c", "image": "i", "env": [{"name": "A", "value": "secret"}]}]});
    let json = json_of(&json!({"metadata": {"name": "web"}, "spec": spec}));
    s.create(by_admin(WriteRequest { resource: resource_of("pods"), json, options: None })).await.unwrap();
    let part = |subresource: &str| {
        resource("pods", "default", "web").map(|of| Resource { subresource: subresource.into(), ..of })
    };
    for (subresource, expected) in [
        ("log", 405),
        ("exec", 405),
        ("attach", 405),
        ("portforward", 405),
        ("eviction", 405),
        ("binding", 405),
        ("scale", 404),
    ] {
        let get = GetRequest { resource: part(subresource), metadata_only: false };
        assert_eq!(code(s.get(by_admin(get)).await), expected, "{subresource}");
    }
    s.get(by_admin(GetRequest { resource: part("status"), metadata_only: false })).await.unwrap();
    let list = ListRequest { resource: part("status"), ..ListRequest::default() };
    assert_eq!(code(s.list(by_admin(list)).await.map(drop)), 405);
    let watch = WatchRequest { resource: part("log"), ..WatchRequest::default() };
    assert_eq!(code(s.watch(by_admin(watch)).await.map(drop)), 405);
}

#[tokio::test]
async fn who_may_reach_a_service_may_not_read_it_for_that() {
    let service = service().await;
    let web = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}});
    let made = WriteRequest { resource: resource("services", "default", ""), json: json_of(&web), options: None };
    service.create(by_admin(made)).await.unwrap();
    for (subresource, expected) in [("", None), ("status", None), ("proxy", Some(405))] {
        let resource =
            resource("services", "default", "web").map(|of| Resource { subresource: subresource.into(), ..of });
        let read = service.get(by_admin(GetRequest { resource, ..GetRequest::default() })).await;
        let code = read.err().map(|status| {
            let status: Value = serde_json::from_slice(corten_proto::status::of_grpc(&status)).unwrap();
            status["code"].as_i64().unwrap()
        });
        assert_eq!(code, expected, "services/{subresource}");
    }
}
