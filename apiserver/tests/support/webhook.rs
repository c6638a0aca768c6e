//! A webhook over real TLS that does what its path says, and remembers what it was asked.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// What was asked: the path, and the request of the review.
type Asked = Vec<(String, Value)>;

pub(crate) struct Webhook {
    pub(crate) port: u16,
    /// Base64 of what its certificate is signed by.
    pub(crate) ca_bundle: String,
    asked: watch::Sender<Asked>,
}

impl Webhook {
    /// `certificate`: the path to it and its key, without their ends.
    pub(crate) async fn serve(certificate: &Path, ca: &Path) -> Self {
        let shown = CertificateDer::from_pem_file(certificate.with_extension("crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(certificate.with_extension("key")).unwrap();
        let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![shown], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = watch::Sender::new(Asked::new());
        let noted = asked.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, noted) = (acceptor.clone(), noted.clone());
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let service = service_fn(move |request| answer(request, noted.clone()));
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    // A client that goes away is no fault of a test.
                    let _gone = builder.serve_connection(TokioIo::new(tls), service).await;
                });
            }
        });
        let ca_bundle = STANDARD.encode(std::fs::read(ca).unwrap());
        Self { port, ca_bundle, asked }
    }

    /// What a definition says of its conversion, if it is done here.
    #[allow(dead_code, reason = "some tests define no kinds")]
    pub(crate) fn conversion(&self, path: &str) -> Value {
        json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1", "v1beta1"],
            "clientConfig": {"url": format!("https://127.0.0.1:{}/{path}", self.port), "caBundle": self.ca_bundle}}})
    }

    /// About all that is created and changed, of this group and resource.
    pub(crate) fn hook(&self, name: &str, path: &str, group: &str, resource: &str) -> Value {
        json!({"name": format!("{name}.example.com"), "sideEffects": "None", "admissionReviewVersions": ["v1", "v1beta1"],
            "timeoutSeconds": 5,
            "clientConfig": {"url": format!("https://127.0.0.1:{}/{path}", self.port), "caBundle": self.ca_bundle},
            "rules": [{"operations": ["*"], "apiGroups": [group], "apiVersions": ["*"], "resources": [resource]}]})
    }

    /// What it has been asked so far at this path; that is forgotten then.
    pub(crate) fn asked(&self, path: &str) -> Vec<Value> {
        let mut asked = Vec::new();
        self.asked.send_modify(|all| {
            let (here, others) = std::mem::take(all).into_iter().partition(|(at, _)| at == path);
            asked = here;
            *all = others;
        });
        asked.into_iter().map(|(_, request)| request).collect()
    }

    /// Waits until it is asked something at this path.
    pub(crate) async fn is_asked(&self, path: &str) {
        self.is_asked_so_often(path, 1).await;
    }
    pub(crate) async fn is_asked_so_often(&self, path: &str, times: usize) {
        let mut asked = self.asked.subscribe();
        let asked = asked.wait_for(|all| all.iter().filter(|(at, _)| at == path).count() >= times);
        tokio::time::timeout(std::time::Duration::from_secs(30), asked).await.expect("it is asked").unwrap();
    }
}

fn patch(operations: &Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string())})
}

fn add(path: &str, value: Value) -> Value {
    json!({"op": "add", "path": path, "value": value})
}

/// A label, whether there are some or not.
fn label(request: &Value, key: &str, value: Value) -> Value {
    match request["object"]["metadata"]["labels"] {
        Value::Null => add("/metadata/labels", json!({ key: value })),
        _ => add(&format!("/metadata/labels/{key}"), value),
    }
}

/// Tabs have a `hostPort` in their first version, and a `host` and a `port` in the second.
fn converted(path: &str, asked: &Value) -> Value {
    let to = asked["desiredAPIVersion"].as_str().unwrap();
    let convert = |object: &Value| {
        let mut new = object.clone();
        new["apiVersion"] = json!(to);
        if let Some(spec) = new["spec"].as_object_mut() {
            let mut take = |field: &str| spec.remove(field).and_then(|value| Some(value.as_str()?.to_owned()));
            let (both, host, port) = (take("hostPort"), take("host"), take("port"));
            let both = both.unwrap_or_else(|| format!("{}:{}", host.unwrap_or_default(), port.unwrap_or_default()));
            let (host, port) = both.split_once(':').unwrap_or((&both, ""));
            if to.ends_with("/v1") {
                spec.insert("hostPort".into(), json!(both));
            } else {
                spec.extend([("host".to_owned(), json!(host)), ("port".to_owned(), json!(port))]);
            }
        }
        new
    };
    let mut objects: Vec<Value> = asked["objects"].as_array().unwrap().iter().map(convert).collect();
    match path {
        "few" => drop(objects.pop()),
        "rename" => objects[0]["metadata"]["name"] = json!("another"),
        "retype" => objects[0]["apiVersion"] = json!("example.com/v9"),
        "nothing" => objects[0] = json!("x"),
        "meddle" => {
            objects[0]["metadata"]["finalizers"] = json!(["a.b/c"]);
            objects[0]["metadata"]["ownerReferences"] = json!([{"kind": "Guess"}]);
        }
        "label" => {
            let version = to.rsplit('/').next();
            objects.iter_mut().for_each(|object| object["metadata"]["labels"]["shown"] = json!(version));
        }
        _ => {}
    }
    let failed = json!({"status": "Failure", "message": "not today"});
    let result = if path == "refuse" { failed } else { json!({"status": "Success"}) };
    json!({"convertedObjects": objects, "result": result})
}

async fn answer(request: Request<Incoming>, noted: watch::Sender<Asked>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    assert!(request.uri().query().unwrap_or_default().starts_with("timeout="), "it is told its time");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let kind = review["kind"].as_str().unwrap().to_owned();
    let asked = review["request"].clone();
    noted.send_modify(|all| all.push((path.clone(), asked.clone())));
    let mut response = match path.as_str() {
        "deny" => json!({"allowed": false, "status": {"code": 403, "message": "not today", "reason": "Forbidden"}}),
        "scold" => json!({"allowed": false, "warnings": ["think again"], "auditAnnotations": {"why": "because"}}),
        "hang" => std::future::pending().await,
        // Only who asks about one object is answered.
        "stall" if asked["objects"].as_array().is_some_and(|objects| objects.len() > 1) => std::future::pending().await,
        "garbage" => return Ok(Response::new(Full::new(Bytes::from_static(b"<html>")))),
        "huge" => return Ok(Response::new(Full::new(Bytes::from(vec![b' '; 9 << 20])))),
        "error" => {
            let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            return Ok(response);
        }
        "uid" => json!({"allowed": true, "uid": "another"}),
        _ if kind == "ConversionReview" => converted(&path, &asked),
        "warn" => json!({"allowed": true, "warnings": ["think again"]}),
        "spoil" => patch(&json!([
            add("/metadata/uid", json!("mine")),
            add("/status", json!({"phase": "Running"})),
            add("/spec/unknown", json!(1)),
            add("/metadata/managedFields", json!([{"operation": "Guess"}]))
        ])),
        "sidecar" => patch(&json!([add("/spec/containers/-", json!({"name": "side", "image": "i"}))])),
        "secure" => {
            let context = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
            let container = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
            patch(&json!([add("/spec/securityContext", context), add("/spec/containers/0/securityContext", container)]))
        }
        "privileged" => patch(&json!([add("/spec/containers/0/securityContext", json!({"privileged": true}))])),
        "tone" => patch(&json!([label(&asked, "toned", json!("yes"))])),
        "label" => patch(&json!([label(&asked, "labelled", json!("yes"))])),
        // How many labels it has seen.
        "count" => {
            let labels = asked["object"]["metadata"]["labels"].as_object().map_or(0, serde_json::Map::len);
            patch(&json!([label(&asked, "seen", json!(labels.to_string()))]))
        }
        "nameless" => patch(&json!([{"op": "replace", "path": "/target/name", "value": ""}])),
        "rename" => patch(&json!([{"op": "replace", "path": "/metadata/name", "value": "other"}])),
        "replicas" => patch(&json!([{"op": "replace", "path": "/spec/replicas", "value": 3}])),
        _ => json!({"allowed": true}),
    };
    if response["uid"].is_null() {
        response["uid"] = asked["uid"].clone();
    }
    let review = json!({"apiVersion": review["apiVersion"], "kind": kind, "response": response});
    Ok(Response::new(Full::new(Bytes::from(review.to_string()))))
}
