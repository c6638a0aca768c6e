//! TokenRequests, and who bears what they gave.

use super::*;
use crate::authn::TokenError;

fn kubelet() -> User {
    let groups = vec!["system:nodes".into(), "system:authenticated".into()];
    User { name: "system:node:n1".into(), groups, ..User::default() }
}

async fn ask(c: &Cluster, user: &User, account: &str, request: Value) -> Result<(Value, Vec<String>), ApiError> {
    let at = target("serviceaccounts/token", &format!("n/{account}"));
    let written =
        c.resources.create(&allowed(user, &at), Bytes::from(request.to_string()), WriteOptions::default()).await?;
    Ok((serde_json::from_slice(&written.object).unwrap(), written.warnings))
}

/// With a pod on node n1, a Secret and the node; and their uids.
async fn with_objects() -> (Cluster, [String; 4]) {
    let c = Cluster::new().await;
    let uid = |object: Value| object["metadata"]["uid"].as_str().unwrap().to_owned();
    let node = uid(c.create("nodes", "", json!({"metadata": {"name": "n1"}})).await.unwrap());
    let mut pod = pod("web");
    pod["spec"]["nodeName"] = "n1".into();
    let pod = uid(c.create("pods", "n/", pod).await.unwrap());
    let secret = uid(c.create("secrets", "n/", json!({"metadata": {"name": "s"}})).await.unwrap());
    let account = uid(c.get("serviceaccounts", "n/default").await.unwrap());
    (c, [account, pod, node, secret])
}

fn bound(kind: &str, name: &str, uid: &str) -> Value {
    json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}}})
}

fn claims(token: &Value) -> Value {
    use base64::Engine;
    let payload = token["status"]["token"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn a_request_is_answered_with_all_that_it_left_out() {
    let (c, [account, ..]) = with_objects().await;
    let (answer, warnings) = ask(&c, &c.admin, "default", json!({})).await.unwrap();
    assert_eq!((answer["kind"].as_str(), warnings.len()), (Some("TokenRequest"), 0));
    let meta = &answer["metadata"];
    assert_eq!((&meta["name"], &meta["namespace"], &meta["uid"]), (&json!("default"), &json!("n"), &json!(account)));
    assert_eq!(
        answer["spec"],
        json!({"audiences": ["https://kubernetes.default.svc", "api"], "expirationSeconds": 3600})
    );
    let claims = claims(&answer);
    let expected = json!({"namespace": "n", "serviceaccount": {"name": "default", "uid": account}});
    assert_eq!((&claims["sub"], &claims["kubernetes.io"]), (&json!("system:serviceaccount:n:default"), &expected));
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!((life, claims["jti"].as_str().unwrap().len()), (3600, 36));
    let at: k8s_openapi::jiff::Timestamp = answer["status"]["expirationTimestamp"].as_str().unwrap().parse().unwrap();
    assert_eq!(Some(at.as_second()), claims["exp"].as_i64());
}

#[tokio::test]
async fn tokens_are_bound_to_what_is_named() {
    let (c, [account, pod, node, secret]) = with_objects().await;
    let own = json!({"namespace": "n", "serviceaccount": {"name": "default", "uid": account}});
    let with = |more: Value| {
        let mut all = own.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let named = |name: &str, uid: &String| json!({"name": name, "uid": uid});
    for (request, expected) in [
        (bound("Pod", "web", &pod), with(json!({"pod": named("web", &pod), "node": named("n1", &node)}))),
        (bound("Pod", "web", ""), with(json!({"pod": named("web", &pod), "node": named("n1", &node)}))),
        (bound("Node", "n1", &node), with(json!({"node": named("n1", &node)}))),
        (bound("Secret", "s", &secret), with(json!({"secret": named("s", &secret)}))),
    ] {
        let (answer, _) = ask(&c, &c.admin, "default", request.clone()).await.unwrap();
        assert_eq!(claims(&answer)["kubernetes.io"], expected, "{request}");
    }
}

#[tokio::test]
async fn requests_that_are_refused() {
    let (c, [account, pod, ..]) = with_objects().await;
    c.create("serviceaccounts", "n/", json!({"metadata": {"name": "other"}})).await.unwrap();
    let life = |secs: i64| json!({"spec": {"expirationSeconds": secs}});
    let invalid = |field: &str, why: &str| {
        (Reason::Invalid, format!("TokenRequest.authentication.k8s.io \"\" is invalid: {field}: Invalid value: {why}"))
    };
    let uid = "the UID in the bound object reference (other) does not match the UID in record. The object might have been deleted and then recreated";
    let named = |field: &str| {
        format!(
            "TokenRequest.authentication.k8s.io \"default\" is invalid: metadata.{field}: Invalid value: \"x\": must match the service account {field} if specified"
        )
    };
    for (account_name, request, expected) in [
        ("default", life(599), invalid("spec.expirationSeconds", "599: may not specify a duration less than 10 minutes")),
        ("default", life(-1), invalid("spec.expirationSeconds", "-1: may not specify a duration less than 10 minutes")),
        ("default", life((1 << 32) + 1), invalid("spec.expirationSeconds", "4294967297: may not specify a duration larger than 2^32 seconds")),
        ("gone", json!({}), (Reason::NotFound, r#"serviceaccounts "gone" not found"#.into())),
        ("default", json!({"metadata": {"name": "x"}}), (Reason::Invalid, named("name"))),
        ("default", json!({"metadata": {"namespace": "x"}}), (Reason::Invalid, named("namespace"))),
        (
            "default",
            json!({"metadata": {"uid": "x"}}),
            (Reason::Conflict, format!("Operation cannot be fulfilled on TokenRequest.authentication.k8s.io \"default\": the UID in the token request (x) does not match the UID of the service account ({account})")),
        ),
        ("default", bound("Pod", "gone", ""), (Reason::NotFound, r#"pods "gone" not found"#.into())),
        ("default", bound("Secret", "gone", ""), (Reason::NotFound, r#"secrets "gone" not found"#.into())),
        ("default", bound("Node", "gone", ""), (Reason::NotFound, r#"nodes "gone" not found"#.into())),
        ("default", bound("Pod", "web", "other"), (Reason::Conflict, format!("Operation cannot be fulfilled on Pod \"web\": {uid}"))),
        (
            "other",
            bound("Pod", "web", &pod),
            (Reason::BadRequest, "cannot bind token for serviceaccount \"other\" to pod running with different serviceaccount name.".into()),
        ),
        (
            "default",
            json!({"spec": {"boundObjectRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}}),
            (Reason::BadRequest, "cannot bind token to object of type apps/v1, Kind=Deployment".into()),
        ),
        (
            "default",
            json!({"spec": {"audiences": ["x".repeat(20_000)]}}),
            (Reason::Invalid, "TokenRequest.authentication.k8s.io \"\" is invalid: spec.audiences: Too long: may not be more than 16384 bytes".into()),
        ),
    ] {
        let text: String = request.to_string().chars().take(100).collect();
        assert_eq!(reason(ask(&c, &c.admin, account_name, request).await), expected, "{account_name} {text}");
    }
    let wrong = ask(&c, &c.admin, "default", json!({"spec": {"audiences": 5}})).await;
    assert_eq!(reason(wrong).0, Reason::BadRequest);
}

#[tokio::test]
async fn a_pods_usual_token_lives_on_and_others_do_not() {
    let (c, [_, pod, ..]) = with_objects().await;
    let of = async |secs: i64, audiences: Value, binding: Value| {
        let mut request = binding;
        request["spec"]["expirationSeconds"] = secs.into();
        request["spec"]["audiences"] = audiences;
        let (answer, _) = ask(&c, &c.admin, "default", request).await.unwrap();
        let claims = claims(&answer);
        let told: k8s_openapi::jiff::Timestamp =
            answer["status"]["expirationTimestamp"].as_str().unwrap().parse().unwrap();
        let begun = claims["iat"].as_i64().unwrap();
        let warned = claims["kubernetes.io"]["warnafter"].as_i64().map(|at| at - begun);
        (claims["exp"].as_i64().unwrap() - begun, told.as_second() - begun, warned)
    };
    let web = || bound("Pod", "web", &pod);
    assert_eq!(of(3607, json!([]), web()).await, (31_536_000, 3607, Some(3607)));
    assert_eq!(of(3607, json!(["api"]), web()).await, (31_536_000, 3607, Some(3607)));
    assert_eq!(of(3607, json!(["vault"]), web()).await, (3607, 3607, None), "for others");
    assert_eq!(of(3606, json!([]), web()).await, (3606, 3606, None), "of another life");
    assert_eq!(of(3607, json!([]), json!({"spec": {}})).await, (3607, 3607, None), "of no pod");
}

#[tokio::test]
async fn no_life_is_longer_than_the_server_lets_it() {
    let rules = crate::authn::tokens::Rules { max_life_secs: Some(7200), ..crate::authn::testing::rules() };
    let tokens = Arc::new(Tokens::new(rules, crate::authn::testing::ecdsa()));
    let c = Cluster::new().await;
    let settings = Settings { tokens, ..settings() };
    let resources = Resources::start(c.storage.clone(), Registry::default(), settings).await.unwrap();
    let c = Cluster { resources, ..c };
    let (answer, warnings) =
        ask(&c, &c.admin, "default", json!({"spec": {"expirationSeconds": 86_400}})).await.unwrap();
    assert_eq!(warnings, ["requested expiration of 86400 seconds shortened to 7200 seconds"]);
    assert_eq!(answer["spec"]["expirationSeconds"], 7200);
}

#[tokio::test]
async fn a_kubelet_gets_tokens_of_its_pods_alone() {
    let (c, [_, pod, ..]) = with_objects().await;
    assert!(ask(&c, &kubelet(), "default", bound("Pod", "web", &pod)).await.is_ok());
    let refused = reason(ask(&c, &kubelet(), "default", json!({})).await);
    let words = r#"serviceaccounts "default" is forbidden: node requested token not bound to a pod"#;
    assert_eq!(refused, (Reason::Forbidden, words.into()));
}

#[tokio::test]
async fn another_server_believes_what_it_has_not_heard_of_yet() {
    let shared = crate::authn::testing::tokens();
    let c = Cluster::new().await;
    let start = async |storage: Arc<dyn Storage>| {
        let settings = Settings { tokens: shared.clone(), ..settings() };
        Resources::start(storage, Registry::default(), settings).await.unwrap()
    };
    let other = start(c.storage.clone()).await;
    let one = Cluster { resources: start(c.storage.clone()).await, ..c };
    one.create("serviceaccounts", "n/", json!({"metadata": {"name": "new"}})).await.unwrap();
    let (answer, _) = ask(&one, &one.admin, "new", json!({})).await.unwrap();
    let token = answer["status"]["token"].as_str().unwrap();
    let known = other.authenticate(token, &[]).await.unwrap();
    assert_eq!(known.user.name, "system:serviceaccount:n:new");
    one.delete("serviceaccounts", "n/new", json!({})).await.unwrap();
    other.catch_up().await.unwrap();
    assert_eq!(other.authenticate(token, &[]).await.unwrap_err(), TokenError::NoAccount { name: "new".into() });
}
