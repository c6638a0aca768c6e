//! Finds out how many replicas stand behind a pod: from caches, and for kinds that have none by their scale subresource.

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_api::k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use corten_api::k8s_openapi::api::core::v1::{PodTemplateSpec, ReplicationController};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use corten_api::selector::Labels;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Client, ScaleClient};

use super::expected::{CountError, Counted, Scaled};
use crate::caches::Shared;
use crate::controller::Setup;
use crate::monitors::Monitors;
use crate::pods::SeenPod;

/// Kinds that have replicas, and that are watched.
pub trait HasScale: Object {
    fn replicas(&self) -> i32;
    fn template(&self) -> Option<&PodTemplateSpec>;
    fn pod_labels(&self) -> Option<&Labels> {
        self.template()?.metadata.as_ref()?.labels.as_ref()
    }
}

impl HasScale for ReplicaSet {
    fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.template.as_ref()
    }
}
impl HasScale for Deployment {
    fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }
    fn template(&self) -> Option<&PodTemplateSpec> {
        Some(&self.spec.template)
    }
}
impl HasScale for StatefulSet {
    fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }
    fn template(&self) -> Option<&PodTemplateSpec> {
        Some(&self.spec.template)
    }
}
impl HasScale for ReplicationController {
    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }
}

#[derive(Clone)]
pub struct Scales {
    replica_sets: Shared<ReplicaSet>,
    deployments: Shared<Deployment>,
    stateful_sets: Shared<StatefulSet>,
    replication_controllers: Shared<ReplicationController>,
    monitors: Monitors,
}

impl Scales {
    pub fn new(setup: &Setup) -> Self {
        let caches = &setup.caches;
        Self {
            replica_sets: caches.of(),
            deployments: caches.of(),
            stateful_sets: caches.of(),
            replication_controllers: caches.of(),
            monitors: setup.monitors.clone(),
        }
    }

    /// What is known of the controllers of these pods, by uid, up to the first that cannot be counted.
    pub async fn of_all(&self, client: &Client, pods: &[Arc<SeenPod>]) -> BTreeMap<String, Counted> {
        let mut found: BTreeMap<String, Counted> = BTreeMap::new();
        for pod in pods {
            let Some(owner) = pod.controller().filter(|owner| !found.contains_key(&owner.uid)) else { continue };
            let counted = match self.cached(&pod.key.namespace, owner) {
                Some(scaled) => Ok(Some(scaled)),
                None => self.asked(client, &pod.key.namespace, owner).await,
            };
            let is_counted = matches!(counted, Ok(Some(_)));
            found.insert(owner.uid.clone(), counted);
            if !is_counted {
                break;
            }
        }
        found
    }

    fn cached(&self, namespace: &str, owner: &OwnerReference) -> Option<Scaled> {
        match (group(owner), owner.kind.as_str()) {
            ("", "ReplicationController") => scaled(&self.replication_controllers, namespace, owner),
            ("apps", "StatefulSet") => scaled(&self.stateful_sets, namespace, owner),
            ("apps" | "extensions", "ReplicaSet") => {
                let set = found(&self.replica_sets, namespace, owner)?;
                match set.controller().filter(|above| above.kind == "Deployment") {
                    Some(above) => scaled(&self.deployments, namespace, above),
                    None => Some(Scaled { uid: set.uid().to_owned(), replicas: set.replicas() }),
                }
            }
            _ => None,
        }
    }

    /// Of any kind, as its scale subresource says.
    async fn asked(&self, client: &Client, namespace: &str, owner: &OwnerReference) -> Counted {
        let Some(id) = self.monitors.resolve(namespace, owner) else {
            if !self.monitors.are_synced() {
                let why = "which kinds are served is not known yet";
                return Err(CountError::Unanswered(ApiError::unavailable(why)));
            }
            let (kind, version) = (owner.kind.clone(), owner.api_version.clone());
            return Err(CountError::NoSuchKind { kind, version });
        };
        let Some(resource) = self.monitors.resource(id.kind) else { return Ok(None) };
        match ScaleClient::new(client, &resource).get(&id.key).await {
            Ok(scale) if scale.uid() == owner.uid => {
                let replicas = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
                Ok(Some(Scaled { uid: owner.uid.clone(), replicas }))
            }
            Ok(_) => Ok(None),
            Err(err) if err.is_no_such_path() => Err(CountError::NoScale(resource.to_string())),
            Err(err) if err.is(Reason::NotFound) => Ok(None),
            Err(err) => Err(CountError::Unanswered(err)),
        }
    }
}

fn group(owner: &OwnerReference) -> &str {
    owner.api_version.split_once('/').map_or("", |(group, _)| group)
}

fn found<K: Object>(cache: &Shared<K>, namespace: &str, owner: &OwnerReference) -> Option<Arc<K>> {
    cache.get(&Key::new(namespace, owner.name.as_str())).filter(|object| object.uid() == owner.uid)
}

fn scaled<K: HasScale>(cache: &Shared<K>, namespace: &str, owner: &OwnerReference) -> Option<Scaled> {
    let object = found(cache, namespace, owner)?;
    Some(Scaled { uid: owner.uid.clone(), replicas: object.replicas() })
}
