//! The read and write paths, whole, on the store in memory: what a caller does and what he gets. Here is what the tests
//! share.

mod admission;
mod apply;
mod authorize;
mod certificates;
mod conversion;
mod create;
mod custom;
mod delete;
mod eviction;
mod fence;
mod kinds;
mod on_etcd;
mod parts;
mod pod_security;
mod quotas;
mod read;
mod roles;
mod services;
mod storage;
mod system;
mod tokens;
mod update;
mod versions;
mod webhooks;
mod zeros;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corten_api::selector::{FieldSelector, Selector};
use corten_api::{ApiError, Reason};
use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::testing::{allowed, settings};
use super::*;
use crate::patch;
use crate::registry::Registry;
use crate::request::{Target, User};
use crate::storage::Storage;
use crate::storage::memory::Memory;

const DEADLINE: Duration = Duration::from_secs(10);

pub(super) struct Cluster {
    pub(super) resources: Resources,
    pub(super) storage: Arc<dyn Storage>,
    admin: User,
}

/// "pods", "default/web" and so on, as a target.
pub(super) fn target(plural: &str, at: &str) -> Target {
    let (plural, subresource) = plural.split_once('/').unwrap_or((plural, ""));
    let (group, version) = match plural {
        "daemonsets" | "deployments" | "replicasets" | "statefulsets" => ("apps", "v1"),
        "customresourcedefinitions" => ("apiextensions.k8s.io", "v1"),
        "tabs" => ("example.com", "v1"),
        "newtabs" => ("example.com", "v2"),
        "jobs" => ("batch", "v1"),
        "certificatesigningrequests" => ("certificates.k8s.io", "v1"),
        "leases" => ("coordination.k8s.io", "v1"),
        "mutatingwebhookconfigurations" | "validatingwebhookconfigurations" => ("admissionregistration.k8s.io", "v1"),
        "validatingadmissionpolicies" | "validatingadmissionpolicybindings" => ("admissionregistration.k8s.io", "v1"),
        "ipaddresses" | "ingresses" | "ingressclasses" => ("networking.k8s.io", "v1"),
        "poddisruptionbudgets" => ("policy", "v1"),
        "horizontalpodautoscalers" => ("autoscaling", "v2"),
        "oldautoscalers" => ("autoscaling", "v1"),
        "newevents" => ("events.k8s.io", "v1"),
        "endpointslices" => ("discovery.k8s.io", "v1"),
        "csinodes" | "volumeattachments" => ("storage.k8s.io", "v1"),
        "resourceslices" | "resourceclaims" => ("resource.k8s.io", "v1"),
        "clusterroles" | "clusterrolebindings" | "roles" | "rolebindings" => (corten_api::rbac::GROUP, "v1"),
        _ => ("", "v1"),
    };
    let (namespace, name) = at.split_once('/').unwrap_or(("", at));
    Target {
        group: group.into(),
        version: version.into(),
        resource: match plural {
            "newevents" => "events",
            "oldautoscalers" => "horizontalpodautoscalers",
            "newtabs" => "tabs",
            plural => plural,
        }
        .into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

impl Cluster {
    pub(super) async fn on(storage: Arc<dyn Storage>) -> Self {
        Self::set_to(storage, settings()).await
    }
    async fn set_to(storage: Arc<dyn Storage>, settings: Settings) -> Self {
        let resources = Resources::start(storage.clone(), Registry::default(), settings).await.unwrap();
        let admin = User { name: "admin".into(), groups: vec!["system:masters".into()], ..User::default() };
        Self { resources, storage, admin }
    }
    pub(super) async fn new() -> Self {
        let cluster = Self::on(Arc::new(Memory::default())).await;
        cluster.create("namespaces", "", json!({"metadata": {"name": "n"}})).await.unwrap();
        let account = json!({"metadata": {"name": "default"}});
        cluster.create("serviceaccounts", "n/", account).await.unwrap();
        cluster
    }
    pub(super) async fn create(&self, plural: &str, at: &str, object: Value) -> Result<Value, ApiError> {
        let json = Bytes::from(object.to_string());
        let written =
            self.resources.create(&allowed(&self.admin, &target(plural, at)), json, WriteOptions::default()).await?;
        Ok(serde_json::from_slice(&written.object).unwrap())
    }
    pub(super) async fn update(&self, plural: &str, at: &str, object: &Value) -> Result<Value, ApiError> {
        let json = Bytes::from(object.to_string());
        let written =
            self.resources.update(&allowed(&self.admin, &target(plural, at)), json, WriteOptions::default()).await?;
        Ok(serde_json::from_slice(&written.object).unwrap())
    }
    pub(super) async fn merge(&self, plural: &str, at: &str, body: Value) -> Result<Value, ApiError> {
        let (kind, body) = (patch::Kind::Merge, Bytes::from(body.to_string()));
        let options = WriteOptions::default();
        let written = self.resources.patch(&allowed(&self.admin, &target(plural, at)), kind, body, options).await?;
        Ok(serde_json::from_slice(&written.object).unwrap())
    }
    pub(super) async fn delete(&self, plural: &str, at: &str, how: Value) -> Result<Deleted, ApiError> {
        let how: DeleteOptions = serde_json::from_value(how).unwrap();
        self.resources.delete(&allowed(&self.admin, &target(plural, at)), how, WriteOptions::default()).await
    }
    pub(super) async fn get(&self, plural: &str, at: &str) -> Result<Value, ApiError> {
        let json = self.resources.get(&allowed(&self.admin, &target(plural, at)), ReadAt::Newest).await?;
        Ok(serde_json::from_slice(&json).unwrap())
    }
    async fn names(&self, plural: &str, at: &str, options: ListOptions) -> Result<(Vec<String>, Page), ApiError> {
        let page = self.resources.list(&allowed(&self.admin, &target(plural, at)), options).await?;
        let name = |json: &Bytes| {
            serde_json::from_slice::<Value>(json).unwrap()["metadata"]["name"].as_str().unwrap().to_owned()
        };
        Ok((page.items.iter().map(name).collect(), page))
    }
    async fn watch(&self, plural: &str, at: &str, options: WatchOptions) -> Result<Watched, ApiError> {
        Ok(Watched(self.resources.watch(&allowed(&self.admin, &target(plural, at)), options).await?, Vec::new()))
    }
    async fn config_map(&self, name: &str, labels: Value) -> Value {
        self.create("configmaps", "n/", json!({"metadata": {"name": name, "labels": labels}})).await.unwrap()
    }
}

struct Watched(WatchStream, Vec<Event>);

impl Watched {
    /// The next `n` events, as "ADDED name key=label".
    async fn take(&mut self, n: usize) -> Vec<String> {
        while self.1.len() < n {
            let batch = timeout(DEADLINE, self.0.next()).await.expect("an event comes").expect("no end");
            self.1.extend(batch.unwrap());
        }
        self.1.drain(..n).map(|e| shown(&e)).collect()
    }
}

fn shown(event: &Event) -> String {
    let object: Value = serde_json::from_slice(&event.object()).unwrap();
    let frame: Value = serde_json::from_slice(&event.frame()).unwrap();
    assert_eq!((frame["type"].as_str(), &frame["object"]), (Some(event.kind.as_str()), &object));
    assert_eq!(object["metadata"]["resourceVersion"].as_str(), Some(&*event.revision().to_string()));
    let label = object["metadata"]["labels"]["a"].as_str().unwrap_or("-").to_owned();
    format!("{} {} {label}", event.kind.as_str(), event.name())
}

pub(super) fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}
fn reason(result: Result<impl Sized, ApiError>) -> (Reason, String) {
    let err = result.err().expect("it is refused");
    (err.reason(), err.message().to_owned())
}
fn version(object: &Value) -> i64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}
