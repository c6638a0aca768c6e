//! GET of one object and of lists.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use corten_api::ApiError;
use http::{Response, StatusCode};

use super::accept::{Encoding, Form, Wanted};
use super::body::{Body, Piece};
use super::query::{self, Query};
use super::respond;
use crate::aside::{LARGE_BODY_BYTES, LARGE_LIST, aside};
use crate::encode::protobuf;
use crate::registry::ApiResource;
use crate::resources::{Authorized, Page, Resources, to};
use crate::table::{self, Include, Tables};

/// Of a list with more bytes than this no table is kept in memory.
const TABLE_BYTES_MAX: usize = 4 << 20;

/// What takes no more work than to be sent.
const AS_STORED: Wanted = Wanted { form: Form::Object, encoding: Encoding::Json };

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
    let is_large = read.wanted != AS_STORED && object.len() > LARGE_BODY_BYTES;
    let shown = async { present(read.wanted, read.resource, read.query, object) };
    Ok(aside(&may.user().name, is_large, shown).await?.into_response(StatusCode::OK))
}

pub async fn list(read: Read<'_>, may: &Authorized<to::List>) -> Result<Response<Body>, ApiError> {
    let options = query::list_options(read.query)?;
    let page = read.resources.list(may, options).await?;
    let bytes = || page.items.iter().map(Bytes::len).sum::<usize>();
    let is_large = read.wanted != AS_STORED && (page.items.len() > LARGE_LIST || bytes() > LARGE_BODY_BYTES);
    aside(&may.user().name, is_large, async { show_page(read.wanted, read.resource, read.query, page) }).await
}

/// A list in the form that its reader asked for.
pub fn show_page(
    wanted: Wanted,
    resource: &Arc<ApiResource>,
    query: &Query<'_>,
    page: Page,
) -> Result<Response<Body>, ApiError> {
    let meta = table::list_meta(&page.revision.to_string(), page.continue_token.as_deref(), page.remaining);
    let partial = |items: Vec<Bytes>| items.iter().map(|item| table::metadata_only(item)).collect::<Result<_, _>>();
    if wanted.encoding == Encoding::Protobuf {
        return match wanted.form {
            Form::Metadata => as_protobuf("meta.k8s.io/v1", "PartialObjectMetadata", &meta, partial(page.items)?),
            Form::Object | Form::Table => as_protobuf(&resource.api_version(), resource.kind(), &meta, page.items),
        };
    }
    let body = match wanted.form {
        Form::Object => Body::joined(list_head(resource, &meta), page.items, Bytes::from_static(b"]}")),
        Form::Metadata => {
            let head = format!(
                r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{meta},"items":["#
            );
            Body::joined(head.into(), partial(page.items)?, Bytes::from_static(b"]}"))
        }
        Form::Table => {
            let tables = tables(resource, query)?;
            let head = tables.head(&meta, true)?.into();
            if page.items.iter().map(Bytes::len).sum::<usize>() > TABLE_BYTES_MAX {
                let Tables { include, now_secs, .. } = tables;
                rows_as_sent(head, Rows { resource: resource.clone(), include, now_secs }, page.items)?
            } else {
                let rows = page.items.iter().map(|i| tables.row(i)).collect::<Result<_, _>>()?;
                Body::joined(head, rows, Bytes::from_static(Tables::TAIL))
            }
        }
    };
    if wanted.encoding != Encoding::Yaml {
        return Ok(respond::with_type(StatusCode::OK, respond::JSON, body));
    }
    let Body::Joined(joined) = body else { return Err(ApiError::internal("a list that is not joined")) };
    let whole: Vec<u8> = joined.flatten().collect();
    Ok(respond::with_type(StatusCode::OK, respond::YAML, Body::whole(to_yaml(&whole)?)))
}

/// [`Tables`], for who outlives the request.
struct Rows {
    resource: Arc<ApiResource>,
    include: Include,
    now_secs: i64,
}

impl Rows {
    /// The row of an object, with a comma before it unless it is the first.
    fn put(&self, out: &mut Vec<u8>, is_first: bool, object: &[u8]) -> Result<(), ApiError> {
        if !is_first {
            out.push(b',');
        }
        let Self { resource, include, now_secs } = self;
        Tables { resource, include: *include, now_secs: *now_secs }.put_row(out, object)
    }
}

/// The rows are written twice, once for how long they are, and then as they are sent: so the list is in memory as the cache has it,
/// and no table of it.
fn rows_as_sent(head: Bytes, rows: Rows, items: Vec<Bytes>) -> Result<Body, ApiError> {
    let mut row = Vec::new();
    let mut len = Tables::TAIL.len();
    for (n, item) in items.iter().enumerate() {
        row.clear();
        rows.put(&mut row, n == 0, item)?;
        len += row.len();
    }
    let written = items.into_iter().enumerate().map(move |(n, item)| {
        let mut row = Vec::new();
        if let Err(err) = rows.put(&mut row, n == 0, &item) {
            tracing::error!("a row of a table was written once and not a second time: {err}");
        }
        Piece { bytes: row.into(), made_of: item.len() }
    });
    let tail = std::iter::once(Piece { bytes: Bytes::from_static(Tables::TAIL), made_of: 0 });
    Ok(Body::pieces(head, Box::new(written.chain(tail)), len))
}

fn as_protobuf(api_version: &str, kind: &str, meta: &str, items: Vec<Bytes>) -> Result<Response<Body>, ApiError> {
    let list = protobuf::List::new(api_version, kind, meta, &items)?;
    let (head, len) = (list.head.clone(), list.items_len);
    let written = items.into_iter().map(move |json| {
        let bytes = list.item(&json).unwrap_or_else(|err| {
            tracing::error!("an item of a list was written once and not a second time: {err}");
            Bytes::new()
        });
        Piece { bytes, made_of: json.len() }
    });
    Ok(respond::with_type(StatusCode::OK, respond::PROTOBUF, Body::pieces(head, Box::new(written), len)))
}

/// `{"kind":"PodList","apiVersion":"v1","metadata":{…},"items":[`
fn list_head(resource: &ApiResource, meta: &str) -> Bytes {
    let (group, version) = (resource.group(), resource.version());
    let slash = if group.is_empty() { "" } else { "/" };
    let kind = &resource.names().list_kind;
    format!(r#"{{"kind":"{kind}","apiVersion":"{group}{slash}{version}","metadata":{meta},"items":["#).into()
}

/// One object in the form that its reader asked for; what is asked for in protobuf is JSON still ([`respond::encoded`]).
pub struct Presented {
    bytes: Bytes,
    is_yaml: bool,
}

impl Presented {
    pub fn into_response(self, code: StatusCode) -> Response<Body> {
        let content_type = if self.is_yaml { respond::YAML } else { respond::JSON };
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
    let is_yaml = wanted.encoding == Encoding::Yaml;
    let bytes = if is_yaml { to_yaml(&bytes)? } else { bytes };
    Ok(Presented { bytes, is_yaml })
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::Registry;

    async fn table(include: Include, items: Vec<Bytes>, as_sent: bool) -> Bytes {
        let resource = Registry::default().find("", "v1", "configmaps").unwrap();
        let rows = Rows { resource: resource.clone(), include, now_secs: 100 };
        let body = if as_sent {
            rows_as_sent(Bytes::from_static(b"["), rows, items).unwrap()
        } else {
            let tables = Tables { resource: &resource, include, now_secs: 100 };
            let rows = items.iter().map(|item| tables.row(item)).collect::<Result<_, _>>().unwrap();
            Body::joined(Bytes::from_static(b"["), rows, Bytes::from_static(Tables::TAIL))
        };
        let known = body.known_len();
        let sent = body.collect().await.unwrap().to_bytes();
        assert_eq!(known, Some(sent.len()));
        sent
    }

    #[tokio::test]
    async fn a_large_table_is_written_as_it_is_sent_and_is_the_same() {
        let map = |n: usize| {
            let meta = json!({"name": format!("m{n}"), "namespace": "n"});
            let text =
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"k": "v"}}).to_string();
            Bytes::from(text)
        };
        for include in [Include::None, Include::Metadata, Include::Object] {
            for count in [0, 1, 3, 2000] {
                let items: Vec<Bytes> = (0..count).map(map).collect();
                let (sent, kept) = (table(include, items.clone(), true).await, table(include, items, false).await);
                assert_eq!(sent, kept, "{count}");
                let rows: Value = serde_json::from_slice(&sent[..sent.len() - 1]).unwrap();
                assert_eq!(rows.as_array().map(Vec::len), Some(count));
                let object = &rows[0]["object"];
                let expected = match include {
                    _ if count == 0 => Value::Null,
                    Include::None => Value::Null,
                    Include::Metadata => json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                        "metadata": {"name": "m0", "namespace": "n"}}),
                    Include::Object => serde_json::from_slice(&map(0)).unwrap(),
                };
                assert_eq!(*object, expected);
            }
        }
    }
}
