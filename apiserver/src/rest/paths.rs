//! What is served beside resources: discovery, health, version, metrics, keys of tokens, queues, the list of paths.

use corten_api::{ApiError, version as served};
use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use super::body::Body;
use super::query::Query;
use super::{Front, gzip, logs, respond};
use crate::authn::openid;
use crate::flowcontrol::dump::Table;
use crate::resources::AuthorizedPath;

const METRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const JWK_SET: HeaderValue = HeaderValue::from_static("application/jwk-set+json");
const MORE_PATHS: &[&str] = &[
    openid::CONFIGURATION_PATH,
    "/healthz",
    "/livez",
    "/logs",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    openid::KEYS_PATH,
    "/readyz",
    "/version",
];

impl Front {
    pub(super) async fn serve_path(
        &self,
        may: &AuthorizedPath,
        query: &Query<'_>,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, ApiError> {
        let path = may.path();
        if let Some(response) = self.discovery.serve(path, headers) {
            return Ok(gzip::compress(headers, response));
        }
        if let Some(table) = Table::at(path) {
            let details = query.get("includeRequestDetails").is_some();
            return Ok(respond::text(StatusCode::OK, self.flow.dump(table, details, Timestamp::now())));
        }
        if let Some(result) = super::openapi::serve(&self.openapi, path, headers).await {
            return result;
        }
        match path {
            "/" => {
                let mut paths = self.discovery.paths();
                paths.extend(MORE_PATHS.iter().map(|path| (*path).to_owned()));
                paths.sort_unstable();
                Ok(respond::value(StatusCode::OK, &json!({ "paths": paths })))
            }
            "/version" => Ok(version()),
            "/logs" => logs::serve(logs::DIRECTORY, "").await,
            "/metrics" => {
                let text = self.metrics.render(&self.flow).map_err(ApiError::internal)?;
                Ok(respond::with_type(StatusCode::OK, METRICS, Body::whole(text)))
            }
            openid::CONFIGURATION_PATH if self.resources.tokens().is_discoverable() => {
                let server = self.resources.advertised().map(|address| address.to_string());
                let document = self.resources.tokens().openid_configuration(server.as_deref());
                Ok(published(respond::JSON, document.map_err(ApiError::internal)?))
            }
            openid::KEYS_PATH if self.resources.tokens().is_discoverable() => {
                Ok(published(JWK_SET, self.resources.tokens().openid_keys().map_err(ApiError::internal)?))
            }
            _ => {
                if let Some(below) = path.strip_prefix("/logs/") {
                    return logs::serve(logs::DIRECTORY, below).await;
                }
                let excluded: Vec<&str> = query.all("exclude").collect();
                let health = self.health.serve(path, query.all("verbose").next().is_some(), &excluded).await;
                health.ok_or_else(respond::no_such_path)
            }
        }
    }
}

/// What anybody may keep for a while.
fn published(content_type: HeaderValue, document: Vec<u8>) -> Response<Body> {
    let mut response = respond::with_type(StatusCode::OK, content_type, Body::whole(document));
    let age = format!("public, max-age={}", openid::MAX_AGE_SECS);
    if let Ok(age) = HeaderValue::try_from(age) {
        response.headers_mut().insert(CACHE_CONTROL, age);
    }
    response
}

fn version() -> Response<Body> {
    let platform = format!("{}/{}", std::env::consts::OS, go_arch(std::env::consts::ARCH));
    let commit = option_env!("CORTEN_GIT_COMMIT").unwrap_or_default();
    let version = json!({
        "major": "1",
        "minor": served::MINOR,
        "gitVersion": served::GIT,
        "gitCommit": commit,
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": platform,
    });
    respond::value(StatusCode::OK, &version)
}

fn go_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
