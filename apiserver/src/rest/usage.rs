//! metrics.k8s.io: get and list of what nodes and pods use, as objects, metadata or tables.

use std::sync::Arc;

use corten_api::{ApiError, Reason};
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::accept::{self, Encoding, Form};
use super::body::Body;
use super::{Asking, Front, gzip, query, read, respond};
use crate::cache::Item;
use crate::request::{Target, Verb};
use crate::resources::{Allowed, Authorized, ListOptions, ReadAt};
use crate::table::{self, Include};
use crate::usage::collector::Found;
use crate::usage::objects::{self, COLUMNS, Shown};
use crate::usage::{GROUP, Kind, VERSION};

/// The field that tells where a pod runs.
const NODE_NAME: &str = "spec.nodeName";

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
        let measured = self.measured(kind, asking).await?;
        let found = self.usage.found().await;
        let now = Timestamp::now();
        let pods = self.resources.registry().find("", "v1", "pods");
        let node_field = pods.and_then(|pods| pods.fields().iter().position(|field| field.name == NODE_NAME));
        let shown = measured.iter().filter_map(|item| match kind {
            Kind::Nodes => of_node(item, &found, now),
            Kind::Pods => of_pod(item, node_field?, &found, now),
        });
        let shown: Vec<Shown> = shown.collect();
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

    /// The nodes or pods that are meant: whoever may read what they use learns their names and labels with it, and no more.
    async fn measured(&self, kind: Kind, asking: Asking<'_>) -> Result<Vec<Arc<Item>>, ApiError> {
        let Target { namespace, name, .. } = asking.target;
        let core = crate::resources::target("", kind.plural(), namespace, name);
        if asking.verb == Verb::Get {
            return match self.resources.get_item(&Authorized::own(core)).await {
                Ok(item) => Ok(vec![item]),
                Err(err) if err.is(Reason::NotFound) => Err(not_found(kind, asking.target)),
                Err(err) => Err(err),
            };
        }
        let ListOptions { labels, fields, .. } = query::list_options(asking.query)?;
        let options = ListOptions { labels, fields, at: ReadAt::Newest, ..ListOptions::default() };
        Ok(self.resources.list_items(&Authorized::own(core), options).await?.items)
    }
}

fn of_node(node: &Item, found: &Found, now: Timestamp) -> Option<Shown> {
    Some(objects::node(node.name(), labels(node), &found.get(node.name())?.samples.used()?, now))
}
/// `node_field`: which of the pod's selectable fields tells its node. A kubelet is believed about its own pods alone.
fn of_pod(pod: &Item, node_field: usize, found: &Found, now: Timestamp) -> Option<Shown> {
    let used = found.get(pod.field(node_field))?.samples.pod_used(pod.key())?;
    Some(objects::pod(pod.namespace(), pod.name(), labels(pod), &used, now))
}
fn labels(item: &Item) -> Map<String, Value> {
    item.labels().map(|(key, value)| (key.to_owned(), Value::from(value))).collect()
}

fn one(kind: Kind, target: &Target, shown: Vec<Shown>) -> Result<Shown, ApiError> {
    shown.into_iter().next().ok_or_else(|| not_found(kind, target))
}

/// In metrics-server's words.
fn not_found(kind: Kind, target: &Target) -> ApiError {
    match kind {
        Kind::Nodes => ApiError::not_found(GROUP, "nodemetrics", &target.name),
        Kind::Pods => ApiError::not_found(GROUP, "podmetrics", &format!("{}/{}", target.namespace, target.name)),
    }
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
