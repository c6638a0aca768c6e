//! What a client wants a response to look like: `Accept`, understood.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>.

use corten_api::{ApiError, Reason};
use http::header::{ACCEPT, HeaderMap};

use crate::decode::protobuf;
use crate::registry::ApiResource;

/// How an object or list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    Object,
    Table,
    /// `PartialObjectMetadata`, or a list of them.
    Metadata,
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Json,
    Yaml,
    /// Tables have none.
    Protobuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub form: Form,
    pub encoding: Encoding,
}

/// One media range of an Accept header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range<'a> {
    pub media: &'a str,
    params: &'a str,
}

impl<'a> Range<'a> {
    pub fn param(&self, name: &str) -> Option<&'a str> {
        let pairs = self.params.split(';').filter_map(|p| p.trim().split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }
    /// Of the form that is called for with `as`, `g` and `v`.
    pub fn asks_for(&self, kind: &str, group: &str, version: &str) -> bool {
        self.param("as") == Some(kind) && self.param("g") == Some(group) && self.param("v") == Some(version)
    }
}

/// The media ranges in the order given. Quality values are not weighed: clients of this API list what they prefer first.
pub fn ranges(headers: &HeaderMap) -> impl Iterator<Item = Range<'_>> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(|range| {
        let (media, params) = range.split_once(';').unwrap_or((range, ""));
        Range { media: media.trim(), params }
    })
}

/// The first range that we can serve. No header at all asks for JSON.
pub fn wanted(headers: &HeaderMap) -> Result<Wanted, ApiError> {
    first(headers, true)
}

/// Of an answer that is no row of any table.
pub fn wanted_without_tables(headers: &HeaderMap) -> Result<Wanted, ApiError> {
    first(headers, false)
}

fn first(headers: &HeaderMap, has_tables: bool) -> Result<Wanted, ApiError> {
    let mut any = false;
    for range in ranges(headers).filter(|r| !r.media.is_empty()) {
        any = true;
        let encoding = match range.media {
            "application/json" | "application/*" | "*/*" => Encoding::Json,
            "application/yaml" => Encoding::Yaml,
            protobuf::MEDIA => Encoding::Protobuf,
            _ => continue,
        };
        let form = match (range.param("as"), range.param("g"), range.param("v")) {
            (None, ..) => Form::Object,
            (Some("Table"), Some("meta.k8s.io"), Some("v1")) if has_tables && encoding != Encoding::Protobuf => {
                Form::Table
            }
            (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("meta.k8s.io"), Some("v1")) => {
                Form::Metadata
            }
            _ => continue,
        };
        return Ok(Wanted { form, encoding });
    }
    if any { Err(not_acceptable(has_tables)) } else { Ok(Wanted { form: Form::Object, encoding: Encoding::Json }) }
}

impl Wanted {
    /// Custom kinds have no messages: who asks for them is answered in JSON.
    #[must_use]
    pub fn of(self, resource: &ApiResource) -> Self {
        let is_whole = self.encoding == Encoding::Protobuf && self.form == Form::Object;
        if is_whole && resource.is_custom() { Self { encoding: Encoding::Json, ..self } } else { self }
    }
}

/// Whether protobuf is the first that we can serve.
pub fn prefers_protobuf(headers: &HeaderMap) -> bool {
    wanted(headers).is_ok_and(|wanted| wanted.encoding == Encoding::Protobuf)
}

fn not_acceptable(has_tables: bool) -> ApiError {
    let table = if has_tables { "application/json;as=Table;v=v1;g=meta.k8s.io, " } else { "" };
    let message = format!(
        "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf, \
         {table}application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    );
    ApiError::new(Reason::NotAcceptable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_headers() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let (object, table, metadata) = (Form::Object, Form::Table, Form::Metadata);
        let (json, yaml, protobuf) = (Encoding::Json, Encoding::Yaml, Encoding::Protobuf);
        let cases = [
            (None, Some((object, json))),
            (Some("*/*"), Some((object, json))),
            (Some("application/json;stream=watch"), Some((object, json))),
            (Some("application/vnd.kubernetes.protobuf, application/json"), Some((object, protobuf))),
            (Some("application/vnd.kubernetes.protobuf;stream=watch, */*"), Some((object, protobuf))),
            (Some("application/json, application/vnd.kubernetes.protobuf"), Some((object, json))),
            (
                Some("application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"),
                Some((metadata, protobuf)),
            ),
            (
                Some("application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1, application/json"),
                Some((object, json)),
            ),
            (Some(kubectl), Some((table, json))),
            (Some("application/json;as=Table;v=v2;g=meta.k8s.io, application/json"), Some((object, json))),
            (Some("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"), Some((metadata, json))),
            (Some("application/yaml"), Some((object, yaml))),
            (Some("application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1"), None),
            (Some("text/html"), None),
        ];
        for (header, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(ACCEPT, header.parse().unwrap());
            }
            assert_eq!(wanted(&headers).ok().map(|w| (w.form, w.encoding)), expected, "{header:?}");
        }
    }

    #[test]
    fn who_wants_nothing_but_a_table_of_what_has_none_is_refused() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let cases = [
            (table.to_owned(), Err(406)),
            (format!("{table}, application/json"), Ok(Form::Object)),
            ("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io".to_owned(), Ok(Form::Metadata)),
            ("*/*".to_owned(), Ok(Form::Object)),
        ];
        for (header, expected) in cases {
            let headers = HeaderMap::from_iter([(ACCEPT, header.parse().unwrap())]);
            let got = wanted_without_tables(&headers).map(|w| w.form).map_err(|err| err.code());
            assert_eq!(got, expected, "{header}");
        }
    }
}
