//! A cluster in memory for tests of pod workers: it keeps pods, takes statuses and remembers events.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use corten_api::{ApiError, Key, Object as _};
use corten_client::CancellationToken;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestStatus};
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;

use super::{Cluster, OnChange};
use crate::sources::SourceRef;

pub const NODE_UID: &str = "node-uid";

#[derive(Clone, Default)]
pub struct FakeCluster {
    pub shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
pub struct Shared {
    pub pods: BTreeMap<Key, Pod>,
    pub config_maps: BTreeMap<Key, ConfigMap>,
    pub secrets: BTreeMap<Key, Secret>,
    pub claims: BTreeMap<Key, PersistentVolumeClaim>,
    pub persistent_volumes: BTreeMap<String, PersistentVolume>,
    /// `Reason: message`.
    pub events: Vec<String>,
    /// Every phase that was reported, in order, without repeats.
    pub phases: Vec<String>,
    pub watches: Vec<(SourceRef, OnChange)>,
    pub away: bool,
    /// The node's Node is not there yet.
    pub unregistered: bool,
    /// How often a ConfigMap was asked for.
    pub reads: u64,
    /// Tokens that were given.
    pub tokens: u64,
    /// When tokens are given; now if nobody says.
    pub clock: Option<Timestamp>,
    /// Calls that failed because it was away.
    pub refused: u64,
    /// Pods about which no call is ever answered.
    pub unanswered: std::collections::BTreeSet<Key>,
    /// Persistent volumes about which nobody ever says anything, not even that nobody answers.
    pub silent_volumes: std::collections::BTreeSet<String>,
    /// The next event with one of these reasons panics, as code of a worker that tells of it may.
    pub panics: Vec<&'static str>,
    /// Pods that are another node's: forbidden to this one.
    pub elsewhere: std::collections::BTreeSet<Key>,
    /// Calls that were forbidden.
    pub forbidden: u64,
    revision: i64,
}

impl FakeCluster {
    pub fn put(&self, mut pod: Pod) -> Pod {
        let mut shared = self.shared.lock();
        shared.revision += 1;
        pod.metadata.resource_version = Some(shared.revision.to_string());
        shared.pods.insert(pod.key(), pod.clone());
        pod
    }
    pub fn get(&self, key: &Key) -> Option<Pod> {
        self.shared.lock().pods.get(key).cloned()
    }
    pub fn events(&self) -> Vec<String> {
        self.shared.lock().events.clone()
    }
    fn here(&self) -> Result<parking_lot::MutexGuard<'_, Shared>, ApiError> {
        let mut shared = self.shared.lock();
        if shared.away {
            shared.refused += 1;
            return Err(ApiError::unavailable("away"));
        }
        Ok(shared)
    }
    fn here_for(&self, key: &Key) -> Result<parking_lot::MutexGuard<'_, Shared>, ApiError> {
        let mut shared = self.here()?;
        if shared.unanswered.contains(key) {
            return Err(ApiError::unavailable("no answer"));
        }
        if shared.elsewhere.contains(key) {
            shared.forbidden += 1;
            return Err(ApiError::forbidden("", "pods", &key.name, "it is not on this node"));
        }
        Ok(shared)
    }
}

#[async_trait]
impl Cluster for FakeCluster {
    async fn config_map(&self, key: &Key) -> Result<Option<Arc<ConfigMap>>, ApiError> {
        self.shared.lock().reads += 1;
        Ok(self.here()?.config_maps.get(key).cloned().map(Arc::new))
    }
    async fn secret(&self, key: &Key) -> Result<Option<Arc<Secret>>, ApiError> {
        Ok(self.here()?.secrets.get(key).cloned().map(Arc::new))
    }
    async fn claim(&self, key: &Key) -> Result<Option<Arc<PersistentVolumeClaim>>, ApiError> {
        Ok(self.here()?.claims.get(key).cloned().map(Arc::new))
    }
    async fn persistent_volume(&self, name: &str) -> Result<Option<Arc<PersistentVolume>>, ApiError> {
        if self.shared.lock().silent_volumes.contains(name) {
            std::future::pending::<()>().await;
        }
        Ok(self.here()?.persistent_volumes.get(name).cloned().map(Arc::new))
    }
    async fn update_persistent_volume(&self, volume: &PersistentVolume) -> Result<(), ApiError> {
        let mut shared = self.here()?;
        shared.revision += 1;
        let revision = shared.revision.to_string();
        let stored = shared.persistent_volumes.get_mut(volume.name());
        let stored = stored.ok_or_else(|| ApiError::not_found("", "persistentvolumes", volume.name()))?;
        if stored.metadata.resource_version != volume.metadata.resource_version {
            return Err(ApiError::stale("", "persistentvolumes", volume.name()));
        }
        stored.clone_from(volume);
        stored.metadata.resource_version = Some(revision);
        Ok(())
    }
    async fn token(&self, account: &Key, request: &TokenRequest) -> Result<TokenRequest, ApiError> {
        let mut shared = self.here()?;
        shared.tokens += 1;
        let mut answer = request.clone();
        let spec = answer.spec.get_or_insert_default();
        let audiences = spec.audiences.clone().unwrap_or_default().join(" ");
        let text = format!("token-{} of {account} for {audiences}", shared.tokens);
        let now = shared.clock.unwrap_or_else(Timestamp::now);
        let ends_at = now + SignedDuration::from_secs(spec.expiration_seconds.unwrap_or(3600));
        answer.status = Some(TokenRequestStatus { token: Some(text), expiration_timestamp: Some(Time(ends_at)) });
        Ok(answer)
    }
    async fn pod(&self, key: &Key) -> Result<Pod, ApiError> {
        self.here_for(key)?.pods.get(key).cloned().ok_or_else(|| ApiError::not_found("", "pods", &key.name))
    }
    async fn write_status(&self, pod: &Pod) -> Result<Pod, ApiError> {
        let mut shared = self.here_for(&pod.key())?;
        shared.revision += 1;
        let revision = shared.revision.to_string();
        let key = pod.key();
        let stored = shared.pods.get_mut(&key).ok_or_else(|| ApiError::not_found("", "pods", &key.name))?;
        if stored.metadata.resource_version != pod.metadata.resource_version {
            return Err(ApiError::stale("", "pods", &key.name));
        }
        stored.status.clone_from(&pod.status);
        stored.metadata.resource_version = Some(revision);
        let stored = stored.clone();
        let phase = corten_api::pod::phase(&stored).to_owned();
        if shared.phases.last() != Some(&phase) {
            shared.phases.push(phase);
        }
        Ok(stored)
    }
    async fn remove_pod(&self, key: &Key, uid: &str) -> Result<(), ApiError> {
        let mut shared = self.here_for(key)?;
        match shared.pods.get(key) {
            Some(pod) if pod.uid() == uid => {
                shared.pods.remove(key);
                Ok(())
            }
            _ => Err(ApiError::not_found("", "pods", &key.name)),
        }
    }
    async fn create_pod(&self, pod: &Pod) -> Result<Pod, ApiError> {
        drop(self.here_for(&pod.key())?);
        let mut pod = pod.clone();
        pod.metadata.uid = Some(format!("mirror-{}", pod.name()));
        Ok(self.put(pod))
    }
    async fn node_uid(&self) -> Result<String, ApiError> {
        let shared = self.here()?;
        let missing = || ApiError::not_found("", "nodes", "n1");
        if shared.unregistered { Err(missing()) } else { Ok(NODE_UID.into()) }
    }
    async fn service_variables(&self, _: &str, _: bool) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
    fn watch_source(&self, _: &str, source: &SourceRef, _: &CancellationToken, changed: OnChange) {
        self.shared.lock().watches.push((source.clone(), changed));
    }
    fn watch_persistent_volume(&self, _: &str, _: &CancellationToken, _: OnChange) {}
    fn event(&self, about: &ObjectReference, _: bool, reason: &str, message: &str) {
        let path = about.field_path.as_deref().unwrap_or_default();
        let place = path.split_once('{').map(|(_, name)| name.trim_end_matches('}')).unwrap_or_default();
        let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
        let mut shared = self.shared.lock();
        if let Some(at) = shared.panics.iter().position(|panics| *panics == reason) {
            shared.panics.remove(at);
            drop(shared);
            panic!("telling of {reason} was to panic");
        }
        shared.events.push(format!("{place}{reason}: {message}"));
    }
}
