//! What the nodes or pods use that a request means, at either door.

use std::sync::Arc;

use corten_api::selector::{FieldSelector, Selector};
use corten_api::{ApiError, Reason};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::collector::{Collector, Found};
use super::objects::{self, Shown};
use super::{GROUP, Kind};
use crate::cache::Item;
use crate::request::Target;
use crate::resources::{Authorized, ListOptions, ReadAt, Resources};

/// The field that tells where a pod runs.
const NODE_NAME: &str = "spec.nodeName";

#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    pub resources: &'a Resources,
    pub collector: &'a Collector,
}

/// What was measured of those that are meant.
#[derive(Debug)]
pub struct Measured {
    pub shown: Vec<Shown>,
    /// The revision at which they were listed; 0 of one.
    pub revision: i64,
}

impl Lookup<'_> {
    /// Of the one that `target` names, or of all that the selectors do. Whoever may read what they use learns their names and
    /// labels with it, and no more.
    pub async fn shown(
        self,
        kind: Kind,
        target: &Target,
        labels: Selector,
        fields: FieldSelector,
    ) -> Result<Measured, ApiError> {
        let (items, revision) = self.meant(kind, target, labels, fields).await?;
        let found = self.collector.found().await;
        let now = Timestamp::now();
        let pods = self.resources.registry().find("", "v1", "pods");
        let node_field = pods.and_then(|pods| pods.fields().iter().position(|field| field.name == NODE_NAME));
        let shown = items.iter().filter_map(|item| match kind {
            Kind::Nodes => of_node(item, &found, now),
            Kind::Pods => of_pod(item, node_field?, &found, now),
        });
        Ok(Measured { shown: shown.collect(), revision })
    }

    async fn meant(
        self,
        kind: Kind,
        target: &Target,
        labels: Selector,
        fields: FieldSelector,
    ) -> Result<(Vec<Arc<Item>>, i64), ApiError> {
        let Target { namespace, name, .. } = target;
        let core = crate::resources::target("", kind.plural(), namespace, name);
        if !name.is_empty() {
            return match self.resources.get_item(&Authorized::own(core)).await {
                Ok(item) => Ok((vec![item], 0)),
                Err(err) if err.is(Reason::NotFound) => Err(not_found(kind, target)),
                Err(err) => Err(err),
            };
        }
        let options = ListOptions { labels, fields, at: ReadAt::Newest, ..ListOptions::default() };
        let rows = self.resources.list_items(&Authorized::own(core), options).await?;
        Ok((rows.items, rows.revision))
    }
}

/// In metrics-server's words.
pub fn not_found(kind: Kind, target: &Target) -> ApiError {
    match kind {
        Kind::Nodes => ApiError::not_found(GROUP, "nodemetrics", &target.name),
        Kind::Pods => ApiError::not_found(GROUP, "podmetrics", &format!("{}/{}", target.namespace, target.name)),
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
