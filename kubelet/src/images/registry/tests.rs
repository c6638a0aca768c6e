//! Registries that answer well, and some that never come to an end.

use std::net::SocketAddr;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;
use tokio::sync::Notify;

use super::*;

const TOKEN: &str = "Bearer t";
/// `user:password`.
const SECRET: &str = "Basic dXNlcjpwYXNzd29yZA==";

/// As every of our programs does when it starts.
fn install_tls() {
    // Another test of this process was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[derive(Clone)]
struct Server {
    address: SocketAddr,
    asked: Arc<Notify>,
}

async fn serve() -> Server {
    install_tls();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server { address, asked: Arc::default() };
    let app = Router::new().fallback(answer).with_state(server.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    server
}

fn endless() -> Response {
    let chunks = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 64 << 10])));
    Body::from_stream(chunks).into_response()
}

/// Never silent for long, and never done.
fn drip() -> Response {
    let ticks = tokio::time::interval(SILENCE_MAX / 6);
    let chunks = futures::stream::unfold(ticks, |mut ticks| async {
        ticks.tick().await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ticks))
    });
    Body::from_stream(chunks).into_response()
}

/// What a registry does is in the name of the repository.
async fn answer(State(server): State<Server>, headers: HeaderMap, uri: http::Uri) -> Response {
    let said = headers.get(AUTHORIZATION).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let address = server.address;
    server.asked.notify_one();
    let challenge =
        |text: String| (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, text)], "who are you").into_response();
    let name = uri.path().trim_start_matches("/v2/").trim_start_matches('/').split('/').next().unwrap_or_default();
    match name {
        "open" => "{}".into_response(),
        "endless" => endless(),
        "drip" => drip(),
        "endless-error" => (StatusCode::INTERNAL_SERVER_ERROR, endless()).into_response(),
        "basic" if said == SECRET => "{}".into_response(),
        "basic" => challenge("Basic realm=\"here\"".into()),
        "token" | "never" if said == TOKEN && name == "token" => "{}".into_response(),
        "token" | "endless-token" | "never" => {
            challenge(format!("Bearer realm=\"http://{address}/give-{name}\",service=\"s\",scope=\"ignored\""))
        }
        "give-endless-token" => endless(),
        "give-token" | "give-never"
            if uri.query().is_some_and(|q| q.contains("repository%3A") && q.contains("service=s")) =>
        {
            r#"{"token":"t"}"#.into_response()
        }
        "missing" => {
            (StatusCode::NOT_FOUND, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no"}]}"#).into_response()
        }
        "denied" => (StatusCode::BAD_REQUEST, r#"{"errors":[{"code":"DENIED","message":"no"}]}"#).into_response(),
        _ => StatusCode::IM_A_TEAPOT.into_response(),
    }
}

async fn manifest(repository: &str, with_secret: bool) -> Result<Document, String> {
    manifest_from(&serve().await, repository, with_secret).await
}

async fn manifest_from(server: &Server, repository: &str, with_secret: bool) -> Result<Document, String> {
    let registry = server.address.to_string();
    let image = format!("{registry}/{repository}/app");
    let reference = Reference::parse(&image).unwrap();
    let secret = RegistryAuth { registry: registry.clone(), username: "user".into(), password: "password".into() };
    let source = Source { registry: registry.clone(), plain_http: true, auth: with_secret.then_some(secret) };
    let got = Registry::new(&source, "app", &reference).unwrap().manifest("v1").await;
    got.map_err(|err| err.to_string().replace(&registry, "HERE"))
}

#[tokio::test]
async fn a_registry_is_told_who_we_are_as_it_asks() {
    let cases = [
        ("open", false, "fine"),
        ("basic", true, "fine"),
        ("basic", false, "pull access denied for app at HERE"),
        ("token", false, "fine"),
        ("token", true, "fine"),
        ("never", true, "(it answers 401 Unauthorized)"),
        ("missing", false, "app: not found at HERE"),
        ("denied", false, "(it answers 400 Bad Request DENIED no)"),
        ("teapot", false, "it answers 418"),
    ];
    for (repository, with_secret, expected) in cases {
        let got = manifest(repository, with_secret).await.map_or_else(|err| err, |_| "fine".to_owned());
        assert!(got.contains(expected), "{repository} {with_secret}: {got}");
    }
}

#[tokio::test]
async fn what_a_registry_sends_without_end_is_cut_off() {
    let cases = [
        ("endless", "its manifest is larger than 4 MiB"),
        ("endless-token", "its token is larger than 1 MiB"),
        ("endless-error", "it answers 500"),
    ];
    for (repository, expected) in cases {
        let got = tokio::time::timeout(Duration::from_secs(30), manifest(repository, false)).await;
        let got = got.expect("it is read for ever").unwrap_err();
        assert!(got.contains(expected), "{repository}: {got}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_end_in_time_is_not_waited_for() {
    let server = serve().await;
    let asked = Arc::clone(&server.asked);
    let pulled = tokio::spawn(async move { manifest_from(&server, "drip", false).await });
    asked.notified().await;
    tokio::time::pause();
    let got = tokio::time::timeout(10 * ANSWER_MAX, pulled).await.expect("it is waited for").unwrap();
    assert!(got.as_ref().is_err_and(|err| err.contains("no answer within 120 seconds")), "{got:?}");
}

#[tokio::test]
async fn a_layer_that_is_another_one_is_found_out_at_its_end() {
    let registry = serve().await.address.to_string();
    let reference = Reference::parse(&format!("{registry}/open/app")).unwrap();
    let source = Source { registry, plain_http: true, auth: None };
    let client = Registry::new(&source, "app", &reference).unwrap();
    for (content, is_right) in [("{}", true), ("other", false)] {
        let blob = Blob { media_type: String::new(), digest: digest_of(content.as_bytes()), size_bytes: 2 };
        let chunks: Vec<_> = client.blob(&blob).await.unwrap().collect().await;
        assert!(chunks[0].as_ref().is_ok_and(|chunk| chunk == "{}"));
        assert_eq!(chunks.iter().all(Result::is_ok), is_right, "{content}: {chunks:?}");
        assert_eq!(client.small_blob(&blob).await.is_ok(), is_right, "{content}");
    }
}
