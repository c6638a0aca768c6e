//! A registry with one image under a few names, one that wants a password, and one that lies.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::image::{Image, digest};

/// `user:password`.
const SECRET: &str = "Basic dXNlcjpwYXNzd29yZA==";

/// `lying` is what it has as `library/lying`; under all other names it has `image`.
pub(crate) async fn serve(image: Image, lying: Image) -> SocketAddr {
    let images = Arc::new((image, lying));
    let app = Router::new().route("/v2/", axum::routing::get(ping)).fallback(any).with_state(images);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// As real registries do: here a client learns how it could say who it is.
async fn ping(headers: HeaderMap) -> Response {
    let status = if headers.contains_key("authorization") { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
    let challenge = "Basic realm=\"test\"";
    Response::builder().status(status).header("www-authenticate", challenge).body(Body::empty()).unwrap()
}

async fn any(State(images): State<Arc<(Image, Image)>>, headers: HeaderMap, uri: http::Uri) -> Response {
    let (image, lying) = &*images;
    let is_lying = uri.path().starts_with("/v2/library/lying/");
    answer(if is_lying { lying } else { image }, &headers, uri.path())
}

fn answer(image: &Image, headers: &HeaderMap, path: &str) -> Response {
    let reply = |status: StatusCode, kind: &str, bytes: Vec<u8>| {
        Response::builder().status(status).header("content-type", kind).body(Body::from(bytes)).unwrap()
    };
    let missing = || {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such manifest"}]}"#;
        reply(StatusCode::NOT_FOUND, "application/json", body.to_vec())
    };
    let parts: Vec<&str> = path.trim_start_matches("/").trim_start_matches("v2/").rsplitn(3, '/').collect();
    let [version, kind, name] = parts.as_slice() else { return missing() };
    if *name == "library/private" && headers.get("authorization").is_none_or(|a| a != SECRET) {
        let mut refused = reply(StatusCode::UNAUTHORIZED, "application/json", Vec::new());
        refused.headers_mut().insert("www-authenticate", "Basic realm=\"test\"".parse().unwrap());
        return refused;
    }
    match *kind {
        "manifests" if *name == "library/missing" => missing(),
        "manifests" if *version == digest(&image.manifest) => {
            reply(StatusCode::OK, "application/vnd.oci.image.manifest.v1+json", image.manifest.clone())
        }
        "manifests" => reply(StatusCode::OK, "application/vnd.oci.image.index.v1+json", image.index.clone()),
        "blobs" => match image.blobs.iter().find(|b| digest(b) == *version) {
            // Right length, wrong bytes.
            Some(blob) if *name == "library/forged" && blob.len() > 10_000 => {
                reply(StatusCode::OK, "application/octet-stream", vec![0; blob.len()])
            }
            Some(blob) => reply(StatusCode::OK, "application/octet-stream", blob.clone()),
            None => missing(),
        },
        _ => missing(),
    }
}
