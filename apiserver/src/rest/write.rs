//! POST, PUT, PATCH, DELETE: body and options read, the write path asked, its answer shown.

use std::sync::Arc;

use bytes::Bytes;
use corten_api::{ApiError, Reason};
use http::header::{CONTENT_TYPE, HeaderMap, USER_AGENT};
use http::{Response, StatusCode};

use super::accept::{Form, Wanted};
use super::body::Body;
use super::query::{self, Query};
use super::{read, respond};
use crate::decode::{self, DecodeError};
use crate::patch;
use crate::registry::ApiResource;
use crate::request::Target;
use crate::resources::{Authorized, Resources, WriteOptions, Written, to};

/// A request for writing, its body read. What it writes, and for whom, the proof says that it may.
pub struct Write<'a> {
    pub resources: &'a Resources,
    pub resource: &'a Arc<ApiResource>,
    pub query: &'a Query<'a>,
    pub headers: &'a HeaderMap,
    pub wanted: Wanted,
    pub body: Bytes,
}

impl Write<'_> {
    fn options(&self, kind: &str) -> Result<WriteOptions, ApiError> {
        query::write_options(self.query, kind, header(self.headers, USER_AGENT).unwrap_or_default())
    }

    /// The body as JSON.
    fn object(&mut self, options: &mut WriteOptions) -> Result<Bytes, ApiError> {
        let format = decode::format_of(header(self.headers, CONTENT_TYPE))?;
        let body = decode::decode(format, std::mem::take(&mut self.body))?;
        options.findings = body.findings;
        Ok(body.json)
    }

    fn show(&self, target: &Target, written: Written, code: StatusCode) -> Result<Response<Body>, ApiError> {
        // What a subresource answers with (a Scale, a Status) is no row of this kind's table.
        let form = if target.subresource.is_empty() { self.wanted.form } else { Form::Object };
        let wanted = Wanted { form, ..self.wanted };
        let mut response = read::present(wanted, self.resource, self.query, written.object)?.into_response(code);
        respond::add_warnings(&mut response, &written.warnings);
        Ok(response)
    }
}

pub async fn create(mut write: Write<'_>, may: &Authorized<to::Create>) -> Result<Response<Body>, ApiError> {
    let mut options = write.options("CreateOptions")?;
    let json = write.object(&mut options)?;
    let written = write.resources.create(may, json, options).await?;
    write.show(may.target(), written, StatusCode::CREATED)
}

pub async fn update(mut write: Write<'_>, may: &Authorized<to::Update>) -> Result<Response<Body>, ApiError> {
    let mut options = write.options("UpdateOptions")?;
    let json = write.object(&mut options)?;
    let written = write.resources.update(may, json, options).await?;
    let code = if written.existed { StatusCode::OK } else { StatusCode::CREATED };
    write.show(may.target(), written, code)
}

pub async fn patch(mut write: Write<'_>, may: &Authorized<to::Patch>) -> Result<Response<Body>, ApiError> {
    let kind = patch_kind(header(write.headers, CONTENT_TYPE))?;
    let is_apply = kind == patch::Kind::Apply;
    let mut options = write.options(if is_apply { query::APPLY_OPTIONS } else { "PatchOptions" })?;
    let format = if is_apply { decode::Format::Yaml } else { decode::Format::Json };
    let body = decode::decode(format, std::mem::take(&mut write.body))?;
    options.findings = body.findings;
    options.findings.extend(decode::duplicates(&body.json).map_err(DecodeError::from)?);
    let written = write.resources.patch(may, kind, body.json, options).await?;
    let code = if written.existed { StatusCode::OK } else { StatusCode::CREATED };
    write.show(may.target(), written, code)
}

fn patch_kind(content_type: Option<&str>) -> Result<patch::Kind, ApiError> {
    let unsupported = |text: String| Err(ApiError::new(Reason::UnsupportedMediaType, text));
    match content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim() {
        "application/json-patch+json" => Ok(patch::Kind::Json),
        "application/merge-patch+json" => Ok(patch::Kind::Merge),
        "application/strategic-merge-patch+json" => Ok(patch::Kind::Strategic),
        "application/apply-patch+yaml" => Ok(patch::Kind::Apply),
        _ => unsupported(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, \
             application/apply-patch+yaml"
                .to_owned(),
        ),
    }
}

pub async fn delete(write: Write<'_>, may: &Authorized<to::Delete>) -> Result<Response<Body>, ApiError> {
    let (how, options) = deletion(&write)?;
    let deleted = write.resources.delete(may, how, options).await?;
    let code = StatusCode::from_u16(deleted.code).map_err(ApiError::internal)?;
    let mut response = respond::json(code, deleted.body);
    respond::add_warnings(&mut response, &deleted.warnings);
    Ok(response)
}

pub async fn delete_collection(
    write: Write<'_>,
    may: &Authorized<to::DeleteCollection>,
) -> Result<Response<Body>, ApiError> {
    let (how, options) = deletion(&write)?;
    let which = query::list_options(write.query)?;
    let page = write.resources.delete_collection(may, which, how, options).await?;
    read::show_page(Wanted { form: Form::Object, ..write.wanted }, write.resource, write.query, page)
}

type DeleteOptions = k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;

fn deletion(write: &Write<'_>) -> Result<(DeleteOptions, WriteOptions), ApiError> {
    let body = if write.body.is_empty() {
        Bytes::new()
    } else {
        decode::decode(decode::format_of(header(write.headers, CONTENT_TYPE))?, write.body.clone())?.json
    };
    let how = query::delete_options(write.query, &body)?;
    Ok((how, write.options("DeleteOptions")?))
}

fn header(headers: &HeaderMap, name: http::header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patch_media_types() {
        for (given, code) in [
            (Some("application/json-patch+json"), None),
            (Some("application/merge-patch+json; charset=utf-8"), None),
            (Some("application/strategic-merge-patch+json"), None),
            (Some("application/apply-patch+yaml"), None),
            (Some("application/apply-patch+cbor"), Some(415)),
            (Some("application/json"), Some(415)),
            (None, Some(415)),
        ] {
            assert_eq!(patch_kind(given).err().map(|e| e.code()), code, "{given:?}");
        }
    }
}
