//! What is served beside resources: discovery, health, version, metrics, the list of paths.

use corten_api::{ApiError, version as served};
use http::header::{HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;

use super::body::Body;
use super::query::Query;
use super::{Front, gzip, respond};

const METRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const MORE_PATHS: &[&str] = &["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];

impl Front {
    pub(super) async fn serve_path(
        &self,
        path: &str,
        query: &Query<'_>,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, ApiError> {
        if let Some(response) = self.discovery.serve(path, headers) {
            return Ok(gzip::compress(headers, response));
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
            "/metrics" => {
                let text = self.metrics.render(&self.flow).map_err(ApiError::internal)?;
                Ok(respond::with_type(StatusCode::OK, METRICS, Body::whole(text)))
            }
            _ => {
                let excluded: Vec<&str> = query.all("exclude").collect();
                let health = self.health.serve(path, query.all("verbose").next().is_some(), &excluded).await;
                health.ok_or_else(respond::no_such_path)
            }
        }
    }
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
