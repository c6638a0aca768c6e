//! What a pod refers to, ConfigMaps, Secrets, claims and tokens of its account: which they are, and a snapshot of them for one
//! look at the pod.

pub mod claims;
mod remembered;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret, Volume};

pub use claims::{Bound, ClaimError};
pub use remembered::Remembered;
pub use tokens::{Given as GivenToken, TokenRef, wanted as wanted_tokens};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    ConfigMap,
    Secret,
}

/// A ConfigMap or Secret of the pod's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceRef {
    pub kind: SourceKind,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Missing {
    #[error("configmap {name:?} not found")]
    ConfigMap { name: String },
    #[error("secret {name:?} not found")]
    Secret { name: String },
    /// It may exist, but could not be asked for.
    #[error("failed to fetch {kind} {name:?}: {why}")]
    Unknown { kind: &'static str, name: String, why: String },
    #[error("failed to fetch token: {why}")]
    Token { why: String },
}

impl Missing {
    /// It may be there, and nobody could say so: what was last known goes on being true.
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Unknown { .. } | Self::Token { .. } => true,
            Self::ConfigMap { .. } | Self::Secret { .. } => false,
        }
    }
}

/// What looking one up led to. `Err` is why nobody knows.
type Looked<T> = Result<Option<Arc<T>>, String>;

/// What a pod's references led to.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub namespace: String,
    pub config_maps: BTreeMap<String, Looked<ConfigMap>>,
    pub secrets: BTreeMap<String, Looked<Secret>>,
    /// `Err` is why there is none.
    pub tokens: BTreeMap<TokenRef, Result<Arc<str>, String>>,
    /// By the pod's names for the volumes that are claims.
    pub claims: BTreeMap<String, Result<Bound, ClaimError>>,
    /// Something of the pod runs, so that its volumes are in use.
    pub pod_runs: bool,
    /// When one of the tokens is to be replaced.
    pub renew_at: Option<Timestamp>,
    /// Something of it is what was known before, as no apiserver answered.
    pub outdated: bool,
}

impl Sources {
    /// `Ok(None)` only if it is optional and not there.
    pub fn config_map(&self, name: &str, optional: bool) -> Result<Option<&Arc<ConfigMap>>, Missing> {
        let missing = || Missing::ConfigMap { name: name.into() };
        found(self.config_maps.get(name), "configmap", name, optional, missing)
    }
    pub fn secret(&self, name: &str, optional: bool) -> Result<Option<&Arc<Secret>>, Missing> {
        let missing = || Missing::Secret { name: name.into() };
        found(self.secrets.get(name), "secret", name, optional, missing)
    }
    pub fn token(&self, wanted: &TokenRef) -> Result<&Arc<str>, Missing> {
        let token = |why: &str| Missing::Token { why: why.to_owned() };
        let looked = self.tokens.get(wanted).ok_or_else(|| token("it was not asked for"))?;
        looked.as_ref().map_err(|why| token(why))
    }
}

fn found<'a, T>(
    looked: Option<&'a Looked<T>>,
    kind: &'static str,
    name: &str,
    optional: bool,
    missing: impl FnOnce() -> Missing,
) -> Result<Option<&'a Arc<T>>, Missing> {
    match looked {
        Some(Ok(Some(object))) => Ok(Some(object)),
        Some(Err(why)) => Err(Missing::Unknown { kind, name: name.into(), why: why.clone() }),
        Some(Ok(None)) | None if optional => Ok(None),
        Some(Ok(None)) | None => Err(missing()),
    }
}

/// Everything the pod refers to, for its environment, its volumes and its image pulls.
pub fn references(pod: &Pod) -> BTreeSet<SourceRef> {
    let mut found = BTreeSet::new();
    let Some(spec) = &pod.spec else { return found };
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        of_container(container, &mut found);
    }
    for container in spec.ephemeral_containers.iter().flatten() {
        of_container(&corten_api::pod::ephemeral::as_container(container), &mut found);
    }
    for volume in spec.volumes.iter().flatten() {
        of_volume(volume, &mut found);
    }
    for secret in spec.image_pull_secrets.iter().flatten() {
        add(&mut found, SourceKind::Secret, &secret.name);
    }
    found
}

/// What of it is in volumes, which follow changes while the pod runs.
pub fn in_volumes(pod: &Pod) -> BTreeSet<SourceRef> {
    let mut found = BTreeSet::new();
    pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()).for_each(|v| of_volume(v, &mut found));
    found
}

fn add(found: &mut BTreeSet<SourceRef>, kind: SourceKind, name: &str) {
    if !name.is_empty() {
        found.insert(SourceRef { kind, name: name.into() });
    }
}

fn of_container(container: &Container, found: &mut BTreeSet<SourceRef>) {
    for from in container.env_from.iter().flatten() {
        from.config_map_ref.iter().for_each(|r| add(found, SourceKind::ConfigMap, &r.name));
        from.secret_ref.iter().for_each(|r| add(found, SourceKind::Secret, &r.name));
    }
    for from in container.env.iter().flatten().filter_map(|v| v.value_from.as_ref()) {
        from.config_map_key_ref.iter().for_each(|r| add(found, SourceKind::ConfigMap, &r.name));
        from.secret_key_ref.iter().for_each(|r| add(found, SourceKind::Secret, &r.name));
    }
}

fn of_volume(volume: &Volume, found: &mut BTreeSet<SourceRef>) {
    volume.config_map.iter().for_each(|v| add(found, SourceKind::ConfigMap, &v.name));
    let secret = volume.secret.iter().filter_map(|v| v.secret_name.as_ref());
    secret.for_each(|name| add(found, SourceKind::Secret, name));
    for part in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
        part.config_map.iter().for_each(|v| add(found, SourceKind::ConfigMap, &v.name));
        part.secret.iter().for_each(|v| add(found, SourceKind::Secret, &v.name));
    }
}
