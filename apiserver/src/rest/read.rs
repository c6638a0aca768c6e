//! GET of one object and of lists.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use corten_api::ApiError;
use http::{Response, StatusCode};

use super::accept::{Form, Wanted};
use super::aside::{LARGE_LIST, aside};
use super::body::Body;
use super::query::{self, Query};
use super::{gzip, respond};
use crate::registry::ApiResource;
use crate::resources::{Authorized, Page, Resources, to};
use crate::table::{self, Include, Tables};

/// What a request for reading says in its headers and query. What is read, the proof says that it may be.
pub struct Read<'a> {
    pub resources: &'a Resources,
    pub resource: &'a Arc<ApiResource>,
    pub query: &'a Query<'a>,
    pub headers: &'a http::HeaderMap,
    pub wanted: Wanted,
}

pub async fn get(read: Read<'_>, may: &Authorized<to::Get>) -> Result<Response<Body>, ApiError> {
    let object = read.resources.get(may, query::get_at(read.query)?).await?;
    let presented = present(read.wanted, read.resource, read.query, object)?;
    Ok(gzip::compress(read.headers, presented.into_response(StatusCode::OK)))
}

pub async fn list(read: Read<'_>, may: &Authorized<to::List>) -> Result<Response<Body>, ApiError> {
    let options = query::list_options(read.query)?;
    let page = read.resources.list(may, options).await?;
    let is_large = page.items.len() > LARGE_LIST && (read.wanted.form != Form::Object || read.wanted.yaml);
    let response = aside(&may.user().name, is_large, async { show_page(&read, page) }).await?;
    Ok(gzip::compress(read.headers, response))
}

fn show_page(read: &Read<'_>, page: Page) -> Result<Response<Body>, ApiError> {
    let meta = table::list_meta(&page.revision.to_string(), page.continue_token.as_deref(), page.remaining);
    let body = match read.wanted.form {
        Form::Object => Body::joined(list_head(read.resource, &meta), page.items, Bytes::from_static(b"]}")),
        Form::Metadata => {
            let head = format!(
                r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{meta},"items":["#
            );
            let items = page.items.iter().map(|i| table::metadata_only(i)).collect::<Result<_, _>>()?;
            Body::joined(head.into(), items, Bytes::from_static(b"]}"))
        }
        Form::Table => {
            let tables = tables(read.resource, read.query)?;
            let rows = page.items.iter().map(|i| tables.row(i)).collect::<Result<_, _>>()?;
            Body::joined(tables.head(&meta, true)?.into(), rows, Bytes::from_static(Tables::TAIL))
        }
    };
    if !read.wanted.yaml {
        return Ok(respond::with_type(StatusCode::OK, respond::JSON, body));
    }
    let Body::Joined(joined) = body else { return Err(ApiError::internal("a list that is not joined")) };
    let whole: Vec<u8> = joined.flatten().collect();
    Ok(respond::with_type(StatusCode::OK, respond::YAML, Body::whole(to_yaml(&whole)?)))
}

/// `{"kind":"PodList","apiVersion":"v1","metadata":{…},"items":[`
pub fn list_head(resource: &ApiResource, meta: &str) -> Bytes {
    let (group, version) = (resource.group(), resource.version());
    let slash = if group.is_empty() { "" } else { "/" };
    let kind = resource.kind();
    format!(r#"{{"kind":"{kind}List","apiVersion":"{group}{slash}{version}","metadata":{meta},"items":["#).into()
}

/// One object in the form that its reader asked for.
pub struct Presented {
    bytes: Bytes,
    yaml: bool,
}

impl Presented {
    pub fn into_response(self, code: StatusCode) -> Response<Body> {
        let content_type = if self.yaml { respond::YAML } else { respond::JSON };
        respond::with_type(code, content_type, Body::whole(self.bytes))
    }
}

pub fn present(
    wanted: Wanted,
    resource: &ApiResource,
    query: &Query<'_>,
    object: Bytes,
) -> Result<Presented, ApiError> {
    let bytes = match wanted.form {
        Form::Object => object,
        Form::Metadata => table::metadata_only(&object)?,
        Form::Table => tables(resource, query)?.single(&object, true)?,
    };
    let bytes = if wanted.yaml { to_yaml(&bytes)? } else { bytes };
    Ok(Presented { bytes, yaml: wanted.yaml })
}

pub fn tables<'a>(resource: &'a ApiResource, query: &Query<'_>) -> Result<Tables<'a>, ApiError> {
    let include = Include::parse(query.get("includeObject"))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(ApiError::internal)?;
    Ok(Tables { resource, include, now_secs: i64::try_from(now.as_secs()).map_err(ApiError::internal)? })
}

pub fn to_yaml(json: &[u8]) -> Result<Bytes, ApiError> {
    let value: serde_json::Value = serde_json::from_slice(json).map_err(ApiError::internal)?;
    serde_saphyr::to_string(&value).map(Bytes::from).map_err(ApiError::internal)
}
