//! What the pods of each node refer to by name, and what the volume of each claim does, kept as they change: what a node may
//! read is a look-up. Upstream's node authorizer keeps such a graph, too.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use corten_api::pod::MIRROR_ANNOTATION;
use k8s_openapi::api::core::v1::{PersistentVolumeSpec, PodSpec, PodStatus};
use serde::Deserialize;

use super::Item;
use crate::registry::persistentvolume::secrets;
use crate::registry::pod::references::{self, Source};

/// The kinds whose references are kept, each in a graph of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Referring {
    /// A node's by what they refer to. Its name is this field of theirs.
    Pods { node: usize },
    /// A claim's, by its `namespace/name`.
    Volumes,
}

/// Something that is referred to, by its `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Reference {
    source: Source,
    key: Arc<str>,
}

/// What one object refers to, each once, and for whom: for nobody, if that is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct References {
    owner: Box<str>,
    found: Vec<Reference>,
}

/// By the node, or by the claim. What refers to nothing, or for nobody, is not kept.
#[derive(Debug, Default)]
pub(super) struct Graph {
    owners: HashMap<Arc<str>, HashMap<Reference, usize>>,
    /// The owner of each object, and what it refers to: its going needs no second reading.
    objects: HashMap<Box<str>, (Arc<str>, Vec<Reference>)>,
}

impl Referring {
    /// Costs one reading of what the object specifies, if it has an owner: not to be done under a lock.
    pub(super) fn references_of(self, object: &Item) -> Result<References, serde_json::Error> {
        match self {
            Self::Pods { node } => match object.field(node) {
                "" => Ok(References::default()),
                node => Ok(References::new(node, of_pod(object)?)),
            },
            Self::Volumes => of_volume(object),
        }
    }
}

fn of_pod(pod: &Item) -> Result<Vec<Reference>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Meta {
        annotations: Option<BTreeMap<String, String>>,
    }
    #[derive(Deserialize)]
    struct Specified {
        metadata: Meta,
        spec: Option<PodSpec>,
        status: Option<PodStatus>,
    }
    let Specified { metadata, spec, status } = serde_json::from_slice(&pod.object())?;
    // A mirror is its node's own work, and opens nothing for it.
    let is_mirror = metadata.annotations.is_some_and(|annotations| annotations.contains_key(MIRROR_ANNOTATION));
    let Some(spec) = spec.filter(|_| !is_mirror) else { return Ok(Vec::new()) };
    let (mut found, namespace) = (Vec::new(), pod.namespace());
    references::each(pod.name(), &spec, |source, name| found.push(Reference::new(source, namespace, name)));
    references::each_claim(&spec, status.as_ref(), |name| {
        found.push(Reference::new(Source::ResourceClaim, namespace, name));
    });
    Ok(found)
}

fn of_volume(volume: &Item) -> Result<References, serde_json::Error> {
    #[derive(Deserialize)]
    struct Specified {
        spec: Option<PersistentVolumeSpec>,
    }
    let Specified { spec } = serde_json::from_slice(&volume.object())?;
    let claim = spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let claim = claim.and_then(|claim| Some(format!("{}/{}", claim.namespace.as_ref()?, claim.name.as_ref()?)));
    let (Some(spec), Some(claim)) = (&spec, claim) else { return Ok(References::default()) };
    let mut found = Vec::new();
    secrets::each(spec, |namespace, name| found.push(Reference::new(Source::Secret, namespace, name)));
    Ok(References::new(&claim, found))
}

impl Reference {
    fn new(source: Source, namespace: &str, name: &str) -> Self {
        Self { source, key: format!("{namespace}/{name}").into() }
    }
}

impl References {
    fn new(owner: &str, mut found: Vec<Reference>) -> Self {
        found.sort_unstable();
        found.dedup();
        Self { owner: owner.into(), found }
    }
}

impl Graph {
    /// Whether what belongs to `owner` refers to `name` in `namespace`. Costs the same whatever there is.
    pub(super) fn refers(&self, owner: &str, source: Source, namespace: &str, name: &str) -> bool {
        let Some(references) = self.owners.get(owner) else { return false };
        references.contains_key(&Reference::new(source, namespace, name))
    }
    /// The `namespace/name` of all of a kind that what belongs to `owner` refers to.
    pub(super) fn referred(&self, owner: &str, source: Source) -> Vec<Arc<str>> {
        let references = self.owners.get(owner).into_iter().flat_map(HashMap::keys);
        references.filter(|reference| reference.source == source).map(|reference| reference.key.clone()).collect()
    }
    /// The object of this key is so now.
    pub(super) fn put(&mut self, object: &str, References { owner, found }: References) {
        self.remove(object);
        if owner.is_empty() || found.is_empty() {
            return;
        }
        let owner = self.owners.get_key_value(&*owner).map_or_else(|| Arc::from(owner), |(known, _)| known.clone());
        let counts = self.owners.entry(owner.clone()).or_default();
        for reference in &found {
            *counts.entry(reference.clone()).or_default() += 1;
        }
        self.objects.insert(object.into(), (owner, found));
    }
    pub(super) fn remove(&mut self, object: &str) {
        let Some((owner, references)) = self.objects.remove(object) else { return };
        let Some(counts) = self.owners.get_mut(&owner) else { return };
        for reference in &references {
            if let Some(count) = counts.get_mut(reference) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(reference);
                }
            }
        }
        if counts.is_empty() {
            self.owners.remove(&owner);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty() && self.objects.is_empty()
    }
}
