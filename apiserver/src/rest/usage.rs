//! metrics.k8s.io: get and list of what nodes and pods use, as objects, metadata or tables.

use corten_api::ApiError;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::accept::{self, Encoding, Form};
use super::body::Body;
use super::{Asking, Front, gzip, query, read, respond};
use crate::request::{Target, Verb};
use crate::resources::{Allowed, ListOptions};
use crate::table::{self, Include};
use crate::usage::lookup::{self, Lookup};
use crate::usage::objects::{COLUMNS, Shown};
use crate::usage::{GROUP, Kind, VERSION};

impl Front {
    pub(super) async fn usage(
        &self,
        kind: Kind,
        may: &Allowed,
        asking: Asking<'_>,
    ) -> Result<Response<Body>, ApiError> {
        if !matches!(may, Allowed::Get(_) | Allowed::List(_)) {
            return Err(respond::method_not_allowed());
        }
        let wanted = accept::wanted(asking.headers)?;
        let include = Include::parse(asking.query.get("includeObject"))?;
        let ListOptions { labels, fields, .. } = match asking.verb {
            Verb::Get => ListOptions::default(),
            _ => query::list_options(asking.query)?,
        };
        let lookup = Lookup { resources: &self.resources, collector: &self.usage };
        let shown = lookup.shown(kind, asking.target, labels, fields).await?.shown;
        let value = match (asking.verb, wanted.form) {
            (Verb::Get, Form::Object) => one(kind, asking.target, shown)?.object,
            (Verb::Get, Form::Metadata) => metadata(&one(kind, asking.target, shown)?.object)?,
            (Verb::Get, Form::Table) => table(vec![one(kind, asking.target, shown)?], include)?,
            (_, Form::Object) => list(
                &format!("{}List", kind.name()),
                &format!("{GROUP}/{VERSION}"),
                shown.into_iter().map(|shown| shown.object).collect(),
            ),
            (_, Form::Metadata) => {
                let items = shown.iter().map(|shown| metadata(&shown.object)).collect::<Result<_, _>>()?;
                list("PartialObjectMetadataList", "meta.k8s.io/v1", items)
            }
            (_, Form::Table) => table(shown, include)?,
        };
        let response = if wanted.encoding == Encoding::Yaml {
            let json = serde_json::to_vec(&value).map_err(ApiError::internal)?;
            respond::with_type(StatusCode::OK, respond::YAML, Body::whole(read::to_yaml(&json)?))
        } else {
            respond::value(StatusCode::OK, &value)
        };
        Ok(gzip::compress(asking.headers, response))
    }
}

fn one(kind: Kind, target: &Target, shown: Vec<Shown>) -> Result<Shown, ApiError> {
    shown.into_iter().next().ok_or_else(|| lookup::not_found(kind, target))
}

fn list(kind: &str, api_version: &str, items: Vec<Value>) -> Value {
    json!({"kind": kind, "apiVersion": api_version, "metadata": {}, "items": items})
}

fn metadata(object: &Value) -> Result<Value, ApiError> {
    let json = serde_json::to_vec(object).map_err(ApiError::internal)?;
    serde_json::from_slice(&table::metadata_only(&json)?).map_err(ApiError::internal)
}

fn table(shown: Vec<Shown>, include: Include) -> Result<Value, ApiError> {
    let column = |(name, kind, format): &(&str, &str, &str)| json!({"name": name, "type": kind, "format": format, "description": "", "priority": 0});
    let columns: Vec<Value> = COLUMNS.iter().map(column).collect();
    let row = |shown: Shown| {
        let mut row = json!({"cells": shown.cells});
        match include {
            Include::None => {}
            Include::Metadata => row["object"] = metadata(&shown.object)?,
            Include::Object => row["object"] = shown.object,
        }
        Ok::<_, ApiError>(row)
    };
    let rows = shown.into_iter().map(row).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": columns, "rows": rows,
    }))
}
