//! Objects as tables and as bare metadata, for clients that ask for those instead.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>.

use bytes::Bytes;
use corten_api::{ApiError, Problems};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::registry::{ApiResource, Cell, Column};

/// What stands in a row beside its cells: `includeObject` of the query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    None,
    #[default]
    Metadata,
    Object,
}

impl Include {
    pub fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        match text {
            None | Some("Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => {
                let mut problems = Problems::default();
                problems.unsupported("includeObject", other, &["", "Metadata", "None", "Object"]);
                Err(ApiError::invalid("meta.k8s.io", "TableOptions", "", problems))
            }
        }
    }
}

#[derive(Serialize)]
struct ColumnDefinition<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    format: &'a str,
    description: &'a str,
    priority: i32,
}

impl<'a> From<&'a Column> for ColumnDefinition<'a> {
    fn from(c: &'a Column) -> Self {
        Self { name: &c.name, kind: &c.kind, format: &c.format, description: &c.description, priority: c.priority }
    }
}

#[derive(Serialize)]
struct Row<'a> {
    cells: Vec<Cell>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<Shown<'a>>,
}

/// Beside the cells: cut out of the object's JSON, and copied into the row alone.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Partial {
        kind: &'static str,
        #[serde(rename = "apiVersion")]
        api_version: &'static str,
        metadata: &'a RawValue,
    },
    Object(&'a RawValue),
}

impl<'a> Shown<'a> {
    fn of(object: &'a [u8], include: Include) -> Result<Option<Self>, serde_json::Error> {
        Ok(match include {
            Include::None => None,
            Include::Metadata => {
                let RawHead { metadata } = serde_json::from_slice(object)?;
                Some(Self::Partial { kind: "PartialObjectMetadata", api_version: "meta.k8s.io/v1", metadata })
            }
            Include::Object => Some(Self::Object(serde_json::from_slice(object)?)),
        })
    }
}

/// Renders objects of one kind at one moment.
pub struct Tables<'a> {
    pub resource: &'a ApiResource,
    pub include: Include,
    /// Unix time, for ages.
    pub now_secs: i64,
}

impl Tables<'_> {
    /// `{"kind":"Table",…,"columnDefinitions":[…],"rows":[` — what stands before the rows. `columns` is false in all
    /// but the first event of a watch.
    pub fn head(&self, list_meta: &str, columns: bool) -> Result<Vec<u8>, ApiError> {
        let mut out =
            format!(r#"{{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{list_meta},"columnDefinitions":"#)
                .into_bytes();
        if columns {
            let definitions: Vec<ColumnDefinition<'_>> = self.resource.columns().iter().map(Into::into).collect();
            serde_json::to_writer(&mut out, &definitions).map_err(ApiError::internal)?;
        } else {
            out.extend_from_slice(b"null");
        }
        out.extend_from_slice(br#","rows":["#);
        Ok(out)
    }
    pub const TAIL: &'static [u8] = b"]}";

    pub fn row(&self, object: &[u8]) -> Result<Bytes, ApiError> {
        let mut out = Vec::new();
        self.put_row(&mut out, object)?;
        Ok(out.into())
    }
    /// Behind what is there.
    pub fn put_row(&self, out: &mut Vec<u8>, object: &[u8]) -> Result<(), ApiError> {
        let decoded = self.resource.cached(object).map_err(ApiError::internal)?;
        let cells = self.resource.rules().row(decoded.as_ref(), self.now_secs);
        let object = Shown::of(object, self.include).map_err(ApiError::internal)?;
        serde_json::to_writer(out, &Row { cells, object }).map_err(ApiError::internal)
    }

    /// A table of one object.
    pub fn single(&self, object: &[u8], columns: bool) -> Result<Bytes, ApiError> {
        let version = head_of(object)?.metadata.resource_version.unwrap_or_default();
        let mut out = self.head(&list_meta(&version, None, None), columns)?;
        self.put_row(&mut out, object)?;
        out.extend_from_slice(Self::TAIL);
        Ok(out.into())
    }
}

/// The `metadata` of a list.
pub fn list_meta(resource_version: &str, continue_token: Option<&str>, remaining: Option<i64>) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ListMeta<'a> {
        resource_version: &'a str,
        #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
        continue_token: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        remaining_item_count: Option<i64>,
    }
    let meta = ListMeta { resource_version, continue_token, remaining_item_count: remaining };
    serde_json::to_string(&meta).unwrap_or_else(|_| "{}".to_owned())
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    metadata: HeadMeta<'a>,
}
#[derive(Deserialize)]
struct HeadMeta<'a> {
    #[serde(rename = "resourceVersion", borrow)]
    resource_version: Option<std::borrow::Cow<'a, str>>,
}
#[derive(Deserialize)]
struct RawHead<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

fn head_of(object: &[u8]) -> Result<Head<'_>, ApiError> {
    serde_json::from_slice(object).map_err(ApiError::internal)
}

/// The object as a `PartialObjectMetadata`. A `Status` or anything else without metadata is refused.
pub fn metadata_only(object: &[u8]) -> Result<Bytes, ApiError> {
    let head: RawHead<'_> = serde_json::from_slice(object).map_err(ApiError::internal)?;
    let out = format!(
        r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{}}}"#,
        head.metadata.get()
    );
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_cut_out_untouched() {
        let object = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web", "odd":1},"spec":{"metadata":2}}"#;
        let out = metadata_only(object).unwrap();
        assert_eq!(
            out,
            r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"web", "odd":1}}"#
        );
    }

    #[test]
    fn list_metadata() {
        assert_eq!(list_meta("7", None, None), r#"{"resourceVersion":"7"}"#);
        let full = list_meta("7", Some("t"), Some(3));
        assert_eq!(full, r#"{"resourceVersion":"7","continue":"t","remainingItemCount":3}"#);
    }
}
