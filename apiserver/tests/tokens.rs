//! Identities other than certificates, over REST: service accounts' tokens, bootstrap tokens, and others whom a request may
//! count as.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "support/server.rs"]
mod server;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use corten_apiserver::storage::memory::Memory;
use futures::StreamExt;
use serde_json::{Value, json};
use server::{ISSUER, TestServer};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const JSON: &str = "application/json";
const PODS: &str = "/api/v1/namespaces/default/pods";
const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";
const WHO_AM_I: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

async fn post(server: &TestServer, path: &str, body: Value) -> Value {
    let (code, answer) = server.send("POST", path, JSON, body.to_string().into()).await;
    assert_eq!(code, 201, "{path}: {answer}");
    answer
}

async fn token_for(server: &TestServer, request: Value) -> String {
    post(server, TOKEN, request).await["status"]["token"].as_str().unwrap().to_owned()
}

/// As somebody who has nothing but a token.
async fn with_token(server: &TestServer, token: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
    let bearer = format!("Bearer {token}");
    let headers = [("content-type", JSON), ("authorization", bearer.as_str())];
    let (code, _, answer) =
        server.send_with(None, method, path, &headers, Bytes::copy_from_slice(body.as_bytes())).await;
    (code, answer)
}

#[tokio::test]
async fn a_pods_token_makes_its_bearer_the_account_until_the_pod_is_gone() {
    let server = TestServer::start(Memory::default()).await;
    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pod = post(&server, PODS, pod).await;
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let volume = &pod["spec"]["volumes"][0];
    assert!(volume["name"].as_str().is_some_and(|name| name.starts_with("kube-api-access-")), "{volume}");
    assert_eq!(pod["spec"]["containers"][0]["volumeMounts"][0]["name"], volume["name"]);
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": uid});
    let token = token_for(&server, json!({"spec": {"boundObjectRef": bound, "expirationSeconds": 3607}})).await;
    let (code, review) = with_token(&server, &token, "POST", WHO_AM_I, "{}").await;
    assert_eq!(code, 201, "{review}");
    let info = &review["status"]["userInfo"];
    assert_eq!(info["username"], "system:serviceaccount:default:default");
    let groups = json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
    assert_eq!(info["groups"], groups);
    let extra = |key: &str| info["extra"][format!("authentication.kubernetes.io/{key}")].clone();
    assert_eq!((extra("pod-name"), extra("pod-uid")), (json!(["web"]), json!([uid])));
    assert!(extra("credential-id")[0].as_str().is_some_and(|id| id.starts_with("JTI=")), "{info}");
    let (code, refusal) = with_token(&server, &token, "GET", PODS, "").await;
    let words = r#"pods is forbidden: User "system:serviceaccount:default:default" cannot list resource "pods" in API group "" in the namespace "default""#;
    assert_eq!((code, refusal["message"].as_str()), (403, Some(words)));
    let (code, _) = server.send("DELETE", &format!("{PODS}/web?gracePeriodSeconds=0"), JSON, Bytes::new()).await;
    assert_eq!(code, 200);
    let (code, refusal) = with_token(&server, &token, "POST", WHO_AM_I, "{}").await;
    assert_eq!((code, refusal["message"].as_str()), (401, Some("Unauthorized")));
}

#[tokio::test]
async fn a_bad_token_is_never_nobodys() {
    let server = TestServer::start(Memory::default()).await;
    let good = token_for(&server, json!({})).await;
    let (body, _) = good.rsplit_once('.').unwrap();
    let (code, answer) = server.send_as(None, "GET", "/livez", JSON, Bytes::new()).await;
    assert_eq!(code, 200, "{answer}");
    for header in
        ["Bearer abc", "Bearer", "Basic amFuZTp4", &format!("Bearer {body}.AAAA"), "Bearer abcdef.0123456789abcdef"]
    {
        for path in ["/livez", PODS] {
            let (code, _, answer) =
                server.send_with(None, "GET", path, &[("authorization", header)], Bytes::new()).await;
            assert_eq!((code, answer["reason"].as_str()), (401, Some("Unauthorized")), "{header} {path}");
        }
    }
    let (code, _, answer) =
        server.send_with(Some("admin"), "GET", PODS, &[("authorization", "Bearer abc")], Bytes::new()).await;
    assert_eq!(code, 200, "a certificate comes first: {answer}");
}

#[tokio::test]
async fn others_ask_whose_a_token_is() {
    let server = TestServer::start(Memory::default()).await;
    let token = token_for(&server, json!({"spec": {"audiences": ["vault", ISSUER]}})).await;
    let review = async |token: &str, audiences: Value| {
        post(&server, REVIEWS, json!({"spec": {"token": token, "audiences": audiences}})).await["status"].clone()
    };
    for (audiences, expected) in [(json!([]), json!([ISSUER])), (json!(["vault", "bank"]), json!(["vault"]))] {
        let status = review(&token, audiences).await;
        assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &expected), "{status}");
        assert_eq!(status["user"]["username"], "system:serviceaccount:default:default");
    }
    let status = review(&token, json!(["bank"])).await;
    let words = format!(r#"token audiences ["vault" "{ISSUER}"] is invalid for the target audiences ["bank"]"#);
    assert_eq!((&status["authenticated"], status["error"].as_str()), (&Value::Null, Some(words.as_str())), "{status}");
    assert_eq!(review("abc", json!([])).await["error"], "invalid bearer token");
    let (code, _) = server.send("POST", REVIEWS, JSON, r#"{"spec":{}}"#.into()).await;
    assert_eq!(code, 400);
}

#[tokio::test]
async fn what_tokens_are_verified_with_is_published() {
    let server = TestServer::start(Memory::default()).await;
    let token = token_for(&server, json!({})).await;
    let bearer = format!("Bearer {token}");
    let get = async |path: &str| {
        let (code, headers, body) =
            server.send_with(None, "GET", path, &[("authorization", bearer.as_str())], Bytes::new()).await;
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!((code, header("cache-control").as_str()), (200, "public, max-age=3600"), "{path}: {body}");
        (header("content-type"), body)
    };
    let (content_type, document) = get("/.well-known/openid-configuration").await;
    assert_eq!(content_type, "application/json");
    assert_eq!(
        (&document["issuer"], &document["jwks_uri"]),
        (&json!(ISSUER), &json!(format!("{ISSUER}/openid/v1/jwks")))
    );
    let (content_type, keys) = get("/openid/v1/jwks").await;
    assert_eq!(content_type, "application/jwk-set+json");
    let header: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
    assert_eq!((&keys["keys"][0]["kid"], &keys["keys"][0]["alg"]), (&header["kid"], &header["alg"]));
    let (code, _) = server.send_as(None, "GET", "/openid/v1/jwks", JSON, Bytes::new()).await;
    assert_eq!(code, 403, "for those who have an account");
}

#[tokio::test]
async fn a_browser_carries_its_token_in_a_subprotocol() {
    let server = TestServer::start(Memory::default()).await;
    let token = token_for(&server, json!({})).await;
    let open = async |who: Option<&str>, token: &str| {
        let protocols = format!("base64url.bearer.authorization.k8s.io.{}, mine", URL_SAFE_NO_PAD.encode(token));
        let mut request = format!("wss://localhost{PODS}?watch=1&timeoutSeconds=1").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        tokio_tungstenite::client_async(request, server.connect(who).await).await
    };
    for (token, code, why) in [("abc", 401, "it is none"), (token.as_str(), 403, "it may not watch pods")] {
        match open(None, token).await {
            Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), code, "{why}"),
            other => panic!("{why}: {:?}", other.map(drop)),
        }
    }
    let (mut socket, response) = open(Some("admin"), &token).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "mine", "the token is not sent back");
    while socket.next().await.is_some_and(|message| message.is_ok()) {}
}

#[tokio::test]
async fn who_joins_a_cluster_has_a_bootstrap_token() {
    let server = TestServer::start(Memory::default()).await;
    let encode = |text: &str| STANDARD.encode(text);
    let secret = json!({
        "metadata": {"name": "bootstrap-token-abcdef"},
        "type": "bootstrap.kubernetes.io/token",
        "data": {
            "token-id": encode("abcdef"),
            "token-secret": encode("0123456789abcdef"),
            "usage-bootstrap-authentication": encode("true"),
            "auth-extra-groups": encode("system:bootstrappers:mine"),
        },
    });
    post(&server, "/api/v1/namespaces/kube-system/secrets", secret).await;
    let (code, review) = with_token(&server, "abcdef.0123456789abcdef", "POST", WHO_AM_I, "{}").await;
    assert_eq!(code, 201, "{review}");
    let info = &review["status"]["userInfo"];
    assert_eq!(info["username"], "system:bootstrap:abcdef");
    assert_eq!(info["groups"], json!(["system:bootstrappers", "system:bootstrappers:mine", "system:authenticated"]));
    let (code, _) = with_token(&server, "abcdef.0123456789abcdeg", "POST", WHO_AM_I, "{}").await;
    assert_eq!(code, 401);
}

#[tokio::test]
async fn a_request_counts_as_anothers_where_its_sender_may_be_him() {
    let server = TestServer::start(Memory::default()).await;
    let as_other = async |who: &str, headers: &[(&str, &str)], path: &str, method: &str| {
        let headers: Vec<(&str, &str)> = [("content-type", JSON)].iter().chain(headers).copied().collect();
        let body = if method == "POST" { "{}" } else { "" };
        let (code, _, answer) = server.send_with(Some(who), method, path, &headers, body.into()).await;
        (code, answer)
    };
    let whole = [
        ("impersonate-user", "bob"),
        ("impersonate-group", "dev"),
        ("impersonate-uid", "7"),
        ("impersonate-extra-acme.com%2Fproject", "x"),
    ];
    let (code, review) = as_other("admin", &whole, WHO_AM_I, "POST").await;
    let expected = json!({"username": "bob", "uid": "7", "groups": ["dev", "system:authenticated"], "extra": {"acme.com/project": ["x"]}});
    assert_eq!((code, &review["status"]["userInfo"]), (201, &expected), "{review}");
    let account = [("impersonate-user", "system:serviceaccount:default:default")];
    let (_, review) = as_other("admin", &account, WHO_AM_I, "POST").await;
    let groups = json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
    assert_eq!(review["status"]["userInfo"]["groups"], groups);
    let (code, refusal) = as_other("admin", &[("impersonate-user", "bob")], PODS, "GET").await;
    let words =
        r#"pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default""#;
    assert_eq!((code, refusal["message"].as_str()), (403, Some(words)));
    let (code, _) =
        as_other("admin", &[("impersonate-user", "x"), ("impersonate-group", "system:masters")], PODS, "GET").await;
    assert_eq!(code, 200, "who may be anybody may be a master");
    let (code, refusal) = as_other("jane", &[("impersonate-user", "bob")], PODS, "GET").await;
    let words = r#"pods is forbidden: User "jane" cannot impersonate-on:user-info:list resource "pods" in API group "" in the namespace "default""#;
    assert_eq!((code, refusal["message"].as_str()), (403, Some(words)));
    let (code, refusal) = as_other("jane", &[("impersonate-user", "bob")], "/version", "GET").await;
    assert_eq!(
        (code, refusal["message"].as_str()),
        (403, Some(r#"forbidden: User "jane" cannot impersonate-on:user-info:get path "/version""#))
    );
    let (code, _) = as_other("admin", &[("impersonate-group", "dev")], PODS, "GET").await;
    assert_eq!(code, 400);
}
